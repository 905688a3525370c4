"""HTTP/1.1, the plain part of it: a whole request taken apart, the head of an answer put together.

Who polls asks the same again and again, in one packet, and its fields are those of the time before
to the byte.  Such a request is taken apart here, its fields once for all times.  Whatever is not
plain (a part of it still to come, HTTP/1.0, an upgrade, chunks) is left to Tornado, which knows all
of RFC 9112.  Pure: no I/O.
"""

import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tornado.httputil import HTTPHeaders, HTTPInputError
from tornado.web import RequestHandler

# What a browser sends in front of a poll is some 700 bytes.  What is remembered has a bound.
_MOST_REMEMBERED = 4096
_HEADS_REMEMBERED = 256
_PLAIN_LINE = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1")
# A name or an address and a port: more than Tornado needs to be asked about it.
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")
# With one of these, the bytes that follow the head are not ours to understand.
_NOT_PLAIN = ("Transfer-Encoding", "Upgrade", "Expect")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
# A browser asks with four arguments and some fifteen fields; more are taken apart by Tornado.
_MOST_ARGUMENTS, _MOST_FIELDS = 100, 40


# What the door wants to know: `Host`, `Origin` and `Sec-Fetch-Site`.
OriginFields = tuple[str | None, str | None, str | None]


def origin_fields(fields: HTTPHeaders) -> OriginFields:
    return fields.get("Host"), fields.get("Origin"), fields.get("Sec-Fetch-Site")


@dataclass(slots=True)
class Request:
    """What is asked: `target` as it came, `fields` of the head, and all of the body.

    `length` is what the head said of the body.  `keep_alive` says whether another request may
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
    """What was found out once about the fields of a plain request."""

    fields: HTTPHeaders
    origin_fields: OriginFields
    length: int


class RequestHeader(NamedTuple):
    """The head of a plain request, and how many bytes it has."""

    method: str
    target: str
    cached: CachedFields
    size: int

    @property
    def total_size(self) -> int:
        """Bytes of the whole request."""
        return self.size + self.cached.length

    def request(self, data: bytes) -> Request:
        """Give the request, now that `data` is all of it."""
        known, body = self.cached, data[self.size :]
        return Request(
            self.method,
            self.target,
            "HTTP/1.1",
            known.fields,
            known.origin_fields,
            known.length,
            body,
        )


def parse_fast_path(data: bytes) -> RequestHeader | None:
    """Take apart the head at the beginning of `data`; None if it is not plain, or not all here."""
    end = data.find(b"\r\n\r\n")
    line, _, block = data[: end + 2].partition(b"\r\n")
    start = _PLAIN_LINE.fullmatch(line)
    if end < 0 or start is None or not _is_plain(block):
        return None
    if start[2].count(b"&") >= _MOST_ARGUMENTS or (known := _plain_fields(block)) is None:
        return None
    return RequestHeader(start[1].decode(), start[2].decode(), known, end + 4)


def _is_plain(block: bytes) -> bool:
    """Whether these may be fields of a plain request: short, few, and each ended by CRLF.

    To Tornado a head ends at a bare LF LF as well (RFC 9112 §2.2 lets it): two readers must never
    disagree about where a request ends.
    """
    lines = block.count(b"\r\n")
    return len(block) <= _MOST_REMEMBERED and lines <= _MOST_FIELDS and block.count(b"\n") == lines


def declared_length(fields: HTTPHeaders) -> int:
    """Bytes of body that a head tells of; 0 where it tells of none, or no number."""
    length = fields.get("Content-Length", "")
    return int(length) if _LENGTH.fullmatch(length) else 0


@lru_cache(_HEADS_REMEMBERED)
def _plain_fields(block: bytes) -> CachedFields | None:
    """The fields of a head and the length they tell, if there is nothing special about them."""
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
    """The methods that a handler takes, for `Allow` (RFC 9110 §10.2.1)."""
    none = RequestHandler._unimplemented_method
    return [m for m in RequestHandler.SUPPORTED_METHODS if getattr(kind, m.lower()) != none]


def parse_query(target: str) -> dict[str, list[bytes]]:
    """Take apart what stands behind the question mark; an argument may come more than once."""
    arguments: dict[str, list[bytes]] = {}
    for part in target.partition("?")[2].split("&"):
        if part:
            name, _, value = part.partition("=")
            # Like Tornado: a name is text, byte by byte, and a value is bytes.
            arguments.setdefault(_unquote(name).decode("latin1"), []).append(_unquote(value))
    return arguments


def _unquote(text: str) -> bytes:
    # A target is bytes, which a head's text has as latin-1 (RFC 9112 §2.2).
    data = text.replace("+", " ").encode("latin1")
    return unquote_to_bytes(data) if b"%" in data else data


def response_header(status: int, *fields: bytes, length: int | None = None) -> bytes:
    """Put together the head of an answer; without a `length` its body has an end of its own."""
    return _head(status, fields, length, int(time.time()))


@lru_cache(_HEADS_REMEMBERED)
def _head(status: int, fields: tuple[bytes, ...], length: int | None, second: int) -> bytes:
    lines = [_status_line(status), *fields, _date(second)]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join((*lines, b"", b""))


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()


def _date(second: int) -> bytes:
    # RFC 9110 §6.6.1: an origin server with a clock must say the time.
    return b"Date: " + formatdate(second, usegmt=True).encode()


def chunk(data: bytes) -> bytes:
    """Wrap `data` as one chunk of an HTTP/1.1 body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
