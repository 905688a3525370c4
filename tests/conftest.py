"""Real servers for the tests: processes of `python -m realtime`, over memory and a real Redis.

A server is started once per session for each set of options that some test asks for, and every
test has a room of its own in it.  At the end each is told to stop, and must stop well.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from tests.server_process import Server

# How long an example takes says how busy the machine is.
settings.register_profile("realtime", deadline=None, max_examples=30)
settings.load_profile("realtime")

# Neither a start nor an end takes longer, even on a slow machine.
SECONDS = 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Benchmarks measure time, and so do their tests, but for those that only read or count."""
    for item in items:
        if item.nodeid.startswith("tests/benchmarks/") and not item.get_closest_marker("unhurried"):
            item.add_marker(pytest.mark.clocked)


def missing(part: str) -> NoReturn:
    """Skip for want of `part`, loudly; with STRICT=1, as in CI, that is a failure."""
    tell = pytest.fail if os.environ.get("STRICT") else pytest.skip
    tell(f"{part} is missing")


class Redis:
    """A Redis of our own, on a Unix socket in a folder of its own, which keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            missing("redis-server")
        path = folder / "redis.sock"
        self.url = f"unix://{path}"
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no", "--logfile", str(folder / "redis.log")]
        self.process = subprocess.Popen(command)
        self._await_socket(path)

    def _await_socket(self, path: Path) -> None:
        """Return when it listens, which can only be found out by trying."""
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
    """Write a certificate for this machine that signs itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        missing("openssl")
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())


class Servers:
    """Starts what a test asks for when it is first asked for; the stack stops all at the end."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._folders = folders
        self._redis: Redis | None = None
        self._running: dict[tuple[object, ...], Server] = {}

    def get(self, hub: str, *options: str, copy: int = 0) -> Server:
        """The server over `hub` with these options; a `copy` is one more process of the same."""
        key = (hub, *options, copy)
        if key not in self._running:
            self._running[key] = self._stack.enter_context(self.make(hub, *options))
        return self._running[key]

    def make(self, hub: str, *options: str) -> Server:
        """A server for one test alone, not started yet."""
        if hub == "tls":
            return Server("--hub", "memory", "--tls-certificate", str(self.certificate), *options)
        return Server("--hub", self.redis.url if hub == "redis" else hub, *options)

    @cached_property
    def certificate(self) -> Path:
        """A certificate of our own and its key, which all of this session trust."""
        path = self._folders.mktemp("tls") / "certificate.pem"
        make_certificate(path)
        os.environ["SSL_CERT_FILE"] = str(path)
        return path

    @property
    def redis(self) -> Redis:
        if self._redis is None:
            self._redis = Redis(self._folders.mktemp("redis"))
            self._stack.callback(self._redis.stop)
        return self._redis


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, tmp_path_factory)


@pytest.fixture(params=["memory", "redis"])
def hub(request: pytest.FixtureRequest) -> str:
    """Every promise is kept over every hub."""
    return str(request.param)


@pytest.fixture
def server(servers: Servers, hub: str) -> Server:
    """A server with the usual limits, but that nobody here is ever too fast for it."""
    return servers.get(hub, "--messages-per-second", "0")


@pytest.fixture
def room() -> str:
    """A room where nothing was ever said."""
    return f"room-{secrets.token_hex(6)}"
