"""HTTP/1.1: the header section of a request, its body, and the header of a response (RFC 9112).

A client that polls sends the same request again and again, in one packet, with byte-identical
header fields.  The fast path parses such a request, and caches its fields.  Any other request
(incomplete, HTTP/1.0, an upgrade, chunked) takes the general path.  Pure: no I/O.

    bytes ─▶ parse_fast_path ─┬▶ RequestHeader ─────────────────────────────▶ Request
                              └▶ None ─▶ find_head_end ─▶ parse_head, body ─▶ Request
"""

import re
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tornado.httputil import HTTPHeaders, HTTPInputError, parse_request_start_line
from tornado.web import RequestHandler

from realtime.errors import BadRequest, HeaderTooLong, TargetTooLong, TooLong

# An interim response: the client continues to wait for the real one (RFC 9110 §15.2).
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# The header of a browser's poll has some 700 bytes.  The caches are bounded in size and entries.
_MAX_CACHED_BYTES = 4096
_MAX_CACHED_HEADERS = 256
_PLAIN_LINE = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1")
# A name or an address, and a port.  Everything else takes the general path.
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")
# The characters of a target that stay as they are.
_ASCII_TARGET = "".join(map(chr, range(0x21, 0x7F)))
# With one of these fields, the bytes after the header section are not a body of known length.
_NOT_PLAIN = ("Transfer-Encoding", "Upgrade", "Expect")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
# A browser sends four arguments and some fifteen fields; with more, the general path parses it.
_MAX_ARGUMENTS, _MAX_FIELDS = 100, 40
# Lines of a header section, from the request line to the empty line.  To parse thousands of short
# fields would cost tens of milliseconds; Apache accepts 100 fields.
_MAX_HEADER_LINES = 302
# RFC 9112 §2.2 permits a bare LF as the end of a line.
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# The characters of a method (RFC 9110 §5.6.2).
_TOKEN_BYTES = f"!#$%&'*+-.^_`|~{string.ascii_letters}{string.digits}".encode()
# RFC 9112 §3.2.2: a request to a proxy has the absolute form, and a server must accept it.
_ABSOLUTE = re.compile(r"https?://([^/?#]*)([/?][^#]*)?", re.ASCII | re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\r\n]*)?")
# The longest line with a chunk size and no extension: fifteen digits and CRLF.
_MAX_SIZE_LINE = 17
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*")

# What the origin policy checks: `Host`, `Origin` and `Sec-Fetch-Site`.
OriginFields = tuple[str | None, str | None, str | None]


def origin_fields(fields: Mapping[str, str]) -> OriginFields:
    return fields.get("Host"), fields.get("Origin"), fields.get("Sec-Fetch-Site")


@dataclass(slots=True)
class Request:
    """A complete request: `target` as received, header `fields`, and the whole body.

    `keep_alive` is whether another request may follow on the same connection.
    """

    method: str
    target: str
    version: str
    fields: HTTPHeaders
    origin_fields: OriginFields
    body: bytes = b""
    keep_alive: bool = True


class CachedFields(NamedTuple):
    """The parsed fields of a plain request, cached."""

    fields: HTTPHeaders
    origin_fields: OriginFields
    length: int


class RequestHeader(NamedTuple):
    """The request line and fields of a plain request; `size` is their bytes."""

    method: str
    target: str
    cached: CachedFields
    size: int

    @property
    def total_size(self) -> int:
        """The bytes of the whole request, with its body."""
        return self.size + self.cached.length

    def request(self, data: bytes) -> Request:
        """Return the request; `data` must be all of it."""
        cached, body = self.cached, data[self.size :]
        return Request(
            self.method,
            self.target,
            "HTTP/1.1",
            cached.fields,
            cached.origin_fields,
            body,
        )


# --- the fast path -------------------------------------------------------------------------------


