"""Who is connected where: each process says it of itself, and is forgotten when it says no more.

A counter that is raised and lowered drifts with every process that dies in between.  Here nothing
is added up in the hub: a process puts its own counts there again and again, under a lease, and
whoever wants a total adds what he finds.  It makes no difference on which machine a process runs.

    process ─▶ report, every second, good for 5 ─▶ hub ─▶ reports ─▶ whoever asks

A process that was killed is counted until its lease ends, and no longer.
"""

import asyncio
import json
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from realtime.core.broker import Broker
from realtime.core.hub import Hub
from realtime.errors import NoBroker
from realtime.server.traffic import TrafficStats
from realtime.tasks import Supervisor

# A report is good for so long: some are lost on a busy machine before a process is taken for dead.
LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.0


def machine() -> str:
    """What this machine is called among those that share a hub."""
    return socket.gethostname()


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What one process says of itself.

    `worker` is the host and port it listens on; machines may be called alike, so `master` names who
    keeps it, and is empty if nobody does.  `connections` are the open ones by the transport that
    they carried last, and `readers` who follows or waits there, by room and transport.  A short
    poll has nobody who waits: between two of them a browser is at most a connection.
    """

    worker: str
    machine: str
    master: str
    pid: int
    draining: bool
    connections: Mapping[str, int]
    readers: Mapping[str, Mapping[str, int]]

    def encode(self) -> bytes:
        # Not by `asdict`, which cannot copy a Counter.
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a report; raises ValueError if it is none, as one of another version may be."""
        try:
            report = cls(**json.loads(text))
            counts = [report.connections, *report.readers.values()]
            numbers = [number for count in counts for number in count.values()]
        except (TypeError, AttributeError) as error:
            raise ValueError("this is no report") from error
        names = (report.worker, report.machine, report.master)
        kinds = [(report.draining, bool), *((name, str) for name in names)]
        kinds += [(number, int) for number in (report.pid, *numbers)]
        # Exactly: true is an int, too.
        if not all(type(value) is kind for value, kind in kinds):
            raise ValueError("this is no report")
        return report


class NodeReporter:
    """Reports what this process holds; `place` is the host and port that it listens on."""

    def __init__(
        self, broker: Broker, hub: Hub, traffic: TrafficStats, place: str, master: str = ""
    ) -> None:
        self._broker = broker
        self._hub = hub
        self._traffic = traffic
        self._place = place
        self._master = master
        # The next process at this place is another one, and counted beside us until we are gone.
        self._name = f"{place} {secrets.token_hex(6)}"
        self._supervisor = Supervisor()

    def start(self) -> None:
        """Begin to report."""
        self._supervisor.supervise("report", self._report_for_ever)

    async def close(self) -> None:
        """Take the report back; if the hub is away, its lease ends by itself."""
        await self._supervisor.close()
        with suppress(NoBroker):
            await self._broker.report(self._name, b"", 0)

    def look(self) -> NodeInfo:
        """Count now."""
        return NodeInfo(
            worker=self._place,
            machine=machine(),
            master=self._master,
            pid=os.getpid(),
            draining=self._hub.closing,
            connections=Counter(stream.transport for stream in self._traffic.streams),
            readers=self._hub.readers(),
        )

    async def _report_for_ever(self) -> None:
        while True:
            with suppress(NoBroker):  # which the hub has logged
                await self._broker.report(self._name, self.look().encode(), LEASE_SECONDS)
            await asyncio.sleep(RENEW_SECONDS)


async def count(broker: Broker) -> list[NodeInfo]:
    """What every process says that shares the hub; raises `NoBroker`."""
    found = []
    for text in (await broker.reports()).values():
        try:
            found.append(NodeInfo.parse(text))
        except ValueError:
            continue  # not one of ours
    return sorted(found, key=lambda report: (report.machine, report.worker, report.pid))


def totals(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what reports say: connections by transport, and readers by room and transport."""
    connections: Counter[str] = Counter()
    readers: dict[str, Counter[str]] = {}
    for report in reports:
        connections.update(report["connections"])
        for room, counts in report["readers"].items():
            readers.setdefault(room, Counter()).update(counts)
    return {"connections": connections, "readers": readers}
