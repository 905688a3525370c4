"""Socket.IO on the wire: packets over polls, over a WebSocket, and during an upgrade."""

import asyncio
import base64
import json
import secrets
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import quote

import pytest
from tornado.websocket import websocket_connect

from realtime.client import request
from realtime.client.http import Response
from realtime.core.events import Cursor, Event, Member
from realtime.transports.base import NOW, Subscription
from realtime.transports.socketio.clients import (
    CursorClient,
    LegacyClient,
    SocketIOClient,
    frame,
    legacy_frame,
)
from realtime.transports.socketio.session import SendQueue
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.fake_services import CALLS_AFTER_DISCONNECT, FakeServices
from tests.transports.readers import SECONDS, reader, say_in, take

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# The handshake of RFC 6455 §1.3.
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
ID = "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677"
OURS = {"client": "me", "name": "Me", "after": "now"}


class Connection:
    """One TCP connection, on which a test writes and reads raw bytes."""

    def __init__(self, server: Server, address: str = "127.0.0.1") -> None:
        self._server, self._address = server, address

    async def __aenter__(self) -> Self:
        client = socket.socket()
        # A small buffer, so that little is in transit to a client that does not read.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.bind((self._address, 0))
        client.connect(("127.0.0.1", self._server.port))
        client.setblocking(False)
        self._reader, self.writer = await asyncio.open_connection(sock=client, limit=4096)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    def request(self, method: str, path: str, *fields: str, body: str = "") -> None:
        data = body.encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._server.port}", *fields]
        if data:
            lines.append(f"Content-Length: {len(data)}")
        self.writer.write("\r\n".join((*lines, "", "")).encode() + data)

    async def head(self) -> list[str]:
        async with asyncio.timeout(SECONDS):
            data = await self._reader.readuntil(b"\r\n\r\n")
        return data.decode().split("\r\n")[:-2]

    async def response(self) -> tuple[int, str]:
        """Return the status and the body of the next response."""
        head = await self.head()
        lengths = [line.partition(": ")[2] for line in head if line.startswith("Content-Length")]
        async with asyncio.timeout(SECONDS):
            body = await self._reader.readexactly(int(lengths[0]))
        return int(head[0].split()[1]), body.decode()

    # --- frames ----------------------------------------------------------------------------------

    async def handshake(self, path: str) -> None:
        self.request("GET", path, *UPGRADE)
        assert (await self.head())[0] == "HTTP/1.1 101 Switching Protocols"

    def write(self, text: str, first: int = 0x81) -> None:
        """Send one masked frame; a masking key of zeros leaves the text readable."""
        data = text.encode()
        size = len(data)
        length = bytes((0x80 | size,)) if size <= 125 else b"\xfe" + size.to_bytes(2)
        self.writer.write(bytes((first,)) + length + bytes(4) + data)

    async def rest(self) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    async def frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(SECONDS):
            first, second = await self._reader.readexactly(2)
            size = {126: 2, 127: 8}.get(second, 0)
            length = int.from_bytes(await self._reader.readexactly(size)) if size else second
            return first, await self._reader.readexactly(length)

    async def read(self) -> str:
        """Return the next packet."""
        first, data = await self.frame()
        assert first == 0x81, (first, data)
        return data.decode()

    async def close_code(self) -> int:
        """Return the code of the close frame; discard the frames before it."""
        while True:
            first, data = await self.frame()
            if first == 0x88:
                return int.from_bytes(data[:2])


class Client:
    """A Socket.IO client that shows every packet; `read` returns the next one."""

    def __init__(self, server: Server, room: str, address: str, **query: str) -> None:
        self.server, self.address = server, address
        query = {"roomid": room, "EIO": "4", **query}
        self.path = "/socket.io/?" + "&".join(f"{k}={quote(v)}" for k, v in query.items())
        self.unread: list[str] = []

    async def connect(self) -> None:
        self.write("40")
        while (packet := await self.read()) in ("2", "6"):
            if packet == "2":  # a ping; a NOOP may follow an upgrade with a ping in between
                self.write("3")
        assert packet.startswith('40{"sid":')

    def write(self, *packets: str) -> None:
        raise NotImplementedError

    async def receive(self) -> list[str]:
        raise NotImplementedError

    async def read(self) -> str:
        while not self.unread:
            self.unread += await self.receive()
        return self.unread.pop(0)

    def emit(self, name: str, argument: Any, id: int | str = "") -> None:
        self.write(f"42{id}" + json.dumps([name, argument]))

    async def take(self, count: int, kind: str = "42") -> list[Any]:
        """Return the content of the next `count` packets of a kind; answer pings."""
        content: list[Any] = []
        while len(content) < count:
            packet = await self.read()
            if packet == "2":
                self.write("3")
            elif packet.startswith(kind):
                content.append(json.loads(packet[packet.index("[") :]))
        return content


