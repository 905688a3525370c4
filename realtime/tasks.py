"""Supervised tasks: each is restarted when it fails, and each failure is logged and counted.

Also what asyncio lacks here: cancellation that repeats until the task has ended, timeouts that do
not fire early after the event loop was blocked, turns for work that blocks it for a while, and an
accept loop that pauses instead of spinning.
"""

import asyncio
import ctypes
import errno
import logging
import random
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from realtime import metrics
from realtime.errors import Busy

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds before a failed task is restarted: exponential backoff with full jitter.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# A timeout is counted in this many steps, see `Deadline`.
_STEPS = 8
# Connections that are accepted at once, before other connections get their turn.
_ACCEPT_BATCH = 64
# Seconds that accepting pauses: short for a client that waits, long for a loop that has no files.
_ACCEPT_PAUSE = 0.2
# Seconds between two turns at most: a turn can also have waited for Redis.
_LONGEST_TURN_PAUSE = 0.1
# No file descriptor in this process, none on this machine, no memory for a socket (accept(2)).
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# <linux/prctl.h>: the signal that a process receives when its parent dies.
_PR_SET_PDEATHSIG = 1
# A task that has run for this long since its restart counts as healthy.
HEALTHY_SECONDS = 10.0


def backoff(failures: int, longest: float = _LONGEST_PAUSE) -> float:
    """Return the seconds to wait after `failures` in a row.

    The pause is drawn from zero up (full jitter), so that many clients do not retry together.
    """
    return random.uniform(0, min(longest, _FIRST_PAUSE * 2.0 ** min(failures, 10)))


def _retrieve_error(task: "asyncio.Future[Any]") -> None:
    """Retrieve an error that perhaps nobody awaits; otherwise asyncio would log it."""
    if not task.cancelled():
        task.exception()


async def cancel_and_wait(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel `tasks` and wait until they have ended; their results and errors are ignored."""
    for task in tasks:
        task.add_done_callback(_retrieve_error)
    # Repeatedly, since a client library may mistake a cancellation for a failed connection, and try
    # the next address.
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.1)


async def run_until_first_exits(*runs: Coroutine[Any, Any, None]) -> None:
    """Run all until the first one returns or fails; then cancel the others, and raise its error.

    An asyncio.TaskGroup cancels the others only once, and waits forever for one that missed it.
    """
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending = asyncio.create_task(cancel_and_wait(tasks))
        while not ending.done():  # if we are cancelled meanwhile, still wait for them
            with suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
    for task in done:
        if not task.cancelled():
            task.result()


class Deadline:
    """A context manager that calls `expired` after `seconds`, unless it is left earlier.

    After an event loop was blocked, it runs the timers that are due *before* it delivers the data
    that arrived in time; a plain timeout would blame the sender.  So the time is counted in steps.
    A step that ends late counts as one step, and the remaining ones leave time to read the data.
    """

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self._step = seconds / _STEPS
        self._left = _STEPS
        self._expired = expired

    def __enter__(self) -> None:
        self._start_step()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()

    def _start_step(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._step, self._end_step)

    def _end_step(self) -> None:
        self._left -= 1
        self._start_step() if self._left else self._expired()


class Turns:
    """Lets one caller through at a time, and those who wait in turns: round robin by `key`.

    For work that takes the event loop tens of milliseconds.  A pause as long as the turn follows
    it, so everybody else has half of the time; and a key with a thousand callers delays a caller
    of another key by one turn.
    """

    def __init__(self) -> None:
        self._taken = False
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[None]:
        """Wait for a turn of `key`, which ends with the context."""
        loop = asyncio.get_running_loop()
        if self._taken:
            turn = loop.create_future()
            self._waiting.setdefault(key, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # it was ours already
                    self._pass_on()
                raise
        self._taken = True
        begin = loop.time()
        try:
            yield
        finally:
            loop.call_later(min(loop.time() - begin, _LONGEST_TURN_PAUSE), self._pass_on)

    def _pass_on(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            key = next(iter(self._waiting))
            queue = self._waiting.pop(key)
            turn = queue.popleft()
            if queue:
                self._waiting[key] = queue  # behind the other keys
            if not turn.done():  # its caller was not cancelled
                turn.set_result(None)
                self._taken = True


class AcceptLoop:
    """Calls `accepted` with each new connection of a listening socket, until `close`.

    A connection that cannot be accepted stays readable.  Tornado then tries and logs it in each
    iteration of the event loop, asyncio a thousand times per second.  Here accepting pauses, and
    the connections wait in the kernel.  It pauses as well while `is_full()` is true.
    """

    def __init__(
        self,
        listener: socket.socket,
        accepted: Callable[[socket.socket, Any], None],
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._listener = listener
        self._accepted = accepted
        self._is_full = is_full
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more; the listening socket stays open."""
        if self._pause is not None:
            self._pause.cancel()
        else:
            self._loop.remove_reader(self._listener.fileno())

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_BATCH):
            if self._is_full():
                self._stop_for_a_while("all connections are in use")
                return
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._stop_for_a_while(error.strerror or str(error))
                return
            connection.setblocking(False)
            self._accepted(connection, address)

    def _stop_for_a_while(self, reason: str) -> None:
        # All accept loops of the process share one line a minute.
        log.warning("accepting pauses", extra={"reason": reason, "per_minute": 1})
        self._loop.remove_reader(self._listener.fileno())
        self._pause = self._loop.call_later(_ACCEPT_PAUSE, self._resume)


