"""Real servers for the tests: processes of `python -m realtime`, over memory and a real Redis.

A server is started once per module for each set of options that some test requests, and every test
uses its own room.  At its end each server is stopped, and must exit without an error.
"""

import gc
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from importlib import import_module
from itertools import cycle
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from tests import IS_NEW
from tests.server_process import ROOT, Server

# The time of an example says more about the load of the machine than about the code.
settings.register_profile("realtime", deadline=None, max_examples=30)
settings.load_profile("realtime")

# A start or a stop takes less, even on a slow machine.
SECONDS = 20


# It will have the socket of the fork server of forked_process.py.  If it were made by the first
# test that starts a server, that test could have a TMPDIR of its own, which is removed.
get_temp_dir()


# Long tests that wait most of the time.  They start beside those of the browsers: at the end they
# would leave the processors idle.
WAITING = ("tests/benchmarks/test_scripts.py", "tests/netem/test_calibration.py")


def _long_group(item: pytest.Item) -> str | None:
    """The tests that take long, by what must stay in one process: their module shares its pages."""
    path = item.nodeid.partition("::")[0]
    if path in WAITING:
        return path
    if path == "tests/browser/test_engines.py":
        return path + item.nodeid.partition("[")[2]  # each engine needs more than a minute
    return path if path.startswith("tests/browser/") or path.endswith("test_leaks.py") else None


def _deal(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """Order tests so that two processes start with the pages, and another with those that wait.

    xdist gives each process a contiguous part of the list, and then moves tests from the end of the
    longest part: without this, one process would run all the pages, after all others have ended.
    Pages in all processes at once would leave no browser enough of the CPU.
    """
    groups: dict[str, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        group = _long_group(item)
        (short if group is None else groups.setdefault(group, [])).append(item)
    groups = dict(sorted(groups.items(), key=lambda one: "test_engines" not in one[0]))
    long: list[list[pytest.Item]] = [[] for _ in range(processes)]
    places = cycle((0, processes // 2) if processes > 2 else (0,))
    for group, group_items in groups.items():
        place = 1 % processes if group in WAITING else next(places)
        long[place] += group_items
    dealt: list[pytest.Item] = []
    for number, part in enumerate(long):
        end = (number + 1) * len(items) // processes - len(dealt)
        dealt += part + short[: max(0, end - len(part))]
        del short[: max(0, end - len(part))]
    return dealt + short


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m clocked`, import no module without such tests: that takes seconds of CPU time."""
    if config.option.markexpr != "clocked" or collection_path.suffix != ".py":
        return None
    if collection_path.parent.name == "benchmarks" or "clocked" in collection_path.read_text():
        return None
    return True


def pytest_configure(config: pytest.Config) -> None:
    """In a new checkout, compile what all processes import, before each of them does."""
    if IS_NEW and not hasattr(config, "workerinput"):
        for module in ("playwright.async_api", "tests.forked_program", "tests.transports.readers"):
            with suppress(ImportError):
                import_module(module)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Before it collects all tests, let each process import its share of their modules.

    All processes collect the same modules in the same order.  In a new checkout each of them would
    compile all modules, which takes 6 s of CPU time; so each finds most of them compiled.
    """
    config = collector.config
    all_tests = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not (isinstance(collector, pytest.Session) and all_tests):
        return
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    modules = sorted((ROOT / "tests").rglob("test_*.py"))
    for path in modules[number::processes]:
        if not pytest_ignore_collect(path, config):
            # A module that fails or skips does so again when pytest collects it.
            with suppress(Exception, pytest.skip.Exception):
                import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected from the garbage collector: it stays until the end.

    With ten thousand objects of pytest, each full collection takes half a second of CPU time.
    """
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark the tests of benchmarks that measure time; start with the longest tests.

    Of benchmarks, all measure time except those that only read or count.
    """
    for item in items:
        if item.nodeid.startswith("tests/benchmarks/") and not item.get_closest_marker("unhurried"):
            item.add_marker(pytest.mark.clocked)
    yield  # pytest selects by marker, and sorts by fixtures
    items[:] = _deal(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def missing(part: str) -> NoReturn:
    """Skip a test that needs `part`, with its name; with STRICT=1, as in CI, this is a failure."""
    end_test = pytest.fail if os.environ.get("STRICT") else pytest.skip
    end_test(f"{part} is missing")


class Redis:
    """A private Redis, on a Unix socket in its own folder, without persistence."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            missing("redis-server")
        path = folder / "redis.sock"
        self.url = f"unix://{path}"
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no", "--logfile", str(folder / "redis.log")]
        self.process = subprocess.Popen(command)
        self._wait_until_listening(path)

    def _wait_until_listening(self, path: Path) -> None:
        """Return when it accepts a connection; there is no other sign."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    return
            time.sleep(0.01)
        self.stop()
        pytest.fail(f"redis-server does not start: {(path.parent / 'redis.log').read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def make_certificate(path: Path) -> None:
    """Write a self-signed certificate for this machine, and its key."""
    program = shutil.which("openssl")
    if program is None:
        missing("openssl")
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())


class SharedParts:
    """What all servers of the session share: a Redis and a certificate, made when first used."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._folders = folders

    @cached_property
    def certificate(self) -> Path:
        """A certificate and its key, which every process of this session trusts."""
        path = self._folders.mktemp("tls") / "certificate.pem"
        make_certificate(path)
        os.environ["SSL_CERT_FILE"] = str(path)
        return path

    @cached_property
    def redis(self) -> Redis:
        redis = Redis(self._folders.mktemp("redis"))
        self._stack.callback(redis.stop)
        return redis


class Servers:
    """Starts a server when a test first requests it; the stack stops all of them at the end."""

    def __init__(self, stack: ExitStack, parts: SharedParts) -> None:
        self._stack = stack
        self._parts = parts
        self._running: dict[tuple[object, ...], Server] = {}

    def get(self, hub: str, *options: str, copy: int = 0) -> Server:
        """Return the server over `hub` with these options; each `copy` is another process."""
        key = (hub, *options, copy)
        if key not in self._running:
            self._running[key] = self._stack.enter_context(self.make(hub, *options))
        return self._running[key]

    def make(self, hub: str, *options: str) -> Server:
        """Return a server for one test, not started yet."""
        if hub == "tls":
            return Server("--hub", "memory", "--tls-certificate", str(self.certificate), *options)
        return Server("--hub", self.redis.url if hub == "redis" else hub, *options)

    @property
    def certificate(self) -> Path:
        return self._parts.certificate

    @property
    def redis(self) -> Redis:
        return self._parts.redis


@pytest.fixture(scope="session")
def shared_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedParts]:
    with ExitStack() as stack:
        yield SharedParts(stack, tmp_path_factory)


@pytest.fixture(scope="module")
def servers(shared_parts: SharedParts) -> Iterator[Servers]:
    """The servers of a module.

    A start and a stop take 45 ms of CPU time.  A server in which hundreds of rooms were opened
    takes 10 ms in each second, as long as it runs.
    """
    with ExitStack() as stack:
        yield Servers(stack, shared_parts)


@pytest.fixture(params=["memory", "redis"])
def hub(request: pytest.FixtureRequest) -> str:
    """Test every promise over every hub."""
    return str(request.param)


@pytest.fixture
def server(servers: Servers, hub: str) -> Server:
    """A server with the default limits, except the rate of messages."""
    return servers.get(hub, "--messages-per-second", "0")


@pytest.fixture
def room() -> str:
    """A new room without any events."""
    return f"room-{secrets.token_hex(6)}"
