"""The broker on a real Redis that is killed, frozen, emptied, and set back to an older snapshot.

What it shares with the other broker is in test_promises.py.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from realtime.brokers.choose import choose
from realtime.brokers.redis import broker as module
from realtime.brokers.redis.broker import EMPTY_SECONDS, RedisBroker
from realtime.core.broker import META_TTL_FACTOR
from realtime.core.events import Cursor, Event, Member
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.brokers.conftest import SECONDS, Notes, Process, Start, draft, eventually
from tests.brokers.private_redis import PrivateRedis
from tests.faults.redis_relay import RedisRelay

START = Cursor("", 0)


@pytest.fixture
async def process(redis: PrivateRedis, start: Start) -> Process:
    return await start(RedisBroker(redis.url, Limits()))


@pytest.fixture
async def admin(redis: PrivateRedis) -> AsyncIterator[Redis]:
    """Somebody with a command line at the server."""
    async with Redis.from_url(redis.url, decode_responses=True) as client:
        yield client


async def say(process: Process, room: str, *texts: str) -> list[Cursor]:
    return [(await process.broker.publish(draft(room, text))).cursor for text in texts]


async def kept(process: Process, room: str) -> list[str]:
    """The texts that a room remembers."""
    history = await process.broker.history(room, START)
    return [json.loads(event.json)["text"] for event in history.events]


async def answers(process: Process) -> bool:
    try:
        await process.broker.ping()
    except NoBroker:
        return False
    return True


# --- a connection is lost ------------------------------------------------------------------------


async def test_a_killed_subscription_is_confirmed_anew_and_heard_again(
    process: Process, admin: Redis, room: str
) -> None:
    await process.listen(room)
    await admin.client_kill_filter(_type="pubsub")
    await process.notes.listening(room, times=2)
    receipt = await process.broker.publish(draft(room))
    (event,) = await process.notes.heard(room, 1)
    assert event.cursor == receipt.cursor


async def test_killed_command_connections_are_not_noticed(
    process: Process, admin: Redis, room: str
) -> None:
    await asyncio.gather(*(process.broker.publish(draft(room)) for _ in range(20)))
    await admin.client_kill_filter(_type="normal", skipme=True)
    receipts = await asyncio.gather(*(process.broker.publish(draft(room)) for _ in range(20)))
    assert sorted(receipt.cursor.offset for receipt in receipts) == list(range(21, 41))


async def test_whoever_answers_and_is_not_heard_is_not_ready(
    redis: PrivateRedis, start: Start, admin: Redis
) -> None:
    await admin.execute_command("ACL", "SETUSER", "default", "resetchannels")
    process = await start(RedisBroker(redis.url, Limits()))
    with pytest.raises(NoBroker, match="not heard"):
        await process.broker.ping()
    await admin.execute_command("ACL", "SETUSER", "default", "allchannels")
    await eventually(lambda: answers(process))


async def test_one_connection_listens_to_all_rooms(process: Process, admin: Redis) -> None:
    for number in range(50):
        process.broker.listen(f"room-{number}")
    for number in range(50):
        await process.notes.listening(f"room-{number}")
    assert len(await admin.client_list(_type="pubsub")) == 1


# --- the server is lost --------------------------------------------------------------------------


async def test_a_server_that_forgot_all_begins_a_new_epoch(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    (before,) = await say(process, room, "lost")
    redis.restart()
    after = (await process.publish_when_healed(draft(room, "new"))).cursor
    assert after.offset == 1
    assert after.epoch != before.epoch
    assert await kept(process, room) == ["new"]


async def test_after_a_restart_listening_is_confirmed_anew_and_heard(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await process.listen(room)
    redis.restart()
    await process.notes.listening(room, times=2)
    receipt = await process.publish_when_healed(draft(room))
    events = await process.notes.heard(room, 1)
    assert [event.cursor for event in events] == [receipt.cursor]


@pytest.mark.parametrize("first", ["publish", "history", "enter"])
async def test_an_older_snapshot_begins_a_new_epoch_whoever_comes_first(
    redis: PrivateRedis, process: Process, room: str, first: str
) -> None:
    await say(process, room, "1", "2")
    redis.snapshot()
    *_, old = await say(process, room, "3", "4")
    redis.restart()
    await eventually(lambda: answers(process))
    if first == "publish":
        await process.broker.publish(draft(room, "3 again"))
    elif first == "enter":
        await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    history = await process.broker.history(room, old)
    assert history.epoch != old.epoch
    # All of it is read, and not what comes after number 4: that is another 4.
    assert [event.cursor.offset for event in history.events][:2] == [1, 2]
    assert {event.cursor.epoch for event in history.events} == {history.epoch}


async def test_no_cursor_is_given_out_twice_over_an_older_snapshot(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    given = await say(process, room, "1", "2")
    redis.snapshot()
    given += await say(process, room, "3", "4")
    redis.restart()
    await eventually(lambda: answers(process))
    given += await say(process, room, "5", "6")
    assert len(set(given)) == 6


async def test_an_append_only_file_keeps_every_word(start: Start, room: str) -> None:
    with PrivateRedis(append_only=True) as redis:
        process = await start(RedisBroker(redis.url, Limits()))
        await say(process, room, "1", "2")
        redis.restart()
        await eventually(lambda: answers(process))
        (cursor,) = await say(process, room, "3")
        assert cursor.offset == 3
        assert await kept(process, room) == ["1", "2", "3"]
        await process.broker.close()


async def test_a_message_in_the_snapshot_is_known_again_under_the_new_epoch(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    message = draft(room)
    first = await process.broker.publish(message)
    redis.snapshot()
    redis.restart()
    again = await process.publish_when_healed(message)
    epoch = (await process.broker.history(room, START)).epoch
    assert not again.created
    assert again.cursor == Cursor(epoch, 1)
    assert epoch != first.cursor.epoch


async def test_a_message_that_the_snapshot_lost_is_said_again(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await say(process, room, "1")
    redis.snapshot()
    lost = draft(room, "2")
    await process.broker.publish(lost)
    redis.restart()
    assert (await process.publish_when_healed(lost)).created
    assert await kept(process, room) == ["1", "2"]


# --- keys are lost -------------------------------------------------------------------------------


async def test_a_log_that_outlived_its_meta_goes_on_with_its_numbers(
    process: Process, admin: Redis, room: str
) -> None:
    *_, old = await say(process, room, "1", "2")
    await admin.delete(f"rt:{{{room}}}:meta")
    (new,) = await say(process, room, "3")
    assert new.offset == 3
    assert new.epoch != old.epoch
    assert await kept(process, room) == ["1", "2", "3"]


async def test_a_meta_that_outlived_its_log_goes_on_with_its_numbers(
    process: Process, admin: Redis, room: str
) -> None:
    *_, old = await say(process, room, "1", "2")
    await admin.delete(f"rt:{{{room}}}:log")
    assert await say(process, room, "3") == [Cursor(old.epoch, 3)]


async def test_an_id_that_outlived_its_message_is_said_again(
    process: Process, admin: Redis, room: str
) -> None:
    message = draft(room)
    await process.broker.publish(message)
    await admin.delete(f"rt:{{{room}}}:meta", f"rt:{{{room}}}:log")
    assert (await process.broker.publish(message)).created


async def test_every_key_ends_by_itself(process: Process, admin: Redis, room: str) -> None:
    await say(process, room, "1")
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    await process.broker.history(f"{room}.quiet", START)
    keys = await admin.keys("*")
    assert len(keys) == 6
    assert [key for key in keys if await admin.pttl(key) < 0] == []


async def test_a_room_that_everybody_left_keeps_no_key_of_its_people(
    process: Process, admin: Redis, room: str
) -> None:
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    await process.broker.leave(room, "ada", None, 0)
    await process.broker.sweep(room)
    assert set(await admin.keys("*")) == {f"rt:{{{room}}}:log", f"rt:{{{room}}}:meta"}


# --- no answer -----------------------------------------------------------------------------------


async def refused(process: Process, room: str) -> None:
    """A message is refused, in time for a client that waits."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises(NoBroker):
            await process.broker.publish(draft(room, "refused"))


