"""An ear at real servers: one that goes deaf, and those of a Cluster, where channels move."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio.connection import Connection
from redis.crc import key_slot
from redis.exceptions import MovedError

from realtime.brokers.redis import pubsub as module
from realtime.brokers.redis.broker import RedisBroker
from realtime.brokers.redis.pubsub import Ear
from realtime.limits import Limits
from realtime.tasks import Supervisor
from tests.brokers.conftest import SECONDS, Start, draft
from tests.brokers.private_redis import PrivateRedis
from tests.brokers.topologies import Node, ShardedFleet

# --- deaf ----------------------------------------------------------------------------------------


class Wire:
    """Stands between a broker and its Redis, and can make the ears of all who listen go deaf."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._ears: list[dict[str, bool]] = []

    def deafen(self) -> None:
        """From now on, nothing reaches those who listen now; whoever comes later does hear."""
        for ear in self._ears:
            ear["deaf"] = ear["listens"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ear = {"listens": False, "deaf": False}
        self._ears.append(ear)
        theirs, ours = await asyncio.open_unix_connection(self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, ours, ear))
                group.create_task(self._down(theirs, writer, ear))
        finally:
            ours.close()
            writer.close()

    async def _up(
        self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter, ear: dict[str, bool]
    ) -> None:
        while data := await reader.read(65536):
            ear["listens"] = ear["listens"] or b"SUBSCRIBE" in data
            ours.write(data)
        ours.close()

    async def _down(
        self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, ear: dict[str, bool]
    ) -> None:
        while data := await theirs.read(65536):
            if not ear["deaf"]:
                writer.write(data)
        writer.close()


@asynccontextmanager
async def between(redis: PrivateRedis, path: Path) -> AsyncIterator[Wire]:
    wire = Wire(redis.url.removeprefix("unix://"))
    async with await asyncio.start_unix_server(wire.serve, path):
        yield wire


async def test_a_connection_that_is_open_and_deaf_is_found_and_replaced(
    redis: PrivateRedis,
    start: Start,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.1)
    path = Path(redis.url.removeprefix("unix://") + ".wire")
    async with between(redis, path) as wire:
        process = await start(RedisBroker(f"unix://{path}", Limits()))
        await process.listen(room)
        wire.deafen()
        await process.broker.publish(draft(room, "nobody hears this"))
        await process.notes.listening(room, times=2)
        receipt = await process.broker.publish(draft(room, "and this is heard"))
        assert [e.cursor for e in await process.notes.heard(room, 1)] == [receipt.cursor]
        await process.broker.close()


# --- astray --------------------------------------------------------------------------------------


class Owner:
    """Writes down what an ear tells, in one order."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def heard(self, channel: bytes, payload: bytes) -> None:
        self.told.put_nowait((f"heard {payload.decode()}", channel))

    def on_subscribed(self, channel: bytes) -> None:
        self.told.put_nowait(("confirmed", channel))

    def astray(self, error: MovedError | None) -> None:
        self.told.put_nowait((f"{error.slot_id} is at {error.port}" if error else "astray", b""))

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(SECONDS):
            return await self.told.get()


@pytest.fixture(scope="module")
def fleet() -> Iterator[ShardedFleet]:
    with ShardedFleet() as fleet:
        yield fleet


@asynccontextmanager
async def listening(node: Node, *channels: bytes) -> AsyncIterator[tuple[Ear, Owner]]:
    async def silent(channel: bytes) -> None:
        """Nothing is said: no test lasts until it would be missed."""

    def connect() -> Connection:
        return Connection(port=node.port, protocol=2)

    supervisor, owner = Supervisor(), Owner()
    ear = Ear(connect, b"S", silent, SECONDS, supervisor)
    for channel in channels:
        ear.listen(channel)
    supervisor.supervise("listen", lambda: ear.run(owner))
    yield ear, owner
    await supervisor.close()


def channel_at(fleet: ShardedFleet, number: int) -> bytes:
    """A channel that one of the three keeps, whose slots are a third of all."""
    channels = (b"rt:{%d}" % one for one in range(1000))
    return next(one for one in channels if key_slot(one) * 3 // 16384 == number)


async def test_in_a_cluster_channels_are_sharded(fleet: ShardedFleet) -> None:
    node, channel = fleet.masters[1], channel_at(fleet, 1)
    async with listening(node, channel) as (_, owner):
        assert await owner.next() == ("confirmed", channel)
        with node.admin as admin:
            assert admin.execute_command("SPUBLISH", channel, "hello") == 1
            assert admin.pubsub_numpat() == 0
            assert channel.decode() not in admin.pubsub_channels()
        assert await owner.next() == ("heard hello", channel)


async def test_a_channel_that_is_elsewhere_is_said_to_be_there_and_the_others_are_heard(
    fleet: ShardedFleet,
) -> None:
    away, here = channel_at(fleet, 2), channel_at(fleet, 0)
    async with listening(fleet.masters[0], away, here) as (_, owner):
        told = {await owner.next(), await owner.next()}
        there = f"{key_slot(away)} is at {fleet.masters[2].port}"
        assert told == {(there, b""), ("confirmed", here)}


async def test_a_channel_whose_slot_moves_is_missed_and_found_when_it_is_back(
    fleet: ShardedFleet,
) -> None:
    channel = channel_at(fleet, 0)
    source, target = fleet.masters[0], fleet.masters[1]
    async with listening(source, channel) as (ear, owner):
        assert await owner.next() == ("confirmed", channel)
        fleet.move(key_slot(channel), source, target)
        assert await owner.next() == ("astray", b"")
        fleet.move(key_slot(channel), target, source)
        ear.listen_again()
        assert await owner.next() == ("confirmed", channel)


async def test_whoever_asked_to_be_let_go_is_not_astray(fleet: ShardedFleet) -> None:
    first, second = channel_at(fleet, 0), b"rt:{%b}:2" % channel_at(fleet, 0)[4:-1]
    async with listening(fleet.masters[0], first) as (ear, owner):
        assert await owner.next() == ("confirmed", first)
        ear.unlisten(first)
        ear.listen(second)
        assert await owner.next() == ("confirmed", second)
        ear.listen(first)
        assert await owner.next() == ("confirmed", first)
