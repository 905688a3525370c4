"""The client side of HTTP/1.1: a response parser without I/O, and a connection that counts bytes.

`ResponseReader` accepts bytes split at any position and returns the bytes of the body without
their framing.  So the only call that waits is one `read` of a socket.  It may be cancelled at any
time and loses nothing.

    Endpoint           where to connect, and how a request is written
    ResponseReader     bytes of a connection -> header and body            (sans-I/O)
    TCPConnection      one socket that counts its bytes
    HTTPConnection     requests and responses in turn on one TCPConnection
"""

import asyncio
import json
import re
import socket
import ssl
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from realtime.client.encodings import Inflate, body_inflater

Headers = Mapping[str, str]

# Bytes of one read.  Like a browser, it takes many small events at once when many are waiting.
READ_BYTES = 65_536
# The limit of a header section or a chunk line.  Node.js stops at 16 KiB, Tornado at 64 KiB.
MAX_HEADER_BYTES = 65_536

# RFC 9112 §4: version, three digits, and a reason that may be empty.
_STATUS_LINE = re.compile(r"HTTP/(1\.[01]) ([1-5][0-9]{2}) ?(.*)")
# RFC 9112 §5: no space before the colon; a name is a token.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_FIELD_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
# RFC 9112 §7.1: hexadecimal digits, then extensions, which a recipient ignores.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_DIGITS = re.compile(r"[0-9]{1,15}")


class BadResponse(Exception):
    """The server's bytes break the protocol.  No test and no benchmark ignores this.

    `status` is that of an error without a name: something in between has sent it.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Closed(ConnectionError):
    """The server closed the connection.  `code` and `reason` are those of a WebSocket close frame.

    It is a ConnectionError because the cure is the same: reconnect with the cursor.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server returned a named error.  `status` is None for an error in a WebSocket frame."""

    def __init__(
        self, status: int | None, code: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


@contextmanager
def expecting(what: str) -> Iterator[None]:
    """Raise `BadResponse` where bytes are not what the code inside expects: `what` says it."""
    try:
        yield
    except (ValueError, LookupError, TypeError, zlib.error, RecursionError) as error:
        raise BadResponse(f"not {what}: {type(error).__name__}: {error}") from error


# --- reading a response --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The status line and the header fields.

    Field names are in lower case; the values of a repeated field are joined with commas.
    """

    version: str
    status: int
    reason: str
    fields: Headers

    @classmethod
    def parse(cls, data: bytes) -> "ResponseHead":
        # RFC 9112 §2.2: a header section is octets; ISO 8859-1 keeps each of them.
        first, *lines = data.decode("latin-1").split("\r\n")
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise BadResponse(f"not a status line: {first!r}")
        fields: dict[str, str] = {}
        for line in lines:
            name, value = _parse_field(line)
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return cls(match[1], int(match[2]), match[3], fields)


@lru_cache(maxsize=256)
def _parse_head(data: bytes) -> ResponseHead:
    """Parse a head; a load generator receives the same one thousands of times."""
    return ResponseHead.parse(data)


def check_field(name: str, value: str) -> None:
    """Raise ValueError if this is no header field: a line end in it would start another one."""
    if not (_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value)):
        raise ValueError(f"the header field {name!r} has characters that HTTP does not allow")


def _parse_field(line: str) -> tuple[str, str]:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadResponse(f"not a field line: {line!r}")
    return match[1].lower(), match[2]


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    head: ResponseHead
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status

    def json(self) -> Any:
        return json.loads(self.body)

    def check(self, *expected: int) -> "Response":
        """Return the response itself, or raise the error that its body describes."""
        if self.status in expected:
            return self
        try:
            error = self.json()["error"]
            code, message = error["code"], error["message"]
        except (ValueError, LookupError, TypeError) as cause:
            what = f"{self.status} without a named error: {self.body[:200]!r}"
            raise BadResponse(what, self.status) from cause
        # RFC 9110 §10.2.3 allows a date, too, which only other servers send.
        seconds = self.head.fields.get("retry-after", "")
        retry_after = float(seconds) if _DIGITS.fullmatch(seconds) else None
        raise Refused(self.status, code, message, retry_after)


