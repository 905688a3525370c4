"""What haproxy does with a worker that drains, a hub that is down, and clients that stop."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from realtime.client import CLIENTS, get_json, post, request
from realtime.cluster.proxy_config import ROUTINGS
from tests.cases import each
from tests.conftest import Redis
from tests.haproxy_fixture import HAProxy
from tests.nginx_fixture import Fleet
from tests.proxy_fixture import ReverseProxy
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, until_waiting

SECONDS = 20.0
# Longer than a test: only its health check moves clients away from a worker that drains.
SLOW_DRAIN = ("--drain-seconds", "60", "--messages-per-second", "0")
LONG = "x" * 4000


async def until_logged(proxy: ReverseProxy, text: str) -> None:
    async with asyncio.timeout(SECONDS):
        while text not in proxy.read_log():
            await asyncio.sleep(0.05)


async def streams_open(worker: Server) -> int:
    return int((await get_json(worker.url, "/wire"))["transports"]["sse"]["open"])


async def test_a_worker_that_drains_gets_no_new_client(redis: Redis, room: str) -> None:
    with Fleet(redis.url, *SLOW_DRAIN, kind=HAProxy) as fleet:
        leaving, staying = fleet.workers
        leaving.stop(signal.SIGTERM)
        await until_logged(fleet.proxy, "Server workers/worker_1 is DOWN")
        async with AsyncExitStack() as stack:
            for _ in range(4):
                await stack.enter_async_context(reader(fleet, "sse", room))  # type: ignore[arg-type]
            assert await streams_open(staying) == 4
        leaving.stop(signal.SIGTERM)  # a second signal: at once


async def test_without_a_hub_the_workers_answer_in_spite_of_it(tmp_path: Path, room: str) -> None:
    redis = Redis(tmp_path)
    with Fleet(redis.url, kind=HAProxy) as fleet:
        redis.stop()
        for number in (1, 2):
            await until_logged(fleet.proxy, f"Server workers/worker_{number} is DOWN")
        assert (await request(fleet.url, "GET", "/healthz")).status == 200
        refused = await post(fleet.url, room, text="hello")
        assert (refused.status, refused.json()["error"]["code"]) == (503, "no_broker")


@pytest.fixture(scope="module")
def fleet(redis: Redis) -> Iterator[Fleet]:
    with Fleet(redis.url, "--messages-per-second", "0", count=1, kind=HAProxy) as fleet:
        yield fleet


async def test_a_long_poll_of_a_client_that_left_ends_at_the_worker(
    fleet: Fleet, room: str
) -> None:
    async with Raw(fleet) as raw:
        raw.ask(f"/rooms/{room}/long_polling?after=now&wait=60")
        await until_waiting(fleet.workers[0], 1)
    await until_waiting(fleet.workers[0], 0)


async def test_a_worker_notices_a_reader_that_stops(fleet: Fleet, room: str) -> None:
    """What was sent to it is in buffers of a known size, and not in those of haproxy."""
    worker = fleet.workers[0]
    async with Raw(fleet) as raw:
        raw.ask(f"/rooms/{room}/fetch_streaming?after=now")
        await raw.until(b"\r\n\r\n")
        async with CLIENTS["websocket"](worker.url, room) as publisher:
            for _ in range(500):
                await publisher.send(LONG)
        sent = (await get_json(worker.url, "/wire"))["transports"]["fetch_streaming"]["bytes_out"]
    assert sent < 250 * len(LONG)


async def test_its_own_errors_have_the_format_of_the_api(fleet: Fleet) -> None:
    async def ask(head: bytes) -> tuple[int, str]:
        async with Raw(fleet) as raw:
            raw.send(head)
            answer = await raw.rest()
        status, body = answer.split(b" ")[1], answer.partition(b"\r\n\r\n")[2]
        return int(status), json.loads(body)["error"]["code"]

    close = b"Host: localhost\r\nConnection: close\r\n\r\n"
    assert await ask(b"GET /metrics HTTP/1.1\r\n" + close) == (404, "not_found")


@each("routing", ROUTINGS)
async def test_below_a_path_nothing_else_reaches_the_workers(
    fleet: Fleet, routing: str, room: str
) -> None:
    worker = fleet.workers[0]
    options = {"routing": routing, "root_path": "/a.b/chat"}
    with HAProxy([f"127.0.0.1:{worker.port}"], **options) as haproxy:
        for path in ("/", "/healthz", "/a.b/chats", "/axb/chat/healthz", "/a.b/chat/metrics"):
            assert (await request(haproxy.url, "GET", path)).status == 404, path


async def test_sessions_below_a_path_reach_their_worker(redis: Redis, room: str) -> None:
    root = "/a/chat"
    options = {"kind": HAProxy, "routing": "session", "root_path": root}
    with Fleet(redis.url, "--root-path", root, **options) as fleet:
        for number in range(6):
            session = f"{root}/sockjs/000/{room}{number}"
            assert (await request(fleet.url, "POST", f"{session}/xhr")).body == b"o\n"
            assert (await request(fleet.url, "POST", f"{session}/xhr_send", b'["x"]')).status == 204
            path = f"{root}/socket.io/?EIO=4&transport=polling&roomid={room}"
            sid = json.loads((await request(fleet.url, "GET", path)).body[1:])["sid"]
            assert (await request(fleet.url, "POST", f"{path}&sid={sid}", b"40")).body == b"ok"
