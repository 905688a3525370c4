"""Socket.IO: events with names, over Engine.IO; the library that chose the transport by itself.

Two dialects are spoken, told apart by the query of ``/socket.io/?roomid=ROOM&…``.  The article's
client says ``join`` and ``say`` and hears ``message``, as it did with the server of its time.  With
`client`, `name` or `after` in the query it is ours: ``event`` brings what every transport brings,
``say`` takes what every transport takes, and its callback gets the acknowledgement.
"""

import json
import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from socketio import AsyncServer
from socketio.packet import CONNECT, DISCONNECT, EVENT, Packet

from realtime import errors, metrics
from realtime.core.broadcaster import Framing
from realtime.core.events import Cursor, Event, Member, parse_name, parse_room
from realtime.errors import RealtimeError
from realtime.limits import Limits
from realtime.transports.acks import error_reply, handle_message
from realtime.transports.base import NOW, Services, Subscription
from realtime.transports.socketio.engineio import Engine, EngineIO
from realtime.transports.socketio.session import Session, packet, payload

TRANSPORT = "socketio"

log = logging.getLogger(__name__)

# Both packages have a line for each packet, and a warning for each client that makes a mistake.
_packages = logging.getLogger(f"{__name__}.packages")
_packages.setLevel(logging.ERROR)

# What the article's switch knows; of all others it shows nothing.
_IN_THE_ARTICLE = {"join": "join", "say": "broadcast_say", "quit": "broadcast_quit"}


def frame(event: Event) -> bytes:
    """Put one event in one packet: type 4 of Engine.IO, 2 of Socket.IO, a name, its argument."""
    return packet(b'2["event",%b]' % event.json)


def article_frame(event: Event) -> bytes:
    """Say one event as the server of the article said it."""
    fields = json.loads(event.json)
    if fields["kind"] == "gap":
        said = {"event": "gap", "data": {key: fields[key] for key in ("reason", "missed")}}
    else:
        data = {"username": fields["name"] or "somebody"}
        if "text" in fields:
            data["text"] = fields["text"]
        said = {"event": _IN_THE_ARTICLE[fields["kind"]], "data": data}
    return packet(b'2["message",%b]' % _encode(said))


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# --- the two dialects ----------------------------------------------------------------------------


class Guest(Session):
    """A client of Socket.IO in a room, from `cursor` on."""

    events: ClassVar[frozenset[str]]  # which it may emit
    connected = False
    left = False

    def __init__(
        self, services: Services, address: str, subscription: Subscription, cursor: Cursor
    ) -> None:
        super().__init__(services, address)
        self.room, self.member = subscription.room, subscription.member
        self._cursor = cursor
        self._arrived = False

    async def connect(self) -> None:
        """Begin to read: it was told that it is connected."""
        self.connected = True
        await self.track()
        try:
            self.services.hub.check_open()
            self.broadcaster = await self.services.hub.follow(self.room, self._cursor, self)
        except RealtimeError as error:
            self.close(error)
            return
        if self.left:  # while we waited: there was nothing yet to leave
            self.broadcaster.remove(self)

    async def track(self) -> None:
        if self.member is not None and not self.left:
            self._arrived = True
            await self.services.presence.track(self.room, self.member)

    def leave(self) -> None:
        """Read no more, and be no member; once, however often said."""
        if self.left:
            return
        self.left = True
        if self.broadcaster is not None:
            self.broadcaster.remove(self)
        if self._arrived and self.member is not None:
            grace = self.services.limits.grace_seconds
            self.services.presence.untrack(self.room, self.member, grace)

    def ended(self) -> None:
        super().ended()
        self.leave()

    async def hear(self, event: str, argument: Any) -> bytes:
        """Do what is asked; give the JSON of what it is answered."""
        raise NotImplementedError

    # --- answers ---------------------------------------------------------------------------------

    async def take(self, event: str, argument: Any, id: int | None) -> None:
        """Answer one event: its callback if it has one; else only an error is told."""
        try:
            if event not in self.events:
                known = " and ".join(f"`{name}`" for name in sorted(self.events))
                raise errors.BadRequest(f"What can be emitted here is {known}.")
            said = await self.hear(event, argument)
        except RealtimeError as error:
            said = error_reply(error, "")
        if id is not None:
            self.tell(f"3{id}[{said.decode()}]")
        elif (fields := json.loads(said))["kind"] == "error":
            self.tell(_trouble(fields["code"], fields["message"]))

    def farewell(self, error: RealtimeError) -> str:
        metrics.REFUSED.labels(error.code).inc()
        return _trouble(error.code, error.message)


def _trouble(code: str, message: str) -> str:
    return "2" + json.dumps(["trouble", {"code": code, "message": message}])


class ArticleGuest(Guest):
    """Whoever speaks as in the article: known by a name alone, from the moment of its `join`."""

    events = frozenset({"join", "say"})
    framing = Framing(article_frame, payload, transport=TRANSPORT)

    def __init__(
        self, services: Services, address: str, subscription: Subscription, cursor: Cursor
    ) -> None:
        super().__init__(services, address, subscription, cursor)
        # Not the session's id: who knows that can take part in the session.
        self._client = secrets.token_hex(10)

    async def hear(self, event: str, argument: Any) -> bytes:
        fields = argument if isinstance(argument, dict) else {}
        if event == "join":
            return await self._join(parse_name(fields.get("username"), self.services.limits))
        if self.member is None:
            raise errors.BadName("Emit `join` with a `username` first.")
        said = {"text": fields.get("text"), "client": self._client, "name": self.member.name}
        return await handle_message(
            self.services, json.dumps(said), self.room, TRANSPORT, self.address
        )

    async def _join(self, name: str) -> bytes:
        if self.member is None:
            self.member = Member(self._client, name, TRANSPORT)
            await self.track()
        elif self.member.name != name:
            raise errors.BadName(f"You are {self.member.name} here; another name connects anew.")
        return _encode({"kind": "ack"})


