"""The hub and the connections to it fail in every way we know, under load, for all transports.

Each test ends in the audit: no acknowledged message is lost, duplicated or out of order, and all
readers agree.  Where the hub itself lost data, every reader that misses a message received `gap`,
and no message acknowledged afterwards is missing.

The servers are shared: the hub is repaired after each test, and they must recover from everything.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
from redis.asyncio import Redis

from benchmarks.clients import CLIENTS, request
from tests.brokers.private_redis import PrivateRedis
from tests.faults.conftest import ServerPool, Start, until_status
from tests.faults.harness import Publisher, RoundRobin, Scenario
from tests.faults.redis_relay import RedisRelay
from tests.ports import free_port
from tests.server_process import Server


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture(autouse=True)
def repaired(redis: PrivateRedis) -> Iterator[None]:
    yield
    redis.repair()


class SharedServers:
    """Two servers on each hub address, which start when the first test needs them."""

    def __init__(self, pool: ServerPool) -> None:
        self._pool = pool
        self._servers: dict[str, list[Server]] = {}

    async def on(self, hub: str) -> list[Server]:
        """Return the servers on this hub when they are ready."""
        if hub not in self._servers:
            self._servers[hub] = await self._pool.start(hub, 2)
        for server in self._servers[hub]:
            await until_status(server.url, "/readyz", 200)
        return self._servers[hub]


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedServers]:
    with ExitStack() as stack:
        yield SharedServers(ServerPool(stack))


@pytest.fixture
async def relay(redis: PrivateRedis) -> AsyncIterator[RedisRelay]:
    async with RedisRelay(redis.path) as relay:
        yield relay


@pytest.fixture
async def servers(redis: PrivateRedis, shared: SharedServers) -> list[Server]:
    """Two servers on one hub."""
    return await shared.on(redis.url)


@pytest.fixture
async def scenario(servers: list[Server], room: str) -> AsyncIterator[Scenario]:
    async with scenario_on(servers, room) as scenario:
        yield scenario


@pytest.fixture
async def relayed_servers(relay: RedisRelay, shared: SharedServers) -> list[Server]:
    """Two servers on the same hub, behind the relay."""
    return await shared.on(relay.url)


@pytest.fixture
async def relayed(relayed_servers: list[Server], room: str) -> AsyncIterator[Scenario]:
    async with scenario_on(relayed_servers, room) as scenario:
        yield scenario


def scenario_on(servers: list[Server], room: str) -> Scenario:
    return Scenario([server.url for server in servers], room)


# --- connections break ---------------------------------------------------------------------------


async def test_subscriptions_that_are_killed_repeatedly_lose_nothing(
    admin: Redis, scenario: Scenario
) -> None:
    async with scenario.load():
        for _ in range(3):
            await scenario.more(30)
            await admin.client_kill_filter(_type="pubsub")
        await scenario.more(30)
    audit = await scenario.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_command_connections_that_are_killed_repeatedly_lose_nothing(
    admin: Redis, scenario: Scenario
) -> None:
    async with scenario.load():
        for _ in range(3):
            await scenario.more(30)
            await admin.client_kill_filter(_type="normal", skipme=True)
        await scenario.more(30)
    audit = await scenario.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_frozen_hub_that_resumes_loses_nothing(
    redis: PrivateRedis, scenario: Scenario
) -> None:
    async with scenario.load():
        await scenario.more(30)
        redis.pause()
        await asyncio.sleep(1.2)  # longer than a command may take, so that publishing fails
        redis.resume()
        await scenario.more(30)
    audit = await scenario.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


# --- many at once --------------------------------------------------------------------------------


async def test_readers_that_attach_under_load_miss_nothing(scenario: Scenario) -> None:
    async with scenario.load():
        for number in range(4):
            async with asyncio.TaskGroup() as group:
                for transport in CLIENTS:
                    name = f"{transport} late {number}"
                    group.create_task(scenario.attach(name, transport, number % 2))
    audit = await scenario.audit()
    # A late reader misses what came before it, and then nothing: no hole, no duplicate.
    audit.lost.clear()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_ten_publishers_on_two_servers_have_one_order_without_a_hole(
    scenario: Scenario,
) -> None:
    scenario.publishers += [
        Publisher(RoundRobin(scenario.urls, number), "sse", scenario.room) for number in range(6)
    ]
    async with scenario.load():
        await scenario.more(250)
    audit = await scenario.audit()
    cursors = [c for publisher in scenario.publishers for c in publisher.acknowledged.values()]
    assert audit.clean, audit
    assert sorted(int(c.rpartition("-")[2]) for c in cursors) == list(range(1, len(cursors) + 1))


# --- the hub loses data --------------------------------------------------------------------------


async def test_a_hub_that_lost_everything_causes_a_gap_and_later_messages_arrive(
    redis: PrivateRedis, scenario: Scenario
) -> None:
    async with scenario.load():
        await scenario.more(50)
        excused = await scenario.acknowledged_until(redis.kill)
        redis.start()
        await scenario.more(50)
    audit = await scenario.audit(excused)
    assert audit.clean, audit
    assert set(audit.gaps) <= {"unknown", "rewound"}, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_hub_that_restarts_from_an_older_snapshot_assigns_no_number_twice(
    redis: PrivateRedis, scenario: Scenario
) -> None:
    async with scenario.load():
        await scenario.more(50)
        saved = scenario.acknowledged
        redis.snapshot()
        await scenario.more(50)
        excused = await scenario.acknowledged_until(redis.kill) - saved
        redis.start()
        # More than it lost, so that the numbers pass those that readers have seen.
        await scenario.more(120)
    redis.delete_data()
    audit = await scenario.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_hub_with_an_append_only_file_loses_nothing(
    start_servers: Start, room: str
) -> None:
    with PrivateRedis(append_only=True) as redis:
        async with scenario_on(await start_servers(redis.url, 2), room) as scenario:
            async with scenario.load():
                await scenario.more(30)
                redis.restart()
                await scenario.more(30)
            audit = await scenario.audit()
    assert audit.clean, audit
    # It is a new Redis process, so nobody can know that it lost nothing.
    assert audit.gaps == {"unknown": len(CLIENTS) * 2}, audit


async def test_a_lagging_replica_that_is_promoted_assigns_no_number_twice(
    start_servers: Start, room: str
) -> None:
    async with AsyncExitStack() as stack:
        port = free_port()
        master = stack.enter_context(
            PrivateRedis("--port", str(port), "--repl-diskless-sync-delay", "0")
        )
        replica = stack.enter_context(PrivateRedis("--replicaof", f"127.0.0.1 {port}"))
        replica_admin = await stack.enter_async_context(Redis.from_url(replica.url))
        relay = await stack.enter_async_context(RedisRelay(master.path))
        servers = await start_servers(relay.url, 2)
        scenario = await stack.enter_async_context(scenario_on(servers, room))
        async with scenario.load():
            await scenario.more(50)
            async with asyncio.timeout(20):
                while not await replica_admin.exists(f"rt:{{{room}}}:log"):
                    await asyncio.sleep(0.02)
            await replica_admin.execute_command("REPLICAOF", "NO", "ONE")  # from here on it lags
            await scenario.more(50)
            excused = await scenario.acknowledged_until(master.kill)
            relay.target = replica.path
            await relay.cut()
            await scenario.more(120)
        audit = await scenario.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


# --- the hub is down -----------------------------------------------------------------------------


async def test_while_the_hub_is_down_publishing_fails_at_once_and_reading_works(
    redis: PrivateRedis, servers: list[Server], scenario: Scenario
) -> None:
    first = await scenario.publishers[0].publish("before the fault")
    await scenario.received_by_all(first)
    redis.kill()
    for server in servers:
        async with asyncio.timeout(5):  # it never hangs
            path = f"/rooms/{scenario.room}/messages"
            response = await request(server.url, "POST", path, b'{"text":"hello"}')
        assert (response.status, response.json()["error"]["code"]) == (503, "no_broker")
        assert int(response.head.fields["retry-after"]) >= 1
        await until_status(server.url, "/readyz", 503)
        assert (await request(server.url, "GET", "/healthz")).status == 200
        read = await request(server.url, "GET", f"/rooms/{scenario.room}/short_polling")
        assert [event["id"] for event in json.loads(read.body)["events"]] == [first]
    redis.start()
    for server in servers:
        await until_status(server.url, "/readyz", 200)
    audit = await scenario.audit(excused={first})
    assert audit.clean, audit


# --- faults in the relay; these come last, for while it is closed its servers have no hub --------


async def test_a_last_message_without_its_announcement_arrives(
    relay: RedisRelay, relayed: Scenario
) -> None:
    await relayed.received_by_all(await relayed.publishers[0].publish("first"))
    relay.drop_announcements()
    last = await relayed.publishers[0].publish("last before an idle time")
    await relayed.received_by_all(last)
    assert relay.dropped_announcements == 2
    relay.drop_announcements(False)
    audit = await relayed.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_publish_whose_reply_was_lost_is_stored_once(
    relay: RedisRelay, relayed: Scenario
) -> None:
    async with relayed.load():
        for _ in range(4):
            relay.drop_reply(to=b'"text"')
            await relayed.more(10)
    audit = await relayed.audit()
    assert relay.dropped_replies == 4
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_lost_announcements_are_read_from_the_log(
    relay: RedisRelay, servers: list[Server], relayed_servers: list[Server], room: str
) -> None:
    async with scenario_on([relayed_servers[0], servers[0]], room) as scenario:
        async with scenario.load():
            for _ in range(4):
                await scenario.more(10)
                relay.drop_announcements()
                await scenario.more(5)
                relay.drop_announcements(False)
        audit = await scenario.audit()
    assert relay.dropped_announcements
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_server_whose_subscription_the_hub_closed_for_being_slow_catches_up(
    admin: Redis,
    relay: RedisRelay,
    servers: list[Server],
    relayed_servers: list[Server],
    room: str,
) -> None:
    usual = (await admin.config_get("client-output-buffer-limit"))["client-output-buffer-limit"]
    await admin.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
    async with scenario_on([relayed_servers[0], servers[0]], room) as scenario:
        before = await subscriptions(admin)
        relay.stall()
        async with asyncio.timeout(40):
            while await subscriptions(admin) == before:
                await scenario.publishers[2].publish("x" * 4000)
        relay.resume()
        audit = await scenario.audit()
    await admin.config_set("client-output-buffer-limit", usual)
    assert audit.clean, audit


async def subscriptions(admin: Redis) -> int:
    return len(await admin.client_list(_type="pubsub"))
