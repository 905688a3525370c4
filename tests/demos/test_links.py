"""The pages work below any path: what they name is relative."""

import re

from tests.server_process import ROOT

# A URL of ours that starts with a slash, in an attribute, a string or a template.
ABSOLUTE = re.compile(
    r"""(?:href|src)=\\?"/(?!/)|["'`]/(?:demos|rooms|lab|wire|networks|healthz|status|socket\.io)\b"""
)
# A path in a captured request, which has no proxy's path; and one in an explanation.
CAPTURED = re.compile(r"(?:starts|ends)With\(|^//|^ *//|/\*\*|&lt;iframe")


def test_no_page_names_an_absolute_path() -> None:
    files = [
        path
        for kind in ("*.html", "static/**/*.js", "i18n/*.json")
        for path in (ROOT / "demos").glob(kind)
    ]
    assert len(files) > 60
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:100]}"
        for path in files
        for line in path.read_text().splitlines()
        if ABSOLUTE.search(line) and not CAPTURED.search(line)
    ]
    assert found == []
