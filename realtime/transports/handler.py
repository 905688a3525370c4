"""Handlers on Tornado's own classes: pages, operations, and the WebSocket handshake.

`JSONErrorHandler` needs no services: it makes every error the one JSON response of `errors`.
`Handler` adds what every request to the chat server passes: the origin check, the connection limit
and the traffic statistics.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, cast

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from realtime import errors, metrics
from realtime.errors import RealtimeError, error_response
from realtime.protocol.http1 import allowed_methods, origin_fields
from realtime.transports.base import (
    RequestBase,
    Services,
    Stream,
    check_connection_limit,
    decode_path_segment,
)

log = logging.getLogger(__name__)


class JSONErrorHandler(RequestHandler):
    """A `RequestHandler` whose errors are JSON and whose responses are not cached by default."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def head(self, *args: str, **kwargs: str) -> Any:
        """Answer as `get` does; Tornado leaves out the body (RFC 9110 §9.3.2)."""
        return self.get(*args, **kwargs)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return decode_path_segment(value)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if self._headers_written:
            # A response has one header section, which is sent: all we can do is end the body.
            if not self._finished:
                self.finish()
        elif not self.request.connection.stream.closed():  # type: ignore[union-attr]
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send the JSON response; Tornado calls this for every exception."""
        _, cause, _ = kwargs.get("exc_info", (None, None, None))
        write_error_response(self, as_realtime_error(status_code, cause))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        # Not our failures: a client's mistake, a client that disconnected, and a request that we
        # cancelled ourselves.
        expected = RealtimeError | StreamClosedError | HTTPError | asyncio.CancelledError
        if not isinstance(value, expected):
            log_failure(self, value)


@stream_request_body
class Handler(RequestBase, JSONErrorHandler):
    """A handler with the origin check, the connection limit and the traffic statistics.

    A request body is discarded as it arrives.
    """

    stream: Stream
    _counted = False

    def initialize(self, services: Services) -> None:
        self.services = services
        self.is_head = self.request.method == "HEAD"
        # Kept here, because a WebSocket detaches the stream from its request.
        self.stream = cast(Stream, self.request.connection.stream)  # type: ignore[union-attr]
        self.origin_fields = origin_fields(self.request.headers)
        self.arguments = self.request.query_arguments

    @property
    def header_fields(self) -> Mapping[str, str]:
        return self.request.headers

    def prepare(self) -> None:
        self.count(self.client_id_for_stats())
        self.check_request_origin()
        check_connection_limit(self.stream)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None

    def on_connection_close(self) -> None:
        # Tornado's WebSocketHandler does not call it: a request would wait for its body forever.
        RequestHandler.on_connection_close(self)
        super().on_connection_close()

    def count(self, client: str | None) -> None:
        """Add this request to the traffic statistics, once."""
        if not self._counted:
            self._counted = True
            self.stream.begin_request(self.transport, client)

    def on_finish(self) -> None:
        self.stream.end_request()

    def compute_etag(self) -> str | None:
        """Save the hash of every response: none of these may be cached."""
        return None

    # --- errors ----------------------------------------------------------------------------------

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.count(None)
        super().write_error(status_code, **kwargs)


def log_failure(handler: RequestHandler, error: BaseException | None) -> None:
    """Log our failure without the URL, which Tornado would log: it can contain a ticket."""
    log.error("a request failed", extra={"handler": type(handler).__name__}, exc_info=error)


def write_error_response(handler: RequestHandler, error: RealtimeError) -> None:
    """Finish the request of `handler` with the response for `error`."""
    metrics.REFUSED.labels(error.code).inc()
    response = error_response(error, allowed_methods(type(handler)))
    handler.set_status(response.status)
    for name, value in response.headers:
        handler.set_header(name, value)
    handler.finish(response.body)


def as_realtime_error(status: int, error: BaseException | None) -> RealtimeError:
    if isinstance(error, RealtimeError):
        return error
    if isinstance(error, HTTPError) and status in (403, 404):  # 403: a path outside of the pages
        return errors.NotFound("There is nothing at this address; see the table in the README.")
    if isinstance(error, HTTPError) and status == 405:
        return errors.BadMethod("This address does not accept that method; see `Allow`.")
    if isinstance(error, HTTPError):
        return errors.BadRequest("The request is not valid HTTP, or has invalid parameters.")
    return errors.Internal()
