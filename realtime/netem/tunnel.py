"""One TCP connection through the proxy: two endpoints, and the two directions between them.

    client ◀──▶ endpoint ── up: Link ──▶ endpoint ◀──▶ server
                        ◀── down: Link, BufferingProxy ──

The endpoints are asyncio protocols, not tasks: a direction holds data until it is due, and one
timer per direction is all that waits.  `link.py` decides what is due when, `http_framing.py` what
a buffering proxy holds back.
"""

import asyncio
import contextlib
import socket
import struct
from random import Random
from typing import Literal, Protocol

from realtime.netem.conditions import NetworkConditions
from realtime.netem.http_framing import BufferingProxy, MessageFraming
from realtime.netem.link import End, Link, Segment, handshake_seconds

Direction = Literal["up", "down"]

# A direction reads while it holds less than HELD_BYTES, and one read brings at most READ_BYTES:
# 256 KiB together.  With many connections both are less, see `TunnelOwner.max_held_bytes`.
READ_BYTES = 65_536
HELD_BYTES = 196_608
# The smallest read: a few segments of a network.
_MIN_READ_BYTES = 4_096
# Seconds without data after which a connection that the server has ended is closed.  A client that
# does not answer a FIN would keep two open files forever.
_HALF_CLOSED_SECONDS = 10.0


class TunnelOwner(Protocol):
    """What a tunnel needs from the proxy that it belongs to."""

    @property
    def network(self) -> NetworkConditions:
        """The conditions for data that is read now."""

    @property
    def paused(self) -> bool:
        """Whether nothing may pass."""

    @property
    def read_buffer(self) -> memoryview:
        """A buffer of READ_BYTES; each read is copied at once, so all tunnels share it."""

    @property
    def max_held_bytes(self) -> int:
        """How much one direction may hold now; at most HELD_BYTES."""

    def opened(self, tunnel: "Tunnel") -> None:
        """A client has connected: connect `tunnel.server_side` to the server."""

    def closed(self, tunnel: "Tunnel") -> None:
        """Both endpoints are closed."""

    def count(self, data: bytes, direction: Direction) -> None:
        """Some bytes were read."""

    def random(self, direction: Direction) -> Random:
        """Return the source of jitter for a new link."""


