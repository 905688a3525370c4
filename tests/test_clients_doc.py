"""The programs of docs/clients.md run as they are, and print what the page says.

Those for the browser are run by tests/browser/test_client.py.
"""

import asyncio
import re
from itertools import pairwise
from pathlib import Path

import pytest

from realtime.client import ALL_CLIENTS, post
from tests.conftest import Servers

PAGE = Path(__file__).parent.parent / "docs" / "clients.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# The address that the page uses.
ADDRESS = "127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    """Return the code of one language."""
    return [code for name, code in FENCE.findall(PAGE.read_text("utf-8")) if name == language]


def programs() -> list[tuple[str, str]]:
    """Return each Python program, and what it prints."""
    found = FENCE.findall(PAGE.read_text("utf-8"))
    return [
        (code, output)
        for (name, code), (following, output) in pairwise(found)
        if name == "python" and following == "text"
    ]


def test_every_python_program_prints_what_the_page_says(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    server = servers.get("memory")
    for text in ("hello", "bye"):
        asyncio.run(said(server.url, text))
    assert len(programs()) == len(blocks("python")) == len(blocks("text")) >= 6
    for code, output in programs():
        assert ADDRESS in code
        program = code.replace(ADDRESS, f"127.0.0.1:{server.port}")
        exec(compile(program, str(PAGE), "exec"), {"__name__": "__main__"})
        assert capsys.readouterr().out == output


async def said(url: str, text: str) -> None:
    await post(url, "lobby", name="Ada", text=text)


def test_both_tables_of_options_list_every_transport() -> None:
    python, browser = re.findall(
        r"^\| `transport` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    for row in (python, browser):
        assert set(re.findall(r"`(\w+)`", row)) == set(ALL_CLIENTS)