def parse_fast_path(data: bytes) -> RequestHeader | None:
    """Parse the header at the start of `data`; None if it is incomplete or not plain."""
    end = data.find(b"\r\n\r\n")
    line, _, block = data[: end + 2].partition(b"\r\n")
    start = _PLAIN_LINE.fullmatch(line)
    if end < 0 or start is None or not _is_plain(block):
        return None
    if start[2].count(b"&") >= _MAX_ARGUMENTS or (cached := _plain_fields(block)) is None:
        return None
    return RequestHeader(start[1].decode(), start[2].decode(), cached, end + 4)


def _is_plain(block: bytes) -> bool:
    """Return whether these can be the fields of a plain request: short, few, each ended by CRLF.

    The general path also ends a header at a bare LF LF (RFC 9112 §2.2).  If two parsers
    disagree about where a request ends, an attacker can smuggle a second one (RFC 9112 §11.2).
    """
    lines = block.count(b"\r\n")
    return len(block) <= _MAX_CACHED_BYTES and lines <= _MAX_FIELDS and block.count(b"\n") == lines


def declared_length(fields: HTTPHeaders) -> int:
    """Return the `Content-Length` in bytes; 0 if it is absent or not a number."""
    length = fields.get("Content-Length", "")
    return int(length) if _LENGTH.fullmatch(length) else 0


@lru_cache(_MAX_CACHED_HEADERS)
def _plain_fields(block: bytes) -> CachedFields | None:
    """Parse the fields of a header; None if one of them needs the general path."""
    try:
        fields = HTTPHeaders.parse(block.decode("latin1"))
    except HTTPInputError:
        return None
    plain = (
        _PLAIN_HOST.fullmatch(fields.get("Host", ""))
        and _LENGTH.fullmatch(fields.get("Content-Length", "0"))
        and fields.get("Connection", "keep-alive").lower() == "keep-alive"
        and not any(name in fields for name in _NOT_PLAIN)
    )
    return CachedFields(fields, origin_fields(fields), declared_length(fields)) if plain else None


