"""One write reaches all subscribers; a slow one keeps a cursor, and loses or repeats nothing."""

import asyncio
import time
from typing import Any

import pytest

from realtime.core.broadcaster import Broadcaster, Framing
from realtime.core.events import Cursor, Event
from realtime.core.room import History, Room
from realtime.errors import GoingAway, RealtimeError
from realtime.limits import Limits


def plain(event: Event) -> bytes:
    return b"%d." % event.cursor.offset if b'"gap"' not in event.json else b"gap."


FRAMING = Framing(plain, bytes, b"heartbeat.")


class ListSubscriber:
    """Collects pushes, and refuses them while it is `full`."""

    def __init__(self, framing: Framing = FRAMING) -> None:
        self.framing = framing
        self.taken: list[bytes] = []
        self.full = False
        self.closed: RealtimeError | None = None

    def push(self, frames: bytes, events: int) -> bool:
        if self.full:
            return False
        self.taken.append(frames)
        return True

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        return self.push(heartbeat, 0)

    def close(self, error: RealtimeError) -> None:
        self.closed = error

    @property
    def received(self) -> bytes:
        return b"".join(self.taken)


class World:
    """A room, its broadcaster, and a publisher."""

    def __init__(self, capacity: int = 100, **limits: Any) -> None:
        self.room = Room(capacity)
        self.room.merge(History("e", 0, 1, []))
        self.broadcaster = Broadcaster(self.room, Limits(**limits))

    def publish(self, count: int = 1, epoch: str = "e") -> None:
        for _ in range(count):
            self.room.append(Event.numbered("say", Cursor(epoch, self.room.top + 1), b'"":0}'))
        self.broadcaster.flush_soon()

    async def add(self, subscriber: ListSubscriber, number: int = 0) -> ListSubscriber:
        self.broadcaster.add(subscriber, Cursor("e", number))
        await self.flushed()
        return subscriber

    async def flushed(self) -> None:
        while not self.broadcaster._pace.idle:
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_subscriber_receives_the_history_and_then_new_events(world: World) -> None:
    world.publish(3)
    subscriber = await world.add(ListSubscriber(), 1)
    world.publish()
    await world.flushed()
    assert subscriber.received == b"2.3.4."


async def test_all_subscribers_of_one_framing_receive_the_same_object(world: World) -> None:
    one, two = await world.add(ListSubscriber()), await world.add(ListSubscriber())
    world.publish(2)
    await world.flushed()
    assert one.taken == [b"1.2."]
    assert one.taken[0] is two.taken[0]


async def test_an_event_is_framed_once_for_all_subscribers(world: World) -> None:
    framed: list[Event] = []

    def frame(event: Event) -> bytes:
        framed.append(event)
        return b"x"

    framing = Framing(frame, bytes)
    for _ in range(3):
        await world.add(ListSubscriber(framing))
    world.publish()
    await world.flushed()
    assert len(framed) == 1


async def test_framings_do_not_mix(world: World) -> None:
    wrapped = ListSubscriber(Framing(plain, lambda frames: b"<" + frames + b">"))
    bare = ListSubscriber()
    await world.add(wrapped)
    await world.add(bare)
    world.publish(2)
    await world.flushed()
    assert (bare.received, wrapped.received) == (b"1.2.", b"<1.2.>")


async def test_a_subscriber_that_refused_resumes_where_it_was(world: World) -> None:
    slow, quick = await world.add(ListSubscriber()), await world.add(ListSubscriber())
    world.publish()
    await world.flushed()
    slow.full = True
    for _ in range(3):
        world.publish()
        await world.flushed()
    slow.full = False
    world.broadcaster.resume(slow)
    await world.flushed()
    world.publish()
    await world.flushed()
    assert slow.received == quick.received == b"1.2.3.4.5."


async def test_a_subscriber_that_refuses_holds_no_messages(world: World) -> None:
    slow = await world.add(ListSubscriber())
    slow.full = True
    world.publish(5)
    await world.flushed()
    assert world.broadcaster._lagging == {slow: Cursor("e", 0)}


async def test_a_subscriber_that_lagged_too_long_receives_a_gap() -> None:
    world = World(capacity=3)
    slow = await world.add(ListSubscriber())
    slow.full = True
    world.publish(10)
    await world.flushed()
    slow.full = False
    world.broadcaster.resume(slow)
    await world.flushed()
    assert slow.received == b"gap.8.9.10."


async def test_a_new_epoch_of_the_log_is_a_gap_for_live_subscribers(world: World) -> None:
    subscriber = await world.add(ListSubscriber())
    world.publish()
    await world.flushed()
    world.room.merge(History("f", 0, 1, []))
    world.publish(1, "f")
    await world.flushed()
    assert subscriber.received == b"1.gap.1."


