"""Every byte on the wire is counted: the client, the server and a relay between them agree.

Each of the three counts in another place, with code of its own.
"""

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import StreamClosedError
from tornado.netutil import ssl_wrap_socket

from realtime.client import CLIENTS, ByteCount, get_json
from realtime.netem.proxy import Proxy
from realtime.server.config import ServerConfig
from realtime.server.sockets import load_tls
from realtime.server.stream import MeteredStream, MeteredTLSStream
from realtime.server.traffic import TrafficStats
from tests.conftest import SECONDS, Servers
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import LIBRARIES, OURS, reader, say, take

QUIET = ("--messages-per-second", "0", "--rooms", "100")

# The longest heartbeat of a stream, with its chunk.
HEARTBEAT = 64
every_transport = pytest.mark.parametrize("transport", CLIENTS)


@pytest.fixture
def quiet(servers: Servers) -> Server:
    """A server that only this test uses, so that its totals are ours."""
    return servers.get("memory", *QUIET)


async def traffic(server: Server, client: str | None = None) -> dict[str, dict[str, int]]:
    """The rows of `/wire`, without the one that counts this request itself."""
    response = await get_json(server.url, f"/wire?client={client}" if client else "/wire")
    rows: dict[str, dict[str, int]] = response["transports"]
    rows.pop("operations", None)
    return rows


def from_the_client(row: dict[str, int]) -> ByteCount:
    """Bytes in at the server are bytes out at the client."""
    return ByteCount(bytes_in=row["bytes_out"], bytes_out=row["bytes_in"])


def total(rows: dict[str, dict[str, int]]) -> Counter[str]:
    return sum(map(Counter, rows.values()), Counter())


@every_transport
async def test_client_server_and_relay_count_the_same_bytes(
    server: Server, room: str, transport: str
) -> None:
    me = f"client-{room}"
    async with (
        Proxy("127.0.0.1", server.port) as relay,
        reader(relay, transport, room, client=me) as client,
    ):
        await say(client, "hello", "聊" * 1000, "\0\n\u2028", "</script>")
        await take(client, 4)
        rows = await traffic(server, me)
        assert (client.bytes_out, client.bytes_in) == (relay.bytes_up, relay.bytes_down)
        assert total(rows)["bytes_in"] == relay.bytes_up
        assert total(rows)["bytes_out"] == relay.bytes_down
        assert total(rows)["connections"] == relay.connections
        if transport != "socketio":  # which closes its polls after the upgrade
            assert total(rows)["open"] == relay.connections
        # And separately: the events, and the posts.
        one_row = transport == "websocket" or transport in LIBRARIES
        expected = ByteCount(client.bytes_in, client.bytes_out) if one_row else client.down
        assert from_the_client(rows.pop(transport)) == expected
        assert [from_the_client(row) for row in rows.values()] == ([] if one_row else [client.up])


@every_transport
async def test_they_still_agree_after_the_client_has_closed(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    me = f"client-{room}"
    # A heartbeat finds out that a client has closed.
    server = servers.get(hub, "--messages-per-second", "0", "--heartbeat-seconds", "0.5")
    async with Proxy("127.0.0.1", server.port) as relay:
        async with reader(relay, transport, room, client=me) as client:
            await say(client, "hello")
            await take(client, 1)
        while total(await traffic(server, me))["open"]:
            await asyncio.sleep(0.05)  # the server has not noticed the close yet
        rows = total(await traffic(server, me))
    assert rows["bytes_in"] == relay.bytes_up == client.bytes_out
    # A heartbeat asks a client that has ended its side whether it still reads.
    assert 0 <= rows["bytes_out"] - client.bytes_in <= HEARTBEAT


@every_transport
async def test_events_and_requests_are_counted(server: Server, room: str, transport: str) -> None:
    me = f"client-{room}"
    async with AsyncExitStack() as stack:
        relay = Proxy("127.0.0.1", server.port, transcript=True)
        await stack.enter_async_context(relay)
        client = await stack.enter_async_context(reader(relay, transport, room, client=me))
        await say(client, *"12345")
        await take(client, 5)
        rows = await traffic(server, me)
        assert relay.transcript is not None
        up = b"".join(data for direction, data in relay.transcript if direction == "up")
        requests = up.count(b"GET /") + (up.count(b"POST /") if transport in LIBRARIES else 0)
    assert rows[transport]["events"] == 5
    # A poll sends one more request for an event that arrived late; a stream sends one.
    assert rows[transport]["requests"] == requests
    if transport in LIBRARIES:  # `/info` and an upgrade; three polls or more, a POST, an upgrade
        assert requests == 2 if transport == "sockjs" else requests >= 5
    else:
        assert requests >= 2 if transport.endswith("polling") else requests == 1
    if transport in OURS and transport != "websocket":
        assert (rows["messages"]["requests"], rows["messages"]["events"]) == (5, 0)


async def test_the_totals_are_the_sums_of_all_clients(quiet: Server, room: str) -> None:
    before = await traffic(quiet)
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Proxy("127.0.0.1", quiet.port))
        clients = [
            await stack.enter_async_context(reader(relay, transport, room)) for transport in CLIENTS
        ]
        for client in clients:
            await say(client, "hello", "again")
        for client in clients:
            await take(client, 2 * len(clients))
        after = await traffic(quiet)
        assert growth(before, after, "bytes_in") == relay.bytes_up
        assert growth(before, after, "bytes_out") == relay.bytes_down
        for client in clients:
            name = client.transport
            whole = ByteCount(client.bytes_in, client.bytes_out)
            assert grown(before, after, name) == (client.down if name in OURS else whole)
        ups = [client.up for client in clients if client.transport in OURS]
        assert grown(before, after, "messages") == ByteCount(
            sum(up.bytes_in for up in ups), sum(up.bytes_out for up in ups)
        )


