"""WebSocket, the client's half: a handshake, then frames both ways (RFC 6455).

The readers are pure, like the one for HTTP: bytes in any pieces become frames, frames become
messages.  Events and acknowledgements come down one connection; whoever waits for either reads for
both, so there is no task in the background and no queue that grows while nobody wants anything.
"""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.clients.base import Client, step
from benchmarks.clients.http import (
    BadResponse,
    Closed,
    Connection,
    Head,
    Refused,
    Response,
    ResponseReader,
)

# RFC 6455 §5.2.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
_FIN, _RSV, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F

# RFC 6455 §1.3: known to everybody; it proves that the other side means WebSocket.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Seconds that the server gets to answer a close frame.
_CLOSE_SECONDS = 2.0


# --- frames --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    fin: bool
    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes, *, fin: bool = True, key: bytes | None = None) -> bytes:
    """Write one masked frame: a client must mask, with a fresh key each time (RFC 6455 §5.3).

    The mask hides nothing; it keeps a page from putting chosen bytes before an old proxy, which
    might take them for HTTP and remember the answer (§10.3).
    """
    key = key or os.urandom(4)
    return _head(opcode, len(payload), fin) + key + mask(key, payload)


def _head(opcode: int, length: int, fin: bool) -> bytes:
    first = (_FIN if fin else 0) | opcode
    if length <= 125:
        return bytes((first, _MASKED | length))
    if length <= 0xFFFF:
        return bytes((first, _MASKED | 126)) + length.to_bytes(2)
    return bytes((first, _MASKED | 127)) + length.to_bytes(8)


def mask(key: bytes, data: bytes) -> bytes:
    """XOR each byte with one of the four of the key, in turn; done twice, it is undone."""
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(keys)).to_bytes(size)


class FrameReader:
    """Takes bytes in any pieces and gives the frames of a server that are whole."""

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
    """Where the frame ends that begins at `at`, or None if that has not come yet."""
    if len(data) < at + 2:
        return None
    size = _size_bytes(data[at + 1])
    if len(data) < at + 2 + size:
        return None
    end = at + 2 + size + _payload_length(data, at)
    return end if end <= len(data) else None


def _size_bytes(second: int) -> int:
    """How many bytes of length follow the second byte of a frame."""
    if second & _MASKED:
        raise BadResponse("a server must not mask")  # RFC 6455 §5.1
    return {126: 2, 127: 8}.get(second & _LENGTH, 0)


def _payload_length(data: bytes, at: int) -> int:
    short = data[at + 1] & _LENGTH
    if short < 126:
        return short
    length = int.from_bytes(data[at + 2 : at + 2 + _size_bytes(short)])
    # RFC 6455 §5.2: the minimal number of bytes must be used, and the highest bit must be 0.
    least, most = (126, 0xFFFF) if short == 126 else (0x10000, 2**63 - 1)
    if not least <= length <= most:
        raise BadResponse(f"{length} is not written as a length of {short}")
    return length


def _parse(data: bytes, at: int, end: int) -> Frame:
    first, length = data[at], _payload_length(data, at)
    fin, opcode = bool(first & _FIN), first & _OPCODE
    if first & _RSV:
        raise BadResponse("a reserved bit, and no extension was agreed on")
    if opcode not in _OPCODES:
        raise BadResponse(f"opcode {opcode:#x} means nothing")
    if opcode >= CLOSE and not (fin and length <= 125):
        raise BadResponse("a control frame is short and whole")  # RFC 6455 §5.5
    return Frame(fin, opcode, data[end - length : end])


class MessageReader:
    """Joins fragments (RFC 6455 §5.4); control frames may stand between them and pass through.

    Gives whole messages, as frames with FIN.
    """

    def __init__(self) -> None:
        self._frames = FrameReader()
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
            raise BadResponse("a fragment that continues nothing, or a message inside another")
        self._opcode = self._opcode or frame.opcode
        self._fragments.append(frame.payload)
        if not frame.fin:
            return None
        message = Frame(True, self._opcode, b"".join(self._fragments))
        self._opcode, self._fragments = None, []
        return message


# --- the handshake -------------------------------------------------------------------------------


