"""How long a connection may take its time: requests that do not end, answers nobody takes."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from benchmarks.clients import CLIENTS, Closed, get_json, post
from realtime.limits import Limits
from realtime.server.connection import Router
from realtime.server.server import Server as TCPServer
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts

# So short that a test can see the end of patience.
IMPATIENT = ("--request-seconds", "0.3", "--idle-seconds", "1", "--write-deadline-seconds", "0.5")


@pytest.fixture
def impatient(servers: Servers) -> Server:
    return servers.get("memory", *IMPATIENT)


class Endless(RequestHandler):
    def get(self) -> None:
        self.write(b"x" * 10_000_000)


def site(limits: Limits) -> Router:
    """One that has no rooms, and one page without an end."""
    services = Services(SimpleNamespace(closing=False), None, None, None, limits)  # type: ignore[arg-type]
    return Router(services, {}, Application([("/", Endless)]))


async def test_every_connection_is_bounded_in_what_the_kernel_holds_and_waits_for() -> None:
    limits, traffic = Limits(write_deadline_seconds=7), TrafficStats()
    server = TCPServer(site(limits), traffic=traffic, limits=limits)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    _, writer = await asyncio.open_connection(*sockets[0].getsockname())
    async with asyncio.timeout(10):
        while not traffic.streams:
            await asyncio.sleep(0)
    (stream,) = traffic.streams
    option = stream.socket.getsockopt
    # The kernel doubles what it is told, for its own books (socket(7)).
    assert option(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * limits.send_buffer_bytes
    assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_nagle_stays_off_whoever_answers() -> None:
    """Tornado turns it on again after each answer: 40 ms for whatever is pushed next."""
    limits, traffic = Limits(), TrafficStats()
    server = TCPServer(site(limits), traffic=traffic, limits=limits)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    data, writer = await asyncio.open_connection(*sockets[0].getsockname())
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        await data.readuntil(b"\r\n\r\n")
    (stream,) = traffic.streams
    assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_who_takes_nothing_is_closed_where_the_kernel_would_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    traffic, limits = TrafficStats(), Limits(write_deadline_seconds=0.1)
    server = TCPServer(site(limits), traffic=traffic, limits=limits)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    server.start_timeouts()
    with socket.socket() as idle:
        idle.connect(sockets[0].getsockname())
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            while not traffic.streams:
                await asyncio.sleep(0)
            while traffic.streams:
                await asyncio.sleep(0.01)
    await server.close()


@pytest.mark.parametrize(
    "part",
    [
        b"G",
        b"GET /rooms/lobby/sse HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"POST /rooms/lobby/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
    ],
)
async def test_a_request_that_does_not_come_to_its_end_is_told_too_slow(
    impatient: Server, part: bytes
) -> None:
    async with Raw(impatient) as raw:
        raw.send(part)
        answer = await raw.rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(body)["error"]["code"] == "too_slow"


async def test_the_second_request_of_a_connection_has_as_long_as_the_first(
    impatient: Server,
) -> None:
    async with Raw(impatient) as raw:
        raw.ask("/healthz")
        await raw.body(await raw.head())
        raw.send(b"GET /healthz HTTP/1.1\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_asks_nothing_is_closed(impatient: Server) -> None:
    async with Raw(impatient) as raw:
        assert await raw.rest() == b""


async def test_many_requests_on_one_connection_are_each_in_time(
    impatient: Server, room: str
) -> None:
    async with reader(impatient, "websocket", room) as client:
        for _ in range(20):
            await say_in(impatient, room, *"ab")
            await asyncio.sleep(0.05)  # in all, longer than one may take
        assert len(await take(client, 40)) == 40


@pytest.mark.parametrize("transport", ["long_polling", "sse", "websocket"])
async def test_waiting_is_not_being_slow(impatient: Server, room: str, transport: str) -> None:
    async with reader(impatient, transport, room, after="now") as client:
        waiting = asyncio.create_task(client.receive())
        await asyncio.sleep(1.5)  # longer than any of its limits
        await say_in(impatient, room, "hello")
        assert (await waiting)["text"] == "hello"


async def test_a_poll_that_does_not_take_its_answer_is_closed(impatient: Server, room: str) -> None:
    for _ in range(20):
        assert (await post(impatient.url, room, text="\0" * 2500)).status == 201
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", impatient.port))
        question = (
            f"GET /rooms/{room}/short_polling?client=idle HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        idle.sendall(question.encode())
        async with asyncio.timeout(10):
            while True:
                books = (await get_json(impatient.url, "/wire?client=idle"))["transports"]
                if books and books["short_polling"]["open"] == 0:
                    break
                await asyncio.sleep(0.01)
        assert 0 < books["short_polling"]["bytes_out"] < 20 * 2500 * 6


async def test_a_websocket_that_answers_no_ping_is_closed(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.2")
    async with reader(server, "websocket", room, client="deaf") as client:
        async with asyncio.timeout(10):  # it does not read, and so does not answer
            while (await get_json(server.url, "/wire?client=deaf"))["transports"]["websocket"][
                "open"
            ]:
                await asyncio.sleep(0.01)
        with pytest.raises(Closed):
            await client.receive()


async def test_every_stream_is_kept_while_its_heartbeats_are_taken(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.1", "--write-deadline-seconds", "0.5")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(reader(server, transport, room, after="now"))
            for transport in CLIENTS
        ]
        heard = [asyncio.create_task(client.receive()) for client in clients]
        await asyncio.sleep(1)  # longer than the deadline
        await say_in(server, room, "hello")
        assert texts(await asyncio.gather(*heard)) == ["hello"] * len(CLIENTS)
