"""Turn the value of ``--hub`` into a broker, and start a private Redis where it needs one.

We never use a Redis that happens to run on this machine.  A private one has no persistence and no
network port: it listens on a Unix socket in a folder that only this user may enter, and it stops
with us.

The client of Redis takes a seventh of the CPU time of a start, so only those hubs that need it
import it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.keys import DEFAULT_PREFIX
from realtime.core.broker import Broker
from realtime.limits import Limits

if TYPE_CHECKING:
    from realtime.brokers.redis.process import RedisProcess


class HubError(Exception):
    """The hub that ``--hub`` asks for is not available; the message is for the command line."""


@dataclass
class HubChoice:
    """A broker, its label for the first line and the pages, and the process started for it.

    `drop_subscriptions` loses its pub/sub connections; a broker in memory has none.
    """

    broker: Broker
    label: str
    server: "RedisProcess | None" = None
    drop_subscriptions: Callable[[], None] | None = None


async def choose(hub: str, limits: Limits, prefix: str = DEFAULT_PREFIX) -> HubChoice:
    """Turn ``auto``, ``memory``, ``spawn`` or an address into a broker; raises `HubError`.

    `prefix` starts the names of all keys and channels in Redis.
    """
    if hub == "memory":
        return HubChoice(MemoryBroker(limits), "memory")
    if hub in ("auto", "spawn"):
        return await _spawn(limits, prefix, or_memory=hub == "auto")
    from realtime.brokers.redis.broker import RedisBroker
    from realtime.brokers.redis.topology import SCHEMES

    scheme, separator, _ = hub.partition("://")
    if not separator or scheme not in SCHEMES:
        # The message does not repeat the value: it may contain a password.
        addresses = ", ".join(f"{scheme}://…" for scheme in SCHEMES)
        raise HubError(f"--hub must be auto, memory, spawn or an address: {addresses}")
    try:
        broker = RedisBroker(hub, limits, prefix)
    except ValueError as error:
        raise HubError("--hub: this is not a valid Redis address") from error
    return HubChoice(broker, _without_password(hub), None, broker.drop_subscriptions)


async def _spawn(limits: Limits, prefix: str, *, or_memory: bool) -> HubChoice:
    from realtime.brokers.redis import process
    from realtime.brokers.redis.broker import RedisBroker

    program = process.find_program()
    try:
        if program is None:
            raise process.RedisStartError(f"no {' or '.join(process.PROGRAMS)} found")
        # Redis needs about as much again around what it stores.
        server = await process.RedisProcess.start(program, 2 * limits.history_bytes)
    except process.RedisStartError as error:
        if not or_memory:
            raise HubError(str(error)) from error
        return HubChoice(MemoryBroker(limits), f"memory, {error}")
    name = program.name.removesuffix("-server")
    broker = RedisBroker(server.url, limits, prefix)
    return HubChoice(broker, f"{name}, spawned", server, broker.drop_subscriptions)


def _without_password(url: str) -> str:
    # Up to the last @: a password may contain a slash that should have been escaped.
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
