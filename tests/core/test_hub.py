"""One room, kept in step with a broker that may lose, double, delay or forget what it announces."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.clients import CLIENTS
from realtime.brokers.memory import MemoryBroker
from realtime.core import hub as hub_module
from realtime.core.broadcaster import Framing
from realtime.core.broker import Listener
from realtime.core.events import Cursor, Draft, Event, Receipt
from realtime.core.hub import Hub, Reader
from realtime.core.room import History, Page
from realtime.errors import Busy, GoingAway, NoBroker, RealtimeError
from realtime.limits import Limits

# Far from the seconds that anything here takes, and near enough that a lost event is a red test.
PATIENCE = 20
NEVER = 3600.0


class FaultyBroker(MemoryBroker):
    """Memory behind a bad line: it can hold announcements back, be cut off, and answer in pages."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.holding = False
        self.held: list[Event] = []
        self.down = False
        self.page: int | None = None
        self.asked: list[Cursor] = []
        self.listening: set[str] = set()
        self.answering = asyncio.Event()
        self.answering.set()

    async def start(self, listener: Listener) -> None:
        self.hub = listener
        await super().start(self)

    def on_publication(self, room: str, event: Event) -> None:
        if self.holding:
            self.held.append(event)
        else:
            self.hub.on_publication(room, event)

    def on_subscribed(self, room: str) -> None:
        self.hub.on_subscribed(room)

    def listen(self, room: str) -> None:
        self.listening.add(room)
        super().listen(room)

    def unlisten(self, room: str) -> None:
        self.listening.remove(room)
        super().unlisten(room)

    async def ping(self) -> None:
        if self.down:
            raise NoBroker

    async def history(self, room: str, after: Cursor) -> History:
        self.asked.append(after)
        if self.down:
            raise NoBroker
        whole = await super().history(room, after)
        cut = whole.events[: self.page]
        await self.answering.wait()  # an answer is as old as the way it came
        return History(whole.epoch, whole.top, whole.first, cut, len(cut) < len(whole.events))

    def begin_anew(self, room: str) -> None:
        """Lose the whole log, as a Redis that was restarted without its disk."""
        del self._logs[room]

    async def asked_again(self, times: int) -> None:
        """Return when the log was asked for so many times more."""
        enough = len(self.asked) + times
        async with asyncio.timeout(PATIENCE):
            while len(self.asked) < enough:
                await asyncio.sleep(0)


class World:
    """A hub over a faulty broker, and a voice in the room `r`."""

    def __init__(self, **limits: Any) -> None:
        self.broker = FaultyBroker(Limits(**limits))
        self.hub = Hub(self.broker, Limits(**limits))

    async def say(self, *texts: str, room: str = "r") -> list[Receipt]:
        bodies = [json.dumps({"text": text}).encode() for text in texts]
        drafts = [Draft.parse(body, room, Limits(), "test") for body in bodies]
        receipts = [await self.hub.publish(draft) for draft in drafts]
        await asyncio.sleep(0)  # announcements come one turn of the loop later
        return receipts

    async def say_unheard(self, *texts: str) -> list[Event]:
        """Publish, and take the announcements off the line."""
        self.broker.holding = True
        await self.say(*texts)
        self.broker.holding = False
        held, self.broker.held = self.broker.held, []
        return held

    async def top(self) -> Cursor:
        history = await MemoryBroker.history(self.broker, "r", Cursor("", 0))
        return Cursor(history.epoch, history.top)


@asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[World]:
    world = World(**limits)
    await world.hub.start()
    yield world
    await world.hub.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world


