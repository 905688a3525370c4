"""A self-contained page: one file in three languages, with its style, script and libraries.

The page fetches nothing.  Its Content-Security-Policy enforces that: the browser runs only the
style and the scripts whose hashes are in the policy, and no text becomes code (`eval`).
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tornado.template import Loader

from benchmarks.report.charts import dark_style
from benchmarks.report.i18n import LANGUAGES, Translations

HERE = Path(__file__).parent
VENDOR = HERE / "vendor"
# In this order: each uses the one before.
LIBRARIES = ("vega", "vega-lite", "vega-embed")
_LOADER = Loader(str(HERE / "templates"))


def page(
    template: str,
    articles: Mapping[str, object],
    translations: Mapping[str, Translations],
    title: str,
    **more: Any,
) -> str:
    """Return a page from a file in templates/: an article per language; `title` is a text key."""
    style = (HERE / "report.css").read_text("utf-8") + dark_style()
    script = (HERE / "report.js").read_text("utf-8")
    code = libraries()
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
    policy += f"script-src {' '.join(_hash(text) for text in (code, script) if text)}"
    html = _LOADER.load(template).generate(
        policy=policy,
        style=style,
        script=script,
        libraries=code,
        articles=articles,
        translations=translations,
        title=title,
        languages=LANGUAGES,
        json_text=json_text,
        **more,
    )
    return html.decode()


@cache
def libraries() -> str:
    """Return the code that draws charts, with its licences; empty without `make bench`."""
    try:
        return "\n".join(_library(name) for name in LIBRARIES)
    except FileNotFoundError:
        return ""


def _library(name: str) -> str:
    folder = VENDOR / name
    licence = (folder / "LICENSE").read_text("utf-8").replace("*/", "* /")
    code = (folder / f"{name}.min.js").read_text("utf-8")
    code = re.sub(r"\n?//# sourceMappingURL=\S+\s*$", "", code)
    # Inside a script element, HTML gives these a meaning; in JavaScript the backslash has none.
    code = re.sub(r"<(/script|!--)", r"<\\\1", code, flags=re.IGNORECASE)
    return f"/*! {name}\n\n{licence}*/\n{code}"


def json_text(value: object) -> str:
    """Return JSON for a script element, which no text inside can end."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def write(files: Mapping[Path, str]) -> None:
    """Write all files, each atomically: a reader never sees half a page."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text, "utf-8")
        os.replace(part, path)
