"""Shared by the broker tests: a listener that records, and brokers that stop after the test."""

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from realtime.core.broker import Broker
from realtime.core.events import Cursor, Draft, Event, Receipt
from realtime.errors import NoBroker
from tests.brokers.private_redis import PrivateRedis
from tests.brokers.topologies import ClusterDeployment

# Longer than every pause of a broker: a test waits this long only when something is wrong.
SECONDS = 10.0


def draft(room: str, text: str = "hello", id: str | None = None) -> Draft:
    return Draft(room, id or str(uuid.uuid4()), "ada", "Ada", text, "test", None)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Check a condition until it holds: for changes without an event to wait for."""
    async with asyncio.timeout(SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


class RecordingListener:
    """A listener that records its calls; a test can wait for them."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.confirmations: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def on_publication(self, room: str, event: Event) -> None:
        self.events[room].append(event)
        self._changed.set()

    def on_subscribed(self, room: str) -> None:
        self.confirmations[room] += 1
        self._changed.set()

    async def received(self, room: str, count: int) -> list[Event]:
        """Return the events of a room when there are at least `count`."""
        await self._until(lambda: len(self.events[room]) >= count)
        return self.events[room]

    async def received_until(self, room: str, cursor: Cursor) -> list[Event]:
        """Return the events of a room when the one at `cursor` has arrived."""
        await self._until(lambda: any(event.cursor == cursor for event in self.events[room]))
        return self.events[room]

    async def subscribed(self, room: str, times: int = 1) -> None:
        """Return when the subscription to a room has been confirmed `times` times."""
        await self._until(lambda: self.confirmations[room] >= times)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@dataclass
class Process:
    """What one server process has: a broker and its listener."""

    broker: Broker
    listener: RecordingListener = field(default_factory=RecordingListener)

    async def listen(self, room: str) -> None:
        self.broker.listen(room)
        await self.listener.subscribed(room)

    async def publish_until_accepted(self, draft: Draft) -> Receipt:
        """Publish as a client does: repeat the same draft while the hub is down."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await self.broker.publish(draft)
                except NoBroker:
                    await asyncio.sleep(0.05)


# Starts a broker; the fixture closes all of them after the test.
Start = Callable[[Broker], Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[Broker] = []

    async def start(broker: Broker) -> Process:
        started.append(broker)
        process = Process(broker)
        await broker.start(process.listener)
        return process

    yield start
    for broker in started:
        await broker.close()


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    """A Redis for one test, which may break it."""
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture(scope="package")
def cluster() -> Iterator[ClusterDeployment]:
    """A Redis Cluster for all tests here; a test that moves a slot moves it back."""
    with ClusterDeployment() as cluster:
        yield cluster
