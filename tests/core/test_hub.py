"""One room, kept in sync with a broker that may lose, repeat, delay or trim publications."""

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

from realtime.brokers.memory import MemoryBroker
from realtime.client import CLIENTS
from realtime.core import hub as hub_module
from realtime.core.broadcaster import Framing
from realtime.core.broker import Listener
from realtime.core.events import Cursor, Draft, Event, Receipt
from realtime.core.hub import Hub, Reader
from realtime.core.room import History, Page
from realtime.errors import Busy, GoingAway, NoBroker, RealtimeError
from realtime.limits import Limits

# Seconds: far more than anything here takes, so that only a lost event makes a test fail.
TIMEOUT = 20
NEVER = 3600.0


class FaultyBroker(MemoryBroker):
    """A memory broker that can hold back publications, be unreachable, and answer in pages."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.hold_publications = False
        self.held: list[Event] = []
        self.down = False
        self.page_size: int | None = None
        self.history_calls: list[Cursor] = []
        self.listening: set[str] = set()
        self.responding = asyncio.Event()
        self.responding.set()

    async def start(self, listener: Listener) -> None:
        self.hub = listener
        await super().start(self)

    def on_publication(self, room: str, event: Event) -> None:
        if self.hold_publications:
            self.held.append(event)
        else:
            self.hub.on_publication(room, event)

    def on_rules(self, room: str) -> None:
        raise NotImplementedError

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
        self.history_calls.append(after)
        if self.down:
            raise NoBroker
        whole = await super().history(room, after)
        cut = whole.events[: self.page_size]
        await self.responding.wait()  # the response is late, so what was read before is old by now
        return History(whole.epoch, whole.top, whole.first, cut, len(cut) < len(whole.events))

    def lose_log(self, room: str) -> None:
        """Lose the whole log, like a Redis that restarted without persistence."""
        del self._logs[room]

    async def history_called(self, times: int) -> None:
        """Return when the history was read `times` more."""
        enough = len(self.history_calls) + times
        async with asyncio.timeout(TIMEOUT):
            while len(self.history_calls) < enough:
                await asyncio.sleep(0)


class World:
    """A hub over a faulty broker, and a publisher to the room `r`."""

    def __init__(self, **limits: Any) -> None:
        self.broker = FaultyBroker(Limits(**limits))
        self.hub = Hub(self.broker, Limits(**limits))

    async def publish(self, *texts: str, room: str = "r") -> list[Receipt]:
        bodies = [json.dumps({"text": text}).encode() for text in texts]
        drafts = [Draft.parse(body, room, Limits(), "test") for body in bodies]
        receipts = [await self.hub.publish(draft) for draft in drafts]
        await asyncio.sleep(0)  # publications arrive one loop iteration later
        return receipts

    async def publish_undelivered(self, *texts: str) -> list[Event]:
        """Publish, but deliver nothing; return the events."""
        self.broker.hold_publications = True
        await self.publish(*texts)
        self.broker.hold_publications = False
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
def _never_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the periodic comparison off, so that only what a test is about starts a sync."""
    monkeypatch.setattr(hub_module, "COMPARE_SECONDS", NEVER)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock of the hub."""
    start, passed = hub_module._now, 0.0

    def move(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(hub_module, "_now", lambda: start() + passed)
    return move


async def receive(reader: Reader, count: int) -> list[str]:
    """Poll and wait until there were `count` events; a gap is returned as its reason."""
    received: list[str] = []
    async with asyncio.timeout(TIMEOUT):
        while len(received) < count:
            await reader.wait(TIMEOUT, "test")
            await asyncio.sleep(0)  # or a reader that receives nothing would never time out
            received += reader.poll(texts)
    return received


def texts(page: Page) -> list[str]:
    """Render a page as the texts of its events; a gap as its reason."""
    events = [json.loads(event.json) for event in page.events]
    return [event.get("text") or event["reason"] for event in events]


async def poll_texts(reader: Reader) -> list[str]:
    return reader.poll(texts)


# --- publish and read ----------------------------------------------------------------------------


async def test_a_waiting_reader_receives_what_is_published(world: World) -> None:
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(receive(reader, 1))
    await world.publish("hello")
    assert await waiting == ["hello"]


async def test_the_receipt_has_the_cursor_of_the_message(world: World) -> None:
    reader = await world.hub.read("r", 0)
    *_, last = await world.publish("a", "b")
    await receive(reader, 2)
    assert reader.cursor == last.cursor


async def test_a_reader_starts_before_the_last_events(world: World) -> None:
    await world.publish("a", "b", "c")
    assert await receive(await world.hub.read("r", 2), 2) == ["b", "c"]


async def test_a_wait_that_times_out_ends_with_an_empty_page(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await reader.wait(0, "test")
    assert reader.poll(texts) == []


async def test_a_reader_that_has_read_an_event_is_not_woken_by_it(world: World) -> None:
    """Wakes are paced: a reader can come, read and wait between an event and its wake."""
    woken: list[str] = []
    early = await world.hub.read("r", 0)
    early.add_waiter(lambda: woken.append("early"), NEVER, "test")
    [event] = await world.publish_undelivered("hello")
    world.hub.on_publication("r", event)
    late = world.hub.read_now("r", event.cursor)
    assert late is not None
    late.add_waiter(lambda: woken.append("late"), NEVER, "test")
    await asyncio.sleep(0.01)
    assert woken == ["early"]
    await world.publish("next")
    await asyncio.sleep(0.05)
    assert woken == ["early", "late"]


async def test_a_sync_that_brings_nothing_new_wakes_nobody(world: World) -> None:
    """While the history is read, its last event arrives as a publication."""
    await world.publish("first")
    reader = await world.hub.read("r", 50)
    assert reader.poll(texts) == ["first"]
    world.broker.responding.clear()
    world.hub.on_subscribed("r")
    await world.broker.history_called(1)
    await world.publish("second")
    assert reader.poll(texts) == ["second"]
    woken: list[str] = []
    reader.add_waiter(lambda: woken.append("reader"), NEVER, "test")
    world.broker.responding.set()
    await asyncio.sleep(0.01)
    assert woken == []


async def test_each_reader_waits_for_as_long_as_it_requested(world: World) -> None:
    readers = [await world.hub.read("r", 0) for _ in range(4)]
    ended: list[float] = []

    async def wait(reader: Reader, seconds: float) -> None:
        await reader.wait(seconds, "test")
        ended.append(seconds)

    # A process that stands still for longer than a difference wakes both readers together.
    waits = [1.2, NEVER, 0.4, 0.8]
    tasks = [asyncio.create_task(wait(*one)) for one in zip(readers, waits, strict=True)]
    async with asyncio.timeout(TIMEOUT):
        while len(ended) < 3:
            await asyncio.sleep(0.01)
    assert ended == [0.4, 0.8, 1.2]
    readers[1].cancel()
    await asyncio.gather(*tasks)


async def test_a_page_that_is_cut_at_its_limit_has_more() -> None:
    def texts_and_more(page: Page) -> tuple[list[str], bool]:
        return texts(page), page.more

    async with running(answer_events=2) as world:
        await world.publish("a", "b", "c")
        reader = await world.hub.read("r", 50)
        assert reader.poll(texts_and_more) == (["a", "b"], True)
        assert reader.poll(texts_and_more) == (["c"], False)


async def test_readers_who_wait_at_one_cursor_share_what_is_rendered(world: World) -> None:
    readers = [await world.hub.read("r", 0) for _ in range(3)]
    waits = [asyncio.create_task(reader.wait(TIMEOUT, "test")) for reader in readers]
    await world.publish("hello")
    await asyncio.gather(*waits)
    one, *others = [reader.poll(texts) for reader in readers]
    assert one == ["hello"]
    assert all(other is one for other in others)


async def test_each_way_to_render_a_page_has_its_own_result(world: World) -> None:
    one, other = await world.hub.read("r", 50), await world.hub.read("r", 50)
    await world.publish("hello")
    assert one.poll(texts) == ["hello"]
    assert other.poll(lambda page: len(page.events)) == 1


async def test_a_reader_is_counted_under_its_transport_while_it_waits(world: World) -> None:
    reader = await world.hub.read("r", 0)
    assert world.hub.readers() == {}
    waiting = asyncio.create_task(reader.wait(NEVER, "poll"))
    await asyncio.sleep(0)
    assert world.hub.readers() == {"r": {"poll": 1}}
    reader.cancel()
    await asyncio.wait_for(waiting, TIMEOUT)
    assert world.hub.readers() == {}


def test_the_hub_names_no_transport() -> None:
    for module in ("hub", "broadcaster", "room"):
        source = Path("realtime/core", f"{module}.py").read_text("utf-8")
        assert not CLIENTS.keys() & set(re.findall(r"\w+", source))


async def test_a_wait_ends_when_the_client_disconnects(world: World) -> None:
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(reader.wait(NEVER, "test"))
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait_for(waiting, TIMEOUT)


async def test_many_readers_at_once_cost_one_read_of_the_history(world: World) -> None:
    await world.publish("a")
    readers = await asyncio.gather(*(world.hub.read("r", 50) for _ in range(20)))
    assert [await poll_texts(reader) for reader in readers] == [["a"]] * 20
    assert len(world.broker.history_calls) <= 2


async def test_a_log_longer_than_a_page_is_read_whole(world: World) -> None:
    world.broker.page_size = 2
    await world.publish("a", "b", "c", "d", "e")
    assert await poll_texts(await world.hub.read("r", 50)) == ["a", "b", "c", "d", "e"]


# --- an unreliable broker ------------------------------------------------------------------------


async def test_a_lost_publication_is_read_from_the_log_at_the_next_one(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await world.publish_undelivered("lost")
    await world.publish("next")
    assert await receive(reader, 2) == ["lost", "next"]


async def test_a_repeated_publication_is_received_once(world: World) -> None:
    reader = await world.hub.read("r", 0)
    [event] = await world.publish_undelivered("once")
    world.broker.on_publication("r", event)
    world.broker.on_publication("r", event)
    await world.publish("next")
    assert await receive(reader, 2) == ["once", "next"]


async def test_publications_out_of_order_are_received_in_order(world: World) -> None:
    reader = await world.hub.read("r", 0)
    for event in reversed(await world.publish_undelivered("a", "b", "c")):
        world.broker.on_publication("r", event)
    assert await receive(reader, 3) == ["a", "b", "c"]


async def test_a_confirmed_subscription_reads_what_may_have_been_missed(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await world.publish_undelivered("lost")
    world.broker.on_subscribed("r")
    assert await receive(reader, 1) == ["lost"]


async def test_a_lost_last_message_is_found_by_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "COMPARE_SECONDS", 0.01)
    async with running() as world:
        reader = await world.hub.read("r", 0)
        await world.publish_undelivered("last")
        assert await receive(reader, 1) == ["last"]


async def test_what_is_published_during_a_sync_is_neither_lost_nor_repeated(
    world: World,
) -> None:
    reader = await world.hub.read("r", 0)
    await world.publish_undelivered("lost")
    world.broker.responding.clear()
    await asyncio.gather(world.publish("hole"), world.broker.history_called(1))
    await world.publish("meanwhile")
    world.broker.responding.set()
    assert await receive(reader, 3) == ["lost", "hole", "meanwhile"]


async def test_a_new_epoch_of_the_log_is_a_gap_and_then_its_events(world: World) -> None:
    reader = await world.hub.read("r", 0)
    await world.publish("old")
    assert await receive(reader, 1) == ["old"]
    world.broker.lose_log("r")
    await world.publish("new")
    assert await receive(reader, 2) == ["unknown", "new"]


async def test_what_the_broker_trimmed_before_it_was_read_is_a_gap() -> None:
    async with running(history_events=2) as world:
        reader = await world.hub.read("r", 0)
        await world.publish_undelivered("a", "b", "c")
        await world.publish("d")
        assert await receive(reader, 3) == ["trimmed", "c", "d"]


# "late" is delivered after the next one.
FATES = st.lists(st.sampled_from(["delivered", "lost", "repeated", "late"]), max_size=30)


@settings(deadline=None)
@given(FATES)
async def test_whatever_the_broker_does_each_message_is_received_once_in_order(
    fates: list[str],
) -> None:
    texts = [f"{number} {fate}" for number, fate in enumerate(fates)]
    late: list[Event] = []
    async with running() as world:
        reader = await world.hub.read("r", 0)
        for text, fate in zip(texts, fates, strict=True):
            [event] = await world.publish_undelivered(text)
            if fate == "late":
                late.append(event)
                continue
            for delivered in [event] * ["lost", "delivered", "repeated"].index(fate) + late:
                world.broker.on_publication("r", delivered)
            late.clear()
        world.broker.on_subscribed("r")
        assert await receive(reader, len(texts)) == texts


# --- a cursor from another process ---------------------------------------------------------------


async def test_a_cursor_ahead_of_our_copy_is_valid_after_a_sync(world: World) -> None:
    await world.hub.read("r", 0)
    await world.publish_undelivered("delivered elsewhere")
    reader = await world.hub.read("r", await world.top())
    assert await poll_texts(reader) == []
    await world.publish("next")
    assert await receive(reader, 1) == ["next"]


async def test_a_cursor_of_an_epoch_that_is_new_to_us_is_valid_after_a_sync(
    world: World,
) -> None:
    await world.publish("old")
    await world.hub.read("r", 0)
    world.broker.lose_log("r")
    await world.publish_undelivered("a", "b")
    reader = await world.hub.read("r", Cursor((await world.top()).epoch, 1))
    assert await poll_texts(reader) == ["b"]


async def test_a_cursor_ahead_of_the_broker_itself_receives_rewound(world: World) -> None:
    await world.publish("a")
    top = await world.top()
    reader = await world.hub.read("r", Cursor(top.epoch, top.offset + 5))
    assert await receive(reader, 2) == ["rewound", "a"]


# --- an unreachable broker -----------------------------------------------------------------------


async def test_a_room_that_was_never_read_cannot_be_read_without_the_broker(world: World) -> None:
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.read("r", 0)


async def test_what_is_kept_here_can_be_read_without_the_broker(world: World) -> None:
    await world.publish("a", "b")
    await world.hub.read("r", 0)
    world.broker.down = True
    assert await poll_texts(await world.hub.read("r", 50)) == ["a", "b"]


async def test_a_cursor_ahead_of_our_copy_is_an_error_without_the_broker(world: World) -> None:
    await world.hub.read("r", 0)
    [receipt] = await world.publish("a")
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.read("r", Cursor(receipt.cursor.epoch, 9))


async def test_a_sync_that_failed_is_retried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "backoff", lambda failures, longest: 0.0)
    reader = await world.hub.read("r", 0)
    await world.publish_undelivered("lost")
    world.broker.down = True
    world.broker.on_subscribed("r")
    await world.broker.history_called(3)
    world.broker.down = False
    assert await receive(reader, 1) == ["lost"]


async def test_a_process_that_cannot_reach_the_broker_is_not_ready(world: World) -> None:
    await world.hub.check_ready()
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.check_ready()


async def test_a_room_out_of_sync_for_too_long_makes_the_process_not_ready(
    world: World, pass_seconds: Callable[[float], None]
) -> None:
    await world.hub.read("r", 0)
    world.broker.responding.clear()
    world.broker.on_subscribed("r")
    await world.broker.history_called(1)
    pass_seconds(hub_module.OUT_OF_SYNC_SECONDS - 1)
    await world.hub.check_ready()
    pass_seconds(2)
    with pytest.raises(Busy):
        await world.hub.check_ready()


async def test_retries_do_not_make_the_process_ready_but_a_successful_sync_does(
    world: World, pass_seconds: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "backoff", lambda failures, longest: 0.0)
    await world.hub.read("r", 0)
    world.broker.down = True
    world.broker.on_subscribed("r")
    for _ in range(3):
        await world.broker.history_called(2)
        pass_seconds(hub_module.OUT_OF_SYNC_SECONDS / 2)
    world.broker.responding.clear()
    world.broker.down = False
    with pytest.raises(Busy):
        await world.hub.check_ready()
    world.broker.responding.set()
    await world.hub.read("r", Cursor("elsewhere", 1))  # returns after a sync
    await world.hub.check_ready()


# --- the limit of rooms --------------------------------------------------------------------------


async def test_one_room_more_than_the_limit_is_busy() -> None:
    async with running(rooms=2) as world:
        await world.hub.read("one", 0)
        await world.hub.read("two", 0)
        with pytest.raises(Busy) as raised:
            await world.hub.read("three", 0)
    assert raised.value.retry_after


async def test_the_idlest_room_is_evicted(pass_seconds: Callable[[float], None]) -> None:
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


async def test_a_room_with_a_subscriber_is_not_evicted(
    pass_seconds: Callable[[float], None],
) -> None:
    async with running(rooms=1) as world:
        await world.hub.follow("r", 0, ListSubscriber())
        pass_seconds(NEVER)
        with pytest.raises(Busy):
            await world.hub.read("new", 0)


async def test_a_room_that_is_being_opened_is_not_evicted(
    pass_seconds: Callable[[float], None],
) -> None:
    async with running(rooms=1) as world:
        world.broker.responding.clear()
        reading = asyncio.create_task(world.hub.read("r", 0))
        await world.broker.history_called(1)
        pass_seconds(NEVER)  # the broker is slow
        with pytest.raises(Busy):
            await world.hub.read("other", 0)
        world.broker.responding.set()
        reader = await reading
        await world.publish("new")
        assert await receive(reader, 1) == ["new"]


async def test_readers_of_too_many_rooms_do_not_evict_each_other_forever(
    pass_seconds: Callable[[float], None],
) -> None:
    """Each room is opened once, or refused at once."""
    async with running(rooms=3) as world:
        world.broker.responding.clear()
        reads = []
        for number in range(9):
            reads.append(asyncio.create_task(world.hub.read(f"r{number}", 0)))
            await asyncio.sleep(0)
            pass_seconds(1)  # the broker is slow
        world.broker.responding.set()
        async with asyncio.timeout(TIMEOUT):
            ended = await asyncio.gather(*reads, return_exceptions=True)
        assert [isinstance(one, Busy) for one in ended] == [False] * 3 + [True] * 6
        assert len(world.broker.history_calls) == 3


async def test_an_address_is_busy_before_the_server_is(
    pass_seconds: Callable[[float], None],
) -> None:
    async with running(rooms=5, rooms_per_address=2) as world:
        for room in ("one", "two"):
            await world.hub.follow(room, 0, ListSubscriber(), "10.0.0.1")
        with pytest.raises(Busy, match="Your address"):
            await world.hub.read("three", 0, "10.0.0.1")
        await world.hub.read("one", 0, "10.0.0.1")
        await world.hub.read("three", 0, "10.0.0.2")
        await world.hub.read("four", 0, "10.0.0.2")
        pass_seconds(5)
        await world.hub.read("five", 0, "10.0.0.2")  # of its own rooms, the idlest makes space
        assert world.hub.rooms == ["one", "two", "four", "five"]


async def test_rooms_of_one_address_leave_some_for_others() -> None:
    """Also where the limit of an address is above that of the server."""
    async with running(rooms=8) as world:
        for number in range(6):
            await world.hub.follow(f"r{number}", 0, ListSubscriber(), "10.0.0.1")
        with pytest.raises(Busy):
            await world.hub.read("more", 0, "10.0.0.1")
        await world.hub.read("mine", 0, "10.0.0.2")
        assert len(world.hub.rooms) == 7


async def test_a_forgotten_room_is_not_retried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that failed is repeated only while somebody may read the room."""
    monkeypatch.setattr(hub_module, "backoff", lambda failures, longest: 0)
    world.broker.down = True
    with pytest.raises(NoBroker):
        await world.hub.read("r", 0)
    world.hub._forget(world.hub._replicas["r"])
    calls = len(world.broker.history_calls)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(world.broker.history_calls) <= calls + 1  # one may be running


