"""SockJS: a library chooses among ten ways, and hides behind something like a WebSocket.

Its session is a pipe to one client, in the memory of one process.  What is said in it is ours: the
first message is a join with a cursor, and nothing waits in the pipe that the log has as well.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tornado.web import HTTPError

from realtime import errors
from realtime.core.broadcaster import Broadcaster, Framing
from realtime.core.events import Cursor, Event, parse_client, parse_object
from realtime.errors import RealtimeError
from realtime.protocol.http1 import origin_fields
from realtime.transports import acks
from realtime.transports.base import Services, Subscription, check_connection_limit
from realtime.transports.handler import as_realtime_error, write_error_response
from realtime.transports.sockjs import HardenedSockJSRouter, SockJSConnection, framing
from realtime.transports.sockjs.handlers import Guarded

TRANSPORT = "sockjs"
PREFIX = "/sockjs"
# Ways for browsers that have no other; off unless they are asked for.
LEGACY_TRANSPORTS = frozenset({"jsonp", "htmlfile"})
# For the iframe, by which the library crosses origins: the same as the page has.
LIBRARY = "/demos/vendor/sockjs-client/sockjs.min.js"


def frame(event: Event) -> bytes:
    """Put one event in a string of JSON: what SockJS carries are texts."""
    return framing.encode(event.json.decode()).encode() + b","


def envelope(frames: bytes) -> bytes:
    return b"a[%b]" % frames[:-1]


class SockJSSubscriber:
    """A follower at the other end of a session, whichever way that goes just now."""

    framing = Framing(frame, envelope, transport=TRANSPORT)
    broadcaster: Broadcaster

    def __init__(self, session: Any, close: Callable[[RealtimeError], None]) -> None:
        self.push = session.offer
        self.close = close
        self._session = session

    def join(self, broadcaster: Broadcaster) -> None:
        """Be told from now on when there is room."""
        self.broadcaster = broadcaster
        self._session.writable = self._drained

    def beat(self, heartbeat: bytes) -> bool:
        return True  # the session has a heartbeat of its own

    def leave(self) -> None:
        self._session.writable = None
        self.broadcaster.leave(self)

    def _drained(self) -> None:
        self.broadcaster.resume(self)


class RoomConnection(SockJSConnection):  # type: ignore[misc]
    """One client's session: it joins a room, and then says things there."""

    services: Services
    _subscription: Subscription | None = None
    _subscriber: SockJSSubscriber | None = None
    _gone = False

    def on_open(self, request: Any) -> None:
        self.services = self.session.server.services
        self._address = request.ip

    async def on_message(self, message: str) -> None:
        if self._subscription is None:
            said = await self._answer_join(message)
        else:
            room = self._subscription.room
            said = await acks.handle_message(self.services, message, room, TRANSPORT, self._address)
        if said is not None and not self.is_closed:
            self.send(said)

    # --- the join --------------------------------------------------------------------------------

    async def _answer_join(self, message: str) -> bytes | None:
        """Let the client in; a join with an `id` is acknowledged with where the client stands."""
        try:
            fields = parse_object(acks.read(message), self.services.limits)
            self._subscription = subscription = _parse_join(fields, self.services)
            cursor = await self._join(subscription)
        except errors.GoingAway as error:
            self._end(error)
            return None
        except RealtimeError as error:
            self._subscription = None
            return acks.error_reply(error, message)
        id = acks.id_of(message)
        return acks.acknowledge(id, cursor) if id else None

    async def _join(self, subscription: Subscription) -> Cursor:
        self.services.hub.check_open()
        reader = await self.services.hub.read(subscription.room, subscription.after)
        cursor = reader.cursor
        subscriber = SockJSSubscriber(self.session, self._end)
        if subscription.member is not None:
            await self.services.presence.track(subscription.room, subscription.member)
        try:
            subscriber.join(await self.services.hub.follow(subscription.room, cursor, subscriber))
        except RealtimeError:
            self._depart(subscription)
            raise
        self._subscriber = subscriber
        if self._gone:  # while we waited: `on_close` found nobody to retire
            self._retire()
        return cursor

    def _end(self, error: RealtimeError) -> None:
        self.session.close(error.close_code, error.code)

    def on_close(self) -> None:
        self._gone = True
        if self._subscriber is not None:
            self._retire()

    def _retire(self) -> None:
        assert self._subscriber is not None
        assert self._subscription is not None
        self._subscriber.leave()
        self._depart(self._subscription)

    def _depart(self, subscription: Subscription) -> None:
        if subscription.member is not None:
            grace = self.services.limits.grace_seconds
            self.services.presence.untrack(subscription.room, subscription.member, grace)


