"""The tap copies the bytes of the wire to subscribers with the secret, and to nobody else."""

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClientConnection, websocket_connect

from realtime.client import get_json, post, request
from realtime.client.sansio import client_id
from realtime.server.tap import Tap, TapRegistry, TapSubscriber
from tests.conftest import Servers
from tests.fake_server import until
from tests.robustness.frames import frames_in
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


async def test_a_capture_has_no_secret_of_a_client_id_but_all_its_bytes(
    server: Server, room: str, secret: str
) -> None:
    hidden = "of-ada-1815-and-nobody"
    client = client_id(hidden)
    body = json.dumps({"text": "hi", "client": client, "secret": hidden}).encode()
    sent = (
        f"POST /rooms/{room}/messages?trace={secret}&secret={hidden} HTTP/1.1\r\n"
        "Host: localhost\r\n"
        f"Referer: http://localhost/?stream=%2Fsse%3Fsecret%3D{hidden}\r\n"
        f"X-Client-Secret: {hidden}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    async with subscribed(server, secret) as subscriber, Raw(server) as raw:
        raw.send(sent)
        up = bytes_of(await records_until(subscriber, b'"id"'), "up")
    assert up == sent.replace(hidden.encode(), b"*" * len(hidden))


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
    server = servers.get("tls", "--messages-per-second", "0")
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


class Reader:
    """A subscriber that accepts frames while `ready`; `records` are those it has received."""

    def __init__(self, tap: Tap, ready: bool = True) -> None:
        self.ready = ready
        self.frames: list[bytes] = []
        self.subscriber = TapSubscriber(self._receive)
        self._tap = tap
        tap.add(self.subscriber)

    def _receive(self, frames: bytes) -> bool:
        if self.ready:
            self.frames.append(frames)
        return self.ready

    def continues(self) -> None:
        self.ready = True
        self._tap.unblock(self.subscriber)

    @property
    def records(self) -> list[Record]:
        return [json.loads(f.payload) for f in frames_in(b"".join(self.frames))]


async def test_what_a_slow_subscriber_does_not_accept_is_dropped_and_counted() -> None:
    tap = Tap(max_bytes=100_000)
    slow, fast = Reader(tap, ready=False), Reader(tap)
    for number in range(10):
        tap.copy(number, "sse", "down", b"x" * 20_000)  # 27 KB in base64: the tap keeps three
        await until(lambda number=number: len(fast.records) > number)
    assert [record["connection"] for record in fast.records] == list(range(10))
    assert not slow.frames
    slow.continues()
    await until(lambda: len(slow.records) == 4)
    dropped, *copied = slow.records
    assert dropped == {"dropped": 7 * 20_000}
    assert [record["connection"] for record in copied] == [7, 8, 9]
    tap.copy(10, "sse", "down", b"more")
    await until(lambda: slow.records[-1]["connection"] == 10)


async def test_a_record_above_the_limit_is_dropped_and_counted() -> None:
    tap = Tap(max_bytes=1_000)
    narrow = Reader(tap)
    tap.copy(1, "sse", "down", b"x" * 2_000)
    await until(lambda: narrow.records)
    assert narrow.records == [{"dropped": 2_000}]


async def test_subscribers_share_one_copy_of_what_they_receive() -> None:
    tap = Tap(max_bytes=1_000_000)
    first, *others = [Reader(tap) for _ in range(100)]
    for number in range(20):
        tap.copy(number, "sse", "down", b"x" * 20_000)
    await until(lambda: len(first.records) == 20)
    for other in others:
        assert list(map(id, other.frames)) == list(map(id, first.frames))
    # A subscriber that stops reading keeps one of these.
    assert max(map(len, first.frames)) <= 65_536


async def test_slow_subscribers_do_not_hold_what_all_have_received() -> None:
    tap = Tap(max_bytes=1_000_000)
    fast, slow = Reader(tap), Reader(tap, ready=False)
    tap.copy(1, "sse", "down", b"x")
    await until(lambda: fast.records)
    assert tap.held_bytes > 0
    tap.remove(slow.subscriber)
    assert tap.held_bytes == 0


def test_a_tap_without_references_is_removed() -> None:
    taps = TapRegistry()
    held = taps.open("s" * 20, "192.0.2.1")
    assert taps.find("s" * 20) is held
    del held
    assert taps.find("s" * 20) is None


async def test_one_address_cannot_open_every_tap(servers: Servers) -> None:
    server = servers.get("memory", "--taps", "8", "--taps-per-address", "100")
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(subscribed(server, secrets.token_hex(16)))
        secret = secrets.token_hex(16)
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(f"{server.url}/wire/{secret}".replace("http", "ws", 1))
        response = refused.value.response
        assert response is not None
        assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "busy")
        assert response.headers["Retry-After"]
    async with asyncio.timeout(SECONDS):
        while True:  # the server notices the closes
            with contextlib.suppress(HTTPClientError):
                async with subscribed(server, secret):
                    break


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