class PollingClient(Client):
    """Over polls, all on one connection; posts use another."""

    async def open(self, stack: "Stack") -> None:
        self.path += "&transport=polling"
        self.down = await stack.enter(Connection(self.server, self.address))
        self.up = await stack.enter(Connection(self.server, self.address))
        status, opening = await self.poll()
        assert status == 200, opening
        assert opening[0] == "0"
        self.opened = json.loads(opening[1:])
        self.path += f"&sid={self.opened['sid']}"
        self._unanswered = 0

    async def poll(self) -> tuple[int, str]:
        self.down.request("GET", self.path)
        return await self.down.response()

    async def receive(self) -> list[str]:
        status, payload = await self.poll()
        assert status == 200, payload
        return payload.split("\x1e")

    def write(self, *packets: str) -> None:
        self.up.request("POST", self.path, body="\x1e".join(packets))
        self._unanswered += 1

    async def post(self, body: str) -> tuple[int, str]:
        while self._unanswered:
            assert await self.up.response() == (200, "ok")
            self._unanswered -= 1
        self.up.request("POST", self.path, body=body)
        return await self.up.response()


class WebSocketClient(Client):
    """Over a WebSocket from the start."""

    async def open(self, stack: "Stack") -> None:
        self.connection = await stack.enter(Connection(self.server, self.address))
        await self.connection.handshake(self.path + "&transport=websocket")
        self.opened = json.loads((await self.connection.read())[1:])

    async def receive(self) -> list[str]:
        return [await self.connection.read()]

    def write(self, *packets: str) -> None:
        for packet in packets:
            self.connection.write(packet)


class UpgradedClient(PollingClient):
    """Over polls, then over a WebSocket."""

    connection: Connection | None = None

    async def open(self, stack: "Stack") -> None:
        await super().open(stack)
        self.down.request("GET", self.path)
        connection = await stack.enter(Connection(self.server, self.address))
        await connection.handshake(self.path.replace("=polling", "=websocket"))
        connection.write("2probe")
        assert await connection.read() == "3probe"
        while (response := await self.down.response()) == (200, "2"):  # a ping came first
            self.down.request("GET", self.path)
        assert response[0] == 200
        assert response[1].split("\x1e")[-1] == "6"
        connection.write("5")
        self.connection = connection

    async def receive(self) -> list[str]:
        if self.connection is None:
            return await super().receive()
        return [await self.connection.read()]

    def write(self, *packets: str) -> None:
        if self.connection is None:
            super().write(*packets)
        else:
            for packet in packets:
                self.connection.write(packet)


class Stack:
    def __init__(self) -> None:
        self.connections: list[Connection] = []

    async def enter(self, connection: Connection) -> Connection:
        self.connections.append(await connection.__aenter__())
        return connection


TRANSPORTS = {"polling": PollingClient, "websocket": WebSocketClient, "upgrade": UpgradedClient}


@asynccontextmanager
async def opened(
    server: Server, room: str, transport: str, address: str = "127.0.0.1", **query: str
) -> AsyncIterator[Any]:
    """An Engine.IO session that is not connected to Socket.IO yet."""
    client, stack = TRANSPORTS[transport](server, room, address, **query), Stack()
    try:
        await client.open(stack)
        yield client
    finally:
        for connection in stack.connections:
            connection.writer.close()


@asynccontextmanager
async def connected(server: Server, room: str, transport: str, **query: str) -> AsyncIterator[Any]:
    async with opened(server, room, transport, **query) as client:
        await client.connect()
        yield client
        client.write("1")


@pytest.fixture(params=[*TRANSPORTS])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def http(server: Server, method: str, path: str, **headers: str) -> Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request(server.url, method, path, b"", fields)


# --- a client that disconnects while it joins ----------------------------------------------------


def client_of(kind: type[SocketIOClient], services: Any, member: Member | None) -> SocketIOClient:
    client = kind(services, "127.0.0.1", Subscription("lobby", NOW, member), Cursor("epoch", 7))
    client.start(SimpleNamespace(sid="id", queue=SendQueue(1000)), lambda run: None)
    return client


@pytest.mark.parametrize("call", CALLS_AFTER_DISCONNECT)
async def test_a_client_that_disconnects_during_its_join_leaves_the_room(call: str) -> None:
    services = FakeServices(held=call)
    client = client_of(CursorClient, services, Member("me", "Me", "socketio"))
    joining = asyncio.create_task(client.connect())
    await services.wait_until_held()
    client.on_closed()
    services.release()
    await joining
    assert services.calls == CALLS_AFTER_DISCONNECT[call]


async def test_a_tutorial_s_client_that_disconnects_during_its_join_leaves_the_room() -> None:
    services = FakeServices(held="track")
    client = client_of(LegacyClient, services, None)
    await client.connect()
    joining = asyncio.create_task(client.handle_event("join", {"username": "Ada"}))
    await services.wait_until_held()
    client.on_closed()
    services.release()
    await joining
    assert services.calls == ["follow", "add", "track", "remove", "untrack"]