class ResponseReader:
    """Parses one response: `feed` takes bytes of the connection and returns bytes of the body.

    A compressed body is inflated.

    `head` is None until it is complete.  `complete` is true at the end of the body.  `rest` holds
    the bytes after that end: the next response, or the protocol that a 101 switched to.
    """

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.rest = b""
        self._head_bytes = bytearray()
        self._body: _Body | None = None
        self._inflate: Inflate | None = None

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
        if self._inflate is None:
            return payload
        with expecting("a compressed body"):
            return self._inflate(payload)

    def end(self) -> None:
        """Report the end of the connection: it completes a body without a length.

        Raises `Closed` in the middle of any other response.
        """
        if isinstance(self._body, _UntilClosed):
            self._body.complete = True
        if not self.complete:
            raise Closed(None, "the connection ended in the middle of a response")

    def _feed_head(self, data: bytes) -> bytes:
        """Take bytes of the head; return the bytes after it."""
        self._head_bytes += data
        head, end, rest = bytes(self._head_bytes).partition(b"\r\n\r\n")
        if len(head) > MAX_HEADER_BYTES:
            raise BadResponse("the header section is too long")
        if not end:
            return b""
        self._head_bytes.clear()
        self.head = _parse_head(head)
        if 100 <= self.head.status < 200 and self.head.status != 101:
            # RFC 9110 §15.2: interim responses may precede the final one.
            self.head = None
            return self._feed_head(rest)
        self._body = _body_of(self.head)
        self._inflate = _inflater_of(self.head)
        return rest


class _Body:
    """Finds the end of a body; `feed` returns the payload and the bytes after the end."""

    complete = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        raise NotImplementedError


class _FixedLength(_Body):
    """A body of Content-Length bytes (RFC 9112 §6.2)."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        payload, rest = data[: self._left], data[self._left :]
        self._left -= len(payload)
        self.complete = self._left == 0
        return payload, rest


class _UntilClosed(_Body):
    """Everything until the connection ends (RFC 9112 §6.3, rule 8)."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


class _Chunked(_Body):
    """Chunks, each after a line with its size; a chunk of size 0 is the last (RFC 9112 §7.1)."""

    def __init__(self) -> None:
        self._unread = b""
        self._left = 0  # bytes of this chunk that have not arrived yet
        self._parse_line = self._parse_size

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
            self._parse_line(data[at:end])
            at = end + 2
        self._unread = b"" if self.complete else data[at:]
        if len(self._unread) > MAX_HEADER_BYTES:
            raise BadResponse("a chunk line is too long")
        return bytes(payload), data[at:] if self.complete else b""

    # One of these parses the next line; each sets the method for the line after it.

    def _parse_size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise BadResponse(f"not a chunk size: {line[:20]!r}")
        self._left = int(match[1], 16)
        self._parse_line = self._parse_chunk_end if self._left else self._parse_trailer

    def _parse_chunk_end(self, line: bytes) -> None:
        if line:
            raise BadResponse(f"a chunk is longer than its size: {line[:20]!r}")
        self._parse_line = self._parse_size

    def _parse_trailer(self, line: bytes) -> None:
        self.complete = not line


def _body_of(head: ResponseHead) -> _Body:
    """Choose the framing by the rules of RFC 9112 §6.3, in their order."""
    coding, length = head.fields.get("transfer-encoding"), head.fields.get("content-length")
    if head.status in (101, 204, 304):
        return _FixedLength(0)
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise BadResponse(f"Transfer-Encoding {coding} with Content-Length {length}")
        return _Chunked()
    if length is None:
        return _UntilClosed()
    if _DIGITS.fullmatch(length) is None:
        raise BadResponse(f"not a Content-Length: {length!r}")
    return _FixedLength(int(length))


def _inflater_of(head: ResponseHead) -> Inflate | None:
    try:
        return body_inflater(head.fields.get("content-encoding"))
    except ValueError as error:
        raise BadResponse(f"Content-Encoding: {error}") from error


# --- the socket ----------------------------------------------------------------------------------


@dataclass(slots=True)
class ByteCount:
    """Bytes that crossed our sockets, headers and framing included."""

    bytes_in: int = 0
    bytes_out: int = 0


class _CountingStreamReader(asyncio.StreamReader):
    """Counts bytes when the socket delivers them, not when somebody reads them."""

    def __init__(self, count: ByteCount) -> None:
        super().__init__(limit=READ_BYTES)
        self._count = count

    def feed_data(self, data: Any) -> None:
        self._count.bytes_in += len(data)
        super().feed_data(data)


