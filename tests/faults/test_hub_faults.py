"""The hub and the line to it break in every way we know, under load, before readers of all kinds.

Each test ends in the audit: nothing that was acknowledged is lost, doubled or out of turn, and all
readers agree.  Where the hub itself forgot, everybody who misses something was told of a gap, and
nothing that was acknowledged afterwards is missing.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from benchmarks.clients import CLIENTS, request
from tests.brokers.private_redis import PrivateRedis
from tests.faults.conftest import Begin, until_status
from tests.faults.harness import Scene, Speaker, Turn
from tests.faults.redis_relay import RedisRelay
from tests.server_process import Server


@pytest.fixture
async def relay(redis: PrivateRedis) -> AsyncIterator[RedisRelay]:
    async with RedisRelay(redis.path) as relay:
        yield relay


@pytest.fixture
async def scene(redis: PrivateRedis, begin: Begin, room: str) -> AsyncIterator[Scene]:
    """Two servers on one hub."""
    async with scene_of([await begin(redis.url), await begin(redis.url)], room) as scene:
        yield scene


@pytest.fixture
async def far_scene(relay: RedisRelay, begin: Begin, room: str) -> AsyncIterator[Scene]:
    """Two servers on one hub, at the end of a bad line."""
    async with scene_of([await begin(relay.url), await begin(relay.url)], room) as scene:
        yield scene


def scene_of(servers: list[Server], room: str) -> Scene:
    return Scene([server.url for server in servers], room)


# --- the line breaks -----------------------------------------------------------------------------


async def test_subscribers_that_are_killed_again_and_again_cost_nothing(
    admin: Redis, scene: Scene
) -> None:
    async with scene.load():
        for _ in range(5):
            await scene.more(30)
            await admin.client_kill_filter(_type="pubsub")
        await scene.more(30)
    audit = await scene.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_connections_that_carry_commands_may_be_killed(admin: Redis, scene: Scene) -> None:
    async with scene.load():
        for _ in range(5):
            await scene.more(30)
            await admin.client_kill_filter(_type="normal", skipme=True)
        await scene.more(30)
    audit = await scene.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_last_message_that_nobody_was_told_of_is_found(
    relay: RedisRelay, far_scene: Scene
) -> None:
    await far_scene.heard_by_all(await far_scene.speakers[0].say("first"))
    relay.drop_announcements()
    last = await far_scene.speakers[0].say("last before a quiet time")
    await far_scene.heard_by_all(last)
    assert relay.dropped == 2
    relay.drop_announcements(False)
    audit = await far_scene.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_announcements_that_are_lost_here_and_there_are_read_from_the_log(
    redis: PrivateRedis, relay: RedisRelay, begin: Begin, room: str
) -> None:
    async with scene_of([await begin(relay.url), await begin(redis.url)], room) as scene:
        async with scene.load():
            for _ in range(10):
                await scene.more(10)
                relay.drop_announcements()
                await scene.more(5)
                relay.drop_announcements(False)
        audit = await scene.audit()
    assert relay.dropped
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_publish_whose_reply_was_lost_is_said_once(
    relay: RedisRelay, far_scene: Scene
) -> None:
    async with far_scene.load():
        for _ in range(10):
            relay.swallow_reply(to=b'"text"')
            await far_scene.more(10)
    audit = await far_scene.audit()
    assert relay.swallowed == 10
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_subscriber_that_the_hub_gives_up_for_being_slow_catches_up(
    redis: PrivateRedis, admin: Redis, relay: RedisRelay, begin: Begin, room: str
) -> None:
    await admin.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
    slow, quick = await begin(relay.url), await begin(redis.url)
    async with scene_of([slow, quick], room) as scene:
        before = await subscribers(admin)
        relay.stall()
        async with asyncio.timeout(40):
            while await subscribers(admin) == before:
                await scene.speakers[2].say("x" * 4000)
        relay.flow()
        audit = await scene.audit()
    assert audit.clean, audit


async def subscribers(admin: Redis) -> int:
    return len(await admin.client_list(_type="pubsub"))


async def test_a_hub_that_is_frozen_and_thawed_costs_nothing(
    redis: PrivateRedis, scene: Scene
) -> None:
    async with scene.load():
        await scene.more(30)
        redis.pause()
        await asyncio.sleep(2)  # the fault itself
        redis.resume()
        await scene.more(30)
    audit = await scene.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


# --- the hub forgets -----------------------------------------------------------------------------


async def test_a_hub_that_kept_its_word_on_disk_lost_nothing(begin: Begin, room: str) -> None:
    with PrivateRedis(append_only=True) as redis:
        async with scene_of([await begin(redis.url), await begin(redis.url)], room) as scene:
            async with scene.load():
                await scene.more(30)
                redis.restart()
                await scene.more(30)
            audit = await scene.audit()
    assert audit.clean, audit
    # It is another life of the server, and nobody can know that it lost nothing.
    assert audit.gaps == {"unknown": len(CLIENTS) * 2}, audit


async def test_a_hub_that_forgot_everything_is_a_gap_and_nothing_said_afterwards_is_missed(
    redis: PrivateRedis, scene: Scene
) -> None:
    async with scene.load():
        await scene.more(50)
        excused = await scene.acknowledged_until(redis.kill)
        redis.start()
        await scene.more(50)
    audit = await scene.audit(excused)
    assert audit.clean, audit
    assert set(audit.gaps) <= {"unknown", "rewound"}, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_hub_that_came_back_with_an_older_snapshot_gives_no_number_twice(
    redis: PrivateRedis, scene: Scene
) -> None:
    async with scene.load():
        await scene.more(50)
        kept = scene.acknowledged
        redis.snapshot()
        await scene.more(50)
        excused = await scene.acknowledged_until(redis.kill) - kept
        redis.start()
        # More than it lost: the numbers overtake those that readers have seen.
        await scene.more(120)
    audit = await scene.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_replica_that_lagged_and_is_promoted_gives_no_number_twice(
    begin: Begin, room: str
) -> None:
    async with AsyncExitStack() as stack:
        port = free_port()
        master = stack.enter_context(
            PrivateRedis("--port", str(port), "--repl-diskless-sync-delay", "0")
        )
        replica = stack.enter_context(PrivateRedis("--replicaof", f"127.0.0.1 {port}"))
        there = await stack.enter_async_context(Redis.from_url(replica.url))
        relay = await stack.enter_async_context(RedisRelay(master.path))
        servers = [await begin(relay.url), await begin(relay.url)]
        scene = await stack.enter_async_context(scene_of(servers, room))
        async with scene.load():
            await scene.more(50)
            async with asyncio.timeout(20):
                while not await there.exists(f"rt:{{{room}}}:log"):
                    await asyncio.sleep(0.02)
            await there.execute_command("REPLICAOF", "NO", "ONE")  # here it stays behind
            await scene.more(50)
            excused = await scene.acknowledged_until(master.kill)
            relay.target = replica.path
            await relay.cut()
            await scene.more(120)
        audit = await scene.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- many at once --------------------------------------------------------------------------------


async def test_whoever_attaches_while_others_speak_misses_nothing(scene: Scene) -> None:
    async with scene.load():
        for number in range(10):
            for transport in CLIENTS:
                await scene.attach(f"{transport} late {number}", transport, number % 2)
    audit = await scene.audit()
    # A late one misses what was said before it came, and nothing in between: no hole, no double.
    audit.lost.clear()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_ten_who_speak_at_once_in_two_processes_are_one_order_without_a_hole(
    scene: Scene,
) -> None:
    scene.speakers += [Speaker(Turn(scene.urls, n), "sse", scene.room) for n in range(6)]
    async with scene.load():
        await scene.more(500)
    audit = await scene.audit()
    cursors = [c for speaker in scene.speakers for c in speaker.acknowledged.values()]
    assert audit.clean, audit
    assert sorted(int(c.rpartition("-")[2]) for c in cursors) == list(range(1, len(cursors) + 1))


# --- away and back -------------------------------------------------------------------------------


async def test_while_the_hub_is_away_one_is_told_so_at_once_and_can_read_and_then_it_heals(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    servers = [await begin(redis.url), await begin(redis.url)]
    async with scene_of(servers, room) as scene:
        kept = await scene.speakers[0].say("kept")
        await scene.heard_by_all(kept)
        redis.kill()
        for server in servers:
            async with asyncio.timeout(5):  # it never hangs
                path = f"/rooms/{room}/messages"
                answer = await request(server.url, "POST", path, b'{"text":"hello"}')
            assert (answer.status, answer.json()["error"]["code"]) == (503, "no_broker")
            assert int(answer.head.fields["retry-after"]) >= 1
            await until_status(server, "/readyz", 503)
            assert (await request(server.url, "GET", "/healthz")).status == 200
            read = await request(server.url, "GET", f"/rooms/{room}/short_polling")
            assert [event["id"] for event in json.loads(read.body)["events"]] == [kept]
        redis.start()
        for server in servers:
            await until_status(server, "/readyz", 200)
        audit = await scene.audit(excused={kept})
    assert audit.clean, audit
