"""A connection that lasts: it resumes over restarts, repeats nothing, and gives up in time."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from realtime.client import (
    ALL_CLIENTS,
    CLIENTS,
    BadResponse,
    Closed,
    Event,
    Refused,
    ResumingConnection,
    connect,
    connection,
    get_json,
)
from tests.cases import each
from tests.conftest import Servers
from tests.fake_server import FakeServer, until
from tests.ports import free_port
from tests.server_process import Server
from tests.transports.readers import say_in, texts

SECONDS = 20


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_MIN_CEILING", 0.05)


async def take(room: ResumingConnection, count: int) -> list[Event]:
    async with asyncio.timeout(SECONDS):
        return [await room.receive() for _ in range(count)]


async def take_until(room: ResumingConnection, text: str) -> list[Event]:
    """Receive the events up to the one with this text."""
    events = await take(room, 1)
    while events[-1].get("text") != text:
        events += await take(room, 1)
    return events


# --- a server that restarts ----------------------------------------------------------------------


async def test_every_transport_resumes_over_a_restart_and_reports_a_gap(
    servers: Servers, room: str
) -> None:
    # Where a machine has no id, only two missing heartbeats say that a server over UDP is gone.
    options = ("--history-events", "20", "--messages-per-second", "0", "--heartbeat-seconds", "2")
    other = servers.get("redis", *options)
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())
        server = processes.enter_context(servers.make("redis", *options))

        async def restart() -> Server:
            again = servers.make("redis", *options, "--port", str(server.port))
            await asyncio.to_thread(processes.enter_context, again)
            return again

        rooms: dict[str, ResumingConnection] = {}
        for transport in ALL_CLIENTS:
            fast = {"interval": 0.05} if transport == "short_polling" else {}
            url = f"{server.url}/{room}"
            one = connect(url, transport=transport, after="now", **fast)
            rooms[transport] = await stack.enter_async_context(one)
        sender = rooms["websocket"]
        receiving = {t: asyncio.create_task(take_until(one, "end")) for t, one in rooms.items()}
        await sender.send("before")
        server.kill()
        # Each is sent again and again until somebody listens.
        sending = asyncio.gather(*(one.send(f"by {t}") for t, one in rooms.items()))
        await say_in(other, room, "meanwhile")
        server = await restart()
        await sending
        await sender.send("end")
        received = {transport: await task for transport, task in receiving.items()}
        first = received["sse"]
        assert [transport for transport, events in received.items() if events != first] == []
        said = texts(first)
        assert (said[0], said[-1]) == ("before", "end")
        assert sorted(said[1:-1]) == sorted(["meanwhile", *(f"by {t}" for t in ALL_CLIENTS)])

        server.kill()
        await say_in(other, room, *(str(number) for number in range(50)))
        await restart()
        for transport, one in rooms.items():
            gap, *kept = await take(one, 21)
            assert (gap["kind"], gap["reason"], gap["missed"]) == ("gap", "trimmed", 30), transport
            assert texts(kept) == [str(number) for number in range(30, 50)], transport


# --- a server whose behaviour a test defines -----------------------------------------------------

Respond = Callable[[str, dict[str, str], bytes], "bytes | None"]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def response(status: int, body: Any, content_type: str = "application/json", *fields: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = f"Content-Length: {len(data)}"
    lines = (f"HTTP/1.1 {status} -", f"Content-Type: {content_type}", size, *fields, "", "")
    return "\r\n".join(lines).encode() + data


def refusal(status: int, code: str, *fields: str) -> bytes:
    error = {"code": code, "message": "No."}
    return response(status, {"error": error}, "application/json", *fields)


def event(number: int) -> Event:
    return {"kind": "say", "id": f"id {number}", "cursor": f"e-{number}", "text": f"{number}"}


def page(*events: Event, cursor: str = "e-0") -> bytes:
    return response(200, {"cursor": events[-1]["cursor"] if events else cursor, "events": events})


def frame(one: Event) -> bytes:
    return f"id: {one['cursor']}\ndata: {json.dumps(one)}\n\n".encode()


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[FakeServer]:
    """Answer each request with what `respond(target, fields, body)` returns.

    After a stream the connection stays open; None closes it without a response.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target, *lines = head.rstrip().split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in lines)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                answered = respond(target.removesuffix(" HTTP/1.1"), fields, body)
                if answered is None:
                    return
                writer.write(answered)

    async with FakeServer(answer) as server:
        yield server


