"""One connection: a request, its answer, the next request.

    read ─▶ plain, and for an exchange ─▶ exchange ─▶ answer ─┐
     ▲  └─▶ else: unread, and Tornado reads it as HTTP ───────┤
     └────────────────────────────────────────────────────────┘

One coroutine does it in turn, so answers leave in the order of their requests (RFC 9112 §9.3.2).
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
    origin_fields,
    parse_fast_path,
    parse_query,
)
from realtime.server.forwarded import FIELD, TrustedProxies
from realtime.server.stream import MAX_PIECE_BYTES, MeteredStream
from realtime.server.tap import TapRegistry
from realtime.transports.base import MAX_DISCARDED_BODY, Services
from realtime.transports.exchange import Exchange

log = logging.getLogger(__name__)

_IN_A_ROOM = re.compile(r"/rooms/([^/]+)/(\w+)", re.ASCII)
# Where a library decides what the addresses look like.
_OF_LIBRARIES = ("/sockjs/", "/socket.io")


def _say_nothing() -> None: ...


async def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Router:
    """Who answers: an exchange for ``/rooms/ROOM/…``, and the application for all the rest.

    `close` ends what is done there between requests, when all connections have ended.
    """

    services: Services
    exchanges: Mapping[str, type[Exchange]]
    application: Application
    taps: TapRegistry = field(default_factory=TapRegistry)
    part: Callable[[], None] = _say_nothing
    close: Callable[[], Awaitable[None]] = _nothing

    def find(self, target: str) -> tuple[type[Exchange], str] | None:
        """Give the exchange for a target, and the room as it stands there."""
        match = _IN_A_ROOM.fullmatch(target.partition("?")[0])
        if match is None or (kind := self.exchanges.get(match[2])) is None:
            return None
        return kind, match[1]


class Connection:
    """A client's connection; to Tornado, the context of a request."""

    def __init__(
        self,
        stream: MeteredStream,
        site: Router,
        parameters: HTTP1ConnectionParameters,
        protocol: str,
        proxies: TrustedProxies,
    ) -> None:
        self.remote_ip = stream.address
        self.protocol = protocol
        self._stream = stream
        self._site = site
        self._parameters = parameters
        self._peer = stream.address
        self._proxies = proxies

    async def serve(self) -> None:
        """Answer requests until either side has had enough, or it has become a WebSocket."""
        try:
            while await self._serve_one():
                pass
        except (StreamClosedError, UnsatisfiableReadError):
            self._stream.close()
        except BaseException:
            self._stream.close()
            raise

    async def _serve_one(self) -> bool:
        data = await self._stream.read_piece()
        if b"trace=" in data:
            self._trace(data)
        if found := self._plain(data):
            return await self._exchange(data, *found)
        return await self._leave_to_tornado(data)

    def _trace(self, data: bytes) -> None:
        """Let whoever holds its secret see this request and its answer.

        Only of rooms: a tap that shows itself would have ever more to show.
        """
        target = data.partition(b"\r\n")[0].partition(b" ")[2].decode("latin1")
        secret = parse_query(target.partition(" ")[0]).get("trace", [b""])[-1].decode("latin1")
        shown = _IN_A_ROOM.match(target) or target.startswith(_OF_LIBRARIES)
        if shown and (tap := self._site.taps.find(secret)):
            self._stream.trace(tap, data)

    def _plain(self, data: bytes) -> tuple[RequestHeader, type[Exchange], str] | None:
        """Find the exchange for `data`, if it is one plain request, or the beginning of one."""
        head = parse_fast_path(data)
        most = min(self._site.services.limits.body_bytes, MAX_PIECE_BYTES)
        if head is None or head.total_size < len(data) or head.cached.length > most:
            return None
        found = self._site.find(head.target)
        return (head, *found) if found else None

    async def _exchange(
        self, data: bytes, head: RequestHeader, kind: type[Exchange], room: str
    ) -> bool:
        stream = self._stream
        if missing := head.total_size - len(data):
            data += await stream.read_bytes(missing)
        request = head.request(data)
        self._identify(request.fields)
        exchange = kind(self._site.services, stream, request, room, stream.set_close_callback)
        await exchange.run()
        if stream.writing():
            await stream.flush()
        if not exchange.keep_alive:
            stream.close()
        return exchange.keep_alive

    def _identify(self, fields: HTTPHeaders) -> None:
        """Find out whose request it is, if a proxy that is trusted may have said so."""
        if self._stream.shared:
            self.remote_ip = self._proxies.client(self._peer, fields.get(FIELD))
            self._stream.set_remote_ip(
                self.remote_ip, self._site.services.limits.connections_per_address
            )

    async def _leave_to_tornado(self, data: bytes) -> bool:
        self._stream.unread(data)
        connection = HTTP1Connection(self._stream, False, self._parameters, self)
        routed = _Routed(self._site, self._stream, connection, self._identify)
        kept = await connection.read_response(routed)
        if kept and self._site.services.hub.closing:  # it was told so (RFC 9112 §9.6)
            await self._stream.flush()
            self._stream.close()
        return kept


class _Routed(HTTPMessageDelegate):
    """A request of which nothing is known yet."""

    _delegate: HTTPMessageDelegate

    def __init__(
        self,
        site: Router,
        stream: MeteredStream,
        connection: HTTP1Connection,
        identify: Callable[[HTTPHeaders], None],
    ) -> None:
        self._site = site
        self._identify = identify
        self._stream = stream
        self._connection = connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        self._identify(headers)
        if found := self._site.find(start_line.path):
            self._delegate = _Unplain(self._site.services, *found, self._stream, self._connection)
        else:
            self._delegate = self._site.application.start_request(
                self._connection.context, self._connection
            )
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()


class _Unplain(HTTPMessageDelegate):
    """An exchange whose request Tornado takes apart."""

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
        # Made for what it refuses: RFC 9112 has rules about `Host` and the target.
        HTTPServerRequest(connection=self._connection, start_line=start_line, headers=headers)
        self._connection.set_max_body_size(MAX_DISCARDED_BODY)
        self._start, self._fields = start_line, headers
        self._length = declared_length(headers)
        if self._length > MAX_DISCARDED_BODY:
            return asyncio.ensure_future(self._run())  # which refuses it, before any of it is read
        return None

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self._services.limits.body_bytes:
            self._body += chunk

    def finish(self) -> None:
        self._running = asyncio.ensure_future(self._run())

    def on_connection_close(self) -> None:
        """Nothing to be done: there is no exchange before all of the request is here."""

    def _keeps_alive(self) -> bool:
        """Whether Tornado lets another request follow; what we say must be what it does."""
        asked = self._fields.get("Connection", "").lower()
        if self._length > MAX_DISCARDED_BODY:
            return False
        if self._start.version == "HTTP/1.1":
            return asked != "close"
        framed = "Content-Length" in self._fields or "Transfer-Encoding" in self._fields
        return asked == "keep-alive" and (framed or self._start.method in ("GET", "HEAD"))

    async def _run(self) -> None:
        method, target, version = self._start
        request = Request(
            *(method, target, version, self._fields, origin_fields(self._fields)),
            length=self._length,
            body=bytes(self._body),
            keep_alive=self._keeps_alive(),
        )
        watch = self._connection.set_close_callback
        exchange = self._kind(self._services, self._stream, request, self._room, watch)
        await exchange.run()
        await self._stream.flush()
        self._connection.finish()
        if not exchange.keep_alive:
            self._stream.close()
