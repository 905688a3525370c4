"""Bytes, counted where they cross the socket, below every transport.

Every accepted connection gets a stream that counts both ways: heads, chunk borders and frame heads
included; for whoever holds the secret of a request, it also copies them (see `tap`).  A request
says which transport the connection carries from then on, and for whom; the bytes of its own head,
which were read before anybody could know, are counted with it.
"""

import asyncio
import fcntl
import socket
import termios
import time
from array import array
from collections.abc import Callable
from contextlib import suppress

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from realtime.server.tap import Direction, Tap
from realtime.server.traffic import OTHER, TrafficStats

# Bytes of one read.  A request is far smaller, and the buffer is made anew for each read; a record
# of TLS is never larger (RFC 8446 §5.1), so OpenSSL keeps no part of one back.
READ_BYTES = 16_384
# Bytes that may wait to be read: above Tornado's 64 KiB for a head and our own for a frame.
_UNREAD_BYTES = 262_144
# Bytes that may be waited for as one piece.
MAX_PIECE_BYTES = _UNREAD_BYTES // 2


class MeteredStream(IOStream):
    """A connection that counts its bytes, and takes pushes without a future for each.

    Our own attributes are slots: those of Tornado fill a dict, which would double for one more.
    """

    __slots__ = (
        *("address", "shared", "counted_as", "over_limit"),
        *("transport", "client", "in_request", "drained", "settled"),
        *("bytes_in", "bytes_out", "events", "_traffic", "_answered"),
        *("_send", "_draining", "_unread", "_one_piece", "_held"),
        *("_moved", "_begun", "_rested", "_number", "_tap", "_traced"),
    )

    def __init__(self, connection: socket.socket, address: str, traffic: TrafficStats) -> None:
        super().__init__(connection, max_buffer_size=_UNREAD_BYTES, read_chunk_size=READ_BYTES)
        self.address = address
        self.shared = False  # by all for whom a proxy asks
        self.counted_as: str | None = None  # the address in the books, if any is
        self.over_limit = False
        self.bytes_in = self.bytes_out = self.events = 0
        self.transport = OTHER
        self.client: str | None = None
        self.in_request = False  # a request is known, and being answered
        self.drained: Callable[[], None] | None = None  # called when there is room again
        self.settled = (0, 0, 0)  # what is in the books already: bytes in and out, events
        self._send: Callable[[bytes], int] | None = None  # while nothing stands in the way
        self._draining = False
        self._unread = b""
        self._one_piece = self._held = False
        self._traffic = traffic
        self._answered = 0  # bytes that had come when the last request was answered
        self._number = traffic.next_number()
        self._tap: Tap | None = None  # who is shown what crosses the socket now
        self._traced = b""  # what came before it was known what it is
        # What the last look saw, and since when it has been so.
        now = time.monotonic()
        self._moved: tuple[int | None, float] = None, now
        self._begun = 0, now
        self._rested = now

    # --- in --------------------------------------------------------------------------------------

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if self._unread:
            return self._read_again(buf)
        if self._held:
            return None
        count = super().read_from_fd(buf)
        self.bytes_in += count or 0
        self._held = self._one_piece and bool(count)
        if self._tap is not None and count:
            self._show("up", bytes(buf[:count]))
        return count

    async def read_piece(self) -> bytes:
        """Read what has come, and nothing after it until it was looked at, and perhaps unread.

        Tornado reads on while nobody asks, to learn of the end of the connection.
        """
        self._one_piece = True
        if self._tap is not None:  # the next request is another's, perhaps: it must say so itself
            self._tap = self._send = None
        # Nobody asks before it has our answer: to look at once would find nothing.
        self._held = True
        reading = asyncio.ensure_future(self.read_bytes(_UNREAD_BYTES, partial=True))
        try:
            self._held = reading.done()
            if self._held:
                await asyncio.sleep(0)  # who always has more to ask lets others have their turn
            return await reading
        finally:
            self._one_piece = self._held = False
            self._close_if_reset()

    def _close_if_reset(self) -> None:
        """Notice a reset that came with what was read, once that has been answered for.

        libuv tells of it once and then looks no more (uv_poll_t), and that was when we read.
        """
        if not self.closed() and self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.io_loop.add_callback(self.close)

    def unread(self, data: bytes) -> None:
        """Let `data`, which is the piece that was just read, be read again by somebody else."""
        self._unread = data + self._unread

    def _read_again(self, buf: bytearray | memoryview) -> int:
        part, self._unread = self._unread[: len(buf)], self._unread[len(buf) :]
        buf[: len(part)] = part
        return len(part)

    # --- out -------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        self._send = None  # what is pushed from now on must not overtake this
        return super().write(data)

    def write_to_fd(self, data: memoryview) -> int:
        # Copied before: what was written may be taken out of Tornado's buffer at once.
        copied = bytes(data) if self._tap is not None else b""
        count = super().write_to_fd(data)
        self.bytes_out += count
        if copied:
            self._show("down", copied[:count])
        return count

    def set_nodelay(self, value: bool) -> None:
        """Leave Nagle's algorithm off, where Tornado would turn it on and off for each answer."""

    def close_fd(self) -> None:
        if self._tap is not None:
            self._tap.closed(self._number)
        self._send = None
        self._traffic.closed(self)
        super().close_fd()

    def push(self, data: bytes, events: int) -> bool:
        """Write all of `data`, straight to the socket, or nothing while an older write waits.

        What the kernel does not take at once waits in the stream's own buffer, as a view of
        `data`: a thousand slow readers of one push share its bytes.  `drained` is called when it
        has left.
        """
        send = self._send or self._way()
        if send is None:
            self.call_when_drained()
            return False
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(exc_info=error)
            return False
        self.bytes_out += sent
        self.events += events
        if sent < len(data):
            self.write(memoryview(data)[sent:])
            self.call_when_drained()
        return True

    def _way(self) -> Callable[[bytes], int] | None:
        """The way to the socket, if nothing stands in it: looked for when it is not known."""
        if self.writing() or self.closed():
            self._send = None
        else:
            self._send = self.socket.send if self._tap is None else self._send_and_show
        return self._send

    def _send_and_show(self, data: bytes) -> int:
        sent = self.socket.send(data)
        self._show("down", data[:sent])
        return sent

    async def flush(self) -> None:
        """Return when all that was written has left, or never will."""
        if self.writing():
            with suppress(StreamClosedError):
                await self.write(b"")

    def call_when_drained(self) -> None:
        """Call `drained` when all that waits to be written has left; once, however often asked."""
        if not self._draining and not self.closed():
            self._draining = True
            # A write of nothing is done when all that was written before it is.
            self.write(b"").add_done_callback(self._has_drained)

    def _has_drained(self, written: "asyncio.Future[None]") -> None:
        self._draining = False
        if self.drained and not written.cancelled() and written.exception() is None:
            self.drained()

    # --- whose bytes these are -------------------------------------------------------------------

    def set_remote_ip(self, address: str, most: int) -> None:
        """Be the connection of `address` from now on, in whose name a proxy asks.

        `over_limit` says whether it has more than `most` of them.
        """
        self.address = address
        self._traffic.count(self, address)
        self.over_limit = self._traffic.addresses[address] > most

    @property
    def local_address(self) -> tuple[str, int]:
        """The address and port at which we were reached; empty when it is over."""
        if self.closed():
            return "", 0
        host, port, *_ = self.socket.getsockname()
        return host, port

    def begin_request(self, transport: str, client: str | None) -> None:
        """Count for this transport and client from now on, with the head that was just read."""
        self._traffic.begin_request(self, transport, client)
        self.in_request = True
        if self._traced:
            traced, self._traced = self._traced, b""
            self._show("up", traced)

    def trace(self, tap: Tap, data: bytes) -> None:
        """Show all that crosses until the request is answered that begins with `data`."""
        self._tap, self._send = tap, None
        self._traced = data

    def _show(self, direction: Direction, data: bytes) -> None:
        assert self._tap is not None
        if self._traced:  # it is not known yet what it is: `begin_request` will say
            self._traced += data
        else:
            self._tap.copy(self._number, self.transport, direction, data)

    def end_request(self) -> None:
        """Say that the request is answered: what is read from now on belongs to the next one.

        What is still to be written belongs to this one: a server never answers two at once.
        """
        self.in_request = False
        if self.shared:
            self._traffic.count(self, None)
        self._answered = self.bytes_in
        self._rested = time.monotonic()

    @property
    def claimed(self) -> int:
        """Bytes that came for a request that is known: of those after it nobody knows yet."""
        return self.bytes_in if self.in_request else self._answered

    # --- how long it takes its time --------------------------------------------------------------

    def stalled_seconds(self, now: float) -> float:
        """How long the peer has taken nothing of what waits for it; exact to one look."""
        taken = self.bytes_out - self._unacknowledged() if self.writing() else None
        if taken is None or taken != self._moved[0]:
            self._moved = taken, now
        return now - self._moved[1]

    def _unacknowledged(self) -> int:
        """Bytes that the kernel holds.

        It asks for more only when a third of its buffer is free: whoever takes a little of it each
        second would look like somebody who takes nothing.
        """
        count = array("i", [0])
        fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, count)
        return count[0]

    def asking_seconds(self, now: float) -> float:
        """How long a part of a request has been here, and not all of it; exact to one look."""
        if self.in_request or self.bytes_in == self._answered or self._answered != self._begun[0]:
            self._begun = self._answered, now
        return now - self._begun[1]

    def idle_seconds(self, now: float) -> float:
        """How long nothing was asked, and nothing was left to be answered."""
        idle = not self.in_request and self.bytes_in == self._answered and not self.writing()
        return now - self._rested if idle else 0.0


class MeteredTLSStream(MeteredStream, SSLIOStream):
    """The same over TLS, which has no direct way to the socket: a record is made for each client.

    What is counted is what TLS is given to carry: records, their padding and the handshake are
    between OpenSSL and the kernel.
    """

    def push(self, data: bytes, events: int) -> bool:
        if self.writing() or self.closed():
            self.call_when_drained()
            return False
        self.events += events
        self.write(data)
        if self.writing():
            self.call_when_drained()
        return True
