"""Which node holds which connections: each process reports its own counts, under a lease.

A shared counter that is raised and lowered drifts with every process that dies in between.  So the
hub adds nothing up: each process writes its own counts again and again, and the reader adds what it
finds.  It makes no difference on which machine a process runs.

    process ─▶ report, every second, valid for 5 ─▶ hub ─▶ reports ─▶ status page

The report of a process that was killed counts until its lease ends.
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

# A report is valid this long, and renewed this often: on a busy machine several renewals may be
# late before the process counts as dead.
LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.0


def machine_name() -> str:
    """Return the name of this machine among those that share a hub."""
    return socket.gethostname()


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """The report of one process.

    `worker` is the host and port it listens on.  Two machines can have the same name, so `master`
    identifies the cluster; it is empty for a process without one.  `connections` are the open ones
    by the transport of their last request, and `readers` the subscribers and waiting polls by room
    and transport.  A short poll never waits: between two polls a browser is at most a connection.
    """

    worker: str
    machine: str
    master: str
    pid: int
    draining: bool
    connections: Mapping[str, int]
    readers: Mapping[str, Mapping[str, int]]

    def encode(self) -> bytes:
        # Not with `asdict`, which cannot copy a Counter.
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parse a report; raises ValueError, for example for one of another version."""
        try:
            report = cls(**json.loads(text))
            counts = [report.connections, *report.readers.values()]
            numbers = [number for count in counts for number in count.values()]
        except (TypeError, AttributeError) as error:
            raise ValueError("this is not a report") from error
        names = (report.worker, report.machine, report.master)
        kinds = [(report.draining, bool), *((name, str) for name in names)]
        kinds += [(number, int) for number in (report.pid, *numbers)]
        # Compare exact types, since True is an int as well.
        if not all(type(value) is kind for value, kind in kinds):
            raise ValueError("this is not a report")
        return report


class NodeReporter:
    """Reports the counts of this process; `address` is the host and port it listens on."""

    def __init__(
        self, broker: Broker, hub: Hub, traffic: TrafficStats, address: str, master: str = ""
    ) -> None:
        self._broker = broker
        self._hub = hub
        self._traffic = traffic
        self._address = address
        self._master = master
        # The next process at this address reports under another key, and so does not overwrite us.
        self._key = f"{address} {secrets.token_hex(6)}"
        self._supervisor = Supervisor()

    def start(self) -> None:
        """Start to report."""
        self._supervisor.supervise("report", self._report_loop)

    async def close(self) -> None:
        """Withdraw the report; if the hub cannot be reached, the lease ends by itself."""
        await self._supervisor.close()
        with suppress(NoBroker):
            await self._broker.report(self._key, b"", 0)

    def snapshot(self) -> NodeInfo:
        """Count now."""
        return NodeInfo(
            worker=self._address,
            machine=machine_name(),
            master=self._master,
            pid=os.getpid(),
            draining=self._hub.closing,
            connections=Counter(stream.transport for stream in self._traffic.streams),
            readers=self._hub.readers(),
        )

    async def _report_loop(self) -> None:
        while True:
            with suppress(NoBroker):  # the hub has logged it
                await self._broker.report(self._key, self.snapshot().encode(), LEASE_SECONDS)
            await asyncio.sleep(RENEW_SECONDS)


async def list_nodes(broker: Broker) -> list[NodeInfo]:
    """Read the reports of all processes that share the hub; raises `NoBroker`."""
    nodes = []
    for text in (await broker.reports()).values():
        try:
            nodes.append(NodeInfo.parse(text))
        except ValueError:
            continue  # of another version, or of another program
    return sorted(nodes, key=lambda node: (node.machine, node.worker, node.pid))


def totals(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up reports: connections by transport, and readers by room and transport."""
    connections: Counter[str] = Counter()
    readers: dict[str, Counter[str]] = {}
    for report in reports:
        connections.update(report["connections"])
        for room, counts in report["readers"].items():
            readers.setdefault(room, Counter()).update(counts)
    return {"connections": connections, "readers": readers}
