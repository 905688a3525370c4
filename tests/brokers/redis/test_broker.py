"""The broker on a real Redis that is killed, frozen, emptied, or restarted from an older snapshot.

The promises that it shares with the memory broker are in test_promises.py.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path

import pytest
from redis.asyncio import Redis

from realtime.brokers.choose import choose
from realtime.brokers.redis import broker as module
from realtime.brokers.redis.broker import EMPTY_ROOM_SECONDS, RedisBroker
from realtime.core.broker import META_TTL_FACTOR
from realtime.core.events import Cursor, Event, Member
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.brokers.conftest import SECONDS, Process, RecordingListener, Start, draft, eventually
from tests.brokers.private_redis import PrivateRedis
from tests.cases import each
from tests.faults.redis_relay import RedisRelay

START = Cursor("", 0)


@pytest.fixture
async def process(redis: PrivateRedis, start: Start) -> Process:
    return await start(RedisBroker(redis.url, Limits()))


@pytest.fixture
async def admin(redis: PrivateRedis) -> AsyncIterator[Redis]:
    """A client for administration commands."""
    async with Redis.from_url(redis.url, decode_responses=True) as client:
        yield client


async def publish_texts(process: Process, room: str, *texts: str) -> list[Cursor]:
    return [(await process.broker.publish(draft(room, text))).cursor for text in texts]


async def stored_texts(process: Process, room: str) -> list[str]:
    """Return the texts in the history of a room."""
    history = await process.broker.history(room, START)
    return [json.loads(event.json)["text"] for event in history.events]


async def is_ready(process: Process) -> bool:
    try:
        await process.broker.ping()
    except NoBroker:
        return False
    return True


# --- a connection is lost ------------------------------------------------------------------------


async def test_a_killed_subscription_is_confirmed_again_and_receives_again(
    process: Process, admin: Redis, room: str
) -> None:
    await process.listen(room)
    await admin.client_kill_filter(_type="pubsub")
    await process.listener.subscribed(room, times=2)
    receipt = await process.broker.publish(draft(room))
    (event,) = await process.listener.received(room, 1)
    assert event.cursor == receipt.cursor


async def test_killed_command_connections_cause_no_error(
    process: Process, admin: Redis, room: str
) -> None:
    await asyncio.gather(*(process.broker.publish(draft(room)) for _ in range(20)))
    await admin.client_kill_filter(_type="normal", skipme=True)
    receipts = await asyncio.gather(*(process.broker.publish(draft(room)) for _ in range(20)))
    assert sorted(receipt.cursor.offset for receipt in receipts) == list(range(21, 41))


async def test_a_hub_that_replies_without_pubsub_is_not_ready(
    redis: PrivateRedis, start: Start, admin: Redis
) -> None:
    await admin.execute_command("ACL", "SETUSER", "default", "resetchannels")
    process = await start(RedisBroker(redis.url, Limits()))
    with pytest.raises(NoBroker, match="Redis refuses PUBLISH: the user needs the right &rt:"):
        await process.broker.ping()
    await admin.execute_command("ACL", "SETUSER", "default", "allchannels")
    await eventually(lambda: is_ready(process))


async def test_one_connection_subscribes_to_all_rooms(process: Process, admin: Redis) -> None:
    for number in range(50):
        process.broker.listen(f"room-{number}")
    for number in range(50):
        await process.listener.subscribed(f"room-{number}")
    assert len(await admin.client_list(_type="pubsub")) == 1


# --- the server dies -----------------------------------------------------------------------------


async def test_a_server_that_lost_all_data_starts_a_new_epoch(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    (before,) = await publish_texts(process, room, "lost")
    redis.restart()
    after = (await process.publish_until_accepted(draft(room, "new"))).cursor
    assert after.offset == 1
    assert after.epoch != before.epoch
    assert await stored_texts(process, room) == ["new"]


async def test_after_a_restart_subscriptions_are_confirmed_again_and_receive(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await process.listen(room)
    redis.restart()
    await process.listener.subscribed(room, times=2)
    receipt = await process.publish_until_accepted(draft(room))
    events = await process.listener.received(room, 1)
    assert [event.cursor for event in events] == [receipt.cursor]


@pytest.mark.parametrize("first", ["publish", "history", "enter"])
async def test_an_older_snapshot_starts_a_new_epoch_with_any_first_command(
    redis: PrivateRedis, process: Process, room: str, first: str
) -> None:
    await publish_texts(process, room, "1", "2")
    redis.snapshot()
    *_, old = await publish_texts(process, room, "3", "4")
    redis.restart()
    await eventually(lambda: is_ready(process))
    if first == "publish":
        await process.broker.publish(draft(room, "3 again"))
    elif first == "enter":
        await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    history = await process.broker.history(room, old)
    assert history.epoch != old.epoch
    # The history is complete; it does not continue after number 4, which belongs to the old epoch.
    assert [event.cursor.offset for event in history.events][:2] == [1, 2]
    assert {event.cursor.epoch for event in history.events} == {history.epoch}


async def test_no_cursor_is_assigned_twice_after_an_older_snapshot(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    cursors = await publish_texts(process, room, "1", "2")
    redis.snapshot()
    cursors += await publish_texts(process, room, "3", "4")
    redis.restart()
    await eventually(lambda: is_ready(process))
    cursors += await publish_texts(process, room, "5", "6")
    assert len(set(cursors)) == 6


async def test_an_append_only_file_keeps_every_message(start: Start, room: str) -> None:
    with PrivateRedis(append_only=True) as redis:
        process = await start(RedisBroker(redis.url, Limits()))
        await publish_texts(process, room, "1", "2")
        redis.restart()
        await eventually(lambda: is_ready(process))
        (cursor,) = await publish_texts(process, room, "3")
        assert cursor.offset == 3
        assert await stored_texts(process, room) == ["1", "2", "3"]
        await process.broker.close()


async def test_a_message_in_the_snapshot_is_a_duplicate_under_the_new_epoch(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    message = draft(room)
    first = await process.broker.publish(message)
    redis.snapshot()
    redis.restart()
    again = await process.publish_until_accepted(message)
    epoch = (await process.broker.history(room, START)).epoch
    assert not again.created
    assert again.cursor == Cursor(epoch, 1)
    assert epoch != first.cursor.epoch


async def test_a_message_that_the_snapshot_lost_is_published_again(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await publish_texts(process, room, "1")
    redis.snapshot()
    lost = draft(room, "2")
    await process.broker.publish(lost)
    redis.restart()
    assert (await process.publish_until_accepted(lost)).created
    assert await stored_texts(process, room) == ["1", "2"]


# --- keys are lost -------------------------------------------------------------------------------


async def test_a_log_without_its_meta_continues_its_numbers(
    process: Process, admin: Redis, room: str
) -> None:
    *_, old = await publish_texts(process, room, "1", "2")
    await admin.delete(f"rt:{{{room}}}:meta")
    (new,) = await publish_texts(process, room, "3")
    assert new.offset == 3
    assert new.epoch != old.epoch
    assert await stored_texts(process, room) == ["1", "2", "3"]


async def test_a_meta_without_its_log_continues_its_numbers(
    process: Process, admin: Redis, room: str
) -> None:
    *_, old = await publish_texts(process, room, "1", "2")
    await admin.delete(f"rt:{{{room}}}:log")
    assert await publish_texts(process, room, "3") == [Cursor(old.epoch, 3)]


async def test_an_id_without_its_message_is_published_again(
    process: Process, admin: Redis, room: str
) -> None:
    message = draft(room)
    await process.broker.publish(message)
    await admin.delete(f"rt:{{{room}}}:meta", f"rt:{{{room}}}:log")
    assert (await process.broker.publish(message)).created


async def test_every_key_expires(process: Process, admin: Redis, room: str) -> None:
    await publish_texts(process, room, "1")
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    await process.broker.history(f"{room}.quiet", START)
    keys = await admin.keys("*")
    assert len(keys) == 10  # one of them is the shared clock
    assert [key for key in keys if await admin.pttl(key) < 0] == []


async def test_a_room_that_everybody_left_keeps_no_member_keys(
    process: Process, admin: Redis, room: str
) -> None:
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    await process.broker.leave(room, "ada", None, 0)
    await process.broker.sweep(room)
    assert set(await admin.keys("rt:*")) == {f"rt:{{{room}}}:presence", f"rt:{{{room}}}:meta"}


KEYS = ["log", "meta", "presence", "members", "people", "listed"]


async def test_whatever_keys_are_lost_nothing_fails_and_the_members_recover(
    start: Start, redis: PrivateRedis, admin: Redis, room: str
) -> None:
    process = await start(RedisBroker(redis.url, Limits(lease_seconds=2)))
    broker = process.broker
    ada, bob = Member("ada", "Ada", "sse"), Member("bob", "Bob", "sse")

    async def lose(room: str, keys: tuple[str, ...]) -> None:
        await publish_texts(process, room, "1")
        for node_id in ("one", "two", "died"):
            await broker.enter(room, ada, node_id, stream=node_id == "died")
        await broker.enter(room, bob, "died", stream=True)
        await admin.delete(*(f"rt:{{{room}}}:{one}" for one in keys))
        await broker.sweep(room)
        # 4 if the lease of the process that died has ended already, on a busy machine.
        assert (await broker.history(room, START)).top in (0, 1, 3, 4)

        async def bob_is_gone() -> bool:
            await broker.enter(room, ada, "one")  # she is here, and her process renews
            await broker.sweep(room)
            return not await admin.hexists(f"rt:{{{room}}}:people", "bob")

        await eventually(bob_is_gone)
        assert await broker.members(room) == [ada]
        assert await broker.count_members(room) == 1
        await broker.leave(room, "ada", None, 0)
        await broker.sweep(room)
        assert await broker.members(room) == []
        await publish_texts(process, room, "2")

    lost = [keys for count in range(1, 7) for keys in combinations(KEYS, count)]
    lost += [("names",), *((one, "names") for one in KEYS)]
    await asyncio.gather(*(lose(f"{room}-{n}", keys) for n, keys in enumerate(lost)))
    assert len(await broker.rooms()) == len(lost)


async def test_a_room_whose_meta_key_is_lost_keeps_its_bound_of_bytes(
    start: Start, redis: PrivateRedis, admin: Redis, room: str
) -> None:
    process = await start(RedisBroker(redis.url, Limits(room_bytes=3000)))
    for _ in range(10):
        await publish_texts(process, room, 400 * "x")
    await admin.delete(f"rt:{{{room}}}:meta")
    await publish_texts(process, room, 400 * "x")
    history = await process.broker.history(room, START)
    assert 2 <= len(history.events) < 6
    assert (history.first, history.top) == (history.events[0].cursor.offset, 11)
    await admin.delete(f"rt:{{{room}}}:log")
    history = await process.broker.history(room, START)
    assert (history.first, history.top, list(history.events)) == (12, 11, [])


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        *(("log", "stream"), ("presence", "stream"), ("meta", "hash")),
        *(("members", "zset"), ("people", "hash")),
    ],
)
async def test_a_key_of_a_wrong_type_is_named_and_disturbs_only_its_room(
    process: Process,
    admin: Redis,
    room: str,
    caplog: pytest.LogCaptureFixture,
    what: str,
    expected: str,
) -> None:
    ada = Member("ada", "Ada", "sse")
    key = f"rt:{{{room}}}:{what}"
    await publish_texts(process, room, "1")
    await publish_texts(process, f"{room}.other", "1")
    await admin.delete(key)
    await admin.set(key, "no such thing")
    message = re.escape(f"the key {key} is a string and not a {expected}; delete it")
    for _ in range(3):
        with pytest.raises(NoBroker, match=message):
            await process.broker.enter(room, ada, "one")
    assert [record.message for record in caplog.records] == ["a hub command failed"]
    assert f"{room}.other" in [row.room for row in await process.broker.rooms()]
    await process.broker.ping()
    await admin.delete(key)
    await process.broker.enter(room, ada, "one")


async def test_a_message_of_another_program_on_a_channel_is_dropped(
    process: Process, admin: Redis, room: str
) -> None:
    await process.listen(room)
    for payload in ("", "hello", "x-1 say", "- say {", "\u2028 \u2028 \u2028"):
        await admin.publish(f"rt:{{{room}}}", payload)
    (cursor,) = await publish_texts(process, room, "ours")
    events = await process.listener.received(room, 1)
    assert [event.cursor for event in events] == [cursor]
    await process.broker.ping()


# --- several deployments on one server -----------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "prefix"), [(1, "rt"), (0, "lab"), (0, "rt.1"), (1, "lab"), (0, "rt2")]
)
async def test_deployments_with_other_databases_or_prefixes_do_not_hear_each_other(
    redis: PrivateRedis, start: Start, room: str, database: int, prefix: str
) -> None:
    one = await start(RedisBroker(redis.url, Limits()))
    other = await start(RedisBroker(f"{redis.url}?db={database}", Limits(), prefix))
    same = await start(RedisBroker(f"{redis.url}?db={database}", Limits(), prefix))
    for process in (one, other, same):
        await process.listen(room)
        await process.broker.ping()
    await other.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    await other.broker.report("worker", b"", 60)
    (cursor,) = await publish_texts(one, room, "first")
    assert cursor.offset == 1
    # The events of `other` were published before, so `one` would have received them first.
    assert [event.cursor for event in await one.listener.received(room, 1)] == [cursor]
    assert len(await same.listener.received(room, 1)) == 1
    assert await one.broker.reports() == {}
    assert await one.broker.members(room) == []
    assert [row.top for row in await one.broker.rooms()] == [1]
    assert [row.room for row in await same.broker.rooms()] == [room]
    assert set(await same.broker.reports()) == {"worker"}


# --- no reply ------------------------------------------------------------------------------------


async def publish_fails(process: Process, room: str) -> None:
    """Publish, and expect an error within the time that a client waits."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises(NoBroker):
            await process.broker.publish(draft(room, "refused"))


