"""The unit tests of the pages' JavaScript: each file of tests/js passes.

A file runs its tests itself; ``node --test`` would start a second process for each.
"""

from pathlib import Path

import pytest

from tests.demos import node
from tests.server_process import ROOT

FILES = sorted(Path(ROOT, "tests", "js").glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_a_file_of_javascript_tests_passes(file: Path) -> None:
    done = node.run(str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout or "ℹ fail 0" in done.stdout


def test_there_are_javascript_tests() -> None:
    assert len(FILES) >= 6
