"""HTTP/1.1: a fast parser for plain requests, and the header of a response.

A client that polls sends the same request again and again, in one packet, with byte-identical
header fields.  This module parses such a request, and caches its fields.  Any other request
(incomplete, HTTP/1.0, an upgrade, chunked) is left to Tornado, which implements all of RFC 9112.
Pure: no I/O.

    bytes ─▶ parse_fast_path ─┬▶ RequestHeader ─▶ Request
                              └▶ None: Tornado parses it
"""

import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tornado.httputil import HTTPHeaders, HTTPInputError
from tornado.web import RequestHandler

# The header of a browser's poll has some 700 bytes.  The caches are bounded in size and entries.
_MAX_CACHED_BYTES = 4096
_MAX_CACHED_HEADERS = 256
_PLAIN_LINE = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1")
# A name or an address, and a port.  Everything else is left to Tornado.
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")
# The characters of a target that stay as they are.
_ASCII_TARGET = "".join(map(chr, range(0x21, 0x7F)))
# With one of these fields, only Tornado can parse the bytes after the header.
_NOT_PLAIN = ("Transfer-Encoding", "Upgrade", "Expect")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
# A browser sends four arguments and some fifteen fields; with more, Tornado parses the request.
_MAX_ARGUMENTS, _MAX_FIELDS = 100, 40


# What the origin policy checks: `Host`, `Origin` and `Sec-Fetch-Site`.
OriginFields = tuple[str | None, str | None, str | None]


def origin_fields(fields: HTTPHeaders) -> OriginFields:
    return fields.get("Host"), fields.get("Origin"), fields.get("Sec-Fetch-Site")


@dataclass(slots=True)
class Request:
    """A complete request: `target` as received, header `fields`, and the whole body.

    `length` is the `Content-Length` of the header.  `keep_alive` is whether another request may
    follow on the same connection.
    """

    method: str
    target: str
    version: str
    fields: HTTPHeaders
    origin_fields: OriginFields
    length: int = 0
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
            cached.length,
            body,
        )


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

    Tornado also ends a header at a bare LF LF, which RFC 9112 §2.2 permits.  If two parsers
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
    """Parse the fields of a header; None if Tornado must handle one of them."""
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


def allowed_methods(kind: type[RequestHandler]) -> list[str]:
    """Return the methods that a handler implements, for `Allow` (RFC 9110 §10.2.1)."""
    none = RequestHandler._unimplemented_method
    return [m for m in RequestHandler.SUPPORTED_METHODS if getattr(kind, m.lower()) != none]


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
