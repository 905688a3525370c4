"""The architecture, checked: imports point one way, and every transport is complete.

The sources are parsed, not imported, so a rule also holds for an import inside a function.  Each
failure names the row that a line broke.
"""

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cases import each

ROOT = Path(__file__).parent.parent

# Any code may use these: the files errors, limits, metrics, logs and tasks of realtime/.
COMMON = {"errors", "limits", "metrics", "logs", "tasks"}


class Row(NamedTuple):
    """Which parts of realtime/ the files of one part may import, besides itself and COMMON."""

    may_import: str
    reason: str


ROWS = {
    "core": Row("", "the chat itself knows no broker, no protocol and no server"),
    "brokers": Row("core", "a broker implements the interface in core/broker.py"),
    "protocol": Row("core", "wire formats: bytes in, values out"),
    "transports": Row("core protocol", "a transport knows no broker, no stream and no page"),
    "server": Row("core protocol transports", "connections carry transports, not pages"),
    "netem": Row("", "a network emulator for any TCP server"),
    "client": Row("", "the other side of the wire: it shares no code with the server"),
    "web": Row("core protocol transports server netem", "pages and operations of one process"),
    "cluster": Row("core brokers protocol transports server web", "it starts many processes"),
    "app": Row(
        "core protocol transports server netem web", "it puts the parts of a process together"
    ),
    "cli": Row(
        "core brokers protocol transports server netem web cluster app client", "it may use all"
    ),
    "__main__": Row("cli", "it calls the command line"),
}
# The common files form a chain, so that none of them needs the rest of realtime/.
COMMON_MAY_IMPORT = {
    "errors": set(),
    "limits": set(),
    "metrics": set(),
    "logs": set(),
    "tasks": {"errors", "metrics"},
}
# Packages of others that a part must not import, and modules that must stay pure.
FORBIDDEN = {
    "core": {"tornado", "redis", "socket"},
    "brokers": {"tornado"},
    "protocol": {"redis", "socket", "time.sleep", "aioquic"},
    "transports": {"aioquic"},
    "web": {"aioquic"},
    "netem": {"tornado", "redis"},
    "core.events": {"asyncio", "time"},
    "core.room": {"asyncio", "time"},
    "core.rate_limit": {"asyncio", "time"},
    "core.admission": {"asyncio", "time"},
    "core.access": {"asyncio", "time"},
    "core.names": {"asyncio", "time"},
    "protocol.origin": {"asyncio", "time"},
}
TRANSPORTS = (
    "short_polling",
    "long_polling",
    "iframe_streaming",
    "sse",
    "fetch_streaming",
    "websocket",
    "sockjs",
    "socketio",
    "webtransport",
)
# realtime/ holds at most so many files; everything else lies in its folders.
MAX_FILES = 8
FOLDERS = {
    *("brokers", "cli", "client", "cluster", "core", "netem", "protocol", "server"),
    *("transports", "web"),
}


# --- imports -------------------------------------------------------------------------------------


def modules(package: str) -> dict[str, Path]:
    """Return every module of a top-level package by its dotted name, without the package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / package).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of each import; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def transport_of(dotted: str) -> str | None:
    """Return the transport that a module of realtime/ belongs to; None for shared ones."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "transports" and parts[1:] and parts[1] in TRANSPORTS else None