async def test_a_broker_without_memory_is_busy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def publish(draft: Draft) -> Receipt:
        failure = NoBroker()
        failure.full = True
        raise failure

    monkeypatch.setattr(world.broker, "publish", publish)
    with pytest.raises(Busy, match="memory"):
        await world.publish("x")


async def test_a_server_without_space_for_a_room_is_not_ready() -> None:
    async with running(rooms=1) as world:
        subscriber = ListSubscriber()
        broadcaster = await world.hub.follow("r", 0, subscriber)
        with pytest.raises(Busy):
            await world.hub.check_ready()
        broadcaster.remove(subscriber)
    async with running(rooms=1) as world:
        await world.hub.check_ready()


async def test_a_room_with_a_waiting_reader_is_not_evicted(
    pass_seconds: Callable[[float], None],
) -> None:
    async with running(rooms=1) as world:
        reader = await world.hub.read("r", 0)
        waiting = asyncio.create_task(receive(reader, 1))
        await asyncio.sleep(0)
        pass_seconds(NEVER)
        with pytest.raises(Busy):
            await world.hub.read("new", 0)
        await world.publish("still here")
        assert await waiting == ["still here"]


async def test_a_room_that_nobody_reads_is_unsubscribed(
    pass_seconds: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "COMPARE_SECONDS", 0.01)
    async with running() as world:
        await world.hub.read("r", 0)
        pass_seconds(Limits().idle_room_seconds + 1)
        async with asyncio.timeout(TIMEOUT):
            while world.hub.rooms:
                await asyncio.sleep(0.001)
        assert world.broker.listening == set()
        await world.publish("unread")
        assert await poll_texts(await world.hub.read("r", 50)) == ["unread"]


