"""One connection: a request, its response, the next request.

    read ─▶ the whole request of an exchange ─▶ exchange ─────────────────────────┐
     ▲  └─▶ a header section, and pieces of a body ─▶ a handler of Tornado ───────┤
     └──────────────────────────────── response ──────────────────────────────────┘

One coroutine handles one request after the other, so responses leave in the order of their requests
(RFC 9112 §9.3.2).  All requests are read here, by the rules of `protocol.http1`.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
)
from tornado.iostream import StreamClosedError
from tornado.web import Application

from realtime import metrics
from realtime.errors import BadRequest, RealtimeError, TooLong, TooSlow, error_response
from realtime.limits import Limits
from realtime.protocol.addresses import limited_address
from realtime.protocol.http1 import (
    CONTINUE,
    ChunkedBody,
    Request,
    RequestHead,
    RequestHeader,
    find_head_end,
    origin_fields,
    parse_fast_path,
    parse_head,
    parse_query,
    response_header,
)
from realtime.protocol.repeated_head import RepeatedHead
from realtime.server.forwarded import FIELD, TrustedProxies
from realtime.server.response_writer import ResponseWriter
from realtime.server.stream import MAX_WHOLE_READ_BYTES, MeteredStream
from realtime.server.tap import TapRegistry
from realtime.server.traffic import OTHER
from realtime.transports.base import MAX_DISCARDED_BODY, Services
from realtime.transports.exchange import Exchange
from realtime.transports.lingering import close_lingering
from realtime.transports.polling import Poll

# Seconds for a client to accept an error response.
_REJECT_SECONDS = 2.0

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
    connections have closed.  `root_path` is the path below which a proxy has this server.
    """

    services: Services
    exchanges: Mapping[str, type[Exchange]]
    application: Application
    taps: TapRegistry = field(default_factory=TapRegistry)
    on_shutdown: Callable[[], None] = _do_nothing
    close: Callable[[], Awaitable[None]] = _do_nothing_async
    root_path: bytes = b""

    def find(self, target: str) -> tuple[type[Exchange], str] | None:
        """Return the exchange for a request target, and the room, still percent-encoded."""
        match = _EXCHANGE_PATH.fullmatch(target.partition("?")[0])
        if match is None or (kind := self.exchanges.get(match[2])) is None:
            return None
        return kind, match[1]


