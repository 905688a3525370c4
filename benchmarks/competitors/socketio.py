"""Socket.IO 4 (socketio.js), over WebSocket and over polling.

Engine.IO 4 packets start with a digit, and the Socket.IO 5 packets inside them with another.
Engine.IO: 0 open, 2 ping, 3 pong, 4 message; Socket.IO: 0 connect, 2 event, 3 acknowledgement.
A session opens, connects and joins its room; it is ready when the join is acknowledged.
"""

import shutil
from collections.abc import Iterable
from contextlib import ExitStack

from benchmarks.competitors.system import FOLDER, SMALL, System
from realtime.client.http import Endpoint, Response, encode
from realtime.client.protocols import cached_loads
from realtime.client.sansio import ClientProtocol, Event, PollProtocol, Update, with_cursor
from realtime.client.socketio import SEPARATOR
from realtime.client.websocket import TEXT, WebSocketProtocol

_PATH = "/socket.io/?EIO=4&transport="


class SocketIOSystem(System):
    """Over WebSocket from the start, which is what its polling upgrades to."""

    name = "socket.io websocket"
    loads = (*System.loads, SMALL)

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("node") is None:
            return "node; on Debian: apt-get install nodejs npm"
        if not (FOLDER / "node_modules" / "socket.io").exists():
            return f"npm's packages; npm ci --prefix {FOLDER}"
        return None

    def start(self, stack: ExitStack, redis: str) -> None:
        self.run(stack, ["node", str(FOLDER / "socketio.js"), redis])

    def protocol(self, room: str) -> ClientProtocol:
        return _WebSocketProtocol(self.reader_endpoint, room)


class SocketIOPollingSystem(SocketIOSystem):
    """Over polling without an upgrade, the fallback behind proxies that block WebSockets."""

    name = "socket.io polling"
    loads = System.loads

    def protocol(self, room: str) -> ClientProtocol:
        return _PollingProtocol(self.reader_endpoint, room)


class _WebSocketProtocol(WebSocketProtocol):
    def __init__(self, endpoint: Endpoint, room: str) -> None:
        super().__init__(endpoint, lambda cursor: f"{_PATH}websocket")
        self._room = room

    def _on_upgrade(self) -> None:
        pass  # not ready yet: the session opens, connects and joins

    def receive_text(self, payload: bytes) -> Iterable[Update]:
        if (event := event_of(payload)) is not None:
            return (with_cursor(event),)
        if (reply := reply_to(payload, self._room)) is not None:
            self._send(TEXT, reply)
        self.ready = self.ready or is_joined(payload)
        return ()


class _PollingProtocol(PollProtocol):
    """Packets up by POST, packets down by GET, in turn on one connection.

    The session keeps the packets between two GETs, so none is missed.
    """

    def __init__(self, endpoint: Endpoint, room: str) -> None:
        super().__init__(endpoint)
        self._room = room
        self._path = f"{_PATH}polling"
        self._unsent: list[bytes] = []
        self._joined = False
        self._posting = False

    def request(self) -> bytes:
        self._posting = bool(self._unsent)
        if not self._posting:
            return self.get(self._path)
        body = SEPARATOR.join(self._unsent)
        self._unsent.clear()
        return self.endpoint.build_request("POST", self._path, {}, body)

    def parse_response(self, response: Response) -> tuple[list[Update], bool]:
        body = response.check(200).body
        packets = [] if self._posting else split_payload(body)
        return [update for packet in packets for update in self._receive_packet(packet)], True

    def _receive_packet(self, packet: bytes) -> Iterable[Update]:
        if (event := event_of(packet)) is not None:
            return (with_cursor(event),)
        if packet.startswith(b"0"):
            self._path += f"&sid={cached_loads(packet[1:])['sid']}"
        if (reply := reply_to(packet, self._room)) is not None:
            self._unsent.append(reply)
        self._joined = self._joined or is_joined(packet)
        return ()

    def _is_joined(self) -> bool:
        return self._joined


def split_payload(body: bytes) -> list[bytes]:
    """Return the packets in the response of a poll (Engine.IO 4)."""
    return body.split(SEPARATOR)


def event_of(packet: bytes) -> Event | None:
    """Return the event in a packet, None if it has none."""
    if not packet.startswith(b"42"):
        return None
    event: Event = cached_loads(packet[2:])[1]
    return event


def reply_to(packet: bytes, room: str) -> bytes | None:
    """Return the packet with which a client answers this one."""
    if packet.startswith(b"0"):
        return b"40"
    if packet.startswith(b"40"):
        return b"421" + encode(["join", room])
    return b"3" if packet == b"2" else None


def is_joined(packet: bytes) -> bool:
    """Whether this acknowledges `join`, whose id was 1."""
    return packet.startswith(b"431")
