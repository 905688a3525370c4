"""Bytes, counted where they cross the socket, below every transport.

Every accepted connection gets a stream that counts both ways: heads, chunk borders and frame heads
included.  A request says which transport the connection carries from then on, and for whom; the
bytes of its own head, which were read before anybody could know, are counted with it.
"""

import asyncio
import fcntl
import socket
import termios
from array import array
from collections import Counter, OrderedDict
from collections.abc import Mapping

from tornado.iostream import IOStream

# Clients whose counts are kept: the latest, as many as one process may have open.
_CLIENTS_KEPT = 10_000
# The row of what belongs to no request: garbage, and connections that asked nothing.
OTHER = "other"
# Bytes of one read.  A request is far smaller, and the buffer is made anew for each read.
READ_BYTES = 16_384
# Bytes that may wait to be read: above Tornado's 64 KiB for a head and our own for a frame.
_UNREAD_BYTES = 262_144


class CountedStream(IOStream):
    """A connection that counts its bytes, and takes pushes without a future for each."""

    def __init__(self, connection: socket.socket, address: str, ledger: "Ledger") -> None:
        super().__init__(connection, max_buffer_size=_UNREAD_BYTES, read_chunk_size=READ_BYTES)
        self.address = address
        self.bytes_in = self.bytes_out = self.events = 0
        self.transport = OTHER
        self.client: str | None = None
        self.asking = False  # a request is known, and being answered
        self._ledger = ledger
        self._answered = 0  # bytes that had come when the last request was answered
        # What the last look saw, and since when it has been so.
        now = asyncio.get_running_loop().time()
        self._moved: tuple[int | None, float] = None, now
        self._begun = 0, now

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count = super().read_from_fd(buf)
        self.bytes_in += count or 0
        return count

    def write_to_fd(self, data: memoryview) -> int:
        count = super().write_to_fd(data)
        self.bytes_out += count
        return count

    def close_fd(self) -> None:
        self._ledger.closed(self)
        super().close_fd()

    def push(self, data: bytes, events: int) -> bool:
        """Write all of `data`, straight to the socket, or nothing while an older write waits.

        What the kernel does not take at once waits in the stream's own buffer, as a view of
        `data`: a thousand slow readers of one push share its bytes.
        """
        if self.writing() or self.closed():
            return False
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(exc_info=error)
            return False
        self.bytes_out += sent
        self.events += events
        if sent < len(data):
            self.write(memoryview(data)[sent:])
        return True

    def carry(self, transport: str, client: str | None) -> None:
        """Count for this transport and client from now on, with the head that was just read."""
        self._ledger.carry(self, transport, client)
        self.asking = True

    def rest(self) -> None:
        """Say that the request is answered: what is read from now on belongs to the next one.

        What is still to be written belongs to this one: a server never answers two at once.
        """
        self._ledger.settle(self)
        self.asking = False
        self._answered = self.bytes_in

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
        if self.asking or self.bytes_in == self._answered or self._answered != self._begun[0]:
            self._begun = self._answered, now
        return now - self._begun[1]


class Ledger:
    """The books: counts per transport since the start, and the same per client."""

    def __init__(self) -> None:
        self.streams: set[CountedStream] = set()
        self.addresses: Counter[str] = Counter()
        self._books: dict[str, Counter[str]] = {}
        self._clients: OrderedDict[str, dict[str, Counter[str]]] = OrderedDict()
        self._settled: dict[CountedStream, Counter[str]] = {}

    def report(self, client: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Give the counts per transport, of everybody or of one client, up to this moment."""
        for stream in self.streams:
            self.settle(stream)
        books = self._books if client is None else self._clients.get(client, {})
        open_now = Counter(s.transport for s in self.streams if client in (None, s.client))
        names = ("connections", "requests", "bytes_in", "bytes_out", "events")
        return {
            transport: {"open": open_now[transport]} | {name: counts[name] for name in names}
            for transport, counts in books.items()
        }

    # --- what a stream tells ---------------------------------------------------------------------

    def opened(self, stream: CountedStream) -> None:
        self.streams.add(stream)
        self.addresses[stream.address] += 1
        self._settled[stream] = Counter()

    def carry(self, stream: CountedStream, transport: str, client: str | None) -> None:
        self.settle(stream)
        another = transport != stream.transport
        stream.transport = transport
        self._book(transport).update(requests=1, connections=int(another))
        another = another or client != stream.client
        stream.client = client
        if client is not None:
            self._client_book(stream, client).update(requests=1, connections=int(another))

    def settle(self, stream: CountedStream) -> None:
        """Enter what a stream counted since the last time."""
        if stream not in self.streams:  # closed, and settled then
            return
        settled = self._settled[stream]
        counted = Counter(bytes_out=stream.bytes_out, events=stream.events)
        # Between two requests nobody knows yet whose the incoming bytes are.
        counted["bytes_in"] = stream.bytes_in if stream.asking else settled["bytes_in"]
        self._settled[stream] = counted
        self._enter(stream, counted - settled)

    def closed(self, stream: CountedStream) -> None:
        if stream not in self.streams:  # one that was refused, or closed before
            return
        self.settle(stream)
        if not stream.asking:
            unclaimed = stream.bytes_in - self._settled[stream]["bytes_in"]
            self._book(OTHER)["bytes_in"] += unclaimed
        self.streams.remove(stream)
        self.addresses[stream.address] -= 1
        del self._settled[stream]

    def _enter(self, stream: CountedStream, counts: Counter[str]) -> None:
        self._book(stream.transport).update(counts)
        if stream.client is not None:
            self._client_book(stream, stream.client).update(counts)

    def _client_book(self, stream: CountedStream, client: str) -> Counter[str]:
        book = self._clients.setdefault(client, {})
        self._clients.move_to_end(client)
        if len(self._clients) > _CLIENTS_KEPT:
            self._clients.popitem(last=False)
        return book.setdefault(stream.transport, Counter())

    def _book(self, transport: str) -> Counter[str]:
        return self._books.setdefault(transport, Counter())