# --- the general path ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The header section of a request, in one form however the client wrote it.

    `target` has the origin form (RFC 9112 §3.2.1), or is ``*``.  `length` is the size of the body,
    None if the body is chunked.  `expects_continue` is whether the client waits for a 100.
    """

    method: str
    target: str
    version: str
    fields: HTTPHeaders
    length: int | None
    keep_alive: bool
    expects_continue: bool


def find_head_end(data: bytes | bytearray, max_bytes: int, searched: int = 0) -> int | None:
    """Return the size of the header section at the start of `data`; None if it is incomplete.

    The first `searched` bytes contain no end.  Raises a named error if the section is too long, or
    is something else.
    """
    if data and data[0] not in _TOKEN_BYTES:  # else a client of https would wait for our timeout
        raise BadRequest(
            "A request starts with a method: this is no HTTP, or https at an http port."
        )
    match = _HEAD_END.search(data, max(0, searched - 3))
    size = match.end() if match else len(data)
    if size > max_bytes:
        if 0 <= data.find(b"\n") < max_bytes:
            raise HeaderTooLong(f"The header section may have at most {max_bytes} bytes.")
        raise TargetTooLong(f"The URL and all header fields may have at most {max_bytes} bytes.")
    return size if match else None


def parse_head(data: bytes) -> RequestHead:
    """Parse a whole header section; raises `BadRequest`."""
    try:
        text = data.decode("latin1")
        line_end = text.index("\n")
        start = parse_request_start_line(text[:line_end].removesuffix("\r"))
        if text.count("\n") > _MAX_HEADER_LINES:
            raise HeaderTooLong(
                f"A request may have at most {_MAX_HEADER_LINES - 2} header fields."
            )
        fields = HTTPHeaders.parse(text[line_end:])
        target = encode_target(_origin_form(start.method, start.path, fields))
        length = _body_length(start.version, fields)
    except HTTPInputError as error:
        raise BadRequest(f"The request is not valid HTTP/1.1 (RFC 9112): {error}") from error
    expects = start.version == "HTTP/1.1" and fields.get("Expect", "").lower() == "100-continue"
    expects = expects and length != 0  # without a body there is nothing to wait for
    keep_alive = _keeps_alive(start.version, fields)
    return RequestHead(start.method, target, start.version, fields, length, keep_alive, expects)


def _origin_form(method: str, target: str, fields: HTTPHeaders) -> str:
    """Return the path and query; an absolute form replaces `Host` (RFC 9112 §3.2.2)."""
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target
    if (match := _ABSOLUTE.fullmatch(target)) is None or not match[1]:
        raise HTTPInputError("the target must be a path, an http URL, or * with OPTIONS")
    if len(fields.get_list("Host")) == 1:  # without one, the request is invalid in any form
        fields["Host"] = match[1]
    path = match[2] or "/"
    if match[2] is None and method == "OPTIONS":
        return "*"  # RFC 9112 §3.2.4
    return path if path.startswith("/") else f"/{path}"


def _body_length(version: str, fields: HTTPHeaders) -> int | None:
    """Return the size of the body; None if it is chunked.

    Parsers that read one request in two ways let an attacker smuggle a second one past a proxy
    (RFC 9112 §11.2), so whatever is ambiguous is refused.
    """
    lengths = {part.strip(" \t") for part in fields.get("Content-Length", "0").split(",")}
    if len(lengths) != 1 or not _LENGTH.fullmatch(length := lengths.pop()):
        raise HTTPInputError("Content-Length must be one number")
    if "Transfer-Encoding" not in fields:
        return int(length)
    if "Content-Length" in fields:
        raise HTTPInputError("Transfer-Encoding and Content-Length exclude each other")
    if version == "HTTP/1.0":  # RFC 9112 §6.1: a request with faulty framing
        raise HTTPInputError("HTTP/1.0 has no Transfer-Encoding")
    if fields["Transfer-Encoding"].lower() != "chunked":
        raise HTTPInputError("the only Transfer-Encoding is chunked")
    return None


def _keeps_alive(version: str, fields: HTTPHeaders) -> bool:
    """Return whether another request may follow (RFC 9112 §9.3)."""
    options = {option.strip(" \t").lower() for option in fields.get("Connection", "").split(",")}
    if "close" in options:
        return False
    return version == "HTTP/1.1" or (version == "HTTP/1.0" and "keep-alive" in options)


class ChunkedBody:
    """Decodes a chunked body piece by piece (RFC 9112 §7.1).

    Extensions of chunks and trailers are ignored, up to `max_ignored_bytes` in total; the decoded
    body has at most `max_bytes`.  After the last chunk `rest` is what follows the body.
    """

    def __init__(self, max_bytes: int, max_ignored_bytes: int) -> None:
        self.rest: bytes | None = None
        self._bytes_left = max_bytes
        self._ignored_left = max_ignored_bytes
        self._buffer = bytearray()
        self._chunk_left = 0
        self._on_line = self._start_chunk

    def feed(self, data: bytes) -> bytes:
        """Return what `data` contains of the body; raises `BadRequest` or `TooLong`."""
        buffer, body, at = self._buffer, bytearray(), 0
        buffer += data
        while self.rest is None:
            if self._chunk_left:
                part = buffer[at : at + self._chunk_left]
                body += part
                at += len(part)
                self._chunk_left -= len(part)
            end = buffer.find(b"\n", at)
            if self._chunk_left or end < 0:
                break
            line, at = bytes(buffer[at:end]), end + 1
            if not line.endswith(b"\r"):  # RFC 9112 §7.1 permits no bare LF
                raise _bad_chunk("a line must end with CRLF")
            self._on_line(line[:-1])
            if self._on_line == self._finished:
                self.rest = bytes(buffer[at:])
        del buffer[:at]
        if self.rest is None and not self._chunk_left:
            self._check_incomplete_line()
        return bytes(body)

    def _start_chunk(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise _bad_chunk("its size must be a hexadecimal number")
        size = int(match[1], 16)
        self._ignore(len(line) - len(match[1]))
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise TooLong("The chunked body is too long.")
        self._chunk_left = size
        self._on_line = self._end_chunk if size else self._read_trailer

    def _end_chunk(self, line: bytes) -> None:
        if line:
            raise _bad_chunk("it is longer than its size")
        self._on_line = self._start_chunk

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self._on_line = self._finished
        elif not _TRAILER.fullmatch(line):
            raise _bad_chunk("a trailer must be a header field")
        self._ignore(len(line) + 2)

    def _finished(self, line: bytes) -> None: ...

    def _ignore(self, count: int) -> None:
        self._ignored_left -= count
        if self._ignored_left < 0:
            raise HeaderTooLong("The chunk extensions and trailers are too long.")

    def _check_incomplete_line(self) -> None:
        at_end = self._on_line == self._end_chunk
        if at_end and not b"\r\n".startswith(self._buffer):
            raise _bad_chunk("it is longer than its size")
        if len(self._buffer) > self._ignored_left + _MAX_SIZE_LINE:
            raise HeaderTooLong("The chunk extensions and trailers are too long.")


def _bad_chunk(reason: str) -> BadRequest:
    return BadRequest(f"A chunk of the body is not valid HTTP/1.1 (RFC 9112 §7.1): {reason}.")


# --- queries and responses -----------------------------------------------------------------------


def allowed_methods(kind: type[RequestHandler]) -> list[str]:
    """Return the methods that a handler implements, for `Allow` (RFC 9110 §10.2.1)."""
    none = RequestHandler._unimplemented_method
    methods = [m for m in RequestHandler.SUPPORTED_METHODS if getattr(kind, m.lower()) != none]
    # Every handler has `head`, which calls `get`.
    return [m for m in methods if m != "HEAD" or "GET" in methods]


def parse_query(target: str) -> dict[str, list[bytes]]:
    """Parse the query of a request target; an argument may occur more than once."""
    arguments: dict[str, list[bytes]] = {}
    for part in target.partition("?")[2].split("&"):
        if part:
            name, _, value = part.partition("=")
            # As in Tornado: a name is latin-1 text, a value is bytes.
            arguments.setdefault(_unquote(name).decode("latin1"), []).append(_unquote(value))
    return arguments


def encode_target(target: str) -> str:
    """Percent-encode what is not ASCII in a target, as the client should have done (RFC 3986 §2.1).

    `target` are bytes, decoded as latin-1.  Handlers that decode it as text in one place, and as
    bytes in another, would give one address two meanings.
    """
    return target if target.isascii() else quote(target.encode("latin1"), safe=_ASCII_TARGET)


def _unquote(text: str) -> bytes:
    # A target is a sequence of bytes, decoded here as latin-1 (RFC 9112 §2.2).
    data = text.replace("+", " ").encode("latin1")
    return unquote_to_bytes(data) if b"%" in data else data


def response_header(status: int, *fields: bytes, length: int | None = None) -> bytes:
    """Build the header of a response.

    Without a `length` something else ends the body: chunks, or the end of the connection.
    """
    return _response_header(status, fields, length, int(time.time()))


@lru_cache(_MAX_CACHED_HEADERS)
def _response_header(
    status: int, fields: tuple[bytes, ...], length: int | None, second: int
) -> bytes:
    lines = [_status_line(status), *fields, _date(second)]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join((*lines, b"", b""))


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()


def _date(second: int) -> bytes:
    # RFC 9110 §6.6.1: an origin server with a clock MUST send Date.
    return b"Date: " + formatdate(second, usegmt=True).encode()


def chunk(data: bytes) -> bytes:
    """Wrap `data` as one chunk of an HTTP/1.1 body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
