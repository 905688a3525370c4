"""Socket.IO on the wire: its packets over polls, over a WebSocket, and from one to the other."""

import asyncio
import base64
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote

import pytest
from tornado.websocket import websocket_connect

from benchmarks.clients import request
from benchmarks.clients.http import Response
from realtime.core.events import Cursor, Event
from realtime.transports.socketio.clients import frame, legacy_frame
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import SECONDS, reader, say_in, take

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# Hands are shaken as in RFC 6455 §1.3.
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
ID = "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677"
OURS = {"client": "me", "name": "Me", "after": "now"}


class Line:
    """One connection over TCP, on which the bytes of a test go and come as they are."""

    def __init__(self, server: Server, here: str = "127.0.0.1") -> None:
        self._server, self._here = server, here

    async def __aenter__(self) -> Self:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what a slow one may hide
        line.bind((self._here, 0))
        line.connect(("127.0.0.1", self._server.port))
        line.setblocking(False)
        self._reader, self.writer = await asyncio.open_connection(sock=line, limit=4096)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    def ask(self, method: str, path: str, *fields: str, body: str = "") -> None:
        data = body.encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._server.port}", *fields]
        if data:
            lines.append(f"Content-Length: {len(data)}")
        self.writer.write("\r\n".join((*lines, "", "")).encode() + data)

    async def head(self) -> list[str]:
        async with asyncio.timeout(SECONDS):
            data = await self._reader.readuntil(b"\r\n\r\n")
        return data.decode().split("\r\n")[:-2]

    async def answer(self) -> tuple[int, str]:
        """The status and the body of the next answer."""
        head = await self.head()
        lengths = [line.partition(": ")[2] for line in head if line.startswith("Content-Length")]
        async with asyncio.timeout(SECONDS):
            body = await self._reader.readexactly(int(lengths[0]))
        return int(head[0].split()[1]), body.decode()

    # --- frames ----------------------------------------------------------------------------------

    async def shake_hands(self, path: str) -> None:
        self.ask("GET", path, *UPGRADE)
        assert (await self.head())[0] == "HTTP/1.1 101 Switching Protocols"

    def write(self, text: str, first: int = 0x81) -> None:
        """One masked frame; a key of zeros leaves the text readable here."""
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
        """The next packet."""
        first, data = await self.frame()
        assert first == 0x81, (first, data)
        return data.decode()

    async def close_code(self) -> int:
        """The code of the close frame, after whatever comes before it."""
        while True:
            first, data = await self.frame()
            if first == 0x88:
                return int.from_bytes(data[:2])


class Client:
    """A client of Socket.IO by hand; `read` gives its next packet."""

    def __init__(self, server: Server, room: str, here: str, **query: str) -> None:
        self.server, self.here = server, here
        query = {"roomid": room, "EIO": "4", **query}
        self.path = "/socket.io/?" + "&".join(f"{k}={quote(v)}" for k, v in query.items())
        self.unread: list[str] = []

    async def connect(self) -> None:
        self.write("40")
        while (packet := await self.read()) == "2":
            self.write("3")
        assert packet.startswith('40{"sid":')

    def write(self, *packets: str) -> None:
        raise NotImplementedError

    async def more(self) -> list[str]:
        raise NotImplementedError

    async def read(self) -> str:
        while not self.unread:
            self.unread += await self.more()
        return self.unread.pop(0)

    def emit(self, name: str, argument: Any, id: int | str = "") -> None:
        self.write(f"42{id}" + json.dumps([name, argument]))

    async def take(self, count: int, kind: str = "42") -> list[Any]:
        """What the next so many packets of a kind tell."""
        told: list[Any] = []
        while len(told) < count:
            packet = await self.read()
            if packet == "2":
                self.write("3")
            elif packet.startswith(kind):
                told.append(json.loads(packet[packet.index("[") :]))
        return told


