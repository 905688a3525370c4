"""The house keeps its order: imports point down, and every transport has all of its mirrors.

The sources are parsed, not imported, so a rule also holds for an import inside a function.  Each
failure names the rule and the line that broke it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

EVERY = {
    "short_polling",
    "long_polling",
    "iframe_streaming",
    "sse",
    "fetch_streaming",
    "websocket",
    "sockjs",
    "socketio",
}
TRANSPORTS = {f"transports.{name}" for name in EVERY} | {"transports.publish"}
# What they have in common, each built on the one before.
COMMON = {
    *("base", "answering", "exchange", "streaming", "handler", "upgrade"),
    *("engineio", "engineio_session"),
}

# A module imports only from rows below its own.
LAYERS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"cluster"},
    {"app", "listen", "status"},
    {"lab"},
    {"operations", "pages", "networks", "workers"},
    {"front"},
    {"nginx", "proxy", "server", "spawn", "talk"},
    {"census", "connection"},
    {"logs", "wire"},
    TRANSPORTS,
    {"transports.engineio", "transports.streaming"},
    {"transports.engineio_session", "transports.upgrade"},
    {"transports.answering", "transports.exchange", "transports.handler"},
    {"transports.base"},
    {"sockjs_router"},
    {"sockjs_router.router"},
    {"sockjs_router.handlers"},
    {"sockjs_router.session"},
    {"sockjs_router.roles"},
    {"sockjs_router.framing"},
    {"frames", "http1", "tap"},
    # The core: from here down, nothing knows how a byte reaches a browser ...
    {"hub", "presence"},
    {"broadcaster", "brokers.memory", "brokers.redis"},
    {"brokers.keeper"},
    {"brokers.ear"},
    {"brokers", "brokers.carrier", "brokers.servers"},
    {"forwarding", "tasks"},
    {"metrics"},
    # ... and from here down, nothing can wait or ask the time.
    {"boundaries", "line", "room"},
    {"behind", "events", "gate", "network"},
    {"errors", "limits"},
    {"__init__", "transports"},
]
DEPTH = {module: depth for depth, row in enumerate(LAYERS) for module in row}

# From the row of this module down, these are not imported.
FORBIDDEN = {"hub": {"tornado"}, "room": {"asyncio", "time"}}

# Where one file per transport is, and what else may stand there.
MIRRORS: dict[str, set[str]] = {
    "realtime/transports/{}.py": {"__init__", "publish"} | COMMON,
    "demos/{}.html": {"index", "cluster", "frame", "lecturer", "spinner", "sticky"},
    "demos/static/transports/{}.js": set(),
    "benchmarks/clients/{}.py": {"__init__", "base", "http"},
    "tests/transports/test_{}.py": {"promises", "publish"} | COMMON,
}

# Modules without a test file of their own, each with its reason.
UNTESTED = {
    "__init__": "only a version",
    "__main__": "one call; tests/test_setup.py runs it",
    "frames": "tests/properties/test_frames.py and tests/transports/test_websocket.py",
    "transports.engineio": "tests/transports/test_socketio.py speaks it, packet by packet",
    "transports.engineio_session": "the same, and its slow readers",
    "transports.answering": "tests/transports/test_promises.py says things on each such connection",
    "transports.handler": "what pages, operations and the WebSocket's handshake have in common",
    "transports.upgrade": "tests/transports/test_websocket.py shakes hands with it",
    "sockjs_router": "silences two warnings by name, which every import of it proves",
    "sockjs_router.roles": "interfaces; tests/transports/sockjs tests them all",
    "brokers": "an interface; tests/brokers/ hold every broker to it",
    "transports": "only a docstring",
}


def modules(root: Path) -> dict[str, Path]:
    """Every module under realtime/, by its name without `realtime.`."""
    found = {}
    for path in sorted((root / "realtime").rglob("*.py")):
        name = ".".join(path.relative_to(root / "realtime").with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(source: str) -> Iterator[tuple[int, str]]:
    """The line and the dotted name of all that `source` imports; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def ours(dotted: str) -> str | None:
    """The module of realtime/ that `dotted` is, or is in; None for everybody else's."""
    if dotted.split(".")[0] != "realtime":
        return None
    name = dotted.removeprefix("realtime").removeprefix(".")
    while name and name not in DEPTH:
        name = name.rpartition(".")[0]
    return name or "__init__"


