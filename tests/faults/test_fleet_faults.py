"""One of several servers dies, is frozen, or hands over what it keeps; under load, with an audit.

Nothing that was acknowledged is lost silently: whoever misses something was told of a gap, and what
is said after the fault nobody misses, with nobody's help.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.crc import key_slot

from benchmarks.clients import CLIENTS, request
from realtime.brokers.redis.broker import RedisBroker
from realtime.brokers.redis.topology import Sharded
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.brokers.conftest import Start, draft, start
from tests.brokers.topologies import Fleet, Node, ShardedFleet, WatchedFleet
from tests.faults.conftest import SECONDS, Begin
from tests.faults.harness import Scene

__all__ = ["start"]

# Milliseconds of silence after which one is taken for dead: what a test can wait for.
PATIENCE = 1000


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedFleet]:
    with WatchedFleet(tmp_path, patience=PATIENCE) as fleet:
        yield fleet


@pytest.fixture
def sharded() -> Iterator[ShardedFleet]:
    with ShardedFleet(replicas=True, patience=PATIENCE) as fleet:
        yield fleet


@asynccontextmanager
async def scene_on(fleet: Fleet, begin: Begin, room: str) -> AsyncIterator[Scene]:
    """Two servers on one fleet."""
    async with Scene([(await begin(fleet.url)).url for _ in range(2)], room) as scene:
        yield scene
        await until_ready(scene)


async def until_ready(scene: Scene) -> None:
    async with asyncio.timeout(SECONDS):
        for url in scene.urls:
            while (await request(url, "GET", "/readyz")).status != 200:
                await asyncio.sleep(0.02)


def keeper(fleet: ShardedFleet, room: str) -> Node:
    return fleet.masters[key_slot(f"rt:{{{room}}}".encode()) * 3 // 16384]


# --- sentinels -----------------------------------------------------------------------------------


async def test_when_the_master_dies_its_successor_goes_on(
    watched: WatchedFleet, begin: Begin, room: str
) -> None:
    async with scene_on(watched, begin, room) as scene:
        async with scene.load():
            await scene.more(50)
            excused = await scene.acknowledged_until(watched.master.kill)
            await scene.more(50)
        audit = await scene.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_master_that_was_frozen_and_comes_back_divides_nobody(
    watched: WatchedFleet, begin: Begin, room: str
) -> None:
    async with scene_on(watched, begin, room) as scene:
        async with scene.load():
            await scene.more(50)
            old = watched.master
            excused = await scene.acknowledged_until(old.pause)
            await scene.more(50)
            await until_ready(scene)
            old.resume()  # and for some seconds it takes itself for the master
            await scene.more(200)
        audit = await scene.audit(excused)
    assert audit.clean, audit


# --- a Cluster -----------------------------------------------------------------------------------


async def test_when_a_node_dies_its_replica_goes_on(
    sharded: ShardedFleet, begin: Begin, room: str
) -> None:
    async with scene_on(sharded, begin, room) as scene:
        async with scene.load():
            await scene.more(50)
            excused = await scene.acknowledged_until(keeper(sharded, room).kill)
            await scene.more(50)
        audit = await scene.audit(excused)
    assert audit.clean, audit
    assert audit.gaps.total() >= len(CLIENTS) * 2, audit


async def test_a_room_whose_slot_moves_to_and_fro_loses_nothing(
    sharded: ShardedFleet, begin: Begin, room: str
) -> None:
    slot, source = key_slot(f"rt:{{{room}}}".encode()), keeper(sharded, room)
    target = next(node for node in sharded.masters if node is not source)
    async with scene_on(sharded, begin, room) as scene:
        async with scene.load():
            for _ in range(2):
                await scene.more(40)
                await asyncio.to_thread(sharded.move, slot, source, target)
                source, target = target, source
            await scene.more(40)
        audit = await scene.audit()
    assert audit.clean, audit


@pytest.fixture(scope="module")
def masters() -> Iterator[ShardedFleet]:
    """Three alone, of whom one may die and come back; so this comes last."""
    with ShardedFleet(patience=PATIENCE) as fleet:
        yield fleet


async def test_whoever_speaks_while_a_slot_is_on_its_way_is_heard_where_it_arrives(
    masters: ShardedFleet, start: Start, room: str
) -> None:
    slot, source = key_slot(f"rt:{{{room}}}".encode()), keeper(masters, room)
    target = next(node for node in masters.masters if node is not source)
    process = await start(RedisBroker(masters.url, Limits()))
    await process.listen(room)
    await process.broker.publish(draft(room))
    masters.begin_move(slot, source, target)
    saying = asyncio.create_task(process.broker.publish(draft(room)))
    with source.admin as admin:
        before = admin.info("errorstats")
        async with asyncio.timeout(SECONDS):
            while admin.info("errorstats") == before:  # until it was told to try again
                await asyncio.sleep(0.01)
    masters.end_move(slot, source, target)
    receipt = await saying
    await process.notes.listening(room, times=2)
    last = await process.broker.publish(draft(room))
    heard = await process.notes.heard(room, 2)
    assert heard[-1].cursor == last.cursor
    assert last.cursor.offset == receipt.cursor.offset + 1 == 3
    masters.move(slot, target, source)


async def test_a_slot_that_has_moved_is_followed_even_if_all_others_know_it_later(
    masters: ShardedFleet, start: Start, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(self: Sharded) -> None:
        """As if whoever is asked had not heard of it."""

    monkeypatch.setattr(Sharded, "look", look)
    slot, source = key_slot(f"rt:{{{room}}}".encode()), keeper(masters, room)
    target = next(node for node in masters.masters if node is not source)
    process = await start(RedisBroker(masters.url, Limits()))
    await process.listen(room)
    masters.move(slot, source, target)
    receipt = await process.broker.publish(draft(room))
    (event,) = await process.notes.heard(room, 1)
    assert event.cursor == receipt.cursor
    masters.move(slot, target, source)


async def test_while_one_of_a_cluster_is_away_the_rooms_of_the_others_go_on(
    masters: ShardedFleet, start: Start
) -> None:
    process = await start(RedisBroker(masters.url, Limits()))
    rooms = {keeper(masters, name).port: name for name in map(str, range(50))}
    away, *others = masters.masters
    for room in rooms.values():
        await process.listen(room)
    away.kill()
    for node in others:
        receipt = await process.broker.publish(draft(rooms[node.port]))
        (event,) = await process.notes.heard(rooms[node.port], 1)
        assert event.cursor == receipt.cursor
    with pytest.raises(NoBroker):
        await process.broker.publish(draft(rooms[away.port]))
    await process.broker.ping()
    away.start()
    await process.notes.listening(rooms[away.port], times=2)
    receipt = await process.publish_when_healed(draft(rooms[away.port]))
    (event,) = await process.notes.heard(rooms[away.port], 1)
    assert event.cursor == receipt.cursor
