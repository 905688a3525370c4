"""What only the memory broker has: a clock that a test sets, and eviction of idle rooms."""

import json
import time
import uuid

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS
from realtime.core.clock import SteadyClock
from realtime.core.events import Cursor, Draft, Member
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.brokers.conftest import RecordingListener, draft
from tests.cases import each

START = Cursor("", 0)
ADA = Member("ada", "Ada", "sse")


async def test_a_message_id_expires() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(), lambda: now)
    await broker.start(RecordingListener())
    draft = Draft("r", str(uuid.uuid4()), None, None, "hi", "post", None)
    assert (await broker.publish(draft)).created
    now += SEEN_SECONDS - 1
    assert not (await broker.publish(draft)).created
    now += 2
    assert (await broker.publish(draft)).created


async def test_a_room_that_was_only_read_is_evicted() -> None:
    broker = MemoryBroker(Limits())
    await broker.start(RecordingListener())
    for number in range(100):
        broker.listen(f"room-{number}")
        await broker.history(f"room-{number}", Cursor("", 0))
        await broker.sweep(f"room-{number}")
        broker.unlisten(f"room-{number}")
    broker.evict_idle_rooms()
    assert not broker._logs
    await broker.close()


@each(("lives", "kept"), [(META_TTL_FACTOR - 0.1, True), (META_TTL_FACTOR + 0.1, False)])
async def test_a_room_that_was_idle_too_long_starts_a_new_epoch(lives: float, kept: bool) -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(history_seconds=10), lambda: now)
    before = (await broker.publish(draft("r"))).cursor
    now += 10 * lives
    broker.evict_idle_rooms()
    after = (await broker.publish(draft("r"))).cursor
    assert (after.epoch == before.epoch, after.offset) == (kept, 2 if kept else 1)


async def test_a_room_with_a_subscription_or_a_member_is_not_evicted() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(), lambda: now)
    broker.listen("subscribed")
    await broker.publish(draft("subscribed"))
    await broker.enter("with members", ADA, "node_id")
    now += 1e6
    broker.evict_idle_rooms()
    assert broker._logs.keys() == {"subscribed", "with members"}


async def kinds(broker: MemoryBroker, room: str) -> list[str]:
    history = await broker.history(room, START)
    return [json.loads(event.json)["kind"] for event in history.events]


@each(("seconds", "count"), [(3599, 2), (3600, 0)])
async def test_every_event_extends_the_lifetime_of_the_history(seconds: float, count: int) -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(history_seconds=3600), lambda: now)
    await broker.publish(draft("r"))
    now += 3599
    await broker.publish(draft("r"))
    now += seconds
    assert len((await broker.history("r", START)).events) == count


@each(("seconds", "expected"), [(29, ["join"]), (30, ["join", "quit"])])
async def test_a_lease_counts_from_its_last_renewal(seconds: float, expected: list[str]) -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(lease_seconds=30), lambda: now)
    await broker.enter("r", ADA, "node_id")
    now += 29
    await broker.enter("r", ADA, "node_id")
    now += seconds
    await broker.sweep("r")
    assert await kinds(broker, "r") == expected


async def test_leaving_never_extends_a_lease() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(lease_seconds=30), lambda: now)
    await broker.enter("r", ADA, "node_id")
    await broker.leave("r", "ada", "node_id", 1000)
    now += 30
    await broker.sweep("r")
    assert await kinds(broker, "r") == ["join", "quit"]


@pytest.mark.parametrize("step", [7200, -7200])
async def test_a_step_of_the_wall_clock_changes_only_the_time_of_events(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    broker, wall = MemoryBroker(Limits()), time.time()
    monkeypatch.setattr(time, "time", lambda: wall)
    receipt = await broker.publish(draft("r", id="a"))
    await broker.enter("r", ADA, "node_id")
    await broker.report("worker", b"", 5)
    wall += step
    await broker.sweep("r")
    assert await broker.members("r") == [ADA]
    assert await kinds(broker, "r") == ["say", "join"]
    assert await broker.reports() == {"worker": b""}
    assert (await broker.publish(draft("r", id="a"))).cursor == receipt.cursor
    await broker.leave("r", "ada", None, 0)
    await broker.sweep("r")
    *_, last = (await broker.history("r", START)).events
    assert json.loads(last.json)["kind"] == "quit"
    assert json.loads(last.json)["published"] == int(wall * 1000)


async def test_a_machine_that_slept_for_ten_minutes_removes_nobody() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(history_seconds=60), SteadyClock(30, lambda: now).now)
    await broker.enter("r", ADA, "node_id")
    now += 600
    await broker.sweep("r")
    assert await broker.members("r") == [ADA]
    assert await kinds(broker, "r") == ["join"]


async def test_publish_returns_before_the_listener_receives_the_event() -> None:
    broker, listener = MemoryBroker(Limits()), RecordingListener()
    await broker.start(listener)
    broker.listen("r")
    receipt = await broker.publish(draft("r"))
    assert listener.events["r"] == []
    (event,) = await listener.received("r", 1)
    assert event.cursor == receipt.cursor


async def test_rooms_that_are_only_read_are_bounded() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(kept_rooms=5), lambda: now)
    for number in range(100):
        await broker.history(f"read-{number}", START)
        await broker.sweep(f"swept-{number}")
        now += 1
    assert len(broker._logs) <= 10
    for number in range(10):
        now += 1
        await broker.publish(draft(f"kept-{number}"))
    with pytest.raises(NoBroker) as raised:
        await broker.history("one-more", START)
    assert raised.value.full
    await broker.publish(draft("kept-1"))
