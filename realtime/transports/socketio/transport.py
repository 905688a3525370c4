"""Socket.IO: named events over Engine.IO; the library that chooses the transport by itself.

The query of ``/socket.io/?roomid=ROOM&…`` selects one of two dialects (see `clients`).  With
`client`, `name` or `after` in it, the client gets what every transport delivers: ``event`` carries
an event, ``say`` takes a draft, and the callback of ``say`` gets the acknowledgement.  Without
them, it is the client of the tutorial: it emits ``join`` and ``say``, and receives
``message``.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from socketio import AsyncServer
from socketio.packet import CONNECT, DISCONNECT, EVENT, Packet

from realtime import errors
from realtime.core.events import parse_room
from realtime.errors import RealtimeError
from realtime.limits import Limits
from realtime.transports.base import Services, Subscription
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
        return self.server.find_client(id)

    async def new_session(self) -> EngineIOSession:
        room = parse_room(self.argument("roomid", errors.BadRoom) or "")
        has_cursor = not self.arguments.keys().isdisjoint({"client", "name", "after"})
        subscription = (
            self.parse_subscription(room)
            if has_cursor
            else Subscription.parse(
                *(room, "now", None, None),
                via=TRANSPORT,
                limits=self.services.limits,
                grant=self.admit(),
            )
        )
        self.services.hub.check_open()
        self.server.check_capacity(self.stream.address)
        # Read before the session exists, so that an error still has its own HTTP status.
        reader = await self.services.hub.read(room, subscription.after, self.stream.address)
        kind = CursorClient if has_cursor else LegacyClient
        return kind(self.services, self.stream.address, subscription, reader.cursor)
