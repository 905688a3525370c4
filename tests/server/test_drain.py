"""SIGTERM: everybody is sent elsewhere, each in the words of its transport, and nothing is lost."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from benchmarks.clients import CLIENTS, Client, Closed, Refused, get_json, post, request
from tests.conftest import Servers
from tests.robustness.frames import CLOSE, Peer, frame, frames_in
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts, until_waiting

SECONDS = 20


@pytest.fixture
async def draining(servers: Servers, room: str) -> AsyncIterator[Server]:
    """A server in the middle of its drain, which is so long that only a second signal ends it."""
    with servers.make("memory", "--drain-seconds", "600") as server:
        await say_in(server, room, "before")
        server.stop(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            while (await request(server.url, "GET", "/readyz")).status == 200:
                await asyncio.sleep(0.01)
        yield server
        server.stop()


async def test_it_is_not_ready_and_alive(draining: Server) -> None:
    answer = await request(draining.url, "GET", "/readyz")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "going_away")
    assert int(answer.head.fields["retry-after"]) >= 1
    assert (await get_json(draining.url, "/healthz"))["status"] == "ok"


async def test_what_is_said_meanwhile_is_taken_and_can_be_read(draining: Server, room: str) -> None:
    assert (await post(draining.url, room, text="meanwhile")).status == 201
    answer = await request(draining.url, "GET", f"/rooms/{room}/short_polling")
    assert texts(answer.json()["events"]) == ["before", "meanwhile"]
    assert answer.head.fields["connection"] == "close"


# A SockJS session that is open already is told by its end; see test_sockjs.py.
WAITING = [name for name in CLIENTS if name not in ("short_polling", "sockjs")]


@pytest.mark.parametrize("transport", WAITING)
async def test_nobody_begins_to_wait_there(draining: Server, room: str, transport: str) -> None:
    with pytest.raises(Refused) as refused:
        async with reader(draining, transport, room, after="now"):
            pass
    assert (refused.value.status, refused.value.code) == (503, "going_away")
    assert 1 <= (refused.value.retry_after or 0) <= 601


async def test_a_second_signal_ends_it_at_once(draining: Server) -> None:
    draining.stop()
    assert await asyncio.to_thread(draining.process.wait, SECONDS) == 0


@pytest.mark.parametrize("path", ["/rooms/x/short_polling", "/healthz"])
async def test_a_connection_ends_with_the_answer_that_says_so(draining: Server, path: str) -> None:
    async with Raw(draining) as raw:
        raw.ask(path)
        head = await raw.head()
        await raw.body(head)
        assert "Connection: close" in head
        assert await raw.rest() == b""


async def test_a_waiting_poll_is_answered_with_its_cursor(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "0.2") as server:
        (cursor,) = await say_in(server, room, "before")
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/long_polling?wait=60&after={cursor}&client=waiter")
            await until_waiting(server, 1)
            server.stop(signal.SIGTERM)
            head = await raw.head()
            body = await raw.body(head)
        assert "Connection: close" in head
        assert json.loads(body) == {"cursor": cursor, "events": []}


async def test_an_event_source_is_told_when_to_come_again(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "0.2") as server:
        (cursor,) = await say_in(server, room, "before")
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/sse?after={cursor}")
            await raw.head()
            server.stop(signal.SIGTERM)
            field, _, milliseconds = (await raw.chunk()).partition(b": ")
            assert field == b"retry"
            assert 1000 <= int(milliseconds) <= 1200
            assert await raw.chunk() == b""


async def test_a_websocket_is_told_that_the_service_restarts(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "0.2") as server:
        async with reader(server, "websocket", room, after="now") as client:
            server.stop(signal.SIGTERM)
            with pytest.raises(Closed) as closed:
                await take(client, 1)
    assert (closed.value.code, closed.value.reason) == (1012, "going_away")


async def test_streams_end_at_moments_of_their_own(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "2") as server:
        clients = [reader(server, "websocket", room, after="now") for _ in range(8)]
        await asyncio.gather(*(client.open() for client in clients))
        server.stop(signal.SIGTERM)

        endings = [asyncio.create_task(outlive(client)) for client in clients]
        await asyncio.wait(endings, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        # The first is gone, and others still hear what is said.
        assert (await post(server.url, room, text="still here")).status == 201
        await asyncio.wait(endings, timeout=SECONDS)
        heard = [client.cursor is not None for client in clients]
        for client in clients:
            await client.close()
    assert {*heard} == {True, False}


async def outlive(client: Client) -> None:
    """Read until the end."""
    with suppress(Closed):
        while True:
            await client.receive()


async def test_a_member_who_is_sent_elsewhere_has_not_quit(servers: Servers, room: str) -> None:
    brisk = ("--lease-seconds", "30", "--grace-seconds", "0.1", "--drain-seconds", "0.5")
    other = servers.get("redis", *brisk)
    async with reader(other, "websocket", room) as watcher:
        with servers.make("redis", *brisk) as server:
            member = reader(server, "sse", room, client="ada", name="Ada")
            await member.open()
            (joined,) = await take(watcher, 1)
            server.stop(signal.SIGTERM)
            await outlive(member)
            await member.close()
        async with reader(other, "sse", room, client="ada", name="Ada"):
            members = (await get_json(other.url, f"/rooms/{room}/members"))["members"]
            await say_in(other, room, "after")
            (after,) = await take(watcher, 1)
    assert (joined["kind"], after["kind"]) == ("join", "say")
    assert [member["client"] for member in members] == ["ada"]


async def test_a_websocket_is_told_nothing_after_its_close_frame(
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


async def test_an_answer_that_is_on_its_way_at_the_end_arrives_whole(
    servers: Servers, room: str
) -> None:
    # The kernel holds a little of it; the rest has to wait for us to read.
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
            answer = first + await asyncio.to_thread(read_all, slow)
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["events"]) == 30


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
