"""The pub/sub connection on real servers: one that hangs, and a Cluster where slots move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio.connection import Connection
from redis.crc import key_slot
from redis.exceptions import MovedError

from realtime.brokers.redis import pubsub as module
from realtime.brokers.redis.broker import RedisBroker
from realtime.brokers.redis.keys import Keys
from realtime.brokers.redis.pubsub import PubSubConnection
from realtime.limits import Limits
from realtime.tasks import Supervisor
from tests.brokers.conftest import SECONDS, Start, draft
from tests.brokers.private_redis import PrivateRedis
from tests.brokers.topologies import ClusterDeployment, Node

# --- a connection that hangs ---------------------------------------------------------------------


class HangingProxy:
    """Forwards to a Redis, and can drop everything that its subscribers receive."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._connections: list[dict[str, bool]] = []

    def hang(self) -> None:
        """Deliver nothing more to the connected subscribers; new connections work."""
        for state in self._connections:
            state["hangs"] = state["subscribes"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = {"subscribes": False, "hangs": False}
        self._connections.append(state)
        redis_reader, redis_writer = await asyncio.open_unix_connection(self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._to_redis(reader, redis_writer, state))
                group.create_task(self._from_redis(redis_reader, writer, state))
        finally:
            redis_writer.close()
            writer.close()

    async def _to_redis(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: dict[str, bool]
    ) -> None:
        while data := await reader.read(65536):
            state["subscribes"] = state["subscribes"] or b"SUBSCRIBE" in data
            writer.write(data)
        writer.close()

    async def _from_redis(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: dict[str, bool]
    ) -> None:
        while data := await reader.read(65536):
            if not state["hangs"]:
                writer.write(data)
        writer.close()


@asynccontextmanager
async def proxy_to(redis: PrivateRedis, path: Path) -> AsyncIterator[HangingProxy]:
    proxy = HangingProxy(redis.path)
    async with await asyncio.start_unix_server(proxy.serve, path):
        yield proxy


async def test_a_connection_that_hangs_is_detected_and_replaced(
    redis: PrivateRedis,
    start: Start,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.1)
    path = Path(redis.path + ".proxy")
    async with proxy_to(redis, path) as proxy:
        process = await start(RedisBroker(f"unix://{path}", Limits()))
        await process.listen(room)
        proxy.hang()
        await process.broker.publish(draft(room, "dropped"))
        await process.listener.subscribed(room, times=2)
        receipt = await process.broker.publish(draft(room, "delivered"))
        events = await process.listener.received(room, 1)
        assert [event.cursor for event in events] == [receipt.cursor]
        await process.broker.close()


# --- slots that move -----------------------------------------------------------------------------


class Recorder:
    """Records the calls of a pub/sub connection, in their order."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def on_message(self, channel: bytes, payload: bytes) -> None:
        self._calls.put_nowait((f"message {payload.decode()}", channel))

    def on_subscribed(self, channel: bytes) -> None:
        self._calls.put_nowait(("subscribed", channel))

    def on_moved(self, error: MovedError | None) -> None:
        self._calls.put_nowait((f"{error.slot_id} is at {error.port}" if error else "moved", b""))

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(SECONDS):
            return await self._calls.get()


@asynccontextmanager
async def subscribed(
    node: Node, *channels: bytes
) -> AsyncIterator[tuple[PubSubConnection, Recorder]]:
    async def no_probe(channel: bytes) -> None:
        """Publish nothing: every test ends before the first probe."""

    def connect() -> Connection:
        return Connection(port=node.port, protocol=2)

    supervisor, recorder = Supervisor(), Recorder()
    pubsub = PubSubConnection(connect, b"S", Keys("rt", 0), no_probe, SECONDS, supervisor)
    for channel in channels:
        pubsub.subscribe(channel)
    supervisor.supervise("listen", lambda: pubsub.run(recorder))
    yield pubsub, recorder
    await supervisor.close()


def channel_at(number: int) -> bytes:
    """Return a channel of one of the three masters, each of which has a third of the slots."""
    channels = (b"rt:{%d}" % one for one in range(1000))
    return next(one for one in channels if key_slot(one) * 3 // 16384 == number)


async def test_in_a_cluster_channels_are_sharded(cluster: ClusterDeployment) -> None:
    node, channel = cluster.masters[1], channel_at(1)
    async with subscribed(node, channel) as (_, recorder):
        assert await recorder.next() == ("subscribed", channel)
        with node.admin as admin:
            assert admin.execute_command("SPUBLISH", channel, "hello") == 1
            assert admin.pubsub_numpat() == 0
            assert channel.decode() not in admin.pubsub_channels()
        assert await recorder.next() == ("message hello", channel)


async def test_a_channel_of_another_server_is_reported_and_the_others_are_subscribed(
    cluster: ClusterDeployment,
) -> None:
    elsewhere, here = channel_at(2), channel_at(0)
    async with subscribed(cluster.masters[0], elsewhere, here) as (_, recorder):
        calls = {await recorder.next(), await recorder.next()}
        redirect = f"{key_slot(elsewhere)} is at {cluster.masters[2].port}"
        assert calls == {(redirect, b""), ("subscribed", here)}


async def test_a_channel_whose_slot_moves_is_reported_and_subscribed_when_it_is_back(
    cluster: ClusterDeployment,
) -> None:
    channel = channel_at(0)
    source, target = cluster.masters[0], cluster.masters[1]
    async with subscribed(source, channel) as (pubsub, recorder):
        assert await recorder.next() == ("subscribed", channel)
        cluster.move_slot(key_slot(channel), source, target)
        assert await recorder.next() == ("moved", b"")
        cluster.move_slot(key_slot(channel), target, source)
        pubsub.resubscribe()
        assert await recorder.next() == ("subscribed", channel)


async def test_a_requested_unsubscribe_is_not_a_move(cluster: ClusterDeployment) -> None:
    first, second = channel_at(0), b"rt:{%b}:2" % channel_at(0)[4:-1]
    async with subscribed(cluster.masters[0], first) as (pubsub, recorder):
        assert await recorder.next() == ("subscribed", first)
        pubsub.unsubscribe(first)
        pubsub.subscribe(second)
        assert await recorder.next() == ("subscribed", second)
        pubsub.subscribe(first)
        assert await recorder.next() == ("subscribed", first)
