"""Rate limits: a token bucket per client, per connection, per address and per room.

Pure: time is passed in, as seconds of any monotonic clock.
"""

import math

from realtime.core.events import is_votes_room
from realtime.errors import TooFast
from realtime.limits import Limits

# An address, a connection and a room may send as much at once as they may in so many seconds.  A
# class behind one NAT that comes back from a network failure sends all its outboxes together.
BURST_SECONDS = 4.0
# A vote counts as so many messages.  The room of the votes keeps its last 1,000: so a projector
# that reads it once a second misses no vote, however many are sent.
VOTE_COST = 4


class RateLimiter:
    """A token bucket per key: `burst` at once, `rate` per second in the long run.

    `who` and `what` are the words of the error: "One client" may send at most so many "messages".
    """

    # Far above the connections of one process.  A full bucket needs no entry.
    _PRUNE_AT = 20_000

    def __init__(
        self, rate: float, burst: float, who: str = "One client", what: str = "messages"
    ) -> None:
        self._rate = rate
        self._burst = max(burst, 1)
        self._message = f"{who} may send at most {rate:g} {what} per second; wait and retry."
        self._buckets: dict[str, tuple[float, float]] = {}  # key: (tokens, when counted)

    def acquire(self, key: str, now: float) -> None:
        """Take one token; raises `TooFast` if the bucket is empty."""
        self.check(key, now)
        self.take(key, now)

    def check(self, key: str, now: float, cost: float = 1) -> None:
        """Raise `TooFast` if the bucket has fewer than `cost` tokens; take nothing."""
        if self._rate <= 0:
            return
        tokens, cost = self._tokens(key, now), min(cost, self._burst)
        if tokens < cost:
            # A Retry-After is whole seconds (RFC 9110 §10.2.3), and 0 would mean "at once".
            wait = math.ceil((cost - tokens) / self._rate)
            raise TooFast(self._message, retry_after=wait)

    def take(self, key: str, now: float, cost: float = 1) -> None:
        """Take `cost` tokens, after a `check`."""
        if self._rate <= 0:
            return
        if len(self._buckets) >= self._PRUNE_AT:
            self._remove_full(now)
        self._buckets[key] = (self._tokens(key, now) - min(cost, self._burst), now)

    def _tokens(self, key: str, now: float) -> float:
        tokens, counted = self._buckets.get(key, (self._burst, now))
        return min(self._burst, tokens + (now - counted) * self._rate)

    def _remove_full(self, now: float) -> None:
        full = [key for key in self._buckets if self._tokens(key, now) >= self._burst]
        for key in full:
            del self._buckets[key]


class MessageRates:
    """All rate limits of messages; a message counts for its client, connection, address and room.

    A client chooses its id, and can choose a new one for each message.  It cannot choose its
    connection and its address.  The limits of an address are those of a class behind one NAT; the
    limit of a room is higher, so that one address alone never uses it up.
    """

    def __init__(self, limits: Limits) -> None:
        def limiter(rate: float, who: str) -> RateLimiter:
            return RateLimiter(rate, BURST_SECONDS * rate, who)

        self._off = limits.messages_per_second <= 0
        self._client = RateLimiter(limits.messages_per_second, limits.message_burst)
        self._connection = limiter(limits.messages_per_second_per_connection, "One connection")
        self._address = limiter(limits.messages_per_second_per_address, "One address")
        self._room = limiter(limits.messages_per_second_per_room, "All clients of one room")

    def acquire(
        self, client: str | None, connection: str | None, address: str, room: str, now: float
    ) -> None:
        """Take a token of each bucket, or none; raises `TooFast` if one of them is empty.

        A vote takes `VOTE_COST`.  Without a client id, the address is the client.  `connection` is
        None for one that many clients share, such as a proxy's.
        """
        if self._off:
            return
        buckets = [
            (self._address, address),
            (self._client, client or address),
            (self._room, room),
        ]
        if connection is not None:
            buckets.append((self._connection, connection))
        cost = VOTE_COST if is_votes_room(room) else 1
        for limiter, key in buckets:
            limiter.check(key, now, cost)
        for limiter, key in buckets:
            limiter.take(key, now, cost)