class OurGuest(Guest):
    """Whoever speaks as all of our own clients do."""

    events = frozenset({"say"})
    framing = Framing(frame, payload, transport=TRANSPORT)

    async def hear(self, event: str, argument: Any) -> bytes:
        return await handle_message(
            self.services, json.dumps(argument), self.room, TRANSPORT, self.address
        )


# --- the server ----------------------------------------------------------------------------------


class Sessions(AsyncServer):  # type: ignore[misc]  # it says no types
    """python-socketio's server: it connects namespaces; rooms, fan-out and order are the hub's."""

    def __init__(self, services: Services) -> None:
        limits = services.limits
        super().__init__(
            async_mode="tornado",
            async_handlers=False,  # in the order in which it was said
            logger=_packages,
            engineio_logger=_packages,
            cors_allowed_origins=[],  # the door is ours
            http_compression=False,
            monitor_clients=False,  # its monitor ends with no other task of ours
            # Below the usual proxy idle limits, like the heartbeat of every stream here.
            ping_interval=limits.heartbeat_seconds,
            ping_timeout=limits.request_seconds,
            max_http_buffer_size=4 * limits.body_bytes,
            # A push, and as much again of answers.
            most_waiting=2 * limits.push_bytes,
        )
        self._limits: Limits = limits
        self._guests: dict[str, Guest] = {}
        self._addresses: Counter[str] = Counter()

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def find(self, id: str) -> Guest | None:
        return self._guests.get(id)

    def check_room(self, address: str) -> None:
        """Refuse one more session than connections may be open: one that polls has none between."""
        full = len(self._guests) >= self._limits.connections
        if full or self._addresses[address] >= self._limits.connections_per_address:
            raise errors.Busy("Too many sessions are open; close some.", retry_after=10)

    async def close(self) -> None:
        """End all tasks; the streams have ended before."""
        await self.eio.end()

    # --- what Engine.IO tells --------------------------------------------------------------------

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        guest: Guest = environ["session"]
        guest.begin(self.eio.sockets[eio_sid], self.eio.spawn)
        self._guests[eio_sid] = guest
        self._addresses[guest.address] += 1
        self.eio.watch()

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self.eio.sockets.pop(eio_sid, None)
        guest = self._guests.pop(eio_sid)
        self._addresses[guest.address] -= 1
        if not self._addresses[guest.address]:
            del self._addresses[guest.address]
        guest.ended()

    async def _handle_eio_message(self, eio_sid: str, data: str) -> None:
        guest = self._guests.get(eio_sid)
        if guest is None or guest.error is not None:  # what comes after the end is not answered
            return
        try:
            await self._take(guest, data)
        except RecursionError:
            guest.close(errors.BadJSON("That is nested too deeply."))
        except RealtimeError as error:
            guest.close(error)
        except Exception:
            log.exception("a packet could not be taken")
            guest.close(errors.Internal("The server made a mistake; it has been logged."))

    async def _take(self, guest: Guest, data: str) -> None:
        said = self._parse(data)
        here = said.namespace in (None, "/")
        if said.packet_type == CONNECT:
            await self._handle_connect(guest.id, said.namespace, said.data)
            if here and not guest.connected:
                await guest.connect()
        elif not (here and guest.connected) or guest.left:
            raise errors.BadRequest("Connect to the namespace `/` first; there is no other.")
        elif said.packet_type == DISCONNECT:
            guest.leave()  # and the published client closes the session next
        elif said.packet_type == EVENT:
            event, *arguments = _parse_event(said.data)
            await guest.take(event, arguments[0] if arguments else None, said.id)
        else:  # acknowledgements of what we never ask to be acknowledged, and binary data
            raise errors.BadRequest("That is no packet of Socket.IO that is taken here.")

    def _parse(self, data: str) -> Packet:
        try:
            return self.packet_class(encoded_packet=data)
        except ValueError as error:
            raise errors.BadJSON("That is no packet of Socket.IO 5.") from error


def _parse_event(data: Any) -> Sequence[Any]:
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise errors.BadJSON("An event is a list of its name and its arguments.")
    return data


# --- the requests --------------------------------------------------------------------------------


class SocketIO(EngineIO):
    transport = TRANSPORT

    def initialize(self, services: Services, sessions: Sessions) -> None:  # type: ignore[override]
        super().initialize(services)
        self.sessions = sessions
        self.engine = sessions.eio

    def known_session(self, id: str) -> Session | None:
        return self.sessions.find(id)

    async def new_session(self) -> Session:
        room = parse_room(self.argument("roomid", errors.BadRoom) or "")
        ours = not self.arguments.keys().isdisjoint({"client", "name", "after"})
        subscription = self.parse_subscription(room) if ours else Subscription(room, NOW, None)
        self.services.hub.check_open()
        self.sessions.check_room(self.stream.address)
        # Asked before there is a session, so that an error still has a status of its own.
        reader = await self.services.hub.read(room, subscription.after)
        kind = OurGuest if ours else ArticleGuest
        return kind(self.services, self.stream.address, subscription, reader.cursor)
