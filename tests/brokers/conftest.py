"""What the tests of the brokers share: a listener that takes notes, and brokers to listen to."""

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from realtime.core.broker import Broker
from realtime.core.events import Draft, Event, Receipt
from realtime.errors import NoBroker
from tests.brokers.private_redis import PrivateRedis

# Above every pause of a broker; reached only when something is wrong.
SECONDS = 10.0


def draft(room: str, text: str = "hello", id: str | None = None) -> Draft:
    return Draft(room, id or str(uuid.uuid4()), "ada", "Ada", text, "test", None)


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is true: for what nobody announces."""
    async with asyncio.timeout(SECONDS):
        while not await true():
            await asyncio.sleep(0.01)


class Notes:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.confirmations: Counter[str] = Counter()
        self._news = asyncio.Event()

    def on_publication(self, room: str, event: Event) -> None:
        self.events[room].append(event)
        self._news.set()

    def on_subscribed(self, room: str) -> None:
        self.confirmations[room] += 1
        self._news.set()

    async def heard(self, room: str, count: int) -> list[Event]:
        """What was announced in a room, as soon as that is so many events."""
        await self._until(lambda: len(self.events[room]) >= count)
        return self.events[room]

    async def listening(self, room: str, times: int = 1) -> None:
        """Return when listening to a room has been confirmed so many times."""
        await self._until(lambda: self.confirmations[room] >= times)

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not true():
                self._news.clear()
                await self._news.wait()


@dataclass
class Process:
    """A broker as one server process has it, and what that process was told."""

    broker: Broker
    notes: Notes

    async def listen(self, room: str) -> None:
        self.broker.listen(room)
        await self.notes.listening(room)

    async def publish_when_healed(self, draft: Draft) -> Receipt:
        """Publish as a client does: the same draft again, while the hub is away."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await self.broker.publish(draft)
                except NoBroker:
                    await asyncio.sleep(0.05)


# Begins a process with a broker; all are closed after the test.
Start = Callable[[Broker], Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[Broker] = []

    async def start(broker: Broker) -> Process:
        started.append(broker)
        notes = Notes()
        await broker.start(notes)
        return Process(broker, notes)

    yield start
    for broker in started:
        await broker.close()


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    """One for this test alone, which may break it."""
    with PrivateRedis() as redis:
        yield redis
