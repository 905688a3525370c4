"""Socket.IO 4 (socketio.js), by its WebSocket and by its polling.

Engine.IO 4 packets begin with a digit, and Socket.IO 5 packets inside of them with another.
Engine.IO: 0 open, 2 ping, 3 pong, 4 message; Socket.IO: 0 connect, 2 event, 3 acknowledgement.
A session is opened, connected, and asks to join its room; when that is acknowledged, it listens.
"""

import shutil
from contextlib import ExitStack

from benchmarks.clients.base import Event
from benchmarks.clients.http import Response, Server, encode
from benchmarks.clients.protocols import Listener, Poll, WebSocketListener, read_json
from benchmarks.clients.websocket import TEXT
from benchmarks.competitors.system import FOLDER, SMALL, System, own

_PATH = "/socket.io/?EIO=4&transport="
# Engine.IO 4: the record separator, which no JSON contains.
_SEPARATOR = b"\x1e"


class SocketIO(System):
    """Its WebSocket from the start: what its polling is upgraded to."""

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

    def listener(self, room: str) -> Listener:
        return _WebSocket(self.readers, room)


class SocketIOPolling(SocketIO):
    """Its polling, never upgraded: what it falls back to behind proxies that allow no more."""

    name = "socket.io polling"
    loads = System.loads

    def listener(self, room: str) -> Listener:
        return _Polling(self.readers, room)


class _WebSocket(WebSocketListener):
    def __init__(self, server: Server, room: str) -> None:
        super().__init__(server, lambda cursor: f"{_PATH}websocket")
        self._room = room

    def opened(self) -> None:
        pass  # there is more to say before anything is heard

    def understand(self, payload: bytes, when: float) -> None:
        if (event := event_of(payload)) is not None:
            self.hear([own(event)], when)
        elif (said := reply_to(payload, self._room)) is not None:
            self.answer(TEXT, said)
        self.ready = self.ready or is_joined(payload)


class _Polling(Poll):
    """Packets up by POST, packets down by GET, in turn on one connection.

    What is sent down meanwhile waits in the session, so nothing is missed between two GETs.
    """

    def __init__(self, server: Server, room: str) -> None:
        super().__init__(server)
        self._room = room
        self._path = f"{_PATH}polling"
        self._unsent: list[bytes] = []
        self._joined = False
        self._posting = False

    def question(self) -> bytes:
        self._posting = bool(self._unsent)
        if not self._posting:
            return self.get(self._path)
        body = _SEPARATOR.join(self._unsent)
        self._unsent.clear()
        return self.server.request("POST", self._path, {}, body)

    def _answered(self, response: Response, when: float) -> bool:
        body = response.check(200).body
        if not self._posting:
            for packet in split_payload(body):
                self._understand(packet, when)
        return True

    def _understand(self, packet: bytes, when: float) -> None:
        if (event := event_of(packet)) is not None:
            self.hear([own(event)], when)
            return
        if packet.startswith(b"0"):
            self._path += f"&sid={read_json(packet[1:])['sid']}"
        if (said := reply_to(packet, self._room)) is not None:
            self._unsent.append(said)
        self._joined = self._joined or is_joined(packet)

    def _settled(self) -> bool:
        return self._joined


def split_payload(body: bytes) -> list[bytes]:
    """Give the packets of an answer to a poll (Engine.IO 4)."""
    return body.split(_SEPARATOR)


def event_of(packet: bytes) -> Event | None:
    """Give what was said, if this packet says something."""
    if not packet.startswith(b"42"):
        return None
    event: Event = read_json(packet[2:])[1]
    return event


def reply_to(packet: bytes, room: str) -> bytes | None:
    """Give the packet that a client owes the server for this one."""
    if packet.startswith(b"0"):
        return b"40"
    if packet.startswith(b"40"):
        return b"421" + encode(["join", room])
    return b"3" if packet == b"2" else None


def is_joined(packet: bytes) -> bool:
    """Is this the acknowledgement of `join`, whose number was 1?"""
    return packet.startswith(b"431")
