"""How many connections, requests, events and bytes each transport used, in total and per client.

A connection counts its own bytes.  They are added to the counters of a transport when it starts
another request, when it closes, and when a report is requested.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count as counting
from typing import Protocol

from realtime.limits import Limits

# Clients whose counters are kept: the latest, as many as one process can have connected.
_MAX_CLIENTS = 10_000
# The row for bytes that belong to no request: garbage, and connections that never sent one.
OTHER = "other"


@dataclass(slots=True)
class Counters:
    """The counters of one transport."""

    connections: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    events: int = 0


class CountedConnection(Protocol):
    """A connection over TCP or QUIC: what it has counted, and for whom."""

    transport: str
    client: str | None
    counted_address: str | None  # which has it in the statistics
    flushed: tuple[int, int, int]  # in the statistics already: bytes in, bytes out, events

    @property
    def address(self) -> str: ...
    @property
    def shared(self) -> bool: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def request_bytes_in(self) -> int:
        """Bytes received for known requests."""

    def close(self) -> None: ...


class TrafficStats:
    """Counters per transport since the start, and the same per client."""

    def __init__(self) -> None:
        self.streams: set[CountedConnection] = set()
        self.addresses: Counter[str] = Counter()
        self._totals: dict[str, Counters] = {}
        self._clients: OrderedDict[str, dict[str, Counters]] = OrderedDict()
        self.next_connection_id = counting(1).__next__

    def report(self, client: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Return the counters per transport up to now, of all clients or of one."""
        for stream in self.streams:
            self.flush_counts(stream)
        rows = self._totals if client is None else self._clients.get(client, {})
        open_now = Counter(s.transport for s in self.streams if client in (None, s.client))
        return {
            transport: {"open": open_now[transport]} | asdict(row)
            for transport, row in rows.items()
        }

    def report_each(self, clients: Sequence[str]) -> list[Mapping[str, Mapping[str, int]]]:
        """Return the counters of each of `clients` per transport, without the open connections."""
        for stream in self.streams:
            self.flush_counts(stream)
        found = (self._clients.get(client, {}) for client in clients)
        return [{transport: asdict(row) for transport, row in rows.items()} for rows in found]

    # --- called by connections -------------------------------------------------------------------

    def opened(self, stream: CountedConnection) -> None:
        self.streams.add(stream)
        if not stream.shared:
            self.set_address(stream, stream.address)

    def set_address(self, stream: CountedConnection, address: str | None) -> None:
        """Count `stream` as a connection of `address`, no longer of its last one; None for none."""
        if stream.counted_address is not None:
            self.addresses[stream.counted_address] -= 1
            if not self.addresses[stream.counted_address]:
                del self.addresses[stream.counted_address]
        stream.counted_address = address
        if address is not None:
            self.addresses[address] += 1

    def admits(self, address: str, limits: Limits, *, counted: bool = False) -> bool:
        """Return whether `address` may have one more connection, or keep one that is counted."""
        used, held = len(self.streams) - counted, self.addresses[address] - counted
        return limits.admits(held, limits.connections_per_address, used, limits.connections)

    def begin_request(self, stream: CountedConnection, transport: str, client: str | None) -> None:
        new_client = client != stream.client
        new_transport = transport != stream.transport
        if new_transport or new_client:
            self.flush_counts(stream)
            stream.transport, stream.client = transport, client
        _add_request(self._counters(transport), new_transport)
        if client is not None:
            _add_request(self._client_counters(stream, client), new_transport or new_client)

    def flush_counts(self, stream: CountedConnection) -> None:
        """Add what `stream` counted since the last flush."""
        if stream not in self.streams:  # it has closed, and was flushed then
            return
        now = stream.request_bytes_in, stream.bytes_out, stream.events
        if now == stream.flushed:
            return
        (bytes_in, bytes_out, events), stream.flushed = stream.flushed, now
        counts = now[0] - bytes_in, now[1] - bytes_out, now[2] - events
        _add_traffic(self._counters(stream.transport), *counts)
        if stream.client is not None:
            _add_traffic(self._client_counters(stream, stream.client), *counts)

    def closed(self, stream: CountedConnection) -> None:
        if stream not in self.streams:  # it was rejected, or has closed before
            return
        self.flush_counts(stream)
        self._counters(OTHER).bytes_in += stream.bytes_in - stream.request_bytes_in
        self.streams.remove(stream)
        self.set_address(stream, None)

    def _client_counters(self, stream: CountedConnection, client: str) -> Counters:
        rows = self._clients.setdefault(client, {})
        self._clients.move_to_end(client)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        return _row(rows, stream.transport)

    def _counters(self, transport: str) -> Counters:
        return _row(self._totals, transport)


def _row(rows: dict[str, Counters], transport: str) -> Counters:
    row = rows.get(transport)
    if row is None:
        row = rows[transport] = Counters()
    return row


def _add_request(row: Counters, new_connection: bool) -> None:
    row.requests += 1
    row.connections += new_connection


def _add_traffic(row: Counters, bytes_in: int, bytes_out: int, events: int) -> None:
    row.bytes_in += bytes_in
    row.bytes_out += bytes_out
    row.events += events
