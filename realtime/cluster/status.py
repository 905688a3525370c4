"""The status port of a cluster: a page, JSON, and metrics for Prometheus.

The master knows the state of its own workers.  What each of them holds, and which other processes
share the hub, is in their reports (see `registry`).  While the hub cannot be reached, only the
first half is shown.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from tornado.web import Application, StaticFileHandler

from realtime import __version__
from realtime.cluster import registry
from realtime.cluster.registry import NodeInfo
from realtime.cluster.worker import State, WorkerProcess
from realtime.core.admission import Admission
from realtime.core.broker import Broker
from realtime.core.hub import Hub
from realtime.core.presence import Presence
from realtime.errors import Busy, ForeignHost, NoBroker, NotFound
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server.connection import Router
from realtime.server.server import Server
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.web import pages
from realtime.web.faults import FaultControls
from realtime.web.faults import routes as fault_routes
from realtime.web.operations import OperationHandler

# Rooms that get a row in the metrics: Prometheus keeps each time series for its whole retention.
_MAX_ROOMS = 50

# What ``/status`` sends as JSON; `ClusterStatus.read` builds it.
Status = dict[str, Any]
# Values by those of their labels.
Rows = Counter[tuple[str, ...]]


class ClusterStatus:
    """The state of all workers; ours are `workers` at `host`, and their reports name `master`."""

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        host: str,
        broker: Broker,
        label: str,
        master: str,
        *,
        fault_controls: bool = False,
    ) -> None:
        self._workers = workers
        self._host = host
        self._broker = broker
        self._label = label
        self._machine = registry.machine_name()
        self._master = master
        self._fault_controls = fault_controls

    def ready(self) -> bool:
        """Whether all of our workers are ready."""
        return all(worker.state is State.READY for worker in self._workers)

    async def read(self) -> Status:
        """Read the reports from the hub; our workers come first.

        Without the hub there are only our own workers, `hub.up` is false, and each count is null.
        """
        try:
            nodes, up = await registry.list_nodes(self._broker), True
        except NoBroker:
            nodes, up = [], False
        rows = [self._own_row(worker, nodes, up) for worker in self._workers]
        rows += [_other_row(node) for node in nodes if node.master != self._master]
        known = [row for row in rows if row["connections"] is not None]
        return {
            "hub": {"label": self._label, "up": up},
            "version": __version__,
            "fault_controls": self._fault_controls,
            "workers": rows,
            **registry.totals(known),
        }

    def _own_row(self, worker: WorkerProcess, nodes: Sequence[NodeInfo], up: bool) -> Status:
        # The pid, too: the report of a predecessor that was killed stays until its lease ends.
        own = [node for node in nodes if (node.master, node.pid) == (self._master, worker.pid)]
        node = own[0] if own else None
        # A worker without a report has just started or has ended, and holds nothing.  While the hub
        # is away we cannot tell: that is null, not 0.
        nothing: dict[str, Any] | None = {} if up else None
        return {
            "worker": f"{self._host}:{worker.port}",
            "machine": self._machine,
            "ours": True,
            "pid": worker.pid,
            "state": worker.state,
            "restarts": worker.restarts,
            "reason": worker.reason,
            "connections": node.connections if node else nothing,
            "readers": node.readers if node else nothing,
        }


def _other_row(node: NodeInfo) -> Status:
    """Describe a process of another master, or of none: we know only what it reports."""
    return {
        "worker": node.worker,
        "machine": node.machine,
        "ours": False,
        "pid": node.pid,
        "state": State.DRAINING if node.draining else State.READY,
        "restarts": None,
        "reason": "",
        "connections": node.connections,
        "readers": node.readers,
    }


# --- the table of URLs ----------------------------------------------------------------------------


def make_server(
    overview: ClusterStatus,
    broker: Broker,
    origin_policy: OriginPolicy,
    limits: Limits,
    faults: FaultControls | None = None,
) -> Server:
    """Build the server of the status port, with the timeouts of all servers and its own limits.

    `origin_policy` has its host names.  The master has no rooms: its hub is never started.
    """
    limits = replace(
        limits,
        connections=limits.status_connections,
        connections_per_address=limits.status_connections_per_address,
    )
    services = Services(
        Hub(broker, limits),
        Presence(broker, limits, node_id=""),
        origin_policy,
        Admission(limits),
        limits,
    )
    router = Router(services, {}, _make_application(services, overview, faults))
    return Server(router, traffic=TrafficStats(), limits=limits)


def _make_application(
    services: Services, overview: ClusterStatus, faults: FaultControls | None
) -> Application:
    """Build the table of URLs."""
    public = {"services": services}
    own = {**public, "overview": overview}
    files = {**public, "path": str(pages.folder())}
    return Application(
        [
            ("/()", _PageHandler, own),
            (r"/demos/(faults\.html)", _PageHandler, own),
            *fault_routes(services, faults),
            ("/status", _StatusHandler, own),
            ("/metrics", _MetricsHandler, own),
            ("/healthz", _HealthHandler, own),
            ("/readyz", _ReadinessHandler, own),
            (r"/demos/((?:static|i18n|vendor)/[\w./-]+)", _FileHandler, files),
        ],
        default_handler_class=_NotFoundHandler,
        default_handler_args=public,
        log_function=lambda handler: None,
    )


class _Handler(OperationHandler):
    """An error is the same JSON as everywhere; the page may load nothing from elsewhere."""

    transport = "status"

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", pages.CONTENT_SECURITY_POLICY)


class _OwnHostHandler(_Handler):
    """Serves only requests for our own host name: other sites must not see rooms and pids.

    A page of another site could reach this port by DNS rebinding, that is by a host name of its own
    that resolves to 127.0.0.1.
    """

    def initialize(self, services: Services, overview: ClusterStatus) -> None:  # type: ignore[override]
        super().initialize(services)
        self.overview = overview

    def check_request_origin(self) -> None:
        # Other sites may link to the page, so only the host name is checked.
        self.services.origin_policy.check_host(self.request.headers.get("Host"))


class _PageHandler(_OwnHostHandler):
    """The status page, which reads ``/status`` every second, and the page of faults."""

    def get(self, name: str) -> None:
        # The page of faults reads rooms through nginx, or at the workers.
        own_origins = self.services.origin_policy.own_origins(self.request.headers.get("Host"))
        policy = pages.content_security_policy(own_origins)
        self.set_header("Content-Security-Policy", policy)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((pages.folder() / (name or "cluster.html")).read_bytes())


class _StatusHandler(_OwnHostHandler):
    """The status as JSON."""

    async def get(self) -> None:
        self.reply(await self.overview.read())


class _ProbeHandler(_OwnHostHandler):
    """Answers under any host name: an orchestrator asks by the name of a service or a pod."""

    def check_request_origin(self) -> None: ...


class _HealthHandler(_ProbeHandler):
    """The master responds; ``/readyz`` shows whether its workers do."""

    def get(self) -> None:
        self.reply({"status": "ok", "version": __version__})


class _ReadinessHandler(_ProbeHandler):
    """Ready when all of our workers are; for a load balancer in front of several machines."""

    def get(self) -> None:
        if not self.overview.ready():
            raise Busy("A worker is not ready; /status shows which, and why.", retry_after=1)
        self.reply({"status": "ready"})


class _MetricsHandler(_ProbeHandler):
    """The status in the Prometheus format."""

    async def get(self) -> None:
        status = await self.overview.read()
        try:
            self.services.origin_policy.check_host(self.request.headers.get("Host"))
        except ForeignHost:  # a page that was rebound to us must not see the names of rooms
            status = {**status, "readers": {}}
        collectors = CollectorRegistry()
        collectors.register(StatusCollector(status))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(collectors))


class _FileHandler(_Handler, StaticFileHandler):
    """The scripts and styles of the page: public files, so any host name will do."""

    def initialize(self, services: Services, path: str) -> None:  # type: ignore[override]
        _Handler.initialize(self, services)
        StaticFileHandler.initialize(self, path)

    def check_request_origin(self) -> None:
        """Check nothing."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")  # revalidate each time; the response is a 304