# --- one event, one packet -----------------------------------------------------------------------


def test_an_event_is_one_packet_around_its_json() -> None:
    event = Event(Cursor("e", 1), '{"kind":"say","text":"聊"}'.encode())
    assert frame(event) == '\x1e42["event",{"kind":"say","text":"聊"}]'.encode()


@each(
    ("fields", "message"),
    [
        (
            '"kind":"join","name":"Ada"',
            '{"event":"join","data":{"username":"Ada"}}',
        ),
        (
            '"kind":"say","name":"Ada","text":"\\u001e聊"',
            '{"event":"broadcast_say","data":{"username":"Ada","text":"\\u001e聊"}}',
        ),
        (
            '"kind":"say","name":null,"text":"x"',
            '{"event":"broadcast_say","data":{"username":"somebody","text":"x"}}',
        ),
        (
            '"kind":"quit","name":"Ada"',
            '{"event":"broadcast_quit","data":{"username":"Ada"}}',
        ),
        (
            '"kind":"gap","cursor":"e-1","reason":"trimmed","missed":3',
            '{"event":"gap","data":{"reason":"trimmed","missed":3}}',
        ),
    ],
)
def test_a_legacy_frame_has_the_form_that_the_tutorial_s_client_expects(
    fields: str, message: str
) -> None:
    event = Event(Cursor("e", 1), f"{{{fields}}}".encode())
    assert legacy_frame(event) == f'\x1e42["message",{message}]'.encode()


# --- the tutorial's client ------------------------------------------------------------------------


async def test_the_tutorial_s_client_joins_sends_and_quits(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, "--grace-seconds", "0.1")
    async with reader(server, "sse", room, after="now") as other:
        async with connected(server, room, transport) as client:
            client.emit("join", {"username": "Ada"})
            (joined,) = await client.take(1)
            client.emit("say", {"text": "聊天 \u001e </script>"})
            (echo,) = await client.take(1)
            await say_in(server, room, "from elsewhere")
            (received,) = await client.take(1)
        join, say, _, quit = await take(other, 4)
    assert joined == ["message", {"event": "join", "data": {"username": "Ada"}}]
    data = {"username": "Ada", "text": "聊天 \u001e </script>"}
    assert echo == ["message", {"event": "broadcast_say", "data": data}]
    assert received[1]["data"] == {"username": "somebody", "text": "from elsewhere"}
    assert [e["kind"] for e in (join, say, quit)] == ["join", "say", "quit"]
    assert {(e["client"], e["name"], e["via"]) for e in (join, say, quit)} == {
        (join["client"], "Ada", "socketio")
    }
    assert say["text"] == data["text"]


async def test_the_tutorial_s_client_sees_others_join_and_quit(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, "--grace-seconds", "0.1")
    async with connected(server, room, transport) as client:
        async with reader(server, "sse", room, client="you", name="You"):
            (join,) = await client.take(1)
        (quit,) = await client.take(1)
    assert (join[1]["event"], quit[1]["event"]) == ("join", "broadcast_quit")
    assert join[1]["data"] == quit[1]["data"] == {"username": "You"}


async def test_the_tutorial_s_client_gets_no_history(server: Server, room: str) -> None:
    await say_in(server, room, "before")
    async with connected(server, room, "polling") as client:
        await say_in(server, room, "after")
        (received,) = await client.take(1)
    assert received[1]["data"]["text"] == "after"


@each(
    ("event", "argument", "code"),
    [
        ("join", {"username": "x" * 33}, "bad_name"),
        ("join", {"username": 7}, "bad_name"),
        ("join", None, "bad_name"),
        ("say", {"text": "no name"}, "bad_name"),
        ("connect", {}, "bad_request"),
        ("disconnect", {}, "bad_request"),
    ],
)
async def test_an_invalid_event_gets_an_error_and_the_session_continues(
    server: Server, room: str, transport: str, event: str, argument: Any, code: str
) -> None:
    room += secrets.token_hex(4)  # the member of the last case quits after the grace period
    async with connected(server, room, transport) as client:
        client.emit(event, argument)
        ((name, trouble),) = await client.take(1)
        client.emit(event, argument, 12)
        ((error,),) = await client.take(1, "4312")
        client.emit("join", {"username": "Ada"}, 0)
        assert await client.take(1, "430") == [[{"kind": "ack"}]]
    assert (name, trouble.keys(), trouble["code"]) == ("trouble", {"code", "message"}, code)
    assert (error["kind"], error["code"]) == ("error", code)


async def test_a_name_cannot_change_and_a_join_can_be_repeated(server: Server, room: str) -> None:
    async with connected(server, room, "websocket") as client:
        for id, username in enumerate(("Ada", "Ada", "Eve")):
            client.emit("join", {"username": username}, id)
        replies = await client.take(3, "43")
        members = (await http(server, "GET", f"/rooms/{room}/members")).json()["members"]
    assert [a.get("code") for (a,) in replies] == [None, None, "bad_name"]
    assert [m["name"] for m in members] == ["Ada"]


