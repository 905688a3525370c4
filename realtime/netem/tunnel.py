"""One connection through a proxy: two sides, and the two ways between them.

    client ◀──▶ near ── up: Line ──▶ far ◀──▶ server
                     ◀── down: Line, ResponseBuffer ──

The sides are asyncio protocols and no tasks: a way holds what came until it is due, and one timer
per way is all that waits.  When what is due when is decided in `line.py`, what a buffering proxy
keeps back in `boundaries.py`.
"""

import asyncio
import contextlib
import socket
import struct
from random import Random
from typing import Literal, Protocol

from realtime.netem.conditions import NetworkConditions
from realtime.netem.http_framing import BufferingProxy, MessageFraming
from realtime.netem.link import End, Link

Direction = Literal["up", "down"]

# A read is made only while less than ENOUGH is held, and brings at most READ: 256 KiB together.
READ = 65_536
ENOUGH = 196_608


class TunnelOwner(Protocol):
    """What a connection asks of the proxy it belongs to."""

    @property
    def network(self) -> NetworkConditions:
        """What happens to what is read now."""

    @property
    def paused(self) -> bool:
        """Whether nothing may pass."""

    @property
    def scratch(self) -> memoryview:
        """Where reads go, to be copied at once: so one of READ bytes is enough for all."""

    def begun(self, connection: "Tunnel") -> None:
        """A client is there: connect `connection.far` to the server."""

    def ended(self, connection: "Tunnel") -> None:
        """Both sides are gone."""

    def count(self, data: bytes, direction: Direction) -> None:
        """Some bytes were read."""

    def random(self, direction: Direction) -> Random:
        """Give the jitter of a new line."""


