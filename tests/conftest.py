"""Real servers for the tests: processes of `python -m realtime`, over memory and a real Redis.

A server is started once per session for each set of options that some test asks for, and every
test has a room of its own in it.  At the end each is told to stop, and must do so in peace.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent

# Nothing that starts or stops here takes longer, even on a slow machine.
SECONDS = 30


def missing(part: str) -> NoReturn:
    """Skip for want of `part`, loudly; with STRICT=1, as in CI, that is a failure."""
    if os.environ.get("STRICT"):
        pytest.fail(f"STRICT: {part} is missing")
    pytest.skip(f"{part} is missing")


class Server:
    """One server process."""

    def __init__(self, hub: str, *options: str) -> None:
        self.hub = hub
        command = [sys.executable, "-m", "realtime", "--port", "0", "--hub", hub, *options]
        # A file, since nobody reads it while the server runs, and a full pipe would stop it.
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        try:
            self.first_line = self._read_first_line()
            self.url = self.first_line.split(" on ")[1].split(" ")[0]
        except BaseException:
            self.process.kill()
            self._reap()
            raise
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def stop(self) -> None:
        """End it with SIGTERM; it must say that all went well, and nothing else."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(SECONDS)
        finally:
            self.process.kill()
            complaints = self._reap()
        assert status == 0, f"exit status {status}\n{complaints}"
        assert "Traceback" not in complaints, complaints
        assert "ERROR" not in complaints, complaints

    def kill(self) -> None:
        """End it as a lost machine ends."""
        self.process.kill()
        self._reap()

    def _read_first_line(self) -> str:
        assert self.process.stdout is not None
        timer = threading.Timer(SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line.startswith("realtime: listening on "), f"{line}{self._complaints()}"
        return line

    def _complaints(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def _reap(self) -> str:
        self.process.communicate()
        complaints = self._complaints()
        self._errors.close()
        return complaints


class Redis:
    """A Redis of our own, on a Unix socket in a folder of its own, which keeps nothing."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            missing("redis-server")
        path = folder / "redis.sock"
        self.url = f"unix://{path}"
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no", "--logfile", str(folder / "redis.log")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._await_socket(path)

    def _await_socket(self, path: Path) -> None:
        """Return when it listens: there is nothing of a process to wait on but its socket."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    return probe.connect(str(path))
                except OSError:
                    time.sleep(0.01)
        self.stop()
        pytest.fail("redis-server does not start")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()


class Servers:
    """Starts a server when it is first asked for, and stops all at the end."""

    def __init__(self, redis: "LazyRedis") -> None:
        self._redis = redis
        self._running: dict[tuple[str, ...], Server] = {}

    def get(self, hub: str, *options: str, copy: int = 0) -> Server:
        """The server over `hub` with these options; a `copy` is another process of the same."""
        key = (hub, *options, str(copy))
        if key not in self._running:
            self._running[key] = self.start(hub, *options)
        return self._running[key]

    def start(self, hub: str, *options: str) -> Server:
        """A server for one test, which must stop it itself."""
        return Server(self._redis.url if hub == "redis" else hub, *options)

    def stop(self) -> list[str]:
        """Stop them all, whatever happens to one, and tell what was wrong."""
        faults = []
        for key, server in self._running.items():
            try:
                server.stop()
            except (AssertionError, subprocess.TimeoutExpired) as fault:
                faults.append(f"{' '.join(key)}: {fault}")
        return faults


class LazyRedis:
    """The Redis of this session, if some test wants one."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._redis: Redis | None = None

    @property
    def url(self) -> str:
        if self._redis is None:
            self._redis = Redis(self._folders.mktemp("redis"))
        return self._redis.url

    def stop(self) -> None:
        if self._redis is not None:
            self._redis.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LazyRedis]:
    redis = LazyRedis(tmp_path_factory)
    yield redis
    redis.stop()


@pytest.fixture(scope="session")
def servers(redis_server: LazyRedis) -> Iterator[Servers]:
    servers = Servers(redis_server)
    yield servers
    faults = servers.stop()
    assert not faults, "\n".join(faults)


@pytest.fixture(params=["memory", "redis"])
def hub(request: pytest.FixtureRequest) -> str:
    """Every promise is kept over every hub."""
    value: str = request.param
    return value


@pytest.fixture
def server(servers: Servers, hub: str) -> Server:
    """A server with the usual limits; only a test of rates wants to be told to slow down."""
    return servers.get(hub, "--messages-per-second", "0")


@pytest.fixture
def room() -> str:
    """A room where nothing was ever said."""
    return f"room-{secrets.token_hex(6)}"
