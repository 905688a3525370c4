"""A stream that counts the bytes where they cross the socket, below every transport.

Every accepted connection gets such a stream.  It counts both directions: HTTP headers, chunk sizes
and frame headers included.  A request says which transport and which client the connection serves
from then on; the bytes of its own header section, read before that was known, count for it as well.
For a subscriber with the secret of a request, the stream also copies the bytes (see `tap`).
"""

import asyncio
import fcntl
import socket
import termios
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from ssl import SSLWantReadError, SSLWantWriteError
from typing import Any

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from realtime.limits import Limits
from realtime.server.redaction import Redactor
from realtime.server.tap import Direction, Tap
from realtime.server.traffic import OTHER, TrafficStats

# Bytes of one read.  A request is far smaller, and every read allocates a new buffer; a TLS record
# is never larger (RFC 8446 §5.1), so OpenSSL never keeps part of one.
READ_BYTES = 16_384
# Bytes that can wait to be read: above Tornado's 64 KiB for a header section and our own limit for
# a frame.
_MAX_UNREAD_BYTES = 262_144
# Bytes that a caller can read as one `bytes`.
MAX_WHOLE_READ_BYTES = _MAX_UNREAD_BYTES // 2

# Serves what has arrived; returns False if the caller of `read_once` must do it.
Serve = Callable[[bytes], bool]


class _ShortQueue(list[Any]):
    """What Tornado uses of a deque, which reserves 600 bytes, and each stream has two.

    Few writes are pending at a time: a stream that accepts no more keeps its cursor instead.
    """

    __slots__ = ()

    def popleft(self) -> Any:
        return self.pop(0)


