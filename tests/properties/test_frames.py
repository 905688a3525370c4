"""What each transport puts on the wire, decoded by decoders written from the standards.

Any text, any name, several events in one push, and bytes split wherever a network may split them:
what is decoded equals what was published.  The decoders share no code with server or clients.
"""

import asyncio
import codecs
import json
import re
import uuid
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.broadcaster import Framing
from realtime.core.events import Event
from realtime.core.room import Page
from realtime.protocol.http1 import chunk
from realtime.protocol.websocket_frames import frame_header
from realtime.transports import fetch_streaming, iframe_streaming, sse, websocket
from realtime.transports.polling import PollResponse
from tests.conftest import Servers
from tests.properties.strategies import CUTS, JSON_VALUES, TEXTS, event_lists, examples, pieces
from tests.server_process import Server
from tests.transports.raw import Raw

Fields = dict[str, Any]
PUSHES = st.lists(event_lists(), min_size=1, max_size=3)


def decoded(events: list[Event]) -> list[Fields]:
    return [json.loads(event.json) for event in events]


# --- the decoders --------------------------------------------------------------------------------


class Lines:
    """Splits bytes at a delimiter; returns complete parts only."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(self._delimiter)
        return lines


class Ndjson:
    """One JSON text per line; empty lines are ignored (github.com/ndjson/ndjson-spec)."""

    def __init__(self) -> None:
        self._lines = Lines(b"\n")

    def feed(self, data: bytes) -> list[Fields]:
        return [json.loads(line.decode()) for line in self._lines.feed(data) if line]


class EventStream:
    """The interpretation of an event stream, step by step (HTML standard §9.2.6)."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer = ""
        self._data: list[str] = []
        self.last_event_id = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Fields]:
        self._buffer += self._text.decode(data)
        dispatched = []
        # A CR at the very end may be the first half of CR LF.
        while match := re.search(r"\r\n|\n|\r(?!\Z)", self._buffer):
            line, self._buffer = self._buffer[: match.start()], self._buffer[match.end() :]
            if line:
                self._field(line)
            elif event := self._dispatch():
                dispatched.append(event)
        return dispatched

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        else:
            assert name == "", f"{line!r}: the server sends no other field"

    def _dispatch(self) -> Fields | None:
        self.last_event_id = self._id
        data, self._data = "\n".join(self._data), []
        if not data:
            return None
        event: Fields = json.loads(data)
        assert event["cursor"] == self.last_event_id  # where a browser would resume
        return event


