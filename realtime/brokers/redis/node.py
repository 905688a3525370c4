"""One Redis server as the broker uses it: two pipelines, one subscription, one circuit breaker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from realtime.brokers.redis.keys import Keys
from realtime.brokers.redis.pipeline import Script, ScriptPipeline
from realtime.brokers.redis.pubsub import PubSubConnection, PubSubListener
from realtime.brokers.redis.topology import FAILURES
from realtime.errors import NoBroker
from realtime.tasks import Supervisor

T = TypeVar("T")

# Scripts per round trip.  One batch takes some ten milliseconds of the server's only thread, and a
# megabyte or two of messages or of history pages.
MAX_PUBLISH_BATCH, MAX_HISTORY_BATCH = 512, 16

# Checks that the server replies.
_PING = Script(b"return 1")
# Publishes an empty message to our own probe channel.
_PUBLISH_PROBE = Script(b"return redis.call('PUBLISH', ARGV[2], '')")


class CircuitBreaker:
    """Limits the commands to a server that does not reply.

    While the server fails, one command at a time tests it (half-open), and all others raise
    `NoBroker` at once: a thousand callers that wait for the same timeout help nobody.
    """

    def __init__(self) -> None:
        self._running = 0
        self._failing = False
        self._closed = False

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Await a command with its own time limit; raises `NoBroker`, or the command's error."""
        if self._closed or (self._failing and self._running):
            raise NoBroker
        self._running += 1
        try:
            reply = await command()
        except FAILURES as error:
            # An error reply (READONLY, OOM, NOPERM) is a reply: the next command may succeed.
            self._failing = not isinstance(error, ResponseError)
            raise
        finally:
            self._running -= 1
        self._failing = False
        return reply

    async def close(self) -> None:
        """Start no more commands; wait for those in flight, at most as long as one may take."""
        self._closed = True
        while self._running:
            await asyncio.sleep(0.01)


class RedisNode:
    """Our connections to one server; `connect` makes one.

    Each command has a reply, or has failed, within `seconds`.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        prefix: bytes,
        keys: Keys,
        seconds: float,
        listener: PubSubListener,
    ) -> None:
        self.breaker = CircuitBreaker()
        self.supervisor = Supervisor()
        # Pages of history have their own connection, so that no message waits behind them.
        self.publish_pipeline = ScriptPipeline(connect, MAX_PUBLISH_BATCH, seconds, self.supervisor)
        self.history_pipeline = ScriptPipeline(connect, MAX_HISTORY_BATCH, seconds, self.supervisor)
        self.pubsub = PubSubConnection(
            connect, prefix, keys, self._publish_probe, seconds, self.supervisor
        )
        self.supervisor.supervise("listen", lambda: self.pubsub.run(listener))

    async def ping(self) -> None:
        """Return if the server replies; raises as `CircuitBreaker.call` does."""
        await self._call(_PING)

    async def _publish_probe(self, channel: bytes) -> None:
        await self._call(_PUBLISH_PROBE, channel)

    async def _call(self, script: Script, *arguments: bytes) -> Any:
        return await self.breaker.call(lambda: self.publish_pipeline.call(script, [], arguments))

    async def close(self) -> None:
        """Drop all connections; calls in flight fail, though Redis may have run them."""
        await self.publish_pipeline.close()
        await self.history_pipeline.close()
        await self.supervisor.close()
