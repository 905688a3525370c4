"""WebSocket, the client's half: a handshake, then frames in both directions (RFC 6455).

bytes ─▶ FrameReader ─▶ MessageReader ─▶ WebSocketProtocol ─▶ WebSocket
         frames         joins fragments   events, replies,     adds the socket
                                          pongs                (asyncio)
"""

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from realtime.client.base import StreamClient
from realtime.client.encodings import Inflate, context_inflater, deflate_message, inflate_message
from realtime.client.http import (
    BadResponse,
    Closed,
    Endpoint,
    Headers,
    Response,
    ResponseHead,
    ResponseReader,
)
from realtime.client.replies import PendingReplies
from realtime.client.sansio import ClientProtocol, Loads, Update, with_cursor

# RFC 6455 §5.2.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
_FIN, _RSV, _RSV1, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x40, 0x0F, 0x80, 0x7F

# RFC 6455 §1.3: a fixed value; it proves that the server speaks WebSocket.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 7692 §7.1: what we offer, and what a server may agree to: nothing, frames that do not need
# each other, or any compression.
OFFER = "permessage-deflate; client_max_window_bits"
_NO_EXTENSION = re.compile("")
_EACH_ALONE = re.compile(
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)
_ANY_DEFLATE = re.compile("permessage-deflate(;.*)?")

# How long the server may take to answer a close frame.
_CLOSE_SECONDS = 2.0


# --- frames --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    fin: bool
    opcode: int
    payload: bytes
    compressed: bool = False


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    compressed: bool = False,
    key: bytes | None = None,
) -> bytes:
    """Return one masked frame: a client must mask, with a new key each time (RFC 6455 §5.3).

    `compressed` says that the payload is (RFC 7692 §6).

    The mask hides nothing.  Without it, a page could send chosen bytes through an old proxy, which
    might parse them as HTTP and cache the response (§10.3).
    """
    key = key or os.urandom(4)
    first = (_FIN if fin else 0) | (_RSV1 if compressed else 0) | opcode
    return _head(first, len(payload)) + key + mask(key, payload)


def _head(first: int, length: int) -> bytes:
    if length <= 125:
        return bytes((first, _MASKED | length))
    if length <= 0xFFFF:
        return bytes((first, _MASKED | 126)) + length.to_bytes(2)
    return bytes((first, _MASKED | 127)) + length.to_bytes(8)


def mask(key: bytes, data: bytes) -> bytes:
    """XOR the bytes with the four bytes of the key, repeated; a second call restores them."""
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(keys)).to_bytes(size)


