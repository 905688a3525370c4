"""A request and its answer, without what a framework for web sites adds to them.

A `RequestHandler` costs more than all else that a poll needs.  An exchange is an object with a
method per verb; its answer is put together in one piece and goes straight to the socket.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from tornado.iostream import StreamClosedError

from realtime import errors, metrics
from realtime.errors import RealtimeError
from realtime.protocol.http1 import Request, parse_query, response_header
from realtime.transports.base import (
    CORS_HEADERS,
    PREFLIGHT_HEADERS,
    RequestBase,
    Services,
    Stream,
    check_connection_limit,
    decode_name,
)
from realtime.transports.polling import PollResponse

log = logging.getLogger(__name__)

_NO_STORE = b"Cache-Control: no-store"
_NO_SNIFF = b"X-Content-Type-Options: nosniff"
JSON = b"Content-Type: application/json"
_FOR_SISTERS = tuple(f"{name}: {value}".encode() for name, value in CORS_HEADERS.items())
_PERMITTED = tuple(f"{name}: {value}".encode() for name, value in PREFLIGHT_HEADERS.items())

# Calls back when the connection ends.
Watch = Callable[[Callable[[], None]], None]


class Exchange(RequestBase):
    """One request, which `run` answers.

    `watch` tells when the other side is gone.  After `run`, `keep_alive` says whether the
    connection may carry another exchange.
    """

    methods: ClassVar = ("GET",)
    _counted = False
    _answered = False

    def __init__(
        self, services: Services, stream: Stream, request: Request, room: str, watch: Watch
    ) -> None:
        self.services = services
        self.stream = stream
        self.request = request
        self.origin_fields = request.origin_fields
        self.arguments = parse_query(request.target)
        self.keep_alive = request.keep_alive
        self._room = room
        self._watch = watch

    async def get(self, room: str) -> None:
        raise NotImplementedError

    async def post(self, room: str) -> None:
        raise NotImplementedError

    # --- the course of things --------------------------------------------------------------------

    async def run(self) -> None:
        """Answer, if only with an error; raises nothing but a cancellation."""
        try:
            self.prepare()
            self.check_length(self.request.length)
            if self.request.method == "OPTIONS" and self.cors_origin is not None:
                self._permit()
                return
            if self.request.method not in self.methods:
                raise errors.BadMethod("This address does not take that method; see `Allow`.")
            room = decode_name(unquote_to_bytes(self._room.encode("latin1")))
            await (self.get(room) if self.request.method == "GET" else self.post(room))
        except RealtimeError as error:
            self.refuse(error)
        except StreamClosedError:
            pass
        except Exception:
            log.exception("an exchange failed", extra={"transport": self.transport})
            self.refuse(errors.Internal("The server made a mistake; it has been logged."))
        finally:
            self.stream.end_request()

    def prepare(self) -> None:
        self.count(self.client_id_for_stats())
        self.check_request_origin()
        check_connection_limit(self.stream)

    def count(self, client: str | None) -> None:
        """Enter this request in the books, once."""
        if not self._counted:
            self._counted = True
            self.stream.begin_request(self.transport, client)

    # --- the answer ------------------------------------------------------------------------------

    def answer(self, answer: PollResponse) -> None:
        """Answer a poll: one piece of bytes for all who stand at the same cursor."""
        head = self.head(200, JSON, length=len(answer.body))
        self._send(answer.with_head(head), answer.events)

    def reply(self, status: int, body: bytes, *fields: bytes) -> None:
        """Answer in JSON."""
        self._send(self.head(status, JSON, *fields, length=len(body)) + body, 0)

    def refuse(self, error: RealtimeError) -> None:
        """Answer the one JSON shape of all errors."""
        self.count(None)
        metrics.REFUSED.labels(error.code).inc()
        fields = []
        if error.retry_after is not None:
            fields.append(b"Retry-After: %d" % math.ceil(error.retry_after))
        if isinstance(error, errors.BadMethod):
            fields.append(b"Allow: " + ", ".join(self.methods).encode())  # RFC 9110 §15.5.6
        self.reply(error.status, error.json, *fields)

    def head(self, status: int, content_type: bytes, *fields: bytes, length: int | None) -> bytes:
        if self.services.hub.closing:
            self.keep_alive = False  # while the server drains, an answer is the last of its kind
        if not self.keep_alive:
            fields = (*fields, b"Connection: close")
        elif self.request.version != "HTTP/1.1":
            fields = (*fields, b"Connection: keep-alive")
        if (sister := self.cors_origin) is not None:
            allowed = b"Access-Control-Allow-Origin: " + sister.encode("latin1")
            fields = (*fields, allowed, *_FOR_SISTERS)
        return response_header(status, content_type, _NO_STORE, _NO_SNIFF, *fields, length=length)

    def _permit(self) -> None:
        """Answer what a browser asks before it sends JSON to another port (CORS preflight)."""
        methods = b"Access-Control-Allow-Methods: " + ", ".join(self.methods).encode()
        self._send(self.head(204, methods, *_PERMITTED, length=None), 0)

    def _send(self, data: bytes, events: int) -> None:
        self._answered = True
        if self.request.method == "HEAD":  # RFC 9110 §9.3.2
            data = data[: data.index(b"\r\n\r\n") + 4]
        if not self.stream.push(data, events) and not self.stream.closed():
            self.stream.write(data)

    # --- the other side --------------------------------------------------------------------------

    def on_close(self, call: Callable[[], None]) -> None:
        """Call when the other side is gone; at once if it is."""
        if self.stream.closed():
            asyncio.get_running_loop().call_soon(call)
        else:
            self._watch(call)