class Tunnel:
    """A client's connection, ours to the server, the directions between them, and two timers."""

    def __init__(self, owner: TunnelOwner, client_address: str) -> None:
        self.owner = owner
        self.client_address = client_address
        self.client_side = _Endpoint(self)
        self.server_side = _Endpoint(self)
        self.closing = False  # reset or closed by us: an endpoint that connects now is too late
        self._timer: asyncio.TimerHandle | None = None

    def client_connected(self) -> None:
        self._opened = self._active = now = _now()
        up, down = self.owner.random("up"), self.owner.random("down")
        opened = now + handshake_seconds(self.owner.network, up)
        client, server = self.client_side, self.server_side
        self.up = _Upstream(self, client, server, Link(opened, up))
        self.down = _Downstream(self, server, client, Link(opened, down))
        client.attach(incoming=self.up, outgoing=self.down)
        server.attach(incoming=self.down, outgoing=self.up)
        self.check_deadlines()
        self.owner.opened(self)

    def refuse(self) -> None:
        """The server cannot be reached: reset the client.

        The client was accepted already, so a reset is the closest to "connection refused".
        """
        self.client_side.reset()
        if self.server_side.transport is None:
            self.endpoint_lost(self.server_side)

    def endpoint_lost(self, endpoint: "_Endpoint") -> None:
        """One connection is gone; the other one is reset unless both had sent their FIN."""
        endpoint.lost = True
        endpoint.outgoing.close()
        if not endpoint.finished:
            endpoint.incoming.end_received(End.RESET)
        if self.client_side.lost and self.server_side.lost:
            self.up.close()
            self.down.close()
            self._stop_timer()
            self.owner.closed(self)

    # --- called by the owner ---------------------------------------------------------------------

    def reset(self) -> None:
        self.closing = True
        self.client_side.reset()
        self.server_side.reset()

    def resume(self) -> None:
        self.touch()
        self.check_deadlines()
        self.up.run()
        self.down.run()

    def conditions_changed(self) -> None:
        self.down.buffer(b"")
        self.check_deadlines()

    # --- idle timeout and maximum age ------------------------------------------------------------

    def touch(self) -> None:
        """Restart the idle timeout: data has passed."""
        self._active = _now()

    def check_deadlines(self) -> None:
        """Reset or close the tunnel if it is time; else check again at the next deadline."""
        self._stop_timer()
        now, network, deadlines = _now(), self.owner.network, []
        if network.reset_after is not None:
            deadlines.append(self._opened + network.reset_after)
            if now >= deadlines[0]:
                self.reset()
                return
        # A paused tunnel is not idle: `resume` promises that nothing was lost.
        if network.idle_timeout is not None and not self.owner.paused:
            deadlines.append(self._active + network.idle_timeout)
            if now >= deadlines[-1]:
                self._close()
                return
        if self._waits_for_client_only and not self.owner.paused:
            deadlines.append(self._active + network.rtt + _HALF_CLOSED_SECONDS)
            if now >= deadlines[-1]:
                self.reset()
                return
        if deadlines:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(min(deadlines), self.check_deadlines)

    @property
    def _waits_for_client_only(self) -> bool:
        """Whether the server has ended, and the client neither ends nor reads the rest."""
        client = self.client_side
        return self.server_side.fin_received and (client.fin_sent or client.blocked)

    def check_client(self) -> None:
        if self._waits_for_client_only:
            self.check_deadlines()

    def _close(self) -> None:
        self.closing = True
        self.client_side.abort()
        self.server_side.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Endpoint(asyncio.BufferedProtocol):
    """One of the two connections: asyncio's callbacks, and the few methods that we call.

    `incoming` is the direction that starts here, `outgoing` the one that ends here.  (asyncio
    switches Nagle's algorithm off on both, so no small segment waits for an acknowledgement.)
    """

    incoming: "_Forwarder"
    outgoing: "_Forwarder"

    def __init__(self, tunnel: Tunnel) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.blocked = False  # the peer does not accept what we write
        self._tunnel = tunnel
        self.fin_received = self.fin_sent = False

    def attach(self, *, incoming: "_Forwarder", outgoing: "_Forwarder") -> None:
        self.incoming = incoming
        self.outgoing = outgoing

    @property
    def finished(self) -> bool:
        """Whether both sides have sent their FIN."""
        return self.fin_received and self.fin_sent

    @property
    def writable(self) -> bool:
        return self.transport is not None and not (self.transport.is_closing() or self.blocked)

    @property
    def unwritten_bytes(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    # --- callbacks of asyncio --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # Data waits in our link, where it is counted: asyncio holds at most one segment.
        transport.set_write_buffer_limits(high=0)
        self.transport = transport
        if self is self._tunnel.client_side:
            self._tunnel.client_connected()
        elif self._tunnel.closing:
            self.reset()
        else:
            self.outgoing.run()

    def get_buffer(self, sizehint: int) -> memoryview:
        owner = self._tunnel.owner
        size = max(_MIN_READ_BYTES, min(READ_BYTES, owner.max_held_bytes - self.incoming.held))
        return owner.read_buffer[:size]

    def buffer_updated(self, nbytes: int) -> None:
        self._tunnel.touch()
        self.incoming.data_received(bytes(self._tunnel.owner.read_buffer[:nbytes]))

    def eof_received(self) -> bool:
        self.fin_received = True
        self.incoming.end_received(End.FIN)
        self._close_if_finished()
        self._tunnel.check_client()
        return True  # half-closed: the peer may still receive

    def pause_writing(self) -> None:
        self.blocked = True
        self._tunnel.check_client()

    def resume_writing(self) -> None:
        self.blocked = False
        self.outgoing.run()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.endpoint_lost(self)

    # --- called by the directions ----------------------------------------------------------------

    def set_reading(self, wanted: bool) -> None:
        if self.transport is None:
            return
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self._tunnel.touch()
        self.transport.write(data)

    def write_eof(self) -> None:
        """Send FIN; the peer may still send."""
        assert self.transport is not None
        self.fin_sent = True
        with contextlib.suppress(OSError):  # it was reset, and asyncio has not noticed yet
            self.transport.write_eof()
        self._close_if_finished()
        self._tunnel.check_client()

    def reset(self) -> None:
        """Close with RST, now."""
        if self.transport is None:
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() != -1:
            # SO_LINGER of 0 s turns the close into a reset (socket(7)).
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def abort(self) -> None:
        """Close with FIN, now."""
        if self.transport is not None:
            self.transport.abort()

    def _close_if_finished(self) -> None:
        if self.finished and self.transport is not None:
            self.transport.close()


class _Forwarder:
    """One direction: data from `source` reaches `target` when the link has it due."""

    name: Direction

    def __init__(self, tunnel: Tunnel, source: _Endpoint, target: _Endpoint, link: Link) -> None:
        self._owner = tunnel.owner
        self._tunnel = tunnel
        self._source = source
        self._target = target
        self._link = link
        self._reset_pending = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None

    @property
    def held(self) -> int:
        """Bytes of memory in use for data on its way."""
        return self._link.held + self._target.unwritten_bytes

    def data_received(self, data: bytes) -> None:
        self._owner.count(data, self.name)
        self._send(data)

    def end_received(self, end: End) -> None:
        """The source has sent FIN, or its connection is gone."""
        self._reset_pending = end is End.RESET
        self._link.enqueue_end(end, self._owner.network, _now())
        self._run_soon()

    def close(self) -> None:
        """The target is gone: drop what is on its way."""
        self._stop_timer()
        self._link.clear()

    def run(self) -> None:
        """Forward what is due, and set a timer for the rest."""
        self._stop_timer()
        while self._open and (segment := self._link.pop_due(_now())) is not None:
            self._forward(segment)
        self._timer_at = self._link.next_due
        if self._open and self._timer_at is not None:
            self._timer = asyncio.get_running_loop().call_at(self._timer_at, self.run)
        # A closed TCP window holds back data, but not a reset.
        if self._reset_pending and self._target.blocked and not self._owner.paused:
            self._target.reset()
        self._read_or_wait()

    @property
    def _open(self) -> bool:
        return self._target.writable and not self._owner.paused

    def _send(self, data: bytes) -> None:
        self._link.enqueue(data, self._owner.network, _now())
        self._run_soon()

    def _run_soon(self) -> None:
        """Run, unless a timer waits already for the next segment."""
        # The segment that was sent last can show a loss: then the next one is due earlier.
        if self._timer is None or self._timer_at != self._link.next_due:
            self.run()
        else:
            self._read_or_wait()

    def _read_or_wait(self) -> None:
        # What only the response buffer holds leaves when more data arrives.
        on_the_way = self._link.held + self._target.unwritten_bytes
        self._source.set_reading(not on_the_way or self.held < self._owner.max_held_bytes)

    def _forward(self, segment: Segment) -> None:
        if isinstance(segment, bytes):
            self._target.write(segment)
        elif segment is End.FIN:
            self._target.write_eof()
        else:
            self._target.reset()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Upstream(_Forwarder):
    name = "up"

    def __init__(self, tunnel: Tunnel, source: _Endpoint, target: _Endpoint, link: Link) -> None:
        super().__init__(tunnel, source, target, link)
        self.framing = MessageFraming()

    def data_received(self, data: bytes) -> None:
        # Also while nothing is buffered: buffering may start later, in the middle of a message.
        self.framing.request_data(data)
        super().data_received(data)


class _Downstream(_Forwarder):
    """From the server: through the response buffer first, which stands next to the server."""

    name = "down"

    def __init__(self, tunnel: Tunnel, source: _Endpoint, target: _Endpoint, link: Link) -> None:
        super().__init__(tunnel, source, target, link)
        self._buffer = BufferingProxy(tunnel.up.framing)
        self._flush_timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        return super().held + len(self._buffer)

    def data_received(self, data: bytes) -> None:
        self._owner.count(data, self.name)
        self.buffer(data)

    def buffer(self, data: bytes) -> None:
        """Add `data` to the response buffer, and send what need not stay there."""
        network = self._owner.network
        # The buffer must be able to fill up, or it would never pass anything on.
        size = network.buffer and min(network.buffer, self._owner.max_held_bytes * 2 // 3)
        self._send(self._buffer.receive(data, size))
        self._stop_flush_timer()
        if self._buffer and network.flush is not None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(network.flush, self._flush)

    def end_received(self, end: End) -> None:
        self._flush()  # a response without a length ends here
        super().end_received(end)

    def close(self) -> None:
        super().close()
        self._stop_flush_timer()

    def _flush(self) -> None:
        self._stop_flush_timer()
        self._send(self._buffer.flush())

    def _stop_flush_timer(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None


def _now() -> float:
    return asyncio.get_running_loop().time()