class FrameReader:
    """Accepts bytes split anywhere and returns the complete frames of a server."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> list[Frame]:
        data = self._unread + data
        frames = []
        at = 0
        while (end := _frame_end(data, at)) is not None:
            frames.append(_parse(data, at, end))
            at = end
        self._unread = data[at:]
        return frames


def _frame_end(data: bytes, at: int) -> int | None:
    """Return where the frame that starts at `at` ends, or None while it is incomplete."""
    if len(data) < at + 2:
        return None
    size = _size_bytes(data[at + 1])
    if len(data) < at + 2 + size:
        return None
    end = at + 2 + size + _payload_length(data, at)
    return end if end <= len(data) else None


def _size_bytes(second: int) -> int:
    """Return how many bytes of length follow the second byte of a frame."""
    if second & _MASKED:
        raise BadResponse("a server must not mask")  # RFC 6455 §5.1
    return {126: 2, 127: 8}.get(second & _LENGTH, 0)


def _payload_length(data: bytes, at: int) -> int:
    short = data[at + 1] & _LENGTH
    if short < 126:
        return short
    length = int.from_bytes(data[at + 2 : at + 2 + _size_bytes(short)])
    # RFC 6455 §5.2: the minimal number of bytes must be used, and the highest bit must be 0.
    low, high = (126, 0xFFFF) if short == 126 else (0x10000, 2**63 - 1)
    if not low <= length <= high:
        raise BadResponse(f"a length of {length} is not encoded as {short}")
    return length


def _parse(data: bytes, at: int, end: int) -> Frame:
    first, length = data[at], _payload_length(data, at)
    fin, opcode, reserved = bool(first & _FIN), first & _OPCODE, first & _RSV
    if reserved and not (reserved == _RSV1 and opcode in (TEXT, BINARY)):
        raise BadResponse("a reserved bit is set without an extension")
    if opcode not in _OPCODES:
        raise BadResponse(f"unknown opcode {opcode:#x}")
    if opcode >= CLOSE and not (fin and length <= 125):
        raise BadResponse("a control frame is too long or fragmented")  # RFC 6455 §5.5
    return Frame(fin, opcode, data[end - length : end], bool(reserved))


class MessageReader:
    """Joins fragments (RFC 6455 §5.4); control frames between them pass through.

    Returns complete messages, as frames with FIN.  Without `inflate` none may be compressed.
    """

    def __init__(self, inflate: Inflate | None = None) -> None:
        self._frames = FrameReader()
        self._inflate = inflate
        self._compressed = False
        self._opcode: int | None = None
        self._fragments: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Frame]:
        for frame in self._frames.feed(data):
            if frame.opcode >= CLOSE:
                yield frame
            elif message := self._join(frame):
                yield message

    def _join(self, frame: Frame) -> Frame | None:
        if (frame.opcode == CONTINUATION) != (self._opcode is not None):
            raise BadResponse("a continuation without a start, or a message inside another")
        if frame.compressed and self._inflate is None:
            raise BadResponse("a reserved bit is set without an extension")
        if self._opcode is None:
            self._opcode, self._compressed = frame.opcode, frame.compressed
        self._fragments.append(frame.payload)
        if not frame.fin:
            return None
        payload = b"".join(self._fragments)
        if self._compressed and self._inflate is not None:
            payload = self._inflate(payload)
        message = Frame(True, self._opcode, payload)
        self._opcode, self._fragments = None, []
        return message


# --- the handshake -------------------------------------------------------------------------------


def accept_key(key: str) -> str:
    """Return the server's answer to `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def check_handshake(
    head: ResponseHead, key: str, extension: re.Pattern[str] = _NO_EXTENSION
) -> None:
    """Check what RFC 6455 §4.1 requires of the response, and the extension that it agrees to."""
    fields = head.fields
    if fields.get("upgrade", "").lower() != "websocket":
        raise BadResponse(f"upgraded to {fields.get('upgrade')!r}")
    if "upgrade" not in fields.get("connection", "").lower().replace(" ", "").split(","):
        raise BadResponse(f"Connection: {fields.get('connection')!r}")
    if fields.get("sec-websocket-accept") != accept_key(key):
        raise BadResponse("Sec-WebSocket-Accept does not match our key")
    agreed = fields.get("sec-websocket-extensions", "")
    if not extension.fullmatch(agreed) or "sec-websocket-protocol" in fields:
        raise BadResponse(f"not the extension or the subprotocol that we offered: {agreed!r}")


# --- the protocol (sans-I/O) ---------------------------------------------------------------------


