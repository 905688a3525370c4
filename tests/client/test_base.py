"""Every client returns the same events in order, and loses nothing to a timeout or a rejection.

The servers here are bytes written by hand, so client and server cannot share a mistake.
"""

import asyncio
import base64
import hashlib
import html
import json
from collections.abc import Callable
from typing import Any

import pytest

from realtime.client import CLIENTS, BadResponse, Client, Closed, Refused
from realtime.client.short_polling import ShortPollingClient
from tests.client.pieces import FedConnection, FedServer, switching_protocols, unmasked, until

URL = "http://127.0.0.1:9/"
EVENTS: list[dict[str, Any]] = [
    {"kind": "join", "cursor": "e-1", "name": "聊天"},
    {"kind": "say", "cursor": "e-2", "text": '</script>"&amp;\u2028\0'},
    {"kind": "quit", "cursor": "e-3"},
]
SCRIPT = b"receive()"
HASH = base64.b64encode(hashlib.sha256(SCRIPT).digest())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FedServer:
    return FedServer(monkeypatch)


def response(body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body)


def answer(events: list[dict[str, Any]], cursor: str, **more: Any) -> bytes:
    return response(json.dumps({"cursor": cursor, "events": events, **more}).encode())


def chunked(content_type: bytes, pieces: list[bytes], more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b" % (content_type, more)
    chunks = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


def script(event: dict[str, Any]) -> bytes:
    return b'<script data-event="%b">%b</script>' % (
        html.escape(json.dumps(event)).encode(),
        SCRIPT,
    )


def iframe() -> bytes:
    policy = b"Content-Security-Policy: script-src 'sha256-%b'\r\n" % HASH
    return chunked(b"text/html; charset=utf-8", [b"<title>", *map(script, EVENTS)], policy)


def sse() -> bytes:
    blocks = [f"id: {e['cursor']}\ndata: {json.dumps(e)}\n\n".encode() for e in EVENTS]
    return chunked(b"text/event-stream", [b":\n\n", *blocks])


def ndjson() -> bytes:
    return chunked(
        b"application/x-ndjson", [b"\n", *(json.dumps(e).encode() + b"\n" for e in EVENTS)]
    )


def text_frame(value: Any) -> bytes:
    data = json.dumps(value).encode()
    assert len(data) <= 125
    return bytes((0x81, len(data))) + data


# What a server sends to each client: during `open`, and then.  The libraries exchange more before
# the first event; see test_protocols.py.
RESPONSES: dict[str, tuple[Callable[[bytes], bytes], bytes]] = {
    "short_polling": (lambda _: answer([], "e-0"), answer(EVENTS, "e-3")),
    "long_polling": (lambda _: answer([], "e-0"), answer(EVENTS, "e-3")),
    "iframe_streaming": (lambda _: iframe()[:200], iframe()[200:]),
    "sse": (lambda _: sse()[:90], sse()[90:]),
    "fetch_streaming": (lambda _: ndjson()[:90], ndjson()[90:]),
    "websocket": (switching_protocols, b"".join(map(text_frame, EVENTS))),
}


async def opened(server: FedServer, client: Client) -> FedConnection:
    """Open a client; later bytes are fed by hand."""
    count = len(server.connections)
    opening = asyncio.create_task(client.open())
    await until(lambda: len(server.connections) > count and server.last.written)
    server.last.feed(RESPONSES[client.transport][0](bytes(server.last.written)))
    await opening
    return server.last


def make(transport: str, **options: Any) -> Client:
    if transport == "short_polling":
        options["interval"] = 0
    return CLIENTS[transport](URL, "room", **options)


@pytest.mark.parametrize("transport", RESPONSES)
async def test_events_arrive_in_order_with_their_cursors(server: FedServer, transport: str) -> None:
    client = make(transport)
    connection = await opened(server, client)
    connection.feed(RESPONSES[transport][1])
    for event in EVENTS:
        assert await client.receive() == event
        assert client.cursor == event["cursor"]


@pytest.mark.parametrize("transport", RESPONSES)
async def test_a_timeout_between_any_two_bytes_loses_nothing(
    server: FedServer, transport: str
) -> None:
    client = make(transport)
    connection = await opened(server, client)
    received = []
    for byte in RESPONSES[transport][1]:
        try:
            async with asyncio.timeout(0):
                received.append(await client.receive())
        except TimeoutError:
            pass
        connection.feed(bytes((byte,)))
    while len(received) < len(EVENTS):
        received.append(await client.receive())
    assert received == EVENTS


@pytest.mark.parametrize("transport", RESPONSES)
async def test_every_byte_is_counted(server: FedServer, transport: str) -> None:
    client = make(transport)
    connection = await opened(server, client)
    hello, rest = RESPONSES[transport]
    connection.feed(rest)
    await client.receive()
    assert client.bytes_in == len(hello(bytes(connection.written))) + len(rest)
    assert client.bytes_out == len(connection.written)


@pytest.mark.parametrize("transport", ["iframe_streaming", "sse", "fetch_streaming"])
@pytest.mark.parametrize("ending", [b"0\r\n\r\n", b""], ids=["ended", "cut"])
async def test_the_end_of_a_stream_is_reported_after_its_last_event(
    server: FedServer, transport: str, ending: bytes
) -> None:
    client = make(transport)
    connection = await opened(server, client)
    connection.feed(RESPONSES[transport][1] + ending)
    connection.end()
    for event in EVENTS:
        assert await client.receive() == event
    for _ in range(2):
        with pytest.raises(Closed):
            await client.receive()


@pytest.mark.parametrize("transport", CLIENTS)
async def test_a_rejected_open_raises_the_named_error(server: FedServer, transport: str) -> None:
    client = make(transport)
    opening = asyncio.create_task(client.open())
    await until(lambda: server.connections and server.last.written)
    body = b'{"error":{"code":"busy","message":"Later."}}'
    server.last.feed(response(body, b"503 Service Unavailable", b"Retry-After: 10\r\n"))
    with pytest.raises(Refused) as refused:
        await opening
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (
        503,
        "busy",
        10,
    )


@pytest.mark.parametrize("transport", RESPONSES)
async def test_an_address_names_the_member_and_the_cursor(
    server: FedServer, transport: str
) -> None:
    client = make(transport, client="c", name="聊 天", after="e-7")
    connection = await opened(server, client)
    line = connection.written.split(b"\r\n")[0]
    path = f"GET /rooms/room/{transport}?after=e-7&client=c&name=%E8%81%8A+%E5%A4%A9".encode()
    assert line.startswith(path)


# --- polls ---------------------------------------------------------------------------------------


def queries(connection: FedConnection) -> list[str]:
    """The query of every request that was sent."""
    lines = bytes(connection.written).decode().split("\r\n")
    return [line.split(" ")[1].partition("?")[2] for line in lines if line.startswith("GET ")]


async def test_a_poll_continues_from_the_cursor_of_the_response(server: FedServer) -> None:
    client = make("short_polling")
    connection = await opened(server, client)
    connection.feed(answer(EVENTS, "e-9"))
    for _ in EVENTS:
        await client.receive()
    receiving = asyncio.create_task(client.receive())
    await until(lambda: len(queries(connection)) == 3)
    connection.feed(answer(EVENTS[:1], "e-10"))
    await receiving
    assert queries(connection) == ["", "after=e-0", "after=e-9"]


async def test_a_response_that_was_read_in_part_is_resumed_after_that_part(
    server: FedServer,
) -> None:
    client = make("long_polling")
    connection = await opened(server, client)
    connection.feed(answer(EVENTS, "e-3"))
    await client.receive()
    assert client.cursor == "e-1"


async def test_every_long_poll_but_the_first_waits(server: FedServer) -> None:
    client = make("long_polling", wait=7)
    connection = await opened(server, client)
    connection.feed(answer(EVENTS, "e-3"))
    await client.receive()
    assert queries(connection) == ["wait=0", "after=e-0&wait=7"]


async def test_a_cut_response_is_continued_without_the_interval(server: FedServer) -> None:
    client = ShortPollingClient(URL, "room", interval=3600)
    opening = asyncio.create_task(client.open())
    await until(lambda: server.connections)
    server.last.feed(answer(EVENTS[:1], "e-1", more=True))
    await opening
    await client.receive()
    receiving = asyncio.create_task(client.receive())
    await until(lambda: len(queries(server.last)) == 2)
    server.last.feed(answer(EVENTS[1:], "e-3"))
    assert await receiving == EVENTS[1]


async def test_a_timeout_does_not_restart_the_interval(server: FedServer) -> None:
    client = ShortPollingClient(URL, "room", interval=0.05)
    connection = await opened(server, client)
    connection.feed(answer(EVENTS, "e-3"))
    while len(queries(connection)) < 2:
        try:
            async with asyncio.timeout(0.001):
                await client.receive()
        except TimeoutError:
            pass
    assert queries(connection) == ["", "after=e-0"]


@pytest.mark.parametrize("transport", ["short_polling", "long_polling"])
async def test_a_poll_after_a_closed_connection_opens_another(
    server: FedServer, transport: str
) -> None:
    client = make(transport)
    connection = await opened(server, client)
    connection.end()
    with pytest.raises(Closed):
        await client.receive()
    receiving = asyncio.create_task(client.receive())
    await until(lambda: server.last is not connection and server.last.written)
    server.last.feed(RESPONSES[transport][1])
    assert await receiving == EVENTS[0]


# --- sending -------------------------------------------------------------------------------------


async def test_a_post_has_its_own_connection_and_byte_count(server: FedServer) -> None:
    client = make("sse", client="c", name="n")
    down = await opened(server, client)
    sending = asyncio.create_task(client.send("hello", sent=1))
    await until(lambda: server.last is not down and server.last.written)
    head, _, body = bytes(server.last.written).partition(b"\r\n\r\n")
    message = json.loads(body)
    server.last.feed(response(b'{"cursor":"e-4","id":"x"}', b"201 Created"))
    assert await sending == {"cursor": "e-4", "id": "x"}
    assert head.startswith(b"POST /rooms/room/messages HTTP/1.1\r\n")
    assert message.keys() == {"id", "client", "name", "text", "via", "sent"}
    assert (message["via"], message["sent"]) == ("sse", 1)
    assert client.up.bytes_out == len(server.last.written)
    assert client.down.bytes_out == len(down.written)


async def test_sends_at_the_same_time_do_not_mix(server: FedServer) -> None:
    client = make("sse")
    sending = [asyncio.create_task(client.send(text)) for text in ("one", "two")]
    for cursor in ("e-1", "e-2"):
        await until(lambda: server.connections and b"text" in server.last.written)
        server.last.written.clear()
        server.last.feed(response(b'{"cursor":"%b","id":"x"}' % cursor.encode(), b"201 Created"))
        await until(lambda: any(task.done() for task in sending))
    assert [(await task)["cursor"] for task in sending] == ["e-1", "e-2"]


async def test_the_response_to_a_cancelled_send_is_not_taken_for_the_next_one(
    server: FedServer,
) -> None:
    client = make("sse")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await client.send("one")
    first = server.last
    assert first.closed
    sending = asyncio.create_task(client.send("two"))
    await until(lambda: server.last is not first and server.last.written)
    server.last.feed(response(b'{"cursor":"e-2","id":"x"}', b"201 Created"))
    assert (await sending)["cursor"] == "e-2"


# --- WebSocket -----------------------------------------------------------------------------------


async def opened_websocket(server: FedServer) -> tuple[Client, FedConnection]:
    client = make("websocket")
    connection = await opened(server, client)
    connection.written.clear()
    return client, connection


async def test_a_ping_is_answered_with_its_own_data(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    connection.feed(b"\x89\x03abc" + text_frame(EVENTS[0]))
    await client.receive()
    assert unmasked(bytes(connection.written)) == [(0x8A, b"abc")]


async def test_a_close_frame_is_echoed_and_reported_after_the_last_event(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    connection.feed(text_frame(EVENTS[0]) + b"\x88\x06\x03\xf4late")
    assert await client.receive() == EVENTS[0]
    with pytest.raises(Closed) as closed:
        await client.receive()
    assert (closed.value.code, closed.value.reason) == (1012, "late")
    assert unmasked(bytes(connection.written)) == [(0x88, b"\x03\xf4")]


async def test_an_end_without_a_close_frame_is_1006(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    connection.end()
    with pytest.raises(Closed) as closed:
        await client.receive()
    assert closed.value.code == 1006


async def test_acknowledgements_find_their_sends_while_events_flow(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    receiving = asyncio.create_task(client.receive())
    first = asyncio.create_task(client.send_body(b'{"id":"one"}'))
    second = asyncio.create_task(client.send_body(b'{"id":"two"}'))
    await until(lambda: len(unmasked(bytes(connection.written))) == 2)
    connection.feed(text_frame({"kind": "ack", "id": "two", "cursor": "e-2"}))
    assert await second == {"cursor": "e-2", "id": "two"}
    connection.feed(text_frame(EVENTS[0]))
    assert await receiving == EVENTS[0]
    connection.feed(text_frame({"kind": "ack", "id": "one", "cursor": "e-1"}))
    assert await first == {"cursor": "e-1", "id": "one"}


async def test_events_that_arrive_during_a_send_are_kept(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    connection.feed(b"".join(map(text_frame, EVENTS)))
    connection.feed(text_frame({"kind": "ack", "id": "one", "cursor": "e-4"}))
    await client.send_body(b'{"id":"one"}')
    assert [await client.receive() for _ in EVENTS] == EVENTS


@pytest.mark.parametrize("id", ["one", None])
async def test_an_error_frame_rejects_the_send_it_belongs_to(
    server: FedServer, id: str | None
) -> None:
    client, connection = await opened_websocket(server)
    sending = asyncio.create_task(client.send_body(b'{"id":"one"}' if id else b"{"))
    later = asyncio.create_task(client.send_body(b'{"id":"two"}'))
    await until(lambda: len(unmasked(bytes(connection.written))) == 2)
    connection.feed(text_frame({"kind": "error", "id": id, "code": "bad_json", "message": "?"}))
    connection.feed(text_frame({"kind": "ack", "id": "two", "cursor": "e-2"}))
    with pytest.raises(Refused) as refused:
        await sending
    assert (refused.value.status, refused.value.code) == (None, "bad_json")
    assert (await later)["id"] == "two"


async def test_a_close_fails_the_pending_sends(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    connection.feed(b"\x88\x02\x03\xf4")
    with pytest.raises(Closed):
        await client.send("hello")


async def test_our_close_waits_for_the_answer(server: FedServer) -> None:
    client, connection = await opened_websocket(server)
    closing = asyncio.create_task(client.close())
    await until(lambda: connection.written)
    assert unmasked(bytes(connection.written)) == [(0x88, b"\x03\xe8")]
    assert not connection.closed
    connection.feed(b"\x88\x02\x03\xe8")
    await closing
    assert connection.closed


async def test_a_handshake_for_another_key_is_rejected(server: FedServer) -> None:
    client = make("websocket")
    opening = asyncio.create_task(client.open())
    await until(lambda: server.connections)
    server.last.feed(switching_protocols(b"Sec-WebSocket-Key: another"))
    with pytest.raises(BadResponse):
        await opening