async def test_a_push_is_bounded_in_bytes() -> None:
    world = World(push_bytes=100)
    subscriber = await world.add(ListSubscriber())
    world.publish(20)
    await world.flushed()
    assert len(subscriber.taken) > 5
    assert subscriber.received == b"".join(b"%d." % n for n in range(1, 21))


async def test_a_long_history_is_read_in_several_steps() -> None:
    world = World(push_bytes=50)
    world.publish(40)
    subscriber = await world.add(ListSubscriber())
    assert subscriber.received == b"".join(b"%d." % n for n in range(1, 41))


async def test_a_subscriber_whose_push_fails_is_closed_and_the_others_receive(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            raise RuntimeError("broken")

    broken = await world.add(Broken())
    others = [await world.add(ListSubscriber()) for _ in range(3)]
    world.publish()
    await world.flushed()
    assert [other.received for other in others] == [b"1."] * 3
    assert isinstance(broken.closed, GoingAway)
    assert "broken" in caplog.text
    assert len(world.broadcaster) == 3


async def test_a_subscriber_removed_during_its_push_stays_removed(world: World) -> None:
    class Leaving(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            world.broadcaster.remove(self)
            return False

    await world.add(Leaving())
    other = await world.add(ListSubscriber())
    world.publish()
    await world.flushed()
    assert other.received == b"1."
    assert len(world.broadcaster) == 1


async def test_a_removed_subscriber_receives_nothing_and_can_be_removed_twice(world: World) -> None:
    subscriber = await world.add(ListSubscriber())
    world.broadcaster.remove(subscriber)
    world.broadcaster.remove(subscriber)
    world.broadcaster.resume(subscriber)
    world.publish()
    await world.flushed()
    assert subscriber.received == b""


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_close_staggered_closes_every_stream_with_its_own_error(
    world: World, seconds: float
) -> None:
    live, lagging = await world.add(ListSubscriber()), await world.add(ListSubscriber())
    lagging.full = True
    world.publish()
    await world.flushed()
    errors = [GoingAway("The end."), GoingAway("The end.")]
    world.broadcaster.close_staggered(seconds, iter(errors).__next__)
    async with asyncio.timeout(10):
        while not (live.closed and lagging.closed):
            await asyncio.sleep(0.001)
    assert {live.closed, lagging.closed} == set(errors)


async def test_a_subscriber_removed_while_it_catches_up_stays_removed(world: World) -> None:
    class Leaving(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            world.broadcaster.remove(self)
            return True

    world.publish(3)
    await world.add(Leaving())
    assert len(world.broadcaster) == 0


async def test_events_of_one_cooldown_are_one_push(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    class Costly(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            nonlocal now
            now += 1
            return super().push(frames, events)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    subscriber = await world.add(Costly())
    world.publish()
    await world.flushed()
    for _ in range(3):
        world.publish()
        await asyncio.sleep(0)
    assert subscriber.taken == [b"1."]
    now += 1
    await world.flushed()
    assert subscriber.taken == [b"1.", b"2.3.4."]


class Clock:
    """A clock that only moves when a push does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


async def test_a_flush_to_many_lets_other_callbacks_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    order: list[str] = []

    class Slow(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            order.append("push")
            return super().push(frames, events)

    subscribers = [await world.add(Slow()) for _ in range(100)]
    clock.now += 1
    world.publish()
    asyncio.get_running_loop().call_soon(order.append, "another callback")
    await world.flushed()
    assert all(subscriber.taken == [b"1."] for subscriber in subscribers)
    assert 0 < order.index("another callback") < 100


async def test_adding_and_removing_between_two_slices_loses_and_repeats_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    late = ListSubscriber()
    subscribers: list[ListSubscriber] = []

    class Slow(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            return super().push(frames, events)

    def between_two_slices() -> None:
        not_pushed = [subscriber for subscriber in subscribers if not subscriber.taken]
        assert 0 < len(not_pushed) < 100
        for subscriber in not_pushed:
            world.broadcaster.remove(subscriber)
        world.publish()
        world.broadcaster.add(late, Cursor("e", 0))

    subscribers += [await world.add(Slow()) for _ in range(100)]
    clock.now += 1
    world.publish()
    asyncio.get_running_loop().call_soon(between_two_slices)
    while late not in world.broadcaster._lagging or world.broadcaster._pace._running:
        await asyncio.sleep(0)
    clock.now += 10
    await world.flushed()
    assert late.received == b"1.2."
    assert {subscriber.received for subscriber in subscribers} == {b"1.2.", b""}
    assert len(world.broadcaster) == 1 + sum(bool(subscriber.taken) for subscriber in subscribers)


async def test_what_is_published_between_two_slices_waits_for_the_cooldown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    class Slow(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            return super().push(frames, events)

    subscribers = [await world.add(Slow()) for _ in range(100)]
    clock.now += 1
    world.publish()
    asyncio.get_running_loop().call_soon(world.publish)
    while world.room.top < 2 or world.broadcaster._pace._running:
        await asyncio.sleep(0)
    assert {subscriber.received for subscriber in subscribers} == {b"1."}
    clock.now += 1
    await world.flushed()
    assert {subscriber.received for subscriber in subscribers} == {b"1.2."}


async def test_many_subscribers_that_read_many_pages_all_catch_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(push_bytes=1)
    clock = Clock(monkeypatch)

    class Slow(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            return super().push(frames, events)

    world.publish(30)
    subscribers = [Slow() for _ in range(20)]
    for subscriber in subscribers:
        world.broadcaster.add(subscriber, Cursor("e", 0))
    async with asyncio.timeout(10):
        while world.broadcaster._lagging:
            clock.now += 0.001
            await asyncio.sleep(0)
    assert all(f.taken == [b"%d." % number for number in range(1, 31)] for f in subscribers)


async def test_no_subscriber_is_always_the_last(world: World) -> None:
    order: list[ListSubscriber] = []

    class Recorded(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            order.append(self)
            return super().push(frames, events)

    subscribers = [await world.add(Recorded()) for _ in range(5)]
    for _ in range(100):
        world.publish()
        await world.flushed()
    assert {*order[4::5]} == {*subscribers}


async def test_a_subscriber_that_read_further_than_the_live_ones_is_never_pushed_nothing(
    world: World,
) -> None:
    """An empty push would end a chunked body: a chunk of size 0 is the last one."""
    world.publish()
    one, other = ListSubscriber(), ListSubscriber()
    for subscriber in (one, other):
        world.broadcaster.add(subscriber, Cursor("e", 0))
    steps = world.broadcaster.flush_steps()
    next(steps)  # the first one has caught up
    world.publish()  # ... and the other one reads this event before the flush of the live ones
    for _ in steps:
        pass
    assert (one.taken, other.taken) == ([b"1."], [b"1.2."])
    await world.flushed()
    world.publish()
    await world.flushed()
    assert (one.received, other.received) == (b"1.2.3.", b"1.2.3.")
    assert b"" not in one.taken + other.taken


async def test_a_flush_that_fails_does_not_prevent_the_next(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> bytes:
        if event.cursor.offset == 1:
            raise ValueError
        return plain(event)

    subscriber = await world.add(ListSubscriber(Framing(broken, bytes)))
    world.publish()
    await world.flushed()
    assert subscriber.taken == []
    assert "ValueError" in caplog.text
    world.broadcaster._cursor = Cursor("e", 1)
    world.publish()
    await world.flushed()
    assert subscriber.taken == [b"2."]


async def test_heartbeats_are_sent_to_all_after_idle_time_and_only_then() -> None:
    world = World(heartbeat_seconds=0.1)
    subscribers = [await world.add(ListSubscriber()) for _ in range(3)]
    world.publish()
    async with asyncio.timeout(10):
        while not all(
            subscriber.received.endswith(b"heartbeat.heartbeat.") for subscriber in subscribers
        ):
            await asyncio.sleep(0.01)
    assert all(subscriber.received.startswith(b"1.heartbeat.") for subscriber in subscribers)
    for subscriber in subscribers:
        world.broadcaster.remove(subscriber)
    await asyncio.sleep(0.2)
    assert world.broadcaster._heartbeat_timer is None


async def test_heartbeats_and_a_flush_do_not_overlap(caplog: pytest.LogCaptureFixture) -> None:
    world = World(heartbeat_seconds=0.02)

    class Slow(ListSubscriber):
        def push(self, frames: bytes, events: int) -> bool:
            time.sleep(0.0002)
            return super().push(frames, events)

    subscribers = [await world.add(Slow()) for _ in range(100)]
    end = time.monotonic() + 0.5
    while time.monotonic() < end:  # each one that is added makes a flush due
        subscribers.append(Slow())
        world.broadcaster.add(subscribers[-1], Cursor("e", 0))
        await asyncio.sleep(0.001)
    assert caplog.text == ""


async def test_a_subscriber_that_refuses_a_heartbeat_lags_until_it_resumes() -> None:
    world = World(heartbeat_seconds=0.05)
    subscriber = await world.add(ListSubscriber())
    subscriber.full = True
    async with asyncio.timeout(10):
        while not world.broadcaster._lagging:
            await asyncio.sleep(0.01)
    subscriber.full = False
    world.publish()
    world.broadcaster.resume(subscriber)
    await world.flushed()
    assert subscriber.received.startswith(b"1.")


async def test_a_subscriber_that_refuses_while_it_catches_up_resumes_where_it_was() -> None:
    world = World(push_bytes=1)
    world.publish(3)
    subscriber = ListSubscriber()
    subscriber.full = True
    await world.add(subscriber)
    world.publish()
    await world.flushed()
    assert subscriber.received == b""
    subscriber.full = False
    world.broadcaster.resume(subscriber)
    await world.flushed()
    world.publish()
    await world.flushed()
    assert subscriber.received == b"1.2.3.4.5."
