"""The master of a cluster: it carries out what the signals ask for, on all workers.

    SIGHUP             replace the workers one by one; each is ready before the next is stopped
    SIGTERM            drain the workers one by one, then end
    SIGINT, SIGQUIT    stop all workers at once; so does a second SIGTERM

Workers whose master is killed end as on SIGTERM.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from realtime.cluster.worker import WorkerProcess
from realtime.core.events import Event
from realtime.tasks import Supervisor, run_until_first_exits

log = logging.getLogger(__name__)


class Master:
    """Replaces, drains and stops `workers`; prints `addresses` when all of them are ready.

    `before_stop` runs first when a signal asks to stop: a worker that is frozen could not drain.
    """

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        addresses: str,
        before_stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._workers = workers
        self._before_stop = before_stop
        self._addresses = addresses
        self._replace_requested = asyncio.Event()
        self._supervisor = Supervisor()
        self._supervisor.supervise("replace workers", self._replace_loop)
        self._supervisor.spawn("report that workers are ready", self._print_when_ready)

    async def handle_signals(self, signals: "asyncio.Queue[signal.Signals]") -> None:
        """Carry out each signal, and return when all workers have ended."""
        while (number := await signals.get()) == signal.SIGHUP:
            self._replace_requested.set()
        log.info("stopping", extra={"signal": number.name, "workers": len(self._workers)})
        if self._before_stop is not None:
            await self._before_stop()
        await self._supervisor.close()
        if number == signal.SIGTERM:
            await run_until_first_exits(self._drain(), _second_signal(signals))
        await asyncio.gather(*(worker.stop(signal.SIGINT) for worker in self._workers))

    async def _drain(self) -> None:
        # One by one: the readers that a worker disconnects reconnect to the next ones, and only the
        # last worker's have nowhere to go.
        for worker in self._workers:
            await worker.stop(signal.SIGTERM)

    async def _replace_loop(self) -> None:
        while True:
            await self._replace_requested.wait()
            self._replace_requested.clear()  # a SIGHUP during this round starts another one
            for worker in self._workers:
                await worker.replace("replaced on SIGHUP")
            log.info("all workers are replaced")

    async def _print_when_ready(self) -> None:
        await asyncio.gather(*(worker.ready() for worker in self._workers))
        # Programs wait for this line.
        print(f"realtime: {len(self._workers)} workers are ready: {self._addresses}", flush=True)


async def _second_signal(signals: "asyncio.Queue[signal.Signals]") -> None:
    """Return when a second signal asks us to stop now."""
    while await signals.get() == signal.SIGHUP:
        pass


def watch_signals() -> "asyncio.Queue[signal.Signals]":
    """Return a queue of the signals that `Master` handles, as they arrive."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    # Below nohup no terminal ends us.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    terminals = 0 if ignored else _count_terminals()

    def received(number: signal.Signals) -> None:
        # A terminal that closes sends SIGHUP too, and then it means: end.
        hung_up = number == signal.SIGHUP and _count_terminals() < terminals
        signals.put_nowait(signal.SIGTERM if hung_up else number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, received, number)
    return signals


def _count_terminals() -> int:
    """Count our standard streams that are a terminal, and the one that controls this process.

    The standard streams can be files, and the terminal is there all the same.
    """
    count = sum(map(os.isatty, range(3)))
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        count += 1
    return count


class NullListener:
    """A listener for a broker that follows no room: the master only reads reports."""

    def on_publication(self, room: str, event: Event) -> None: ...

    def on_rules(self, room: str) -> None: ...
    def on_subscribed(self, room: str) -> None: ...