@pytest.fixture(autouse=True)
def _compare_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing but what a test is about bring a room in step."""
    monkeypatch.setattr(hub_module, "COMPARE_SECONDS", NEVER)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock by which rooms are idle."""
    start, passed = hub_module._now, 0.0

    def move(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(hub_module, "_now", lambda: start() + passed)
    return move


async def hear(reader: Reader, count: int) -> list[str]:
    """Poll and wait until there were `count` events; a gap is heard as its reason."""
    heard: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(heard) < count:
            await reader.wait(PATIENCE, "test")
            await asyncio.sleep(0)  # or a reader that is told nothing new would never time out
            heard += reader.poll(texts)
    return heard


def texts(page: Page) -> list[str]:
    """Render a page as the texts of its events; a gap as its reason."""
    events = [json.loads(event.json) for event in page.events]
    return [event.get("text") or event["reason"] for event in events]


async def heard_by_now(reader: Reader) -> list[str]:
    return reader.poll(texts)


# --- publish and read ----------------------------------------------------------------------------


async def test_a_waiting_reader_hears_what_is_said(world: World) -> None:
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(hear(reader, 1))
    await world.say("hello")
    assert await waiting == ["hello"]


async def test_the_receipt_is_the_place_in_the_log(world: World) -> None:
    reader = await world.hub.read("r", 0)
    *_, last = await world.say("a", "b")
    await hear(reader, 2)
    assert reader.cursor == last.cursor


async def test_a_reader_begins_before_the_last_so_many(world: World) -> None:
    await world.say("a", "b", "c")
    assert await hear(await world.hub.read("r", 2), 2) == ["b", "c"]


async def test_a_wait_that_times_out_ends_with_an_empty_page(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await reader.wait(0, "test")
    assert reader.poll(texts) == []


async def test_each_waits_for_as_long_as_it_asked(world: World) -> None:
    readers = [await world.hub.read("r", 0) for _ in range(4)]
    ended: list[float] = []

    async def wait(reader: Reader, seconds: float) -> None:
        await reader.wait(seconds, "test")
        ended.append(seconds)

    waits = [0.3, NEVER, 0.1, 0.2]
    tasks = [asyncio.create_task(wait(*one)) for one in zip(readers, waits, strict=True)]
    async with asyncio.timeout(PATIENCE):
        while len(ended) < 3:
            await asyncio.sleep(0.01)
    assert ended == [0.1, 0.2, 0.3]
    readers[1].cancel()
    await asyncio.gather(*tasks)


async def test_a_page_that_is_cut_at_its_limit_has_more() -> None:
    def texts_and_more(page: Page) -> tuple[list[str], bool]:
        return texts(page), page.more

    async with running(answer_events=2) as world:
        await world.say("a", "b", "c")
        reader = await world.hub.read("r", 50)
        assert reader.poll(texts_and_more) == (["a", "b"], True)
        assert reader.poll(texts_and_more) == (["c"], False)


async def test_readers_who_wait_at_one_cursor_share_what_is_rendered(world: World) -> None:
    readers = [await world.hub.read("r", 0) for _ in range(3)]
    waits = [asyncio.create_task(reader.wait(PATIENCE, "test")) for reader in readers]
    await world.say("hello")
    await asyncio.gather(*waits)
    one, *others = [reader.poll(texts) for reader in readers]
    assert one == ["hello"]
    assert all(other is one for other in others)


async def test_each_way_to_render_a_page_has_its_own_result(world: World) -> None:
    one, other = await world.hub.read("r", 50), await world.hub.read("r", 50)
    await world.say("hello")
    assert one.poll(texts) == ["hello"]
    assert other.poll(lambda page: len(page.events)) == 1


async def test_a_reader_is_counted_under_its_transport_while_it_waits(world: World) -> None:
    reader = await world.hub.read("r", 0)
    assert world.hub.readers() == {}
    waiting = asyncio.create_task(reader.wait(NEVER, "poll"))
    await asyncio.sleep(0)
    assert world.hub.readers() == {"r": {"poll": 1}}
    reader.cancel()
    await asyncio.wait_for(waiting, PATIENCE)
    assert world.hub.readers() == {}


def test_the_hub_names_no_transport() -> None:
    for module in ("hub", "broadcaster", "room"):
        source = Path("realtime/core", f"{module}.py").read_text("utf-8")
        assert not CLIENTS.keys() & set(re.findall(r"\w+", source))


async def test_a_wait_ends_when_whoever_asked_is_gone(world: World) -> None:
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(reader.wait(NEVER, "test"))
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait_for(waiting, PATIENCE)


async def test_many_who_come_at_once_cost_one_reading(world: World) -> None:
    await world.say("a")
    readers = await asyncio.gather(*(world.hub.read("r", 50) for _ in range(20)))
    assert [await heard_by_now(reader) for reader in readers] == [["a"]] * 20
    assert len(world.broker.asked) <= 2


async def test_a_log_longer_than_a_page_is_read_whole(world: World) -> None:
    world.broker.page = 2
    await world.say("a", "b", "c", "d", "e")
    assert await heard_by_now(await world.hub.read("r", 50)) == ["a", "b", "c", "d", "e"]


# --- a bad line ----------------------------------------------------------------------------------


async def test_a_lost_announcement_is_read_from_the_log_at_the_next(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await world.say_unheard("lost")
    await world.say("next")
    assert await hear(reader, 2) == ["lost", "next"]


async def test_a_doubled_announcement_is_heard_once(world: World) -> None:
    reader = await world.hub.read("r", 0)
    [event] = await world.say_unheard("once")
    world.broker.on_publication("r", event)
    world.broker.on_publication("r", event)
    await world.say("next")
    assert await hear(reader, 2) == ["once", "next"]


async def test_announcements_out_of_turn_are_heard_in_turn(world: World) -> None:
    reader = await world.hub.read("r", 0)
    for event in reversed(await world.say_unheard("a", "b", "c")):
        world.broker.on_publication("r", event)
    assert await hear(reader, 3) == ["a", "b", "c"]


async def test_a_confirmed_subscription_reads_what_it_may_have_missed(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await world.say_unheard("lost")
    world.broker.on_subscribed("r")
    assert await hear(reader, 1) == ["lost"]


async def test_a_lost_last_message_is_found_by_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "COMPARE_SECONDS", 0.01)
    async with running() as world:
        reader = await world.hub.read("r", 0)
        await world.say_unheard("last")
        assert await hear(reader, 1) == ["last"]


async def test_what_is_announced_during_a_reading_is_neither_lost_nor_doubled(
    world: World,
) -> None:
    reader = await world.hub.read("r", 0)
    await world.say_unheard("lost")
    world.broker.answering.clear()
    await asyncio.gather(world.say("hole"), world.broker.asked_again(1))
    await world.say("meanwhile")
    world.broker.answering.set()
    assert await hear(reader, 3) == ["lost", "hole", "meanwhile"]


async def test_a_new_life_of_the_log_is_told_and_then_read(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await world.say("old")
    assert await hear(reader, 1) == ["old"]
    world.broker.begin_anew("r")
    await world.say("new")
    assert await hear(reader, 2) == ["unknown", "new"]


async def test_what_the_broker_forgot_before_it_was_read_is_a_gap() -> None:
    async with running(history_events=2) as world:
        reader = await world.hub.read("r", 0)
        await world.say_unheard("a", "b", "c")
        await world.say("d")
        assert await hear(reader, 3) == ["trimmed", "c", "d"]


# "late" comes after whatever follows it.
FATES = st.lists(st.sampled_from(["told", "lost", "doubled", "late"]), max_size=30)


@settings(deadline=None)
@given(FATES)
async def test_whatever_the_line_does_each_message_is_heard_once_in_order(
    fates: list[str],
) -> None:
    texts = [f"{number} {fate}" for number, fate in enumerate(fates)]
    late: list[Event] = []
    async with running() as world:
        reader = await world.hub.read("r", 0)
        for text, fate in zip(texts, fates, strict=True):
            [event] = await world.say_unheard(text)
            if fate == "late":
                late.append(event)
                continue
            for told in [event] * ["lost", "told", "doubled"].index(fate) + late:
                world.broker.on_publication("r", told)
            late.clear()
        world.broker.on_subscribed("r")
        assert await hear(reader, len(texts)) == texts


# --- a cursor from another process ---------------------------------------------------------------


async def test_a_cursor_ahead_of_our_copy_is_true_after_a_reading(world: World) -> None:
    await world.hub.read("r", 0)
    await world.say_unheard("heard elsewhere")
    reader = await world.hub.read("r", await world.top())
    assert await heard_by_now(reader) == []
    await world.say("next")
    assert await hear(reader, 1) == ["next"]


async def test_a_cursor_of_a_life_we_have_not_heard_of_is_true_after_a_reading(
    world: World,
) -> None:
    await world.say("old")
    await world.hub.read("r", 0)
    world.broker.begin_anew("r")
    await world.say_unheard("a", "b")
    reader = await world.hub.read("r", Cursor((await world.top()).epoch, 1))
    assert await heard_by_now(reader) == ["b"]


async def test_a_cursor_ahead_of_the_broker_itself_is_told_rewound(world: World) -> None:
    await world.say("a")
    top = await world.top()
    reader = await world.hub.read("r", Cursor(top.epoch, top.offset + 5))
    assert await hear(reader, 2) == ["rewound", "a"]


# --- a broker out of reach -----------------------------------------------------------------------


async def test_a_room_that_was_never_read_cannot_be_without_the_broker(world: World) -> None:
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.read("r", 0)


async def test_what_is_kept_here_can_be_read_without_the_broker(world: World) -> None:
    await world.say("a", "b")
    await world.hub.read("r", 0)
    world.broker.down = True
    assert await heard_by_now(await world.hub.read("r", 50)) == ["a", "b"]


async def test_a_cursor_ahead_of_our_copy_is_told_nothing_without_the_broker(world: World) -> None:
    await world.hub.read("r", 0)
    [receipt] = await world.say("a")
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.read("r", Cursor(receipt.cursor.epoch, 9))


async def test_a_reading_that_failed_is_tried_again_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "backoff", lambda failures, longest: 0.0)
    reader = await world.hub.read("r", 0)
    await world.say_unheard("lost")
    world.broker.down = True
    world.broker.on_subscribed("r")
    await world.broker.asked_again(3)
    world.broker.down = False
    assert await hear(reader, 1) == ["lost"]


async def test_ready_is_who_reaches_the_broker(world: World) -> None:
    await world.hub.check_ready()
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.check_ready()


async def test_a_room_too_long_out_of_step_is_not_ready(
    world: World, pass_seconds: Callable[[float], None]
) -> None:
    await world.hub.read("r", 0)
    world.broker.answering.clear()
    world.broker.on_subscribed("r")
    await world.broker.asked_again(1)
    pass_seconds(hub_module.OUT_OF_SYNC_SECONDS - 1)
    await world.hub.check_ready()
    pass_seconds(2)
    with pytest.raises(Busy):
        await world.hub.check_ready()


async def test_trying_often_is_not_being_in_step_and_being_in_step_is_ready(
    world: World, pass_seconds: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "backoff", lambda failures, longest: 0.0)
    await world.hub.read("r", 0)
    world.broker.down = True
    world.broker.on_subscribed("r")
    for _ in range(3):
        await world.broker.asked_again(2)
        pass_seconds(hub_module.OUT_OF_SYNC_SECONDS / 2)
    world.broker.answering.clear()
    world.broker.down = False
    with pytest.raises(Busy):
        await world.hub.check_ready()
    world.broker.answering.set()
    await world.hub.read("r", Cursor("elsewhere", 1))  # returns after a reading
    await world.hub.check_ready()


# --- as many rooms as there may be ---------------------------------------------------------------


async def test_a_room_too_many_is_busy() -> None:
    async with running(rooms=2) as world:
        await world.hub.read("one", 0)
        await world.hub.read("two", 0)
        with pytest.raises(Busy) as told:
            await world.hub.read("three", 0)
    assert told.value.retry_after


async def test_the_idlest_room_gives_way(pass_seconds: Callable[[float], None]) -> None:
    async with running(rooms=2) as world:
        await world.hub.read("idlest", 0)
        pass_seconds(5)
        await world.hub.read("idle", 0)
        pass_seconds(5)
        await world.hub.read("new", 0)
        assert world.hub.rooms == ["idle", "new"]


async def test_a_room_read_again_is_not_idle(pass_seconds: Callable[[float], None]) -> None:
    async with running(rooms=1) as world:
        await world.hub.read("r", 0)
        pass_seconds(5)
        await world.hub.read("r", 0)
        with pytest.raises(Busy):
            await world.hub.read("new", 0)


async def test_a_room_somebody_follows_does_not_give_way(
    pass_seconds: Callable[[float], None],
) -> None:
    async with running(rooms=1) as world:
        await world.hub.follow("r", 0, ListFollower())
        pass_seconds(NEVER)
        with pytest.raises(Busy):
            await world.hub.read("new", 0)


async def test_a_room_forgotten_while_it_is_read_is_opened_again(world: World) -> None:
    world.broker.answering.clear()
    reading = asyncio.create_task(world.hub.read("r", 0))
    await world.broker.asked_again(1)
    world.hub._forget(world.hub._replicas["r"])
    world.broker.answering.set()
    reader = await reading
    await world.say("heard")
    assert await hear(reader, 1) == ["heard"]


async def test_a_room_somebody_waits_in_does_not_give_way(
    pass_seconds: Callable[[float], None],
) -> None:
    async with running(rooms=1) as world:
        reader = await world.hub.read("r", 0)
        waiting = asyncio.create_task(hear(reader, 1))
        await asyncio.sleep(0)
        pass_seconds(NEVER)
        with pytest.raises(Busy):
            await world.hub.read("new", 0)
        await world.say("still here")
        assert await waiting == ["still here"]


async def test_a_room_nobody_reads_is_forgotten(
    pass_seconds: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "COMPARE_SECONDS", 0.01)
    async with running() as world:
        await world.hub.read("r", 0)
        pass_seconds(Limits().idle_room_seconds + 1)
        async with asyncio.timeout(PATIENCE):
            while world.hub.rooms:
                await asyncio.sleep(0.001)
        assert world.broker.listening == set()
        await world.say("unheard")
        assert await heard_by_now(await world.hub.read("r", 50)) == ["unheard"]


# --- follow --------------------------------------------------------------------------------------


class ListFollower:
    """Takes pushes into a list, and says when there was one."""

    framing = Framing(lambda event: json.loads(event.json)["text"].encode() + b".", bytes)

    def __init__(self) -> None:
        self.heard = b""
        self.pushed = asyncio.Event()
        self.closed: RealtimeError | None = None

    def push(self, frames: bytes, events: int) -> bool:
        self.heard += frames
        self.pushed.set()
        return True

    def close(self, error: RealtimeError) -> None:
        self.closed = error

    async def next(self) -> bytes:
        await asyncio.wait_for(self.pushed.wait(), PATIENCE)
        self.pushed.clear()
        return self.heard


async def test_a_follower_hears_what_was_said_and_then_what_is_said(world: World) -> None:
    await world.say("a", "b")
    subscriber = ListFollower()
    await world.hub.follow("r", 1, subscriber)
    assert await subscriber.next() == b"b."
    await world.say("c")
    assert await subscriber.next() == b"b.c."


async def test_rooms_do_not_mix(world: World) -> None:
    here, there = ListFollower(), ListFollower()
    await world.hub.follow("r", 0, here)
    await world.hub.follow("elsewhere", 0, there)
    await world.say("there", room="elsewhere")
    await world.say("here")
    assert (await here.next(), await there.next()) == (b"here.", b"there.")


async def test_the_end_is_told_to_all_who_wait_or_follow() -> None:
    subscriber = ListFollower()
    world = World()
    await world.hub.start()
    await world.hub.follow("r", 0, subscriber)
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(reader.wait(NEVER, "test"))
    await asyncio.sleep(0)
    await world.hub.close()
    await asyncio.wait_for(waiting, PATIENCE)
    assert await heard_by_now(reader) == []
    assert isinstance(subscriber.closed, GoingAway)


async def test_to_drain_ends_streams_and_waits_and_nothing_else(world: World) -> None:
    subscriber = ListFollower()
    await world.hub.follow("r", 0, subscriber)
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(reader.wait(NEVER, "test"))
    await asyncio.sleep(0)
    world.hub.drain(0.01)
    await asyncio.wait_for(waiting, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while subscriber.closed is None:
            await asyncio.sleep(0.001)
    assert isinstance(subscriber.closed, GoingAway)
    assert 1 <= (subscriber.closed.retry_after or 0) <= 1.01
    with pytest.raises(GoingAway):
        world.hub.check_open()
    with pytest.raises(GoingAway):
        await world.hub.check_ready()
    await world.say("last words")
    assert await heard_by_now(await world.hub.read("r", reader.cursor)) == ["last words"]


async def test_a_room_that_was_opened_anew_is_not_forgotten_with_the_old_one() -> None:
    limits = Limits(rooms=2)
    hub = Hub(MemoryBroker(limits), limits)
    await hub.start()
    await hub.read("room", 0)
    old = hub._replicas["room"]
    hub._forget(old)
    await hub.read("room", 0)
    hub._forget(old)
    assert hub.rooms == ["room"]
    await hub.close()


async def test_a_read_after_the_end_is_told_so() -> None:
    hub = Hub(MemoryBroker(Limits()), Limits())
    await hub.start()
    await hub.close()
    with pytest.raises(GoingAway):
        await asyncio.wait_for(hub.read("room", 0), PATIENCE)


async def test_whoever_waits_for_the_broker_at_the_end_is_told_so() -> None:
    class Silent(MemoryBroker):
        async def history(self, room: str, after: Cursor) -> History:
            await asyncio.Event().wait()
            raise AssertionError

    hub = Hub(Silent(Limits()), Limits())
    await hub.start()
    reads = [asyncio.create_task(hub.read("room", 0)) for _ in range(3)]
    await asyncio.sleep(0)  # the first begins a reading; the others wait for the next one
    await hub.close()
    ended = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), PATIENCE)
    assert all(isinstance(error, RealtimeError) for error in ended)


async def test_one_that_goes_while_a_room_is_opened_takes_nobody_along(world: World) -> None:
    await world.say("a")
    world.broker.answering.clear()
    # The first begins a reading, and the others wait for one together.
    reads = [asyncio.create_task(world.hub.read("r", 50)) for _ in range(3)]
    await asyncio.sleep(0)
    reads[1].cancel()
    await asyncio.sleep(0)
    world.broker.answering.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(reads)
    assert [read.cancelled() for read in reads] == [False, True, False]
    assert await heard_by_now(reads[2].result()) == ["a"]


async def test_one_that_goes_while_its_cursor_is_looked_for_takes_nobody_along(
    world: World,
) -> None:
    await world.hub.read("r", 0)
    before = await world.top()
    ahead = (await world.say_unheard("a"))[0].cursor
    world.broker.answering.clear()
    reads = [asyncio.create_task(world.hub.read("r", ahead)) for _ in range(3)]
    await asyncio.sleep(0)
    reads[1].cancel()
    await asyncio.sleep(0)
    world.broker.answering.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(reads)
    assert [read.cancelled() for read in reads] == [False, True, False]
    assert await heard_by_now(reads[2].result()) == []
    assert await heard_by_now(await world.hub.read("r", before)) == ["a"]


async def test_who_comes_while_a_reading_fails_is_told_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "backoff", lambda failures, longest: NEVER)
    history = world.broker.history
    failing = asyncio.Event()

    async def fail(room: str, after: Cursor) -> None:
        await failing.wait()
        raise NoBroker

    monkeypatch.setattr(world.broker, "history", fail)
    first = asyncio.create_task(world.hub.read("r", 50))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # now it is being read
    second = asyncio.create_task(world.hub.read("r", 50))
    await asyncio.sleep(0)
    failing.set()
    async with asyncio.timeout(PATIENCE):
        ended = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(error) for error in ended] == [NoBroker, NoBroker]
    monkeypatch.setattr(world.broker, "history", history)
    await world.say("a")
    assert await heard_by_now(await world.hub.read("r", 50)) == ["a"]


async def test_rendered_pages_are_not_cached_without_bound(world: World) -> None:
    await world.say("a", "b")
    start = (await world.hub.read("r", 50)).cursor

    async def poll() -> list[str]:
        return (await world.hub.read("r", start)).poll(texts)

    first = await poll()
    assert await poll() is first
    for number in range(20):
        (await world.hub.read("r", Cursor("other", number))).poll(texts)
    assert await poll() == first
    assert await poll() is not first
