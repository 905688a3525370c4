"""The promises of every broker, tested in memory and on real Redis servers.

Standalone, a master behind three sentinels, and a Redis Cluster of three.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.broker import RedisBroker
from realtime.core.broker import Broker
from realtime.core.events import Cursor, Member
from realtime.limits import Limits
from tests.brokers.conftest import SECONDS, RecordingListener, draft
from tests.brokers.topologies import SentinelDeployment
from tests.cases import each

ADA = Member("ada", 'Ada "<א> 😀', "sse")
NEVER = Cursor("", 0)


class BrokerFactory:
    """Makes brokers of one kind, as many as a test needs, that share one hub."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._brokers: list[Broker] = []

    async def broker(self, listener: RecordingListener | None = None, **limits: Any) -> Broker:
        bounds = Limits(**limits)
        broker: Broker = RedisBroker(self._url, bounds) if self._url else MemoryBroker(bounds)
        await broker.start(listener or RecordingListener())
        self._brokers.append(broker)
        return broker

    async def close(self) -> None:
        for broker in self._brokers:
            await broker.close()


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelDeployment]:
    with SentinelDeployment(tmp_path_factory.mktemp("sentinels")) as deployment:
        yield deployment


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster"])
def hub(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def factory(hub: str, request: pytest.FixtureRequest) -> AsyncIterator[BrokerFactory]:
    if hub == "memory":
        url = None
    elif hub == "redis":
        url = request.getfixturevalue("servers").redis.url
    else:
        url = request.getfixturevalue(hub).url
    factory = BrokerFactory(url)
    yield factory
    await factory.close()


async def kinds(broker: Broker, room: str) -> list[str]:
    history = await broker.history(room, NEVER)
    return [json.loads(event.json)["kind"] for event in history.events]


# --- events --------------------------------------------------------------------------------------


async def test_numbers_start_at_1_without_gaps(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    receipts = [await broker.publish(draft(room)) for _ in range(3)]
    assert [receipt.cursor.offset for receipt in receipts] == [1, 2, 3]
    assert len({receipt.cursor.epoch for receipt in receipts}) == 1
    assert all(receipt.created for receipt in receipts)


async def test_an_id_is_published_once_in_upper_or_lower_case(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    id = str(uuid.uuid4())
    first = await broker.publish(draft(room, id=id))
    await broker.publish(draft(room))
    again = await broker.publish(draft(room, id=id.upper()))
    assert (again.created, again.cursor) == (False, first.cursor)
    assert len((await broker.history(room, NEVER)).events) == 2


async def test_an_announced_event_equals_the_stored_event(
    factory: BrokerFactory, room: str
) -> None:
    listener = RecordingListener()
    broker = await factory.broker(listener)
    broker.listen(room)
    await listener.subscribed(room)
    for text in ("</script>", '"\\\r\n\u2028\x00', "聊天室 😀 שלום"):
        await broker.publish(draft(room, text))
    announced = await listener.received(room, 3)
    assert announced == list((await broker.history(room, NEVER)).events)
    assert listener.events.keys() == listener.confirmations.keys() == {room}


async def test_after_unlisten_a_room_sends_nothing(factory: BrokerFactory, room: str) -> None:
    listener, other_room = RecordingListener(), "other-" + room
    broker = await factory.broker(listener)
    for name in (room, other_room):
        broker.listen(name)
        await listener.subscribed(name)
    broker.unlisten(room)
    # Commands and announcements use two connections, so a few more events may still arrive.
    async with asyncio.timeout(SECONDS):
        while True:
            listener.events.clear()
            await broker.publish(draft(room))
            await broker.publish(draft(other_room))
            await listener.received(other_room, 1)
            if room not in listener.events:
                break


async def test_history_returns_the_events_after_a_cursor(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    cursors = [(await broker.publish(draft(room))).cursor for _ in range(5)]
    history = await broker.history(room, cursors[2])
    assert [event.cursor for event in history.events] == cursors[3:]
    assert (history.first, history.top, history.epoch) == (1, 5, cursors[0].epoch)


async def test_history_after_a_cursor_of_another_epoch_is_complete(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.publish(draft(room))
    assert len((await broker.history(room, Cursor("another", 1))).events) == 1


async def test_an_empty_room_has_an_epoch_and_keeps_it(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    empty = await broker.history(room, NEVER)
    assert (empty.top, empty.first, list(empty.events)) == (0, 1, [])
    assert (await broker.publish(draft(room))).cursor == Cursor(empty.epoch, 1)


async def test_only_the_newest_events_are_kept(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker(history_events=3)
    for _ in range(5):
        await broker.publish(draft(room))
    history = await broker.history(room, NEVER)
    assert (history.first, history.top) == (3, 5)
    assert [event.cursor.offset for event in history.events] == [3, 4, 5]


async def test_an_idle_room_loses_its_events_but_not_its_numbers(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker(history_seconds=0.05)
    first = await broker.publish(draft(room))
    await broker.enter(room, ADA, "node")
    async with asyncio.timeout(SECONDS):
        while (await broker.history(room, NEVER)).events:
            await asyncio.sleep(0.01)
    history = await broker.history(room, NEVER)
    assert (history.epoch, history.top, history.first) == (first.cursor.epoch, 2, 3)
    assert (await broker.publish(draft(room))).cursor.offset == 3


async def test_a_long_history_is_complete_over_its_pages(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    for _ in range(700):
        await broker.publish(draft(room))
    cursor, seen, more = NEVER, [], True
    while more:
        history = await broker.history(room, cursor)
        seen += [event.cursor.offset for event in history.events]
        cursor, more = history.events[-1].cursor, history.more
    assert seen == list(range(1, 701))


async def test_joins_and_quits_never_push_out_messages(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker(history_events=4, presence_events=3)
    for text in "abcd":
        await broker.publish(draft(room, text))
        for number in range(3):
            await broker.enter(room, Member(f"{text}{number}", "Bob", "sse"), "node")
    history = await broker.history(room, NEVER)
    events = [json.loads(event.json) for event in history.events]
    assert [event.get("text", event["kind"]) for event in events] == [*"abcd", *["join"] * 3]
    assert [event.cursor.offset for event in history.events] == [1, 5, 9, 13, 14, 15, 16]
    assert (history.first, history.top, history.more) == (1, 16, False)
    await broker.publish(draft(room, "e"))  # only a message pushes out a message
    later = await broker.history(room, NEVER)
    assert (later.first, later.top) == (2, 17)
    assert [event.cursor.offset for event in later.events] == [5, 9, 13, 14, 15, 16, 17]


async def test_a_room_of_which_no_presence_is_kept_has_a_complete_history(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker(presence_events=0)
    await broker.publish(draft(room, "a"))
    await broker.enter(room, ADA, "node")
    history = await broker.history(room, NEVER)
    assert [event.cursor.offset for event in history.events] == [1]
    assert (history.first, history.top, history.more) == (1, 2, False)


async def test_messages_and_joins_are_in_one_order_over_pages(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker(presence_events=1000)
    for number in range(250):
        await broker.publish(draft(room))
        await broker.enter(room, Member(f"c{number}", "Bob", "sse"), "node")
    cursor, seen, more = NEVER, [], True
    while more:
        history = await broker.history(room, cursor)
        seen += [event.cursor.offset for event in history.events]
        cursor, more = history.events[-1].cursor, history.more
    assert seen == list(range(1, 501))


async def test_a_room_keeps_at_most_so_many_bytes_and_its_last_message(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker(room_bytes=3000)
    for _ in range(10):
        await broker.publish(draft(room, 400 * "x"))
    history = await broker.history(room, NEVER)
    assert 2 <= len(history.events) < 6
    assert sum(len(event.json) for event in history.events) <= 3000
    assert history.first == history.events[0].cursor.offset
    await broker.publish(draft(room, 4000 * "x"))
    history = await broker.history(room, NEVER)
    assert [event.cursor.offset for event in history.events] == [11]
    assert history.first == 11


async def test_concurrent_messages_have_one_order_for_all(
    factory: BrokerFactory, hub: str, room: str
) -> None:
    listeners = [RecordingListener() for _ in range(1 if hub == "memory" else 2)]
    brokers = [await factory.broker(listener) for listener in listeners]
    for broker, listener in zip(brokers, listeners, strict=True):
        broker.listen(room)
        await listener.subscribed(room)
    drafts = [draft(room, str(number)) for number in range(60)]
    receipts = await asyncio.gather(
        *(brokers[n % len(brokers)].publish(one) for n, one in enumerate(drafts))
    )
    assert sorted(receipt.cursor.offset for receipt in receipts) == list(range(1, 61))
    for listener in listeners:
        events = await listener.received(room, 60)
        assert [event.cursor.offset for event in events] == list(range(1, 61))


# --- members -------------------------------------------------------------------------------------


async def test_a_member_that_enters_twice_joins_once(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    for _ in range(2):
        await broker.enter(room, ADA, "node_id")
    assert await kinds(broker, room) == ["join"]
    assert list(await broker.members(room)) == [ADA]


async def test_a_member_that_leaves_is_not_listed_and_quits_once(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.enter(room, ADA, "one")
    await broker.enter(room, ADA, "other")
    await broker.leave(room, "ada", None, 0)
    assert list(await broker.members(room)) == []
    await asyncio.gather(*(broker.sweep(room) for _ in range(3)))
    assert await kinds(broker, room) == ["join", "quit"]


async def test_every_quit_has_the_name_of_the_member_and_its_own_id(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    names = [Member(f"client-{n}", f"Name {n}", "sse") for n in range(3)]
    for member in names:
        await broker.enter(room, member, "node_id")
        await broker.leave(room, member.client, None, 0)
    await broker.sweep(room)
    events = [json.loads(event.json) for event in (await broker.history(room, NEVER)).events]
    quits = [event for event in events if event["kind"] == "quit"]
    assert {event["name"] for event in quits} == {"Name 0", "Name 1", "Name 2"}
    assert len({uuid.UUID(event["id"]) for event in events}) == 6


async def test_a_member_with_a_second_lease_does_not_quit(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.enter(room, ADA, "one")
    await broker.enter(room, ADA, "other")
    await broker.leave(room, "ada", "one", 0)
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join"]


async def test_a_member_that_returns_in_time_does_not_quit(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.enter(room, ADA, "one")
    await broker.leave(room, "ada", None, 0)
    await broker.enter(room, ADA, "one")
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join"]
    assert list(await broker.members(room)) == [ADA]


async def test_a_lease_that_is_not_renewed_expires(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker(lease_seconds=0.05)
    await broker.enter(room, ADA, "one")
    async with asyncio.timeout(SECONDS):
        while await kinds(broker, room) != ["join", "quit"]:
            await broker.sweep(room)


async def test_rooms_are_listed_with_their_members_and_tops(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    name = f"聊天室.{room}"
    await broker.publish(draft(name))
    await broker.enter(name, ADA, "one")
    await broker.history("quiet-" + room, NEVER)
    rows = {row.room: (row.members, row.top) for row in await broker.rooms()}
    assert rows[name] == (1, 2)
    assert "quiet-" + room not in rows


async def test_of_many_concurrent_messages_with_one_id_one_is_created(
    factory: BrokerFactory, hub: str, room: str
) -> None:
    brokers = [await factory.broker() for _ in range(1 if hub == "memory" else 2)]
    one = draft(room)
    receipts = await asyncio.gather(*(b.publish(one) for b in brokers for _ in range(10)))
    assert [receipt.created for receipt in receipts].count(True) == 1
    assert len({receipt.cursor for receipt in receipts}) == 1


async def test_history_after_a_cursor_above_the_top_is_empty(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    receipt = await broker.publish(draft(room))
    history = await broker.history(room, Cursor(receipt.cursor.epoch, 99))
    assert (list(history.events), history.top, history.more) == ([], 1, False)


async def test_a_member_that_leaves_is_hidden_at_once_and_quits_after_the_grace(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.enter(room, ADA, "one")
    await broker.leave(room, "ada", None, 1.0)
    await broker.sweep(room)
    assert list(await broker.members(room)) == []
    assert await kinds(broker, room) == ["join"]
    async with asyncio.timeout(SECONDS):
        while await kinds(broker, room) != ["join", "quit"]:
            await asyncio.sleep(0.05)
            await broker.sweep(room)


async def test_concurrent_sweeps_publish_one_quit_per_member(
    factory: BrokerFactory, hub: str, room: str
) -> None:
    brokers = [await factory.broker() for _ in range(1 if hub == "memory" else 3)]
    for number in range(20):
        await brokers[0].enter(room, Member(f"client-{number}", "x", "sse"), "one")
        await brokers[0].leave(room, f"client-{number}", None, 0)
    await asyncio.gather(*(broker.sweep(room) for broker in brokers for _ in range(5)))
    assert (await kinds(brokers[0], room)).count("quit") == 20


async def test_leaving_without_entering_publishes_nothing(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.leave(room, "nobody", None, 0)
    await broker.sweep(room)
    assert await kinds(broker, room) == []


@each("name", ["聊天室", "a.b-c_d", "قاعة", "ห้อง", "-", "x" * 64])
async def test_a_room_with_any_name_is_separate(
    factory: BrokerFactory, room: str, name: str
) -> None:
    listener = RecordingListener()
    broker = await factory.broker(listener)
    before = (await broker.history(name, NEVER)).top  # other tests of this session may use it
    broker.listen(name)
    await listener.subscribed(name)
    await broker.publish(draft(room))
    receipt = await broker.publish(draft(name))
    (event,) = await listener.received(name, 1)
    assert event.cursor == receipt.cursor
    assert listener.events.keys() == {name}
    assert receipt.cursor.offset == before + 1
    assert name in [row.room for row in await broker.rooms()]


@each("name", ['"', "\\", "%d {} ${x}", "</script>", "👩‍🚀", "שלום \u202e", "a b"])
async def test_a_member_name_with_any_characters_is_unchanged(
    factory: BrokerFactory, room: str, name: str
) -> None:
    broker = await factory.broker()
    member = Member("a.b-c_", name, "sse")
    await broker.enter(room, member, "node_id")
    assert list(await broker.members(room)) == [member]
    await broker.leave(room, member.client, None, 0)
    await broker.sweep(room)
    events = [json.loads(event.json) for event in (await broker.history(room, NEVER)).events]
    assert [event["name"] for event in events[-2:]] == [name, name]  # after those of other cases


async def test_a_member_that_enters_with_a_new_name_is_listed_with_it(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    await broker.enter(room, ADA, "node_id")
    await broker.enter(room, Member("ada", "Lovelace", "websocket"), "node_id", stream=True)
    assert list(await broker.members(room)) == [Member("ada", "Lovelace", "websocket")]
    assert await kinds(broker, room) == ["join"]


async def test_a_stream_stays_listed_under_its_name_whatever_others_send(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    eve = Member("ada", "Eve", "sse")
    await broker.enter(room, ADA, "one", stream=True)
    await broker.enter(room, eve, "other")
    await broker.enter(room, eve, "third", stream=True)
    await broker.leave(room, "ada", None, 0)
    await broker.sweep(room)
    assert list(await broker.members(room)) == [ADA]
    assert await kinds(broker, room) == ["join"]
    await broker.leave(room, "ada", "one", 0)
    await broker.sweep(room)
    assert [member.client for member in await broker.members(room)] == ["ada"]
    await broker.leave(room, "ada", None, 0)
    await broker.leave(room, "ada", "other", 0)
    await broker.leave(room, "ada", "third", 0)  # the last stream has ended: the leave counts
    assert list(await broker.members(room)) == []
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join", "quit"]


async def test_the_next_stream_gives_the_name_when_the_first_has_ended(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    eve = Member("ada", "Eve", "sse")
    await broker.enter(room, ADA, "one", stream=True)
    await broker.leave(room, "ada", "one", 0)
    await broker.enter(room, eve, "other", stream=True)
    assert list(await broker.members(room)) == [eve]
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join"]


async def test_a_poll_renames_only_a_member_that_has_left(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    eve = Member("ada", '","via":Eve', "sse")
    await broker.enter(room, ADA, "one")
    await broker.enter(room, eve, "one")
    assert list(await broker.members(room)) == [ADA]
    await broker.enter(room, Member("ada", ADA.name, "long_polling"), "one")
    assert [member.via for member in await broker.members(room)] == ["long_polling"]
    await broker.leave(room, "ada", None, 5)
    await broker.enter(room, eve, "one")
    assert list(await broker.members(room)) == [eve]


async def names_in(broker: Broker, room: str) -> list[tuple[str, str]]:
    """The kind and the name of every event."""
    events = [json.loads(event.json) for event in (await broker.history(room, NEVER)).events]
    return [(event["kind"], event["name"]) for event in events]


async def test_a_name_in_use_is_numbered_in_the_order_of_joining_at_every_process(
    factory: BrokerFactory, room: str
) -> None:
    one, other = await factory.broker(), await factory.broker()
    if isinstance(one, MemoryBroker):
        other = one
    for n, broker in enumerate((one, other, one)):
        for stream in (False, True, True):  # a renewal changes nothing
            await broker.enter(
                room, Member(f"c{n}", ("Ada", "ada", "Ａda")[n], "sse"), f"node {n}", stream=stream
            )
    shown = ["Ada", "ada (2)", "Ａda (3)"]
    assert [member.name for member in await other.members(room)] == shown
    await one.leave(room, "c0", "node 0", 0)
    await one.sweep(room)
    assert [member.name for member in await one.members(room)] == shown[1:]
    await one.enter(room, Member("c3", "Ada", "sse"), "node")
    joins = [("join", name) for name in shown]
    assert await names_in(one, room) == [*joins, ("quit", "Ada"), ("join", "Ada")]


async def test_a_message_has_the_number_of_its_client_and_a_stranger_gets_the_next(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    for client in ("ada", "second"):
        await broker.enter(room, Member(client, '","text":"Ada', "sse"), "one")
    for client in ("ada", "second", "third", None):
        message = replace(draft(room), client=client, name='","text":"Ada')
        await broker.publish(message)
    await broker.publish(replace(draft(room), client="second", name="Bo"))
    await broker.publish(replace(draft(room), client="second", name=None))
    said = [name for kind, name in await names_in(broker, room) if kind == "say"]
    numbered = [f'","text":"Ada{number}' for number in ("", " (2)", " (3)", " (3)")]
    assert said == [*numbered, "Bo", None]


async def test_the_rules_of_a_room_are_those_of_every_process(
    factory: BrokerFactory, room: str
) -> None:
    listener = RecordingListener()
    one = await factory.broker(listener)
    other = one if isinstance(one, MemoryBroker) else await factory.broker()
    one.listen(room)
    await listener.subscribed(room)
    assert await one.rules(room) == {}
    await other.change_rules(room, {"locked": "1", "muted ada": "1"})
    await listener.announced_rules(room)
    assert await one.rules(room) == {"locked": "1", "muted ada": "1"}
    await other.change_rules(room, {"locked": None, "removed bo": "1"})
    await one.reset(room)  # only the lecturer readmits a client
    assert await one.rules(room) == {"muted ada": "1", "removed bo": "1"}
    assert await one.rules(f"{room}.other") == {}
    assert await kinds(one, room) == []  # no event of the room


async def test_a_reset_keeps_the_numbers(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    for client in ("ada", "second"):
        await broker.enter(room, Member(client, "Ada", "sse"), "one")
    await broker.reset(room)
    assert sorted(await names_in(broker, room)) == [("join", "Ada"), ("join", "Ada (2)")]
    await broker.enter(room, Member("second", "Ada", "sse"), "one")
    assert [member.name for member in await broker.members(room)] == ["Ada", "Ada (2)"]


async def test_a_node_that_died_holds_no_member(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker(lease_seconds=0.05)
    await broker.enter(room, ADA, "died", stream=True)
    async with asyncio.timeout(SECONDS):
        while await kinds(broker, room) != ["join", "quit"]:
            await broker.sweep(room)
    await broker.enter(room, ADA, "lives")
    await broker.leave(room, "ada", None, 0)
    assert list(await broker.members(room)) == []


async def test_members_are_listed_in_pages(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    clients = ["A", "a-b", "a.b", "ab", "b", "b1"]
    for client in reversed(clients):
        await broker.enter(room, Member(client, "x", "sse"), "one")
    await broker.leave(room, "b", None, 5)
    pages, after = [], ""
    while page := await broker.members(room, after, 2):
        pages.append([member.client for member in page])
        after = page[-1].client
    assert pages == [["A", "a-b"], ["a.b", "ab"], ["b1"]]
    assert await broker.count_members(room) == 5


async def test_rooms_are_listed_in_pages(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    names = {f"{room}.{n}" for n in range(120)}
    for name in names:
        await broker.publish(draft(name))
    listed, after = [], room
    while page := await broker.rooms(after, 50):
        assert len(page) <= 50
        listed += [row.room for row in page]
        after = listed[-1]
    assert listed == sorted(set(listed))
    assert names <= set(listed)


@pytest.mark.parametrize("node_id", ["one", "stranger", None])
async def test_leaving_never_creates_or_extends_a_lease(
    factory: BrokerFactory, room: str, node_id: str | None
) -> None:
    broker = await factory.broker(lease_seconds=0.05)
    await broker.enter(room, ADA, "one")
    await broker.leave(room, "ada", node_id, 1000)
    async with asyncio.timeout(SECONDS):
        while await kinds(broker, room) != ["join", "quit"]:
            await broker.sweep(room)


async def test_leaving_does_not_affect_clients_with_similar_ids(
    factory: BrokerFactory, room: str
) -> None:
    broker = await factory.broker()
    for client in ("ad", "ada", "bad"):
        await broker.enter(room, Member(client, client, "sse"), "node_id")
    await broker.leave(room, "ad", None, 0)
    await broker.sweep(room)
    assert await kinds(broker, room) == ["join", "join", "join", "quit"]
    assert sorted(member.client for member in await broker.members(room)) == ["ada", "bad"]


async def test_a_renewed_lease_is_one_lease(factory: BrokerFactory, room: str) -> None:
    broker = await factory.broker()
    for _ in range(3):
        await broker.enter(room, ADA, "node_id")
    await broker.leave(room, "ada", "node_id", 0)
    await broker.sweep(room)
    assert list(await broker.members(room)) == []
    assert await kinds(broker, room) == ["join", "quit"]


# --- processes -----------------------------------------------------------------------------------


@pytest.fixture
def worker(room: str) -> str:
    """A worker name that no other test reports for."""
    return f"127.0.0.1:6001 {room}"


async def test_the_last_report_of_a_process_counts(factory: BrokerFactory, worker: str) -> None:
    broker = await factory.broker()
    for text in (b"first", '"聊天室" \x00 {}'.encode()):
        await broker.report(worker, text, 60)
    await broker.report(f"{worker}, too", b"another", 60)
    reports = await broker.reports()
    assert reports[worker] == '"聊天室" \x00 {}'.encode()
    assert reports[f"{worker}, too"] == b"another"


async def test_a_report_that_is_not_renewed_expires(factory: BrokerFactory, worker: str) -> None:
    broker = await factory.broker()
    await broker.report(f"{worker}, alive", b"", 60)
    await broker.report(worker, b"and then it was killed", 0.1)
    async with asyncio.timeout(SECONDS):
        while worker in await broker.reports():
            await asyncio.sleep(0.001)
    assert f"{worker}, alive" in await broker.reports()


async def test_a_renewed_report_is_kept(factory: BrokerFactory, worker: str) -> None:
    broker = await factory.broker()
    await broker.report(worker, b"", 0.001)
    await broker.report(worker, b"", 60)
    await asyncio.sleep(0.01)
    assert worker in await broker.reports()


async def test_a_report_of_0_seconds_is_removed(factory: BrokerFactory, worker: str) -> None:
    broker = await factory.broker()
    await broker.report(worker, b"", 60)
    await broker.report(worker, b"", 0)
    assert worker not in await broker.reports()
