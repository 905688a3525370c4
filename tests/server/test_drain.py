"""SIGTERM: clients are sent to other servers, as each transport can, and nothing is lost."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from realtime.client import CLIENTS, Client, Closed, Refused, get_json, post, request
from tests.conftest import Servers
from tests.robustness.frames import CLOSE, Peer, frame, frames_in
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts, until_waiting

SECONDS = 20


# So long that only a second signal ends the drain.
DRAIN_LONG = ("--drain-seconds", "600")


async def start_draining(server: Server) -> None:
    server.stop(signal.SIGTERM)
    async with asyncio.timeout(SECONDS):
        while (await request(server.url, "GET", "/readyz")).status == 200:
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def draining(servers: Servers) -> Iterator[Server]:
    """A server that drains during all tests of this module.

    A second signal ends the drain at once: the server exits long before its drain is over.
    """
    with servers.make("memory", *DRAIN_LONG) as server:
        asyncio.run(say_in(server, "before-the-drain", "before"))
        asyncio.run(start_draining(server))
        yield server
        server.stop()


async def test_a_draining_server_is_alive_but_not_ready(draining: Server) -> None:
    response = await request(draining.url, "GET", "/readyz")
    assert (response.status, response.json()["error"]["code"]) == (503, "going_away")
    assert int(response.head.fields["retry-after"]) >= 1
    assert (await get_json(draining.url, "/healthz"))["status"] == "ok"


async def test_a_draining_server_still_publishes_and_answers_polls(
    draining: Server, room: str
) -> None:
    assert (await post(draining.url, room, text="meanwhile")).status == 201
    response = await request(draining.url, "GET", f"/rooms/{room}/short_polling")
    assert texts(response.json()["events"]) == ["meanwhile"]
    assert response.head.fields["connection"] == "close"


async def test_what_was_published_before_the_drain_can_be_read(draining: Server) -> None:
    response = await request(draining.url, "GET", "/rooms/before-the-drain/short_polling")
    assert texts(response.json()["events"]) == ["before"]


# An open SockJS session is closed instead; see test_sockjs.py.
WAITING = [name for name in CLIENTS if name not in ("short_polling", "sockjs")]


@pytest.mark.parametrize("transport", WAITING)
async def test_a_draining_server_accepts_no_new_reader_that_waits(
    draining: Server, room: str, transport: str
) -> None:
    with pytest.raises(Refused) as refused:
        async with reader(draining, transport, room, after="now"):
            pass
    assert (refused.value.status, refused.value.code) == (503, "going_away")
    assert 1 <= (refused.value.retry_after or 0) <= 601


@pytest.mark.parametrize("path", ["/rooms/x/short_polling", "/healthz"])
async def test_a_response_with_connection_close_ends_its_connection(
    draining: Server, path: str
) -> None:
    async with Raw(draining) as raw:
        raw.ask(path)
        head = await raw.head()
        await raw.body(head)
        assert "Connection: close" in head
        assert await raw.rest() == b""


@dataclass(frozen=True)
class Farewell:
    """What a server sends to its readers when it drains."""

    cursor: str
    poll: tuple[list[str], bytes]
    event_source: tuple[bytes, bytes]
    websocket: Closed


@pytest.fixture(scope="module")
def farewell(servers: Servers) -> Farewell:
    return asyncio.run(drain_three_readers(servers))


async def drain_three_readers(servers: Servers) -> Farewell:
    with servers.make("memory", "--drain-seconds", "0.2") as server:
        (cursor,) = await say_in(server, "lobby", "before")
        async with (
            Raw(server) as poll,
            Raw(server) as event_source,
            reader(server, "websocket", "lobby", after="now") as websocket,
        ):
            poll.ask(f"/rooms/lobby/long_polling?wait=60&after={cursor}&client=waiter")
            await until_waiting(server, 1)
            event_source.ask(f"/rooms/lobby/sse?after={cursor}")
            await event_source.head()
            assert await event_source.chunk() == b":\n\n"
            server.stop(signal.SIGTERM)
            head = await poll.head()
            response = (head, await poll.body(head))
            chunks = (await event_source.chunk(), await event_source.chunk())
            with pytest.raises(Closed) as closed:
                await take(websocket, 1)
    return Farewell(cursor, response, chunks, closed.value)


def test_a_waiting_poll_receives_its_cursor(farewell: Farewell) -> None:
    head, body = farewell.poll
    assert "Connection: close" in head
    assert json.loads(body) == {"cursor": farewell.cursor, "events": []}


def test_an_event_source_receives_a_time_to_reconnect(farewell: Farewell) -> None:
    first, end = farewell.event_source
    field, _, milliseconds = first.split(b"\n")[0].partition(b": ")
    assert field == b"retry"
    assert 1000 <= int(milliseconds) <= 1200
    assert end == b""


def test_a_websocket_is_closed_with_service_restart(farewell: Farewell) -> None:
    closed = farewell.websocket
    assert (closed.code, closed.reason) == (1012, "going_away")


EVENT_SOURCES = {
    "a browser": ["Accept: text/event-stream"],
    "one that resumes": ["Last-Event-ID: e-1"],
    "a polyfill that resumes": [],
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", EVENT_SOURCES)
async def test_an_event_source_that_comes_back_is_not_closed_for_good(
    draining: Server, room: str, kind: str, version: str
) -> None:
    query = "?lastEventId=e-1" if "polyfill" in kind else ""
    async with Raw(draining) as raw:
        raw.ask(f"/rooms/{room}/sse{query}", *EVENT_SOURCES[kind], version=version)
        head = await raw.head()
        retry, reason, *_ = (await raw.body(head)).split(b"\n")
        assert await raw.rest() == b""
    # Any other status ends an EventSource for good.
    assert head[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/event-stream", "Connection: close"} <= set(head)
    assert 1000 <= int(retry.removeprefix(b"retry: ")) <= 601_000
    assert reason == b": going_away"


async def test_a_mistake_of_an_event_source_still_has_its_status(draining: Server) -> None:
    async with Raw(draining) as raw:
        raw.ask("/rooms/lobby/sse?client=%20", "Accept: text/event-stream", "Last-Event-ID: e-1")
        assert (await raw.head())[0] == "HTTP/1.1 400 Bad Request"


async def test_streams_close_at_different_moments(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "1") as server:
        clients = [reader(server, "websocket", room, after="now") for _ in range(8)]
        await asyncio.gather(*(client.open() for client in clients))
        server.stop(signal.SIGTERM)

        endings = [asyncio.create_task(read_until_closed(client)) for client in clients]
        await asyncio.wait(endings, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        # The first has closed, and others still receive events.
        assert (await post(server.url, room, text="still here")).status == 201
        await asyncio.wait(endings, timeout=SECONDS)
        received_after = [client.cursor is not None for client in clients]
        for client in clients:
            await client.close()
    assert {*received_after} == {True, False}


async def read_until_closed(client: Client) -> None:
    with suppress(Closed):
        while True:
            await client.receive()


async def test_a_member_that_reconnects_elsewhere_has_not_quit(servers: Servers, room: str) -> None:
    brisk = ("--lease-seconds", "30", "--grace-seconds", "0.1", "--drain-seconds", "0.5")
    other = servers.get("redis", *brisk)
    async with reader(other, "websocket", room) as watcher:
        with servers.make("redis", *brisk) as server:
            member = reader(server, "sse", room, client="ada", name="Ada")
            await member.open()
            (joined,) = await take(watcher, 1)
            server.stop(signal.SIGTERM)
            await read_until_closed(member)
            await member.close()
        async with reader(other, "sse", room, client="ada", name="Ada"):
            members = (await get_json(other.url, f"/rooms/{room}/members"))["members"]
            await say_in(other, room, "after")
            (after,) = await take(watcher, 1)
    assert (joined["kind"], after["kind"]) == ("join", "say")
    assert [member["client"] for member in members] == ["ada"]


async def test_a_websocket_receives_nothing_after_its_close_frame(
    servers: Servers, room: str
) -> None:
    with servers.make("memory", "--drain-seconds", "0.5") as server:
        async with Peer(server) as peer:
            await peer.shake_hands(room)
            server.stop(signal.SIGTERM)
            async with asyncio.timeout(SECONDS):
                data = await peer.reader.read(65_536)
            assert (await post(server.url, room, text="meanwhile")).status == 201
            peer.writer.write(frame(1, b'{"text":"too late"}'))
            data += await peer.rest()
    opcodes = [opcode for _, _, opcode, _ in frames_in(data)]
    assert opcodes == [CLOSE]


async def test_a_response_in_transit_at_the_end_arrives_complete(
    servers: Servers, room: str
) -> None:
    # The kernel holds a part of it; the rest waits in the server until we read.
    with servers.make("memory", "--send-buffer-bytes", "4096") as server:
        await say_in(server, room, *("x" * 4000 for _ in range(30)))
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(SECONDS)
            slow.connect(("127.0.0.1", server.port))
            head = (
                f"GET /rooms/{room}/short_polling HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
            )
            slow.sendall(head.encode())
            first = await asyncio.to_thread(slow.recv, 100)
            server.stop()
            async with asyncio.timeout(SECONDS):
                while await is_listening(server):
                    await asyncio.sleep(0.001)
            response = first + await asyncio.to_thread(read_all, slow)
    assert len(json.loads(response.partition(b"\r\n\r\n")[2])["events"]) == 30


async def is_listening(server: Server) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except OSError:
        return False
    writer.close()
    return True


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data
