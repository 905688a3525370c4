"""One direction of one connection: when may which bytes go on?

A line takes pieces as they were read and gives each back when it is due: after half a round trip,
and never before the piece in front of it.

    put ─▶ │ paced by the rate │ half a round trip, and jitter │ not while it stalls │ ─▶ take

Pure: time is passed in, as seconds of any monotonic clock.
"""

from collections import deque
from enum import Enum
from random import Random

from realtime.netem.conditions import NetworkConditions

# What a TCP segment carries over Ethernet: 1500 bytes without the heads of IP and TCP.
SEGMENT = 1460
# What a piece costs in memory besides its bytes, or a thousand of one byte would count as 1 kB.
PIECE_COST = 128


class End(Enum):
    """How a side ends what it has to say; it travels behind the bytes, as a packet does."""

    FIN = "it says no more, and may still listen"
    RESET = "it is gone"


Piece = bytes | End


class Link:
    """The pieces on their way in one direction, and when each of them arrives.

    `opened` is when the first byte may set out; `random` makes the jitter.  `held` is the memory
    in use, and whoever feeds the line stops in time.
    """

    def __init__(self, opened: float, random: Random) -> None:
        self.held = 0
        self._random = random
        self._pieces: deque[tuple[float, Piece]] = deque()
        self._free = opened  # when the last byte has left the sender
        self._last = opened  # when the last byte arrives

    def put(self, data: bytes, network: NetworkConditions, now: float) -> None:
        """Send `data` on its way; with a rate in pieces so small that the pace is smooth."""
        size = SEGMENT if network.rate else max(len(data), 1)
        for at in range(0, len(data), size):
            self._add(data[at : at + size], network, now)

    def end(self, end: End, network: NetworkConditions, now: float) -> None:
        """Send an end on its way, behind all that was put."""
        self._add(end, network, now)

    def take(self, now: float) -> Piece | None:
        """Give the next piece that is due, if there is one."""
        if self.due is None or self.due > now:
            return None
        _, piece = self._pieces.popleft()
        self.held -= _cost(piece)
        return piece

    @property
    def due(self) -> float | None:
        """When the next piece is due."""
        return self._pieces[0][0] if self._pieces else None

    def clear(self) -> None:
        """Forget what is on its way."""
        self._pieces.clear()
        self.held = 0

    def _add(self, piece: Piece, network: NetworkConditions, now: float) -> None:
        self._free = max(self._free, now)
        if network.rate and isinstance(piece, bytes):
            self._free += len(piece) / network.rate
        delay = network.rtt / 2 + self._random.uniform(0, network.jitter)
        # TCP gives bytes in order: one that is late holds up those behind it.
        self._last = network.after_stall(max(self._last, self._free + delay))
        self._pieces.append((self._last, piece))
        self.held += _cost(piece)


def _cost(piece: Piece) -> int:
    return PIECE_COST + (len(piece) if isinstance(piece, bytes) else 0)
