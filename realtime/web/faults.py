"""Faults on request: the lecturer freezes, kills or disconnects a part, and the class sees it heal.

    POST /faults?kind=freeze&target=redis&seconds=5&key=KEY ─▶ begin ─▶ end ─▶ wait until it works

The URL exists only with ``--fault-controls``.  A fault concerns only what this server started: its
private Redis, its workers, and connections to itself.  Each target has at most one fault at a time.
A process that was frozen always continues, also if this one is killed meanwhile.
"""

import asyncio
import logging
import math
import os
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Protocol

from realtime import errors
from realtime.tasks import Supervisor
from realtime.transports.base import Services
from realtime.web.lab import KeyCheck
from realtime.web.operations import OperationHandler

# Less than the master needs to notice that a worker hangs, and than clients and proxies wait.
MAX_SECONDS = 30
_DEFAULT_SECONDS = 5
# Seconds between two checks whether a part works again, and how long we check.
_CHECK_SECONDS, _HEAL_SECONDS = 0.1, 60
# Seconds between two looks at all parts.
_LOOK_SECONDS = 0.5
# The latest faults, for the page.
_MAX_HISTORY = 20

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[bool]]


class Injected(NamedTuple):
    """A fault that has begun: how it ends, and whether the part works again after that."""

    end: Callable[[], None]
    is_healed: Check


@dataclass(frozen=True, slots=True)
class Control:
    """A fault that this server offers.

    `begin` raises `TargetBusy` if that is not possible now.  A fault that is not `timed` is over at
    once: a kill, or connections that are closed.
    """

    kind: str
    target: str
    begin: Callable[[float], Awaitable[Injected]]
    timed: bool = False


@dataclass(slots=True)
class Fault:
    """A fault that was injected; `state` is active, healing, healed or failed."""

    number: int  # since the start of the server
    kind: str
    target: str
    seconds: float
    begun_at: float
    state: str = "active"
    healed_after: float | None = None  # seconds from its beginning

    def report(self, now: float) -> dict[str, Any]:
        return {
            "number": self.number,
            "kind": self.kind,
            "target": self.target,
            "seconds": self.seconds,
            "state": self.state,
            "age": round(now - self.begun_at, 2),
            "healed_after": self.healed_after and round(self.healed_after, 2),
        }


@dataclass(frozen=True, slots=True)
class SystemState:
    """The parts and their connections: `parts` and `links`, as JSON.

    `entries` are ports and paths, as ``8080/``, at which a page of another port finds the rooms.
    """

    entries: list[str] = field(default_factory=list)
    parts: list[dict[str, str]] = field(default_factory=list)
    links: list[dict[str, str]] = field(default_factory=list)


