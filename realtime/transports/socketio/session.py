"""A session of Engine.IO: one client's follower and its outbox, whatever carries them at the time.

Nothing is queued on the way down.  What is waiting to be told is the room's log, and a session
takes from it only when it can pass it on at once:

    audience ── push ─▶ hungry? ─ a poll waits ──────▶ the answer of that poll, all in one payload
                          │     └ a WebSocket is idle ▶ the socket, one text frame for each packet
                          └ no: refused, and asked again when it is

Packets that python-engineio sends itself (pings, answers) go through the session's outbox, which
has a bound: whoever makes us speak and does not listen is cut.
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

# Between the packets of one payload; in JSON it is always escaped.
SEPARATOR = "\x1e"


class Outbox(asyncio.Queue[Packet | None]):
    """What python-engineio has to send; None is its sign that there will be no more."""

    def __init__(self, most_characters: int) -> None:
        super().__init__()
        self.hungry = False  # somebody waits for it, and there is nothing
        self.asked: Callable[[], None] = _nothing  # called when it becomes so
        self.overflowed: Callable[[], None] = _nothing
        self._most = most_characters
        self._waiting = 0
        self._ended = False

    async def get(self) -> Packet | None:
        if self.empty():
            self.hungry = True
            self.asked()
        try:
            return await super().get()
        finally:
            self.hungry = False

    def put_nowait(self, packet: Packet | None) -> None:
        if packet is not None and self._ended:
            return
        self.hungry = False
        super().put_nowait(packet)
        if self._waiting > self._most:
            self.overflowed()

    def end(self) -> None:
        """Let a CLOSE be the last."""
        if not self._ended:
            self.put_nowait(Packet(CLOSE))
            self.put_nowait(None)
            self._ended = True

    def _put(self, packet: Packet | None) -> None:
        self._waiting += _size(packet)
        super()._put(packet)

    def _get(self) -> Packet | None:
        packet: Packet | None = super()._get()
        self._waiting -= _size(packet)
        return packet


def _size(packet: Packet | None) -> int:
    return len(packet.encode()) if packet else 0


def _nothing() -> None: ...


class Carrier(Protocol):
    """A poll that waits, or a WebSocket."""

    stream: Stream


# Runs something once; nobody waits for it.
Spawn = Callable[[Callable[[], Awaitable[None]]], None]


class Session(ABC):
    """One client, and the follower of its room, over whichever connection it has at the time.

    It belongs to the address that began it: its id, seen in a URL, is of no use elsewhere.
    """

    framing: Framing
    broadcaster: Broadcaster | None = None
    socket: AsyncSocket
    error: RealtimeError | None = None  # which ended it
    over = False
    id = ""
    poll: Carrier | None = None  # waits for something to answer
    channel: Carrier | None = None  # the WebSocket, perhaps only probed as yet
    posting = False

    def __init__(self, services: Services, address: str) -> None:
        self.services = services
        self.address = address

    # --- its life --------------------------------------------------------------------------------

    def begin(self, socket: AsyncSocket, spawn: Spawn) -> None:
        self.id, self.socket, self._spawn = socket.sid, socket, spawn
        self._outbox: Outbox = socket.queue
        self._outbox.asked = self.resume
        self._outbox.overflowed = self._overflowed

    def close(self, error: RealtimeError) -> None:
        """End it, with the reason as its last message."""
        if self.error is None and not self.over:
            self.error = error
            self.tell(self.farewell(error))
            self._outbox.end()  # now, so that a poll that waits is answered with both
            self._spawn(lambda: self.socket.close(wait=False))

    def lose(self) -> None:
        """End it: there is nobody any more to be told."""
        self._spawn(lambda: self.socket.close(wait=False, abort=True))

    def ended(self) -> None:
        """It has ended, by whomever."""
        self.over = True
        self._outbox.end()
        self._outbox.asked = self._outbox.overflowed = _nothing  # no circle for the collector

    @abstractmethod
    def farewell(self, error: RealtimeError) -> str:
        """The last message."""

    def _overflowed(self) -> None:
        self.close(errors.TooSlow("What was answered is not read."))

    # --- down ------------------------------------------------------------------------------------

    def tell(self, message: str) -> None:
        """Send one message to this client alone."""
        self._outbox.put_nowait(Packet(MESSAGE, message))

    def push(self, frames: bytes, events: int) -> bool:
        if not self._outbox.hungry:
            return False
        if self.socket.upgraded:
            channel = self.channel
            return channel is not None and channel.stream.push(_text_frames(frames), events)
        if self.poll is None:
            return False
        self._outbox.put_nowait(_one_packet(frames))
        self.poll.stream.events += events
        return True

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        return True  # Engine.IO has pings of its own

    def resume(self) -> None:
        if self.broadcaster is not None:
            self.broadcaster.resume(self)


def packet(message: bytes) -> bytes:
    """Make a message of Socket.IO one packet of a payload; `payload` joins them."""
    return b"\x1e4" + message


def payload(packets: bytes) -> bytes:
    """Join packets: a separator stands between them, and not before the first."""
    return packets[1:]


@lru_cache(8)
def _one_packet(packets: bytes) -> Packet:
    """Let a payload pass for one packet, which writes its type before its data; once for all."""
    return Packet(MESSAGE, packets.decode()[1:])


@lru_cache(8)
def _text_frames(packets: bytes) -> bytes:
    """Put each packet of a payload in a frame of its own; once for all to whom it is pushed."""
    return b"".join(map(text_frame, packets.split(b"\x1e")))
