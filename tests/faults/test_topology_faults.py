"""One of several Redis servers dies, freezes, or hands over a slot; under load, with an audit.

No acknowledged message is lost silently: a reader that misses one received `gap`.  Messages after
the fault reach every reader, without the help of an operator.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realtime.brokers.redis.broker import RedisBroker
from realtime.brokers.redis.topology import ShardedCluster
from realtime.client import CLIENTS
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.brokers.conftest import Start as StartBroker
from tests.brokers.conftest import draft, start
from tests.brokers.topologies import ClusterDeployment, Deployment, SentinelDeployment, slot_of
from tests.faults.conftest import SECONDS, Start, until_status
from tests.faults.harness import Scenario

__all__ = ["start"]

# Idle milliseconds after which a server counts as down: so short that a test can wait for it.
DOWN_AFTER = 1000


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[SentinelDeployment]:
    with SentinelDeployment(tmp_path, down_after=DOWN_AFTER) as deployment:
        yield deployment


@pytest.fixture
def cluster() -> Iterator[ClusterDeployment]:
    with ClusterDeployment(replicas=True, down_after=DOWN_AFTER) as deployment:
        yield deployment


@asynccontextmanager
async def scenario_on(
    deployment: Deployment, start_servers: Start, room: str
) -> AsyncIterator[Scenario]:
    """Two servers on one deployment, which are ready again at the end."""
    servers = await start_servers(deployment.url, 2)
    async with Scenario([server.url for server in servers], room) as scenario:
        yield scenario
        await until_ready(scenario)


async def until_ready(scenario: Scenario) -> None:
    for url in scenario.urls:
        await until_status(url, "/readyz", 200)


# --- Sentinel ------------------------------------------------------------------------------------


async def test_when_the_master_dies_its_successor_takes_over(
    sentinel: SentinelDeployment, start_servers: Start, room: str
) -> None:
    async with scenario_on(sentinel, start_servers, room) as scenario:
        async with scenario.load():
            await scenario.more(50)
            excused = await scenario.acknowledged_until(sentinel.master.kill)
            await scenario.more(50)
        audit = await scenario.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_frozen_master_that_returns_causes_no_split_brain(
    sentinel: SentinelDeployment, start_servers: Start, room: str
) -> None:
    async with scenario_on(sentinel, start_servers, room) as scenario:
        async with scenario.load():
            await scenario.more(50)
            old = sentinel.master
            excused = await scenario.acknowledged_until(old.pause)
            await scenario.more(50)
            await until_ready(scenario)
            old.resume()  # for some seconds it still believes that it is the master
            await scenario.more(200)
        audit = await scenario.audit(excused)
    assert audit.clean, audit


# --- Cluster -------------------------------------------------------------------------------------


async def test_when_a_node_dies_its_replica_takes_over(
    cluster: ClusterDeployment, start_servers: Start, room: str
) -> None:
    async with scenario_on(cluster, start_servers, room) as scenario:
        async with scenario.load():
            await scenario.more(50)
            excused = await scenario.acknowledged_until(cluster.master_of(room).kill)
            await scenario.more(50)
        audit = await scenario.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_room_whose_slot_moves_away_and_back_loses_nothing(
    masters: ClusterDeployment, start_servers: Start, room: str
) -> None:
    slot, source = slot_of(room), masters.master_of(room)
    target = next(node for node in masters.masters if node is not source)
    async with scenario_on(masters, start_servers, room) as scenario:
        async with scenario.load():
            for _ in range(2):
                await scenario.more(40)
                await asyncio.to_thread(masters.move_slot, slot, source, target)
                source, target = target, source
            await scenario.more(40)
        audit = await scenario.audit()
    assert audit.clean, audit


@pytest.fixture(scope="module")
def masters() -> Iterator[ClusterDeployment]:
    """Three masters without replicas, shared by the tests from here on."""
    with ClusterDeployment(down_after=DOWN_AFTER) as deployment:
        yield deployment


async def test_messages_during_a_slot_migration_arrive_at_its_new_server(
    masters: ClusterDeployment, start: StartBroker, room: str
) -> None:
    slot, source = slot_of(room), masters.master_of(room)
    target = next(node for node in masters.masters if node is not source)
    process = await start(RedisBroker(masters.url, Limits()))
    await process.listen(room)
    await process.broker.publish(draft(room))
    masters.start_move(slot, source, target)
    publishing = asyncio.create_task(process.broker.publish(draft(room)))
    with source.admin as admin:
        before = admin.info("errorstats")
        async with asyncio.timeout(SECONDS):
            while admin.info("errorstats") == before:  # until it receives TRYAGAIN or ASK
                await asyncio.sleep(0.01)
    masters.finish_move(slot, source, target)
    receipt = await publishing
    await process.listener.subscribed(room, times=2)
    last = await process.broker.publish(draft(room))
    # The message during the migration arrives as well if the subscription moved before it.
    events = await process.listener.received_until(room, last.cursor)
    assert events[-1].cursor == last.cursor
    assert last.cursor.offset == receipt.cursor.offset + 1 == 3
    masters.move_slot(slot, target, source)


async def test_a_redirect_is_followed_before_the_other_servers_report_it(
    masters: ClusterDeployment, start: StartBroker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refresh(self: ShardedCluster) -> None:
        """Find nothing new, as if the server that we ask did not have the new slots yet."""

    monkeypatch.setattr(ShardedCluster, "refresh", refresh)
    slot, source = slot_of(room), masters.master_of(room)
    target = next(node for node in masters.masters if node is not source)
    process = await start(RedisBroker(masters.url, Limits()))
    await process.listen(room)
    masters.move_slot(slot, source, target)
    receipt = await process.broker.publish(draft(room))
    (event,) = await process.listener.received(room, 1)
    assert event.cursor == receipt.cursor
    masters.move_slot(slot, target, source)


async def test_while_one_server_of_a_cluster_is_down_the_rooms_of_the_others_work(
    masters: ClusterDeployment, start: StartBroker
) -> None:
    process = await start(RedisBroker(masters.url, Limits()))
    rooms = {masters.master_of(name).port: name for name in map(str, range(50))}
    down, *others = masters.masters
    for room in rooms.values():
        await process.listen(room)
    down.kill()
    for node in others:
        receipt = await process.broker.publish(draft(rooms[node.port]))
        (event,) = await process.listener.received(rooms[node.port], 1)
        assert event.cursor == receipt.cursor
    with pytest.raises(NoBroker):
        await process.broker.publish(draft(rooms[down.port]))
    await process.broker.ping()
    down.start()
    await process.listener.subscribed(rooms[down.port], times=2)
    receipt = await process.publish_until_accepted(draft(rooms[down.port]))
    (event,) = await process.listener.received(rooms[down.port], 1)
    assert event.cursor == receipt.cursor
