"""An Engine.IO session: one client's subscription and send queue, over its current connection.

No event is queued here.  Events wait in the room's log, and a session takes them only when it can
send them at once:

    broadcaster ── push ─▶ ready? ─┬ a poll waits ───────▶ its response, all packets in one payload
                             │     └ a WebSocket is idle ▶ the socket, one text frame per packet
                             └ no: refused, and retried when the session is ready again

Packets that python-engineio sends itself (pings, replies) go through the session's send queue.  The
queue has a limit: a client that causes replies and does not read them is closed.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Protocol

from engineio.async_socket import AsyncSocket
from engineio.packet import CLOSE, MESSAGE, Packet

from realtime import errors
from realtime.core.broadcaster import Broadcaster, Framing
from realtime.errors import RealtimeError
from realtime.protocol.websocket_frames import text_frame
from realtime.transports.base import Services, Stream

# Separates the packets of one payload; JSON always escapes it.
SEPARATOR = "\x1e"


class SendQueue(asyncio.Queue[Packet | None]):
    """What python-engineio has to send; None means that nothing follows."""

    def __init__(self, max_characters: int) -> None:
        super().__init__()
        self.ready = False  # somebody waits in `get`, and the queue is empty
        self.on_ready: Callable[[], None] = _do_nothing
        self.on_overflow: Callable[[], None] = _do_nothing
        self._max_characters = max_characters
        self._characters = 0
        self._closed = False

    async def get(self) -> Packet | None:
        if self.empty():
            self.ready = True
            self.on_ready()
        try:
            return await super().get()
        finally:
            self.ready = False

    def put_nowait(self, packet: Packet | None) -> None:
        if packet is not None and self._closed:
            return
        self.ready = False
        super().put_nowait(packet)
        if self._characters > self._max_characters:
            self.on_overflow()

    def close(self) -> None:
        """Queue a CLOSE packet as the last one."""
        if not self._closed:
            self.put_nowait(Packet(CLOSE))
            self.put_nowait(None)
            self._closed = True

    def _put(self, packet: Packet | None) -> None:
        self._characters += _size(packet)
        super()._put(packet)

    def _get(self) -> Packet | None:
        packet: Packet | None = super()._get()
        self._characters -= _size(packet)
        return packet


def _size(packet: Packet | None) -> int:
    return len(packet.encode()) if packet else 0


def _do_nothing() -> None: ...


class AttachedConnection(Protocol):
    """A connection that can carry packets now: a poll that waits, or a WebSocket."""

    stream: Stream


# Runs something once in a task; the caller does not wait for it.
Spawn = Callable[[Callable[[], Awaitable[None]]], None]


class EngineIOSession(ABC):
    """One client, and its subscription to a room, over whichever connection it has at the moment.

    A session belongs to the address that started it: its id, if somebody else reads it in a URL, is
    useless from another address.
    """

    framing: Framing
    broadcaster: Broadcaster | None = None
    socket: AsyncSocket
    error: RealtimeError | None = None  # the reason why it was closed
    closed = False
    id = ""
    poll: AttachedConnection | None = None  # a poll that waits for its response
    websocket: AttachedConnection | None = None  # perhaps only probed so far
    posting = False

    def __init__(self, services: Services, address: str) -> None:
        self.services = services
        self.address = address

    # --- open and close --------------------------------------------------------------------------

    def start(self, socket: AsyncSocket, spawn: Spawn) -> None:
        self.id, self.socket, self._spawn = socket.sid, socket, spawn
        self._send_queue: SendQueue = socket.queue
        self._send_queue.on_ready = self.resume
        self._send_queue.on_overflow = self._overflowed

    def close(self, error: RealtimeError) -> None:
        """Close the session; its last message is the reason."""
        if self.error is None and not self.closed:
            self.error = error
            self.send(self.close_message(error))
            self._send_queue.close()  # now, so that the response of a waiting poll has both
            self._spawn(lambda: self.socket.close(wait=False))

    def abort(self) -> None:
        """Close the session without a last message: the client is gone."""
        self._spawn(lambda: self.socket.close(wait=False, abort=True))

    def on_closed(self) -> None:
        """Called once when the session is closed, by either side."""
        self.closed = True
        self._send_queue.close()
        # Break the reference cycle, so that the session is freed without the garbage collector.
        self._send_queue.on_ready = self._send_queue.on_overflow = _do_nothing

    @abstractmethod
    def close_message(self, error: RealtimeError) -> str:
        """Return the last message of a session that `error` closes."""

    def _overflowed(self) -> None:
        self.close(errors.TooSlow("The client does not read its replies."))

    # --- down ------------------------------------------------------------------------------------

    def attach(self, broadcaster: Broadcaster) -> None:
        self.broadcaster = broadcaster

    def detach(self) -> None:
        if self.broadcaster is not None:
            self.broadcaster.remove(self)
            self.broadcaster = None

    def send(self, message: str) -> None:
        """Send one message to this client only."""
        self._send_queue.put_nowait(Packet(MESSAGE, message))

    def push(self, frames: bytes, events: int) -> bool:
        if not self._send_queue.ready:
            return False
        if self.socket.upgraded:
            websocket = self.websocket
            return websocket is not None and websocket.stream.push(_text_frames(frames), events)
        if self.poll is None:
            return False
        self._send_queue.put_nowait(_one_packet(frames))
        self.poll.stream.events += events
        return True

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        return True  # Engine.IO has its own pings

    def resume(self) -> None:
        if self.broadcaster is not None:
            self.broadcaster.resume(self)


def packet(message: bytes) -> bytes:
    """Make a Socket.IO message one packet of a payload; `payload` joins packets."""
    return b"\x1e4" + message


def payload(packets: bytes) -> bytes:
    """Join packets: a separator stands between them, but not before the first."""
    return packets[1:]


@lru_cache(8)
def _one_packet(packets: bytes) -> Packet:
    """Pass a whole payload off as one packet, which adds the type of the first; cached per push."""
    return Packet(MESSAGE, packets.decode()[1:])


@lru_cache(8)
def _text_frames(packets: bytes) -> bytes:
    """Put each packet of a payload in its own frame; cached, as one push goes to many clients."""
    return b"".join(map(text_frame, packets.split(b"\x1e")))
