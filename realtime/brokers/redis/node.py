"""One server that keeps rooms, as a broker has it: three connections, and how it has answered."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from realtime.brokers.redis.pipeline import Carrier, Script
from realtime.brokers.redis.pubsub import Ear, Owner
from realtime.brokers.redis.topology import FAILURES
from realtime.errors import NoBroker
from realtime.tasks import Supervisor

T = TypeVar("T")

# Scripts in one round trip: some ten milliseconds of the server's only thread, and a megabyte or
# two of words or of pages.
WORDS_TOGETHER, PAGES_TOGETHER = 512, 16

# Whether the server answers; and what is said to ourselves, to know whether we hear it there.
_ANSWER = Script(b"return 1")
_SPEAK = Script(b"return redis.call('PUBLISH', ARGV[2], '')")


class Attempts:
    """Commands to one server.

    While it does not answer they are made one at a time, and whoever comes meanwhile is told at
    once: a thousand who wait for the same timeout help nobody.
    """

    def __init__(self) -> None:
        self._running = 0
        self._failing = False
        self._closed = False

    async def make(self, command: Callable[[], Awaitable[T]]) -> T:
        """Await a command that is bounded in time; raises `NoBroker`, or what the command does."""
        if self._closed or (self._failing and self._running):
            raise NoBroker
        self._running += 1
        try:
            answer = await command()
        except FAILURES as error:
            # One that is refused (READONLY, OOM, NOPERM) was answered: the next may be right.
            self._failing = not isinstance(error, ResponseError)
            raise
        finally:
            self._running -= 1
        self._failing = False
        return answer

    async def close(self) -> None:
        """Begin no more, and wait for those under way, no longer than a command may take."""
        self._closed = True
        while self._running:
            await asyncio.sleep(0.01)


class Keeper:
    """Carries what is said and pages of history, and listens; `connect` makes a connection.

    Whatever is sent is answered within `seconds`, or has failed.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        prefix: bytes,
        seconds: float,
        owner: Owner,
    ) -> None:
        self.attempts = Attempts()
        self.supervisor = Supervisor()
        self.words = Carrier(connect, WORDS_TOGETHER, seconds, self.supervisor)
        self.pages = Carrier(connect, PAGES_TOGETHER, seconds, self.supervisor)
        self.ear = Ear(connect, prefix, self._speak, seconds, self.supervisor)
        self.supervisor.supervise("listen", lambda: self.ear.run(owner))

    async def answer(self) -> None:
        """Return if the server answers; raises as an attempt does."""
        await self._ask(_ANSWER)

    async def _speak(self, channel: bytes) -> None:
        await self._ask(_SPEAK, channel)

    async def _ask(self, script: Script, *arguments: bytes) -> Any:
        return await self.attempts.make(lambda: self.words.run(script, [], arguments))

    async def close(self) -> None:
        """Drop all connections; what is under way has failed, and may have been done."""
        await self.words.close()
        await self.pages.close()
        await self.supervisor.close()
