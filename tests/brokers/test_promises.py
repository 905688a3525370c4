"""What every broker promises the hub, held against memory and against real Redises.

One alone, one that three sentinels watch, and a Cluster of three.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.broker import RedisBroker
from realtime.core.broker import Broker
from realtime.core.events import Cursor, Draft, Event, Member
from realtime.limits import Limits
from tests.brokers.topologies import ShardedFleet, WatchedFleet

ADA = Member("ada", 'Ada "<א> 😀', "sse")
NEVER = Cursor("", 0)


def draft(room: str, text: str = "hi", id: str | None = None) -> Draft:
    return Draft(room, id or str(uuid.uuid4()), None, None, text, "post", None)


class Ear:
    """A listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Event]] = []
        self.confirmations: list[str] = []
        self._news = asyncio.Condition()

    def on_publication(self, room: str, event: Event) -> None:
        self.heard.append((room, event))

    def on_subscribed(self, room: str) -> None:
        self.confirmations.append(room)

    async def until(self, happened: Any) -> None:
        async with asyncio.timeout(10):
            while not happened():
                await asyncio.sleep(0.001)  # the broker tells by plain calls


class Place:
    """Where brokers of one kind meet: as many as a test wants, over one memory."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._brokers: list[Broker] = []

    async def broker(self, ear: Ear | None = None, **limits: Any) -> Broker:
        bounds = Limits(**limits)
        broker: Broker = RedisBroker(self._url, bounds) if self._url else MemoryBroker(bounds)
        await broker.start(ear or Ear())
        self._brokers.append(broker)
        return broker

    async def close(self) -> None:
        for broker in self._brokers:
            await broker.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with WatchedFleet(tmp_path_factory.mktemp("sentinels")) as fleet:
        yield fleet.url


@pytest.fixture(scope="module")
def sharded() -> Iterator[str]:
    with ShardedFleet() as fleet:
        yield fleet.url


@pytest.fixture(params=["memory", "redis", "watched", "sharded"])
def hub(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def place(hub: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if hub == "memory":
        url = None
    elif hub == "redis":
        url = request.getfixturevalue("servers").redis.url
    else:
        url = request.getfixturevalue(hub)
    place = Place(url)
    yield place
    await place.close()


async def kinds(broker: Broker, room: str) -> list[str]:
    history = await broker.history(room, NEVER)
    return [json.loads(event.json)["kind"] for event in history.events]


# --- words ---------------------------------------------------------------------------------------


async def test_numbers_begin_at_1_and_have_no_hole(place: Place, room: str) -> None:
    broker = await place.broker()
    receipts = [await broker.publish(draft(room)) for _ in range(3)]
    assert [receipt.cursor.offset for receipt in receipts] == [1, 2, 3]
    assert len({receipt.cursor.epoch for receipt in receipts}) == 1
    assert all(receipt.created for receipt in receipts)


async def test_an_id_is_said_once_in_any_case(place: Place, room: str) -> None:
    broker = await place.broker()
    id = str(uuid.uuid4())
    first = await broker.publish(draft(room, id=id))
    await broker.publish(draft(room))
    again = await broker.publish(draft(room, id=id.upper()))
    assert (again.created, again.cursor) == (False, first.cursor)
    assert len((await broker.history(room, NEVER)).events) == 2


async def test_what_is_announced_is_what_is_remembered(place: Place, room: str) -> None:
    ear = Ear()
    broker = await place.broker(ear)
    broker.listen(room)
    await ear.until(lambda: ear.confirmations == [room])
    for text in ("</script>", '"\\\r\n\u2028\x00', "聊天室 😀 שלום"):
        await broker.publish(draft(room, text))
    await ear.until(lambda: len(ear.heard) == 3)
    remembered = (await broker.history(room, NEVER)).events
    assert [(room, event) for event in remembered] == ear.heard


async def test_a_room_that_is_not_listened_to_is_not_heard(place: Place, room: str) -> None:
    ear = Ear()
    broker = await place.broker(ear)
    for name in (room, "other-" + room):
        broker.listen(name)
    await ear.until(lambda: len(ear.confirmations) == 2)
    broker.unlisten(room)
    # Commands and announcements go over two connections, so only what is heard counts.
    async with asyncio.timeout(10):
        while True:
            ear.heard.clear()
            await broker.publish(draft(room))
            await broker.publish(draft("other-" + room))
            await ear.until(lambda: any(name != room for name, _ in ear.heard))
            if all(name != room for name, _ in ear.heard):
                break


async def test_history_answers_what_came_after_a_cursor(place: Place, room: str) -> None:
    broker = await place.broker()
    cursors = [(await broker.publish(draft(room))).cursor for _ in range(5)]
    history = await broker.history(room, cursors[2])
    assert [event.cursor for event in history.events] == cursors[3:]
    assert (history.first, history.top, history.epoch) == (1, 5, cursors[0].epoch)


async def test_history_after_a_cursor_of_another_life_is_all_of_it(place: Place, room: str) -> None:
    broker = await place.broker()
    await broker.publish(draft(room))
    assert len((await broker.history(room, Cursor("another", 1))).events) == 1


async def test_a_quiet_room_has_an_epoch_and_keeps_it(place: Place, room: str) -> None:
    broker = await place.broker()
    empty = await broker.history(room, NEVER)
    assert (empty.top, empty.first, list(empty.events)) == (0, 1, [])
    assert (await broker.publish(draft(room))).cursor == Cursor(empty.epoch, 1)


async def test_all_but_the_last_are_forgotten(place: Place, room: str) -> None:
    broker = await place.broker(history_events=3)
    for _ in range(5):
        await broker.publish(draft(room))
    history = await broker.history(room, NEVER)
    assert (history.first, history.top) == (3, 5)
    assert [event.cursor.offset for event in history.events] == [3, 4, 5]


async def test_a_room_that_is_quiet_for_long_forgets_its_words_and_not_its_numbers(
    place: Place, room: str
) -> None:
    broker = await place.broker(history_seconds=0.05)
    first = await broker.publish(draft(room))
    async with asyncio.timeout(10):
        while (await broker.history(room, NEVER)).events:
            await asyncio.sleep(0.01)
    history = await broker.history(room, NEVER)
    assert (history.epoch, history.top, history.first) == (first.cursor.epoch, 1, 2)
    assert (await broker.publish(draft(room))).cursor.offset == 2


async def test_a_long_memory_comes_whole(place: Place, room: str) -> None:
    broker = await place.broker()
    for _ in range(700):
        await broker.publish(draft(room))
    cursor, seen, more = NEVER, [], True
    while more:
        history = await broker.history(room, cursor)
        seen += [event.cursor.offset for event in history.events]
        cursor, more = history.events[-1].cursor, history.more
    assert seen == list(range(1, 701))


async def test_many_at_once_are_one_order_for_all(place: Place, hub: str, room: str) -> None:
    ears = [Ear(), Ear()]
    brokers = [await place.broker(ear) for ear in ears[: 1 if hub == "memory" else 2]]
    for broker in brokers:
        broker.listen(room)
    for ear in ears[: len(brokers)]:
        await ear.until(lambda ear=ear: ear.confirmations)
    drafts = [draft(room, str(number)) for number in range(60)]
    receipts = await asyncio.gather(
        *(brokers[n % len(brokers)].publish(one) for n, one in enumerate(drafts))
    )
    assert sorted(receipt.cursor.offset for receipt in receipts) == list(range(1, 61))
    for ear in ears[: len(brokers)]:
        await ear.until(lambda ear=ear: len(ear.heard) == 60)
        assert [event.cursor.offset for _, event in ear.heard] == list(range(1, 61))


# --- people --------------------------------------------------------------------------------------


async def test_who_enters_has_joined_once(place: Place, room: str) -> None:
    broker = await place.broker()
    for _ in range(2):
        await broker.enter(room, ADA, "node_id")
    assert await kinds(broker, room) == ["join"]
    assert list(await broker.members(room)) == [ADA]


async def test_who_leaves_is_off_the_list_and_has_quit_once(place: Place, room: str) -> None:
    broker = await place.broker()
    await broker.enter(room, ADA, "one")
    await broker.enter(room, ADA, "other")
    await broker.leave(room, "ada", None, 0)
    assert list(await broker.members(room)) == []
    await asyncio.gather(*(broker.sweep(room) for _ in range(3)))
    assert await kinds(broker, room) == ["join", "quit"]


async def test_a_quit_says_who_it_was_under_an_id_of_its_own(place: Place, room: str) -> None:
    broker = await place.broker()
    names = [Member(f"client-{n}", f"Name {n}", "sse") for n in range(3)]
    for member in names:
        await broker.enter(room, member, "node_id")
        await broker.leave(room, member.client, None, 0)
    await broker.sweep(room)
    events = [json.loads(event.json) for event in (await broker.history(room, NEVER)).events]
    quits = [event for event in events if event["kind"] == "quit"]
    assert {event["name"] for event in quits} == {"Name 0", "Name 1", "Name 2"}
    assert len({uuid.UUID(event["id"]) for event in events}) == 6


async def test_one_holder_that_lets_go_is_no_quit(place: Place, room: str) -> None:
    broker = await place.broker()
    await broker.enter(room, ADA, "one")
    await broker.enter(room, ADA, "other")
    await broker.leave(room, "ada", "one", 0)
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join"]


async def test_who_comes_back_in_time_never_left(place: Place, room: str) -> None:
    broker = await place.broker()
    await broker.enter(room, ADA, "one")
    await broker.leave(room, "ada", None, 0)
    await broker.enter(room, ADA, "one")
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join"]
    assert list(await broker.members(room)) == [ADA]


async def test_a_lease_that_is_not_renewed_ends(place: Place, room: str) -> None:
    broker = await place.broker(lease_seconds=0.05)
    await broker.enter(room, ADA, "one")
    async with asyncio.timeout(10):
        while await kinds(broker, room) != ["join", "quit"]:
            await broker.sweep(room)


async def test_rooms_are_listed_with_their_members_and_tops(place: Place, room: str) -> None:
    broker = await place.broker()
    name = f"聊天室.{room}"
    await broker.publish(draft(name))
    await broker.enter(name, ADA, "one")
    await broker.history("quiet-" + room, NEVER)
    rows = {row.room: (row.members, row.top) for row in await broker.rooms()}
    assert rows[name] == (1, 2)
    assert "quiet-" + room not in rows


async def test_of_many_that_say_one_id_at_once_one_is_first(
    place: Place, hub: str, room: str
) -> None:
    brokers = [await place.broker() for _ in range(1 if hub == "memory" else 2)]
    one = draft(room)
    receipts = await asyncio.gather(*(b.publish(one) for b in brokers for _ in range(10)))
    assert [receipt.created for receipt in receipts].count(True) == 1
    assert len({receipt.cursor for receipt in receipts}) == 1


async def test_nothing_comes_after_a_cursor_beyond_the_top(place: Place, room: str) -> None:
    broker = await place.broker()
    receipt = await broker.publish(draft(room))
    history = await broker.history(room, Cursor(receipt.cursor.epoch, 99))
    assert (list(history.events), history.top, history.more) == ([], 1, False)


async def test_who_leaves_is_hidden_at_once_and_quits_after_the_grace(
    place: Place, room: str
) -> None:
    broker = await place.broker()
    await broker.enter(room, ADA, "one")
    await broker.leave(room, "ada", None, 0.3)
    await broker.sweep(room)
    assert list(await broker.members(room)) == []
    assert await kinds(broker, room) == ["join"]
    async with asyncio.timeout(10):
        while await kinds(broker, room) != ["join", "quit"]:
            await broker.sweep(room)


async def test_who_sweeps_at_once_says_one_quit_together(place: Place, hub: str, room: str) -> None:
    brokers = [await place.broker() for _ in range(1 if hub == "memory" else 3)]
    for number in range(20):
        await brokers[0].enter(room, Member(f"client-{number}", "x", "sse"), "one")
        await brokers[0].leave(room, f"client-{number}", None, 0)
    await asyncio.gather(*(broker.sweep(room) for broker in brokers for _ in range(5)))
    assert (await kinds(brokers[0], room)).count("quit") == 20


async def test_who_leaves_and_never_came_is_no_news(place: Place, room: str) -> None:
    broker = await place.broker()
    await broker.leave(room, "nobody", None, 0)
    await broker.sweep(room)
    assert await kinds(broker, room) == []


@pytest.mark.parametrize("name", ["聊天室", "a.b-c_d", "قاعة", "ห้อง", "-", "x" * 64])
async def test_a_room_of_any_name_is_a_room_of_its_own(place: Place, room: str, name: str) -> None:
    ear = Ear()
    broker = await place.broker(ear)
    before = (await broker.history(name, NEVER)).top  # others of this session may have been here
    broker.listen(name)
    await ear.until(lambda: ear.confirmations == [name])
    await broker.publish(draft(room))
    receipt = await broker.publish(draft(name))
    await ear.until(lambda: ear.heard)
    assert [(where, event.cursor) for where, event in ear.heard] == [(name, receipt.cursor)]
    assert receipt.cursor.offset == before + 1
    assert name in [row.room for row in await broker.rooms()]


@pytest.mark.parametrize(
    "name", ['"', "\\", "%d {} ${x}", "</script>", "👩‍🚀", "שלום \u202e", "a b"]
)
async def test_a_name_of_any_kind_comes_back_unchanged(place: Place, room: str, name: str) -> None:
    broker = await place.broker()
    member = Member("a.b-c_", name, "sse")
    await broker.enter(room, member, "node_id")
    assert list(await broker.members(room)) == [member]
    await broker.leave(room, member.client, None, 0)
    await broker.sweep(room)
    events = [json.loads(event.json) for event in (await broker.history(room, NEVER)).events]
    assert [event["name"] for event in events] == [name, name]


async def test_who_comes_under_another_name_is_listed_by_it(place: Place, room: str) -> None:
    broker = await place.broker()
    await broker.enter(room, ADA, "node_id")
    await broker.enter(room, Member("ada", "Lovelace", "websocket"), "node_id")
    assert list(await broker.members(room)) == [Member("ada", "Lovelace", "websocket")]
    assert await kinds(broker, room) == ["join"]


@pytest.mark.parametrize("node_id", ["one", "stranger", None])
async def test_leaving_never_makes_a_lease_nor_makes_one_longer(
    place: Place, room: str, node_id: str | None
) -> None:
    broker = await place.broker(lease_seconds=0.05)
    await broker.enter(room, ADA, "one")
    await broker.leave(room, "ada", node_id, 1000)
    async with asyncio.timeout(10):
        while await kinds(broker, room) != ["join", "quit"]:
            await broker.sweep(room)


async def test_who_leaves_takes_nobody_of_a_like_name_along(place: Place, room: str) -> None:
    broker = await place.broker()
    for client in ("ad", "ada", "bad"):
        await broker.enter(room, Member(client, client, "sse"), "node_id")
    await broker.leave(room, "ad", None, 0)
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join", "join", "join", "quit"]
    assert sorted(member.client for member in await broker.members(room)) == ["ada", "bad"]


async def test_a_lease_that_was_renewed_is_one_lease(place: Place, room: str) -> None:
    broker = await place.broker()
    for _ in range(3):
        await broker.enter(room, ADA, "node_id")
    await broker.leave(room, "ada", "node_id", 0)
    await broker.sweep(room)
    assert list(await broker.members(room)) == []
    assert await kinds(broker, room) == ["join", "quit"]


# --- processes -----------------------------------------------------------------------------------


@pytest.fixture
def worker(room: str) -> str:
    """A process that nobody else reports for."""
    return f"127.0.0.1:6001 {room}"


async def test_what_a_process_says_last_is_its_report(place: Place, worker: str) -> None:
    broker = await place.broker()
    for text in (b"first", '"聊天室" \x00 {}'.encode()):
        await broker.report(worker, text, 60)
    await broker.report(f"{worker}, too", b"another", 60)
    reports = await broker.reports()
    assert reports[worker] == '"聊天室" \x00 {}'.encode()
    assert reports[f"{worker}, too"] == b"another"


async def test_a_report_that_is_not_renewed_is_dropped(place: Place, worker: str) -> None:
    broker = await place.broker()
    await broker.report(f"{worker}, alive", b"", 60)
    await broker.report(worker, b"and then it was killed", 0.1)
    async with asyncio.timeout(10):
        while worker in await broker.reports():
            await asyncio.sleep(0.001)
    assert f"{worker}, alive" in await broker.reports()


async def test_a_report_that_is_renewed_is_kept(place: Place, worker: str) -> None:
    broker = await place.broker()
    await broker.report(worker, b"", 0.001)
    await broker.report(worker, b"", 60)
    await asyncio.sleep(0.01)
    assert worker in await broker.reports()


async def test_a_report_may_be_taken_back(place: Place, worker: str) -> None:
    broker = await place.broker()
    await broker.report(worker, b"", 60)
    await broker.report(worker, b"", 0)
    assert worker not in await broker.reports()
