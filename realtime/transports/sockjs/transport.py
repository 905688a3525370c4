"""SockJS: the library chooses one of ten transports and hides it behind a WebSocket-like API.

A session connects a client with this process and lives in its memory.  We define what it carries:
the first message is a join with a cursor, the others are drafts to publish.  No event that the
room's log holds waits in a session.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tornado.web import HTTPError

from realtime import errors
from realtime.core.access import check_same_secret, check_secret
from realtime.core.broadcaster import Framing
from realtime.core.events import Cursor, Event, parse_client, parse_object
from realtime.errors import RealtimeError
from realtime.protocol.http1 import origin_fields
from realtime.transports import acks
from realtime.transports.base import Services, Subscription, check_connection_limit
from realtime.transports.handler import as_realtime_error, write_error_response
from realtime.transports.membership import DrainingSubscriber, Membership
from realtime.transports.sockjs import HardenedSockJSRouter, SockJSConnection, framing
from realtime.transports.sockjs.handlers import SockJSHandler
from realtime.transports.sockjs.websocket_transports import WebSocketReceiver

TRANSPORT = "sockjs"
PREFIX = "/sockjs"
# For browsers that support nothing else; disabled unless a command-line option enables them.
LEGACY_TRANSPORTS = frozenset({"jsonp", "htmlfile"})
# The iframe, which lets the library connect from another origin, loads the same file as the page.
LIBRARY = "/demos/vendor/sockjs-client/sockjs.min.js"


def frame(event: Event) -> bytes:
    """Put one event in a JSON string, since SockJS messages are strings."""
    return framing.encode(event.json.decode()).encode() + b","


def envelope(frames: bytes) -> bytes:
    return b"a[%b]" % frames[:-1]


FRAMING = Framing(frame, envelope, transport=TRANSPORT)


class SockJSSubscriber(DrainingSubscriber):
    """The subscriber of a session, over whichever connection the session has at the moment."""

    __slots__ = ()

    def __init__(self, session: Any, close: Callable[[RealtimeError], None]) -> None:
        super().__init__(session, FRAMING, session.try_send, close)

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        return True  # the session sends SockJS heartbeats itself


class RoomConnection(SockJSConnection):  # type: ignore[misc]
    """One client's session: its first message joins a room, the others are published there."""

    services: Services
    _subscription: Subscription | None = None
    _membership: Membership | None = None
    secret: str | None = None  # of the request that opened it

    def on_open(self, request: Any) -> None:
        self.services = self.session.server.services
        self._address = request.ip
        # Of the first request of the session.  Its query is also where a page has its secret.
        self.header_fields: Mapping[str, str] = request.headers
        self.arguments: Mapping[str, Sequence[bytes]] = request.arguments
        self.secret = _argument(self.arguments, "secret")
        if self.services.access.mode == "tickets":
            loop, seconds = asyncio.get_running_loop(), self.services.limits.request_seconds
            loop.call_later(seconds, self._close_without_ticket)

    def _close_without_ticket(self) -> None:
        """End a session that has not joined: nobody has shown a ticket for it."""
        if self._subscription is None and not self.is_closed:
            self._end(errors.NoTicket("No ticket came in time."))

    async def on_message(self, message: str) -> None:
        if self._subscription is None:
            reply = await self._handle_join(message)
        else:
            room = self._subscription.room
            sender = self._subscription.sender(self._address, self.session.session_id)
            reply = await acks.handle_message(self.services, message, room, TRANSPORT, sender)
        if reply is not None and not self.is_closed:
            self.send(reply)

    # --- join and leave --------------------------------------------------------------------------

    async def _handle_join(self, message: str) -> bytes | None:
        """Join a room.  A join with an `id` is acknowledged with the cursor it starts from."""
        try:
            fields = parse_object(acks.read(message), self.services.limits)
            self._subscription = subscription = self._parse_join(fields)
            cursor = await self._join(subscription)
            self.header_fields, self.arguments = {}, {}  # some kilobytes, no longer needed
        except errors.GoingAway as error:
            self._end(error)
            return None
        except RealtimeError as error:
            self._subscription = None
            return acks.error_reply(error, message)
        id = acks.id_of(message)
        return acks.acknowledge(id, cursor) if id else None

    def _parse_join(self, fields: Mapping[str, Any]) -> Subscription:
        if fields.get("kind") != "join":
            raise errors.BadRequest('The first message must be `{"kind":"join","room":…}`.')
        arguments = [fields.get(name) for name in ("room", "after", "client", "name")]
        return Subscription.parse(
            *arguments,
            via=TRANSPORT,
            limits=self.services.limits,
            grant=self.services.access.admit(self, fields.get("ticket")),
            secret=fields.get("secret") or self.secret,
        )

    async def _join(self, subscription: Subscription) -> Cursor:
        self.services.hub.check_open()
        self._membership = membership = Membership(self.services, subscription.room, self._address)
        reader = await self.services.read(subscription, self._address)
        await membership.track(subscription.member)
        subscriber = SockJSSubscriber(self.session, self._end)
        await membership.follow(reader.cursor, subscriber, subscription.grant.expires)
        return reader.cursor

    def _end(self, error: RealtimeError) -> None:
        self.session.close(error.close_code, error.code)

    def on_close(self) -> None:
        if self._membership is not None:
            self._membership.leave()