# --- follow --------------------------------------------------------------------------------------


class ListSubscriber:
    """Collects pushes, and signals each."""

    framing = Framing(lambda event: json.loads(event.json)["text"].encode() + b".", bytes)

    def __init__(self) -> None:
        self.received = b""
        self.pushed = asyncio.Event()
        self.closed: RealtimeError | None = None

    def push(self, frames: bytes, events: int) -> bool:
        self.received += frames
        self.pushed.set()
        return True

    def close(self, error: RealtimeError) -> None:
        self.closed = error

    async def next(self) -> bytes:
        await asyncio.wait_for(self.pushed.wait(), TIMEOUT)
        self.pushed.clear()
        return self.received


async def test_a_subscriber_receives_the_history_and_then_new_events(world: World) -> None:
    await world.publish("a", "b")
    subscriber = ListSubscriber()
    await world.hub.follow("r", 1, subscriber)
    assert await subscriber.next() == b"b."
    await world.publish("c")
    assert await subscriber.next() == b"b.c."


async def test_rooms_do_not_mix(world: World) -> None:
    here, there = ListSubscriber(), ListSubscriber()
    await world.hub.follow("r", 0, here)
    await world.hub.follow("elsewhere", 0, there)
    await world.publish("there", room="elsewhere")
    await world.publish("here")
    assert (await here.next(), await there.next()) == (b"here.", b"there.")


