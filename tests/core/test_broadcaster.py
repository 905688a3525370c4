"""One write reaches them all; who cannot take it keeps a cursor, and nothing is doubled or lost."""

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


FRAMING = Framing(plain, bytes, b"beat.")


class ListFollower:
    """Takes pushes into a list, until it is `full`."""

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
    def heard(self) -> bytes:
        return b"".join(self.taken)


class World:
    """A room, its audience, and a voice."""

    def __init__(self, capacity: int = 100, **limits: Any) -> None:
        self.room = Room(capacity)
        self.room.merge(History("e", 0, 1, []))
        self.broadcaster = Broadcaster(self.room, Limits(**limits))

    def say(self, count: int = 1, epoch: str = "e") -> None:
        for _ in range(count):
            self.room.append(Event.numbered("say", Cursor(epoch, self.room.top + 1), b'"":0}'))
        self.broadcaster.flush_soon()

    async def join(self, subscriber: ListFollower, number: int = 0) -> ListFollower:
        self.broadcaster.add(subscriber, Cursor("e", number))
        await self.flushed()
        return subscriber

    async def flushed(self) -> None:
        while self.broadcaster._flush_timer is not None or self.broadcaster._flushing is not None:
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_follower_reads_what_was_said_and_then_what_is_said(world: World) -> None:
    world.say(3)
    subscriber = await world.join(ListFollower(), 1)
    world.say()
    await world.flushed()
    assert subscriber.heard == b"2.3.4."


async def test_all_of_one_framing_are_pushed_the_same_object(world: World) -> None:
    one, two = await world.join(ListFollower()), await world.join(ListFollower())
    world.say(2)
    await world.flushed()
    assert one.taken == [b"1.2."]
    assert one.taken[0] is two.taken[0]


async def test_an_event_is_framed_once_for_all(world: World) -> None:
    framed: list[Event] = []

    def frame(event: Event) -> bytes:
        framed.append(event)
        return b"x"

    framing = Framing(frame, bytes)
    for _ in range(3):
        await world.join(ListFollower(framing))
    world.say()
    await world.flushed()
    assert len(framed) == 1


async def test_framings_do_not_mix(world: World) -> None:
    wrapped = ListFollower(Framing(plain, lambda frames: b"<" + frames + b">"))
    bare = ListFollower()
    await world.join(wrapped)
    await world.join(bare)
    world.say(2)
    await world.flushed()
    assert (bare.heard, wrapped.heard) == (b"1.2.", b"<1.2.>")


async def test_who_refuses_resumes_where_it_was(world: World) -> None:
    slow, quick = await world.join(ListFollower()), await world.join(ListFollower())
    world.say()
    await world.flushed()
    slow.full = True
    for _ in range(3):
        world.say()
        await world.flushed()
    slow.full = False
    world.broadcaster.resume(slow)
    await world.flushed()
    world.say()
    await world.flushed()
    assert slow.heard == quick.heard == b"1.2.3.4.5."


async def test_who_refuses_holds_no_messages(world: World) -> None:
    slow = await world.join(ListFollower())
    slow.full = True
    world.say(5)
    await world.flushed()
    assert world.broadcaster._lagging == {slow: Cursor("e", 0)}


async def test_who_was_away_too_long_is_told_gap() -> None:
    world = World(capacity=3)
    slow = await world.join(ListFollower())
    slow.full = True
    world.say(10)
    await world.flushed()
    slow.full = False
    world.broadcaster.resume(slow)
    await world.flushed()
    assert slow.heard == b"gap.8.9.10."


async def test_a_new_life_of_the_log_is_a_gap_for_the_live(world: World) -> None:
    subscriber = await world.join(ListFollower())
    world.say()
    await world.flushed()
    world.room.merge(History("f", 0, 1, []))
    world.say(1, "f")
    await world.flushed()
    assert subscriber.heard == b"1.gap.1."


async def test_a_push_is_bounded_in_bytes() -> None:
    world = World(push_bytes=100)
    subscriber = await world.join(ListFollower())
    world.say(20)
    await world.flushed()
    assert len(subscriber.taken) > 5
    assert subscriber.heard == b"".join(b"%d." % n for n in range(1, 21))


