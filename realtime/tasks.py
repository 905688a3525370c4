"""Tasks that must not die silently: each is restarted when it fails, and the failure counted."""

import asyncio
import ctypes
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from realtime import metrics
from realtime.errors import Busy

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds before a failed task is tried again: doubled each time, with full jitter, up to the last.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# A bound in time is counted in so many steps, see `Deadline`.
_STEPS = 8
# <linux/prctl.h>: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
# A task that was begun again and has run for so long is taken to be well.
HEALTHY_SECONDS = 10.0


def backoff(failures: int, longest: float = _LONGEST_PAUSE) -> float:
    """Seconds to wait after so many failures in a row: full jitter, so that a crowd spreads."""
    return random.uniform(0, min(longest, _FIRST_PAUSE * 2.0 ** min(failures, 10)))


def _hear(task: "asyncio.Future[Any]") -> None:
    """Take note of an error that nobody may wait for, or asyncio would log it."""
    if not task.cancelled():
        task.exception()


async def cancel_and_wait(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel `tasks` and wait until they are gone; how they ended is of no more interest."""
    for task in tasks:
        task.add_done_callback(_hear)
    # More than once, since a client library may take a cancellation for a failed connection, and
    # try the next.
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.1)


async def run_until_first_exits(*runs: Coroutine[Any, Any, None]) -> None:
    """Run all until the first one ends or fails; then end the others, and raise what it raised.

    An asyncio.TaskGroup cancels the others only once, and waits for ever for one that missed it.
    """
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending = asyncio.create_task(cancel_and_wait(tasks))
        while not ending.done():  # whoever ends us meanwhile waits for them, too
            with suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
    for task in done:
        if not task.cancelled():
            task.result()


class Deadline:
    """Calls `ended` when `seconds` are up, unless it is left before.

    An event loop that was held up finds its timers due *before* it has handed on what came in time,
    and would blame whoever sent it.  So the time is counted in steps, and one that ends late is one
    step like any other: what is there to be read has the rest of them to be read in.
    """

    def __init__(self, seconds: float, ended: Callable[[], None]) -> None:
        self._step = seconds / _STEPS
        self._left = _STEPS
        self._ended = ended

    def __enter__(self) -> None:
        self._begin_step()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()

    def _begin_step(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._step, self._end_step)

    def _end_step(self) -> None:
        self._left -= 1
        self._begin_step() if self._left else self._ended()


class Supervisor:
    """Owns the tasks of one object; `failures` counts how often any of them has failed."""

    def __init__(self) -> None:
        self.failures = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        self._failed_at: float | None = None
        self._closed = False

    def supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` for ever."""
        self._add(asyncio.create_task(self._forever(name, run), name=name))

    def spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` once; a failure is logged and counted, and nobody waits for it."""
        if self._closed:  # the last streams end after their owner has
            return
        self._add(asyncio.create_task(self._once(name, run), name=name))

    async def wait_for(self, seconds: float, run: Awaitable[T]) -> T:
        """Await `run`, or raise `TimeoutError` when the time is up, counted as by `Deadline`.

        asyncio.timeout cancels once, and then waits, with whoever waits for us, for one that missed
        it.  Here that one is ours to end, and nobody else's to wait for.
        """
        task = asyncio.ensure_future(run)
        task.add_done_callback(_hear)
        try:
            for _ in range(_STEPS):
                if (await asyncio.wait([task], timeout=seconds / _STEPS))[0]:
                    return task.result()
            raise TimeoutError
        finally:
            if not task.done():
                self.abandon(task)

    def abandon(self, task: "asyncio.Future[Any]") -> None:
        """End a task, which nobody but `close` waits for."""
        self._add(task)
        self._add(asyncio.create_task(cancel_and_wait([task])))

    def check(self) -> None:
        """Raise `Busy` while a task that is kept has failed, and not long run well again."""
        now = asyncio.get_running_loop().time()
        if self._failed_at is not None and now - self._failed_at < HEALTHY_SECONDS:
            raise Busy("A part of the server failed and was begun again.", retry_after=5)

    async def close(self) -> None:
        """Cancel all tasks, wait until they are gone, and begin no more."""
        self._closed = True
        await cancel_and_wait(self._tasks)

    def _add(self, task: "asyncio.Future[Any]") -> None:
        # The event loop keeps only a weak reference to a task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forever(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            await self._once(name, run)
            self._failed_at = asyncio.get_running_loop().time()
            failures += 1
            await asyncio.sleep(backoff(failures))

    async def _once(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception:
            self.failures += 1
            metrics.TASK_FAILURES.labels(name).inc()
            log.exception("a task failed", extra={"task": name})


def die_with_parent() -> None:
    """End when the parent does: else a `kill -9` of it would leave a server running for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