class FaultControls:
    """The faults that this server offers, those that were injected, and the state of all parts.

    `look` returns the current state of all parts.
    """

    def __init__(self, key_check: KeyCheck, look: Callable[[], Awaitable[SystemState]]) -> None:
        self.key_check = key_check
        self._look = look
        self._system = SystemState()
        self._controls: dict[tuple[str, str], Control] = {}
        self._refused: dict[str, str] = {}
        self._active: dict[str, Fault] = {}
        self._ends: dict[str, Callable[[], None]] = {}  # of the faults that are in progress
        self._history: deque[Fault] = deque(maxlen=_MAX_HISTORY)
        self._numbers = count(1)
        self._supervisor = Supervisor()
        self._closed = False

    def add(self, control: Control) -> None:
        self._controls[control.kind, control.target] = control

    def refuse(self, target: str, why: str) -> None:
        """Answer every fault for `target` with this reason."""
        self._refused[target] = why

    def start(self) -> None:
        """Look at all parts from now on."""
        self._supervisor.supervise("look at all parts", self._look_loop)

    async def close(self) -> None:
        """End all faults: what is frozen continues."""
        self._closed = True
        for target in list(self._ends):
            self._end(target)
        await self._supervisor.close()

    def is_active(self, kind: str, target: str) -> bool:
        """Return whether this fault is in progress."""
        fault = self._active.get(target)
        return fault is not None and (fault.kind, fault.state) == (kind, "active")

    async def inject(self, kind: str, target: str, seconds: float, address: str) -> Fault:
        """Begin a fault; raises `BadFault`, `NotOurs` or `TargetBusy`."""
        if self._closed:
            raise errors.Busy("The server is stopping.", retry_after=1)
        control = self._find(kind, target)
        duration = seconds if control.timed else 0
        fault = Fault(next(self._numbers), kind, target, duration, _now())
        self._active[target] = fault
        try:
            injected = await control.begin(seconds)
        except BaseException:
            del self._active[target]
            raise
        details = {"kind": kind, "target": target, "seconds": fault.seconds, "address": address}
        log.warning("a fault was injected", extra=details)
        self._history.appendleft(fault)
        self._ends[target] = injected.end
        self._supervisor.spawn("fault", lambda: self._run(fault, injected.is_healed))
        return fault

    def report(self) -> dict[str, Any]:
        """Return everything that the page shows."""
        return {
            "max_seconds": MAX_SECONDS,
            "controls": [
                {"kind": control.kind, "target": control.target, "timed": control.timed}
                for control in self._controls.values()
            ],
            "refused": self._refused,
            "faults": [fault.report(_now()) for fault in self._history],
            "entries": self._system.entries,
            "parts": self._system.parts,
            "links": self._system.links,
        }

    def _find(self, kind: str, target: str) -> Control:
        if target in self._refused:
            raise errors.NotOurs(self._refused[target])
        control = self._controls.get((kind, target))
        if control is None:
            raise errors.BadFault("`kind` and `target` must be a pair that GET /faults lists.")
        if target in self._active:
            raise errors.TargetBusy("This part has not recovered from its last fault; wait.")
        return control

    def _end(self, target: str) -> None:
        self._ends.pop(target, do_nothing)()

    async def _run(self, fault: Fault, is_healed: Check) -> None:
        try:
            await asyncio.sleep(fault.seconds)
            self._end(fault.target)
            fault.state = "healing"
            async with asyncio.timeout(_HEAL_SECONDS):
                while not await is_healed():
                    await asyncio.sleep(_CHECK_SECONDS)
            fault.state, fault.healed_after = "healed", _now() - fault.begun_at
        except TimeoutError:
            fault.state = "failed"
        finally:
            del self._active[fault.target]
        log.info("a fault has ended", extra=fault.report(_now()))

    async def _look_loop(self) -> None:
        while True:
            self._system = await self._look()
            await asyncio.sleep(_LOOK_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()


# --- processes -----------------------------------------------------------------------------------


class OwnProcess(Protocol):
    """A process that we started, and that is restarted when it dies."""

    @property
    def pid(self) -> int | None: ...


def freeze_and_kill(target: str, process: OwnProcess, is_up: Check) -> tuple[Control, Control]:
    """Return the two faults of a process; `is_up` checks that it responds."""

    async def begin_freeze(seconds: float) -> Injected:
        return Injected(_freeze(_pid(process), seconds), is_up)

    async def begin_kill(_: float) -> Injected:
        killed = _pid(process)
        os.kill(killed, signal.SIGKILL)

        async def is_replaced() -> bool:
            return process.pid not in (killed, None) and await is_up()

        return Injected(do_nothing, is_replaced)

    return Control("freeze", target, begin_freeze, timed=True), Control("kill", target, begin_kill)


def _pid(process: OwnProcess) -> int:
    if process.pid is None:
        raise errors.TargetBusy("This process is not running now; wait until it is restarted.")
    return process.pid


def _freeze(pid: int, seconds: float) -> Callable[[], None]:
    """Stop a process, and return the function that lets it continue."""
    # The guard lets it continue if we are killed: a stopped process does not even notice that its
    # parent has died, since its SIGTERM stays pending.  POSIX has whole seconds for `sleep`.
    guard = subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            'sleep "$1"; kill -CONT "$2"',
            "sh",
            str(math.ceil(seconds) + 1),
            str(pid),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with suppress(ProcessLookupError):  # it ended at this moment
        os.kill(pid, signal.SIGSTOP)

    def thaw() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        with suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)
        guard.wait()

    return thaw


def do_nothing() -> None:
    """End a fault that is over at once."""


# --- the URL -------------------------------------------------------------------------------------


class FaultsHandler(OperationHandler):
    """GET: all parts and faults; POST: inject one, with the lecturer's key."""

    def initialize(self, services: Services, faults: FaultControls) -> None:  # type: ignore[override]
        super().initialize(services)
        self.faults = faults

    def get(self) -> None:
        self.reply(self.faults.report())

    async def post(self) -> None:
        key = self.argument("key", errors.BadKey) or ""
        self.faults.key_check.check(key, self.stream.address, _now())
        kind, target = (self.argument(name, errors.BadFault) or "" for name in ("kind", "target"))
        seconds = self.number("seconds", _DEFAULT_SECONDS, MAX_SECONDS, errors.BadSeconds)
        fault = await self.faults.inject(kind, target, seconds, self.stream.address)
        self.set_status(202)
        self.reply(fault.report(_now()))


def routes(
    services: Services, faults: FaultControls | None
) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return the table of URLs: without controls the URL does not exist."""
    if faults is None:
        return []
    return [("/faults", FaultsHandler, {"services": services, "faults": faults})]