class Polls(Client):
    """Over polls, each on the one connection; posts have another."""

    async def open(self, stack: "Stack") -> None:
        self.path += "&transport=polling"
        self.down = await stack.enter(Line(self.server, self.here))
        self.up = await stack.enter(Line(self.server, self.here))
        status, opening = await self.poll()
        assert status == 200, opening
        assert opening[0] == "0"
        self.opened = json.loads(opening[1:])
        self.path += f"&sid={self.opened['sid']}"
        self._unanswered = 0

    async def poll(self) -> tuple[int, str]:
        self.down.ask("GET", self.path)
        return await self.down.answer()

    async def more(self) -> list[str]:
        status, payload = await self.poll()
        assert status == 200, payload
        return payload.split("\x1e")

    def write(self, *packets: str) -> None:
        self.up.ask("POST", self.path, body="\x1e".join(packets))
        self._unanswered += 1

    async def post(self, body: str) -> tuple[int, str]:
        while self._unanswered:
            assert await self.up.answer() == (200, "ok")
            self._unanswered -= 1
        self.up.ask("POST", self.path, body=body)
        return await self.up.answer()


class Socket(Client):
    """Over a WebSocket from the beginning."""

    async def open(self, stack: "Stack") -> None:
        self.line = await stack.enter(Line(self.server, self.here))
        await self.line.shake_hands(self.path + "&transport=websocket")
        self.opened = json.loads((await self.line.read())[1:])

    async def more(self) -> list[str]:
        return [await self.line.read()]

    def write(self, *packets: str) -> None:
        for packet in packets:
            self.line.write(packet)


class Upgraded(Polls):
    """Over polls, and then over a WebSocket."""

    line: Line | None = None

    async def open(self, stack: "Stack") -> None:
        await super().open(stack)
        self.down.ask("GET", self.path)
        line = await stack.enter(Line(self.server, self.here))
        await line.shake_hands(self.path.replace("=polling", "=websocket"))
        line.write("2probe")
        assert await line.read() == "3probe"
        status, packets = await self.down.answer()
        assert status == 200
        assert packets.split("\x1e")[-1] == "6"  # a ping may have been on its way
        line.write("5")
        self.line = line

    async def more(self) -> list[str]:
        if self.line is None:
            return await super().more()
        return [await self.line.read()]

    def write(self, *packets: str) -> None:
        if self.line is None:
            super().write(*packets)
        else:
            for packet in packets:
                self.line.write(packet)


class Stack:
    def __init__(self) -> None:
        self.lines: list[Line] = []

    async def enter(self, line: Line) -> Line:
        self.lines.append(await line.__aenter__())
        return line


WAYS = {"polling": Polls, "websocket": Socket, "upgrade": Upgraded}


@asynccontextmanager
async def opened(
    server: Server, room: str, way: str, here: str = "127.0.0.1", **query: str
) -> AsyncIterator[Any]:
    """A session that is not connected to Socket.IO yet."""
    client, stack = WAYS[way](server, room, here, **query), Stack()
    try:
        await client.open(stack)
        yield client
    finally:
        for line in stack.lines:
            line.writer.close()


@asynccontextmanager
async def connected(server: Server, room: str, way: str, **query: str) -> AsyncIterator[Any]:
    async with opened(server, room, way, **query) as client:
        await client.connect()
        yield client
        client.write("1")


@pytest.fixture(params=[*WAYS])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def ask(server: Server, method: str, path: str, **headers: str) -> Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request(server.url, method, path, b"", fields)


# --- one event, one packet -----------------------------------------------------------------------


def test_an_event_is_one_packet_around_its_json() -> None:
    event = Event(Cursor("e", 1), '{"kind":"say","text":"聊"}'.encode())
    assert frame(event) == '\x1e42["event",{"kind":"say","text":"聊"}]'.encode()


