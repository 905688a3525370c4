"""Socket.IO: named events over Engine.IO; the library that chooses the transport by itself.

The query of ``/socket.io/?roomid=ROOM&…`` selects one of two dialects (see `clients`).  With
`client`, `name` or `after` in it, the client gets what every transport delivers: ``event`` carries
an event, ``say`` takes a draft, and the callback of ``say`` gets the acknowledgement.  Without
them, it is the client of the tutorial: it emits ``join`` and ``say``, and receives
``message``.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from socketio import AsyncServer
from socketio.packet import CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet

from realtime import errors, metrics
from realtime.core.access import Grant, check_same_secret
from realtime.core.events import Cursor, parse_room
from realtime.errors import RealtimeError
from realtime.limits import Limits
from realtime.transports.base import NOW, SECRET_FIELD, Services, Subscription
from realtime.transports.socketio.clients import (
    TRANSPORT,
    CursorClient,
    LegacyClient,
    SocketIOClient,
)
from realtime.transports.socketio.engineio import EngineIOServer
from realtime.transports.socketio.engineio_handler import EngineIOHandler
from realtime.transports.socketio.session import EngineIOSession

log = logging.getLogger(__name__)

# Both packages log a line for each packet, and a warning for each mistake of a client.
_packages = logging.getLogger(f"{__name__}.packages")
_packages.setLevel(logging.ERROR)


class SocketIOServer(AsyncServer):  # type: ignore[misc]  # the package has no types
    """python-socketio's server: it connects namespaces.

    Its rooms and its fan-out are not used: the hub has both.
    """

    def __init__(self, services: Services) -> None:
        limits = services.limits
        super().__init__(
            async_mode="tornado",
            async_handlers=False,  # handle events in the order in which they arrive
            logger=_packages,
            engineio_logger=_packages,
            cors_allowed_origins=[],  # our handler checks the origin
            http_compression=False,
            monitor_clients=False,  # its monitor could not be stopped with our other tasks
            # Below the usual proxy idle timeouts, like the heartbeat of every stream here.
            ping_interval=limits.heartbeat_seconds,
            ping_timeout=limits.request_seconds,
            max_http_buffer_size=4 * limits.body_bytes,
            # One push, and the same amount of replies.
            max_queued=2 * limits.push_bytes,
        )
        self._limits: Limits = limits
        self._clients: dict[str, SocketIOClient] = {}
        self._addresses: Counter[str] = Counter()

    def _engineio_server_class(self) -> type[EngineIOServer]:
        return EngineIOServer

    def find_client(self, id: str) -> SocketIOClient | None:
        return self._clients.get(id)

    def check_capacity(self, address: str) -> None:
        """Raise `Busy` for a session above the limits of connections.

        Sessions are counted, because one that polls has no open connection between its polls.
        """
        limits, held = self._limits, self._addresses[address]
        used, total = len(self._clients), limits.connections
        if not limits.admits(held, limits.connections_per_address, used, total):
            raise errors.Busy("Too many sessions are open; close some.", retry_after=10)

    async def close(self) -> None:
        """Stop all tasks; the streams are closed before."""
        await self.eio.stop_tasks()

    # --- callbacks of Engine.IO ------------------------------------------------------------------

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        client: SocketIOClient = environ["session"]
        client.start(self.eio.sockets[eio_sid], self.eio.spawn)
        self._clients[eio_sid] = client
        self._addresses[client.address] += 1
        self.eio.monitor_pings()
        if client.subscribe is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.request_seconds, self._close_without_ticket, client)

    def _close_without_ticket(self, client: SocketIOClient) -> None:
        if client.subscribe is not None:
            client.close(errors.NoTicket("No ticket came in time."))

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self.eio.sockets.pop(eio_sid, None)
        client = self._clients.pop(eio_sid)
        self._addresses[client.address] -= 1
        if not self._addresses[client.address]:
            del self._addresses[client.address]
        client.on_closed()

    async def _handle_eio_message(self, eio_sid: str, data: str) -> None:
        client = self._clients.get(eio_sid)
        if client is None or client.error is not None:  # nothing is handled after the close
            return
        try:
            await self._handle_packet(client, data)
        except RecursionError:
            client.close(errors.BadJSON("The JSON is nested too deeply."))
        except RealtimeError as error:
            client.close(error)
        except Exception:
            log.exception("a packet failed")
            client.close(errors.Internal())

    async def _handle_packet(self, client: SocketIOClient, data: str) -> None:
        packet = self._parse_packet(data)
        in_namespace = packet.namespace in (None, "/")
        if packet.packet_type == CONNECT:
            if in_namespace and not await self._authenticate(client, packet.data):
                return
            await self._handle_connect(client.id, packet.namespace, packet.data)
            if in_namespace and not client.connected:
                await client.connect()
        elif not (in_namespace and client.connected) or client.membership.left:
            raise errors.BadRequest("Connect to the namespace `/` first; there is no other.")
        elif packet.packet_type == DISCONNECT:
            client.membership.leave()  # the published client closes the session next
        elif packet.packet_type == EVENT:
            event, *arguments = _parse_event(packet.data)
            await client.dispatch(event, arguments[0] if arguments else None, packet.id)
        else:  # acknowledgements, which we never request, and binary data
            raise errors.BadRequest("Send only CONNECT, DISCONNECT and EVENT packets.")

    async def _authenticate(self, client: SocketIOClient, auth: Any) -> bool:
        """Return whether a client may connect; if not, it gets a CONNECT_ERROR packet."""
        try:
            await client.authenticate(auth)
        except RealtimeError as error:
            metrics.REFUSED.labels(error.code).inc()
            data = {"message": error.message, "data": {"code": error.code}}
            client.send(f"{CONNECT_ERROR}{json.dumps(data)}")
            return False
        return True

    def _parse_packet(self, data: str) -> Packet:
        try:
            return self.packet_class(encoded_packet=data)
        except ValueError as error:
            raise errors.BadJSON("This is not a packet of Socket.IO 5.") from error


def _parse_event(data: Any) -> Sequence[Any]:
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise errors.BadJSON("An event must be a JSON array: its name, then its arguments.")
    return data


class SocketIOHandler(EngineIOHandler):
    """A request to ``/socket.io/``: it finds its session, or creates one for a room."""

    transport = TRANSPORT

    def initialize(self, services: Services, server: SocketIOServer) -> None:  # type: ignore[override]
        super().initialize(services)
        self.server = server
        self.engine = server.eio

    def known_session(self, id: str) -> EngineIOSession | None:
        client = self.server.find_client(id)
        if client is not None:
            secret = self.argument("secret", errors.WrongSecret)
            check_same_secret(client.secret, secret or self.header_fields.get(SECRET_FIELD))
        return client

    async def new_session(self) -> EngineIOSession:
        room, address = (
            parse_room(self.argument("roomid", errors.BadRoom) or ""),
            self.stream.address,
        )
        self.services.hub.check_open()
        self.server.check_capacity(address)
        kind = CursorClient if self._has_cursor else LegacyClient
        try:
            # Read before the session exists, so that an error still has its own HTTP status.
            return kind(self.services, address, *await self._subscribe(room, address))
        except errors.NoTicket:  # a browser's client has it in `auth`, which comes later
            client = kind(self.services, address, *_no_subscription(room))
            client.subscribe = partial(self._subscribe, room, address)
            return client

    @property
    def _has_cursor(self) -> bool:
        return not self.arguments.keys().isdisjoint({"client", "name", "after"})

    async def _subscribe(
        self, room: str, address: str, ticket: Any = None
    ) -> tuple[Subscription, Cursor]:
        """Parse what the handshake asks for; `address` is its client's, also when it has ended."""
        if self._has_cursor:
            subscription = self.parse_subscription(room, ticket=ticket)
        else:
            subscription = Subscription.parse(
                *(room, "now", None, None),
                via=TRANSPORT,
                limits=self.services.limits,
                grant=self.admit(ticket),
            )
        reader = await self.services.read(subscription, address)
        return subscription, reader.cursor


def _no_subscription(room: str) -> tuple[Subscription, Cursor]:
    """Return the subscription of a client that has not shown its ticket: it may do nothing."""
    return Subscription(room, NOW, None, Grant(actions=frozenset())), Cursor("0", 0)
