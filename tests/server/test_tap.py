"""The tap: the same bytes as on the wire, for whoever holds the secret, and for nobody else."""

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.clients import get_json, post, request
from realtime.server.tap import Tap, TapRegistry, TapSubscriber
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import SECONDS, reader, take

Piece = dict[str, Any]


@pytest.fixture
def secret() -> str:
    return secrets.token_hex(16)


@contextlib.asynccontextmanager
async def watching(server: Server, secret: str) -> AsyncIterator[WebSocketClientConnection]:
    address = f"{server.url}/wire/{secret}".replace("http", "ws", 1)
    watcher = await websocket_connect(address)
    try:
        yield watcher
    finally:
        await leave(watcher)


async def leave(watcher: WebSocketClientConnection) -> None:
    watcher.close()
    async with asyncio.timeout(SECONDS):
        while await watcher.read_message() is not None:
            pass


async def pieces_until(watcher: WebSocketClientConnection, end: bytes) -> list[Piece]:
    """The pieces up to the one with which `end` has come, among all that came down."""
    pieces: list[Piece] = []
    async with asyncio.timeout(SECONDS):
        while end not in crossed(pieces, "down"):
            message = await watcher.read_message()
            assert message is not None
            pieces.append(json.loads(message))
    return pieces


def crossed(pieces: Iterable[Piece], direction: str) -> bytes:
    return b"".join(
        base64.b64decode(piece["data"]) for piece in pieces if piece.get("direction") == direction
    )


async def test_a_request_and_its_answer_are_copied_to_the_byte(
    server: Server, room: str, secret: str
) -> None:
    await post(server.url, room, text="hello")
    path = f"/rooms/{room}/short_polling?trace={secret}"
    async with watching(server, secret) as watcher, Raw(server) as client:
        client.ask(path, "X-Mine: 1", "Connection: close")
        answer = await client.rest()
        pieces = await pieces_until(watcher, answer[-20:])
    asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Mine: 1\r\n"
    assert crossed(pieces, "up") == asked.encode() + b"Connection: close\r\n\r\n"
    assert crossed(pieces, "down") == answer
    assert {piece["transport"] for piece in pieces} == {"short_polling"}
    assert len({piece["connection"] for piece in pieces}) == 1
    times = [piece["at"] for piece in pieces]
    assert times == sorted(times)


async def test_a_head_that_comes_in_pieces_is_copied_whole(
    server: Server, room: str, secret: str
) -> None:
    """Unless its first piece ends within the secret: then nobody knows yet who may see it."""
    head = f"GET /rooms/{room}/short_polling?trace={secret} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with watching(server, secret) as watcher, Raw(server) as client:
        client.send(head[:-9].encode())
        # Answered on another connection meanwhile: so the first piece was read by itself.
        await get_json(server.url, "/healthz")
        client.send(head[-9:].encode())
        await client.until(b"}")
        assert crossed(await pieces_until(watcher, b"}"), "up") == head.encode()


@pytest.mark.parametrize("transport", ["long_polling", "iframe_streaming", "sse", "websocket"])
async def test_a_stream_is_copied_as_it_goes_on(
    server: Server, room: str, secret: str, transport: str
) -> None:
    start = (await post(server.url, room, text="before")).json()["cursor"]
    async with Raw(server) as client, watching(server, secret) as watcher:
        upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        fields = [*upgrade, key] if transport == "websocket" else []
        client.ask(f"/rooms/{room}/{transport}?after={start}&trace={secret}", *fields)
        begun = b"" if transport == "long_polling" else await client.until(b"\r\n\r\n")
        await post(server.url, room, text="hello")
        down = begun + await client.until(b"published")
        assert crossed(await pieces_until(watcher, b"published"), "down").startswith(down)


async def test_the_next_request_on_a_connection_is_not_copied_unless_it_asks(
    server: Server, room: str, secret: str
) -> None:
    traced, plain = f"short_polling?trace={secret}", "short_polling?client=private"
    async with watching(server, secret) as watcher, Raw(server) as client:
        for question in (plain, traced, plain, traced, plain):
            client.ask(f"/rooms/{room}/{question}")
            await client.until(b"}")
        client.ask(f"/rooms/{room}/members?trace={secret}")  # Tornado answers this one
        await client.until(b"]}")
        pieces = await pieces_until(watcher, b'"members"')
    assert b"private" not in crossed(pieces, "up")
    assert crossed(pieces, "up").count(b"GET ") == 3
    assert crossed(pieces, "down").count(b"HTTP/1.1 200 OK") == 3