class MeteredStream(IOStream):
    """A connection that counts its bytes, and accepts pushes without a future for each.

    Our own attributes are slots: Tornado's fill a dict, which would double with one more.
    """

    __slots__ = (
        *("address", "shared", "counted_address", "over_limit"),
        *("transport", "client", "in_request", "drained", "flushed"),
        *("bytes_in", "bytes_out", "events", "_traffic", "_answered_bytes"),
        *("_fast_send", "_awaiting_drain", "_unread", "_reading_once", "_reads_paused"),
        *("_direct_read", "_serve", "half_closed", "lingering", "_on_half_close"),
        *("_write_progress", "_read_started", "_idle_since"),
        *("connection_id", "_tap", "_trace_buffer", "_redactor"),
    )

    # What `recv` raises while there is nothing to read.
    _nothing_arrived: type[OSError] = BlockingIOError

    def __init__(self, connection: socket.socket, address: str, traffic: TrafficStats) -> None:
        super().__init__(connection, max_buffer_size=_MAX_UNREAD_BYTES, read_chunk_size=READ_BYTES)
        self._write_futures = _ShortQueue()  # type: ignore[assignment]
        self._write_buffer._buffers = _ShortQueue()  # type: ignore[assignment]
        self.address = address
        self.shared = False  # by all clients of a trusted proxy
        self.counted_address: str | None = None  # which has this connection in the statistics
        self.over_limit = False
        self.bytes_in = self.bytes_out = self.events = 0
        self.transport = OTHER
        self.client: str | None = None
        self.in_request = False  # a request is known, and not answered yet
        self.drained: Callable[[], None] | None = None  # called when all data has left
        self.flushed = (0, 0, 0)  # in the statistics already: bytes in, bytes out, events
        self._fast_send: Callable[[bytes], int] | None = None  # set while no write is pending
        self._awaiting_drain = False
        self._unread = b""
        self._reading_once = self._reads_paused = False
        self._direct_read: asyncio.Future[bytes] | None = None
        self._serve: Serve | None = None
        self.lingering = False  # it closes soon, and discards what arrives until then
        self.half_closed = False  # the client has ended its side, and may read on
        self._on_half_close: Callable[[], object] | None = None
        self._traffic = traffic
        self._answered_bytes = 0  # `bytes_in` when the last request was answered
        self.connection_id = traffic.next_connection_id()
        self._tap: Tap | None = None  # receives a copy of what crosses the socket
        self._trace_buffer = b""  # the start of a traced request, until its transport is known
        self._redactor: Redactor | None = None
        # What the last timeout check saw, and since when.
        now = time.monotonic()
        self._write_progress: tuple[int | None, float] = None, now
        self._read_started = 0, now
        self._idle_since = now

    # --- in --------------------------------------------------------------------------------------

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if self._unread:
            return self._read_unread(buf)
        if self._reads_paused:
            return None
        wanted = self.reading()
        # After a FIN without a `close_notify` before it, OpenSSL would send an error and refuse to
        # write.
        may_read = (wanted and not self.half_closed) or not self._is_at_fin()
        count = super().read_from_fd(buf) if may_read else 0
        if count == 0 and not wanted:
            self._note_half_close()
            return None
        self.bytes_in += count or 0
        self._reads_paused = self._reading_once and bool(count)
        if self._tap is not None and count:
            self._copy_to_tap("up", bytes(buf[:count]))
        return count

    def stop_trace(self) -> None:
        """Copy nothing more: the next request can be another client's, which must ask as well."""
        if self._tap is not None:
            self._tap = self._fast_send = self._redactor = None

    async def read_once(self, serve: Serve | None = None) -> bytes:
        """Read what has arrived, and nothing more: the caller can `unread` it first.

        Tornado alone would continue to read, to notice the end of the connection.

        `serve` may be called with the data first.  If it returns True, it serves them, and calls
        `read_on` when it has; then the caller's task does not run at all.  The result is empty if
        `serve` has served, and the next step is for the caller.
        """
        if self.reading():  # the request took too long, and what arrives is discarded
            raise StreamClosedError
        if self._can_read_directly():
            return await self._read_directly(serve)
        self._reading_once = True
        # A client sends nothing before it has our response: an immediate read would find nothing.
        # After a half-close there is no event to wait for.
        self._reads_paused = not self.half_closed
        reading = asyncio.ensure_future(self.read_bytes(_MAX_UNREAD_BYTES, partial=True))
        try:
            self._reads_paused = reading.done()
            if self._reads_paused:
                await asyncio.sleep(0)  # a client that pipelines must not block the others
            return await reading
        finally:
            self._reading_once = self._reads_paused = False
            self.close_if_reset()

    # Tornado makes three buffers of 16 KB, a future and a dozen calls of one read: as much as all
    # the rest of a poll.  In the usual case one `recv` does the same.

    def _can_read_directly(self) -> bool:
        """Return whether what the socket has next is all that is unread, and nobody copies it."""
        buffered = self._read_buffer_size or self._unread or self.half_closed
        return not buffered and self._tap is None

    async def _read_directly(self, serve: Serve | None) -> bytes:
        self._check_closed()
        reading: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._direct_read = reading
        self._serve = serve
        self._await_data(reading)
        try:
            return await reading
        finally:
            self._direct_read = self._serve = None
            self.close_if_reset()

    def _await_data(self, reading: "asyncio.Future[bytes]") -> None:
        # For Tornado it is a read like any other, which it may also complete or close.
        self._read_future, self._read_bytes = reading, _MAX_UNREAD_BYTES
        self._read_partial = True
        self._add_io_state(IOLoop.READ)

    def _handle_events(self, fd: int | Any, events: int) -> None:
        is_direct = self._direct_read is not None and self._read_future is self._direct_read
        if is_direct and events == IOLoop.READ:
            self._receive()
        else:
            super()._handle_events(fd, events)

    def _receive(self) -> None:
        reading = self._direct_read
        assert reading is not None
        try:
            data = self.socket.recv(READ_BYTES)
        except self._nothing_arrived:
            return
        except OSError as error:
            self.close(exc_info=error)
            return
        if not data:
            self.close()
            return
        self.bytes_in += len(data)
        self._read_future = self._read_bytes = None
        self._read_partial = False
        try:
            served = self._serve is not None and self._serve(data)
        except BaseException as error:
            self.close(exc_info=error)
            raise
        if not served and not reading.done():
            reading.set_result(data)

    def read_on(self, *, more: bool) -> None:
        """Continue `read_once` after `serve` has served; `more` is whether a request may follow."""
        reading = self._direct_read
        if reading is None or reading.done():  # the connection has closed
            return
        if more and not self.writing() and self._can_read_directly():
            self._await_data(reading)
        else:
            reading.set_result(b"")

    def close_if_reset(self) -> None:
        """Notice a reset that arrived together with the data, after that has been processed.

        libuv reports it once and then stops polling (uv_poll_t), and that was during our read.
        """
        if not self.closed() and self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.io_loop.add_callback(self.close)

    def _is_at_fin(self) -> bool:
        try:
            return not socket.socket.recv(self.socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    def _note_half_close(self) -> None:
        """The client has ended its side, with no read waiting: it may still want its response.

        A FIN has two causes, which look the same (RFC 9293 §3.6): `shutdown`, after which a client
        reads on, and `close`, after which it answers our next bytes with a reset.
        """
        self.half_closed = True
        # The socket stays readable, so the event loop would call us in an endless loop.
        self.io_loop.asyncio_loop.remove_reader(self.socket.fileno())  # type: ignore[attr-defined]
        self._report_half_close()

    def set_half_close_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client ends its side before the request has ended.

        It sends something that the client ignores, to learn whether the client still reads.
        """
        self._on_half_close = callback
        if self.half_closed:
            self.io_loop.add_callback(self._report_half_close)

    def _report_half_close(self) -> None:
        callback, self._on_half_close = self._on_half_close, None
        if callback is not None and not self.closed():
            callback()
            self.io_loop.add_callback(self.close_if_reset)  # at once on the same machine

    def unread(self, data: bytes) -> None:
        """Put back `data`, the result of the last read, for the next reader."""
        self._unread = data + self._unread

    def _read_unread(self, buf: bytearray | memoryview) -> int:
        part, self._unread = self._unread[: len(buf)], self._unread[len(buf) :]
        buf[: len(part)] = part
        return len(part)

    # --- out -------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        self._fast_send = None  # later pushes must not overtake this write
        return super().write(data)

    def write_to_fd(self, data: memoryview) -> int:
        # Copied first: Tornado can remove written data from its buffer at once.
        copied = bytes(data) if self._tap is not None else b""
        count = super().write_to_fd(data)
        self.bytes_out += count
        if copied:
            self._copy_to_tap("down", copied[:count])
        return count

    def set_nodelay(self, value: bool) -> None:
        """Leave Nagle's algorithm off; Tornado would turn it on and off for each response."""

    def close_fd(self) -> None:
        if self._tap is not None:
            self._tap.closed(self.connection_id)
        self._fast_send = None
        reading = self._direct_read
        if reading is not None and not reading.done() and self._read_future is None:
            reading.set_exception(StreamClosedError(real_error=self.error))
        self._traffic.closed(self)
        super().close_fd()

    def push(self, data: bytes, events: int) -> bool:
        """Write all of `data`, straight to the socket, or nothing while an older write is pending.

        What the kernel does not accept at once waits in the stream's own buffer, as a view of
        `data`: a thousand slow readers of one push share its bytes.  `drained` is called when it
        has left.
        """
        send = self._fast_send or self._find_fast_send()
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

    def _find_fast_send(self) -> Callable[[bytes], int] | None:
        """Find, and keep, the function that sends to the socket; None while a write is pending."""
        if self.writing() or self.closed():
            self._fast_send = None
        else:
            self._fast_send = self._find_send() if self._tap is None else self._send_and_tap
        return self._fast_send

    def _find_send(self) -> Callable[[bytes], int]:
        """Return what sends to the socket, or raises BlockingIOError if it accepts nothing."""
        return self.socket.send

    def _send_and_tap(self, data: bytes) -> int:
        sent = self._find_send()(data)
        self._copy_to_tap("down", data[:sent])
        return sent

    async def flush(self) -> None:
        """Return when all written data has left, or the connection has closed."""
        if self.writing():
            with suppress(StreamClosedError):
                await self.write(b"")

    def call_when_drained(self) -> None:
        """Call `drained` when all pending data has left; once, however often requested."""
        if not self._awaiting_drain and not self.closed():
            self._awaiting_drain = True
            # A write of nothing completes after everything that was written before it.
            self.write(b"").add_done_callback(self._on_drained)

    def _on_drained(self, written: "asyncio.Future[None]") -> None:
        self._awaiting_drain = False
        if self.drained and not written.cancelled() and written.exception() is None:
            self.drained()

    # --- requests --------------------------------------------------------------------------------

    def set_remote_ip(self, address: str, limits: Limits) -> None:
        """Serve the client at `address` from now on, as a trusted proxy said.

        `over_limit` becomes true if that client has too many connections.
        """
        self.address = address
        self._traffic.set_address(self, address)
        self.over_limit = not self._traffic.admits(address, limits, counted=True)

    @property
    def local_address(self) -> tuple[str, int]:
        """The local host and port of the connection; empty after it has closed."""
        if self.closed():
            return "", 0
        host, port, *_ = self.socket.getsockname()
        return host, port

    def begin_request(self, transport: str, client: str | None) -> None:
        """Count for this transport and client from now on, with the header section just read."""
        self._traffic.begin_request(self, transport, client)
        self.in_request = True
        if self._trace_buffer:
            data, self._trace_buffer = self._trace_buffer, b""
            self._copy_to_tap("up", data, is_head=True)

    def trace(self, tap: Tap, data: bytes) -> None:
        """Copy to `tap` the request that starts with `data`, and its response."""
        self._tap, self._fast_send = tap, None
        self._trace_buffer = data
        self._redactor = Redactor()

    def _copy_to_tap(self, direction: Direction, data: bytes, *, is_head: bool = False) -> None:
        assert self._tap is not None
        assert self._redactor is not None
        if self._trace_buffer:  # the transport is not known before `begin_request`
            self._trace_buffer += data
            return
        if direction == "up":
            redact = self._redactor.redact_head if is_head else self._redactor.redact
            data = redact(data)
            if not data:  # of the next request, or the start of a compressed message, which is held
                return
        self._tap.copy(self.connection_id, self.transport, direction, data)

    def end_request(self) -> None:
        """Mark the request as answered: what is read from now on belongs to the next one.

        Pending writes still belong to this one: a server never answers two requests at once.
        """
        self.in_request = False
        self._on_half_close = None
        if self.shared:
            self._traffic.set_address(self, None)
        self._answered_bytes = self.bytes_in
        self._idle_since = time.monotonic()

    @property
    def request_bytes_in(self) -> int:
        """Bytes received for known requests; the transport of later bytes is not known yet."""
        return self.bytes_in if self.in_request else self._answered_bytes

    # --- timeouts --------------------------------------------------------------------------------

    def is_in_time(self, now: float, idle_seconds: float) -> bool:
        """Return True if no timeout of this stream can have passed, as for nearly all streams.

        One call instead of seven, once a second for each: that is a tenth of a short poll.
        """
        if self.writing() or self._write_progress[0] is not None or self.half_closed:
            return False
        received_nothing = self.bytes_in == self._answered_bytes
        if not self.in_request and not (received_nothing and now - self._idle_since < idle_seconds):
            return False
        self._read_started = self._answered_bytes, now
        return True

    def write_stalled_seconds(self, now: float) -> float:
        """How long the peer has accepted none of the pending data; exact to one check."""
        accepted = self.bytes_out - self._unacknowledged_bytes() if self.writing() else None
        if accepted is None or accepted != self._write_progress[0]:
            self._write_progress = accepted, now
        return now - self._write_progress[1]

    def _unacknowledged_bytes(self) -> int:
        """Bytes that the kernel holds.

        It accepts more only when a third of its buffer is free, so without this count a client
        that reads a little each second would look like one that reads nothing.
        """
        count = array("i", [0])
        fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, count)
        return count[0]

    def request_read_seconds(self, now: float) -> float:
        """How long a request has been incomplete since its first byte; exact to one check."""
        between = self.in_request or self.bytes_in == self._answered_bytes
        if between or self._answered_bytes != self._read_started[0]:
            self._read_started = self._answered_bytes, now
        return now - self._read_started[1]

    def idle_seconds(self, now: float) -> float:
        """How long no request has arrived, with no response pending."""
        received_nothing = self.bytes_in == self._answered_bytes
        idle = not self.in_request and received_nothing and not self.writing()
        return now - self._idle_since if idle else 0.0


class MeteredTLSStream(MeteredStream, SSLIOStream):
    """The same over TLS, where a push encrypts a record for each client.

    It counts what TLS carries: the records, their padding and the handshake are between OpenSSL and
    the kernel.
    """

    # Also for the first part of a record.
    _nothing_arrived = SSLWantReadError

    def _can_read_directly(self) -> bool:
        # Tornado makes the handshake, within the first read.
        return not self._ssl_accepting and super()._can_read_directly()

    def _find_send(self) -> Callable[[bytes], int]:
        return self._send_records

    def _send_records(self, data: bytes) -> int:
        try:
            return self.socket.send(data)
        except SSLWantWriteError:
            # OpenSSL has encrypted some of `data` and insists on the same bytes in its next call
            # (SSL_write(3)): `push` writes all of them, before anything else.
            raise BlockingIOError from None