async def test_a_frozen_server_is_an_error_in_time_and_recovers(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    redis.pause()
    await publish_fails(process, room)
    redis.resume()
    receipt = await process.publish_until_accepted(draft(room))
    assert (await process.broker.history(room, START)).top == receipt.cursor.offset


async def test_a_killed_server_is_an_error_in_time_and_recovers(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    redis.kill()
    await publish_fails(process, room)
    redis.start()
    await process.publish_until_accepted(draft(room, "healed"))
    assert await stored_texts(process, room) == ["healed"]


async def test_a_message_whose_reply_was_lost_is_stored_once_when_repeated(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await publish_texts(process, room, "before")  # opens the connection for the next command
    message = draft(room, "once")
    redis.pause()  # the server runs what we send now when it resumes
    with pytest.raises(NoBroker):
        await process.broker.publish(message)
    redis.resume()
    await process.publish_until_accepted(message)
    assert await stored_texts(process, room) == ["before", "once"]


async def test_a_late_reply_does_not_resolve_the_next_command(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    drafts = [draft(f"{room}-{number}") for number in range(20)]
    redis.pause()
    late = await asyncio.gather(*map(process.broker.publish, drafts), return_exceptions=True)
    assert all(isinstance(error, NoBroker) for error in late)
    redis.resume()
    await eventually(lambda: is_ready(process))
    reading = [process.broker.history(one.room, START) for one in drafts]
    for one, history in zip(drafts, await asyncio.gather(*reading), strict=True):
        assert [json.loads(event.json)["id"] for event in history.events] in ([], [one.id])


async def test_a_full_server_refuses_messages_and_recovers(
    process: Process, admin: Redis, room: str
) -> None:
    await admin.config_set("maxmemory", "1")
    await publish_fails(process, room)
    await admin.config_set("maxmemory", "0")
    assert (await process.broker.publish(draft(room))).cursor.offset == 1


async def test_a_full_server_refuses_messages_of_a_room_that_exists_and_keeps_its_members(
    process: Process, admin: Redis, room: str
) -> None:
    """A script must not start with a write that Redis allows without memory."""
    ada = Member("ada", "Ada", "sse")
    await process.broker.publish(draft(room))
    await process.broker.enter(room, ada, "node_id")
    await admin.config_set("maxmemory", "1")
    with pytest.raises(NoBroker) as raised:
        await process.broker.publish(draft(room))
    assert raised.value.full
    await process.broker.enter(room, ada, "node_id")
    with pytest.raises(NoBroker):
        await process.broker.enter(room, Member("bob", "Bob", "sse"), "node_id")
    assert (await process.broker.history(room, START)).top == 2
    await process.broker.leave(room, "ada", None, 0)
    await process.broker.sweep(room)
    await admin.config_set("maxmemory", "0")
    events = [json.loads(e.json) for e in (await process.broker.history(room, START)).events]
    assert [event["kind"] for event in events] == ["say", "join", "quit"]


async def test_a_server_without_its_required_replicas_refuses_messages(
    process: Process, admin: Redis, room: str
) -> None:
    await admin.config_set("min-replicas-to-write", "1")
    await publish_fails(process, room)
    await admin.config_set("min-replicas-to-write", "0")
    assert (await process.broker.publish(draft(room))).cursor.offset == 1


async def test_a_missing_server_is_an_error_at_the_start(tmp_path: Path) -> None:
    broker = RedisBroker(f"unix://{tmp_path}/nobody", Limits())
    with pytest.raises(NoBroker):
        await broker.start(RecordingListener())
    await broker.close()


# --- batches -------------------------------------------------------------------------------------


async def test_of_many_members_that_leave_at_once_each_quits_once(
    process: Process, room: str
) -> None:
    """Two calls of the script, since one expires at most 100 leases."""
    members = [Member(f"client-{number}", f"{number}", "sse") for number in range(150)]
    for member in members:
        await process.broker.enter(room, member, "node_id")
        await process.broker.leave(room, member.client, None, 0)
    await process.broker.sweep(room)
    quits = [e for e in await full_history(process, room) if b'"kind":"quit"' in e.json]
    assert sorted(json.loads(e.json)["client"] for e in quits) == sorted(m.client for m in members)
    assert len({uuid.UUID(json.loads(e.json)["id"]) for e in quits}) == 150


async def full_history(process: Process, room: str) -> list[Event]:
    """Return all events of a room, page by page."""
    events: list[Event] = []
    more = True
    while more:
        history = await process.broker.history(room, events[-1].cursor if events else START)
        events += history.events
        more = history.more
    return events


async def test_messages_in_one_batch_keep_their_order(process: Process, room: str) -> None:
    await process.listen(room)
    drafts = [draft(room, str(number)) for number in range(100)]
    receipts = await asyncio.gather(*map(process.broker.publish, drafts))
    assert [receipt.cursor.offset for receipt in receipts] == list(range(1, 101))
    events = await process.listener.received(room, 100)
    assert [json.loads(event.json)["id"] for event in events] == [one.id for one in drafts]


async def test_a_server_that_lost_the_scripts_duplicates_and_loses_no_message(
    process: Process, admin: Redis, room: str
) -> None:
    await publish_texts(process, room, "before")
    for texts in (["a", "b", "c"], ["d", "e", "f"]):
        await admin.script_flush()
        await asyncio.gather(*(publish_texts(process, room, text) for text in texts))
    assert await stored_texts(process, room) == ["before", "a", "b", "c", "d", "e", "f"]


async def test_a_refused_message_does_not_affect_its_batch(
    process: Process, admin: Redis, room: str
) -> None:
    await admin.set(f"rt:{{{room}.broken}}:meta", "no hash")
    drafts = [draft(room), draft(f"{room}.broken"), draft(room)]
    replies = await asyncio.gather(*map(process.broker.publish, drafts), return_exceptions=True)
    first, refused, last = replies
    assert isinstance(refused, NoBroker)
    assert [one.cursor.offset for one in (first, last)] == [1, 2]  # type: ignore[union-attr]


async def test_a_cancelled_publish_does_not_affect_its_batch(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await publish_texts(process, room, "0")
    redis.pause()
    publishing = [
        asyncio.create_task(publish_texts(process, room, str(number))) for number in range(1, 7)
    ]
    await asyncio.sleep(0.01)  # they are sent; the server reads them later
    publishing[2].cancel()
    redis.resume()
    await asyncio.wait(publishing)
    assert [one.cancelled() for one in publishing] == [False, False, True, False, False, False]
    assert await stored_texts(process, room) == ["0", "1", "2", "3", "4", "5", "6"]


async def test_a_blocked_event_loop_does_not_count_as_a_dead_hub(
    redis: PrivateRedis, start: Start, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.2)
    process = await start(RedisBroker(redis.url, Limits()))
    await publish_texts(process, room, "before")
    await process.broker.members(room)
    commands = [process.broker.publish(draft(room)), process.broker.members(room)]
    replies = [asyncio.ensure_future(one) for one in commands]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.3)  # as thousands of polls would; the hub replies in the meantime
    await asyncio.gather(*replies)


async def test_closing_waits_for_commands_in_flight(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await publish_texts(process, room, "before")
    redis.pause()
    publishing = asyncio.create_task(publish_texts(process, room, "last"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(process.broker.close())
    await asyncio.sleep(0.02)
    redis.resume()
    await closing
    assert (await publishing)[0].offset == 2


# --- secrets -------------------------------------------------------------------------------------


@each("hub", ["redis://:{}@localhost", "redis://ada:{}@localhost:1/2"])
async def test_the_label_of_a_hub_shows_no_password(hub: str) -> None:
    choice = await choose(hub.format("s3cret"), Limits())
    assert "s3cret" not in choice.label
    await choice.broker.close()


async def test_a_password_is_used(start: Start) -> None:
    with PrivateRedis("--requirepass", "s3cret") as redis:
        choice = await choose(redis.url.replace("//", "//:s3cret@"), Limits())
        assert choice.label == redis.url
        await start(choice.broker)  # raises if the password is not used
        await choice.broker.close()


async def test_while_the_hub_does_not_reply_only_one_command_waits(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    redis.pause()
    with pytest.raises(NoBroker):
        await process.broker.publish(draft(room))
    trying = asyncio.create_task(process.broker.publish(draft(room)))
    await asyncio.sleep(0)
    for _ in range(100):
        with pytest.raises(NoBroker):
            await process.broker.publish(draft(room))
    assert not trying.done()
    redis.resume()
    await trying
    await asyncio.gather(*(process.broker.publish(draft(room)) for _ in range(100)))


async def test_after_a_refused_command_the_next_one_is_sent(
    admin: Redis, process: Process, room: str
) -> None:
    await admin.config_set("maxmemory", "1")
    refused = [process.broker.publish(draft(room)) for _ in range(3)]
    asked = process.broker.members(room)  # which needs no memory
    *errors, members = await asyncio.gather(*refused, asked, return_exceptions=True)
    assert [type(error) for error in errors] == [NoBroker] * 3
    assert members == []


async def test_repeated_refusals_are_one_line_in_the_log(
    admin: Redis, process: Process, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.config_set("maxmemory", "1")
    for _ in range(5):
        with pytest.raises(NoBroker):
            await process.broker.publish(draft(room))
    (line,) = [record for record in caplog.records if record.message == "a hub command failed"]
    assert vars(line)["error"].startswith("Redis refuses SET: it is full; raise its maxmemory")


# --- members, after an outage --------------------------------------------------------------------


async def test_leases_that_expired_during_an_outage_are_extended_once(
    redis: PrivateRedis, start: Start, room: str
) -> None:
    process = await start(RedisBroker(redis.url, Limits(lease_seconds=0.5)))
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    redis.snapshot()
    redis.kill()
    await asyncio.sleep(0.6)  # longer than the lease
    redis.start()
    await eventually(lambda: is_ready(process))
    await process.broker.sweep(room)
    assert [member.client for member in await process.broker.members(room)] == ["ada"]

    async def is_swept() -> bool:
        await process.broker.sweep(room)
        return not await process.broker.members(room)

    await eventually(is_swept)
    history = await process.broker.history(room, START)
    assert [json.loads(event.json)["kind"] for event in history.events] == ["join", "quit"]


async def test_a_room_that_was_only_read_expires_soon(
    admin: Redis, process: Process, room: str
) -> None:
    await process.broker.history(room, START)
    await process.broker.sweep(room)
    await process.broker.leave(room, "nobody", None, 1)
    (key,) = await admin.keys("rt:*")
    assert 0 < await admin.ttl(key) <= EMPTY_ROOM_SECONDS


async def test_every_key_of_a_room_expires_with_its_epoch_or_sooner(
    admin: Redis, process: Process, room: str
) -> None:
    await publish_texts(process, room, "hello")
    assert await admin.ttl(f"rt:{{{room}}}:meta") > Limits().history_seconds
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    seconds = [await admin.ttl(key) for key in await admin.keys("rt:*")]
    assert len(seconds) == 8
    await admin.delete(f"rt:{{{room}}}:meta")
    await process.broker.sweep(room)
    seconds += [await admin.ttl(f"rt:{{{room}}}:meta")]
    assert all(0 < one <= META_TTL_FACTOR * Limits().history_seconds for one in seconds)


async def test_a_hub_whose_subscription_is_lost_is_not_ready(
    process: Process, admin: Redis, room: str
) -> None:
    await process.listen(room)
    await process.broker.ping()
    await admin.execute_command("ACL", "SETUSER", "default", "resetchannels")
    await admin.client_kill_filter(_type="pubsub")

    async def not_ready() -> bool:
        return not await is_ready(process)

    await eventually(not_ready)
    with pytest.raises(NoBroker, match="Redis refuses PUBLISH: the user needs the right &rt:"):
        await process.broker.ping()
    await admin.execute_command("ACL", "SETUSER", "default", "allchannels")
    await eventually(lambda: is_ready(process))


async def test_a_publish_whose_reply_was_cut_off_is_retried_and_created_once(
    redis: PrivateRedis, room: str
) -> None:
    async with RedisRelay(redis.path) as relay:
        broker = RedisBroker(relay.url, Limits())
        await broker.start(RecordingListener())
        await broker.publish(draft(room))
        relay.drop_reply(to=b'"text"')
        receipt = await broker.publish(draft(room))
        history = await broker.history(room, START)
        await broker.close()
    assert (receipt.cursor.offset, receipt.created) == (2, False)
    assert history.top == 2