def _argument(arguments: Mapping[str, Sequence[bytes]], name: str) -> str | None:
    """Return the last `name` of a query; None if it is not there."""
    values = arguments.get(name)
    return values[-1].decode("utf-8", "replace") if values else None


class RoomRouter(HardenedSockJSRouter):
    """The router with this server's admission rules, traffic statistics and errors."""

    cacheable_iframe = False  # our extra ports, which may embed it, change with each start

    def __init__(self, services: Services, also: Collection[str] = ()) -> None:
        limits = services.limits
        self.services = services
        options = {
            "sockjs_url": LIBRARY,
            "disabled_transports": ["rawwebsocket", *LEGACY_TRANSPORTS.difference(also)],
            "heartbeat_delay": limits.heartbeat_seconds,
            "body_bytes": 8 * limits.body_bytes,
            # Above the limit of a draft, so that a draft that is too long gets `too_long`.
            "message_bytes": 2 * limits.body_bytes,
            "queue_bytes": limits.send_buffer_bytes,
        }
        super().__init__(RoomConnection, PREFIX, options)

    def acquire(self, handler: SockJSHandler) -> None:
        handler.stream.begin_request(TRANSPORT, _client_id_for_stats(handler))
        handler.stream.set_half_close_callback(handler.check_reader)
        check_connection_limit(handler.stream)
        head = handler.request.headers
        if handler.skips_origin_check:
            self.services.origin_policy.check_host(head.get("Host"))
        else:
            self.services.origin_policy.check(*origin_fields(head))
        session = self.get_session(handler.path_kwargs.get("session_id"))
        if session is not None and session.conn is not None:  # else it has ended
            check_same_secret(
                session.conn.secret, _argument(handler.request.query_arguments, "secret")
            )

    def admits(self, held: int, total: int) -> bool:
        limits = self.services.limits
        return limits.admits(held, limits.connections_per_address, total, limits.connections)

    def allowed_origin(self, head: Mapping[str, str]) -> str | None:
        return self.services.origin_policy.cors_origin(head.get("Origin"), head.get("Host"))

    def frame_ancestors(self, head: Mapping[str, str]) -> str:
        return " ".join(["'self'", *self.services.origin_policy.own_origins(head.get("Host"))])

    def request_finished(self, handler: SockJSHandler) -> None:
        handler.stream.end_request()

    def send_error(self, handler: SockJSHandler, status: int, error: BaseException | None) -> None:
        named = _to_realtime_error(status, error)
        if isinstance(handler, WebSocketReceiver) and isinstance(named, errors.BadRequest):
            named = errors.UpgradeRequired("Connect with WebSocket here (RFC 6455, version 13).")
        write_error_response(handler, named)

    def is_expected(self, error: BaseException | None) -> bool:
        return isinstance(error, RealtimeError) or super().is_expected(error)


def _to_realtime_error(status: int, error: BaseException | None) -> RealtimeError:
    """Convert the package's errors; most of those with status 500 are mistakes of the client."""
    message = error.log_message if isinstance(error, HTTPError) else None
    if isinstance(error, HTTPError) and status == 500 and "callback" in str(message):
        return errors.BadRequest("`c` must be the name of a function: A-Z, a-z, 0-9, `_` and `.`.")
    if isinstance(error, HTTPError) and status == 500:
        return errors.BadJSON(f"{message} Send a JSON array of strings.")
    if isinstance(error, HTTPError) and status == 413:
        return errors.TooLong("The request is too long; send fewer or shorter messages.")
    if isinstance(error, HTTPError) and status == 503:
        return errors.Busy("Too many sessions are open; close some.", retry_after=10)
    return as_realtime_error(status, error)


def _client_id_for_stats(handler: SockJSHandler) -> str | None:
    """Return the client id that the pages put in the URL of a session, for `/wire`."""
    try:
        client = parse_client(handler.get_query_argument("client", None))
        check_secret(client, handler.get_query_argument("secret", None))
        return client
    except RealtimeError:
        return None
