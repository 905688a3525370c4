"""Choosing a hub: a broker for ``--hub``, with a private server of our own where it needs one.

We never use a server that happens to be there.  One that we start has no persistence and no
network port: it lives behind a Unix socket in a folder that only we may enter, and ends with us.
"""

from dataclasses import dataclass

from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.broker import RedisBroker
from realtime.brokers.redis.process import PROGRAMS, HubError, RedisProcess, find_program
from realtime.brokers.redis.topology import SCHEMES
from realtime.core.broker import Broker
from realtime.limits import Limits


@dataclass
class HubChoice:
    """A broker, what to call it on the first line and the pages, and the server begun for it."""

    broker: Broker
    label: str
    server: RedisProcess | None = None


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


def _without_password(url: str) -> str:
    # Up to the last @, since a password may hold a slash that should have been escaped.
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
