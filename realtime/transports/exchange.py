"""One HTTP request and its response, without the cost of a web framework.

Tornado's `RequestHandler` costs more than everything else that a poll needs.  An `Exchange` is an
object with a method per HTTP method; its response is one `bytes` that goes straight to the socket.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from tornado.iostream import StreamClosedError

from realtime import errors, metrics
from realtime.errors import RealtimeError, error_response
from realtime.protocol.encodings import ContentEncoding, find_encoding
from realtime.protocol.http1 import CONTINUE, Request, parse_query, response_header
from realtime.transports.base import (
    CORS_HEADERS,
    PREFLIGHT_HEADERS,
    RequestBase,
    Services,
    Stream,
    check_connection_limit,
    decode_path_segment,
)

log = logging.getLogger(__name__)

_NO_STORE = b"Cache-Control: no-store"
# A proxy that compresses would hold a stream back until it has enough of it.
_NO_TRANSFORM = b"Cache-Control: no-store, no-transform"
_DICTIONARY_FIELD = "Available-Dictionary"
_NO_SNIFF = b"X-Content-Type-Options: nosniff"
JSON = b"Content-Type: application/json"
_CORS_FIELDS = tuple(f"{name}: {value}".encode() for name, value in CORS_HEADERS.items())
_PREFLIGHT_FIELDS = tuple(f"{name}: {value}".encode() for name, value in PREFLIGHT_HEADERS.items())

# Seconds for a client that ends its side of the connection to receive the response that it waits
# for; then it must show that it still reads.
_HALF_CLOSE_SECONDS = 2.0


class Exchange(RequestBase):
    """One request, and its response, which `run` sends.

    After `run`, `keep_alive` is true if the connection can carry another exchange.
    """

    stream: Stream
    methods: ClassVar = ("GET",)
    encoding: ContentEncoding | None = None
    _counted = False
    _head_sent = False

    def __init__(
        self,
        services: Services,
        stream: Stream,
        request: Request,
        room: str,
    ) -> None:
        self.services = services
        self.stream = stream
        self.request = request
        self.is_head = request.method == "HEAD"
        self.origin_fields = request.origin_fields
        self.arguments = parse_query(request.target)
        self.keep_alive = request.keep_alive
        self._room = room

    @property
    def header_fields(self) -> Mapping[str, str]:
        return self.request.fields

    async def get(self, room: str) -> None:
        raise NotImplementedError

    async def post(self, room: str) -> None:
        raise NotImplementedError

    # --- the steps -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send a response, at least an error; raises nothing but a cancellation."""
        try:
            self.prepare()
            if self.request.method == "OPTIONS" and self.cors_origin is not None:
                self._answer_preflight()
                return
            # RFC 9110 §9.3.2: HEAD is GET without the body.
            method = "GET" if self.is_head else self.request.method
            if method not in self.methods:
                raise errors.BadMethod("This address does not accept that method; see `Allow`.")
            room = decode_path_segment(unquote_to_bytes(self._room.encode("latin1")))
            await (self.get(room) if method == "GET" else self.post(room))
        except RealtimeError as error:
            self.send_error(error)
        except StreamClosedError:
            pass
        except Exception:
            log.exception("an exchange failed", extra={"transport": self.transport})
            self.send_error(errors.Internal())
        finally:
            self.stream.end_request()

    def prepare(self) -> None:
        self.count(self.client_id_for_stats())
        self.check_request_origin()
        check_connection_limit(self.stream)

    def count(self, client: str | None) -> None:
        """Add this request to the traffic statistics, once."""
        if not self._counted:
            self._counted = True
            self.stream.begin_request(self.transport, client)

    # --- the response ----------------------------------------------------------------------------

    def negotiate_encoding(self) -> None:
        """Compress the response if the query asks for it; raises a named error."""
        if "encoding" in self.arguments and (name := self.argument("encoding", errors.BadEncoding)):
            fields = self.request.fields
            accepted, dictionary = (fields.get(f) for f in ("Accept-Encoding", _DICTIONARY_FIELD))
            self.encoding = find_encoding(name, accepted, dictionary)

    def reply(self, status: int, body: bytes) -> None:
        """Send a JSON response."""
        self._send(self.head(status, JSON, length=len(body)) + body, 0)

    def send_error(self, error: RealtimeError) -> None:
        """Send the JSON response for `error`."""
        self.count(None)
        metrics.REFUSED.labels(error.code).inc()
        status, headers, body = error_response(error, self._allowed_methods())
        fields = [f"{name}: {value}".encode("latin1") for name, value in headers]
        self._send(self.head(status, *fields, length=len(body)) + body, 0)

    def head(self, status: int, content_type: bytes, *fields: bytes, length: int | None) -> bytes:
        """Build the status line and the header fields."""
        if self.services.hub.closing:
            self.keep_alive = False  # while the server drains, a response ends its connection
        if not self.keep_alive:
            fields = (*fields, b"Connection: close")
        elif self.request.version != "HTTP/1.1":
            fields = (*fields, b"Connection: keep-alive")
        if (origin := self.cors_origin) is not None:
            allowed = b"Access-Control-Allow-Origin: " + origin.encode("latin1")
            fields = (*fields, allowed, *_CORS_FIELDS)
        # Without a length, the body is a stream.
        caching = _NO_STORE if length is not None else _NO_TRANSFORM
        return response_header(status, content_type, caching, _NO_SNIFF, *fields, length=length)

    def _answer_preflight(self) -> None:
        """Answer the request that a browser sends before it posts JSON to another port (CORS)."""
        methods = b"Access-Control-Allow-Methods: " + ", ".join(self._allowed_methods()).encode()
        self._send(self.head(204, methods, *_PREFLIGHT_FIELDS, length=None), 0)

    def _allowed_methods(self) -> list[str]:
        return [
            m
            for method in self.methods
            for m in ([method, "HEAD"] if method == "GET" else [method])
        ]

    def _send(self, data: bytes, events: int) -> None:
        self._head_sent = True
        if self.is_head:
            data, events = data[: data.index(b"\r\n\r\n") + 4], 0
        if not self.stream.push(data, events) and not self.stream.closed():
            self.stream.write(data)

    # --- the other side --------------------------------------------------------------------------

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client disconnects, or soon if it already has."""
        if self.stream.closed():
            asyncio.get_running_loop().call_soon(callback)
        else:
            self.stream.set_close_callback(callback)

    def check_reader_after_half_close(self) -> None:
        """If the client ends its side, send an interim response later: nobody may be reading.

        Otherwise a poll of a client that has gone would wait until its end.
        """
        loop = asyncio.get_running_loop()
        self.stream.set_half_close_callback(
            lambda: loop.call_later(_HALF_CLOSE_SECONDS, self._send_interim)
        )

    def _send_interim(self) -> None:
        if not self._head_sent and self.request.version == "HTTP/1.1" and not self.stream.closed():
            self.stream.write(CONTINUE)