def import_faults(module: str, source: str) -> Iterator[str]:
    """Yield each line of `source` that breaks a row, if it is the text of `realtime.<module>`."""
    part = module.split(".")[0]
    for line, dotted in imports(source):
        where = f"realtime.{module}, line {line}, imports {dotted}:"
        if dotted.startswith("."):
            yield f"{where} write imports in full, from `realtime` on"
        for pure, names in FORBIDDEN.items():
            inside = module == pure or module.startswith(f"{pure}.")
            if inside and dotted.split(".")[0] in names:
                yield f"{where} `{pure}` imports none of {', '.join(sorted(names))}"
        if not dotted.startswith("realtime."):
            continue
        target = dotted.removeprefix("realtime.")
        other = target.split(".")[0]
        if part in COMMON:
            if other not in COMMON_MAY_IMPORT[part]:
                yield f"{where} row `{part}`: a common file imports no other part"
        elif part == "client" and other != "client":
            yield f"{where} row `client`: {ROWS[part].reason}"
        elif part not in ROWS and module != "__init__":
            yield f"{where} `{part}` has no row in tests/test_architecture.py"
        elif other not in COMMON | {part, "__version__"} | set(ROWS[part].may_import.split()):
            yield f"{where} row `{part}`: {ROWS[part].reason}"
        elif part == "transports" and transport_of(target) not in (None, transport_of(module)):
            yield f"{where} row `transports`: a transport imports no other transport"


