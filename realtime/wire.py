"""Bytes, counted where they cross the socket, below every transport.

Every accepted connection gets a stream that counts both ways: heads, chunk borders and frame heads
included.  A request says which transport the connection carries from then on, and for whom; the
bytes of its own head, which were read before anybody could know, are counted with it.
"""

import asyncio
import socket
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from realtime.errors import Busy
from realtime.limits import Limits

# Clients whose counts are kept: the latest, as many as one process may have open.
_CLIENTS_KEPT = 10_000
# The row of what belongs to no request: garbage, and connections that asked nothing.
_OTHER = "other"
# Bytes of one read.  A request is far smaller, and the buffer is made anew for each read.
_READ_BYTES = 16_384
# Bytes that may wait to be read: above Tornado's 64 KiB for a head and our own for a frame.
_UNREAD_BYTES = 262_144
# Seconds that a connection above the limit gets to say its request, so that it reads our answer.
_REFUSE_SECONDS = 2.0


class CountedStream(IOStream):
    """A connection that counts its bytes, and takes pushes without a future for each."""

    def __init__(self, connection: socket.socket, address: str, ledger: "Ledger") -> None:
        super().__init__(connection, max_buffer_size=_UNREAD_BYTES, read_chunk_size=_READ_BYTES)
        self.address = address
        self.bytes_in = self.bytes_out = self.events = 0
        self.transport = _OTHER
        self.client: str | None = None
        self.asking = False  # a request is being read or answered
        self._ledger = ledger

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
            self._book(_OTHER)["bytes_in"] += unclaimed
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


class CountedServer(HTTPServer):
    """Tornado's HTTP server over counted streams, with a bound on open connections."""

    def initialize(  # type: ignore[override]  # Tornado's Configurable takes its arguments here
        self, application: Any, ledger: Ledger, limits: Limits
    ) -> None:
        # A head is at most 64 KiB by Tornado's default; a body is ours to bound.
        super().initialize(application, chunk_size=_READ_BYTES, max_body_size=limits.body_bytes)
        self._ledger = ledger
        self._limits = limits
        self._refusals: set[asyncio.Task[None]] = set()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        # The plain stream has not begun to read; its socket gets a stream that counts.
        counted = CountedStream(stream.socket, str(address[0]), self._ledger)
        counted.set_nodelay(True)  # Nagle waits for a full segment: 12-42 ms at p99 on a stream
        if self._full(counted.address):
            task = asyncio.create_task(_refuse(counted))
            self._refusals.add(task)
            task.add_done_callback(self._refusals.discard)
        else:
            self._ledger.opened(counted)
            super().handle_stream(counted, address)

    def _full(self, address: str) -> bool:
        limits = self._limits
        return (
            len(self._ledger.streams) >= limits.connections
            or self._ledger.addresses[address] >= limits.connections_per_address
        )


async def _refuse(stream: CountedStream) -> None:
    """Answer the first request of a connection above the limit, and close it."""
    body = Busy("Too many connections are open; close some, or come back.").json
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Retry-After: 10\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(_REFUSE_SECONDS):
            await stream.read_until(b"\r\n\r\n", max_bytes=_READ_BYTES)
            await stream.write(head.encode() + body)
    except (StreamClosedError, UnsatisfiableReadError, TimeoutError):
        pass
    finally:
        stream.close()
