"""WebSocket on the wire: the handshake, and every byte of a frame header (RFC 6455)."""

import base64
import hashlib
import json
from itertools import product

from realtime.core.events import Cursor, Event
from realtime.transports.websocket import frame
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts

# RFC 6455 §1.3: the key and the accept value of the example.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
]
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


@each(
    ("length", "head"),
    [
        (1, "81 01"),
        (125, "81 7d"),
        (126, "81 7e 00 7e"),
        (65_535, "81 7e ff ff"),
        (65_536, "81 7f 00 00 00 00 00 01 00 00"),
    ],
)
def test_a_length_is_written_in_7_16_or_64_bits(length: int, head: str) -> None:
    event = Event(Cursor("e", 1), b"x" * length)
    assert frame(event) == bytes.fromhex(head) + b"x" * length


# --- the handshake -------------------------------------------------------------------------------


async def test_the_handshake_is_answered_as_the_rfc_says(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/websocket", *UPGRADE)
        status, *fields = await raw.head()
    assert status == "HTTP/1.1 101 Switching Protocols"
    assert {"Upgrade: websocket", "Connection: Upgrade"} <= set(fields)
    assert f"Sec-WebSocket-Accept: {ACCEPT}".lower() in [field.lower() for field in fields]
    assert not [field for field in fields if field.startswith(("Content-", "Transfer-"))]


def test_the_example_of_the_rfc_is_correct() -> None:
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    assert base64.b64encode(hashlib.sha1(KEY.encode() + guid).digest()).decode() == ACCEPT


WRONG_FIELDS = (
    *(
        "Connection: keep-alive",
        "Connection: not-upgrade",
        "Upgrade: h2c",
        "Sec-WebSocket-Version: 12",
    ),
    *("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: c2hvcnQ=", f"Sec-WebSocket-Key: {KEY}, {KEY}"),
)


def incomplete_handshakes() -> list[list[str]]:
    """Header fields with one missing, or one wrong."""
    without = [[one for one in UPGRADE if one is not missing] for missing in UPGRADE]
    names = [(wrong.partition(":")[0], wrong) for wrong in WRONG_FIELDS]
    return without + [
        [wrong if one.startswith(f"{name}:") else one for one in UPGRADE] for name, wrong in names
    ]


async def test_an_incomplete_handshake_receives_the_supported_version_wherever_it_is(
    server: Server, room: str
) -> None:
    paths = (
        f"/rooms/{room}/websocket",
        f"/wire/{'x' * 20}",
        "/sockjs/0/session/websocket",
        f"/socket.io/?EIO=4&transport=websocket&roomid={room}",
    )
    async with Raw(server) as raw:
        for path, fields in product(paths, incomplete_handshakes()):
            raw.ask(path, *fields)
            head = await raw.head()
            assert head[0] == "HTTP/1.1 426 Upgrade Required", (path, fields)
            assert "Upgrade: websocket" in head  # RFC 9110 §15.5.22
            assert "sec-websocket-version: 13" in [line.lower() for line in head]  # RFC 6455 §4.4
            response = json.loads(await raw.body(head))
            assert response["error"]["code"] == "upgrade_required", (path, fields)


async def test_who_sends_no_origin_may_say_that_its_page_is_of_the_same_site(
    server: Server, room: str
) -> None:
    for path in (f"/rooms/{room}/websocket", "/sockjs/0/session/websocket"):
        async with Raw(server) as raw:
            raw.ask(path, *UPGRADE, "Sec-Fetch-Site: same-site")
            assert (await raw.head())[0].split()[1] == "101"


# --- frames --------------------------------------------------------------------------------------


class Frames(Raw):
    """A WebSocket connection."""

    async def shake_hands(self, room: str) -> None:
        self.ask(f"/rooms/{room}/websocket", *UPGRADE)
        assert (await self.head())[0].startswith("HTTP/1.1 101 ")

    def write(self, first: int, payload: bytes) -> None:
        """One masked frame; a key of zeros leaves the payload readable here."""
        assert len(payload) <= 125
        self.send(bytes((first, 0x80 | len(payload))) + bytes(4) + payload)

    async def read(self) -> tuple[int, bytes]:
        """The first byte and the payload of the next frame, which must not be masked."""
        first, second = await self.exactly(2)
        assert second < 0x80
        size = {126: 2, 127: 8}.get(second, 0)
        length = int.from_bytes(await self.exactly(size)) if size else second
        return first, await self.exactly(length)


async def test_an_event_is_one_whole_unmasked_text_frame(server: Server, room: str) -> None:
    async with Frames(server) as raw:
        await raw.shake_hands(room)
        (cursor,) = await say_in(server, room, "hello")
        head = await raw.exactly(4)
        length = int.from_bytes(head[2:])
        event = json.loads(await raw.exactly(length))
    assert head[:2] == bytes((TEXT, 126))
    assert (event["cursor"], event["text"]) == (cursor, "hello")


async def test_a_message_is_acknowledged_with_its_cursor(server: Server, room: str) -> None:
    id = "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677"
    async with Frames(server) as raw:
        await raw.shake_hands(room)
        raw.write(TEXT, json.dumps({"id": id, "text": "hi"}).encode())
        frames = [json.loads((await raw.read())[1]) for _ in range(2)]
    (ack,) = (f for f in frames if f["kind"] == "ack")
    (event,) = (f for f in frames if f["kind"] == "say")
    assert ack == {"kind": "ack", "id": id, "cursor": event["cursor"]}
    assert event["via"] == "websocket"


async def test_a_message_can_be_fragmented_with_a_ping_in_between(
    server: Server, room: str
) -> None:
    async with Frames(server) as raw:
        await raw.shake_hands(room)
        raw.write(0x01, b'{"text":')
        raw.write(PING, b"between")
        raw.write(0x80, b'"hi"}')
        assert await raw.read() == (PONG, b"between")
        kinds = {json.loads((await raw.read())[1])["kind"] for _ in range(2)}
    assert kinds == {"ack", "say"}


async def test_an_error_is_a_frame_and_the_connection_stays_open(server: Server, room: str) -> None:
    async with Frames(server) as raw:
        await raw.shake_hands(room)
        raw.write(TEXT, b'{"id":"3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677","text":""}')
        raw.write(BINARY, b'{"text":"hi"}')
        (_, empty), (_, binary) = await raw.read(), await raw.read()
        raw.write(PING, b"still here?")
        assert await raw.read() == (PONG, b"still here?")
    error = json.loads(empty)
    assert error.keys() == {"kind", "id", "code", "message"}
    assert (error["kind"], error["code"]) == ("error", "bad_text")
    assert error["id"] == "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677"
    assert (json.loads(binary)["code"], json.loads(binary)["id"]) == ("bad_json", None)


async def test_a_close_frame_is_answered_before_the_connection_closes(
    server: Server, room: str
) -> None:
    async with Frames(server) as raw:
        await raw.shake_hands(room)
        raw.write(CLOSE, (1000).to_bytes(2) + b"bye")
        first, payload = await raw.read()
        assert (first, payload[:2]) == (CLOSE, (1000).to_bytes(2))
        assert await raw.rest() == b""  # RFC 6455 §7.1.1: the server closes TCP first


async def test_a_text_that_is_not_utf_8_closes_only_its_own_connection(
    server: Server, room: str
) -> None:
    async with Frames(server) as raw, Frames(server) as neighbour:
        await raw.shake_hands(room)
        await neighbour.shake_hands(room)
        raw.write(TEXT, b"\xff")  # RFC 6455 §8.1
        frames = await raw.rest()
        neighbour.write(PING, b"")
        assert await neighbour.read() == (PONG, b"")
    assert not frames or frames[:4] == bytes((CLOSE, len(frames) - 2)) + (1007).to_bytes(2)


async def test_an_acknowledgement_waits_behind_unread_events(server: Server, room: str) -> None:
    async with reader(server, "websocket", room) as client:
        await say_in(server, room, *["x" * 4000] * 300)  # more than the sockets hold
        await client.send("mine")  # this client reads the events until the acknowledgement
        assert texts(await take(client, 301))[-1] == "mine"


async def test_an_idle_connection_receives_pings(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.1")
    async with Frames(server) as raw:
        await raw.shake_hands(room)
        for _ in range(2):
            first, payload = await raw.read()
            assert first == PING
            raw.write(PONG, payload)
