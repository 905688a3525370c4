"""What is left to Tornado's own machinery: pages, operations, and the WebSocket's handshake."""

import asyncio
import math
from collections.abc import Awaitable
from typing import Any, cast

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from realtime import errors, metrics
from realtime.errors import RealtimeError
from realtime.protocol.http1 import allowed_methods, declared_length, origin_fields
from realtime.transports.base import (
    MAX_DISCARDED_BODY,
    RequestBase,
    Services,
    Stream,
    check_connection_limit,
    decode_name,
)


@stream_request_body
class Handler(RequestBase, RequestHandler):
    """A `RequestHandler` that is guarded and counted, and whose errors are JSON.

    A body is dropped as it comes.
    """

    _counted = False

    def initialize(self, services: Services) -> None:
        self.services = services
        # Kept, since a WebSocket takes the stream away from its request.
        self.stream = cast(Stream, self.request.connection.stream)  # type: ignore[union-attr]
        self.origin_fields = origin_fields(self.request.headers)
        self.arguments = self.request.query_arguments
        self.request.connection.set_max_body_size(MAX_DISCARDED_BODY)  # type: ignore[union-attr]

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        self.count(self.client_id_for_stats())
        self.check_request_origin()
        check_connection_limit(self.stream)
        self.check_length(declared_length(self.request.headers))
        self.part_if_closing()

    def part_if_closing(self) -> None:
        """While the server drains, let this answer be the last on its connection."""
        if self.services.hub.closing:
            self.set_header("Connection", "close")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None

    def count(self, client: str | None) -> None:
        """Enter this request in the books, once."""
        if not self._counted:
            self._counted = True
            self.stream.begin_request(self.transport, client)

    def on_finish(self) -> None:
        self.stream.end_request()

    def compute_etag(self) -> str | None:
        """Spare a hash of every answer: nothing here may be cached."""
        return None

    # --- errors ----------------------------------------------------------------------------------

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return decode_name(value)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if self._headers_written:
            # There is one head to an answer; all that can be told now is its end.
            if not self._finished:
                self.finish()
        elif not self.stream.closed():
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer the one JSON shape of all errors; Tornado calls this for whatever was raised."""
        self.count(None)
        self.part_if_closing()
        _, cause, _ = kwargs.get("exc_info", (None, None, None))
        answer_error(self, as_realtime_error(status_code, cause))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        # A client's mistake and one that went away are no news, and not theirs to write; what is
        # cancelled is so at our own end.
        quiet = RealtimeError | StreamClosedError | HTTPError | asyncio.CancelledError
        if not isinstance(value, quiet):
            super().log_exception(typ, value, tb)


def answer_error(handler: RequestHandler, error: RealtimeError) -> None:
    """Answer the one JSON shape of all errors."""
    metrics.REFUSED.labels(error.code).inc()
    handler.set_status(error.status)
    handler.set_header("Content-Type", "application/json")
    if error.retry_after is not None:
        handler.set_header("Retry-After", str(math.ceil(error.retry_after)))
    if isinstance(error, errors.BadMethod):
        handler.set_header("Allow", ", ".join(allowed_methods(type(handler))))  # RFC 9110 §15.5.6
    handler.finish(error.json)


def as_realtime_error(status: int, error: BaseException | None) -> RealtimeError:
    if isinstance(error, RealtimeError):
        return error
    if isinstance(error, HTTPError) and status in (403, 404):  # 403: a path out of the pages
        return errors.NotFound("There is nothing at this address; see the table in the README.")
    if isinstance(error, HTTPError) and status == 405:
        return errors.BadMethod("This address does not take that method; see `Allow`.")
    if isinstance(error, HTTPError):
        return errors.BadRequest("The request cannot be understood.")
    return errors.Internal("The server made a mistake; it has been logged.")