class WebSocketProtocol(ClientProtocol):
    """Upgrades, reads frames, answers pings, and publishes.

    An acknowledgement or an error that answers a published message is no event: it is appended to
    `replies`.  `deflates` offers permessage-deflate, and requires that each message is compressed
    alone, unless the server `keeps_context`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: Callable[[str | None], str],
        *,
        headers: Headers | None = None,
        loads: Loads = json.loads,
        deflates: bool = False,
        keeps_context: bool = False,
    ) -> None:
        super().__init__(endpoint, headers)
        self._deflates = deflates
        self._keeps_context = keeps_context
        self._extension = _NO_EXTENSION
        if deflates:
            self._extension = _ANY_DEFLATE if keeps_context else _EACH_ALONE
        self.replies: list[dict[str, Any]] = []
        self.upgraded = False
        self._path = path
        self._loads = loads
        self._outgoing: list[bytes] = []
        self._reset()

    def _reset(self) -> None:
        self.upgraded = self._close_sent = False
        inflate = context_inflater() if self._keeps_context else inflate_message
        self._messages = MessageReader(inflate if self._deflates else None)
        self._response = ResponseReader()
        self._error_body = b""
        self._outgoing.clear()

    # --- handshake -------------------------------------------------------------------------------

    def connect(self, now: float) -> bytes:
        self.ready = False
        return super().connect(now)

    def request(self) -> bytes:
        """Return the request for an upgrade (RFC 6455 §4.1)."""
        self._reset()
        self._key = base64.b64encode(os.urandom(16)).decode()
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self._key,
            "Sec-WebSocket-Version": "13",
        }
        if self._deflates:
            upgrade["Sec-WebSocket-Extensions"] = OFFER
        return self.get(self._path(self.cursor), upgrade)

    def _receive_handshake(self, data: bytes) -> bytes:
        """Parse a part of the response; return the bytes after it."""
        self._error_body += self._response.feed(data)
        head = self._response.head
        if head is not None and 200 <= head.status < 300:
            raise BadResponse(f"status {head.status} instead of 101")
        if head is None or not self._response.complete:
            return b""
        Response(head, self._error_body).check(101)
        check_handshake(head, self._key, self._extension)
        self.upgraded = True
        self._on_upgrade()
        return self._response.rest

    def _on_upgrade(self) -> None:
        """The handshake is complete; a protocol above may have more to exchange first."""
        self.ready = True

    # --- receive ---------------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        if not self.upgraded:
            data = self._receive_handshake(data)
        updates: list[Update] = []
        for message in self._messages.feed(data):
            updates += self._receive_message(message)
        if updates:
            self.cursor = updates[-1][1] or self.cursor
        self.send_at = now if self._outgoing else None
        return updates

    def _receive_message(self, message: Frame) -> Iterable[Update]:
        if message.opcode == TEXT:
            return self.receive_text(message.payload)
        if message.opcode == PING:
            self._send(PONG, message.payload)  # RFC 6455 §5.5.3: the same data
        elif message.opcode == CLOSE:
            self._send_close(message.payload[:2])  # RFC 6455 §5.5.1: the code is echoed
            self.closed = self.closed or _parse_close(message.payload)
        elif message.opcode == BINARY:
            raise BadResponse("a binary message: our server sends only text")
        return ()

    def receive_text(self, payload: bytes) -> Iterable[Update]:
        """Parse the text of one message."""
        return self.receive_json(self._loads(payload))

    def receive_json(self, message: dict[str, Any]) -> Iterable[Update]:
        """Return an event, or keep a reply."""
        if message["kind"] in ("ack", "error"):
            self.replies.append(message)
            return ()
        return (with_cursor(message),)

    def receive_eof(self) -> bool:
        if self.upgraded:
            # RFC 6455 §7.1.5: without a close frame there is no better code.
            closed = Closed(1006, "the connection ended without a close frame")
        else:
            closed = Closed(None, "the connection ended during the handshake")
        self.closed = self.closed or closed
        return False

    # --- send ------------------------------------------------------------------------------------

    def publish(self, body: bytes) -> None:
        """Queue one message, valid or not."""
        self._send(TEXT, self._wrap(body))

    def close(self, code: int = 1000) -> None:
        """Queue a close frame; the server answers with another (RFC 6455 §7.1.2)."""
        self._send_close(code.to_bytes(2))

    def data_to_send(self, now: float) -> bytes:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        self.send_at = None
        return data

    def _wrap(self, body: bytes) -> bytes:
        """Return the text of the frame that carries one message."""
        return body

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._deflates and opcode == TEXT:
            self._outgoing.append(frame(opcode, deflate_message(payload), compressed=True))
        else:
            self._outgoing.append(frame(opcode, payload))

    def _send_close(self, payload: bytes) -> None:
        if not self._close_sent:
            self._close_sent = True
            self._send(CLOSE, payload)


def _parse_close(payload: bytes) -> Closed:
    """Parse a close frame; without a code it counts as 1005 (RFC 6455 §7.1.5)."""
    if len(payload) == 1:
        raise BadResponse("half a close code")
    code = int.from_bytes(payload[:2]) if payload else 1005
    return Closed(code, payload[2:].decode("utf-8"))


# --- the client ----------------------------------------------------------------------------------


class WebSocketClient(StreamClient):
    """Publishes on the same connection; many messages may be pending, each gets its own reply.

    Pings are answered while somebody waits in `receive`, `send` or `close`.
    """

    transport = "websocket"
    _protocol: WebSocketProtocol

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._pending = PendingReplies()

    def _make_protocol(self) -> WebSocketProtocol:
        return WebSocketProtocol(
            self._endpoint,
            lambda cursor: self._query.path(self.transport, cursor),
            headers=self._headers,
            deflates=self._query.encoding is not None,
        )

    async def close(self) -> None:
        """Send a close frame, wait for the answer, and close the connection."""
        if self._connection is not None:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    self._protocol.close()
                    self._flush()
                    await self._until(lambda: self._protocol.closed is not None)
        await super().close()

    async def send_body(self, body: bytes) -> dict[str, Any]:
        assert self._connection is not None, "not open"
        if self._protocol.closed is not None:
            self._raise_closed()
        pending = self._pending.add(body)
        try:
            self._protocol.publish(body)
            self._flush()
            await self._connection.drain()
            await self._until(pending.reply.done)
            return pending.reply.result()
        finally:
            self._pending.remove(pending)

    def _receive(self, data: bytes) -> None:
        super()._receive(data)
        for reply in self._protocol.replies:
            self._pending.resolve(reply)
        self._protocol.replies.clear()
        if (closed := self._protocol.closed) is not None:
            self._pending.fail(closed)
