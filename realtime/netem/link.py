"""One direction of one connection: when may which bytes continue?

A link queues segments as they were read and returns each one when it is due: half a round trip
later, and never before the segment in front of it.

    enqueue ─▶ │ paced by the rate │ half a round trip, and jitter │ stalls │ ─▶ pop_due

Pure: time is passed in, as seconds of any monotonic clock.
"""

from collections import deque
from enum import Enum
from random import Random

from realtime.netem.conditions import NetworkConditions

# The payload of a TCP segment over Ethernet: 1500 bytes without the headers of IP and TCP.
SEGMENT_BYTES = 1460
# The memory a segment needs besides its bytes; else a thousand of one byte would count as 1 kB.
SEGMENT_OVERHEAD = 128


class End(Enum):
    """How one side ends its direction; it travels behind the bytes, as a packet does."""

    FIN = "it sends no more, and may still receive"
    RESET = "its connection is gone"


Segment = bytes | End


class Link:
    """The segments on their way in one direction, and when each of them arrives.

    `opened` is when the first byte may leave; `random` makes the jitter.  `held` is the memory in
    use: the reader that feeds the link pauses before it grows too large.
    """

    def __init__(self, opened: float, random: Random) -> None:
        self.held = 0
        self._random = random
        self._segments: deque[tuple[float, Segment]] = deque()
        self._sent_at = opened  # when the last byte has left the sender
        self._last_due = opened  # when the last byte arrives

    def enqueue(self, data: bytes, network: NetworkConditions, now: float) -> None:
        """Send `data`; with a rate it is cut into segments, so that the pace is smooth."""
        size = SEGMENT_BYTES if network.rate else max(len(data), 1)
        for start in range(0, len(data), size):
            self._add(data[start : start + size], network, now)

    def enqueue_end(self, end: End, network: NetworkConditions, now: float) -> None:
        """Send an end, behind everything that was enqueued before."""
        self._add(end, network, now)

    def pop_due(self, now: float) -> Segment | None:
        """Return the next segment that is due; None if there is none."""
        if self.next_due is None or self.next_due > now:
            return None
        _, segment = self._segments.popleft()
        self.held -= _memory(segment)
        return segment

    @property
    def next_due(self) -> float | None:
        """When the next segment is due; None if the link is empty."""
        return self._segments[0][0] if self._segments else None

    def clear(self) -> None:
        """Drop everything that is on its way."""
        self._segments.clear()
        self.held = 0

    def _add(self, segment: Segment, network: NetworkConditions, now: float) -> None:
        self._sent_at = max(self._sent_at, now)
        if network.rate and isinstance(segment, bytes):
            self._sent_at += len(segment) / network.rate
        delay = network.rtt / 2 + self._random.uniform(0, network.jitter)
        # TCP delivers in order: a late segment delays those behind it (head-of-line blocking).
        self._last_due = network.after_stall(max(self._last_due, self._sent_at + delay))
        self._segments.append((self._last_due, segment))
        self.held += _memory(segment)


def _memory(segment: Segment) -> int:
    return SEGMENT_OVERHEAD + (len(segment) if isinstance(segment, bytes) else 0)
