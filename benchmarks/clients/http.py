"""HTTP/1.1 from the client's side: a connection that counts, a reader of responses, a request.

The reader is pure: it takes bytes in whatever pieces they come and gives back those of the body,
free of framing.  So the only thing here that ever waits is one `read` of a socket, which may be
cancelled at any moment and loses nothing.
"""

import asyncio
import json
import re
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

Headers = Mapping[str, str]

# Bytes of one read: many small events at once when there are many, as a browser reads.
READ_BYTES = 65_536
# A head without an end is not a head.  Node.js stops at 16 KiB, Tornado at 64 KiB.
MOST_HEAD_BYTES = 65_536

# RFC 9112 §4: version, three digits, and a reason that may be empty.
_STATUS_LINE = re.compile(r"HTTP/(1\.[01]) ([1-5][0-9]{2}) ?(.*)")
# RFC 9112 §5: no space before the colon; a name is a token.
_FIELD_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
# RFC 9112 §7.1: hexadecimal digits, then extensions, which a recipient must ignore.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_DIGITS = re.compile(r"[0-9]{1,15}")


class BadResponse(Exception):
    """What the server sent breaks the protocol; never expected, and never passed over."""


class Closed(ConnectionError):
    """The server ended the connection.  `code` and `reason` are those of a WebSocket close frame.

    A ConnectionError, since the remedy is the same: come again with the cursor.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server said no, by name.  `status` is None for an error in a WebSocket frame."""

    def __init__(
        self, status: int | None, code: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


# --- reading a response --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """A status line and its fields, by lower-case name; repeated fields are joined with commas."""

    version: str
    status: int
    reason: str
    fields: Headers

    @classmethod
    def parse(cls, data: bytes) -> "Head":
        # RFC 9112 §2.2: a head is octets; ISO 8859-1 keeps each of them.
        first, *lines = data.decode("latin-1").split("\r\n")
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise BadResponse(f"not a status line: {first!r}")
        fields: dict[str, str] = {}
        for line in lines:
            name, value = _field(line)
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return cls(match[1], int(match[2]), match[3], fields)


@lru_cache(maxsize=256)
def _read_head(data: bytes) -> Head:
    """Read a head, and the same one once for all who are sent it: a load generator is many."""
    return Head.parse(data)


def _field(line: str) -> tuple[str, str]:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadResponse(f"not a field line: {line!r}")
    return match[1].lower(), match[2]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status

    def json(self) -> Any:
        return json.loads(self.body)

    def check(self, *expected: int) -> "Response":
        """Give back the response itself, or raise the error it tells."""
        if self.status in expected:
            return self
        try:
            error = self.json()["error"]
            code, message = error["code"], error["message"]
        except (ValueError, LookupError, TypeError) as cause:
            raise BadResponse(f"{self.status} without a named error: {self.body!r}") from cause
        retry_after = self.head.fields.get("retry-after")
        raise Refused(self.status, code, message, float(retry_after) if retry_after else None)


class ResponseReader:
    """Reads one response: feed it bytes, and it gives those of the body.

    `head` is None until it has come; `complete` says that the body has ended; `rest` is what came
    after that, which belongs to the next response, or to the protocol of a 101.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self.rest = b""
        self._head_bytes = bytearray()
        self._body: _Body | None = None

    @property
    def complete(self) -> bool:
        return self._body is not None and self._body.complete

    def feed(self, data: bytes) -> bytes:
        if self._body is None:
            data = self._feed_head(data)
        if self._body is None:
            return b""
        payload, rest = self._body.feed(data)
        self.rest += rest
        return payload

    def end(self) -> None:
        """Say that the connection ended, which completes some bodies and breaks the others."""
        if isinstance(self._body, _UntilClosed):
            self._body.complete = True
        if not self.complete:
            raise Closed(None, "the connection ended in the middle of an answer")

    def _feed_head(self, data: bytes) -> bytes:
        """Take bytes of the head, and give those that came after it."""
        self._head_bytes += data
        head, end, rest = bytes(self._head_bytes).partition(b"\r\n\r\n")
        if len(head) > MOST_HEAD_BYTES:
            raise BadResponse("a head without end")
        if not end:
            return b""
        self._head_bytes.clear()
        self.head = _read_head(head)
        if 100 <= self.head.status < 200 and self.head.status != 101:
            # RFC 9110 §15.2: an interim answer may come before the real one.
            self.head = None
            return self._feed_head(rest)
        self._body = _body_of(self.head)
        return rest


class _Body:
    """How a body is told from what follows it; `feed` gives payload and what came after."""

    complete = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        raise NotImplementedError


class _OfLength(_Body):
    """As many bytes as Content-Length says (RFC 9112 §6.2)."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        payload, rest = data[: self._left], data[self._left :]
        self._left -= len(payload)
        self.complete = self._left == 0
        return payload, rest


class _UntilClosed(_Body):
    """All that comes until the connection ends (RFC 9112 §6.3, rule 8)."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


class _Chunked(_Body):
    """Chunks, each behind a line with its size; one of size 0 is the last (RFC 9112 §7.1)."""

    def __init__(self) -> None:
        self._unread = b""
        self._left = 0  # bytes of this chunk that are still to come
        self._take_line = self._size_line

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        data = self._unread + data
        payload = bytearray()
        at = 0
        while not self.complete:
            if self._left:
                piece = data[at : at + self._left]
                payload += piece
                self._left -= len(piece)
                at += len(piece)
                if self._left:
                    break
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            self._take_line(data[at:end])
            at = end + 2
        self._unread = b"" if self.complete else data[at:]
        if len(self._unread) > MOST_HEAD_BYTES:
            raise BadResponse("a line of a chunked body without end")
        return bytes(payload), data[at:] if self.complete else b""

    # One of these takes the next line; each says which comes after it.

    def _size_line(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise BadResponse(f"not a chunk size: {line[:20]!r}")
        self._left = int(match[1], 16)
        self._take_line = self._end_line if self._left else self._trailer_line

    def _end_line(self, line: bytes) -> None:
        if line:
            raise BadResponse(f"a chunk is longer than its size: {line[:20]!r}")
        self._take_line = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        self.complete = not line


def _body_of(head: Head) -> _Body:
    """Choose by the rules of RFC 9112 §6.3, in their order."""
    coding, length = head.fields.get("transfer-encoding"), head.fields.get("content-length")
    if head.status in (101, 204, 304):
        return _OfLength(0)
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise BadResponse(f"Transfer-Encoding {coding} with Content-Length {length}")
        return _Chunked()
    if length is None:
        return _UntilClosed()
    if _DIGITS.fullmatch(length) is None:
        raise BadResponse(f"not a Content-Length: {length!r}")
    return _OfLength(int(length))


# --- the socket ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Count:
    """Bytes that crossed our sockets, heads and framing included."""

    bytes_in: int = 0
    bytes_out: int = 0


class _CountingReader(asyncio.StreamReader):
    """Counts when the socket gives bytes, not when somebody wants them."""

    def __init__(self, count: Count) -> None:
        super().__init__(limit=READ_BYTES)
        self._count = count

    def feed_data(self, data: Any) -> None:
        self._count.bytes_in += len(data)
        super().feed_data(data)


class Connection:
    """One TCP connection.  What waits to be read here is bounded, so a slow reader slows TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count):
        self._reader = reader
        self._writer = writer
        self._count = count

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        count: Count,
        tls: ssl.SSLContext | None = None,
        source: str | None = None,
    ) -> "Connection":
        """Connect, from an address of ours (`source`) or from any."""
        loop = asyncio.get_running_loop()
        reader = _CountingReader(count)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, host, port, ssl=tls, local_addr=(source, 0) if source else None
        )
        # Nagle would hold a small write until the one before it is acknowledged.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop), count)

    def write(self, data: bytes) -> None:
        """Queue bytes; they are counted now, and leave in order."""
        self._count.bytes_out += len(data)
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait while too much is queued."""
        await self._writer.drain()

    async def read(self) -> bytes:
        """Wait for the next bytes, of any number; none means that the other side has ended.

        May be cancelled: what has come stays for the next read.
        """
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError as error:
            raise Closed(None, "the connection was reset") from error

    async def close(self) -> None:
        """End after what was queued has left."""
        self._writer.close()
        with suppress(OSError):  # the other side was faster, or TLS complains of its last words
            await self._writer.wait_closed()

    def abort(self) -> None:
        """End at once, with RST, as a machine that lost its power looks to those behind it."""
        # SO_LINGER of 0 s: the kernel forgets what it would still have to send (socket(7)).
        linger = struct.pack("ii", 1, 0)
        raw = self._writer.get_extra_info("socket")
        if raw is not None and raw.fileno() != -1:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()


# --- asking --------------------------------------------------------------------------------------


class Server:
    """Where to ask: the address out of a URL, and the `Host` to ask for; and whence (`source`)."""

    def __init__(self, url: str, host: str | None = None, source: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"not an http:// or https:// address: {url!r}")
        # Whom to trust is OpenSSL's to know; SSL_CERT_FILE tells it of one more.
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = host or parts.netloc
        self._source = source

    async def connect(self, count: Count) -> Connection:
        return await Connection.open(self.host, self.port, count, self.tls, self._source)

    def request(self, method: str, path: str, headers: Headers, body: bytes | None = None) -> bytes:
        """Build a whole HTTP/1.1 request; `headers` are added to the few that it must have."""
        fields = {"Host": self.authority, **headers}
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (body or b"")


class Exchange:
    """Requests and responses, in turn, on one connection that is kept (RFC 9112 §9.3).

    `begin` and `finish` may both be cancelled and called again: a request is sent whole or not at
    all, and an answer that has come in part is read on.
    """

    def __init__(self, server: Server, count: Count, headers: Headers) -> None:
        self._server = server
        self._count = count
        self._headers = headers
        self._connection: Connection | None = None
        self._reader: ResponseReader | None = None
        self._body = bytearray()

    @property
    def asking(self) -> bool:
        """Whether a request was sent whose answer has not been read."""
        return self._reader is not None

    async def ask(self, method: str, path: str, body: bytes | None = None) -> Response:
        """Send a request and read its answer; if that is cancelled, the connection goes too."""
        try:
            await self.begin(method, path, body)
            return await self.finish()
        except BaseException:
            self.abort()
            raise

    async def begin(self, method: str, path: str, body: bytes | None = None) -> None:
        if self._connection is None:
            self._connection = await self._server.connect(self._count)
        self._connection.write(self._server.request(method, path, self._headers, body))
        self._reader = ResponseReader()
        self._body.clear()

    async def finish(self) -> Response:
        connection, reader = self._connection, self._reader
        assert connection is not None, "nothing was asked"
        assert reader is not None, "nothing was asked"
        try:
            while not reader.complete:
                data = await connection.read()
                if not data:
                    reader.end()
                self._body += reader.feed(data)
            if reader.rest:
                raise BadResponse(f"bytes that nobody asked for: {reader.rest[:20]!r}")
        except (ConnectionError, BadResponse):
            self.abort()  # whatever follows on this connection cannot be understood
            raise
        assert reader.head is not None
        self._reader = None
        if reader.head.fields.get("connection", "").lower() == "close":
            await self.close()
        return Response(reader.head, bytes(self._body))

    async def close(self) -> None:
        connection, self._connection, self._reader = self._connection, None, None
        if connection is not None:
            await connection.close()

    def abort(self) -> None:
        connection, self._connection, self._reader = self._connection, None, None
        if connection is not None:
            connection.abort()


async def request(
    url: str, method: str, path: str, body: bytes | None = None, headers: Headers | None = None
) -> Response:
    """Ask once, on a connection of its own, and give whatever was answered."""
    exchange = Exchange(Server(url), Count(), headers or {})
    response = await exchange.ask(method, path, body)
    await exchange.close()
    return response


async def get_json(url: str, path: str) -> Any:
    """GET what a path of the server says; raises `Refused`."""
    return (await request(url, "GET", path)).check(200).json()


async def post(url: str, room: str, **fields: Any) -> Response:
    """POST one message with exactly these fields, and give whatever was answered."""
    return await request(url, "POST", messages_path(room), encode(fields))


def messages_path(room: str) -> str:
    return f"/rooms/{quote(room, safe='')}/messages"


def encode(value: Any) -> bytes:
    """Write JSON as `JSON.stringify` does: short, in UTF-8, and half a surrogate pair escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
