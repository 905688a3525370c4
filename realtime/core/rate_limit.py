"""How often a client may publish: a token bucket per client.

Pure: time is passed in, as seconds of any monotonic clock.
"""

import math

from realtime.errors import TooFast


class RateLimiter:
    """A token bucket per client: `burst` at once, `rate` per second in the long run."""

    # Far above the connections of one process.  A full bucket needs no entry.
    _PRUNE_AT = 20_000

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1)
        self._buckets: dict[str, tuple[float, float]] = {}  # client: (tokens, when counted)

    def acquire(self, client: str, now: float) -> None:
        """Take one token; raises `TooFast` if the bucket is empty."""
        if self._rate <= 0:
            return
        tokens = self._tokens(client, now)
        if tokens < 1:
            # A Retry-After is whole seconds (RFC 9110 §10.2.3), and 0 would mean "at once".
            wait = math.ceil((1 - tokens) / self._rate)
            raise TooFast(
                f"Send at most {self._rate:g} messages per second; wait and retry.",
                retry_after=wait,
            )
        if len(self._buckets) >= self._PRUNE_AT:
            self._remove_full(now)
        self._buckets[client] = (tokens - 1, now)

    def _tokens(self, client: str, now: float) -> float:
        tokens, counted = self._buckets.get(client, (self._burst, now))
        return min(self._burst, tokens + (now - counted) * self._rate)

    def _remove_full(self, now: float) -> None:
        full = [client for client in self._buckets if self._tokens(client, now) >= self._burst]
        for client in full:
            del self._buckets[client]
