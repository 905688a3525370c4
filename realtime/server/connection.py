"""One connection: a request, its response, the next request.

    read ─▶ one plain request for an exchange ─▶ exchange ─▶ response ─┐
     ▲  └─▶ everything else: unread, and parsed by Tornado ────────────┤
     └─────────────────────────────────────────────────────────────────┘

One coroutine handles one request after the other, so responses leave in the order of their requests
(RFC 9112 §9.3.2).
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.web import Application

from realtime.protocol.http1 import (
    Request,
    RequestHeader,
    declared_length,
    encode_target,
    origin_fields,
    parse_fast_path,
    parse_query,
)
from realtime.server.forwarded import FIELD, TrustedProxies
from realtime.server.stream import MAX_WHOLE_READ_BYTES, MeteredStream
from realtime.server.tap import TapRegistry
from realtime.transports.base import MAX_DISCARDED_BODY, Services
from realtime.transports.exchange import Exchange

log = logging.getLogger(__name__)

_EXCHANGE_PATH = re.compile(r"/rooms/([^/]+)/(\w+)", re.ASCII)
# A client library chooses the rest of these paths.
_LIBRARY_PATHS = ("/sockjs/", "/socket.io")


def _do_nothing() -> None: ...


async def _do_nothing_async() -> None: ...


@dataclass(frozen=True, slots=True)
class Router:
    """Which code answers: an exchange for ``/rooms/ROOM/…``, the application for all the rest.

    `on_shutdown` is called when the server stops accepting.  `close` ends background work, when all
    connections have closed.
    """

    services: Services
    exchanges: Mapping[str, type[Exchange]]
    application: Application
    taps: TapRegistry = field(default_factory=TapRegistry)
    on_shutdown: Callable[[], None] = _do_nothing
    close: Callable[[], Awaitable[None]] = _do_nothing_async

    def find(self, target: str) -> tuple[type[Exchange], str] | None:
        """Return the exchange for a request target, and the room, still percent-encoded."""
        match = _EXCHANGE_PATH.fullmatch(target.partition("?")[0])
        if match is None or (kind := self.exchanges.get(match[2])) is None:
            return None
        return kind, match[1]


class ServerConnection:
    """A connection from a client; for Tornado, the context of its requests."""

    def __init__(
        self,
        stream: MeteredStream,
        router: Router,
        parameters: HTTP1ConnectionParameters,
        protocol: str,
        proxies: TrustedProxies,
    ) -> None:
        self.remote_ip = stream.address
        self.protocol = protocol
        self._stream = stream
        self._router = router
        self._parameters = parameters
        self._peer = stream.address
        self._proxies = proxies

    async def serve(self) -> None:
        """Answer requests until either side closes, or the connection has become a WebSocket."""
        try:
            while await self._serve_request():
                pass
        except (StreamClosedError, UnsatisfiableReadError):
            self._stream.close()
        except BaseException:
            self._stream.close()
            raise

    async def _serve_request(self) -> bool:
        data = await self._stream.read_once()
        if b"trace=" in data:
            self._trace(data)
        if found := self._match_fast_path(data):
            return await self._run_exchange(data, *found)
        return await self._serve_with_tornado(data)

    def _trace(self, data: bytes) -> None:
        """Copy this request and its response to the subscribers of its secret.

        Only below rooms and libraries: a tap that copies its own bytes would never end.
        """
        target = data.partition(b"\r\n")[0].partition(b" ")[2].decode("latin1")
        secret = parse_query(target.partition(" ")[0]).get("trace", [b""])[-1].decode("latin1")
        traceable = _EXCHANGE_PATH.match(target) or target.startswith(_LIBRARY_PATHS)
        if traceable and (tap := self._router.taps.find(secret)):
            self._stream.trace(tap, data)

    def _match_fast_path(self, data: bytes) -> tuple[RequestHeader, type[Exchange], str] | None:
        """Find the exchange for `data`, if that is one plain request, or the start of one."""
        head = parse_fast_path(data)
        max_body = min(self._router.services.limits.body_bytes, MAX_WHOLE_READ_BYTES)
        if head is None or head.total_size < len(data) or head.cached.length > max_body:
            return None
        found = self._router.find(head.target)
        return (head, *found) if found else None

    async def _run_exchange(
        self, data: bytes, head: RequestHeader, kind: type[Exchange], room: str
    ) -> bool:
        stream = self._stream
        if missing := head.total_size - len(data):
            data += await stream.read_bytes(missing)
        request = head.request(data)
        self._set_client_address(request.fields)
        exchange = kind(self._router.services, stream, request, room, stream.set_close_callback)
        await exchange.run()
        if stream.writing():
            await stream.flush()
        if not exchange.keep_alive:
            stream.close()
        return exchange.keep_alive

    def _set_client_address(self, fields: HTTPHeaders) -> None:
        """Read the address of the client from the request, if a trusted proxy sent it."""
        if self._stream.shared:
            self.remote_ip = self._proxies.client_address(self._peer, fields.get(FIELD))
            self._stream.set_remote_ip(
                self.remote_ip, self._router.services.limits.connections_per_address
            )

    async def _serve_with_tornado(self, data: bytes) -> bool:
        self._stream.unread(data)
        connection = HTTP1Connection(self._stream, False, self._parameters, self)
        delegate = _RoutingDelegate(
            self._router, self._stream, connection, self._set_client_address
        )
        keep_alive = await connection.read_response(delegate)
        if keep_alive and self._router.services.hub.closing:
            # The response had `Connection: close`, so we must close (RFC 9112 §9.6).
            await self._stream.flush()
            self._stream.close()
        return keep_alive


class _RoutingDelegate(HTTPMessageDelegate):
    """Chooses who answers a request when Tornado has parsed its header section."""

    _delegate: HTTPMessageDelegate

    def __init__(
        self,
        router: Router,
        stream: MeteredStream,
        connection: HTTP1Connection,
        set_client_address: Callable[[HTTPHeaders], None],
    ) -> None:
        self._router = router
        self._set_client_address = set_client_address
        self._stream = stream
        self._connection = connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        start_line = start_line._replace(path=encode_target(start_line.path))
        self._set_client_address(headers)
        if found := self._router.find(start_line.path):
            self._delegate = _BufferedRequest(
                self._router.services, *found, self._stream, self._connection
            )
        else:
            self._delegate = self._router.application.start_request(
                self._connection.context, self._connection
            )
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()


class _BufferedRequest(HTTPMessageDelegate):
    """A request for an exchange that Tornado parses; the exchange runs when its body is here."""

    def __init__(
        self,
        services: Services,
        kind: type[Exchange],
        room: str,
        stream: MeteredStream,
        connection: HTTP1Connection,
    ) -> None:
        self._services = services
        self._kind = kind
        self._room = room
        self._stream = stream
        self._connection = connection
        self._body = bytearray()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        # Constructed for its checks: RFC 9112 has rules about `Host` and the target.
        HTTPServerRequest(connection=self._connection, start_line=start_line, headers=headers)
        self._connection.set_max_body_size(MAX_DISCARDED_BODY)
        self._start, self._fields = start_line, headers
        self._length = declared_length(headers)
        if self._length > MAX_DISCARDED_BODY:
            return asyncio.ensure_future(self._run())  # it rejects the request before the body
        return None

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self._services.limits.body_bytes:
            self._body += chunk

    def finish(self) -> None:
        self._running = asyncio.ensure_future(self._run())

    def on_connection_close(self) -> None:
        """Do nothing: the exchange starts when the whole request is here."""

    def _keeps_alive(self) -> bool:
        """Return what Tornado decides about the connection: our `Connection` field must match."""
        requested = self._fields.get("Connection", "").lower()
        if self._length > MAX_DISCARDED_BODY:
            return False
        if self._start.version == "HTTP/1.1":
            return requested != "close"
        has_length = "Content-Length" in self._fields or "Transfer-Encoding" in self._fields
        return requested == "keep-alive" and (has_length or self._start.method in ("GET", "HEAD"))

    async def _run(self) -> None:
        method, target, version = self._start
        request = Request(
            *(method, target, version, self._fields, origin_fields(self._fields)),
            length=self._length,
            body=bytes(self._body),
            keep_alive=self._keeps_alive(),
        )
        set_close_callback = self._connection.set_close_callback
        exchange = self._kind(self._services, self._stream, request, self._room, set_close_callback)
        await exchange.run()
        await self._stream.flush()
        self._connection.finish()
        if not exchange.keep_alive:
            self._stream.close()