def scripted(*responses: bytes) -> tuple[list[str], Respond]:
    """Return the targets that were requested, and what gives these responses one by one.

    The last one is repeated.
    """
    targets: list[str] = []

    def respond(target: str, fields: dict[str, str], body: bytes) -> bytes:
        targets.append(target)
        return responses[min(len(targets), len(responses)) - 1]

    return targets, respond


async def test_a_session_of_socket_io_that_the_server_no_longer_has_is_opened_again() -> None:
    """As if the server had been replaced between the handshake and the upgrade."""
    targets: list[str] = []

    def respond(target: str, fields: dict[str, str], body: bytes) -> bytes:
        targets.append(target)
        if "/rooms/" in target:
            return page()
        if "transport=websocket" in target:
            return refusal(400, "bad_request")
        if target.startswith("POST"):
            return response(200, b"ok", "text/plain")
        if "sid=" not in target:
            return response(200, b'0{"sid":"s"}', "text/plain")
        answers = b'40{"sid":"t"}' if targets[-2].startswith("POST") else None
        return response(200, answers, "text/plain") if answers else b""  # the poll waits

    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/lobby"
        room = connect(url, transport="socketio")
        opening = asyncio.create_task(room.receive())
        await until(lambda: sum("transport=websocket" in target for target in targets) >= 2)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await room.close()


async def test_a_member_that_closes_between_two_connections_leaves_the_room() -> None:
    targets: list[str] = []

    def respond(target: str, fields: dict[str, str], body: bytes) -> bytes:
        targets.append(target)
        polls = sum("short_polling" in target for target in targets)
        return page() if polls <= 2 or target.startswith("DELETE") else refusal(503, "busy")

    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/lobby"
        room = connect(url, transport="short_polling", interval=0, name="Ada")
        receiving = asyncio.create_task(room.receive())
        await until(lambda: sum("short_polling" in target for target in targets) >= 4)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await room.close()
    assert targets[-1].startswith("DELETE /rooms/lobby/members/")


async def test_an_event_that_the_server_sends_twice_is_received_once() -> None:
    pages = page(), page(), page(event(1), event(2)), page(event(2), event(1), event(3))
    _, respond = scripted(*pages)
    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/lobby"
        async with connect(url, transport="short_polling", interval=0) as room:
            assert texts(await take(room, 3)) == ["1", "2", "3"]
            assert room.cursor == "e-3"


async def test_the_ids_that_are_remembered_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_MAX_SEEN", 2)
    _, respond = scripted(page(event(1), event(2), event(3), event(2), event(1)), STREAM)
    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        assert texts(await take(room, 4)) == ["1", "2", "3", "1"]


async def test_the_history_comes_first_and_then_the_stream_continues_from_its_cursor() -> None:
    targets, respond = scripted(page(event(1), event(2)), STREAM + frame(event(3)))
    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        assert room.cursor is None
        assert texts(await take(room, 1)) == ["1"]
        assert room.cursor == "e-1"  # and not that of an event which nobody has received
        assert texts(await take(room, 2)) == ["2", "3"]
    assert targets == ["GET /rooms/r/short_polling", "GET /rooms/r/sse?after=e-2"]


async def test_an_event_that_comes_again_after_a_gap_moves_the_cursor() -> None:
    gap = {"kind": "gap", "cursor": "f-0", "reason": "unknown", "missed": None}
    again = event(1) | {"cursor": "f-1"}
    _, respond = scripted(page(event(1)), STREAM + frame(gap) + frame(again))
    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        assert await take(room, 2) == [event(1), gap]
        assert room.cursor == "f-0"
        receiving = asyncio.create_task(room.receive())
        await until(lambda: room.cursor == "f-1")
        assert not receiving.done()
    with pytest.raises(Closed):
        await receiving


async def test_a_stream_without_a_heartbeat_is_opened_again_at_its_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_IDLE_SECONDS", 0.05)
    streams = STREAM + frame(event(1)), STREAM + frame(event(2))
    targets, respond = scripted(page(), *streams)
    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        assert texts(await take(room, 2)) == ["1", "2"]
    assert targets[2] == "GET /rooms/r/sse?after=e-1"


