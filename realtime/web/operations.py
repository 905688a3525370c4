"""Rooms and members, and what an operator needs: health, readiness, metrics, bytes per transport.

An orchestrator restarts a process that is not *live* (``/healthz``), and sends no requests to one
that is not *ready* (``/readyz``).  Prometheus reads ``/metrics``.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from tornado.iostream import StreamClosedError

from realtime import __version__
from realtime.core.access import KEY_PREFIX, Action, Grant
from realtime.core.broker import RoomSummary
from realtime.core.events import parse_room
from realtime.errors import BadClient, BadCursor, BadLimit, NoBroker, NotFound
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.transports.handler import Handler

# A cursor of a list is a name of a room or a client id: no longer than the longest room in NFD.
_MAX_CURSOR_LENGTH = 256
_LIMIT = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)


class OperationHandler(Handler):
    """The base of handlers with small JSON responses; errors are JSON as well (see `Handler`)."""

    transport = "operations"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn: one client may ask for much at once, on many connections."""
        async with self.services.turns.take(self.stream.address):
            if self.stream.closed():  # while it waited
                raise StreamClosedError
            yield

    def reply(self, value: Any) -> None:
        """Send `value` as JSON, and end the response."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(value, ensure_ascii=False))

    def no_content(self) -> None:
        """Send a 204, which has no body and so no type (RFC 9110 §15.3.5)."""
        self.set_status(204)
        self.clear_header("Content-Type")


class _PageHandler(OperationHandler):
    """A list in pages: `?after=` is the `next` of the page before, `?limit=` the rows."""

    def parse_page(self) -> tuple[str, int]:
        """Return the cursor and the rows of the requested page, which is never longer than ours."""
        after = self.argument("after", BadCursor) or ""
        if len(after) > _MAX_CURSOR_LENGTH:
            raise BadCursor("`after` must be the `next` of the page before, or absent.")
        text, most = self.argument("limit", BadLimit), self.services.limits.list_rows
        if text is not None and not _LIMIT.fullmatch(text):
            raise BadLimit("`limit` must be a whole number above 0.")
        return after, min(int(text or most), most)


class RoomsHandler(_PageHandler):
    """The rooms of the hub: ``{"rooms": [{"room", "members", "top"}], "next"?}``.

    `top` is the offset of the newest event.  503 if the hub cannot be reached.
    """

    async def get(self) -> None:
        after, limit = self.parse_page()
        grant = self.admit()
        async with self.turn():
            rooms = await self._read(after, limit + 1, grant)
            rows = [{"room": r.room, "members": r.members, "top": r.top} for r in rooms[:limit]]
            page: dict[str, Any] = {"rooms": rows}
            if len(rooms) > limit:
                page["next"] = rows[-1]["room"]
            self.reply(page)

    async def _read(self, after: str, count: int, grant: Grant) -> list[RoomSummary]:
        """Read so many rooms that `grant` may read.

        The others are passed over: `next` must not name one of them.
        """
        found: list[RoomSummary] = []
        while len(found) < count:
            rooms = await self.services.presence.rooms(after, count)
            found += [room for room in rooms if grant.allows(Action.READ, room.room)]
            if len(rooms) < count:
                break
            after = rooms[-1].room
        return found[:count]


class MembersHandler(_PageHandler):
    """The members of a room: ``{"room", "members": [{"client", "name", "via"}], …}``.

    `via` is the transport by which the member joined; `next` and `total` are there if more follow.
     503 if the hub cannot be reached.
    """

    async def get(self, room: str) -> None:
        room = parse_room(room)
        self.admit().require(Action.READ, room)
        after, limit = self.parse_page()
        async with self.turn():
            members = await self.services.presence.members(room, after, limit + 1)
            rows = [{"client": m.client, "name": m.name, "via": m.via} for m in members[:limit]]
            page: dict[str, Any] = {"room": room, "members": rows}
            if len(members) > limit:
                page["next"] = rows[-1]["client"]
                page["total"] = await self.services.presence.count_members(room)
            self.reply(page)


class MemberHandler(OperationHandler):
    """DELETE: leave the room now, not when the lease ends; a page that closes sends it."""

    async def delete(self, room: str, client: str) -> None:
        room = parse_room(room)
        self.admit().require(Action.READ, room)
        await self.services.leave(room, self.check_client(client))
        self.no_content()


class ProbeHandler(OperationHandler):
    """Answers under any host name: an orchestrator asks by the name of a service or a pod.

    The response has nothing of a room, so a page that was rebound to us may as well have it.
    """

    def check_request_origin(self) -> None:
        host, origin, fetch_site = self.origin_fields
        self.services.origin_policy.check_origin(origin, host, fetch_site)


class HealthHandler(ProbeHandler):
    """Liveness: the process responds.

    Every page shows at its foot which hub it uses and why, and who may do what.
    """

    def initialize(self, services: Services, hub: str) -> None:  # type: ignore[override]
        super().initialize(services)
        self.hub = hub

    def get(self) -> None:
        access = self.services.access.mode
        self.reply({"status": "ok", "hub": self.hub, "access": access, "version": __version__})


class ReadinessHandler(ProbeHandler):
    """Readiness: 503 with the reason: no hub, a room out of sync, or a server that drains."""

    async def get(self) -> None:
        self.services.presence.check_ready()
        await self.services.hub.check_ready()
        self.reply({"status": "ready"})


class WireHandler(OperationHandler):
    """The counts of each transport, since the start; with ``?client=``, those of one client.

    Bytes are counted at the socket, so they include header sections, chunk sizes and frame headers,
    but not TLS, TCP and IP.
    """

    def initialize(self, services: Services, traffic: TrafficStats) -> None:  # type: ignore[override]
        super().initialize(services)
        self.traffic = traffic

    async def get(self) -> None:
        client, grant = self.argument("client", BadClient), self.admit()
        if client:
            self.check_client(client)
        # The counts of a client are of all rooms.  Only its owner may read them anyway: that is the
        # one of the ticket, or a client that has the secret of the id.
        if not client or (grant.client is None and not client.startswith(KEY_PREFIX)):
            grant.require_all()
        async with self.turn():
            self.reply({"transports": self.traffic.report(client)})


class MetricsHandler(ProbeHandler):
    """Counters of `metrics`, current values, and the figures of the process itself."""

    def initialize(self, services: Services, traffic: TrafficStats) -> None:  # type: ignore[override]
        super().initialize(services)
        self.traffic = traffic

    async def get(self) -> None:
        self.admit().require_all()
        # Metrics must work while the hub does not: that is when an operator reads them.
        try:
            await self.services.hub.check_broker()
            up = True
        except NoBroker:
            up = False
        async with self.turn():
            # Of this request: `REGISTRY`, of the process, would keep the collector forever.
            current = CollectorRegistry()
            current.register(_CurrentValues(self.services, self.traffic, up))
            self.set_header("Content-Type", CONTENT_TYPE_LATEST)
            self.finish(generate_latest(REGISTRY) + generate_latest(current))


class _CurrentValues:
    """Collects gauges at the time of the request; `up` is whether the broker responds."""

    def __init__(self, services: Services, traffic: TrafficStats, up: bool) -> None:
        self._services = services
        self._traffic = traffic
        self._up = up

    def collect(self) -> Iterator[Metric]:
        yield from self._transports()
        counts = self._services.hub.count()
        yield _gauge("rooms", "Rooms replicated here", "state", counts, "live", "syncing")
        yield _gauge(
            "readers", "Readers connected here", "as", counts, "following", "lagging", "waiting"
        )
        yield GaugeMetricFamily(
            "realtime_members",
            "Members whose lease this process renews",
            len(self._services.presence),
        )
        yield GaugeMetricFamily("realtime_broker_up", "The hub responds and delivers", self._up)
        yield GaugeMetricFamily(
            "realtime_draining", "The server is draining", self._services.hub.closing
        )
        yield GaugeMetricFamily("realtime_tasks", "asyncio tasks", len(asyncio.all_tasks()))

    def _transports(self) -> Iterator[Metric]:
        """The counters of `/wire`, under Prometheus names."""
        rows = self._traffic.report()
        open_now = GaugeMetricFamily(
            "realtime_connections_open", "Connections open now", labels=["transport"]
        )
        for transport, row in rows.items():
            open_now.add_metric([transport], row["open"])
        yield open_now
        for name in ("connections", "requests", "events", "bytes_in", "bytes_out"):
            family = CounterMetricFamily(
                f"realtime_{name}", f"{name} since the start", labels=["transport"]
            )
            for transport, row in rows.items():
                family.add_metric([transport], row[name])
            yield family


def _gauge(name: str, text: str, label: str, counts: Counter[str], *values: str) -> Metric:
    """Build a gauge with one time series for each of `values`, which are keys of `counts`."""
    gauge = GaugeMetricFamily(f"realtime_{name}", text, labels=[label])
    for value in values:
        gauge.add_metric([value], counts[value])
    return gauge


class ServerOptionsHandler(OperationHandler):
    """``OPTIONS *``: what the server as a whole accepts (RFC 9110 §9.3.7)."""

    def options(self) -> None:
        self.no_content()
        self.set_header("Allow", "GET, HEAD, POST, DELETE, OPTIONS")


class NotFoundHandler(OperationHandler):
    """Every other URL is a 404 with our JSON, not with the HTML of Tornado."""

    def prepare(self) -> None:
        super().prepare()
        raise NotFound("Nothing exists at this URL; the README lists the URLs.")