class TCPConnection:
    """One TCP connection.  Its read buffer is bounded, so a slow reader slows the sender."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: ByteCount
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._count = count

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        count: ByteCount,
        tls: ssl.SSLContext | None = None,
        source: str | None = None,
    ) -> "TCPConnection":
        """Connect, from the local address `source` or from any."""
        loop = asyncio.get_running_loop()
        reader = _CountingStreamReader(count)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, host, port, ssl=tls, local_addr=(source, 0) if source else None
        )
        # Nagle's algorithm would hold a small write until the one before it is acknowledged.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop), count)

    def write(self, data: bytes) -> None:
        """Queue bytes.  They are counted now and leave in order."""
        self._count.bytes_out += len(data)
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait while too much is queued."""
        await self._writer.drain()

    async def read(self) -> bytes:
        """Wait for the next bytes, at least one; b"" means that the server closed its side.

        May be cancelled: what has arrived stays for the next read.
        """
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError as error:
            raise Closed(None, "the connection was reset") from error

    @property
    def ended(self) -> bool:
        """Whether the server has closed its side or reset the connection, and nothing is unread."""
        return self._reader.at_eof() or self._reader.exception() is not None

    async def close(self) -> None:
        """Close after the queued bytes have left."""
        self._writer.close()
        with suppress(OSError):  # the server closed first, or TLS reports a missing close_notify
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Close at once with RST, as a machine that loses power appears to the server."""
        # SO_LINGER of 0 s: the kernel drops what it has not sent yet (socket(7)).
        linger = struct.pack("ii", 1, 0)
        raw = self._writer.get_extra_info("socket")
        if raw is not None and raw.fileno() != -1:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()


# --- requests ------------------------------------------------------------------------------------


class Endpoint:
    """Where to connect: host and port of a URL, the `Host` field, and a local address (`source`).

    A path of the URL is the one below which a proxy has the server.  `tls` replaces the usual
    choice of certificates to trust.

    (Twisted calls the same thing an endpoint.)
    """

    def __init__(
        self,
        url: str,
        host: str | None = None,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"not an http:// or https:// address: {url!r}")
        # OpenSSL decides which certificates to trust; SSL_CERT_FILE adds one.
        self.tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = host or parts.netloc
        self.root = parts.path.rstrip("/")
        self.source = source

    async def connect(self, count: ByteCount) -> TCPConnection:
        return await TCPConnection.open(self.host, self.port, count, self.tls, self.source)

    def build_request(
        self, method: str, path: str, headers: Headers, body: bytes | None = None
    ) -> bytes:
        """Write an HTTP/1.1 request; `headers` follow the few fields that it needs."""
        fields = {"Host": self.authority, **headers}
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        target = self.root + path
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (body or b"")


class HTTPConnection:
    """Requests and responses in turn on one persistent connection (RFC 9112 §9.3).

    `send_request` and `read_response` may both be cancelled and called again: a request is sent
    completely or not at all, and a response that has arrived in part is read to its end.
    """

    def __init__(self, endpoint: Endpoint, count: ByteCount, headers: Headers) -> None:
        self._endpoint = endpoint
        self._count = count
        self._headers = headers
        self._connection: TCPConnection | None = None
        self._reader: ResponseReader | None = None
        self._body = bytearray()

    @property
    def awaiting_response(self) -> bool:
        """Whether a request was sent and its response has not been read."""
        return self._reader is not None

    async def request(self, method: str, path: str, body: bytes | None = None) -> Response:
        """Send a request and read its response; a cancelled call closes the connection.

        A server closes a persistent connection that was idle for some time (RFC 9112 §9.3): another
        replaces it.
        """
        if self._connection is not None and self._connection.ended:
            self.abort()
        try:
            await self.send_request(method, path, body)
            return await self.read_response()
        except BaseException:
            self.abort()
            raise

    async def send_request(self, method: str, path: str, body: bytes | None = None) -> None:
        if self._connection is None:
            self._connection = await self._endpoint.connect(self._count)
        self._connection.write(self._endpoint.build_request(method, path, self._headers, body))
        self._reader = ResponseReader()
        self._body.clear()

    async def read_response(self) -> Response:
        connection, reader = self._connection, self._reader
        assert connection is not None, "no request was sent"
        assert reader is not None, "no request was sent"
        try:
            while not reader.complete:
                data = await connection.read()
                if not data:
                    reader.end()
                self._body += reader.feed(data)
            if reader.rest:
                raise BadResponse(f"bytes after the response: {reader.rest[:20]!r}")
        except (ConnectionError, BadResponse):
            self.abort()  # nothing that follows on this connection can be parsed
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
    url: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Headers | None = None,
    tls: ssl.SSLContext | None = None,
) -> Response:
    """Send one request on a new connection and return the response, whatever its status."""
    connection = HTTPConnection(Endpoint(url, tls=tls), ByteCount(), headers or {})
    try:
        return await connection.request(method, path, body)
    finally:
        await connection.close()


async def get_json(url: str, path: str) -> Any:
    """GET a path and return its JSON; raises `Refused`."""
    return (await request(url, "GET", path)).check(200).json()


async def post(url: str, room: str, **fields: Any) -> Response:
    """POST one message with exactly these fields and return the response, whatever its status."""
    return await request(url, "POST", messages_path(room), encode(fields))


def messages_path(room: str, secret: str | None = None) -> str:
    path = f"/rooms/{quote(room, safe='')}/messages"
    return path if secret is None else f"{path}?{urlencode({'secret': secret})}"


def encode(value: Any) -> bytes:
    """Write JSON as `JSON.stringify` does: compact, in UTF-8, lone surrogates escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