class ServerConnection:
    """A connection from a client; for Tornado, the context of its requests.

    A poll that comes again with another cursor is served without this coroutine, by `_serve_again`.
    """

    __slots__ = (
        *("protocol", "remote_ip", "_limits", "_peer", "_proxies", "_router", "_stream"),
        *("_poll", "_repeated_head"),
    )

    def __init__(
        self,
        stream: MeteredStream,
        router: Router,
        protocol: str,
        proxies: TrustedProxies,
        limits: Limits,
    ) -> None:
        self.remote_ip = stream.address
        self.protocol = protocol
        self._stream = stream
        self._router = router
        self._limits = limits
        self._peer = stream.address
        self._proxies = proxies
        self._poll: Poll | None = None  # the last request, if it can be repeated
        self._repeated_head: RepeatedHead | None = None

    async def serve(self) -> None:
        """Answer requests until either side closes, or the connection has become a WebSocket."""
        try:
            while await self._serve_request():
                pass
        except StreamClosedError:
            if not self._stream.lingering:  # else the client could not read why it is closed
                self._stream.close()
        except RealtimeError as error:  # where the request ends is not known
            if not self._stream.in_request:
                self._stream.begin_request(OTHER, None)  # its transport is not known either
            await send_last_response(self._stream, error)
        except BaseException:
            self._stream.close()
            raise

    async def _serve_request(self) -> bool:
        self._stream.stop_trace()
        poll = self._poll
        try:
            data = await self._stream.read_once(self._serve_again if poll else None)
        finally:
            if poll is not None:
                poll.stop_waiting()
        if not data:
            assert poll is not None
            return await self._end_answer(poll)
        self._poll = self._repeated_head = None
        if self._router.root_path:
            data = await self._remove_root_path(data)
        if b"trace=" in data:
            self._trace(data)
        if found := self._match_fast_path(data):
            return await self._run_fast_path(data, *found)
        head = await self._read_head(data)
        if target := self._router.find(head.target):
            return await self._run_exchange(head, *target)
        return await self._run_handler(head)

    async def _remove_root_path(self, data: bytes) -> bytes:
        """Remove the path of the proxy from the target of the request that starts with `data`.

        Requests without it are as valid: some proxies remove it, and others ask our port directly.
        """
        # RFC 9112 §2.2: there may be empty lines before the request.
        while (
            b"\n" not in (line := data.lstrip(b"\r\n")) and len(data) <= self._limits.header_bytes
        ):
            data += await self._stream.read_once()
        method, space, rest = line.partition(b" ")
        below = rest.removeprefix(self._router.root_path)
        return method + space + below if below[:1] == b"/" else data

    def _trace(self, data: bytes) -> None:
        """Copy this request and its response to the subscribers of its secret.

        Only below rooms and libraries: a tap that copies its own bytes would never end.
        """
        target = data.partition(b"\r\n")[0].partition(b" ")[2].decode("latin1")
        secret = parse_query(target.partition(" ")[0]).get("trace", [b""])[-1].decode("latin1")
        traceable = _EXCHANGE_PATH.match(target) or target.startswith(_LIBRARY_PATHS)
        if traceable and (tap := self._router.taps.find(secret)):
            self._stream.trace(tap, data)

    def _set_client_address(self, fields: HTTPHeaders) -> None:
        """Read the address of the client from the request, if a trusted proxy sent it."""
        if self._stream.shared:
            client = self._proxies.client_address(self._peer, fields.get(FIELD))
            self.remote_ip = limited_address(client)
            self._stream.set_remote_ip(self.remote_ip, self._limits)

    # --- a request again -------------------------------------------------------------------------

    def _remember(self, poll: Poll, data: bytes) -> None:
        """Let the next request be served again, if it equals `data` but for its cursor.

        Not on a connection that many clients share: there a proxy names the client each time.  Nor
        if the request is traced: whether somebody watches is asked each time.
        """
        private = not self._stream.shared and not self._router.root_path
        if private and poll.can_repeat and b"trace=" not in data:
            self._repeated_head = RepeatedHead.of(data, poll.arguments.get("after", ()))
            self._poll = poll if self._repeated_head else None

    def _serve_again(self, data: bytes) -> bool:
        assert self._repeated_head is not None
        assert self._poll is not None
        cursor = self._repeated_head.match(data)
        return cursor is not None and self._poll.serve_again(cursor)

    # --- the fast path ---------------------------------------------------------------------------

    def _match_fast_path(self, data: bytes) -> tuple[RequestHeader, type[Exchange], str] | None:
        """Find the exchange for `data`, if that is one plain request, or the start of one."""
        head = parse_fast_path(data)
        max_body = min(self._limits.body_bytes, MAX_WHOLE_READ_BYTES)
        if head is None or head.total_size < len(data) or head.cached.length > max_body:
            return None
        found = self._router.find(head.target)
        return (head, *found) if found else None

    async def _run_fast_path(
        self, data: bytes, head: RequestHeader, kind: type[Exchange], room: str
    ) -> bool:
        if missing := head.total_size - len(data):
            data += await self._stream.read_bytes(missing)
        exchange = await self._run(head.request(data), kind, room)
        if isinstance(exchange, Poll):
            self._remember(exchange, data)
        return await self._end_answer(exchange)

    async def _run(self, request: Request, kind: type[Exchange], room: str) -> Exchange:
        self._set_client_address(request.fields)
        exchange = kind(self._router.services, self._stream, request, room)
        await exchange.run()
        return exchange

    async def _end_answer(self, exchange: Exchange) -> bool:
        stream = self._stream
        if stream.writing():
            await stream.flush()
        if not exchange.keep_alive:
            stream.close()
        return exchange.keep_alive

    # --- every other request ---------------------------------------------------------------------

    async def _read_head(self, start: bytes) -> RequestHead:
        """Read the header section that starts with `start`; what follows it stays unread."""
        data, searched = bytearray(start.lstrip(b"\r\n")), 0  # RFC 9112 §2.2: ignore empty lines
        while (size := find_head_end(data, self._limits.header_bytes, searched)) is None:
            searched = len(data)
            data += await self._stream.read_once()
            if not searched:
                data = data.lstrip(b"\r\n")
        self._stream.unread(bytes(data[size:]))
        head = parse_head(bytes(data[:size]))
        if head.length is not None and head.length > MAX_DISCARDED_BODY:
            raise TooLong(f"A body is at most {self._limits.body_bytes} bytes.")
        return head

    async def _read_body(self, head: RequestHead) -> AsyncIterator[bytes]:
        """Yield the pieces of the body; raises a named error, or `StreamClosedError`."""
        stream, left = self._stream, head.length
        if left is not None:
            while left:
                data = await stream.read_once()
                stream.unread(data[left:])
                yield data[:left]
                left -= min(left, len(data))
            return
        decoder = ChunkedBody(MAX_DISCARDED_BODY, self._limits.header_bytes)
        while decoder.rest is None:
            if body := decoder.feed(await stream.read_once()):
                yield body
        stream.unread(decoder.rest)

    async def _run_exchange(self, head: RequestHead, kind: type[Exchange], room: str) -> bool:
        start_line = RequestStartLine(head.method, head.target, head.version)
        try:  # constructed for its checks: RFC 9112 has rules about `Host` and the query
            HTTPServerRequest(start_line=start_line, headers=head.fields)
        except HTTPInputError as error:
            raise BadRequest(f"The request is not valid HTTP/1.1 (RFC 9112): {error}") from error
        if head.expects_continue:
            self._stream.write(CONTINUE)
        body = bytearray()
        async for data in self._read_body(head):
            if len(body) <= self._limits.body_bytes:
                body += data
        fields = head.fields
        request = Request(
            *(head.method, head.target, head.version, fields, origin_fields(fields)),
            body=bytes(body),
            keep_alive=head.keep_alive,
        )
        return await self._end_answer(await self._run(request, kind, room))

    async def _run_handler(self, head: RequestHead) -> bool:
        """Let a handler of Tornado answer, while the body arrives."""
        self._set_client_address(head.fields)
        keep_alive = head.keep_alive and not self._router.services.hub.closing
        writer = ResponseWriter(self._stream, self, head, keep_alive)
        try:
            await self._pass_on(head, writer)
        except RealtimeError:
            if not writer.started:
                raise
            writer.keep_alive = False  # the end of the request is not known
        await writer.wait_ended()
        if writer.detached:
            return False
        await self._stream.flush()
        if not writer.keep_alive:
            await close_lingering(self._stream)
        return writer.keep_alive

    async def _pass_on(self, head: RequestHead, writer: ResponseWriter) -> None:
        """Pass the request to its handler; it can answer before it has the whole body."""
        start_line = RequestStartLine(head.method, head.target, head.version)
        delegate = self._router.application.start_request(self, writer)
        try:
            prepared = delegate.headers_received(start_line, head.fields)
        except HTTPInputError as error:
            raise BadRequest(f"The request is not valid HTTP/1.1 (RFC 9112): {error}") from error
        complete = False
        try:
            await (prepared or _do_nothing_async())
            if head.expects_continue and not writer.started:
                writer.send_continue()
            # After an early response the client sends the body or not (RFC 9110 §10.1.1).
            if not (head.expects_continue and writer.started):
                async with asyncio.timeout(2 * self._limits.request_seconds):
                    async for data in self._read_body(head):
                        if not writer.ended and (received := delegate.data_received(data)):
                            await received
            complete = True
        except TimeoutError:
            raise TooSlow("The request did not arrive in time; send it again.") from None
        finally:
            if not complete:
                delegate.on_connection_close()
        if not writer.ended:
            delegate.finish()


# --- the last response of a connection -----------------------------------------------------------


async def send_last_response(stream: MeteredStream, error: RealtimeError) -> None:
    """Send an error response where the next request cannot be found, and close."""
    metrics.REFUSED.labels(error.code).inc()
    response = error_response(error)
    fields = [f"{name}: {value}".encode() for name, value in response.headers]
    header = response_header(error.status, *fields, b"Connection: close", length=len(response.body))
    try:
        async with asyncio.timeout(_REJECT_SECONDS):
            await stream.write(header + response.body)
        stream.lingering = True
        await close_lingering(stream)
    except OSError:  # the client has disconnected, or accepts nothing
        pass
    finally:
        stream.close()