def accept(key: str) -> str:
    """What a server must answer to `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def check_handshake(head: Head, key: str) -> None:
    """RFC 6455 §4.1: fail the connection unless all of this is so."""
    fields = head.fields
    if fields.get("upgrade", "").lower() != "websocket":
        raise BadResponse(f"upgraded to {fields.get('upgrade')!r}")
    if "upgrade" not in fields.get("connection", "").lower().replace(" ", "").split(","):
        raise BadResponse(f"Connection: {fields.get('connection')!r}")
    if fields.get("sec-websocket-accept") != accept(key):
        raise BadResponse("the answer does not belong to our key")
    if "sec-websocket-extensions" in fields or "sec-websocket-protocol" in fields:
        raise BadResponse("the server chose what we did not offer")


# --- the client ----------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class _Unanswered:
    """A message that was sent, by its id, if it has one that can be read."""

    id: str | None
    answer: asyncio.Future[dict[str, Any]]


class WebSocket(Client):
    """Sends on the same connection; many sends may be under way, each gets its own answer.

    Pings are answered while somebody is in `receive`, `send` or `close`.
    """

    transport = "websocket"

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._connection: Connection | None = None
        self._messages = MessageReader()
        self._turn: asyncio.Event | None = None  # set when whoever reads has read
        self._unanswered: list[_Unanswered] = []
        self._closed: Closed | None = None
        self._close_sent = False

    # --- coming and going ------------------------------------------------------------------------

    async def open(self) -> None:
        connection = self._connection = await self._server.connect(self.down)
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        }
        connection.write(self._server.request("GET", self._path(), upgrade | dict(self._headers)))
        response, body = ResponseReader(), b""
        while not response.complete:
            data = await connection.read()
            if not data:
                response.end()
            body += response.feed(data)
        assert response.head is not None
        Response(response.head, body).check(101)
        check_handshake(response.head, key)
        for message in self._messages.feed(response.rest):
            self._handle(message)

    async def close(self) -> None:
        """Say goodbye, wait for the answer (RFC 6455 §7.1.2), and end the connection."""
        if self._connection is not None:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    self._say_goodbye((1000).to_bytes(2))
                    await self._until(lambda: self._closed is not None)
            await self._connection.close()
        await super().close()

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        super().abort()

    # --- reading ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        await self._until(lambda: bool(self._steps) or self._closed is not None)
        if not self._steps and self._closed is not None:
            raise Closed(self._closed.code, self._closed.reason)

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until `done()`: one reads for everybody, the others look again when it has read."""
        assert self._connection is not None, "not open"
        while not done():
            if self._turn is not None:
                await self._turn.wait()
                continue
            turn = self._turn = asyncio.Event()
            data = b""
            try:
                with suppress(Closed):  # a reset is an end like any other
                    data = await self._connection.read()
                self._take(data)
            finally:
                self._turn = None
                turn.set()

    def _take(self, data: bytes) -> None:
        if not data:
            # RFC 6455 §7.1.5: no close frame came, so there is no better code.
            self._end(Closed(1006, "the connection ended without a close frame"))
            return
        for message in self._messages.feed(data):
            self._handle(message)

    def _handle(self, message: Frame) -> None:
        if message.opcode == TEXT:
            self._hear(message.payload)
        elif message.opcode == PING:
            self._write(frame(PONG, message.payload))  # RFC 6455 §5.5.3: the same data
        elif message.opcode == CLOSE:
            self._say_goodbye(message.payload[:2])  # RFC 6455 §5.5.1: the code is echoed
            self._end(_closed(message.payload))
        elif message.opcode == BINARY:
            raise BadResponse("a binary message: all of ours are text")

    def _hear(self, text: bytes) -> None:
        """Take what one text frame carries."""
        self._understand(json.loads(text))

    def _understand(self, message: dict[str, Any]) -> None:
        if message["kind"] == "ack":
            self._answer(message["id"], {"cursor": message["cursor"], "id": message["id"]})
        elif message["kind"] == "error":
            retry_after = message.get("retry_after")
            error = Refused(None, message["code"], message["message"], retry_after)
            self._answer(message["id"], error)
        else:
            self._steps.append(step(message))

    def _end(self, closed: Closed) -> None:
        self._closed = self._closed or closed
        for unanswered in self._unanswered:
            if not unanswered.answer.done():
                unanswered.answer.set_exception(Closed(closed.code, closed.reason))

    # --- sending ---------------------------------------------------------------------------------

    async def send_body(self, body: bytes) -> dict[str, Any]:
        return await self._ask(_id_of(body), self._wrapped(body))

    def _wrapped(self, body: bytes) -> bytes:
        """What a frame says of one message."""
        return body

    async def _ask(self, id: str | None, text: bytes) -> dict[str, Any]:
        """Send a frame and wait for what answers `id`."""
        assert self._connection is not None, "not open"
        if self._closed is not None:
            raise Closed(self._closed.code, self._closed.reason)
        unanswered = _Unanswered(id, asyncio.get_running_loop().create_future())
        self._unanswered.append(unanswered)
        try:
            self._write(frame(TEXT, text))
            await self._connection.drain()
            await self._until(unanswered.answer.done)
            return unanswered.answer.result()
        finally:
            self._unanswered.remove(unanswered)

    def _answer(self, id: str | None, answer: dict[str, Any] | Refused) -> None:
        """Give an answer to whoever waits for it.

        An error about a message whose id could not be read is about the oldest one: a server
        answers in the order of asking.
        """
        waiting = [u for u in self._unanswered if not u.answer.done() and id in (u.id, None)]
        if not waiting:
            return  # whoever asked was cancelled
        if isinstance(answer, Refused):
            waiting[0].answer.set_exception(answer)
        else:
            waiting[0].answer.set_result(answer)

    def _say_goodbye(self, payload: bytes) -> None:
        if not self._close_sent:
            self._close_sent = True
            self._write(frame(CLOSE, payload))

    def _write(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.write(data)


def _closed(payload: bytes) -> Closed:
    """Read a close frame; without a code it counts as 1005 (RFC 6455 §7.1.5)."""
    if len(payload) == 1:
        raise BadResponse("half a close code")
    code = int.from_bytes(payload[:2]) if payload else 1005
    return Closed(code, payload[2:].decode("utf-8"))


def _id_of(body: bytes) -> str | None:
    """The id that the answer will carry, if the server can read it as we do."""
    try:
        value = json.loads(body)["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value if isinstance(value, str) else None
