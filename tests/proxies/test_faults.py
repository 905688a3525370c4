"""Faults behind a proxy, or in it: readers continue from their cursors, and nothing is lost."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from realtime.client import CLIENTS, request
from tests.conftest import Redis
from tests.fake_server import FakeServer
from tests.faults.harness import SECONDS, Scenario
from tests.nginx_fixture import Fleet
from tests.proxy_fixture import ReverseProxy
from tests.transports.raw import Raw

QUICK = ("--messages-per-second", "0", "--drain-seconds", "0.5")
STREAMS = [name for name in CLIENTS if not name.endswith("polling")]


@pytest.mark.parametrize("by", ["SIGTERM", "SIGKILL"])
async def test_workers_replaced_under_load_cost_no_message(
    kind: type[ReverseProxy], redis: Redis, room: str, by: str
) -> None:
    with Fleet(redis.url, *QUICK, kind=kind, routing="session") as fleet:
        async with Scenario([fleet.url] * 2, room) as scene:
            async with scene.load():
                for victim in fleet.workers:
                    await scene.more(40)
                    if by == "SIGTERM":
                        victim.stop(signal.SIGTERM)
                    else:
                        victim.kill()
                    await victim.ended()
                    await asyncio.to_thread(fleet.restart, victim)
                await scene.more(40)
            audit = await scene.audit()
            returns = sum(reader.reconnects for reader in scene.readers.values())
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert returns > 0


async def until_cut(scene: Scenario, names: list[str], times: int) -> None:
    """Return when each of these readers had to reconnect that often."""
    async with asyncio.timeout(SECONDS):
        while any(scene.readers[f"{name} 0"].reconnects < times for name in names):
            await asyncio.sleep(0.02)


async def test_streams_that_nginx_closes_as_idle_continue_from_their_cursors(
    redis: Redis, room: str
) -> None:
    with Fleet(redis.url, *QUICK, routing="session", read_seconds=1) as fleet:
        async with Scenario([fleet.url], room) as scene:
            await until_cut(scene, [*STREAMS, "long_polling"], 1)
            await scene.publishers[0].publish("hello")
            audit = await scene.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_heartbeats_keep_streams_open(redis: Redis, room: str) -> None:
    options = (*QUICK, "--heartbeat-seconds", "0.4")
    with Fleet(redis.url, *options, routing="session", read_seconds=1) as fleet:
        async with Scenario([fleet.url], room) as scene:
            # A poll with a longer `wait` is closed, after nginx has tried the other worker as well.
            await until_cut(scene, ["long_polling"], 1)
            assert not any(scene.readers[f"{name} 0"].reconnects for name in STREAMS)
            audit = await scene.audit()
    assert audit.clean, audit


# --- the next worker -----------------------------------------------------------------------------


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request, and close without a response, like a process that is killed."""
    heads.append(await reader.readuntil(b"\r\n\r\n"))


heads: list[bytes] = []
NO_WORKER = b'{"error":{"code":"busy","message":"No worker responds; try again."}}'


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_next_worker_is_tried_for_a_get_and_a_post_is_never_repeated(
    kind: type[ReverseProxy], method: str
) -> None:
    heads.clear()
    async with FakeServer(hang_up) as one, FakeServer(hang_up) as other:
        with kind([f"127.0.0.1:{peer.port}" for peer in (one, other)]) as proxy:
            response = await request(proxy.url, method, "/rooms/a/b", b"")
    attempts = [head for head in heads if b"/rooms/a/b" in head]  # haproxy asks for /readyz, too
    assert (len(attempts) > 1) == (method == "GET")
    # The client gets the error format of the API.
    assert response.status in (502, 503)
    assert response.head.fields["retry-after"] == "1"
    assert response.head.fields["content-type"] == "application/json"
    assert response.body == NO_WORKER


async def test_after_a_restart_of_all_workers_every_stream_opens_at_once(
    kind: type[ReverseProxy],
) -> None:
    accepting = asyncio.Event()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if accepting.is_set():
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await reader.read()  # a stream: it ends when the proxy closes the connection

    async def status(raw: Raw) -> int:
        raw.ask("/rooms/a/sse")
        return int((await raw.until(b"\r\n\r\n")).split(b" ")[1])

    async with FakeServer(respond) as one, FakeServer(respond) as other, AsyncExitStack() as stack:
        addresses = [f"127.0.0.1:{peer.port}" for peer in (one, other)]
        proxy = stack.enter_context(kind(addresses))
        for _ in range(100):  # clients try again while both restart
            async with Raw(proxy) as raw:
                assert await status(raw) in (502, 503)
        accepting.set()
        for _ in range(8):
            raw = await stack.enter_async_context(Raw(proxy))
            assert await status(raw) == 200


# haproxy forwards no handshake without a key (RFC 6455 §4.1).
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request, and respond without a body."""
    heads.append(await reader.readuntil(b"\r\n\r\n"))
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


async def test_a_worker_gets_the_headers_that_the_comments_explain(
    kind: type[ReverseProxy],
) -> None:
    heads.clear()
    async with FakeServer(accept) as one:
        with kind([f"127.0.0.1:{one.port}"]) as proxy:
            async with Raw(proxy) as raw:
                raw.ask("/rooms/%E8%81%8A/sse?a=%2F", "X-Forwarded-For: 198.51.100.1", "X-A: b")
                await raw.until(b"\r\n\r\n")
            async with Raw(proxy) as raw:
                raw.ask("/rooms/a/websocket", "Connection: Upgrade", "Upgrade: websocket", KEY)
                await raw.until(b"\r\n\r\n")
    plain, upgrade = (head.decode().split("\r\n") for head in heads if b"/rooms/" in head)
    common = [f"host: 127.0.0.1:{proxy.port}", "x-forwarded-for: 127.0.0.1"]
    assert plain[0] == "GET /rooms/%E8%81%8A/sse?a=%2F HTTP/1.1"
    assert fields_of(plain) == {*common, "x-a: b"}
    assert upgrade[0] == "GET /rooms/a/websocket HTTP/1.1"
    assert fields_of(upgrade) == {
        *common,
        *("connection: upgrade", "upgrade: websocket", KEY.lower()),
    }


def fields_of(head: list[str]) -> set[str]:
    """The header fields in lower case: haproxy sends names as HTTP/2 does."""
    lines = [line.lower() for line in head[1:] if line]
    assert len(lines) == len(set(lines))  # an X-Forwarded-For is replaced, not repeated
    return set(lines)


async def test_without_files_nginx_lets_clients_wait_and_recovers(redis: Redis) -> None:
    with Fleet(redis.url, count=1, open_files=64) as fleet:
        async with AsyncExitStack() as stack:
            for _ in range(300):
                await stack.enter_async_context(Raw(fleet))
        async with Raw(fleet) as raw:
            raw.ask("/healthz", "Connection: close")
            assert b" 200 " in await raw.rest()
    # A line for each second in which a process of nginx has no file, and few for one that starts.
    assert fleet.proxy.log.count("accept4() failed") < 50
    assert "worker_connections are not enough" not in fleet.proxy.log