async def test_a_message_is_sent_again_under_its_id_until_it_is_acknowledged() -> None:
    bodies: list[Any] = []
    fates = iter([None, refusal(503, "busy"), response(502, b"<h1>502</h1>", "text/html")])

    def respond(target: str, fields: dict[str, str], body: bytes) -> bytes | None:
        if not target.startswith("POST"):
            return STREAM if "/sse" in target else page()
        bodies.append(json.loads(body))
        return next(fates, response(201, {"id": bodies[-1]["id"], "cursor": "e-9"}))

    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        async with asyncio.timeout(SECONDS):
            receipt = await room.send("hello")
    assert receipt == {"id": bodies[0]["id"], "cursor": "e-9"}
    assert bodies == [bodies[0]] * 4


@each(
    "passing",
    [
        response(502, b"<h1>Bad Gateway</h1>", "text/html"),
        refusal(503, "no_broker"),
        refusal(429, "too_fast"),
        refusal(403, "name_not_approved"),
        # A date of RFC 9110 §10.2.3: we wait as long as without it.
        refusal(503, "maintenance", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"),
    ],
    ids=["proxy", "no_broker", "too_fast", "name_not_approved", "a date"],
)
async def test_what_may_pass_is_tried_again(passing: bytes) -> None:
    targets, respond = scripted(passing, passing, page(event(1)), STREAM)
    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        assert texts(await take(room, 1)) == ["1"]
    assert len(targets) == 4


@each(
    ("final", "error"),
    [
        (refusal(400, "bad_room"), Refused),
        (refusal(401, "ticket_expired"), Refused),
        (refusal(403, "removed"), Refused),
        (response(404, b"<h1>Not Found</h1>", "text/html"), BadResponse),
    ],
    ids=["bad_room", "ticket_expired", "removed", "another server"],
)
async def test_what_will_not_pass_is_raised_each_time(final: bytes, error: type[Exception]) -> None:
    targets, respond = scripted(final)
    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/r"
        with pytest.raises(error):
            async with connect(url, ticket="of yesterday"):
                pass
        room = connect(url)
        for call in (room.receive, room.receive, lambda: room.send("hello")):
            with pytest.raises(error):
                await call()
        await room.close()
    assert len(targets) == 4


FOREIGN = {
    "a login page": response(200, b"<h1>Log in</h1>", "text/html"),
    "a redirect": response(302, b""),
    "another JSON": response(200, {"hello": "world"}),
    "a list": response(200, []),
    "odd events": response(200, {"cursor": "e-1", "events": [1]}),
    "an error that is none": response(400, {"error": "no"}),
    "no UTF-8": response(200, b"\xff"),
    "broken gzip": response(200, b"xxxx", "application/json", "Content-Encoding: gzip"),
    "broken zstd": response(200, b"xxxx", "application/json", "Content-Encoding: zstd"),
    "an unknown coding": response(200, b"xxxx", "application/json", "Content-Encoding: pigeon"),
    "SSH": b"SSH-2.0-OpenSSH\r\n\r\n",
}


@each("foreign", FOREIGN.values(), ids=FOREIGN)
@each("transport", CLIENTS)
async def test_what_is_not_our_server_is_an_error(transport: str, foreign: bytes) -> None:
    _, respond = scripted(foreign)
    async with serving(respond) as server, asyncio.timeout(SECONDS):
        for after in (None, "e-1"):
            room = connect(f"http://127.0.0.1:{server.port}/r", transport=transport, after=after)
            with pytest.raises(BadResponse):
                await room.receive()
            await room.close()


@each("foreign", ["data: no JSON\n\n", "data: []\n\n", 'data: {"kind": "say"}\n\n'])
async def test_a_stream_that_is_not_ours_is_an_error(foreign: str) -> None:
    _, respond = scripted(page(), STREAM + foreign.encode())
    async with serving(respond) as server:
        room = connect(f"http://127.0.0.1:{server.port}/r")
        with pytest.raises(BadResponse):
            await take(room, 1)
        await room.close()


@each("foreign", [response(200, b"<h1>Log in</h1>", "text/html"), response(200, [])])
async def test_a_receipt_that_is_not_ours_is_an_error(foreign: bytes) -> None:
    def respond(target: str, fields: dict[str, str], body: bytes) -> bytes:
        return foreign if target.startswith("POST") else STREAM if "/sse" in target else page()

    async with serving(respond) as server, connect(f"http://127.0.0.1:{server.port}/r") as room:
        with pytest.raises(BadResponse):
            async with asyncio.timeout(SECONDS):
                await room.send("hello")


async def test_each_attempt_has_a_new_ticket() -> None:
    shown: list[str | None] = []
    expired = refusal(401, "ticket_expired")
    _, scripted_respond = scripted(page(), STREAM + frame(event(1)) + b":\n\n", expired, STREAM)

    def respond(target: str, fields: dict[str, str], body: bytes) -> bytes | None:
        shown.append(fields.get("authorization"))
        answered = scripted_respond(target, fields, body)
        return response(201, {"id": "x", "cursor": "e-2"}) if len(shown) == 5 else answered

    made = iter("abc")

    async def get_ticket() -> str:
        return next(made)

    async with serving(respond) as server, asyncio.timeout(SECONDS):
        url = f"http://127.0.0.1:{server.port}/r"
        async with connect(url, ticket=get_ticket) as room:
            await room.send("with the second ticket")
    assert shown == [*["bearer a"] * 3, *["bearer b"] * 2]


# --- calls that are cancelled, and the end -------------------------------------------------------


async def test_a_program_that_waits_with_a_short_timeout_connects() -> None:
    port = free_port()
    _, respond = scripted(page(event(1)), STREAM)
    room = connect(f"http://127.0.0.1:{port}/r")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await room.receive()
    async with serving(respond) as server, _relay(port, server.port), asyncio.timeout(SECONDS):
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.002):
                    assert (await room.receive())["text"] == "1"
                    break
        await room.close()