async def test_a_frozen_server_refuses_in_time_and_heals(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    redis.pause()
    await refused(process, room)
    redis.resume()
    receipt = await process.publish_when_healed(draft(room))
    assert (await process.broker.history(room, START)).top == receipt.cursor.offset


async def test_a_server_that_is_gone_refuses_in_time_and_heals(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    redis.kill()
    await refused(process, room)
    redis.start()
    await process.publish_when_healed(draft(room, "healed"))
    assert await kept(process, room) == ["healed"]


async def test_a_message_whose_answer_was_lost_is_said_once_when_repeated(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await say(process, room, "before")  # so that the next command finds a connection
    message = draft(room, "once")
    redis.pause()  # what is sent now is read, and done, by a server that wakes up later
    with pytest.raises(NoBroker):
        await process.broker.publish(message)
    redis.resume()
    await process.publish_when_healed(message)
    assert await kept(process, room) == ["before", "once"]


async def test_a_late_answer_is_not_taken_for_that_of_the_next_question(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    drafts = [draft(f"{room}-{number}") for number in range(20)]
    redis.pause()
    late = await asyncio.gather(*map(process.broker.publish, drafts), return_exceptions=True)
    assert all(isinstance(error, NoBroker) for error in late)
    redis.resume()
    await eventually(lambda: answers(process))
    asked = [process.broker.history(one.room, START) for one in drafts]
    for one, history in zip(drafts, await asyncio.gather(*asked), strict=True):
        assert [json.loads(event.json)["id"] for event in history.events] in ([], [one.id])


async def test_a_full_server_refuses_and_heals(process: Process, admin: Redis, room: str) -> None:
    await admin.config_set("maxmemory", "1")
    await refused(process, room)
    await admin.config_set("maxmemory", "0")
    assert (await process.broker.publish(draft(room))).cursor.offset == 1


async def test_a_server_whose_replicas_are_away_refuses_if_it_was_told_to(
    process: Process, admin: Redis, room: str
) -> None:
    await admin.config_set("min-replicas-to-write", "1")
    await refused(process, room)
    await admin.config_set("min-replicas-to-write", "0")
    assert (await process.broker.publish(draft(room))).cursor.offset == 1


async def test_a_server_that_is_not_there_is_found_out_at_the_start(tmp_path: Path) -> None:
    broker = RedisBroker(f"unix://{tmp_path}/nobody", Limits())
    with pytest.raises(NoBroker):
        await broker.start(Notes())
    await broker.close()


# --- many ----------------------------------------------------------------------------------------


async def test_a_crowd_that_leaves_at_once_quits_each_once(process: Process, room: str) -> None:
    crowd = [Member(f"client-{number}", f"{number}", "sse") for number in range(250)]
    for member in crowd:
        await process.broker.enter(room, member, "node_id")
        await process.broker.leave(room, member.client, None, 0)
    await process.broker.sweep(room)
    quits = [e for e in await whole(process, room) if b'"kind":"quit"' in e.json]
    assert sorted(json.loads(e.json)["client"] for e in quits) == sorted(m.client for m in crowd)
    assert len({uuid.UUID(json.loads(e.json)["id"]) for e in quits}) == 250


async def whole(process: Process, room: str) -> list[Event]:
    """All that a room remembers, page by page."""
    events: list[Event] = []
    more = True
    while more:
        history = await process.broker.history(room, events[-1].cursor if events else START)
        events += history.events
        more = history.more
    return events


async def test_words_that_go_together_keep_the_order_in_which_they_were_said(
    process: Process, room: str
) -> None:
    await process.listen(room)
    drafts = [draft(room, str(number)) for number in range(100)]
    receipts = await asyncio.gather(*map(process.broker.publish, drafts))
    assert [receipt.cursor.offset for receipt in receipts] == list(range(1, 101))
    heard = await process.notes.heard(room, 100)
    assert [json.loads(event.json)["id"] for event in heard] == [one.id for one in drafts]


async def test_a_server_that_forgot_the_scripts_doubles_no_word_and_loses_none(
    process: Process, admin: Redis, room: str
) -> None:
    await say(process, room, "before")
    for texts in (["a", "b", "c"], ["d", "e", "f"]):
        await admin.script_flush()
        await asyncio.gather(*(say(process, room, text) for text in texts))
    assert await kept(process, room) == ["before", "a", "b", "c", "d", "e", "f"]


async def test_a_word_that_is_refused_is_its_own_misfortune(
    process: Process, admin: Redis, room: str
) -> None:
    await admin.set(f"rt:{{{room}.broken}}:meta", "no hash")
    drafts = [draft(room), draft(f"{room}.broken"), draft(room)]
    answers = await asyncio.gather(*map(process.broker.publish, drafts), return_exceptions=True)
    first, refused, last = answers
    assert isinstance(refused, NoBroker)
    assert [one.cursor.offset for one in (first, last)] == [1, 2]  # type: ignore[union-attr]


async def test_one_who_hangs_up_takes_no_other_word_along(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await say(process, room, "0")
    redis.pause()
    saying = [asyncio.create_task(say(process, room, str(number))) for number in range(1, 7)]
    await asyncio.sleep(0.01)  # they are sent, and read later
    saying[2].cancel()
    redis.resume()
    await asyncio.wait(saying)
    assert [one.cancelled() for one in saying] == [False, False, True, False, False, False]
    assert await kept(process, room) == ["0", "1", "2", "3", "4", "5", "6"]


async def test_a_process_that_was_held_up_does_not_take_the_hub_for_dead(
    redis: PrivateRedis, start: Start, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.2)
    process = await start(RedisBroker(redis.url, Limits()))
    await say(process, room, "before")
    await process.broker.members(room)
    asked = [process.broker.publish(draft(room)), process.broker.members(room)]
    answers = [asyncio.ensure_future(one) for one in asked]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.3)  # as a crowd of pollers would; the hub answers meanwhile
    await asyncio.gather(*answers)


async def test_closing_waits_for_the_answer_that_is_on_its_way(
    redis: PrivateRedis, process: Process, room: str
) -> None:
    await say(process, room, "before")
    redis.pause()
    saying = asyncio.create_task(say(process, room, "last"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(process.broker.close())
    await asyncio.sleep(0.02)
    redis.resume()
    await closing
    assert (await saying)[0].offset == 2


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("hub", ["redis://:{}@localhost", "redis://ada:{}@localhost:1/2"])
async def test_the_label_of_a_hub_shows_no_password(hub: str) -> None:
    choice = await choose(hub.format("s3cret"), Limits())
    assert "s3cret" not in choice.label
    await choice.broker.close()


async def test_a_password_is_used(start: Start) -> None:
    with PrivateRedis("--requirepass", "s3cret") as redis:
        choice = await choose(redis.url.replace("//", "//:s3cret@"), Limits())
        assert choice.label == redis.url
        await start(choice.broker)  # which would raise
        await choice.broker.close()


async def test_while_the_hub_does_not_answer_only_one_waits_for_it(
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


async def test_a_hub_that_refuses_one_command_is_asked_the_next(
    admin: Redis, process: Process, room: str
) -> None:
    await admin.config_set("maxmemory", "1")
    refused = [process.broker.publish(draft(room)) for _ in range(3)]
    asked = process.broker.members(room)  # which needs no memory
    *errors, members = await asyncio.gather(*refused, asked, return_exceptions=True)
    assert [type(error) for error in errors] == [NoBroker] * 3
    assert members == []


async def test_a_hub_that_refuses_everything_is_one_line_in_the_log(
    admin: Redis, process: Process, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.config_set("maxmemory", "1")
    for _ in range(5):
        with pytest.raises(NoBroker):
            await process.broker.publish(draft(room))
    (line,) = [record for record in caplog.records if record.message == "the hub fails"]
    assert "OutOfMemory" in str(vars(line)["error"])


# --- people, over a server that was away ---------------------------------------------------------


async def test_leases_that_nobody_could_renew_are_as_good_as_new_when_it_is_back(
    redis: PrivateRedis, start: Start, room: str
) -> None:
    process = await start(RedisBroker(redis.url, Limits(lease_seconds=0.5)))
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    redis.snapshot()
    redis.kill()
    await asyncio.sleep(0.6)  # longer than the lease
    redis.start()
    await eventually(lambda: answers(process))
    await process.broker.sweep(room)
    assert [member.client for member in await process.broker.members(room)] == ["ada"]

    async def swept() -> bool:
        await process.broker.sweep(room)
        return not await process.broker.members(room)

    await eventually(swept)
    history = await process.broker.history(room, START)
    assert [json.loads(event.json)["kind"] for event in history.events] == ["join", "quit"]


async def test_a_room_that_was_only_looked_at_leaves_nothing_for_long(
    admin: Redis, process: Process, room: str
) -> None:
    await process.broker.history(room, START)
    await process.broker.sweep(room)
    await process.broker.leave(room, "nobody", None, 1)
    (key,) = await admin.keys("*")
    assert 0 < await admin.ttl(key) <= EMPTY_SECONDS


async def test_all_that_a_room_leaves_ends_some_time(
    admin: Redis, process: Process, room: str
) -> None:
    await say(process, room, "hello")
    assert await admin.ttl(f"rt:{{{room}}}:meta") > Limits().history_seconds
    await process.broker.enter(room, Member("ada", "Ada", "sse"), "node_id")
    seconds = [await admin.ttl(key) for key in await admin.keys("*")]
    assert len(seconds) == 5
    await admin.delete(f"rt:{{{room}}}:meta")
    await process.broker.sweep(room)
    seconds += [await admin.ttl(f"rt:{{{room}}}:meta")]
    assert all(0 < one <= META_TTL_FACTOR * Limits().history_seconds for one in seconds)


async def test_a_hub_that_is_no_longer_heard_is_not_ready(
    process: Process, admin: Redis, room: str
) -> None:
    await process.listen(room)
    await process.broker.ping()
    await admin.execute_command("ACL", "SETUSER", "default", "resetchannels")
    await admin.client_kill_filter(_type="pubsub")

    async def unheard() -> bool:
        return not await answers(process)

    await eventually(unheard)
    with pytest.raises(NoBroker, match="not heard"):
        await process.broker.ping()
    await admin.execute_command("ACL", "SETUSER", "default", "allchannels")
    await eventually(lambda: answers(process))


async def test_a_word_whose_answer_was_cut_off_is_asked_about_again_before_anybody_is_refused(
    redis: PrivateRedis, room: str
) -> None:
    async with RedisRelay(redis.path) as relay:
        broker = RedisBroker(relay.url, Limits())
        await broker.start(Notes())
        await broker.publish(draft(room))
        relay.swallow_reply(to=b'"text"')
        receipt = await broker.publish(draft(room))
        history = await broker.history(room, START)
        await broker.close()
    assert (receipt.cursor.offset, receipt.created) == (2, False)
    assert history.top == 2