@pytest.mark.parametrize(
    ("fields", "said"),
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
def test_the_article_s_client_is_told_what_it_knows(fields: str, said: str) -> None:
    event = Event(Cursor("e", 1), f"{{{fields}}}".encode())
    assert legacy_frame(event) == f'\x1e42["message",{said}]'.encode()


# --- the article's client ------------------------------------------------------------------------


async def test_the_article_s_client_joins_says_and_quits(
    servers: Servers, hub: str, room: str, way: str
) -> None:
    server = servers.get(hub, "--grace-seconds", "0.1")
    async with reader(server, "sse", room, after="now") as other:
        async with connected(server, room, way) as client:
            client.emit("join", {"username": "Ada"})
            (joined,) = await client.take(1)
            client.emit("say", {"text": "聊天 \u001e </script>"})
            (said,) = await client.take(1)
            await say_in(server, room, "from afar")
            (heard,) = await client.take(1)
        join, say, _, quit = await take(other, 4)
    assert joined == ["message", {"event": "join", "data": {"username": "Ada"}}]
    data = {"username": "Ada", "text": "聊天 \u001e </script>"}
    assert said == ["message", {"event": "broadcast_say", "data": data}]
    assert heard[1]["data"] == {"username": "somebody", "text": "from afar"}
    assert [e["kind"] for e in (join, say, quit)] == ["join", "say", "quit"]
    assert {(e["client"], e["name"], e["via"]) for e in (join, say, quit)} == {
        (join["client"], "Ada", "socketio")
    }
    assert say["text"] == data["text"]


async def test_the_article_s_client_hears_others_join_and_quit(
    servers: Servers, hub: str, room: str, way: str
) -> None:
    server = servers.get(hub, "--grace-seconds", "0.1")
    async with connected(server, room, way) as client:
        async with reader(server, "sse", room, client="you", name="You"):
            (join,) = await client.take(1)
        (quit,) = await client.take(1)
    assert (join[1]["event"], quit[1]["event"]) == ("join", "broadcast_quit")
    assert join[1]["data"] == quit[1]["data"] == {"username": "You"}


async def test_the_article_s_client_hears_nothing_of_before(server: Server, room: str) -> None:
    await say_in(server, room, "before")
    async with connected(server, room, "polling") as client:
        await say_in(server, room, "after")
        (heard,) = await client.take(1)
    assert heard[1]["data"]["text"] == "after"


@pytest.mark.parametrize(
    ("event", "argument", "code"),
    [
        ("join", {"username": "x" * 33}, "bad_name"),
        ("join", {"username": 7}, "bad_name"),
        ("join", None, "bad_name"),
        ("say", {"text": "nobody said who"}, "bad_name"),
        ("connect", {}, "bad_request"),
        ("disconnect", {}, "bad_request"),
    ],
)
async def test_what_is_wrong_is_told_and_the_session_goes_on(
    server: Server, room: str, way: str, event: str, argument: Any, code: str
) -> None:
    async with connected(server, room, way) as client:
        client.emit(event, argument)
        ((name, trouble),) = await client.take(1)
        client.emit(event, argument, 12)
        ((error,),) = await client.take(1, "4312")
        client.emit("join", {"username": "Ada"}, 0)
        assert await client.take(1, "430") == [[{"kind": "ack"}]]
    assert (name, trouble.keys(), trouble["code"]) == ("trouble", {"code", "message"}, code)
    assert (error["kind"], error["code"]) == ("error", code)


async def test_a_name_is_for_good_and_a_join_may_be_repeated(server: Server, room: str) -> None:
    async with connected(server, room, "websocket") as client:
        for id, username in enumerate(("Ada", "Ada", "Eve")):
            client.emit("join", {"username": username}, id)
        answers = await client.take(3, "43")
        members = (await ask(server, "GET", f"/rooms/{room}/members")).json()["members"]
    assert [a.get("code") for (a,) in answers] == [None, None, "bad_name"]
    assert [m["name"] for m in members] == ["Ada"]


# --- our own dialect -----------------------------------------------------------------------------


async def test_our_dialect_brings_and_takes_what_every_transport_does(
    server: Server, room: str, way: str
) -> None:
    async with (
        reader(server, "sse", room, after="now") as other,
        connected(server, room, way, **OURS) as client,
    ):
        ((_, join),) = await client.take(1)
        message = {"id": ID, "client": "me", "name": "Me", "text": "hi", "sent": 5}
        client.emit("say", message, 3)
        packets = [await client.read() for _ in range(2)]
        client.emit("say", message, 4)  # again, by its id
        ((again,),) = await client.take(1, "434")
        there = await take(other, 2)
    (acked,) = (p for p in packets if p.startswith("433["))
    (event,) = (p for p in packets if p.startswith('42["event",'))
    _, say = json.loads(event[2:])
    assert [join, say] == there
    assert json.loads(acked[3:]) == [{"kind": "ack", "id": ID, "cursor": say["cursor"]}]
    assert again == {"kind": "ack", "id": ID, "cursor": say["cursor"]}
    assert {name: say[name] for name in message} == message
    assert say["via"] == "socketio"


async def test_our_dialect_resumes_by_cursor(server: Server, room: str, way: str) -> None:
    seen, *missed = await say_in(server, room, "one", "two", "three")
    async with connected(server, room, way, after=seen) as client:
        events = await client.take(2)
    assert [event["cursor"] for _, event in events] == missed


async def test_without_a_cursor_there_is_something_of_before(server: Server, room: str) -> None:
    await say_in(server, room, "before")
    async with connected(server, room, "websocket", client="me") as client:
        ((_, event),) = await client.take(1)
    assert event["text"] == "before"


async def test_a_cursor_of_another_life_is_told_gap(server: Server, room: str) -> None:
    await say_in(server, room, "one")
    async with connected(server, room, "polling", after="gone-7") as client:
        (_, gap), (_, one) = await client.take(2)
    assert (gap["kind"], gap["reason"], one["text"]) == ("gap", "unknown", "one")


@pytest.mark.parametrize(
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
async def test_a_bad_query_is_refused_before_there_is_a_session(
    server: Server, query: str, status: int, code: str
) -> None:
    for path in ("/socket.io/", "/socket.io"):
        answer = await ask(server, "GET", f"{path}?{query}")
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)


async def test_a_bad_query_is_refused_to_a_websocket_with_a_status(server: Server) -> None:
    async with Line(server) as line:
        line.ask("GET", "/socket.io/?EIO=4&transport=websocket", *UPGRADE)
        status, body = await line.answer()
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_room")


# --- who may not ---------------------------------------------------------------------------------


async def test_a_page_of_another_site_gets_no_session(server: Server, room: str) -> None:
    path = f"/socket.io/?EIO=4&roomid={room}"
    for fields in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        answer = await ask(server, "GET", path, **fields)
        assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_origin")
    answer = await ask(server, "GET", path, Host="evil.example")
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_host")


async def test_a_page_of_another_site_cannot_open_a_websocket(server: Server, room: str) -> None:
    async with Line(server) as line:
        path = f"/socket.io/?EIO=4&transport=websocket&roomid={room}"
        line.ask("GET", path, *UPGRADE, "Origin: http://evil.example")
        assert (await line.answer())[0] == 403


async def test_a_session_is_of_no_use_from_another_address(server: Server, room: str) -> None:
    async with connected(server, room, "polling") as client, Line(server, "127.0.0.2") as thief:
        for method in ("GET", "POST"):
            thief.ask(method, client.path, body="41" if method == "POST" else "")
            status, body = await thief.answer()
            assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")
        thief.ask("GET", client.path.replace("=polling", "=websocket"), *UPGRADE)
        assert (await thief.answer())[0] == 400
        client.emit("join", {"username": "still here"}, 1)
        assert await client.take(1, "431")


async def test_a_page_at_another_port_of_ours_may_poll(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--lanes", "2")
    _, other = (await ask(server, "GET", "/lab")).json()["lanes"]
    page = {"Origin": f"http://127.0.0.1:{other}", "Sec_Fetch_Site": "same-site"}
    path = f"/socket.io/?EIO=4&roomid={room}"
    answer = await ask(server, "GET", path, **page)
    refused = await ask(server, "GET", path + "&sid=x", **page)
    permitted = await ask(server, "OPTIONS", path, **page)
    assert (answer.status, refused.status, permitted.status) == (200, 400, 204)
    for head in (answer.head, refused.head, permitted.head):
        assert head.fields["access-control-allow-origin"] == page["Origin"]
        assert head.fields["vary"] == "Origin"
    assert "POST" in permitted.head.fields["access-control-allow-methods"]
    assert (await ask(server, "OPTIONS", path)).status == 405


# --- nonsense ------------------------------------------------------------------------------------

NOT_PACKETS = [
    *("", "x", "7", "9", "{}", "\x00", "4", "4x", "47[]", '4{"a":1}', "4[1]", "4" + "[" * 5000),
    *("bAAAA", "0", "2", "2probe ", "6", "d=40", "40\x1e", "\x1e40", "40\x1e\x1e3", "44{}", "٤0"),
    *("42", "42{}", "42[]", "42[1]", '42["say"', '42["say",' + "[" * 5000, "42x[]", "42/other,[]"),
    *('42/other,["say"]', "41/other,", '45["say",{}]', '452-["say",{}]', "43[]", "431[]", "46"),
    *('451-9999999["say",{"_placeholder":true,"num":0}]', "459999999999999-[]", "4299999-[]"),
    *('42["say",' + "9" * 200 + "]", "42" + "9" * 120 + '["say",{}]'),
]


@pytest.mark.parametrize("way", ["polling", "websocket"])
async def test_nonsense_ends_its_own_session_and_nothing_is_logged(
    servers: Servers, room: str, way: str
) -> None:
    with servers.make("memory", "--connections", "400") as server:
        async with connected(server, room, "websocket") as neighbour:
            for nonsense in NOT_PACKETS:
                await _end_with(server, room, way, nonsense)
            neighbour.emit("join", {"username": "Ada"}, 1)
            assert await neighbour.take(1, "431")
        server.stop()
        await server.ended()
    lines = [json.loads(line)["message"] for line in server.complaints.splitlines()]
    assert lines == ["stopping"]


async def _end_with(server: Server, room: str, way: str, nonsense: str) -> None:
    for connect in (True, False):
        async with opened(server, room, way) as client:
            if connect:
                await client.connect()
            if way == "websocket":
                if "\x1e" in nonsense or nonsense in ("2", "2probe "):
                    continue
                length = len(nonsense.encode())
                assert length < 2**16
                client.write(nonsense)
                assert await client.line.close_code() == 4400, nonsense
            else:
                status, body = await client.post(nonsense)
                assert status == 400, (nonsense, status, body)
                assert json.loads(body)["error"]["code"] in ("bad_request", "bad_json")
                assert (await client.poll())[0] == 400


async def test_binary_data_ends_the_session(server: Server, room: str) -> None:
    async with opened(server, room, "websocket") as client:
        client.line.write("40", first=0x82)
        assert await client.line.close_code() == 4400


async def test_numbers_that_are_not_json_are_refused(server: Server, room: str) -> None:
    async with connected(server, room, "websocket", **OURS) as client:
        for id, argument in enumerate(("NaN", '{"text":"x","sent":Infinity}', "[]", '"\\ud800"')):
            client.write(f'42{id}["say",{argument}]')
            ((error,),) = await client.take(1, f"43{id}")
            assert error["code"] == "bad_json"
        client.write('429["say",{"text":"\\ud800"}]')
        ((error,),) = await client.take(1, "439")
    assert error["code"] == "bad_text"


async def test_a_namespace_that_is_not_there_is_refused_by_name(server: Server, room: str) -> None:
    async with connected(server, room, "websocket") as client:
        client.write("40/other,")
        assert await client.read() == '44/other,"Unable to connect"'
        client.write("40")  # and nobody connects twice
        assert await client.read() == '44"Unable to connect"'
        client.emit("join", {"username": "Ada"}, 1)
        assert await client.take(1, "431")


async def test_a_payload_that_is_too_long_is_told_so(server: Server, room: str) -> None:
    async with connected(server, room, "polling") as client:
        status, body = await client.post('42["say",{"text":"' + "x" * 70_000 + '"}]')
        assert (status, json.loads(body)["error"]["code"]) == (413, "too_long")
        status, _ = await client.post('421["say",{"text":"' + "x" * 17_000 + '"}]')
        assert status == 200
        ((error,),) = await client.take(1, "431")
    assert error["code"] == "bad_name"


async def test_many_packets_may_come_in_one_payload(server: Server, room: str) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        await client.take(1)
        status, _ = await client.post(
            "\x1e".join(f'42["say",{{"text":"{number}"}}]' for number in range(100))
        )
        events = await client.take(100)
    assert status == 200
    assert [event["text"] for _, event in events] == [str(number) for number in range(100)]


async def test_one_poll_and_one_post_at_a_time(server: Server, room: str) -> None:
    async with connected(server, room, "polling") as client, Line(server) as second:
        client.down.ask("GET", client.path)
        await asyncio.sleep(0.05)
        second.ask("GET", client.path)
        assert (await second.answer())[0] == 400
        client.emit("join", {"username": "Ada"})
        assert (await client.down.answer())[0] == 200


async def test_whoever_is_too_fast_is_told_when_to_come_back(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--messages-per-second", "1", "--message-burst", "2")
    async with connected(server, room, "websocket", **OURS) as client:
        for id in range(3):
            client.emit("say", {"text": "x", "client": "hasty"}, id)
        answers = [answer for (answer,) in await client.take(3, "43")]
    assert [answer["kind"] for answer in answers] == ["ack", "ack", "error"]
    assert (answers[2]["code"], answers[2]["retry_after"]) == ("too_fast", 1)


async def test_sessions_are_counted_like_connections(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--connections-per-address", "5")
    path = f"/socket.io/?EIO=4&roomid={room}"
    statuses = [(await ask(server, "GET", path)).status for _ in range(6)]
    assert statuses == [200] * 5 + [503]


# --- slow readers --------------------------------------------------------------------------------


async def pushed(server: Server, client: str) -> int:
    """How many events were passed on to a client."""
    report = (await ask(server, "GET", f"/wire?client={client}")).json()["transports"]
    return int(report["socketio"]["events"])


async def test_nothing_is_queued_for_a_reader_that_does_not_read(
    server: Server, room: str, way: str
) -> None:
    query = OURS | {"client": room}
    async with connected(server, room, way, **query) as client:
        await client.take(1)
        await say_in(server, room, *(f"{n:04}" + "x" * 4000 for n in range(300)))
        waiting = await pushed(server, room) * 4000
        events = await client.take(300)
    # A push is 32 KiB; the kernel takes twice 64, and as much again on the other side.
    assert waiting < (20_000 if way == "polling" else 400_000)
    assert [int(event["text"][:4]) for _, event in events] == [*range(300)]


async def test_a_payload_is_bounded(server: Server, room: str) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        await client.take(1)
        await say_in(server, room, *["x" * 4000] * 30)
        _, payload = await client.poll()
    assert 16_000 < len(payload) < 40_000


async def test_a_reader_that_comes_too_late_is_told_gap(
    servers: Servers, hub: str, room: str, way: str
) -> None:
    server = servers.get(hub, "--messages-per-second", "0", "--history-events", "20")
    async with connected(server, room, way, **OURS) as client:
        await client.take(1)
        await say_in(server, room, *["x" * 4000] * 300, "last")
        events: list[Any] = []
        while not events or events[-1].get("text") != "last":
            events += [event for _, event in await client.take(1)]
    (gap,) = (event for event in events if event["kind"] == "gap")
    assert gap["reason"] == "trimmed"
    assert len(events) + gap["missed"] == 302


async def test_who_never_reads_its_acknowledgements_is_cut(servers: Servers, room: str) -> None:
    limits = "--messages-per-second", "0", "--write-deadline-seconds", "60"
    server = servers.get("memory", *limits)
    async with connected(server, room, "websocket", client=room) as client:
        for id in range(30_000):
            client.emit("say", 0, id)
        async with asyncio.timeout(SECONDS):
            while b'realtime_refused_total{code="too_slow"}' not in await metrics(server):
                await asyncio.sleep(0.05)
        assert await client.line.close_code() == 4408


async def metrics(server: Server) -> bytes:
    return (await ask(server, "GET", "/metrics")).body


async def test_who_posts_and_never_polls_is_cut(server: Server, room: str) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        many = "\x1e".join(f'42{id}["say",0]' for id in range(1000))
        status, body = await client.post(many)
        assert (status, json.loads(body)["error"]["code"]) == (408, "too_slow")
        assert (await client.poll())[0] == 400


# --- coming and going ----------------------------------------------------------------------------


async def test_a_ping_that_is_not_answered_ends_the_session(
    servers: Servers, room: str, way: str
) -> None:
    brief = "--heartbeat-seconds", "0.1", "--request-seconds", "0.5", "--grace-seconds", "0.1"
    server = servers.get("memory", *brief)
    async with (
        reader(server, "sse", room, after="now") as other,
        connected(server, room, way, **OURS) as client,
    ):
        await client.take(1)
        while await client.read() != "2":
            pass
        client.write("3")  # once
        assert [event["kind"] for event in await take(other, 2)] == ["join", "quit"]


async def test_a_poll_that_is_cut_ends_the_session(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--grace-seconds", "0.1")
    async with reader(server, "sse", room, after="now") as other:
        async with opened(server, room, "polling", **OURS) as client:
            await client.connect()
            await client.take(1)
            client.down.ask("GET", client.path)
            await asyncio.sleep(0.05)
        assert [event["kind"] for event in await take(other, 2)] == ["join", "quit"]


async def test_sessions_leave_nothing_behind(servers: Servers, room: str, way: str) -> None:
    brief = "--heartbeat-seconds", "0.1", "--request-seconds", "0.5", "--grace-seconds", "0.1"
    with servers.make("memory", *brief) as server:
        # The first one begins what lasts: the watch over pings, and the keeping of the room.
        async with connected(server, room, way, client="me", name="Me"):
            pass
        await asyncio.sleep(1)
        before = await tasks(server)
        for number in range(20):
            async with opened(server, room, way, **OURS) as client:
                await client.connect()
                if number % 2:
                    client.write("no packet")
                    for _ in range(5):  # nobody listens any more
                        client.write("3")
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(SECONDS):
            while await tasks(server) > before:
                await asyncio.sleep(0.1)


async def tasks(server: Server) -> float:
    lines = (await metrics(server)).decode().splitlines()
    (tasks,) = (line for line in lines if line.startswith("realtime_tasks "))
    return float(tasks.split()[1])


@pytest.mark.parametrize("goodbye", [["1"], ["41", "1"]])
async def test_a_goodbye_ends_the_session(
    servers: Servers, room: str, way: str, goodbye: list[str]
) -> None:
    server = servers.get("memory", "--grace-seconds", "0.1")
    async with (
        reader(server, "sse", room, after="now") as other,
        opened(server, room, way, **OURS) as client,
    ):
        await client.connect()
        await client.take(1)
        for packet in goodbye:
            client.write(packet)
        assert [event["kind"] for event in await take(other, 2)] == ["join", "quit"]
        if way == "polling":
            assert (await client.poll())[0] == 400
        else:
            assert await client.line.close_code() == 1000


async def test_who_disconnects_hears_no_more_and_may_not_speak(server: Server, room: str) -> None:
    async with opened(server, room, "websocket", **OURS) as client:
        await client.connect()
        await client.take(1)
        client.write("41", "40")
        assert await client.read() == '44"Unable to connect"'
        await say_in(server, room, "unheard")
        client.emit("say", {"text": "x"}, 1)
        assert "bad_request" in await client.read()
        assert await client.line.close_code() == 4400


@pytest.mark.parametrize("probe", ["", "2probe", "3"])
async def test_an_upgrade_that_is_given_up_leaves_the_polls_as_they_were(
    server: Server, room: str, probe: str
) -> None:
    async with connected(server, room, "polling", **OURS) as client:
        await client.take(1)
        async with Line(server) as line:
            await line.shake_hands(client.path.replace("=polling", "=websocket"))
            if probe:
                line.write(probe)
            if probe == "2probe":
                assert await line.read() == "3probe"
        await asyncio.sleep(0.05)
        (cursor,) = await say_in(server, room, "hello")
        payloads = [(await client.poll())[1] for _ in range(2 if probe == "2probe" else 1)]
    if probe == "2probe":
        assert payloads.pop(0) == "6"  # which was to end the poll of before
    assert json.loads(payloads[0][2:])[1]["cursor"] == cursor


async def test_posts_do_not_overtake_one_another(servers: Servers, room: str) -> None:
    server = servers.get("redis", "--messages-per-second", "0")
    async with connected(server, room, "polling", **OURS) as client, Line(server) as second:
        await client.take(1)
        client.write("\x1e".join(f'42["say",{{"text":"{number}"}}]' for number in range(400)))
        await asyncio.sleep(0.01)  # each is a way to Redis and back
        second.ask("POST", client.path, body='42["say",{"text":"too early"}]')
        assert (await second.answer())[0] == 400
        heard = [event["text"] for _, event in await client.take(400)]
    assert heard == list(map(str, range(400)))


async def test_after_the_upgrade_there_are_no_polls(server: Server, room: str) -> None:
    async with connected(server, room, "upgrade") as client:
        client.up.ask("POST", client.path, body="3")
        client.down.ask("GET", client.path)
        answers = [await line.answer() for line in (client.up, client.down)]
        client.emit("join", {"username": "Ada"}, 1)
        assert await client.take(1, "431")
    assert [status for status, _ in answers] == [400, 400]


async def test_one_websocket_at_a_time(server: Server, room: str) -> None:
    async with opened(server, room, "polling") as client, Line(server) as one, Line(server) as two:
        path = client.path.replace("=polling", "=websocket")
        await one.shake_hands(path)
        two.ask("GET", path, *UPGRADE)
        assert (await two.answer())[0] == 400


async def test_nothing_is_lost_or_doubled_by_an_upgrade(server: Server, room: str) -> None:
    async with opened(server, room, "polling", **OURS) as client, Line(server) as line:
        await client.connect()
        await client.take(1)
        speaking = asyncio.create_task(say_in(server, room, *map(str, range(200))))
        heard = [event["text"] for _, event in await client.take(20)]
        await line.shake_hands(client.path.replace("=polling", "=websocket"))
        client.down.ask("GET", client.path)
        line.write("2probe")
        assert await line.read() == "3probe"
        _, payload = await client.down.answer()
        packets = [*client.unread, *payload.split("\x1e")]
        line.write("5")
        await speaking
        while len(heard) < 200:
            packets = packets or [await line.read()]
            packet = packets.pop(0)
            if packet.startswith("42"):
                heard.append(json.loads(packet[2:])[1]["text"])
    assert heard == list(map(str, range(200)))


async def test_what_crosses_is_counted_for_every_way(server: Server, room: str, way: str) -> None:
    query = OURS | {"client": room}
    async with connected(server, room, way, **query) as client:
        await client.take(1)
        await say_in(server, room, *map(str, range(10)))
        await client.take(10)
        report = (await ask(server, "GET", f"/wire?client={room}")).json()["transports"]
    assert report["socketio"]["events"] == 11
    assert report["socketio"]["bytes_out"] > 2000


async def test_what_crosses_is_shown_to_whoever_holds_the_secret(
    server: Server, room: str, way: str
) -> None:
    secret = f"{room}-{ID}"
    watcher = await websocket_connect(f"{server.url}/wire/{secret}".replace("http", "ws", 1))
    shown = {"up": b"", "down": b""}
    async with connected(server, room, way, **OURS, trace=secret) as client:
        client.emit("say", {"text": "hello"}, 1)
        await client.take(1, "431[")
        async with asyncio.timeout(SECONDS):
            while b"431[" not in shown["down"] or b"hello" not in shown["up"]:
                piece = json.loads(await watcher.read_message() or "")
                if "data" in piece:
                    shown[piece["direction"]] += base64.b64decode(piece["data"])
        watcher.close()
        async with asyncio.timeout(SECONDS):
            while await watcher.read_message() is not None:
                pass
    assert b'{"sid":' in shown["down"]  # from the handshake on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_when_the_server_stops_each_is_told_and_comes_back_by_itself(
    servers: Servers, room: str, way: str, number: signal.Signals
) -> None:
    with servers.make("memory", "--drain-seconds", "0.2") as server:
        async with opened(server, room, way, **OURS) as client:
            await client.connect()
            await client.take(1)
            if way == "polling":
                client.down.ask("GET", client.path)
                await asyncio.sleep(0.05)
            server.stop(number)
            if way == "polling":
                packets = (await client.down.answer())[1].split("\x1e")
            else:
                packets = [await client.read(), await client.read()]
                assert await client.line.close_code() == 1012
            name, trouble = json.loads(packets[0][2:])
        await server.ended()
    # Not `41`: after that the published client does not come back.
    assert packets[1:] == ["1"]
    assert (name, trouble["code"]) == ("trouble", "going_away")
    assert [json.loads(line)["message"] for line in server.complaints.splitlines()] == ["stopping"]


async def test_a_server_that_stops_takes_no_session(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "600") as server:
        server.stop(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            while (await ask(server, "GET", "/readyz")).status == 200:
                await asyncio.sleep(0.01)
        answer = await ask(server, "GET", f"/socket.io/?EIO=4&roomid={room}")
        assert (answer.status, answer.json()["error"]["code"]) == (503, "going_away")
        server.stop()


async def test_sessions_that_ask_nothing_do_not_delay_the_end(servers: Servers, room: str) -> None:
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
