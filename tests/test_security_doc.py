"""docs/security.md names a test for each attack, and each of those tests exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_test_that_the_table_of_attacks_names_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    exist = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    named = set(re.findall(r"(?<![/\w])(test_\w+)(?![\w.])", page))
    assert len(named) > 20
    assert named - exist == set()
    files = set(re.findall(r"tests/[\w/]+\.py", page))
    assert {file for file in files if not (ROOT / file).exists()} == set()