Rows = dict[str, dict[str, int]]


def growth(before: Rows, after: Rows, what: str) -> int:
    return total(after)[what] - total(before)[what]


def grown(before: Rows, after: Rows, transport: str) -> ByteCount:
    was: dict[str, Any] = before.get(transport, {})
    rows = {what: after[transport][what] - was.get(what, 0) for what in ("bytes_in", "bytes_out")}
    return from_the_client(rows)


async def test_garbage_is_counted_as_other(quiet: Server) -> None:
    before = await traffic(quiet)
    garbage = b"SSH-2.0-hello\r\n\r\n"
    async with Raw(quiet) as raw:
        raw.send(garbage)
        response = await raw.rest()
    assert grown(before, await traffic(quiet), "other") == ByteCount(len(response), len(garbage))


async def test_a_connection_of_two_clients_is_counted_for_each(server: Server, room: str) -> None:
    paths = [
        f"/rooms/{room}/{transport}?client={room}-{client}&wait=0"
        for client in ("one", "two")
        for transport in ("short_polling", "long_polling", "short_polling")
    ]
    expected: Counter[tuple[str, str, str]] = Counter()
    async with Raw(server) as raw:
        for path in paths:
            request = f"GET {path} HTTP/1.1\r\nHost: x.localhost\r\n\r\n".encode()
            raw.send(request)
            response = await raw.until(b"]}")
            client, transport = path.split("client=")[1].split("&")[0], path.split("/")[3][:5]
            expected[client, transport, "bytes_in"] += len(request)
            expected[client, transport, "bytes_out"] += len(response)
            expected[client, transport, "requests"] += 1
        for client in (f"{room}-one", f"{room}-two"):
            for transport, row in (await traffic(server, client)).items():
                for what in ("bytes_in", "bytes_out", "requests"):
                    assert row[what] == expected[client, transport[:5], what]


async def test_a_waiting_poll_is_counted_before_its_response(server: Server, room: str) -> None:
    me = f"client-{room}"
    path = f"/rooms/{room}/long_polling?wait=60&client={me}"
    async with Raw(server) as raw:
        raw.ask(path)
        while not (rows := await traffic(server, me)):
            await asyncio.sleep(0.01)
    sent = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
    assert rows["long_polling"]["bytes_in"] == len(sent)
    assert (rows["long_polling"]["requests"], rows["long_polling"]["bytes_out"]) == (1, 0)


async def test_an_unknown_client_has_no_rows(server: Server) -> None:
    assert await traffic(server, "nobody-ever") == {}


# --- timeouts and pushes -------------------------------------------------------------------------


@pytest.fixture
async def pair() -> AsyncIterator[tuple[MeteredStream, socket.socket]]:
    """A stream and the other end of its connection."""
    ours, theirs = socket.socketpair()
    stream = MeteredStream(ours, "here", TrafficStats())
    yield stream, theirs
    stream.close()
    theirs.close()


async def test_a_stream_is_stalled_since_its_last_progress(
    pair: tuple[MeteredStream, socket.socket],
) -> None:
    stream, other = pair
    assert stream.write_stalled_seconds(1) == 0  # nothing is pending
    assert stream.push(b"x" * 1_000_000, 1)  # far more than the kernel accepts
    assert stream.write_stalled_seconds(2) == 0  # it has made progress since the last check
    assert stream.write_stalled_seconds(5) == 3
    before = stream.bytes_out
    while stream.bytes_out == before:
        other.recv(65_536)
        await asyncio.sleep(0)
    assert stream.write_stalled_seconds(6) == 0
    assert stream.write_stalled_seconds(8) == 2