class _NotFoundHandler(_Handler):
    def prepare(self) -> None:
        super().prepare()
        raise NotFound("There is nothing at this address; / is the page, /status the same in JSON.")


class StatusCollector:
    """Turns one status into metrics, as a Collector of `prometheus_client`."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        up = self._status["hub"]["up"]
        yield GaugeMetricFamily("realtime_cluster_hub_up", "The hub responds", up)
        ready, restarts, connections = Rows(), Rows(), Rows()
        for row in self._status["workers"]:
            # A worker of another machine that was killed and its successor have the same name.
            name = f"{row['machine']}/{row['worker']}"
            ready[name,] |= row["state"] == State.READY
            if row["ours"]:
                restarts[name,] += row["restarts"]
            for transport, number in (row["connections"] or {}).items():
                connections[name, transport] += number
        yield _filled(_gauge("ready", "The worker is ready", "worker"), ready)
        deaths = CounterMetricFamily(
            "realtime_cluster_restarts", "Deaths of our workers", labels=["worker"]
        )
        yield _filled(deaths, restarts)
        yield _filled(_gauge("connections", "Open connections", "worker", "transport"), connections)
        # Each room is a time series, and anybody can open a room: so only the largest have one.
        text = f"Subscribers and waiting polls, in the {_MAX_ROOMS} largest rooms"
        yield _filled(_gauge("readers", text, "room", "transport"), self._readers())

    def _readers(self) -> Rows:
        rooms = self._status["readers"].items()
        largest = sorted(rooms, key=lambda item: -sum(item[1].values()))[:_MAX_ROOMS]
        return Rows(
            {(room, transport): n for room, counts in largest for transport, n in counts.items()}
        )


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"realtime_cluster_{name}", text, labels=labels)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Rows) -> Metric:
    """Add a time series for each row, whose key is the values of the labels."""
    for labels, number in rows.items():
        family.add_metric(labels, number)
    return family
