"""The faults of a cluster: its workers, its private Redis, and the connections between them.

nginx reaches each worker through a relay, a TCP proxy that can be disconnected: nginx then finds
what it finds when a network cable is pulled.  There are relays only with ``--fault-controls``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlencode

from realtime.brokers.choose import HubChoice
from realtime.cluster.worker import State, WorkerProcess
from realtime.errors import RealtimeError
from realtime.web.faults import (
    Check,
    Control,
    FaultControls,
    Injected,
    SystemState,
    freeze_and_kill,
)
from realtime.web.lab import KeyCheck

NOT_OUR_REDIS = (
    "This server did not start its message broker, so it does not touch it; --hub spawn starts one."
)
# Seconds for a worker to answer a look at all parts.
_LOOK_SECONDS = 1.0
# What a worker's /readyz says of it, and of its link to the hub; no answer is neither.
_BY_STATUS = {200: ("up", "up"), 503: ("up", "down")}


class ClusterFaults:
    """Builds the controls of a cluster; `cuts` has what cuts nginx from a worker, by its address.

    The functions of `cuts` return the function that reconnects.  `entries` are the ports and paths
    at which browsers find the workers.
    """

    def __init__(
        self,
        workers: Mapping[str, WorkerProcess],
        choice: HubChoice,
        key: str,
        key_check: KeyCheck,
        cuts: Mapping[str, Callable[[], Callable[[], None]]],
        entries: Sequence[str],
    ) -> None:
        self._workers = workers
        self._choice = choice
        self._key = key
        self._cuts = cuts
        self._entries = tuple(entries)
        self.controls = FaultControls(key_check, self._look)
        self._add_controls()

    def _add_controls(self) -> None:
        if self._choice.server is None:
            self.controls.refuse("redis", NOT_OUR_REDIS)
        else:
            for control in freeze_and_kill("redis", self._choice.server, self._all_ready):
                self.controls.add(control)
        for address, worker in self._workers.items():
            for control in freeze_and_kill(address, worker, self._is_ready(worker)):
                self.controls.add(control)
        for address, cut in self._cuts.items():
            self.controls.add(self._cut(address, cut))
        for target in ("clients", "pubsub"):
            self.controls.add(Control("close", target, self._ask_workers(target)))

    def _cut(self, address: str, cut: Callable[[], Callable[[], None]]) -> Control:
        async def begin(_: float) -> Injected:
            return Injected(cut(), self._is_ready(self._workers[address]))

        return Control("cut", address, begin, timed=True)

    def _ask_workers(self, target: str) -> Callable[[float], Awaitable[Injected]]:
        """Return what injects a fault into every worker: it concerns the worker's connections."""
        query = urlencode({"kind": "close", "target": target, "key": self._key})

        async def begin(_: float) -> Injected:
            workers = self._workers.values()
            asked = (
                worker.ask(f"/faults?{query}", method="POST", seconds=_LOOK_SECONDS)
                for worker in workers
            )
            await asyncio.gather(*asked)
            return Injected(lambda: None, self._all_ready)

        return begin

    # --- the state of all parts ------------------------------------------------------------------

    def _is_ready(self, worker: WorkerProcess) -> Check:
        async def check() -> bool:
            return worker.state is State.READY and await worker.ask("/readyz") == 200

        return check

    async def _all_ready(self) -> bool:
        checks = (self._is_ready(worker)() for worker in self._workers.values())
        return all([await self._is_hub_up(), *await asyncio.gather(*checks)])

    async def _is_hub_up(self) -> bool:
        try:
            await self._choice.broker.ping()
        except RealtimeError:
            return False
        return True

    async def _look(self) -> SystemState:
        asked = (worker.ask("/readyz", seconds=_LOOK_SECONDS) for worker in self._workers.values())
        hub_is_up, *statuses = await asyncio.gather(self._is_hub_up(), *asked)
        system = SystemState(list(self._entries))
        if self._cuts:
            system.parts.append({"id": "nginx", "kind": "nginx", "state": "up"})
        for (address, worker), status in zip(self._workers.items(), statuses, strict=True):
            self._add_worker(system, address, worker, status)
        state = self._state("redis", "up" if hub_is_up else "down")
        system.parts.append(
            {"id": "redis", "kind": "redis", "label": self._choice.label, "state": state}
        )
        return system

    def _add_worker(
        self, system: SystemState, address: str, worker: WorkerProcess, status: int
    ) -> None:
        state, to_hub = _BY_STATUS.get(status, ("down", "down"))
        if state == "down" and worker.state in (State.STARTING, State.WAITING):
            state = worker.state.value
        state = self._state(address, state)
        cut = self.controls.is_active("cut", address)
        from_nginx = "cut" if cut else "up" if state == "up" else "down"
        system.parts.append({"id": address, "kind": "worker", "state": state})
        if self._cuts:
            system.links.append({"from": "nginx", "to": address, "state": from_nginx})
        system.links.append({"from": address, "to": "redis", "state": to_hub})

    def _state(self, target: str, state: str) -> str:
        return "frozen" if self.controls.is_active("freeze", target) else state