# --- our own dialect -----------------------------------------------------------------------------


async def test_our_dialect_carries_what_every_transport_does(
    server: Server, room: str, transport: str
) -> None:
    async with (
        reader(server, "sse", room, after="now") as other,
        connected(server, room, transport, **OURS) as client,
    ):
        ((_, join),) = await client.take(1)
        message = {"id": ID, "client": "me", "name": "Me", "text": "hi", "sent": 5}
        client.emit("say", message, 3)
        packets = [await client.read() for _ in range(2)]
        client.emit("say", message, 4)  # repeated, with the same id
        ((repeated,),) = await client.take(1, "434")
        there = await take(other, 2)
    (acked,) = (p for p in packets if p.startswith("433["))
    (event,) = (p for p in packets if p.startswith('42["event",'))
    _, say = json.loads(event[2:])
    assert [join, say] == there
    assert json.loads(acked[3:]) == [{"kind": "ack", "id": ID, "cursor": say["cursor"]}]
    assert repeated == {"kind": "ack", "id": ID, "cursor": say["cursor"]}
    assert {name: say[name] for name in message} == message
    assert say["via"] == "socketio"


async def test_our_dialect_resumes_by_cursor(server: Server, room: str, transport: str) -> None:
    seen, *missed = await say_in(server, room, "one", "two", "three")
    async with connected(server, room, transport, after=seen) as client:
        events = await client.take(2)
    assert [event["cursor"] for _, event in events] == missed


async def test_a_client_without_a_cursor_gets_history(server: Server, room: str) -> None:
    await say_in(server, room, "before")
    async with connected(server, room, "websocket", client="me") as client:
        ((_, event),) = await client.take(1)
    assert event["text"] == "before"


async def test_a_cursor_of_an_unknown_epoch_gets_a_gap(server: Server, room: str) -> None:
    await say_in(server, room, "one")
    async with connected(server, room, "polling", after="gone-7") as client:
        (_, gap), (_, one) = await client.take(2)
    assert (gap["kind"], gap["reason"], one["text"]) == ("gap", "unknown", "one")


@each(
    ("query", "status", "code"),
    [
        ("EIO=4", 400, "bad_room"),
        ("EIO=4&roomid=a%20b", 400, "bad_room"),
        ("EIO=4&roomid=%ff", 400, "bad_room"),
        ("EIO=4&roomid=a&after=x", 400, "bad_cursor"),
        ("EIO=4&roomid=a&client=%20", 400, "bad_client"),
        ("EIO=4&roomid=a&client=me&name=" + "x" * 33, 400, "bad_name"),
        ("EIO=3&roomid=a", 400, "bad_request"),
        ("roomid=a", 400, "bad_request"),
        ("EIO=4&roomid=a&j=0", 400, "bad_request"),
        ("EIO=4&roomid=a&sid=nobody", 400, "bad_request"),
        ("EIO=4&roomid=a&transport=flashsocket", 400, "bad_request"),
        ("EIO=4&roomid=a&transport=websocket", 426, "upgrade_required"),
    ],
)
async def test_an_invalid_query_is_refused_before_a_session_starts(
    server: Server, query: str, status: int, code: str
) -> None:
    for path in ("/socket.io/", "/socket.io"):
        response = await http(server, "GET", f"{path}?{query}")
        assert (response.status, response.json()["error"]["code"]) == (status, code)


async def test_an_invalid_query_of_a_websocket_gets_an_http_status(server: Server) -> None:
    async with Connection(server) as connection:
        connection.request("GET", "/socket.io/?EIO=4&transport=websocket", *UPGRADE)
        status, body = await connection.response()
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_room")


# --- admission -----------------------------------------------------------------------------------


async def test_a_page_of_another_site_gets_no_session(server: Server, room: str) -> None:
    path = f"/socket.io/?EIO=4&roomid={room}"
    for fields in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        response = await http(server, "GET", path, **fields)
        assert (response.status, response.json()["error"]["code"]) == (403, "foreign_origin")
    response = await http(server, "GET", path, Host="evil.example")
    assert (response.status, response.json()["error"]["code"]) == (403, "foreign_host")


async def test_a_page_of_another_site_cannot_open_a_websocket(server: Server, room: str) -> None:
    async with Connection(server) as connection:
        path = f"/socket.io/?EIO=4&transport=websocket&roomid={room}"
        connection.request("GET", path, *UPGRADE, "Origin: http://evil.example")
        assert (await connection.response())[0] == 403


async def test_a_session_cannot_be_used_from_another_address(server: Server, room: str) -> None:
    async with (
        connected(server, room, "polling") as client,
        Connection(server, "127.0.0.2") as other,
    ):
        for method in ("GET", "POST"):
            other.request(method, client.path, body="41" if method == "POST" else "")
            status, body = await other.response()
            assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")
        other.request("GET", client.path.replace("=polling", "=websocket"), *UPGRADE)
        assert (await other.response())[0] == 400
        client.emit("join", {"username": "still here"}, 1)
        assert await client.take(1, "431")


