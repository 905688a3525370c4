"""The tap copies the bytes of the wire to subscribers with the secret, and to nobody else."""

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

Record = dict[str, Any]


@pytest.fixture
def secret() -> str:
    return secrets.token_hex(16)


@contextlib.asynccontextmanager
async def subscribed(server: Server, secret: str) -> AsyncIterator[WebSocketClientConnection]:
    address = f"{server.url}/wire/{secret}".replace("http", "ws", 1)
    subscriber = await websocket_connect(address)
    try:
        yield subscriber
    finally:
        await leave(subscriber)


async def leave(subscriber: WebSocketClientConnection) -> None:
    subscriber.close()
    async with asyncio.timeout(SECONDS):
        while await subscriber.read_message() is not None:
            pass


async def records_until(subscriber: WebSocketClientConnection, end: bytes) -> list[Record]:
    """The records up to the one that completes `end` in the bytes sent to the client."""
    records: list[Record] = []
    async with asyncio.timeout(SECONDS):
        while end not in bytes_of(records, "down"):
            message = await subscriber.read_message()
            assert message is not None
            records.append(json.loads(message))
    return records


def bytes_of(records: Iterable[Record], direction: str) -> bytes:
    return b"".join(
        base64.b64decode(record["data"])
        for record in records
        if record.get("direction") == direction
    )


async def test_a_request_and_its_response_are_copied_to_the_byte(
    server: Server, room: str, secret: str
) -> None:
    await post(server.url, room, text="hello")
    path = f"/rooms/{room}/short_polling?trace={secret}"
    async with subscribed(server, secret) as subscriber, Raw(server) as client:
        client.ask(path, "X-Mine: 1", "Connection: close")
        response = await client.rest()
        records = await records_until(subscriber, response[-20:])
    sent = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Mine: 1\r\n"
    assert bytes_of(records, "up") == sent.encode() + b"Connection: close\r\n\r\n"
    assert bytes_of(records, "down") == response
    assert {record["transport"] for record in records} == {"short_polling"}
    assert len({record["connection"] for record in records}) == 1
    times = [record["at"] for record in records]
    assert times == sorted(times)


async def test_a_header_section_in_two_packets_is_copied_whole(
    server: Server, room: str, secret: str
) -> None:
    """Unless its first packet ends within the secret: then the tap is not known yet."""
    head = f"GET /rooms/{room}/short_polling?trace={secret} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with subscribed(server, secret) as subscriber, Raw(server) as client:
        client.send(head[:-9].encode())
        # Another connection is answered, so the server has read the first packet by itself.
        await get_json(server.url, "/healthz")
        client.send(head[-9:].encode())
        await client.until(b"}")
        assert bytes_of(await records_until(subscriber, b"}"), "up") == head.encode()


@pytest.mark.parametrize("transport", ["long_polling", "iframe_streaming", "sse", "websocket"])
async def test_a_stream_is_copied_while_it_runs(
    server: Server, room: str, secret: str, transport: str
) -> None:
    start = (await post(server.url, room, text="before")).json()["cursor"]
    async with Raw(server) as client, subscribed(server, secret) as subscriber:
        upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        fields = [*upgrade, key] if transport == "websocket" else []
        client.ask(f"/rooms/{room}/{transport}?after={start}&trace={secret}", *fields)
        head = b"" if transport == "long_polling" else await client.until(b"\r\n\r\n")
        await post(server.url, room, text="hello")
        down = head + await client.until(b"published")
        assert bytes_of(await records_until(subscriber, b"published"), "down").startswith(down)


async def test_the_next_request_is_copied_only_with_the_secret(
    server: Server, room: str, secret: str
) -> None:
    traced, plain = f"short_polling?trace={secret}", "short_polling?client=private"
    async with subscribed(server, secret) as subscriber, Raw(server) as client:
        for query in (plain, traced, plain, traced, plain):
            client.ask(f"/rooms/{room}/{query}")
            await client.until(b"}")
        client.ask(f"/rooms/{room}/members?trace={secret}")  # Tornado answers this one
        await client.until(b"]}")
        records = await records_until(subscriber, b'"members"')
    assert b"private" not in bytes_of(records, "up")
    assert bytes_of(records, "up").count(b"GET ") == 3
    assert bytes_of(records, "down").count(b"HTTP/1.1 200 OK") == 3