async def test_close_ends_every_wait_and_every_stream() -> None:
    subscriber = ListSubscriber()
    world = World()
    await world.hub.start()
    await world.hub.follow("r", 0, subscriber)
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(reader.wait(NEVER, "test"))
    await asyncio.sleep(0)
    await world.hub.close()
    await asyncio.wait_for(waiting, TIMEOUT)
    assert await poll_texts(reader) == []
    assert isinstance(subscriber.closed, GoingAway)


async def test_drain_ends_streams_and_waits_but_not_publish_and_read(world: World) -> None:
    subscriber = ListSubscriber()
    await world.hub.follow("r", 0, subscriber)
    reader = await world.hub.read("r", 0)
    waiting = asyncio.create_task(reader.wait(NEVER, "test"))
    await asyncio.sleep(0)
    world.hub.drain(0.01)
    await asyncio.wait_for(waiting, TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        while subscriber.closed is None:
            await asyncio.sleep(0.001)
    assert isinstance(subscriber.closed, GoingAway)
    assert 1 <= (subscriber.closed.retry_after or 0) <= 1.01
    with pytest.raises(GoingAway):
        world.hub.check_open()
    with pytest.raises(GoingAway):
        await world.hub.check_ready()
    await world.publish("last words")
    assert await poll_texts(await world.hub.read("r", reader.cursor)) == ["last words"]


async def test_a_room_that_was_opened_again_is_not_removed_with_its_old_replica() -> None:
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


async def test_a_read_after_close_raises_going_away() -> None:
    hub = Hub(MemoryBroker(Limits()), Limits())
    await hub.start()
    await hub.close()
    with pytest.raises(GoingAway):
        await asyncio.wait_for(hub.read("room", 0), TIMEOUT)


async def test_close_raises_for_readers_that_wait_for_the_broker() -> None:
    class Silent(MemoryBroker):
        async def history(self, room: str, after: Cursor) -> History:
            await asyncio.Event().wait()
            raise AssertionError

    hub = Hub(Silent(Limits()), Limits())
    await hub.start()
    reads = [asyncio.create_task(hub.read("room", 0)) for _ in range(3)]
    await asyncio.sleep(0)  # the first starts a sync; the others wait for the next one
    await hub.close()
    ended = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), TIMEOUT)
    assert all(isinstance(error, RealtimeError) for error in ended)