async def test_a_push_does_not_overtake_a_pending_write(
    pair: tuple[MeteredStream, socket.socket],
) -> None:
    stream, other = pair
    drained: list[bool] = []
    stream.drained = lambda: drained.append(True)
    assert stream.push(b"1", 1)
    stream.write(b"2" * 1_000_000)  # far more than the kernel accepts
    assert not stream.push(b"3", 1)
    assert not stream.push(b"4", 1)
    received = b""
    while not drained:
        received += other.recv(65_536)
        await asyncio.sleep(0)
    assert stream.push(b"5", 1)
    while not received.endswith(b"5"):
        received += other.recv(65_536)
    assert received == b"1" + b"2" * 1_000_000 + b"5"
    assert (len(drained), stream.events) == (1, 2)


def tls_pair(certificate: Path) -> tuple[MeteredTLSStream, socket.socket, ssl.SSLContext]:
    """A stream of the server before its handshake, the client's socket, and a client's context."""
    tls = load_tls(ServerConfig(tls_certificate=str(certificate)))
    assert tls is not None
    ours, theirs = socket.socketpair()
    secured = ssl_wrap_socket(ours, tls, server_side=True, do_handshake_on_connect=False)
    stream = MeteredTLSStream(secured, "here", TrafficStats())
    return stream, theirs, ssl.create_default_context(cafile=str(certificate))


async def test_over_tls_a_push_that_the_client_does_not_accept_at_once_arrives_whole(
    servers: Servers,
) -> None:
    stream, theirs, trusting = tls_pair(servers.certificate)

    def read_after_a_request(count: int) -> bytes:
        with trusting.wrap_socket(theirs, server_hostname="localhost") as client:
            client.sendall(b"?")
            asked.wait(SECONDS)
            received = b""
            while len(received) < count:
                received += client.recv(65_536)
            return received

    asked = threading.Event()
    large = b"1" * 3_000_000  # far more than the kernel accepts, in many records
    reading = asyncio.ensure_future(asyncio.to_thread(read_after_a_request, len(large) + 2))
    assert await stream.read_once() == b"?"
    assert stream.push(b"0", 1)
    assert stream.push(large, 1)
    assert not stream.push(b"x", 1)
    drained = asyncio.Event()
    stream.drained = drained.set
    asked.set()
    await drained.wait()
    assert stream.push(b"2", 1)
    assert await reading == b"0" + large + b"2"
    assert (stream.bytes_out, stream.events) == (len(large) + 2, 3)
    stream.close()


async def test_over_tls_a_request_may_arrive_byte_by_byte(servers: Servers) -> None:
    stream, theirs, trusting = tls_pair(servers.certificate)
    theirs.setblocking(False)
    arrived, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(arrived, sent, server_hostname="localhost")
    loop = asyncio.get_running_loop()

    async def shake_hands() -> None:
        while True:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(theirs, sent.read())
                arrived.write(await loop.sock_recv(theirs, 65_536))
            else:
                return

    reading = asyncio.ensure_future(stream.read_once())
    await shake_hands()
    for request in (b"first", b"second"):  # Tornado reads the first, after its handshake
        client.write(request)
        for byte in sent.read():
            assert not reading.done()
            theirs.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await reading == request
        reading = asyncio.ensure_future(stream.read_once())
    theirs.close()
    with pytest.raises(StreamClosedError):
        await reading


async def test_a_request_is_being_read_since_its_first_byte(
    pair: tuple[MeteredStream, socket.socket],
) -> None:
    stream, other = pair
    assert stream.request_read_seconds(1) == 0  # nothing has arrived
    await read_one(stream, other)
    assert stream.request_read_seconds(2) == 1
    assert stream.request_read_seconds(5) == 4
    stream.begin_request("sse", None)
    assert stream.request_read_seconds(9) == 0  # it is known, and its response can take any time
    stream.end_request()
    assert stream.request_read_seconds(10) == 0
    await read_one(stream, other)
    assert stream.request_read_seconds(12) == 2


async def test_each_request_has_its_own_read_time(
    pair: tuple[MeteredStream, socket.socket],
) -> None:
    stream, other = pair
    start = asyncio.get_running_loop().time()
    assert stream.request_read_seconds(start) == 0
    for check in range(1, 10):  # at each check, a part of another request has arrived
        await read_one(stream, other)
        assert stream.request_read_seconds(start + check) <= 1
        stream.begin_request("messages", None)
        stream.end_request()


async def read_one(stream: MeteredStream, other: socket.socket) -> None:
    other.send(b"G")
    assert await stream.read_bytes(1) == b"G"