async def test_another_secret_receives_nothing(server: Server, room: str, secret: str) -> None:
    other = secrets.token_hex(16)
    async with (
        subscribed(server, other) as other_subscriber,
        subscribed(server, secret) as subscriber,
    ):
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={secret}")
        await records_until(subscriber, b"}")
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={other}&client=last")
        records = await records_until(other_subscriber, b"}")
    assert bytes_of(records, "up").count(b"GET ") == 1
    assert b"client=last" in bytes_of(records, "up")


async def test_a_subscriber_can_reconnect_during_a_stream(
    server: Server, room: str, secret: str
) -> None:
    async with Raw(server) as client:
        async with subscribed(server, secret) as subscriber:
            client.ask(f"/rooms/{room}/sse?after=now&trace={secret}")
            await records_until(subscriber, b"\r\n\r\n")
        async with subscribed(server, secret) as subscriber:
            await post(server.url, room, text="later")
            assert b"later" in bytes_of(await records_until(subscriber, b"published"), "down")


async def test_the_close_of_a_connection_is_reported(
    server: Server, room: str, secret: str
) -> None:
    async with subscribed(server, secret) as subscriber:
        async with Raw(server) as client:
            client.ask(f"/rooms/{room}/sse?after=now&trace={secret}")
            (first, *_) = await records_until(subscriber, b"\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            while not (record := json.loads(str(await subscriber.read_message()))).get("closed"):
                pass
    assert record["connection"] == first["connection"]


async def test_a_tap_does_not_copy_itself(server: Server, room: str, secret: str) -> None:
    address = f"{server.url}/wire/{secret}?trace={secret}".replace("http", "ws", 1)
    async with subscribed(server, secret) as subscriber:
        second = await websocket_connect(address)
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={secret}")
        records = await records_until(subscriber, b"}")
        await leave(second)
    assert {record["transport"] for record in records} == {"short_polling"}


async def test_over_tls_the_plain_text_is_copied(servers: Servers, room: str, secret: str) -> None:
    server = servers.get("tls")
    async with subscribed(server, secret) as subscriber:
        await get_json(server.url, f"/rooms/{room}/short_polling?trace={secret}")
        records = await records_until(subscriber, b"}")
    assert bytes_of(records, "up").startswith(b"GET /rooms/")
    assert bytes_of(records, "down").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("secret", ["short", "x" * 19, "x" * 65, "%20" * 20])
async def test_a_secret_that_can_be_guessed_is_rejected(server: Server, secret: str) -> None:
    response = await request(server.url, "GET", f"/wire/{secret}")
    assert (response.status, response.json()["error"]["code"]) == (400, "bad_trace")


async def test_a_tap_is_a_websocket(server: Server, secret: str) -> None:
    response = await request(server.url, "GET", f"/wire/{secret}")
    assert (response.status, response.json()["error"]["code"]) == (426, "upgrade_required")
    assert response.head.fields["upgrade"] == "websocket"


async def test_what_a_slow_subscriber_does_not_accept_is_dropped_and_counted() -> None:
    sent: list[str] = []
    ready = False

    def send(records: list[str]) -> bool:
        if ready:
            sent.extend(records)
        return ready

    subscriber = TapSubscriber(send)
    tap = Tap()
    tap.subscribers.add(subscriber)
    for _ in range(3):
        tap.copy(1, "sse", "down", b"x" * 400_000)
    ready = True
    async with asyncio.timeout(SECONDS):
        while not sent:
            await asyncio.sleep(0.01)
    *copied, last = map(json.loads, sent)
    assert len(copied) == 2
    assert last == {"dropped": 400_000}
    subscriber.close()


def test_a_tap_without_references_is_removed() -> None:
    taps = TapRegistry()
    held = taps.open("s" * 20)
    assert taps.find("s" * 20) is held
    del held
    assert taps.find("s" * 20) is None


async def test_a_traced_reader_receives_the_same_events(
    server: Server, room: str, secret: str
) -> None:
    async with (
        subscribed(server, secret),
        Raw(server) as traced,
        reader(server, "sse", room, after="now") as plain,
    ):
        traced.ask(f"/rooms/{room}/fetch_streaming?after=now&trace={secret}")
        await traced.until(b"\r\n\r\n")
        for n in range(50):
            await post(server.url, room, text=f"{n} {'x' * 3000}")
        received = [event["text"] for event in await take(plain, 50)]
        data = b""
        while data.count(b"published") < 50:
            data += await traced.until(b"published")
    assert [text.encode() in data for text in received] == [True] * 50