async def test_a_reader_cancelled_while_a_room_is_opened_cancels_no_other(world: World) -> None:
    await world.publish("a")
    world.broker.responding.clear()
    # The first starts a sync, and the others wait together for the next one.
    reads = [asyncio.create_task(world.hub.read("r", 50)) for _ in range(3)]
    await asyncio.sleep(0)
    reads[1].cancel()
    await asyncio.sleep(0)
    world.broker.responding.set()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.wait(reads)
    assert [read.cancelled() for read in reads] == [False, True, False]
    assert await poll_texts(reads[2].result()) == ["a"]


async def test_a_reader_cancelled_while_its_cursor_is_synced_cancels_no_other(
    world: World,
) -> None:
    await world.hub.read("r", 0)
    before = await world.top()
    ahead = (await world.publish_undelivered("a"))[0].cursor
    world.broker.responding.clear()
    reads = [asyncio.create_task(world.hub.read("r", ahead)) for _ in range(3)]
    await asyncio.sleep(0)
    reads[1].cancel()
    await asyncio.sleep(0)
    world.broker.responding.set()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.wait(reads)
    assert [read.cancelled() for read in reads] == [False, True, False]
    assert await poll_texts(reads[2].result()) == []
    assert await poll_texts(await world.hub.read("r", before)) == ["a"]


async def test_a_reader_that_comes_while_a_sync_fails_receives_the_same_error(
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
    await asyncio.sleep(0)  # now the sync is running
    second = asyncio.create_task(world.hub.read("r", 50))
    await asyncio.sleep(0)
    failing.set()
    async with asyncio.timeout(TIMEOUT):
        ended = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(error) for error in ended] == [NoBroker, NoBroker]
    monkeypatch.setattr(world.broker, "history", history)
    await world.publish("a")
    assert await poll_texts(await world.hub.read("r", 50)) == ["a"]


async def test_rendered_pages_are_not_cached_without_bound(world: World) -> None:
    await world.publish("a", "b")
    start = (await world.hub.read("r", 50)).cursor

    async def poll() -> list[str]:
        return (await world.hub.read("r", start)).poll(texts)

    first = await poll()
    assert await poll() is first
    for number in range(20):
        (await world.hub.read("r", Cursor("other", number))).poll(texts)
    assert await poll() == first
    assert await poll() is not first