def _parse_join(fields: Mapping[str, Any], services: Services) -> Subscription:
    if fields.get("kind") != "join":
        raise errors.BadRequest('The first message is `{"kind":"join","room":…}`.')
    asked = [fields.get(name) for name in ("room", "after", "client", "name")]
    return Subscription.parse(*asked, via=TRANSPORT, limits=services.limits)


class SockJSRoom(HardenedSockJSRouter):
    """The router at our door: its rules, its books, its errors."""

    lasting = False  # our other ports are others at the next start

    def __init__(self, services: Services, also: Collection[str] = ()) -> None:
        limits = services.limits
        self.services = services
        options = {
            "sockjs_url": LIBRARY,
            "disabled_transports": ["rawwebsocket", *LEGACY_TRANSPORTS.difference(also)],
            "heartbeat_delay": limits.heartbeat_seconds,
            "body_bytes": 8 * limits.body_bytes,
            # Some more than a message may have, so that it is told to be too long.
            "message_bytes": 2 * limits.body_bytes,
            "queue_bytes": limits.send_buffer_bytes,
            "sessions": limits.connections,
            "sessions_per_address": limits.connections_per_address,
        }
        super().__init__(RoomConnection, PREFIX, options)

    def acquire(self, handler: Guarded) -> None:
        handler.stream.begin_request(TRANSPORT, _client(handler))
        check_connection_limit(handler.stream)
        head = handler.request.headers
        if handler.for_anybody:
            self.services.origin_policy.check_host(head.get("Host"))
        else:
            self.services.origin_policy.check(*origin_fields(head))
        if self.services.hub.closing:
            handler.set_header("Connection", "close")

    def readable_by(self, head: Mapping[str, str]) -> str | None:
        return self.services.origin_policy.cors_origin(head.get("Origin"), head.get("Host"))

    def framed_by(self, head: Mapping[str, str]) -> str:
        return " ".join(["'self'", *self.services.origin_policy.own_origins(head.get("Host"))])

    def answered(self, handler: Guarded) -> None:
        handler.stream.end_request()

    def refuse(self, handler: Guarded, status: int, error: BaseException | None) -> None:
        write_error_response(handler, _named(status, error))

    def is_expected(self, error: BaseException | None) -> bool:
        return isinstance(error, RealtimeError) or super().is_expected(error)


def _named(status: int, error: BaseException | None) -> RealtimeError:
    """What the package says with a 500 is mostly a client's mistake."""
    said = error.log_message if isinstance(error, HTTPError) else None
    if isinstance(error, HTTPError) and status == 500:
        return errors.BadJSON(f"{said} Send an array of strings in JSON.")
    if isinstance(error, HTTPError) and status == 413:
        return errors.TooLong("That is more than one request may bring.")
    if isinstance(error, HTTPError) and status == 503:
        return errors.Busy("Too many sessions are open; close some.", retry_after=10)
    return as_realtime_error(status, error)


def _client(handler: Guarded) -> str | None:
    """For the books: the client that a page puts into the address of its session."""
    try:
        return parse_client(handler.get_query_argument("client", None))
    except RealtimeError:
        return None
