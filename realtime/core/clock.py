"""The clock of leases and of history: it measures how long we could serve, not what time it is.

A wall clock steps: an administrator or NTP sets it, and a machine that wakes up finds hours gone.
A lease that ends by such a clock ends although nobody had a chance to renew it.  This clock is
monotonic, and a pause of the process or of the machine counts as a few seconds at most.
"""

import asyncio
import time
from collections.abc import Callable

# The longest pause that counts in full.  A busy event loop may be late by a second.
_MAX_PAUSE_SECONDS, _MIN_PAUSE_SECONDS = 5.0, 0.5


class SteadyClock:
    """Seconds that passed between calls of `advance_to`, each pause cut to a sixth of a lease.

    Members renew after a third of their lease, so a pause leaves them time to do it.
    """

    def __init__(self, lease_seconds: float, source: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._max_pause = max(_MIN_PAUSE_SECONDS, min(_MAX_PAUSE_SECONDS, lease_seconds / 6))
        self._value = 0.0
        self._advanced_at = source()

    @property
    def tick_seconds(self) -> float:
        """How often `advance_to` must be called, or the clock falls behind."""
        return self._max_pause / 2

    def now(self) -> float:
        return self._value + min(self._source() - self._advanced_at, self._max_pause)

    def advance_to(self, value: float) -> None:
        """Continue from `value`, or from `now` if that is later."""
        self._value = max(value, self.now())
        self._advanced_at = self._source()

    async def run(self) -> None:
        """Advance by the time that passes, forever."""
        while True:
            await asyncio.sleep(self.tick_seconds)
            self.advance_to(0)
