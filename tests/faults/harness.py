"""A room with readers of every transport on every server, publishers, and an audit.

A reader does what a good page does: when its stream ends, it reconnects with its cursor, to any
server.  A publisher repeats a message, under the same id, until it is acknowledged.
"""

import asyncio
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from benchmarks.method.audit import Audit, audit
from realtime.client import CLIENTS, Client, Event, Refused, get_json
from realtime.tasks import cancel_and_wait

# Every fault is repaired in a few seconds: a test waits this long only when something is wrong.
SECONDS = 45
# The longest pause before a reconnect or a retry; real pages wait longer.
PAUSE = 0.2
# A request without a response for this long is dropped: the server hangs.
OPEN_SECONDS = 5
# Error codes after which a client tries again, perhaps at another server.
RETRYABLE = {"too_fast", "too_slow", "busy", "no_broker", "going_away"}


async def pause() -> None:
    await asyncio.sleep(random.uniform(0, PAUSE))


class RoundRobin:
    """Returns one address after the other, forever; the list may change in the meantime."""

    def __init__(self, urls: Sequence[str], start: int) -> None:
        self._urls = urls
        self._next = start

    def __next__(self) -> str:
        self._next += 1
        return self._urls[(self._next - 1) % len(self._urls)]


class ResumingReader:
    """A reader that reconnects with its cursor; `events` are all events in order of arrival."""

    def __init__(
        self, urls: RoundRobin, transport: str, room: str, after: str, **options: Any
    ) -> None:
        self.transport = transport
        self.events: list[Event] = []
        self.received = asyncio.Event()
        self.opened = asyncio.Event()
        self.reconnects = -1
        self._urls = urls
        self._room = room
        self._cursor = after
        self._options = options | ({"interval": 0.05} if transport == "short_polling" else {})

    async def run(self) -> None:
        while True:
            client = CLIENTS[self.transport](
                next(self._urls), self._room, after=self._cursor, **self._options
            )
            try:
                await self._read(client)
            except Refused as refused:
                if refused.code not in RETRYABLE:
                    raise
            except OSError:
                pass
            finally:
                client.abort()
            self._cursor = client.cursor or self._cursor
            await pause()

    async def _read(self, client: Client) -> None:
        self.reconnects += 1
        async with asyncio.timeout(OPEN_SECONDS):
            await client.open()
        self.opened.set()
        while True:
            self.events.append(await client.receive())
            self.received.set()

    async def until_received(self, id: str) -> None:
        """Return when this message has arrived."""
        while not any(event.get("id") == id for event in self.events[-300:]):
            self.received.clear()
            await self.received.wait()


class Publisher:
    """Publishes texts, each until it is acknowledged; `acknowledged` are the cursors by id."""

    def __init__(self, urls: RoundRobin, transport: str, room: str) -> None:
        self.acknowledged: dict[str, str] = {}
        self.retries = 0
        self._urls = urls
        self._transport = transport
        self._room = room
        self._client: Client | None = None

    async def publish(self, text: str) -> str:
        id = str(uuid.uuid4())
        while True:
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    receipt = await (await self._connect()).send(text, id=id)
                self.acknowledged[id] = receipt["cursor"]
                return id
            except Refused as refused:
                if refused.code not in RETRYABLE:
                    raise
            except OSError:
                self.abort()
            self.retries += 1
            await pause()

    async def _connect(self) -> Client:
        if self._client is None:
            client = CLIENTS[self._transport](next(self._urls), self._room, after="now")
            if self._transport == "websocket":
                try:
                    await client.open()
                except BaseException:
                    client.abort()  # the server died during the handshake
                    raise
            self._client = client
        return self._client

    def abort(self) -> None:
        if self._client is not None:
            self._client.abort()
            self._client = None


class Scenario:
    """One room on several servers; an async context manager."""

    def __init__(self, urls: Sequence[str], room: str, *, members: bool = False) -> None:
        self.urls = list(urls)
        self.room = room
        self.readers: dict[str, ResumingReader] = {}
        self.publishers: list[Publisher] = []
        self._members = members
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(len(self.urls)):
                    for transport in CLIENTS:
                        group.create_task(self.attach(f"{transport} {number}", transport, number))
            self.publishers = [
                Publisher(RoundRobin(self.urls, number), transport, self.room)
                for number in range(len(self.urls))
                for transport in ("websocket", "sse")
            ]
        except BaseException:
            await cancel_and_wait(self._tasks)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await cancel_and_wait(self._tasks)
        for publisher in self.publishers:
            publisher.abort()

    async def attach(self, name: str, transport: str, server: int) -> ResumingReader:
        """Add a reader; return when it is connected."""
        path = f"/rooms/{self.room}/short_polling?after=now"
        cursor = (await get_json(self.urls[server], path))["cursor"]
        member = name.replace(" ", "-")
        identity = {"client": member, "name": member} if self._members else {}
        urls = RoundRobin(self.urls, server)
        reader = ResumingReader(urls, transport, self.room, cursor, **identity)
        self.readers[name] = reader
        self._tasks.append(asyncio.create_task(reader.run(), name=name))
        async with asyncio.timeout(SECONDS):
            await reader.opened.wait()
        return reader

    # --- publishing ------------------------------------------------------------------------------

    @property
    def acknowledged(self) -> set[str]:
        return {id for publisher in self.publishers for id in publisher.acknowledged}

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Let all publishers publish during the block; then wait for their last receipts."""
        stop = asyncio.Event()

        async def publish(publisher: Publisher) -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                await publisher.publish(f"{number}")
                await asyncio.sleep(0.01)

        publishing = [asyncio.create_task(publish(publisher)) for publisher in self.publishers]
        try:
            yield
            stop.set()
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*publishing)
        finally:
            await cancel_and_wait(publishing)

    async def more(self, count: int) -> None:
        """Return when `count` more messages are acknowledged."""
        enough = len(self.acknowledged) + count
        async with asyncio.timeout(SECONDS):
            while len(self.acknowledged) < enough:
                await asyncio.sleep(0.01)

    async def acknowledged_until(self, fault: Callable[[], None]) -> set[str]:
        """Cause a fault that stops the hub; return all messages acknowledged before it."""
        fault()
        before = {publisher: publisher.retries for publisher in self.publishers}
        async with asyncio.timeout(SECONDS):
            # A publisher that retries has received every receipt that was still in flight.
            while any(publisher.retries == before[publisher] for publisher in self.publishers):
                await asyncio.sleep(0.01)
        return self.acknowledged

    # --- the end ---------------------------------------------------------------------------------

    async def received_by_all(self, id: str) -> None:
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(reader.until_received(id) for reader in self.readers.values()))

    async def audit(self, excused: set[str] | None = None) -> Audit:
        """Publish a last message, wait until every reader has it, and audit all readers."""
        await self.received_by_all(await self.publishers[0].publish("the last message"))
        for task in self._tasks:
            assert not task.done(), task.exception()
        received = {name: reader.events for name, reader in self.readers.items()}
        return audit(self.acknowledged, received, excused or ())
