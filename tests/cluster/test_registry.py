"""Reports of connections: each process counts its own; a killed one stops counting."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.brokers.redis.broker import RedisBroker
from realtime.client import CLIENTS
from realtime.cluster import registry
from realtime.cluster.master import NullListener
from realtime.cluster.registry import NodeInfo
from realtime.limits import Limits
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import reader

SECONDS = 20
REPORT = NodeInfo("127.0.0.1:6001", "box", "abc", 7, False, {"sse": 2}, {"聊天室": {"sse": 2}})


@pytest.fixture
async def broker(servers: Servers) -> AsyncIterator[RedisBroker]:
    broker = RedisBroker(servers.redis.url, Limits())
    await broker.start(NullListener())
    yield broker
    await broker.close()


async def report_of(broker: RedisBroker, server: Server) -> NodeInfo | None:
    found = [r for r in await registry.list_nodes(broker) if r.worker == f"127.0.0.1:{server.port}"]
    assert len(found) <= 1
    return found[0] if found else None


async def until(broker: RedisBroker, server: Server, readers: Any) -> NodeInfo:
    async with asyncio.timeout(SECONDS):
        while True:
            report = await report_of(broker, server)
            if report is not None and report.readers == readers:
                return report
            await asyncio.sleep(0.02)


async def test_a_process_counts_its_connections_and_readers_until_it_is_killed(
    servers: Servers, broker: RedisBroker, room: str
) -> None:
    with servers.make("redis") as server:
        async with AsyncExitStack() as stack:
            waiting = []
            for name in CLIENTS:
                for where in (room, room, f"{room}.聊天室"):
                    client = reader(server, name, where, after="now")
                    await stack.enter_async_context(client)
                    waiting.append(asyncio.ensure_future(client.receive()))
            follow = [name for name in CLIENTS if name != "short_polling"]
            report = await until(
                broker,
                server,
                {room: dict.fromkeys(follow, 2), f"{room}.聊天室": dict.fromkeys(follow, 1)},
            )
            assert {name: report.connections[name] for name in CLIENTS} == {
                **dict.fromkeys(CLIENTS, 3),
                "sockjs": 6,  # one for the session, one for the GET of /info
            }
            assert report.pid == server.process.pid
            server.kill()
            await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(SECONDS):  # until its lease ends
            while await report_of(broker, server) is not None:
                await asyncio.sleep(0.05)


async def test_a_process_that_stops_withdraws_its_report(
    servers: Servers, broker: RedisBroker
) -> None:
    with servers.make("redis") as server:
        await until(broker, server, {})
        server.stop()
        await server.ended()
        assert await report_of(broker, server) is None


# --- reports -------------------------------------------------------------------------------------


def test_a_report_is_parsed_as_it_was_encoded() -> None:
    assert NodeInfo.parse(REPORT.encode()) == REPORT


@each(
    "change",
    [
        {"pid": "7"},
        {"draining": None},
        {"worker": 6001},
        {"master": None},
        {"connections": {"sse": "2"}},
        {"connections": {"sse": True}},
        {"connections": []},
        {"readers": {"room": 3}},
        {"readers": {"room": {"sse": None}}},
        {"another": "field"},
    ],
)
def test_anything_but_a_report_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a report"):
        NodeInfo.parse(json.dumps({**json.loads(REPORT.encode()), **change}).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"{}", b"\xff"])
async def test_what_other_programs_left_in_the_hub_is_ignored(
    broker: RedisBroker, text: bytes
) -> None:
    await broker.report("other program", text, 60)
    await broker.report("box", REPORT.encode(), 60)
    assert REPORT in await registry.list_nodes(broker)
    for worker in ("other program", "box"):
        await broker.report(worker, b"", 0)


def test_totals_are_the_sums_of_all_reports() -> None:
    other = {"connections": {"sse": 1, "websocket": 4}, "readers": {"聊天室": {"websocket": 4}}}
    one = {"connections": REPORT.connections, "readers": REPORT.readers}
    assert registry.totals([one, other]) == {
        "connections": {"sse": 3, "websocket": 4},
        "readers": {"聊天室": {"sse": 2, "websocket": 4}},
    }