async def test_another_secret_sees_nothing(server: Server, room: str, secret: str) -> None:
    other = secrets.token_hex(16)
    async with watching(server, other) as stranger, watching(server, secret) as watcher:
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={secret}")
        await pieces_until(watcher, b"}")
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={other}&client=last")
        pieces = await pieces_until(stranger, b"}")
    assert crossed(pieces, "up").count(b"GET ") == 1
    assert b"client=last" in crossed(pieces, "up")


async def test_a_watcher_that_comes_back_sees_what_goes_on(
    server: Server, room: str, secret: str
) -> None:
    async with Raw(server) as client:
        async with watching(server, secret) as watcher:
            client.ask(f"/rooms/{room}/sse?after=now&trace={secret}")
            await pieces_until(watcher, b"\r\n\r\n")
        async with watching(server, secret) as watcher:
            await post(server.url, room, text="later")
            assert b"later" in crossed(await pieces_until(watcher, b"published"), "down")


async def test_the_end_of_a_connection_is_told(server: Server, room: str, secret: str) -> None:
    async with watching(server, secret) as watcher:
        async with Raw(server) as client:
            client.ask(f"/rooms/{room}/sse?after=now&trace={secret}")
            (first, *_) = await pieces_until(watcher, b"\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            while not (piece := json.loads(str(await watcher.read_message()))).get("closed"):
                pass
    assert piece["connection"] == first["connection"]


async def test_a_tap_does_not_show_itself(server: Server, room: str, secret: str) -> None:
    address = f"{server.url}/wire/{secret}?trace={secret}".replace("http", "ws", 1)
    async with watching(server, secret) as watcher:
        second = await websocket_connect(address)
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={secret}")
        pieces = await pieces_until(watcher, b"}")
        await leave(second)
    assert {piece["transport"] for piece in pieces} == {"short_polling"}


async def test_over_tls_what_it_carries_is_shown(servers: Servers, room: str, secret: str) -> None:
    server = servers.get("tls")
    async with watching(server, secret) as watcher:
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={secret}")
        pieces = await pieces_until(watcher, b"}")
    assert crossed(pieces, "up").startswith(b"GET /rooms/")
    assert crossed(pieces, "down").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("secret", ["short", "x" * 19, "x" * 65, "%20" * 20])
async def test_a_secret_that_can_be_guessed_is_refused(server: Server, secret: str) -> None:
    answer = await request(server.url, "GET", f"/wire/{secret}")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_trace")


async def test_a_tap_is_a_websocket(server: Server, secret: str) -> None:
    answer = await request(server.url, "GET", f"/wire/{secret}")
    assert (answer.status, answer.json()["error"]["code"]) == (426, "upgrade_required")
    assert answer.head.fields["upgrade"] == "websocket"


async def test_what_a_slow_watcher_does_not_take_is_dropped_and_counted() -> None:
    told: list[str] = []
    ready = False

    def tell(pieces: list[str]) -> bool:
        if ready:
            told.extend(pieces)
        return ready

    watcher = TapSubscriber(tell)
    tap = Tap()
    tap.subscribers.add(watcher)
    for _ in range(3):
        tap.copy(1, "sse", "down", b"x" * 400_000)
    ready = True
    async with asyncio.timeout(SECONDS):
        while not told:
            await asyncio.sleep(0.01)
    *shown, last = map(json.loads, told)
    assert len(shown) == 2
    assert last == {"dropped": 400_000}
    watcher.close()


def test_a_secret_that_nobody_holds_is_forgotten() -> None:
    taps = TapRegistry()
    held = taps.open("s" * 20)
    assert taps.find("s" * 20) is held
    del held
    assert taps.find("s" * 20) is None


async def test_readers_hear_the_same_with_a_tap_as_without(
    server: Server, room: str, secret: str
) -> None:
    async with (
        watching(server, secret),
        Raw(server) as traced,
        reader(server, "sse", room, after="now") as plain,
    ):
        traced.ask(f"/rooms/{room}/fetch_streaming?after=now&trace={secret}")
        await traced.until(b"\r\n\r\n")
        for n in range(50):
            await post(server.url, room, text=f"{n} {'x' * 3000}")
        heard = [event["text"] for event in await take(plain, 50)]
        data = b""
        while data.count(b"published") < 50:
            data += await traced.until(b"published")
    assert [text.encode() in data for text in heard] == [True] * 50