async def test_a_page_from_another_of_our_ports_may_poll(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--lanes", "2")
    _, other = (await http(server, "GET", "/lab")).json()["lanes"]
    page = {"Origin": f"http://127.0.0.1:{other}", "Sec_Fetch_Site": "same-site"}
    path = f"/socket.io/?EIO=4&roomid={room}"
    response = await http(server, "GET", path, **page)
    refused = await http(server, "GET", path + "&sid=x", **page)
    permitted = await http(server, "OPTIONS", path, **page)
    assert (response.status, refused.status, permitted.status) == (200, 400, 204)
    for head in (response.head, refused.head, permitted.head):
        assert head.fields["access-control-allow-origin"] == page["Origin"]
        assert head.fields["vary"] == "Origin"
    assert "POST" in permitted.head.fields["access-control-allow-methods"]
    assert (await http(server, "OPTIONS", path)).status == 405


# --- invalid packets -----------------------------------------------------------------------------

INVALID_PACKETS = [
    *("", "x", "7", "9", "{}", "\x00", "4", "4x", "47[]", '4{"a":1}', "4[1]", "4" + "[" * 5000),
    *("bAAAA", "0", "2", "2probe ", "6", "d=40", "40\x1e", "\x1e40", "40\x1e\x1e3", "44{}", "٤0"),
    *("42", "42{}", "42[]", "42[1]", '42["say"', '42["say",' + "[" * 5000, "42x[]", "42/other,[]"),
    *('42/other,["say"]', "41/other,", '45["say",{}]', '452-["say",{}]', "43[]", "431[]", "46"),
    *('451-9999999["say",{"_placeholder":true,"num":0}]', "459999999999999-[]", "4299999-[]"),
    *('42["say",' + "9" * 200 + "]", "42" + "9" * 120 + '["say",{}]'),
]


async def test_an_invalid_packet_ends_only_its_own_session_and_is_not_logged(
    servers: Servers, room: str
) -> None:
    with servers.make("memory", "--connections", "400") as server:
        async with connected(server, room, "websocket") as neighbour:
            for transport in ("polling", "websocket"):
                for invalid in INVALID_PACKETS:
                    await _end_session_with(server, room, transport, invalid)
            neighbour.emit("join", {"username": "Ada"}, 1)
            assert await neighbour.take(1, "431")
        server.stop()
        await server.ended()
    lines = [json.loads(line)["message"] for line in server.complaints.splitlines()]
    assert lines == ["stopping"]


async def _end_session_with(server: Server, room: str, transport: str, invalid: str) -> None:
    for connect in (True, False):
        async with opened(server, room, transport) as client:
            if connect:
                await client.connect()
            if transport == "websocket":
                if "\x1e" in invalid or invalid in ("2", "2probe "):
                    continue
                length = len(invalid.encode())
                assert length < 2**16
                client.write(invalid)
                assert await client.connection.close_code() == 4400, invalid
            else:
                status, body = await client.post(invalid)
                assert status == 400, (invalid, status, body)
                assert json.loads(body)["error"]["code"] in ("bad_request", "bad_json")
                assert (await client.poll())[0] == 400


async def test_binary_data_ends_the_session(server: Server, room: str) -> None:
    async with opened(server, room, "websocket") as client:
        client.connection.write("40", first=0x82)
        assert await client.connection.close_code() == 4400


async def test_numbers_that_are_not_json_are_refused(server: Server, room: str) -> None:
    async with connected(server, room, "websocket", **OURS) as client:
        for id, argument in enumerate(("NaN", '{"text":"x","sent":Infinity}', "[]", '"\\ud800"')):
            client.write(f'42{id}["say",{argument}]')
            ((error,),) = await client.take(1, f"43{id}")
            assert error["code"] == "bad_json"
        client.write('429["say",{"text":"\\ud800"}]')
        ((error,),) = await client.take(1, "439")
    assert error["code"] == "bad_text"


async def test_an_unknown_namespace_is_refused(server: Server, room: str) -> None:
    async with connected(server, room, "websocket") as client:
        client.write("40/other,")
        assert await client.read() == '44/other,"Unable to connect"'
        client.write("40")  # a second time
        assert await client.read() == '44"Unable to connect"'
        client.emit("join", {"username": "Ada"}, 1)
        assert await client.take(1, "431")


async def test_a_payload_that_is_too_long_gets_413(server: Server, room: str) -> None:
    async with connected(server, room, "polling") as client:
        status, body = await client.post('42["say",{"text":"' + "x" * 70_000 + '"}]')
        assert (status, json.loads(body)["error"]["code"]) == (413, "too_long")
        status, _ = await client.post('421["say",{"text":"' + "x" * 17_000 + '"}]')
        assert status == 200
        ((error,),) = await client.take(1, "431")
    assert error["code"] == "bad_name"


async def test_one_payload_can_have_many_packets(server: Server, room: str) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        await client.take(1)
        status, _ = await client.post(
            "\x1e".join(f'42["say",{{"text":"{number}"}}]' for number in range(100))
        )
        events = await client.take(100)
    assert status == 200
    assert [event["text"] for _, event in events] == [str(number) for number in range(100)]


async def test_a_second_poll_at_a_time_is_refused(server: Server, room: str) -> None:
    async with connected(server, room, "polling") as client, Connection(server) as second:
        client.down.request("GET", client.path)
        await asyncio.sleep(0.05)
        second.request("GET", client.path)
        assert (await second.response())[0] == 400
        client.emit("join", {"username": "Ada"})
        assert (await client.down.response())[0] == 200


async def test_a_client_above_its_rate_is_asked_to_retry_later(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--messages-per-second", "1", "--message-burst", "2")
    async with connected(server, room, "websocket", **OURS) as client:
        for id in range(3):
            client.emit("say", {"text": "x", "client": "fast"}, id)
        replies = [reply for (reply,) in await client.take(3, "43")]
    assert [reply["kind"] for reply in replies] == ["ack", "ack", "error"]
    assert (replies[2]["code"], replies[2]["retry_after"]) == ("too_fast", 1)


async def test_sessions_are_counted_like_connections(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--connections-per-address", "5")
    path = f"/socket.io/?EIO=4&roomid={room}"
    statuses = [(await http(server, "GET", path)).status for _ in range(6)]
    assert statuses == [200] * 5 + [503]


# --- slow readers --------------------------------------------------------------------------------


async def pushed(server: Server, client: str) -> int:
    """Return how many events were pushed to a client."""
    report = (await http(server, "GET", f"/wire?client={client}")).json()["transports"]
    return int(report["socketio"]["events"])


async def test_nothing_is_queued_for_a_reader_that_does_not_read(
    server: Server, room: str, transport: str
) -> None:
    query = OURS | {"client": room}
    async with connected(server, room, transport, **query) as client:
        await client.take(1)
        await say_in(server, room, *(f"{n:04}" + "x" * 4000 for n in range(150)))
        waiting = await pushed(server, room) * 4000
        events = await client.take(150)
    # A push has 32 KiB; the kernel buffers about 128 KiB on each side.
    assert waiting < (20_000 if transport == "polling" else 400_000)
    assert [int(event["text"][:4]) for _, event in events] == [*range(150)]


async def test_a_payload_has_a_size_limit(server: Server, room: str) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        await client.take(1)
        await say_in(server, room, *["x" * 4000] * 30)
        _, payload = await client.poll()
    assert 16_000 < len(payload) < 40_000


async def test_a_reader_outside_the_history_window_gets_a_gap(
    servers: Servers, hub: str, room: str, transport: str
) -> None:
    server = servers.get(hub, "--messages-per-second", "0", "--history-events", "20")
    async with connected(server, room, transport, **OURS) as client:
        await client.take(1)
        await say_in(server, room, *["x" * 4000] * 150, "last")
        events: list[Any] = []
        while not events or events[-1].get("text") != "last":
            events += [event for _, event in await client.take(1)]
    (gap,) = (event for event in events if event["kind"] == "gap")
    assert gap["reason"] == "trimmed"
    assert len(events) + gap["missed"] == 152


async def test_a_client_that_never_reads_its_acknowledgements_is_closed(
    servers: Servers, room: str
) -> None:
    limits = "--messages-per-second", "0", "--write-deadline-seconds", "60"
    server = servers.get("memory", *limits)
    async with connected(server, room, "websocket", client=room) as client:
        for id in range(30_000):
            client.emit("say", 0, id)
        async with asyncio.timeout(SECONDS):
            while b'realtime_refused_total{code="too_slow"}' not in await metrics(server):
                await asyncio.sleep(0.05)
        assert await client.connection.close_code() == 4408


async def metrics(server: Server) -> bytes:
    return (await http(server, "GET", "/metrics")).body


async def test_a_client_that_posts_and_never_polls_is_closed(server: Server, room: str) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        many = "\x1e".join(f'42{id}["say",0]' for id in range(1000))
        status, body = await client.post(many)
        assert (status, json.loads(body)["error"]["code"]) == (408, "too_slow")
        assert (await client.poll())[0] == 400


# --- the end of a session ------------------------------------------------------------------------


async def test_an_unanswered_ping_ends_the_session(
    servers: Servers, room: str, transport: str
) -> None:
    brief = "--heartbeat-seconds", "0.1", "--request-seconds", "0.5", "--grace-seconds", "0.1"
    server = servers.get("memory", *brief)
    async with (
        reader(server, "sse", room, after="now") as other,
        connected(server, room, transport, **OURS) as client,
    ):
        await client.take(1)
        while await client.read() != "2":
            pass
        client.write("3")  # and never again
        assert [event["kind"] for event in await take(other, 2)] == ["join", "quit"]


async def test_a_poll_that_disconnects_ends_the_session(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--grace-seconds", "0.1")
    async with reader(server, "sse", room, after="now") as other:
        async with opened(server, room, "polling", **OURS) as client:
            await client.connect()
            await client.take(1)
            client.down.request("GET", client.path)
            await asyncio.sleep(0.05)
        assert [event["kind"] for event in await take(other, 2)] == ["join", "quit"]


async def test_ended_sessions_leave_no_tasks(servers: Servers, room: str) -> None:
    brief = "--heartbeat-seconds", "0.1", "--request-seconds", "0.5", "--grace-seconds", "0.1"
    with servers.make("memory", *brief) as server:
        # The first session starts the tasks that stay: the ping monitor, and those of the room.
        for transport in TRANSPORTS:
            async with connected(server, room, transport, client="me", name="Me"):
                pass
        await asyncio.sleep(1)
        before = await tasks(server)
        for transport in TRANSPORTS:
            for number in range(20):
                async with opened(server, room, transport, **OURS) as client:
                    await client.connect()
                    if number % 2:
                        client.write("not a packet")
                        for _ in range(5):  # after the session has ended
                            client.write("3")
                        await asyncio.sleep(0.05)
        async with asyncio.timeout(SECONDS):
            while await tasks(server) > before:
                await asyncio.sleep(0.1)


async def tasks(server: Server) -> float:
    lines = (await metrics(server)).decode().splitlines()
    (tasks,) = (line for line in lines if line.startswith("realtime_tasks "))
    return float(tasks.split()[1])


@pytest.mark.parametrize("packets", [["1"], ["41", "1"]])
async def test_a_client_can_end_its_session(
    servers: Servers, room: str, transport: str, packets: list[str]
) -> None:
    server = servers.get("memory", "--grace-seconds", "0.1")
    async with (
        reader(server, "sse", room, after="now") as other,
        opened(server, room, transport, **OURS) as client,
    ):
        await client.connect()
        await client.take(1)
        for packet in packets:
            client.write(packet)
        assert [event["kind"] for event in await take(other, 2)] == ["join", "quit"]
        if transport == "polling":
            assert (await client.poll())[0] == 400
        else:
            assert await client.connection.close_code() == 1000


async def test_a_client_that_disconnects_gets_no_events_and_may_not_emit(
    server: Server, room: str
) -> None:
    async with opened(server, room, "websocket", **OURS) as client:
        await client.connect()
        await client.take(1)
        client.write("41", "40")
        assert await client.read() == '44"Unable to connect"'
        await say_in(server, room, "not delivered")
        client.emit("say", {"text": "x"}, 1)
        assert "bad_request" in await client.read()
        assert await client.connection.close_code() == 4400


@pytest.mark.parametrize("probe", ["", "2probe", "3"])
async def test_an_abandoned_upgrade_does_not_affect_the_polls(
    server: Server, room: str, probe: str
) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        await client.take(1)
        async with Connection(server) as connection:
            await connection.handshake(client.path.replace("=polling", "=websocket"))
            if probe:
                connection.write(probe)
            if probe == "2probe":
                assert await connection.read() == "3probe"
        await asyncio.sleep(0.05)
        (cursor,) = await say_in(server, room, "hello")
        payloads = [(await client.poll())[1] for _ in range(2 if probe == "2probe" else 1)]
    if probe == "2probe":
        assert payloads.pop(0) == "6"  # to end the poll before the upgrade
    assert json.loads(payloads[0][2:])[1]["cursor"] == cursor


async def test_posts_cannot_overtake_each_other(servers: Servers, room: str) -> None:
    server = servers.get("redis", "--messages-per-second", "0")
    async with connected(server, room, "polling", **OURS) as client, Connection(server) as second:
        await client.take(1)
        client.write("\x1e".join(f'42["say",{{"text":"{number}"}}]' for number in range(400)))
        await asyncio.sleep(0.01)  # each packet takes a round trip to Redis
        second.request("POST", client.path, body='42["say",{"text":"overtaking"}]')
        assert (await second.response())[0] == 400
        received = [event["text"] for _, event in await client.take(400)]
    assert received == list(map(str, range(400)))


async def test_polls_and_posts_are_refused_after_the_upgrade(server: Server, room: str) -> None:
    async with connected(server, room, "upgrade") as client:
        client.up.request("POST", client.path, body="3")
        client.down.request("GET", client.path)
        responses = [await connection.response() for connection in (client.up, client.down)]
        client.emit("join", {"username": "Ada"}, 1)
        assert await client.take(1, "431")
    assert [status for status, _ in responses] == [400, 400]


async def test_a_second_websocket_is_refused(server: Server, room: str) -> None:
    async with (
        opened(server, room, "polling") as client,
        Connection(server) as one,
        Connection(server) as two,
    ):
        path = client.path.replace("=polling", "=websocket")
        await one.handshake(path)
        two.request("GET", path, *UPGRADE)
        assert (await two.response())[0] == 400


async def test_an_upgrade_loses_and_duplicates_nothing(server: Server, room: str) -> None:
    async with opened(server, room, "polling", **OURS) as client, Connection(server) as connection:
        await client.connect()
        await client.take(1)
        publishing = asyncio.create_task(say_in(server, room, *map(str, range(200))))
        received = [event["text"] for _, event in await client.take(20)]
        await connection.handshake(client.path.replace("=polling", "=websocket"))
        client.down.request("GET", client.path)
        connection.write("2probe")
        assert await connection.read() == "3probe"
        _, payload = await client.down.response()
        packets = [*client.unread, *payload.split("\x1e")]
        connection.write("5")
        await publishing
        while len(received) < 200:
            packets = packets or [await connection.read()]
            packet = packets.pop(0)
            if packet.startswith("42"):
                received.append(json.loads(packet[2:])[1]["text"])
    assert received == list(map(str, range(200)))


async def test_events_and_bytes_are_counted_on_every_transport(
    server: Server, room: str, transport: str
) -> None:
    query = OURS | {"client": room}
    async with connected(server, room, transport, **query) as client:
        await client.take(1)
        await say_in(server, room, *map(str, range(10)))
        await client.take(10)
        report = (await http(server, "GET", f"/wire?client={room}")).json()["transports"]
    assert report["socketio"]["events"] == 11
    assert report["socketio"]["bytes_out"] > 2000


async def test_the_tap_shows_the_bytes_of_a_session(
    server: Server, room: str, transport: str
) -> None:
    secret = f"{room}-{ID}"
    tap = await websocket_connect(f"{server.url}/wire/{secret}".replace("http", "ws", 1))
    captured = {"up": b"", "down": b""}
    async with connected(server, room, transport, **OURS, trace=secret) as client:
        client.emit("say", {"text": "hello"}, 1)
        await client.take(1, "431[")
        async with asyncio.timeout(SECONDS):
            while b"431[" not in captured["down"] or b"hello" not in captured["up"]:
                message = json.loads(await tap.read_message() or "")
                if "data" in message:
                    captured[message["direction"]] += base64.b64decode(message["data"])
        tap.close()
        async with asyncio.timeout(SECONDS):
            while await tap.read_message() is not None:
                pass
    assert b'{"sid":' in captured["down"]  # from the handshake on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_stops_closes_every_session_so_that_its_client_reconnects(
    servers: Servers, room: str, number: signal.Signals
) -> None:
    with servers.make("memory", "--drain-seconds", "0.2") as server:
        async with AsyncExitStack() as stack:
            clients: dict[str, Any] = {}
            for transport in TRANSPORTS:
                session = opened(server, f"{room}-{transport}", transport, **OURS)
                clients[transport] = client = await stack.enter_async_context(session)
                await client.connect()
                await client.take(1)
            clients["polling"].down.request("GET", clients["polling"].path)
            await asyncio.sleep(0.05)
            server.stop(number)
            for transport, client in clients.items():
                if transport == "polling":
                    packets = (await client.down.response())[1].split("\x1e")
                else:
                    packets = [await client.read(), await client.read()]
                    assert await client.connection.close_code() == 1012
                name, trouble = json.loads(packets[0][2:])
                assert (name, trouble["code"]) == ("trouble", "going_away")
                # Engine.IO's CLOSE, and not Socket.IO's `41`: after that, the published client does
                # not reconnect.
                assert packets[1:] == ["1"]
        await server.ended()
    assert [json.loads(line)["message"] for line in server.complaints.splitlines()] == ["stopping"]


async def test_idle_sessions_do_not_delay_the_shutdown(servers: Servers, room: str) -> None:
    with servers.make("memory") as server:
        async with (
            opened(server, room, "polling"),
            opened(server, room, "websocket"),
            connected(server, room, "polling"),
        ):
            server.stop()
            async with asyncio.timeout(5):
                await server.ended()
    assert [json.loads(line)["message"] for line in server.complaints.splitlines()] == ["stopping"]


async def test_a_poll_that_arrives_with_the_reset_of_its_client_ends_the_session(
    server: Server, room: str
) -> None:
    # As a poll that loses its connection while it waits: the reference server does the same.
    for _ in range(10):
        path = f"/socket.io/?EIO=4&transport=polling&roomid={room}"
        sid = json.loads((await request(server.url, "GET", path)).body[1:])["sid"]
        with socket.create_connection(("127.0.0.1", server.port)) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            fields = f"Host: 127.0.0.1:{server.port}\r\n\r\n"
            gone.sendall(f"GET {path}&sid={sid} HTTP/1.1\r\n{fields}".encode())
        async with asyncio.timeout(SECONDS):
            while (await request(server.url, "POST", f"{path}&sid={sid}", b"3")).status == 200:
                await asyncio.sleep(0.01)