async def test_a_long_way_to_catch_up_is_walked_in_turns() -> None:
    world = World(push_bytes=50)
    world.say(40)
    subscriber = await world.join(ListFollower())
    assert subscriber.heard == b"".join(b"%d." % n for n in range(1, 41))


async def test_one_that_fails_is_dropped_and_the_others_hear(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            raise RuntimeError("broken")

    broken = await world.join(Broken())
    others = [await world.join(ListFollower()) for _ in range(3)]
    world.say()
    await world.flushed()
    assert [other.heard for other in others] == [b"1."] * 3
    assert isinstance(broken.closed, GoingAway)
    assert "broken" in caplog.text
    assert len(world.broadcaster) == 3


async def test_one_that_leaves_while_it_is_pushed_to_is_gone(world: World) -> None:
    class Leaving(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            world.broadcaster.remove(self)
            return False

    await world.join(Leaving())
    other = await world.join(ListFollower())
    world.say()
    await world.flushed()
    assert other.heard == b"1."
    assert len(world.broadcaster) == 1


async def test_who_left_hears_no_more_and_may_leave_twice(world: World) -> None:
    subscriber = await world.join(ListFollower())
    world.broadcaster.remove(subscriber)
    world.broadcaster.remove(subscriber)
    world.broadcaster.resume(subscriber)
    world.say()
    await world.flushed()
    assert subscriber.heard == b""


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_to_disperse_ends_every_stream_with_an_error_of_its_own(
    world: World, seconds: float
) -> None:
    live, lagging = await world.join(ListFollower()), await world.join(ListFollower())
    lagging.full = True
    world.say()
    await world.flushed()
    errors = [GoingAway("The end."), GoingAway("The end.")]
    world.broadcaster.close_staggered(seconds, iter(errors).__next__)
    async with asyncio.timeout(10):
        while not (live.closed and lagging.closed):
            await asyncio.sleep(0.001)
    assert {live.closed, lagging.closed} == set(errors)


async def test_one_that_leaves_while_it_catches_up_is_gone(world: World) -> None:
    class Leaving(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            world.broadcaster.remove(self)
            return True

    world.say(3)
    await world.join(Leaving())
    assert len(world.broadcaster) == 0


async def test_what_piles_up_during_the_rest_after_a_push_is_one_push(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    class Costly(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            nonlocal now
            now += 1
            return super().push(frames, events)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    subscriber = await world.join(Costly())
    world.say()
    await world.flushed()
    for _ in range(3):
        world.say()
        await asyncio.sleep(0)
    assert subscriber.taken == [b"1."]
    now += 1
    await world.flushed()
    assert subscriber.taken == [b"1.", b"2.3.4."]


class Clock:
    """A time that only work lets pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


async def test_a_flush_of_many_takes_turns_with_everybody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    course: list[str] = []

    class Slow(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            course.append("push")
            return super().push(frames, events)

    crowd = [await world.join(Slow()) for _ in range(100)]
    clock.now += 1
    world.say()
    asyncio.get_running_loop().call_soon(course.append, "somebody else")
    await world.flushed()
    assert all(subscriber.taken == [b"1."] for subscriber in crowd)
    assert 0 < course.index("somebody else") < 100


async def test_who_comes_and_goes_between_two_turns_misses_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    late = ListFollower()
    crowd: list[ListFollower] = []

    class Slow(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            return super().push(frames, events)

    def between_two_turns() -> None:
        untold = [subscriber for subscriber in crowd if not subscriber.taken]
        assert 0 < len(untold) < 100
        for subscriber in untold:
            world.broadcaster.remove(subscriber)
        world.say()
        world.broadcaster.add(late, Cursor("e", 0))

    crowd += [await world.join(Slow()) for _ in range(100)]
    clock.now += 1
    world.say()
    asyncio.get_running_loop().call_soon(between_two_turns)
    while late not in world.broadcaster._lagging or world.broadcaster._flushing:
        await asyncio.sleep(0)
    clock.now += 10
    await world.flushed()
    assert late.heard == b"1.2."
    assert {subscriber.heard for subscriber in crowd} == {b"1.2.", b""}
    assert len(world.broadcaster) == 1 + sum(bool(subscriber.taken) for subscriber in crowd)


async def test_what_is_said_between_two_turns_waits_for_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    class Slow(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            return super().push(frames, events)

    crowd = [await world.join(Slow()) for _ in range(100)]
    clock.now += 1
    world.say()
    asyncio.get_running_loop().call_soon(world.say)
    while world.room.top < 2 or world.broadcaster._flushing:
        await asyncio.sleep(0)
    assert {subscriber.heard for subscriber in crowd} == {b"1."}
    clock.now += 1
    await world.flushed()
    assert {subscriber.heard for subscriber in crowd} == {b"1.2."}


async def test_many_who_catch_up_by_many_pages_all_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(push_bytes=1)
    clock = Clock(monkeypatch)

    class Slow(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            clock.now += 0.001
            return super().push(frames, events)

    world.say(30)
    crowd = [Slow() for _ in range(20)]
    for subscriber in crowd:
        world.broadcaster.add(subscriber, Cursor("e", 0))
    async with asyncio.timeout(10):
        while world.broadcaster._lagging:
            clock.now += 0.001
            await asyncio.sleep(0)
    assert all(f.taken == [b"%d." % number for number in range(1, 31)] for f in crowd)


async def test_nobody_is_always_the_last(world: World) -> None:
    course: list[ListFollower] = []

    class Noted(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            course.append(self)
            return super().push(frames, events)

    crowd = [await world.join(Noted()) for _ in range(5)]
    for _ in range(100):
        world.say()
        await world.flushed()
    assert {*course[4::5]} == {*crowd}


async def test_a_flush_that_fails_is_not_the_last(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> bytes:
        if event.cursor.offset == 1:
            raise ValueError
        return plain(event)

    subscriber = await world.join(ListFollower(Framing(broken, bytes)))
    world.say()
    await world.flushed()
    assert subscriber.taken == []
    assert "ValueError" in caplog.text
    world.broadcaster._cursor = Cursor("e", 1)
    world.say()
    await world.flushed()
    assert subscriber.taken == [b"2."]


async def test_a_long_silence_is_broken_for_all_at_once_and_only_then() -> None:
    world = World(heartbeat_seconds=0.1)
    crowd = [await world.join(ListFollower()) for _ in range(3)]
    world.say()
    async with asyncio.timeout(10):
        while not all(subscriber.heard.endswith(b"beat.beat.") for subscriber in crowd):
            await asyncio.sleep(0.01)
    assert all(subscriber.heard.startswith(b"1.beat.") for subscriber in crowd)
    for subscriber in crowd:
        world.broadcaster.remove(subscriber)
    await asyncio.sleep(0.2)
    assert world.broadcaster._heartbeat_timer is None


async def test_heartbeats_and_a_flush_do_not_meet(caplog: pytest.LogCaptureFixture) -> None:
    world = World(heartbeat_seconds=0.02)

    class Slow(ListFollower):
        def push(self, frames: bytes, events: int) -> bool:
            time.sleep(0.0002)
            return super().push(frames, events)

    crowd = [await world.join(Slow()) for _ in range(100)]
    end = time.monotonic() + 0.5
    while time.monotonic() < end:  # each that joins lets a flush be due
        crowd.append(Slow())
        world.broadcaster.add(crowd[-1], Cursor("e", 0))
        await asyncio.sleep(0.001)
    assert caplog.text == ""


async def test_who_takes_no_heartbeat_lags_and_is_back_when_it_can() -> None:
    world = World(heartbeat_seconds=0.05)
    subscriber = await world.join(ListFollower())
    subscriber.full = True
    async with asyncio.timeout(10):
        while not world.broadcaster._lagging:
            await asyncio.sleep(0.01)
    subscriber.full = False
    world.say()
    world.broadcaster.resume(subscriber)
    await world.flushed()
    assert subscriber.heard.startswith(b"1.")


async def test_who_refuses_while_it_catches_up_resumes_where_it_was() -> None:
    world = World(push_bytes=1)
    world.say(3)
    subscriber = ListFollower()
    subscriber.full = True
    await world.join(subscriber)
    world.say()
    await world.flushed()
    assert subscriber.heard == b""
    subscriber.full = False
    world.broadcaster.resume(subscriber)
    await world.flushed()
    world.say()
    await world.flushed()
    assert subscriber.heard == b"1.2.3.4.5."