class Tunnel:
    """A client's connection and ours to the server, the two ways between them, and two clocks."""

    def __init__(self, owner: TunnelOwner) -> None:
        self.owner = owner
        self.near = _Side(self)
        self.far = _Side(self)
        self.dead = False  # reset or closed by us: a side that comes into being now is too late
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The client is there."""
        self._opened = self._moved = now = _now()
        opened = now + self.owner.network.rtt  # SYN, and SYN-ACK
        self.up = _Up(self, self.near, self.far, Link(opened, self.owner.random("up")))
        self.down = _Down(self, self.far, self.near, Link(opened, self.owner.random("down")))
        self.near.join(incoming=self.up, outgoing=self.down)
        self.far.join(incoming=self.down, outgoing=self.up)
        self.watch()
        self.owner.begun(self)

    def refuse(self) -> None:
        """The server is not reached.

        The client was accepted already: a reset is the nearest to what it would have been told.
        """
        self.near.reset()
        if self.far.transport is None:
            self.lost(self.far)

    def lost(self, side: "_Side") -> None:
        """One side is gone, and the other learns it unless both had said their last."""
        side.lost = True
        side.outgoing.close()
        if not side.finished:
            side.incoming.end(End.RESET)
        if self.near.lost and self.far.lost:
            self.up.close()
            self.down.close()
            self._stop_timer()
            self.owner.ended(self)

    # --- verbs from outside ----------------------------------------------------------------------

    def cut(self) -> None:
        self.dead = True
        self.near.reset()
        self.far.reset()

    def resume(self) -> None:
        self.moved()
        self.watch()
        self.up.run()
        self.down.run()

    def adopt(self) -> None:
        """The network is another now."""
        self.down.hold(b"")
        self.watch()

    # --- the clocks ------------------------------------------------------------------------------

    def moved(self) -> None:
        self._moved = _now()

    def watch(self) -> None:
        """Close or cut when it is time, else look again when it may be."""
        self._stop_timer()
        now, network, deadlines = _now(), self.owner.network, []
        if network.cut is not None:
            deadlines.append(self._opened + network.cut)
            if now >= deadlines[0]:
                self.cut()
                return
        # Whoever is paused is not idle: `resume` promises that nothing was lost.
        if network.idle is not None and not self.owner.paused:
            deadlines.append(self._moved + network.idle)
            if now >= deadlines[-1]:
                self._close()
                return
        if deadlines:
            self._timer = asyncio.get_running_loop().call_at(min(deadlines), self.watch)

    def _close(self) -> None:
        self.dead = True
        self.near.abort()
        self.far.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Side(asyncio.BufferedProtocol):
    """One end of a connection: what asyncio tells of it, and the few verbs we have for it.

    `incoming` is the way of what it says, `outgoing` of what it is told.  (asyncio itself switches
    Nagle's algorithm off on both, so no small piece waits for an acknowledgement.)
    """

    incoming: "_Way"
    outgoing: "_Way"

    def __init__(self, connection: Tunnel) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.blocked = False  # it does not take what we write
        self._connection = connection
        self._said_last = self._told_last = False

    def join(self, *, incoming: "_Way", outgoing: "_Way") -> None:
        self.incoming = incoming
        self.outgoing = outgoing

    @property
    def finished(self) -> bool:
        """Both have said their last on it."""
        return self._said_last and self._told_last

    @property
    def writable(self) -> bool:
        return self.transport is not None and not (self.transport.is_closing() or self.blocked)

    @property
    def unwritten(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    # --- what asyncio tells ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # What waits, waits in our line: asyncio holds one piece at most.
        transport.set_write_buffer_limits(high=0)
        self.transport = transport
        if self is self._connection.near:
            self._connection.begin()
        elif self._connection.dead:
            self.reset()
        else:
            self.outgoing.run()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.owner.scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.moved()
        self.incoming.hear(bytes(self._connection.owner.scratch[:nbytes]))

    def eof_received(self) -> bool:
        self._said_last = True
        self.incoming.end(End.FIN)
        self._close_if_finished()
        return True  # it may still listen

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self.outgoing.run()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.lost(self)

    # --- verbs -----------------------------------------------------------------------------------

    def read(self, wanted: bool) -> None:
        """Read on, or stop."""
        if self.transport is None:
            return
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self._connection.moved()
        self.transport.write(data)

    def end(self) -> None:
        """Say that no more will come; it may still speak."""
        assert self.transport is not None
        self._told_last = True
        with contextlib.suppress(OSError):  # it was reset, and asyncio has not seen it yet
            self.transport.write_eof()
        self._close_if_finished()

    def reset(self) -> None:
        """End it with RST, now."""
        if self.transport is None:
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() != -1:
            # SO_LINGER of 0 s turns the close into a reset (socket(7)).
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def abort(self) -> None:
        """End it with FIN, now."""
        if self.transport is not None:
            self.transport.abort()

    def _close_if_finished(self) -> None:
        if self.finished and self.transport is not None:
            self.transport.close()


class _Way:
    """One direction: what `source` says reaches `target` when the line lets it."""

    direction: Direction

    def __init__(self, connection: Tunnel, source: _Side, target: _Side, line: Link) -> None:
        self._owner = connection.owner
        self._connection = connection
        self._source = source
        self._target = target
        self._line = line
        self._broken = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        return self._line.held + self._target.unwritten

    def hear(self, data: bytes) -> None:
        """The source said `data`."""
        self._owner.count(data, self.direction)
        self._send(data)

    def end(self, end: End) -> None:
        """The source said its last, or is gone."""
        self._broken = end is End.RESET
        self._line.end(end, self._owner.network, _now())
        self._go_on()

    def close(self) -> None:
        """The target is gone."""
        self._stop_timer()
        self._line.clear()

    def run(self) -> None:
        """Pass on what is due, and come again when more is."""
        self._stop_timer()
        while self._open and (piece := self._line.take(_now())) is not None:
            self._pass(piece)
        if self._open and self._line.due is not None:
            self._timer = asyncio.get_running_loop().call_at(self._line.due, self.run)
        # A window that is closed holds up bytes, but no reset.
        if self._broken and self._target.blocked and not self._owner.paused:
            self._target.reset()
        self._source.read(self.held < ENOUGH)

    @property
    def _open(self) -> bool:
        return self._target.writable and not self._owner.paused

    def _send(self, data: bytes) -> None:
        self._line.put(data, self._owner.network, _now())
        self._go_on()

    def _go_on(self) -> None:
        """Run, unless something in front is waited for already."""
        if self._timer is None:
            self.run()
        else:
            self._source.read(self.held < ENOUGH)

    def _pass(self, piece: bytes | End) -> None:
        if isinstance(piece, bytes):
            self._target.write(piece)
        elif piece is End.FIN:
            self._target.end()
        else:
            self._target.reset()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Up(_Way):
    direction = "up"

    def __init__(self, connection: Tunnel, source: _Side, target: _Side, line: Link) -> None:
        super().__init__(connection, source, target, line)
        self.boundaries = MessageFraming()

    def hear(self, data: bytes) -> None:
        # Also while nothing is buffered: that may change, and then we must know where we are.
        self.boundaries.sent(data)
        super().hear(data)


class _Down(_Way):
    """The way down leads through the response buffer first, which stands next to the server."""

    direction = "down"

    def __init__(self, connection: Tunnel, source: _Side, target: _Side, line: Link) -> None:
        super().__init__(connection, source, target, line)
        self._buffer = BufferingProxy(connection.up.boundaries)
        self._flushing: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        return super().held + len(self._buffer)

    def hear(self, data: bytes) -> None:
        self._owner.count(data, self.direction)
        self.hold(data)

    def hold(self, data: bytes) -> None:
        """Put `data` in the buffer, and send what need not stay there."""
        network = self._owner.network
        self._send(self._buffer.put(data, network.buffer))
        self._stop_flushing()
        if self._buffer and network.flush is not None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(network.flush, self._flush)

    def end(self, end: End) -> None:
        self._flush()  # a response without a length ends here
        super().end(end)

    def close(self) -> None:
        super().close()
        self._stop_flushing()

    def _flush(self) -> None:
        self._stop_flushing()
        self._send(self._buffer.flush())

    def _stop_flushing(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None


def _now() -> float:
    return asyncio.get_running_loop().time()
