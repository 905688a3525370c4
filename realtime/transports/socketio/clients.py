"""The two Socket.IO dialects of this server: one class and one frame function for each.

    dialect                            down                             up
    LegacyClient  the tutorial's        ["message",{"event","data"}]     join {username}, say {text}
    CursorClient  our own              ["event",EVENT]                  say DRAFT

The first is what the client of the tutorial speaks.  The second carries the same events
and drafts as every other transport, and resumes by cursor.
"""

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from realtime import errors, metrics
from realtime.core.broadcaster import Framing
from realtime.core.events import Cursor, Event, Member, parse_name
from realtime.errors import RealtimeError
from realtime.transports.acks import error_reply, handle_message
from realtime.transports.base import Services, Subscription
from realtime.transports.membership import Membership
from realtime.transports.socketio.session import EngineIOSession, packet, payload

TRANSPORT = "socketio"

# Parses the subscription of a handshake with this ticket, and finds its cursor.
Subscribe = Callable[[Any], Awaitable[tuple[Subscription, Cursor]]]

# The events that the tutorial's client can show, by the kinds of ours.
_LEGACY_EVENTS = {"join": "join", "say": "broadcast_say", "quit": "broadcast_quit"}


def frame(event: Event) -> bytes:
    """Put one event in one packet: type 4 of Engine.IO, 2 of Socket.IO, a name, its argument."""
    return packet(b'2["event",%b]' % event.json)


def legacy_frame(event: Event) -> bytes:
    """Put one event in one packet, in the form that the tutorial's server used."""
    fields = json.loads(event.json)
    if fields["kind"] == "gap":
        message = {"event": "gap", "data": {key: fields[key] for key in ("reason", "missed")}}
    else:
        data = {"username": fields["name"] or "somebody"}
        if "text" in fields:
            data["text"] = fields["text"]
        message = {"event": _LEGACY_EVENTS[fields["kind"]], "data": data}
    return packet(b'2["message",%b]' % _encode(message))


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class SocketIOClient(EngineIOSession):
    """A Socket.IO client in a room, which reads from `cursor` on."""

    events: ClassVar[frozenset[str]]  # the events that it may emit
    connected = False
    # Set while it needs a ticket, which its CONNECT packet may have: finds out what that grants.
    subscribe: Subscribe | None = None

    def __init__(
        self, services: Services, address: str, subscription: Subscription, cursor: Cursor
    ) -> None:
        super().__init__(services, address)
        self.room = subscription.room
        self.membership = Membership(services, subscription.room, address)
        self._set_subscription(subscription, cursor)

    def _set_subscription(self, subscription: Subscription, cursor: Cursor) -> None:
        self._subscription, self._cursor = subscription, cursor
        self.member, self.secret = subscription.member, subscription.secret

    async def authenticate(self, auth: Any) -> None:
        """Take the ticket of a CONNECT packet, if the handshake had none; raises a named error."""
        if self.subscribe is not None:
            ticket = auth.get("ticket") if isinstance(auth, dict) else None
            self._set_subscription(*await self.subscribe(ticket))
            self.subscribe = None

    async def connect(self) -> None:
        """Start to read; the client has its CONNECT packet already."""
        self.connected = True
        try:
            await self.membership.track(self.member)
            self.services.hub.check_open()
            await self.membership.follow(self._cursor, self, self._subscription.grant.expires)
        except RealtimeError as error:
            self.close(error)

    def on_closed(self) -> None:
        super().on_closed()
        self.membership.leave()

    async def handle_event(self, event: str, argument: Any) -> bytes:
        """Do what one event asks for; return the JSON of the reply."""
        raise NotImplementedError

    async def publish(self, message: Any) -> bytes:
        """Publish a message; return the JSON of the reply."""
        sender = self._subscription.sender(self.address, self.id)
        return await handle_message(
            self.services, json.dumps(message), self.room, TRANSPORT, sender
        )

    async def dispatch(self, event: str, argument: Any, id: int | None) -> None:
        """Handle one event; reply to its callback.  Without a callback, send only errors."""
        try:
            if event not in self.events:
                known = " and ".join(f"`{name}`" for name in sorted(self.events))
                raise errors.BadRequest(f"You can emit {known} here, nothing else.")
            reply = await self.handle_event(event, argument)
        except RealtimeError as error:
            reply = error_reply(error, "")
        if id is not None:
            self.send(f"3{id}[{reply.decode()}]")
        elif (fields := json.loads(reply))["kind"] == "error":
            self.send(_trouble(fields["code"], fields["message"]))

    def close_message(self, error: RealtimeError) -> str:
        metrics.REFUSED.labels(error.code).inc()
        return _trouble(error.code, error.message)


def _trouble(code: str, message: str) -> str:
    return "2" + json.dumps(["trouble", {"code": code, "message": message}])


class LegacyClient(SocketIOClient):
    """A client that speaks the tutorial's dialect: it has only a name, from its `join` on."""

    events = frozenset({"join", "say"})
    framing = Framing(legacy_frame, payload, transport=TRANSPORT)

    def __init__(
        self, services: Services, address: str, subscription: Subscription, cursor: Cursor
    ) -> None:
        super().__init__(services, address, subscription, cursor)
        # Not the session's id: with that, anybody at the same address could use the session.
        self._random_client = secrets.token_hex(10)

    async def handle_event(self, event: str, argument: Any) -> bytes:
        fields = argument if isinstance(argument, dict) else {}
        if event == "join":
            return await self._join(parse_name(fields.get("username"), self.services.limits))
        if self.member is None:
            raise errors.BadName("Emit `join` with a `username` first.")
        return await self.publish(
            {
                "text": fields.get("text"),
                "client": self.member.client,
                "name": self.member.name,
            }
        )

    async def _join(self, name: str) -> bytes:
        if self.member is None:
            grant = self._subscription.grant
            grant.identify(None, name, None)
            self.member = Member(grant.client or self._random_client, name, TRANSPORT)
            try:
                await self.membership.track(self.member)
            except RealtimeError as error:  # the membership has ended, and so has the session
                self.close(error)
                raise
        elif self.member.name != name:
            raise errors.BadName(f"You joined as {self.member.name}; reconnect to change the name.")
        return _encode({"kind": "ack"})


class CursorClient(SocketIOClient):
    """A client that speaks our dialect, like the clients of all other transports."""

    events = frozenset({"say"})
    framing = Framing(frame, payload, transport=TRANSPORT)

    async def handle_event(self, event: str, argument: Any) -> bytes:
        return await self.publish(argument)