class ScriptPage(HTMLParser):
    """A page of scripts that all have the same text and one attribute, and of nothing else."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._events: list[Fields] = []
        self._open: str | None = None
        self._script = ""

    def read(self, data: bytes) -> list[Fields]:
        self.feed(self._decoder.decode(data))
        events, self._events = self._events, []
        return events

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        ((name, value),) = attrs
        assert (tag, name, self._open) == ("script", "data-event", None)
        self._open, self._script = value, ""

    def handle_endtag(self, tag: str) -> None:
        assert tag == "script"
        assert self._open is not None
        assert self._script == iframe_streaming.SCRIPT.decode()
        self._events.append(json.loads(self._open))
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is None:
            assert data.isspace()
        else:
            self._script += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data!r}")


class Frame(NamedTuple):
    opcode: int
    payload: bytes


class Frames:
    """Frames from a server: complete, unmasked, without extensions (RFC 6455 §5.2)."""

    def __init__(self) -> None:
        self._bytes = b""

    def feed(self, data: bytes) -> list[Frame]:
        self._bytes += data
        frames = []
        while (frame := self._take()) is not None:
            frames.append(frame)
        return frames

    def _take(self) -> Frame | None:
        if len(self._bytes) < 2:
            return None
        first, second = self._bytes[:2]
        assert first & 0xF0 == 0x80, "FIN, and no reserved bits"
        assert not second & 0x80, "a server must not mask (§5.1)"
        more = {126: 2, 127: 8}.get(second, 0)
        if len(self._bytes) < 2 + more:
            return None
        length = int.from_bytes(self._bytes[2 : 2 + more], "big") if more else second
        # The shortest length encoding MUST be used, and the highest bit of 8 bytes is 0 (§5.2).
        assert more == (0 if length < 126 else 2 if length < 1 << 16 else 8)
        assert length < 1 << 63
        if len(self._bytes) < 2 + more + length:
            return None
        payload = self._bytes[2 + more : 2 + more + length]
        self._bytes = self._bytes[2 + more + length :]
        return Frame(first & 0x0F, payload)


class Messages:
    """Decodes the JSON of text frames."""

    def __init__(self) -> None:
        self._frames = Frames()

    def feed(self, data: bytes) -> list[Fields]:
        frames = self._frames.feed(data)
        assert {frame.opcode for frame in frames} <= {1}
        return [json.loads(frame.payload.decode()) for frame in frames]


class Chunks:
    """The content of a chunked body (RFC 9112 §7.1), as it arrives."""

    def __init__(self) -> None:
        self._bytes = b""

    def feed(self, data: bytes) -> bytes:
        self._bytes += data
        content = b""
        while match := re.match(rb"([0-9A-Fa-f]+)\r\n", self._bytes):
            size, start = int(match[1], 16), match.end()
            assert size, "an empty chunk would end the body"
            if len(self._bytes) < start + size + 2:
                break
            assert self._bytes[start + size : start + size + 2] == b"\r\n"
            content += self._bytes[start : start + size]
            self._bytes = self._bytes[start + size + 2 :]
        return content


# --- from the server -----------------------------------------------------------------------------

STREAMS = {
    "iframe_streaming": (iframe_streaming.frame, iframe_streaming.HEARTBEAT, chunk),
    "sse": (sse.frame, sse.HEARTBEAT, chunk),
    "fetch_streaming": (fetch_streaming.frame, fetch_streaming.HEARTBEAT, chunk),
    # The heartbeat of a WebSocket is a ping, which carries no event.
    "websocket": (websocket.frame, b"", bytes),
}


def decode(transport: str, data: Iterator[bytes]) -> list[Fields]:
    decoders = {
        "iframe_streaming": ScriptPage().read,
        "sse": EventStream().feed,
        "fetch_streaming": Ndjson().feed,
        "websocket": Messages().feed,
    }
    return [event for piece in data for event in decoders[transport](piece)]


@pytest.mark.parametrize("transport", STREAMS)
@given(pushes=PUSHES, heartbeats=st.booleans(), cuts=CUTS)
@examples(40)
def test_what_is_decoded_is_what_was_pushed_however_it_is_split(
    transport: str, pushes: list[list[Event]], heartbeats: bool, cuts: list[int]
) -> None:
    frame, heartbeat, _ = STREAMS[transport]
    framing = Framing(frame, bytes)
    wire = b"".join(framing.encode(push) + heartbeat * heartbeats for push in pushes)
    expected = [event for push in pushes for event in decoded(push)]
    assert decode(transport, pieces(wire, cuts)) == expected


@pytest.mark.parametrize("transport", [name for name in STREAMS if name != "websocket"])
@given(pushes=PUSHES, cuts=CUTS)
@examples(20)
def test_each_push_is_a_chunk_of_whole_events(
    transport: str, pushes: list[list[Event]], cuts: list[int]
) -> None:
    frame, heartbeat, envelope = STREAMS[transport]
    framing, chunks = Framing(frame, envelope), Chunks()
    wire = b"".join(framing.encode(push) + envelope(heartbeat) for push in pushes)
    body = (chunks.feed(piece) for piece in pieces(wire, cuts))
    assert decode(transport, body) == [event for push in pushes for event in decoded(push)]
    for push in pushes:
        assert decode(transport, iter([Chunks().feed(framing.encode(push))])) == decoded(push)


@given(events=event_lists())
@examples(40)
def test_a_message_cannot_leave_its_attribute_for_a_tool_without_html_either(
    events: list[Event],
) -> None:
    """A tool that does not parse HTML, like a log viewer or `grep`, also sees exactly one tag."""
    for event in events:
        page = iframe_streaming.frame(event)
        assert page.count(b"<") == page.count(b">") == 2
        attribute = page.removeprefix(b'<script data-event="').partition(b'"')[0]
        assert page == b'<script data-event="%b">%b</script>\n' % (
            attribute,
            iframe_streaming.SCRIPT,
        )


@given(events=event_lists(), more=st.booleans())
@examples(40)
def test_the_response_to_a_poll_is_one_json_object(events: list[Event], more: bool) -> None:
    response = PollResponse(Page(events, events[-1].cursor, more))
    body = json.loads(response.body.decode())
    assert body == {
        "cursor": str(events[-1].cursor),
        "events": decoded(events),
        **({"more": True} if more else {}),
    }
    assert body.get("more") is (True if more else None)
    assert response.events == len(events)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_000])
@given(cuts=CUTS)
@examples(10)
def test_a_frame_of_any_length_has_its_length_in_the_header(length: int, cuts: list[int]) -> None:
    wire = frame_header(length) + bytes(length) + frame_header(1) + b"."
    frames, decoder = [], Frames()
    for piece in pieces(wire, cuts):
        frames += decoder.feed(piece)
    assert frames == [(1, bytes(length)), (1, b".")]


# --- from the client -----------------------------------------------------------------------------

# A timeout, reached only if the test fails.
SECONDS = 10.0
TEXT, BINARY, CONTINUATION, PING, PONG = 1, 2, 0, 9, 10
UPGRADE = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class WebSocketConnection(Raw):
    """An open WebSocket connection, without a client library."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._frames = Frames()
        self._unread: list[Frame] = []

    async def handshake(self, room: str) -> None:
        self.ask(f"/rooms/{room}/websocket?after=now", *UPGRADE)
        assert (await self.head())[0].startswith("HTTP/1.1 101 ")

    def write(self, opcode: int, payload: bytes, mask: bytes, final: bool = True) -> None:
        """Send one frame, masked as a client MUST (RFC 6455 §5.3)."""
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | size])
        elif size < 1 << 16:
            head = bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | 127]) + size.to_bytes(8, "big")
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.send(bytes([0x80 * final | opcode]) + head + mask + masked)

    async def read(self) -> Frame:
        while not self._unread:
            async with asyncio.timeout(SECONDS):
                data = await self._reader.read(65_536)
            assert data, "the connection was closed"
            self._unread = self._frames.feed(data)
        return self._unread.pop(0)


