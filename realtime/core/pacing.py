"""When to send what is new to many: at once if idle, in time slices, and after a pause.

A flush to many readers runs in time slices: after some milliseconds it lets the event loop serve
other callbacks once, and then continues where it stopped.  After a flush comes a cooldown; what
arrives during it goes out together.  So at most half of the time goes into flushing, the event loop
stays responsive, and the events of one cooldown cost one write per reader instead of one each.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

# A screen shows 60 frames a second: events within one frame are seen at the same time.
_FRAME_SECONDS = 1 / 60
# How long a flush may block the event loop, and how many sends it makes per check of the clock.
SLICE_SECONDS = 0.005
SENDS_PER_STEP = 32


class PacedFlush:
    """Runs flushes one at a time.

    `steps` yields wherever the event loop may run other callbacks.  `is_due` says whether another
    flush must follow.  `cost` is what a flush costs in all, as a multiple of its duration: a
    response to a poll brings the next request.
    """

    def __init__(
        self, steps: Callable[[], Iterator[None]], is_due: Callable[[], bool], cost: float = 1.0
    ) -> None:
        self._steps = steps
        self._is_due = is_due
        self._cost = cost
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._running: Iterator[None] | None = None
        self._next_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether no flush is running or scheduled."""
        return self._timer is None and self._running is None

    def run_soon(self) -> None:
        """Flush at once when idle, otherwise after the cooldown of the last flush."""
        if self.idle:
            loop = asyncio.get_running_loop()
            delay = self._next_at - time.monotonic()
            self._timer = (
                loop.call_later(delay, self._start) if delay > 0 else loop.call_soon(self._start)
            )

    def run(self, steps: Iterator[None]) -> None:
        """Start a flush with these steps now; only when idle."""
        self._running = steps
        self._run_slice(0.0)

    def _start(self) -> None:
        self._timer = None
        self.run(self._steps())

    def _run_slice(self, spent: float) -> None:
        """Run one time slice of the flush; earlier slices took `spent` seconds."""
        started = time.monotonic()  # an event loop may update its own clock once per iteration
        try:
            ended = self._run_until(started + SLICE_SECONDS)
        except BaseException:
            self._running = None  # the next flush starts over
            raise
        now = time.monotonic()
        spent += now - started
        if not ended:
            # Not `call_soon`: sockets that are ready to be read come first.
            asyncio.get_running_loop().call_later(0, self._run_slice, spent)
            return
        self._running = None
        self._next_at = now + _cooldown(self._cost * spent)
        if self._is_due():
            self.run_soon()

    def _run_until(self, deadline: float) -> bool:
        """Continue the flush; return whether it ended before the deadline."""
        assert self._running is not None
        return not any(time.monotonic() >= deadline for _ in self._running)


def _cooldown(spent: float) -> float:
    """Return the seconds between two flushes.

    As long as the last flush took; up to three times that while it stays below one screen frame.
    """
    return max(spent, min(3 * spent, _FRAME_SECONDS))


def rotated(items: list[T]) -> list[T]:
    """Return the same items in the same cyclic order, starting at a random one.

    So that nobody is always the last.
    """
    start = random.randrange(len(items)) if items else 0
    return items[start:] + items[:start]