def import_faults(module: str, source: str) -> Iterator[str]:
    """Say which line of `source` breaks which rule, if it is the text of `module`."""
    if module not in DEPTH:
        yield f"realtime {module}: has no row in LAYERS of tests/test_architecture.py"
        return
    for line, dotted in imports(source):
        where = f"realtime {module}, line {line}, imports {dotted}:"
        if dotted.startswith("."):
            yield f"{where} imports are written in full, from `realtime` on"
        for first, names in FORBIDDEN.items():
            if DEPTH[module] >= DEPTH[first] and dotted.split(".")[0] in names:
                yield f"{where} from `{first}` down, nothing imports {' or '.join(sorted(names))}"
        target = ours(dotted)
        if target is None:
            continue
        if module.startswith("transports.") and (
            target == "wire" or target.startswith("brokers") or target in TRANSPORTS
        ):
            yield f"{where} a transport imports no other transport, no broker and not `wire`"
        elif DEPTH[target] <= DEPTH[module]:
            yield f"{where} imports point down only, see LAYERS"


def mirror_faults(root: Path) -> Iterator[str]:
    """Say which transport lacks which file, and which file belongs to no transport."""
    for pattern, others in MIRRORS.items():
        path = root / pattern
        start, end = path.name.split("{}")
        found = {
            file.name.removeprefix(start).removesuffix(end)
            for file in path.parent.glob(f"{start}*{end}")
        }
        for name in sorted(EVERY - found):
            yield f"{pattern.format(name)} is missing: every transport has one"
        for name in sorted(found - EVERY - others):
            yield f"{pattern.format(name)} is a stray: no transport has this name"


def test_imports_point_down() -> None:
    faults = [
        fault
        for module, path in modules(ROOT).items()
        for fault in import_faults(module, path.read_text("utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_benchmark_clients_know_only_the_public_api() -> None:
    faults = [
        f"{path.relative_to(ROOT)}, line {line}, imports {dotted}: a client is on the other side"
        for path in sorted((ROOT / "benchmarks" / "clients").glob("*.py"))
        for line, dotted in imports(path.read_text("utf-8"))
        if dotted.split(".")[0] == "realtime"
    ]
    assert not faults, "\n".join(faults)


def test_every_transport_has_its_mirrors() -> None:
    faults = list(mirror_faults(ROOT))
    assert not faults, "\n".join(faults)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for folder in ("realtime", "benchmarks", "demos")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert not silent, f"no docstring: {', '.join(silent)}"


def test_every_module_has_its_test_file() -> None:
    def test_file(module: str) -> Path:
        folder, _, name = module.rpartition(".")
        return Path("tests", folder, f"test_{name}.py")

    bare = {name for name in modules(ROOT) if not (ROOT / test_file(name)).exists()}
    missing = [str(test_file(name)) for name in sorted(bare - UNTESTED.keys())]
    assert not missing, f"missing: {', '.join(missing)}"
    assert not UNTESTED.keys() - bare, "UNTESTED names a module that is gone, or has a test now"


# A check that cannot fail protects nothing: each rule is broken once.


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("hub", "from realtime.app import make_app", "point down"),
        ("hub", "from realtime import presence", "point down"),
        ("room", "import realtime.hub", "point down"),
        ("limits", "def f():\n    from realtime.errors import Busy", "point down"),
        ("transports.base", "from realtime.transports import sse", "no other transport"),
        ("transports.sse", "import realtime.transports.websocket", "no other transport"),
        ("transports.sse", "from realtime.core.broker.redis import RedisBroker", "no broker"),
        ("transports.sse", "from realtime import brokers", "no broker"),
        ("transports.sse", "from realtime.wire import Ledger", "not `wire`"),
        ("transports.sse", "from .base import chunk", "in full"),
        ("presence", "import tornado.ioloop", "nothing imports tornado"),
        ("brokers.redis", "from tornado import gen", "nothing imports tornado"),
        ("gate", "from asyncio import sleep", "nothing imports asyncio or time"),
        ("room", "import time", "nothing imports asyncio or time"),
        ("novelty", "", "no row"),
    ],
)
def test_a_forbidden_import_is_seen(module: str, line: str, rule: str) -> None:
    assert [fault for fault in import_faults(module, line) if rule in fault]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hub", "from realtime.room import Room"),
        ("hub", "import asyncio"),
        ("transports.sse", "from realtime.transports.base import chunk"),
        ("transports.sse", "from tornado.web import RequestHandler"),
        ("operations", "from realtime import __version__"),
        ("room", "from timeit import timeit"),
    ],
)
def test_an_allowed_import_is_not_a_fault(module: str, line: str) -> None:
    assert not list(import_faults(module, line))


def test_a_missing_and_a_stray_mirror_are_seen(tmp_path: Path) -> None:
    for pattern in MIRRORS:
        for name in EVERY - {"sse"} | {"server_sent_events"}:
            file = tmp_path / pattern.format(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    faults = list(mirror_faults(tmp_path))
    for pattern in MIRRORS:
        assert f"{pattern.format('sse')} is missing: every transport has one" in faults
        stray = pattern.format("server_sent_events")
        assert f"{stray} is a stray: no transport has this name" in faults
    assert len(faults) == 2 * len(MIRRORS)
