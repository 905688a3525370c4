"""What a cluster shows of itself, at a port of its own: a page, JSON, and figures for Prometheus.

The master knows its own workers; what each of them holds, and whoever else shares the hub, is in
their reports (see `census`).  While the hub is away the master tells what it knows itself.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from realtime import __version__
from realtime.cluster import registry
from realtime.cluster.registry import NodeInfo
from realtime.cluster.worker import State, WorkerProcess
from realtime.core.broker import Broker
from realtime.errors import Busy, NoBroker, NotFound, RealtimeError
from realtime.protocol.origin import OriginPolicy
from realtime.transports.handler import as_realtime_error, write_error_response
from realtime.web import pages

# Rooms that get a row in the metrics: each is kept by Prometheus for as long as it keeps anything.
_ROOMS_MEASURED = 50

Status = dict[str, Any]
# Figures by the values of their labels.
Rows = Counter[tuple[str, ...]]


class ClusterStatus:
    """What is known of all workers; ours are `workers` at `host`, and report as `master`'s."""

    def __init__(
        self, workers: Sequence[WorkerProcess], host: str, broker: Broker, label: str, master: str
    ) -> None:
        self._workers = workers
        self._host = host
        self._broker = broker
        self._label = label
        self._machine = registry.machine()
        self._master = master

    def ready(self) -> bool:
        """Whether all of our workers are."""
        return all(worker.state is State.READY for worker in self._workers)

    async def look(self) -> Status:
        """Ask the hub what all say, and put ours first."""
        try:
            reports, up = await registry.count(self._broker), True
        except NoBroker:
            reports, up = [], False
        rows = [self._row(worker, reports, up) for worker in self._workers]
        others = [report for report in reports if report.master != self._master]
        rows += [_row_of_other(report) for report in others]
        counted = [row for row in rows if row["connections"] is not None]
        return {
            "hub": {"label": self._label, "up": up},
            "version": __version__,
            "workers": rows,
            **registry.totals(counted),
        }

    def _row(self, worker: WorkerProcess, reports: Sequence[NodeInfo], up: bool) -> Status:
        mine = [r for r in reports if (r.master, r.pid) == (self._master, worker.pid)]
        # One that has just begun, or is no more, has nobody; of the others we do not know.
        known = mine[0] if mine else None
        nobody: dict[str, Any] | None = {} if up else None
        return {
            "worker": f"{self._host}:{worker.port}",
            "machine": self._machine,
            "ours": True,
            "pid": worker.pid,
            "state": worker.state,
            "restarts": worker.restarts,
            "reason": worker.reason,
            "connections": known.connections if known else nobody,
            "readers": known.readers if known else nobody,
        }


def _row_of_other(report: NodeInfo) -> Status:
    return {
        "worker": report.worker,
        "machine": report.machine,
        "ours": False,
        "pid": report.pid,
        "state": State.DRAINING if report.draining else State.READY,
        "restarts": None,
        "reason": "",
        "connections": report.connections,
        "readers": report.readers,
    }


# --- addresses -----------------------------------------------------------------------------------


def make_application(overview: ClusterStatus, gate: OriginPolicy) -> Application:
    """Build the table of addresses; `gate` knows the names by which we are asked."""
    ours = {"overview": overview, "gate": gate}
    return Application(
        [
            ("/", _Page, ours),
            ("/status", _Status, ours),
            ("/metrics", _Metrics, ours),
            ("/healthz", _Health, ours),
            ("/readyz", _Readiness, ours),
            (r"/demos/((?:static|i18n)/[\w./-]+)", _File, {"path": str(pages.folder())}),
        ],
        default_handler_class=_Nothing,
        log_function=lambda handler: None,
    )


class _Answer(RequestHandler):
    """Errors are JSON here, too."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", pages.CONTENT_SECURITY_POLICY)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        _, cause, _ = kwargs.get("exc_info", (None, None, None))
        write_error_response(self, as_realtime_error(status_code, cause))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, RealtimeError | HTTPError):  # somebody else's mistake is no news
            super().log_exception(typ, value, tb)


class _Handler(_Answer):
    """A small answer for whoever knows our name: room names and pids are not for other sites."""

    def initialize(self, overview: ClusterStatus, gate: OriginPolicy) -> None:
        self.overview = overview
        self.gate = gate

    def prepare(self) -> None:
        self.gate.check_host(self.request.headers.get("Host"))

    def reply(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(value, ensure_ascii=False))


class _Page(_Handler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((pages.folder() / "cluster.html").read_bytes())


class _Status(_Handler):
    async def get(self) -> None:
        self.reply(await self.overview.look())


class _Health(_Handler):
    """The master answers; whether its workers do is another question."""

    def get(self) -> None:
        self.reply({"status": "ok", "version": __version__})


class _Readiness(_Handler):
    def get(self) -> None:
        if not self.overview.ready():
            raise Busy("A worker is not ready; /status says which, and why.", retry_after=1)
        self.reply({"status": "ready"})


class _Metrics(_Handler):
    async def get(self) -> None:
        registry = CollectorRegistry()
        registry.register(_Figures(await self.overview.look()))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(registry))


class _File(_Answer, StaticFileHandler):
    """What our page is made of: files that anybody may have."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")  # ask each time, and be told 304


class _Nothing(_Answer):
    def prepare(self) -> None:
        raise NotFound("There is nothing at this address; / is the page, /status the same in JSON.")


class _Figures:
    """A collector of one look."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        up = self._status["hub"]["up"]
        yield GaugeMetricFamily("realtime_cluster_hub_up", "The hub answers", up)
        ready, restarts, connections = Rows(), Rows(), Rows()
        for row in self._status["workers"]:
            # One that was killed elsewhere stands beside its successor, under the same name.
            name = f"{row['machine']}/{row['worker']}"
            ready[name,] |= row["state"] == State.READY
            if row["ours"]:
                restarts[name,] += row["restarts"]
            for transport, number in (row["connections"] or {}).items():
                connections[name, transport] += number
        yield _filled(_gauge("ready", "It can be asked", "worker"), ready)
        died = CounterMetricFamily(
            "realtime_cluster_restarts", "Times that ours died", labels=["worker"]
        )
        yield _filled(died, restarts)
        yield _filled(_gauge("connections", "Open now", "worker", "transport"), connections)
        text = f"Who follows or waits, in the {_ROOMS_MEASURED} largest rooms"
        yield _filled(_gauge("readers", text, "room", "transport"), self._readers())

    def _readers(self) -> Rows:
        rooms = self._status["readers"].items()
        largest = sorted(rooms, key=lambda item: -sum(item[1].values()))[:_ROOMS_MEASURED]
        return Rows({(room, way): n for room, counts in largest for way, n in counts.items()})


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"realtime_cluster_{name}", text, labels=labels)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Rows) -> Metric:
    for labels, number in rows.items():
        family.add_metric(labels, number)
    return family