@st.composite
def published_objects(draw: st.DrawFn) -> bytes:
    """A message with a valid or an invalid id; its text may be invalid or absent."""
    fields: Fields = {"id": draw(st.one_of(st.uuids().map(str), JSON_VALUES))}
    if draw(st.booleans()):
        fields["text"] = draw(st.one_of(TEXTS, JSON_VALUES))
    return json.dumps(fields).encode()


CLIENT_MESSAGES = st.one_of(
    st.tuples(st.just(TEXT), published_objects()),
    st.tuples(st.just(TEXT), st.text(max_size=30).map(str.encode)),
    st.tuples(st.just(TEXT), JSON_VALUES.map(json.dumps).map(str.encode)),
    st.tuples(
        st.sampled_from([TEXT, BINARY]), st.sampled_from([b"", b"[" * 60_000, b'{"id":1e999}'])
    ),
    st.tuples(st.just(TEXT), st.integers(16_370, 16_400).map(lambda size: b" " * size)),
    st.tuples(st.just(BINARY), st.one_of(st.binary(max_size=30), published_objects())),
)


@given(
    messages=st.lists(CLIENT_MESSAGES, min_size=1, max_size=6),
    mask=st.binary(min_size=4, max_size=4),
    cut=st.integers(0, 20),
)
@examples(40)
async def test_each_client_message_is_answered_once_and_the_connection_stays_open(
    servers: Servers, messages: list[tuple[int, bytes]], mask: bytes, cut: int
) -> None:
    last = str(uuid.uuid4())  # used by no other example
    async with WebSocketConnection(
        servers.get("memory", "--messages-per-second", "0")
    ) as connection:
        await connection.handshake(f"client-{last}")
        for opcode, payload in messages:
            # In two fragments, with a ping between them (RFC 6455 §5.4); either may be empty.
            connection.write(opcode, payload[:cut], mask, final=False)
            connection.write(PING, b"between", mask)
            connection.write(CONTINUATION, payload[cut:], mask)
        connection.write(TEXT, json.dumps({"id": last, "text": "the last"}).encode(), mask)
        frames: list[Frame] = []
        # The last message comes back twice: as its ack, and as the event.
        while [fields_of(frame).get("id") for frame in frames].count(last) < 2:
            frames.append(await connection.read())
    # After several pings, an endpoint may answer only the latest one (RFC 6455 §5.5.3).
    assert Frame(PONG, b"between") in frames
    assert {frame.opcode for frame in frames} <= {TEXT, PONG}
    _check_replies([fields_of(frame) for frame in frames], messages)


def fields_of(frame: Frame) -> Fields:
    return dict(json.loads(frame.payload.decode())) if frame.opcode == TEXT else {}


def _check_replies(frames: list[Fields], messages: list[tuple[int, bytes]]) -> None:
    """Check that each message has one reply, in order, with its id if that could be parsed."""
    replies = [fields for fields in frames if fields.get("kind") in ("ack", "error")]
    assert len(replies) == len(messages) + 1
    assert replies[-1]["kind"] == "ack"
    for reply, (opcode, payload) in zip(replies, messages, strict=False):
        if reply["kind"] == "ack":
            assert opcode == TEXT
            assert reply.keys() == {"kind", "id", "cursor"}
            assert reply["id"] == (json.loads(payload).get("id") or reply["id"])
        else:
            assert reply.keys() == {"kind", "id", "code", "message"}
            assert reply["code"].startswith(("bad_", "too_long"))
            assert reply["message"]
            assert reply["id"] in (None, id_in(payload))
            assert reply["id"] or not _is_uuid(id_in(payload))


def id_in(payload: bytes) -> Any:
    try:
        return json.loads(payload)["id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 36 and value.count("-") == 4