def test_imports_point_one_way() -> None:
    faults = [
        fault
        for module, path in modules("realtime").items()
        for fault in import_faults(module, path.read_text("utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_the_rows_have_no_cycle() -> None:
    order: list[str] = []
    for part, row in ROWS.items():
        assert set(row.may_import.split()) <= set(order), f"row `{part}` names a later row"
        order.append(part)


# What the clients use where it is installed; everything else is in Python.
OPTIONAL = {"zstandard"}
# The same for one file, which is imported when a WebTransport client opens.
OPTIONAL_IN = {"quic.py": {"aioquic", "cryptography"}}


def test_the_client_needs_only_python() -> None:
    known = sys.stdlib_module_names | OPTIONAL | {"realtime"}
    faults = [
        f"{path.relative_to(ROOT)}, line {line}, imports {dotted}: it is not in Python"
        for path in sorted((ROOT / "realtime" / "client").glob("*.py"))
        for line, dotted in imports(path.read_text("utf-8"))
        if dotted.split(".")[0] not in known | OPTIONAL_IN.get(path.name, set())
    ]
    assert not faults, "\n".join(faults)


# --- files and names -----------------------------------------------------------------------------


def test_the_folders_show_the_architecture() -> None:
    files = [path.name for path in (ROOT / "realtime").glob("*.py")]
    folders = {path.parent.name for path in (ROOT / "realtime").glob("*/__init__.py")}
    assert len(files) <= MAX_FILES, sorted(files)
    assert folders == FOLDERS


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for folder in ("realtime", "benchmarks", "demos")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
        and "node_modules" not in path.parts
    ]
    assert not silent, f"no docstring: {', '.join(silent)}"


def test_no_two_public_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for package in ("realtime", "benchmarks"):
        for module, path in modules(package).items():
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(f"{package}.{module}")
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice


# Modules without a test file of their own, each with its reason.
UNTESTED = {
    "__main__": "one call; tests/test_setup.py runs it",
    "cli.recorder": "tests/cli/test_capture.py",
    "client.clients": "a table; the promise tests use it",
    "client.encodings": "tests/transports/test_compression.py reads with it",
    "client.fetch_streaming": "tests/client/test_body_readers.py",
    "client.iframe_streaming": "tests/client/test_body_readers.py",
    "client.long_polling": "tests/client/test_base.py polls with it",
    "client.sansio": "tests/client/test_protocols.py",
    "client.short_polling": "tests/client/test_base.py polls with it",
    "client.socketio": "tests/client/test_protocols.py",
    "client.sockjs": "tests/client/test_protocols.py",
    "client.sse": "tests/client/test_body_readers.py",
    "core.broker": "an interface; tests/brokers/test_promises.py holds every broker to it",
    "protocol.websocket_frames": "tests/properties/test_frames.py decodes them",
    "server.traffic": "tests/server/test_stream.py compares its counts with a relay",
    "transports.acks": "tests/transports/test_promises.py publishes on each such connection",
    "transports.upgrade": "tests/transports/test_websocket.py sends the handshakes",
    "transports.sockjs.interfaces": "interfaces only",
    "transports.sockjs.http_transports": "tests/transports/sockjs/test_handlers.py",
    "transports.sockjs.websocket_transports": "tests/transports/sockjs/test_handlers.py",
    "transports.sockjs.transport": "tests/transports/test_sockjs.py",
    "transports.socketio.clients": "tests/transports/test_socketio.py",
    "transports.socketio.engineio": "tests/transports/test_socketio.py",
    "transports.socketio.engineio_handler": "tests/transports/test_socketio.py",
    "transports.socketio.session": "tests/transports/test_socketio.py",
    "transports.socketio.transport": "tests/transports/test_socketio.py",
}


def test_every_module_has_its_test_file() -> None:
    def test_file(module: str) -> Path:
        folder, _, name = module.rpartition(".")
        return Path("tests", *folder.split("."), f"test_{name}.py")

    bare = {
        name
        for name, path in modules("realtime").items()
        if path.name != "__init__.py" and not (ROOT / test_file(name)).exists()
    }
    missing = [str(test_file(name)) for name in sorted(bare - UNTESTED.keys())]
    assert not missing, f"missing: {', '.join(missing)}"
    assert not UNTESTED.keys() - bare, "UNTESTED names a module that is gone, or has a test now"


# --- a transport is complete ---------------------------------------------------------------------

# What may lie beside the files of the transports, in the same folder.
BESIDE = {
    "realtime/transports/{}.py": {
        *("__init__", "acks", "affinity", "base", "exchange", "handler", "lingering", "membership"),
        *("polling", "publish", "streaming", "upgrade"),
    },
    "demos/{}.html": {
        "index",
        "capture",
        "cluster",
        "example",
        "faults",
        "frame",
        "glossary",
        "lab",
        "lecturer",
        "class",
        "projector",
        "spinner",
        "sticky",
    },
    "demos/static/transports/{}.js": set(),
    "realtime/client/{}.py": {
        *("__init__", "base", "clients", "connection", "encodings", "http", "protocols"),
        *("quic", "quic_socket", "replies", "sansio"),
    },
    "tests/transports/test_{}.py": {
        *("access", "acks", "affinity", "base", "compression", "exchange", "handler", "lingering"),
        *("membership", "polling", "promises", "publish", "streaming"),
    },
}
LANGUAGES = ("en", "zh-Hans", "zh-Hant")


def place_faults(root: Path, name: str) -> Iterator[str]:
    """Yield which of the eight places of a transport is empty; CONTRIBUTING.md lists the same."""
    module = root / "realtime" / "transports" / f"{name}.py"
    if not (module.exists() or (module.with_suffix("") / "transport.py").exists()):
        yield f"realtime/transports/{name}.py: the transport itself"
    if f"realtime.transports.{name}" not in _text(root / "realtime" / "app.py"):
        yield f"realtime/app.py: the URL of {name}"
    for place in (
        f"demos/{name}.html",
        f"demos/static/transports/{name}.js",
        f"demos/static/lessons/{name}.js",
        f"realtime/client/{name}.py",
        f"tests/transports/test_{name}.py",
    ):
        if not (root / place).exists():
            yield place
    for language in LANGUAGES:
        texts = json.loads(_text(root / "demos" / "i18n" / f"{language}.json") or "{}")
        if f"page.{name}.name" not in texts:
            yield f"demos/i18n/{language}.json: page.{name}.name"


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def stray_faults(root: Path) -> Iterator[str]:
    """Yield files that stand among those of the transports and belong to none."""
    for pattern, others in BESIDE.items():
        path = root / pattern
        start, end = path.name.split("{}")
        for file in sorted(path.parent.glob(f"{start}*{end}")):
            name = file.name.removeprefix(start).removesuffix(end)
            if name not in TRANSPORTS and name not in others:
                yield f"{file.relative_to(root)}: no transport has this name"


@each("name", TRANSPORTS)
def test_every_transport_is_in_its_eight_places(name: str) -> None:
    assert not list(place_faults(ROOT, name))


def test_no_file_stands_among_the_transports_by_mistake() -> None:
    assert not list(stray_faults(ROOT))


def test_the_guide_for_contributors_lists_the_eight_places() -> None:
    guide = _text(ROOT / "CONTRIBUTING.md")
    places = [
        "realtime/transports/NAME.py",
        "realtime/app.py",
        "demos/NAME.html",
        "demos/static/transports/NAME.js",
        "demos/static/lessons/NAME.js",
        "realtime/client/NAME.py",
        "tests/transports/test_NAME.py",
        "demos/i18n/",
    ]
    assert [place for place in places if f"`{place}" not in guide] == []


# --- a check that cannot fail protects nothing: each rule is broken once --------------------------


@each(
    ("module", "line", "rule"),
    [
        ("core.hub", "from realtime.app import make_router", "row `core`"),
        ("core.hub", "from realtime import cluster", "row `core`"),
        ("core.room", "import realtime.brokers.memory", "row `core`"),
        ("limits", "def f():\n    from realtime.errors import Busy", "row `limits`"),
        ("client.http", "from realtime.errors import Busy", "row `client`"),
        ("web.lab", "from realtime.client import connect", "row `web`"),
        ("brokers.memory", "from realtime.protocol import http1", "row `brokers`"),
        ("protocol.http1", "from realtime.transports import base", "row `protocol`"),
        ("transports.base", "from realtime.transports import sse", "no other transport"),
        ("transports.sse", "import realtime.transports.websocket", "no other transport"),
        (
            "transports.sockjs.router",
            "from realtime.transports.socketio import session",
            "no other",
        ),
        ("transports.sse", "from realtime.brokers.redis.broker import X", "row `transports`"),
        ("transports.sse", "from realtime.server.stream import MeteredStream", "row `transports`"),
        ("server.server", "from realtime.web import pages", "row `server`"),
        ("netem.proxy", "from realtime.protocol import http1", "row `netem`"),
        ("web.lab", "from realtime.cluster import master", "row `web`"),
        ("cluster.master", "from realtime.cli import config", "row `cluster`"),
        ("app", "from realtime.cluster import registry", "row `app`"),
        ("transports.sse", "from .base import chunk", "in full"),
        ("core.presence", "import tornado.ioloop", "imports none of"),
        ("brokers.redis.broker", "from tornado import gen", "imports none of"),
        ("protocol.origin", "from asyncio import sleep", "imports none of"),
        ("core.room", "import time", "imports none of"),
        ("transports.webtransport", "from aioquic.h3.connection import X", "imports none of"),
        ("novelty.thing", "import realtime.errors", "no row"),
    ],
)
def test_a_forbidden_import_is_found(module: str, line: str, rule: str) -> None:
    assert [fault for fault in import_faults(module, line) if rule in fault]


@each(
    ("module", "line"),
    [
        ("core.hub", "from realtime.core.room import Room"),
        ("core.hub", "import asyncio"),
        ("transports.sse", "from realtime.transports.base import chunk"),
        ("transports.sockjs.transport", "from realtime.transports.sockjs import router"),
        ("transports.sse", "from tornado.web import RequestHandler"),
        ("web.operations", "from realtime import __version__"),
        ("core.room", "from timeit import timeit"),
        ("tasks", "from realtime import metrics"),
        ("client.sse", "from realtime.client.base import HTTPStreamClient"),
    ],
)
def test_an_allowed_import_is_not_a_fault(module: str, line: str) -> None:
    assert not list(import_faults(module, line))


def test_a_missing_and_a_stray_file_are_found(tmp_path: Path) -> None:
    for pattern in BESIDE:
        file = tmp_path / pattern.format("server_sent_events")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert len(list(stray_faults(tmp_path))) == len(BESIDE)
    assert len(list(place_faults(tmp_path, "sse"))) == 7 + len(LANGUAGES)