@asynccontextmanager
async def _relay(port: int, target: int) -> AsyncIterator[None]:
    """Listen at `port`, and answer slower than a short timeout."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await asyncio.sleep(0.01)
            writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", target)
        with suppress(OSError):
            await asyncio.wait(
                [asyncio.create_task(copy(reader, forth)), asyncio.create_task(copy(back, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        forth.close()
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", port)
    async with server:
        yield


async def test_close_ends_what_waits() -> None:
    _, respond = scripted(page(), STREAM)
    async with serving(respond) as server:
        room = connect(f"http://127.0.0.1:{server.port}/r")

        async def iterate() -> list[Event]:
            return [event async for event in room]

        async with room:
            iterating = asyncio.create_task(iterate())
            receiving = asyncio.create_task(room.receive())
            await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS):
            assert await iterating == []
            with pytest.raises(Closed):
                await receiving
        for call in (room.receive, lambda: room.send("hello")):
            with pytest.raises(Closed):
                await call()
        assert not room.connected


async def test_close_ends_a_reader_between_two_polls() -> None:
    targets, respond = scripted(page())
    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/r"
        async with connect(url, transport="short_polling", interval=0.1) as room:
            receiving = asyncio.create_task(room.receive())
            await asyncio.sleep(0)
        with pytest.raises(Closed):
            async with asyncio.timeout(SECONDS):
                await receiving
    assert len(targets) == 2


async def test_close_ends_an_attempt() -> None:
    room = connect(f"http://127.0.0.1:{free_port()}/r")
    receiving = asyncio.create_task(room.receive())
    await asyncio.sleep(0.01)
    await room.close()
    with pytest.raises(Closed):
        await receiving


async def test_an_iteration_without_a_context_is_cut_at_its_end() -> None:
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await reader.readuntil(b"\r\n\r\n")
        stream = b"/sse" in target
        writer.write(STREAM + frame(event(1)) if stream else page())
        if stream:
            with suppress(ConnectionResetError):
                await reader.read()
            ended.set()

    async with FakeServer(answer) as server, asyncio.timeout(SECONDS):
        async for one in connect(f"http://127.0.0.1:{server.port}/r"):
            assert one == event(1)
            break
        await ended.wait()


# --- a real server -------------------------------------------------------------------------------


async def test_a_member_leaves_the_room(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--grace-seconds", "0.2")
    async with connect(f"{server.url}/{room}") as watcher:
        async with connect(f"{server.url}/{room}", name="Ada") as ada:
            (joined,) = await take(watcher, 1)
            assert (joined["kind"], joined["client"]) == ("join", ada.client)
        assert (await get_json(server.url, f"/rooms/{room}/members"))["members"] == []
        (quit,) = await take(watcher, 1)
        assert (quit["kind"], quit["client"]) == ("quit", ada.client)


async def test_a_program_that_only_sends_keeps_a_few_events(
    servers: Servers, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MAX_UNREAD", 3)
    server = servers.get("memory", "--messages-per-second", "0")
    async with connect(f"ws://127.0.0.1:{server.port}/{room}", after="now") as one:
        for number in range(10):
            await one.send(f"{number}")
        client = one._open_client
        assert client is None or client.unread <= 4
        assert texts(await take(one, 10)) == [str(number) for number in range(10)]


async def test_a_certificate_that_is_not_trusted_is_an_error(servers: Servers, room: str) -> None:
    server = servers.get("tls")
    url = f"wss://127.0.0.1:{server.port}/{room}"
    trusting = ssl.create_default_context(cafile=str(servers.certificate))
    async with connect(url, tls=trusting) as one:
        await one.send("hello")
    with pytest.raises(ssl.SSLCertVerificationError):
        async with connect(url, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
            pass


# --- addresses and waits -------------------------------------------------------------------------


@each(
    ("url", "room", "transport"),
    [
        ("ws://127.0.0.1:8000/lobby", "lobby", "websocket"),
        ("wss://example.org/lobby", "lobby", "websocket"),
        ("http://[::1]:8000/lobby", "lobby", "sse"),
        ("https://example.org/chat/lobby", "lobby", "sse"),
        ("ws://localhost/聊天室", "聊天室", "websocket"),
        ("ws://localhost/%E8%81%8A%E5%A4%A9%E5%AE%A4", "聊天室", "websocket"),
    ],
)
async def test_an_address_names_a_room_and_a_transport(url: str, room: str, transport: str) -> None:
    one = connect(url)
    assert (one.room, one.transport) == (room, transport)


@each(
    "url",
    [
        *("127.0.0.1:8000/lobby", "ftp://h/lobby", "ws://h", "ws://h/", "ws:///lobby"),
        *("ws://h/lobby?after=now", "ws://h/lobby#x", "ws://user:password@h/lobby", "ws://h:0/r"),
    ],
)
def test_what_is_no_address_of_a_room_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match="not the address of a room"):
        connect(url)


def test_a_port_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="Port"):
        connect("ws://127.0.0.1:80000/lobby")


def test_an_unknown_transport_is_an_error() -> None:
    with pytest.raises(ValueError, match="carrier_pigeon"):
        connect("ws://h/lobby", transport="carrier_pigeon")


@each(
    ("option", "transport"),
    [("interval", "sse"), ("wait", "websocket"), ("pad", "sockjs"), ("udp_port", "socketio")],
)
def test_an_option_of_another_transport_is_an_error(option: str, transport: str) -> None:
    with pytest.raises(ValueError, match=f"`{option}` is an option of .*, and not of {transport}"):
        connect("ws://127.0.0.1/lobby", transport=transport, **{option: 1})


@each("field", [("X", "a\r\nY: b"), ("X\n", "a"), ("X Y", "a"), ("X", "聊"), ("", "a")])
async def test_what_is_no_header_field_is_an_error(field: tuple[str, str]) -> None:
    """A program may pass on what its users write: it must not become another field, or request."""
    with pytest.raises(ValueError, match="header field"):
        await connect("ws://127.0.0.1:1/lobby", headers=dict([field])).receive()


async def test_a_ticket_with_a_line_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="'Authorization'"):
        await connect("ws://127.0.0.1:1/lobby", ticket="a\nb").receive()


async def test_a_server_may_be_below_a_path() -> None:
    targets, respond = scripted(page(), STREAM)
    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/a/chat/lobby"
        async with connect(url):
            pass
    assert targets[1] == "GET /a/chat/rooms/lobby/sse?after=e-0"


@each(("failures", "seconds"), [(0, 1), (1, 2), (3, 8), (4, 10), (10**6, 10)])
def test_the_wait_is_random_below_a_ceiling_that_grows(
    failures: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MIN_CEILING", 1.0)
    waits = [connection._wait(failures, Closed(None, "")) for _ in range(200)]
    assert seconds / 2 < max(waits) <= seconds
    assert min(waits) < seconds / 2
    assert 7 <= connection._wait(failures, Refused(503, "busy", "", 7)) <= 7 + seconds
