"""What only the memory broker has: a clock that can be set, and nothing left of made-up rooms."""

import json
import uuid

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS
from realtime.core.events import Cursor, Draft, Member
from realtime.limits import Limits
from tests.brokers.conftest import Notes, draft

START = Cursor("", 0)
ADA = Member("ada", "Ada", "sse")


class Silent:
    def on_publication(self, room: str, event: object) -> None: ...
    def on_subscribed(self, room: str) -> None: ...


async def test_an_id_is_forgotten_after_a_while() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(), lambda: now)
    await broker.start(Silent())
    draft = Draft("r", str(uuid.uuid4()), None, None, "hi", "post", None)
    assert (await broker.publish(draft)).created
    now += SEEN_SECONDS - 1
    assert not (await broker.publish(draft)).created
    now += 2
    assert (await broker.publish(draft)).created


async def test_a_room_that_was_only_looked_at_leaves_no_trace() -> None:
    broker = MemoryBroker(Limits())
    await broker.start(Silent())
    for number in range(100):
        broker.listen(f"room-{number}")
        await broker.history(f"room-{number}", Cursor("", 0))
        await broker.sweep(f"room-{number}")
        broker.unlisten(f"room-{number}")
    broker.forget()
    assert not broker._logs
    await broker.close()


@pytest.mark.parametrize(
    ("lives", "kept"), [(META_TTL_FACTOR - 0.1, True), (META_TTL_FACTOR + 0.1, False)]
)
async def test_a_room_that_was_quiet_for_long_begins_a_new_life(lives: float, kept: bool) -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(history_seconds=10), lambda: now)
    before = (await broker.publish(draft("r"))).cursor
    now += 10 * lives
    broker.forget()
    after = (await broker.publish(draft("r"))).cursor
    assert (after.epoch == before.epoch, after.offset) == (kept, 2 if kept else 1)


async def test_a_room_that_is_heard_or_holds_somebody_is_not_forgotten() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(), lambda: now)
    broker.listen("heard")
    await broker.publish(draft("heard"))
    await broker.enter("peopled", ADA, "node_id")
    now += 1e6
    broker.forget()
    assert broker._logs.keys() == {"heard", "peopled"}


async def kinds(broker: MemoryBroker, room: str) -> list[str]:
    history = await broker.history(room, START)
    return [json.loads(event.json)["kind"] for event in history.events]


@pytest.mark.parametrize(("seconds", "count"), [(3599, 2), (3600, 0)])
async def test_every_word_prolongs_the_memory_of_a_room(seconds: float, count: int) -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(history_seconds=3600), lambda: now)
    await broker.publish(draft("r"))
    now += 3599
    await broker.publish(draft("r"))
    now += seconds
    assert len((await broker.history("r", START)).events) == count


@pytest.mark.parametrize(("seconds", "said"), [(29, ["join"]), (30, ["join", "quit"])])
async def test_a_lease_is_as_long_as_after_its_last_renewal(
    seconds: float, said: list[str]
) -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(lease_seconds=30), lambda: now)
    await broker.enter("r", ADA, "node_id")
    now += 29
    await broker.enter("r", ADA, "node_id")
    now += seconds
    await broker.sweep("r")
    assert await kinds(broker, "r") == said


async def test_leaving_never_makes_a_lease_longer() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(lease_seconds=30), lambda: now)
    await broker.enter("r", ADA, "node_id")
    await broker.leave("r", "ada", "node_id", 1000)
    now += 30
    await broker.sweep("r")
    assert await kinds(broker, "r") == ["join", "quit"]


async def test_the_caller_is_answered_before_anybody_is_told() -> None:
    broker, notes = MemoryBroker(Limits()), Notes()
    await broker.start(notes)
    broker.listen("r")
    receipt = await broker.publish(draft("r"))
    assert notes.events["r"] == []
    (event,) = await notes.heard("r", 1)
    assert event.cursor == receipt.cursor
