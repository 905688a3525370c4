"""Timeouts of connections: incomplete requests, idle connections, responses that nobody reads."""

import asyncio
import json
import socket
import ssl
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from realtime.client import CLIENTS, get_json, post
from realtime.limits import Limits
from realtime.server.connection import Router
from realtime.server.server import Server as TCPServer
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts

# So short that a test can wait for each timeout.
SHORT = ("--request-seconds", "0.3", "--idle-seconds", "1", "--write-deadline-seconds", "0.5")


@pytest.fixture
def short_timeouts(servers: Servers) -> Server:
    return servers.get("memory", *SHORT)


class Endless(RequestHandler):
    def get(self) -> None:
        self.write(b"x" * 10_000_000)


def router(limits: Limits) -> Router:
    """No rooms, and one page that never ends."""
    services = Services(SimpleNamespace(closing=False), None, None, None, limits)  # type: ignore[arg-type]
    return Router(services, {}, Application([("/", Endless)]))


async def test_every_connection_has_a_bounded_send_buffer_and_a_tcp_timeout() -> None:
    limits, traffic = Limits(write_deadline_seconds=7), TrafficStats()
    server = TCPServer(router(limits), traffic=traffic, limits=limits)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    _, writer = await asyncio.open_connection(*sockets[0].getsockname())
    async with asyncio.timeout(10):
        while not traffic.streams:
            await asyncio.sleep(0)
    (stream,) = traffic.streams
    option = stream.socket.getsockopt
    # The kernel doubles the value, for its own bookkeeping (socket(7)).
    assert option(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * limits.send_buffer_bytes
    assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_nagle_stays_off_after_a_response_of_tornado() -> None:
    """Tornado turns it on after each response, which delays the next push by 40 ms."""
    limits, traffic = Limits(), TrafficStats()
    server = TCPServer(router(limits), traffic=traffic, limits=limits)
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


async def test_a_stalled_reader_is_closed_without_tcp_user_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    traffic, limits = TrafficStats(), Limits(write_deadline_seconds=0.1)
    server = TCPServer(router(limits), traffic=traffic, limits=limits)
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
async def test_an_incomplete_request_is_rejected_as_too_slow(
    short_timeouts: Server, part: bytes
) -> None:
    async with Raw(short_timeouts) as raw:
        raw.send(part)
        response = await raw.rest()
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(body)["error"]["code"] == "too_slow"


async def test_the_second_request_of_a_connection_has_the_same_timeout(
    short_timeouts: Server,
) -> None:
    async with Raw(short_timeouts) as raw:
        raw.ask("/healthz")
        await raw.body(await raw.head())
        raw.send(b"GET /healthz HTTP/1.1\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed(short_timeouts: Server) -> None:
    async with Raw(short_timeouts) as raw:
        assert await raw.rest() == b""


async def test_each_request_on_a_connection_has_its_own_timeout(
    short_timeouts: Server, room: str
) -> None:
    async with reader(short_timeouts, "websocket", room) as client:
        for _ in range(20):
            await say_in(short_timeouts, room, *"ab")
            await asyncio.sleep(0.05)  # in total, longer than one request can take
        assert len(await take(client, 40)) == 40


@pytest.mark.parametrize("transport", ["long_polling", "sse", "websocket"])
async def test_a_waiting_reader_is_not_timed_out(
    short_timeouts: Server, room: str, transport: str
) -> None:
    async with reader(short_timeouts, transport, room, after="now") as client:
        waiting = asyncio.create_task(client.receive())
        await asyncio.sleep(1.2)  # longer than each of its timeouts
        await say_in(short_timeouts, room, "hello")
        assert (await waiting)["text"] == "hello"


async def test_a_poll_that_does_not_read_its_response_is_closed(
    short_timeouts: Server, room: str
) -> None:
    for _ in range(20):
        assert (await post(short_timeouts.url, room, text="\0" * 2500)).status == 201
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", short_timeouts.port))
        request = f"GET /rooms/{room}/short_polling?client=idle HTTP/1.1\r\nHost: localhost\r\n\r\n"
        idle.sendall(request.encode())
        async with asyncio.timeout(10):
            while True:
                rows = (await get_json(short_timeouts.url, "/wire?client=idle"))["transports"]
                if rows and rows["short_polling"]["open"] == 0:
                    break
                await asyncio.sleep(0.01)
        assert 0 < rows["short_polling"]["bytes_out"] < 20 * 2500 * 6


async def test_every_stream_stays_open_while_it_reads_heartbeats(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.5", "--write-deadline-seconds", "1")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(reader(server, transport, room, after="now"))
            for transport in CLIENTS
        ]
        received = [asyncio.create_task(client.receive()) for client in clients]
        await asyncio.sleep(1.5)  # longer than the deadline
        await say_in(server, room, "hello")
        assert texts(await asyncio.gather(*received)) == ["hello"] * len(CLIENTS)


# --- TLS -----------------------------------------------------------------------------------------


def test_a_second_tls_handshake_resumes_the_session_of_the_first(servers: Servers) -> None:
    server = servers.get("tls")
    context = ssl.create_default_context(cafile=str(servers.certificate))
    session, resumed = None, []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", server.port)) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1", session=session) as tls,
        ):
            tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            # The session tickets arrive before the response (RFC 8446 §4.6.1).
            assert tls.recv(1000).startswith(b"HTTP/1.1 200")
            assert tls.version() == "TLSv1.3"
            session = tls.session
            resumed.append(tls.session_reused)
    assert resumed == [False, True]
