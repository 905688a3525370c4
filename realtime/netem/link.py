"""One direction of one connection: when may which bytes continue?

A link queues packets as they were read and returns each one when it is due: half a round trip
later, or later still.

    enqueue ─▶ │ paced by the rate │ half a round trip, and jitter │ stalls │ ─▶ pop_due

`Link` is TCP, and `DatagramLink` is UDP: they differ in what a loss does.  A lost datagram never
arrives.  TCP sends a lost segment again, and keeps what follows until the gap is filled (RFC 9293
§2.2): head-of-line blocking.  A segment that leaves at time t and is lost is sent again

- one round trip after s, if a later segment leaves at s and arrives: its acknowledgement shows the
  gap.  But not before t + 5/4 rtt, since the segment may only be late (RFC 8985 §6.2);
- or earlier, when the timer runs out, after RTO = SRTT + max(4 RTTVAR, 200 ms) (RFC 6298 §2; the
  200 ms are Linux's).  It starts at t, or with the last acknowledgement before the gap (§5.3);
- if it is lost again, after another RTO, twice as long each next time (§5.5).  What the first timer
  sends is only a probe, which does not double it (RFC 8985 §7).

So a loss costs a round trip where more data follows at once, and a timeout where none does.
`tests/netem/test_calibration.py` compares this with the TCP of the kernel.

A lost acknowledgement costs nothing, since the next one includes it.  There is no congestion
window, with or without loss.  So this is too good for a stream that has many segments on their way,
or loses more than about 5%: there the small window after a loss delays more than the loss itself.

Pure: time is passed in, as seconds of any monotonic clock.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple

from realtime.netem.conditions import NetworkConditions

# The payload of a TCP segment over Ethernet: 1500 bytes without the headers of IP and TCP.
SEGMENT_BYTES = 1460
# The memory a segment needs besides its bytes; else a thousand of one byte would count as 1 kB.
SEGMENT_OVERHEAD = 128
# The least part of the timeout that stands for variation (TCP_RTO_MIN of Linux).
_MIN_VARIATION = 0.2
# The longest timeout (TCP_RTO_MAX of Linux); RFC 6298 §2.5 asks for a minute or more.
_MAX_TIMEOUT = 120.0
# The timeout of a SYN, before a round trip was measured (RFC 6298 §2.1).
_SYN_TIMEOUT = 1.0
# The part of a round trip by which a segment may be late without being lost (RFC 8985 §6.2).
_REORDERING_WINDOW = 1 / 4


class End(Enum):
    """How one side ends its direction; it travels behind the bytes, as a packet does."""

    FIN = "it sends no more, and may still receive"
    RESET = "its connection is gone"


Segment = bytes | End


def handshake_seconds(network: NetworkConditions, random: Random) -> float:
    """Return how long the first byte waits for SYN and SYN-ACK: a round trip.

    If either is lost, the client sends its SYN again after 1 s, then after 2 s more, and so on.
    """
    either = 1 - (1 - network.loss) ** 2
    return network.rtt + _timeouts(_SYN_TIMEOUT, _count_losses(either, random))


class _Path:
    """What both kinds of links share: the sender's pace, and the way to the receiver.

    `opened` is when the first byte may leave; `random` makes jitter, losses and late datagrams.
    """

    def __init__(self, opened: float, random: Random) -> None:
        self._random = random
        self._sent_at = opened  # when the last byte has left the sender

    def _leave(self, size: int, network: NetworkConditions, now: float) -> float:
        """Return when the last of `size` bytes leaves the sender."""
        self._sent_at = max(self._sent_at, now)
        if network.rate:
            self._sent_at += size / network.rate
        return self._sent_at

    def _transit(self, network: NetworkConditions) -> float:
        return network.rtt / 2 + self._random.uniform(0, network.jitter)


# --- TCP -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _InFlight:
    """A segment, and when it arrives; nobody reads it before those in front of it are there."""

    segment: Segment
    due: float


class _Missing(NamedTuple):
    """A lost segment that only the timer will send again, until another one shows the gap.

    It was sent at `sent`, and arrives `rest` seconds after it is sent again: that includes further
    losses.
    """

    flight: _InFlight
    sent: float
    rest: float
    network: NetworkConditions


class Link(_Path):
    """The segments on their way in one direction, and when each of them arrives.

    `held` is the memory in use: the reader that feeds the link pauses before it grows too large.
    """

    def __init__(self, opened: float, random: Random) -> None:
        super().__init__(opened, random)
        self.held = 0
        self._flights: deque[_InFlight] = deque()
        self._missing: list[_Missing] = []
        self._last_due = opened  # when the last byte was due that has left the link
        self._acknowledged = opened  # when the sender learns that the last segment has arrived

    def enqueue(self, data: bytes, network: NetworkConditions, now: float) -> None:
        """Send `data`, in segments if they are paced or can be lost: not as a whole."""
        size = SEGMENT_BYTES if network.rate or network.loss else max(len(data), 1)
        for start in range(0, len(data), size):
            self._add(data[start : start + size], network, now)

    def enqueue_end(self, end: End, network: NetworkConditions, now: float) -> None:
        """Send an end, behind everything that was enqueued before."""
        self._add(end, network, now)

    def pop_due(self, now: float) -> Segment | None:
        """Return the next segment that is due; None if there is none."""
        due = self.next_due
        if due is None or due > now:
            return None
        self._last_due = due
        segment = self._flights.popleft().segment
        self.held -= _memory(segment)
        return segment

    @property
    def next_due(self) -> float | None:
        """When the next segment is due; None if the link is empty.  A later one can change it."""
        # TCP delivers in order: a late segment delays those behind it.
        return max(self._last_due, self._flights[0].due) if self._flights else None

    def clear(self) -> None:
        """Drop everything that is on its way."""
        self._flights.clear()
        self._missing.clear()
        self.held = 0

    def _add(self, segment: Segment, network: NetworkConditions, now: float) -> None:
        sent = self._leave(len(segment) if isinstance(segment, bytes) else 0, network, now)
        transit = self._transit(network)
        flight = _InFlight(segment, network.after_stall(sent + transit))
        # Nobody sends a RST again.
        losses = 0 if segment is End.RESET else _count_losses(network.loss, self._random)
        if losses:
            timeout = _timeout(network)
            rest = _timeouts(timeout, losses - 1) + transit
            timer = max(sent, self._acknowledged) + timeout
            flight.due = network.after_stall(timer + rest)
            self._missing.append(_Missing(flight, sent, rest, network))
        else:
            self._show_gaps(sent)
            self._acknowledged = sent + network.mean_rtt
        self._flights.append(flight)
        self.held += _memory(segment)

    def _show_gaps(self, sent: float) -> None:
        """A segment that leaves at `sent` arrives: its acknowledgement shows what is missing."""
        for flight, lost, rest, network in self._missing:
            window = network.mean_rtt * _REORDERING_WINDOW
            again = max(sent, lost + window) + network.mean_rtt
            flight.due = min(flight.due, network.after_stall(again + rest))
        self._missing.clear()


def _memory(segment: Segment) -> int:
    return SEGMENT_OVERHEAD + (len(segment) if isinstance(segment, bytes) else 0)


def _count_losses(probability: float, random: Random) -> int:
    """Return how many times in a row a packet is lost."""
    losses = 0
    while probability and random.random() < probability:
        losses += 1
    return losses


def _timeout(network: NetworkConditions) -> float:
    """Return the retransmission timeout, without losses before: SRTT + 4 RTTVAR (RFC 6298 §2.3).

    RTTVAR is the mean deviation of a round trip.  It has two delays, each between 0 and `jitter`
    with equal probability: their sum deviates from its mean by a third of `jitter`, on average.
    """
    return network.mean_rtt + max(_MIN_VARIATION, 4 * network.jitter / 3)


def _timeouts(first: float, times: int) -> float:
    """Return how long a timer runs that expires `times` times; each time it is doubled."""
    return math.fsum(min(first * 2.0**number, _MAX_TIMEOUT) for number in range(times))


# --- UDP -----------------------------------------------------------------------------------------


class DatagramLink(_Path):
    """The datagrams on their way in one direction, and when each of them arrives.

    Jitter keeps the order here as well: it is the delay of a queue, which is first in, first out.
    With `reorder` a datagram takes a path that is twice as long, and those behind it do not wait.

    `held` is the memory in use: whoever feeds the link drops datagrams before it grows too large.
    """

    def __init__(self, opened: float, random: Random) -> None:
        super().__init__(opened, random)
        self.held = 0
        self._flights: list[tuple[float, int, bytes]] = []  # a heap, by the time when it is due
        self._numbers = count()  # what is due at the same time keeps its order
        self._last_due = opened  # of those in order

    def enqueue(self, data: bytes, network: NetworkConditions, now: float) -> None:
        """Send a datagram, which may be lost."""
        due = self._leave(len(data), network, now) + self._transit(network)
        if self._happens(network.loss):
            return
        if self._happens(network.reorder):
            due = network.after_stall(due + network.rtt / 2)
        else:
            due = self._last_due = max(self._last_due, network.after_stall(due))
        heappush(self._flights, (due, next(self._numbers), data))
        self.held += _memory(data)

    def pop_due(self, now: float) -> bytes | None:
        """Return the next datagram that is due; None if there is none."""
        if not self._flights or self._flights[0][0] > now:
            return None
        _, _, data = heappop(self._flights)
        self.held -= _memory(data)
        return data

    @property
    def next_due(self) -> float | None:
        """When the next datagram is due; None if the link is empty."""
        return self._flights[0][0] if self._flights else None

    def clear(self) -> None:
        """Drop everything that is on its way."""
        self._flights.clear()
        self.held = 0

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability
