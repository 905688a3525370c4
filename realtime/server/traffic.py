"""How many connections, requests, events and bytes each transport used, in total and per client.

A stream counts its own bytes; they are added to the counters of a transport when the stream begins
another request, closes, or when somebody asks for a report.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import count as counting
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime.server.stream import MeteredStream

# Clients whose counts are kept: the latest, as many as one process may have open.
_CLIENTS_KEPT = 10_000
# The row of what belongs to no request: garbage, and connections that asked nothing.
OTHER = "other"


@dataclass(slots=True)
class Counters:
    """What is counted of one transport."""

    connections: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    events: int = 0


class TrafficStats:
    """The books: counts per transport since the start, and the same per client."""

    def __init__(self) -> None:
        self.streams: set[MeteredStream] = set()
        self.addresses: Counter[str] = Counter()
        self._books: dict[str, Counters] = {}
        self._clients: OrderedDict[str, dict[str, Counters]] = OrderedDict()
        self.next_number = counting(1).__next__  # of a connection

    def report(self, client: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Give the counts per transport, of everybody or of one client, up to this moment."""
        for stream in self.streams:
            self.flush_counts(stream)
        books = self._books if client is None else self._clients.get(client, {})
        open_now = Counter(s.transport for s in self.streams if client in (None, s.client))
        return {
            transport: {"open": open_now[transport]} | asdict(row)
            for transport, row in books.items()
        }

    # --- what a stream tells ---------------------------------------------------------------------

    def opened(self, stream: "MeteredStream") -> None:
        self.streams.add(stream)
        if not stream.shared:
            self.count(stream, stream.address)

    def count(self, stream: "MeteredStream", address: str | None) -> None:
        """Count it as one of this address, and no more as one of another; None is nobody's."""
        if stream.counted_as is not None:
            self.addresses[stream.counted_as] -= 1
            if not self.addresses[stream.counted_as]:
                del self.addresses[stream.counted_as]
        stream.counted_as = address
        if address is not None:
            self.addresses[address] += 1

    def begin_request(self, stream: "MeteredStream", transport: str, client: str | None) -> None:
        another_client = client != stream.client
        another = transport != stream.transport
        if another or another_client:
            self.flush_counts(stream)
            stream.transport, stream.client = transport, client
        _begin(self._book(transport), another)
        if client is not None:
            _begin(self._client_book(stream, client), another or another_client)

    def flush_counts(self, stream: "MeteredStream") -> None:
        """Enter what a stream counted since the last time."""
        if stream not in self.streams:  # closed, and settled then
            return
        now = stream.claimed, stream.bytes_out, stream.events
        if now == stream.settled:
            return
        (bytes_in, bytes_out, events), stream.settled = stream.settled, now
        counts = now[0] - bytes_in, now[1] - bytes_out, now[2] - events
        _enter(self._book(stream.transport), *counts)
        if stream.client is not None:
            _enter(self._client_book(stream, stream.client), *counts)

    def closed(self, stream: "MeteredStream") -> None:
        if stream not in self.streams:  # one that was refused, or closed before
            return
        self.flush_counts(stream)
        self._book(OTHER).bytes_in += stream.bytes_in - stream.claimed
        self.streams.remove(stream)
        self.count(stream, None)

    def _client_book(self, stream: "MeteredStream", client: str) -> Counters:
        book = self._clients.setdefault(client, {})
        self._clients.move_to_end(client)
        if len(self._clients) > _CLIENTS_KEPT:
            self._clients.popitem(last=False)
        return _row(book, stream.transport)

    def _book(self, transport: str) -> Counters:
        return _row(self._books, transport)


def _row(book: dict[str, Counters], transport: str) -> Counters:
    row = book.get(transport)
    if row is None:
        row = book[transport] = Counters()
    return row


def _begin(row: Counters, another: bool) -> None:
    row.requests += 1
    row.connections += another


def _enter(row: Counters, bytes_in: int, bytes_out: int, events: int) -> None:
    row.bytes_in += bytes_in
    row.bytes_out += bytes_out
    row.events += events
