"""client.js for other people's pages: what it loads, and what it costs."""

import gzip
import re
from pathlib import Path

from tests.cases import each

STATIC = Path(__file__).parents[2] / "demos" / "static"
IMPORT = re.compile(r"""^(?:import|export) [^"]*?from "(.+?)";""", re.MULTILINE)
# Those that need no library of others.
OWN = [
    path.stem for path in STATIC.glob("transports/*.js") if "load_script" not in path.read_text()
]
# docs/clients.md promises it.  The frame of an iframe needs more.
MAX_BYTES = 12 * 1024
# What only these need: a frame of their own, or QUIC.
LARGER = {"iframe_streaming": 13 * 1024, "webtransport": 14 * 1024}


def graph(*files: Path) -> set[Path]:
    """Return all modules that these import, with themselves."""
    found: set[Path] = set()
    waiting = [*files]
    while waiting:
        path = waiting.pop().resolve()
        if path not in found:
            found.add(path)
            waiting += [path.parent / name for name in IMPORT.findall(path.read_text("utf-8"))]
    return found


def loaded(transport: str) -> set[Path]:
    return graph(STATIC / "client.js", STATIC / "transports" / f"{transport}.js")


def test_there_are_the_transports_of_our_own() -> None:
    assert {"short_polling", "sse", "fetch_streaming", "websocket", *LARGER} <= {*OWN}


@each("transport", OWN)
def test_a_page_loads_little_for_one_transport(transport: str) -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in loaded(transport)}
    assert sum(sizes.values()) <= LARGER.get(transport, MAX_BYTES), sizes


@each("transport", [path.stem for path in STATIC.glob("transports/*.js")])
def test_a_client_needs_no_texts_of_our_pages(transport: str) -> None:
    assert "i18n.js" not in {path.name for path in loaded(transport)}