class Supervisor:
    """Owns the tasks of one object; `failures` counts how often any of them has failed."""

    def __init__(self) -> None:
        self.failures = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        self._failed_at: float | None = None
        self._closed = False

    def supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` forever: restart it, after a pause, whenever it ends."""
        self._add(asyncio.create_task(self._run_forever(name, run), name=name))

    def spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` once in the background; a failure is logged and counted."""
        if self._closed:  # a stream may end after its owner was closed
            return
        self._add(asyncio.create_task(self._run_once(name, run), name=name))

    async def wait_for(self, seconds: float, run: Awaitable[T]) -> T:
        """Await `run`, or raise `TimeoutError` when the time is up, counted as by `Deadline`.

        asyncio.timeout cancels once, and then waits, and its caller with it, for a task that missed
        the cancellation.  Here the caller continues at once, and the supervisor ends the task.
        """
        task = asyncio.ensure_future(run)
        task.add_done_callback(_retrieve_error)
        try:
            for _ in range(_STEPS):
                if (await asyncio.wait([task], timeout=seconds / _STEPS))[0]:
                    return task.result()
            raise TimeoutError
        finally:
            if not task.done():
                self.abandon(task)

    def abandon(self, task: "asyncio.Future[Any]") -> None:
        """Cancel a task in the background; only `close` waits for it."""
        self._add(task)
        self._add(asyncio.create_task(cancel_and_wait([task])))

    def check(self) -> None:
        """Raise `Busy` if a supervised task has failed less than `HEALTHY_SECONDS` ago."""
        now = asyncio.get_running_loop().time()
        if self._failed_at is not None and now - self._failed_at < HEALTHY_SECONDS:
            raise Busy("A part of the server failed and was restarted; try again.", retry_after=5)

    async def close(self) -> None:
        """Cancel all tasks, wait until they have ended, and start no more."""
        self._closed = True
        await cancel_and_wait(self._tasks)

    def _add(self, task: "asyncio.Future[Any]") -> None:
        # The event loop keeps only a weak reference to a task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_forever(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            await self._run_once(name, run)
            self._failed_at = asyncio.get_running_loop().time()
            failures += 1
            await asyncio.sleep(backoff(failures))

    async def _run_once(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception:
            self.failures += 1
            metrics.TASK_FAILURES.labels(name).inc()
            log.exception("a task failed", extra={"task": name})


def die_with_parent() -> None:
    """Make the kernel stop this process when its parent dies.

    Otherwise `kill -9` of the parent would leave a server running forever.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
