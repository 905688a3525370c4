"""The status port: what is known, what is not, and nothing for other sites."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realtime.brokers.memory import MemoryBroker
from realtime.client import get_json, request
from realtime.cluster import registry, status
from realtime.cluster.registry import NodeInfo
from realtime.cluster.worker import State, WorkerProcess
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server.config import ServerConfig
from realtime.server.sockets import close_listeners, open_port, port_of
from realtime.web import pages
from tests.transports.raw import Raw

OURS = "our master"


class Hub(MemoryBroker):
    """A hub that can be made unreachable."""

    away = False

    async def reports(self) -> Any:
        if self.away:
            raise NoBroker
        return await super().reports()

    async def add_report(
        self, worker: str, pid: int, master: str, **readers: dict[str, int]
    ) -> None:
        connections = {"sse": sum(counts["sse"] for counts in readers.values())}
        report = NodeInfo(worker, "box", master, pid, False, connections, readers)
        await self.report(f"{worker} {pid} {master}", report.encode(), 60)


class StatusServer:
    """A status port over two workers of ours; their processes are not started."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self.hub = Hub(Limits())
        self.workers = [WorkerProcess(ServerConfig(port=port)) for port in (6001, 6002)]
        for worker in self.workers:
            worker.state, worker.pid = State.READY, worker.port
        overview = status.ClusterStatus(
            self.workers, "127.0.0.1", self.hub, "memory, for a test", OURS
        )
        self._server = status.make_server(overview, self.hub, OriginPolicy([]), limits)
        self._listener = open_port(0, "127.0.0.1")
        self._server.add_sockets(self._listener)
        self._server.start_timeouts()
        self.port = port_of(self._listener)
        self.url = f"http://127.0.0.1:{self.port}"

    async def status(self) -> Any:
        return await get_json(self.url, "/status")

    async def aclose(self) -> None:
        await self._server.close()
        close_listeners([self._listener])


async def test_a_silent_connection_is_closed() -> None:
    limits = Limits(idle_seconds=0.1, request_seconds=0.1)
    async with aclosing(StatusServer(limits)) as server, Raw(server) as silent, Raw(server) as half:
        half.send(b"GET / HT")
        assert await silent.rest() == b""
        assert b" 408 " in await half.rest()


async def test_one_address_cannot_hold_the_status_port() -> None:
    async with aclosing(StatusServer(Limits(status_connections_per_address=2))) as server:
        async with Raw(server) as first, Raw(server) as second:
            for raw in (first, second):
                raw.ask("/healthz")
                await raw.until(b"}")  # it stays open
            response = await request(server.url, "GET", "/healthz")
            assert (response.status, response.json()["error"]["code"]) == (503, "busy")
        async with asyncio.timeout(10):
            while (await request(server.url, "GET", "/healthz")).status != 200:
                await asyncio.sleep(0)


@pytest.fixture
async def server() -> AsyncIterator[StatusServer]:
    async with aclosing(StatusServer()) as server:
        yield server


async def test_our_workers_come_first_and_totals_include_all(server: StatusServer) -> None:
    here = registry.machine_name()
    await server.hub.add_report("10.0.0.2:6001", 1, "", lobby={"sse": 1})
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, lobby={"sse": 2}, 聊天室={"sse": 5})
    server.workers[0].restarts, server.workers[0].reason = 3, "killed by SIGKILL"
    seen = await server.status()
    assert [(row["worker"], row["machine"], row["ours"]) for row in seen["workers"]] == [
        ("127.0.0.1:6001", here, True),
        ("127.0.0.1:6002", here, True),
        ("10.0.0.2:6001", "box", False),
    ]
    assert seen["workers"][0]["readers"] == {"lobby": {"sse": 2}, "聊天室": {"sse": 5}}
    assert [seen["workers"][0][name] for name in ("restarts", "reason", "state")] == [
        3,
        "killed by SIGKILL",
        "ready",
    ]
    assert seen["connections"] == {"sse": 8}
    assert seen["readers"] == {"lobby": {"sse": 3}, "聊天室": {"sse": 5}}
    assert seen["hub"] == {"label": "memory, for a test", "up": True}


async def test_a_dead_worker_of_ours_counts_no_more_even_before_its_lease_ends(
    server: StatusServer,
) -> None:
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, lobby={"sse": 2})
    server.workers[0].pid = None
    assert (await server.status())["readers"] == {}
    server.workers[0].pid = 6009  # its successor, which has not reported yet
    seen = await server.status()
    assert seen["connections"] == {}
    assert len(seen["workers"]) == 2


async def test_a_machine_with_our_name_is_another_one(server: StatusServer) -> None:
    """Cloned machines have the same name, the same addresses, and perhaps the same pids."""
    await server.hub.add_report("127.0.0.1:6001", 6001, "another master", lobby={"sse": 2})
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, lobby={"sse": 1})
    seen = await server.status()
    assert [row["ours"] for row in seen["workers"]] == [True, True, False]
    assert seen["readers"] == {"lobby": {"sse": 3}}


async def test_while_the_hub_is_away_it_shows_what_the_master_knows(server: StatusServer) -> None:
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, lobby={"sse": 2})
    server.hub.away = True
    seen = await server.status()
    assert seen["hub"]["up"] is False
    assert [row["state"] for row in seen["workers"]] == ["ready", "ready"]
    assert [row["connections"] for row in seen["workers"]] == [None, None]  # not 0
    assert (await request(server.url, "GET", "/metrics")).status == 200


async def metrics_of(server: StatusServer) -> dict[tuple[str, ...], float]:
    text = (await request(server.url, "GET", "/metrics")).body.decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_its_metrics_can_be_parsed_whatever_the_name_of_a_room(server: StatusServer) -> None:
    here, room = registry.machine_name(), 'a"\\\n{} 聊天室'
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, **{room: {"sse": 2}})
    server.workers[1].state, server.workers[1].restarts = State.WAITING, 2
    seen = await metrics_of(server)
    assert seen["realtime_cluster_hub_up",] == 1
    assert seen["realtime_cluster_ready", f"{here}/127.0.0.1:6001"] == 1
    assert seen["realtime_cluster_ready", f"{here}/127.0.0.1:6002"] == 0
    assert seen["realtime_cluster_restarts_total", f"{here}/127.0.0.1:6002"] == 2
    assert seen["realtime_cluster_connections", "sse", f"{here}/127.0.0.1:6001"] == 2
    assert seen["realtime_cluster_readers", room, "sse"] == 2


async def test_a_worker_of_another_machine_and_its_successor_are_one_row(
    server: StatusServer,
) -> None:
    for pid in (7, 8):
        await server.hub.add_report("10.0.0.2:6001", pid, "", lobby={"sse": 2})
    text = (await request(server.url, "GET", "/metrics")).body.decode()
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    names = [row.rpartition(" ")[0] for row in rows]
    assert len(names) == len(set(names))  # else Prometheus rejects all of them
    assert (await metrics_of(server))[
        "realtime_cluster_connections", "sse", "box/10.0.0.2:6001"
    ] == 4


async def test_only_the_largest_rooms_are_in_the_metrics(server: StatusServer) -> None:
    rooms = {f"room-{n}": {"sse": n} for n in range(1, 101)}
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, **rooms)
    counts = [value for name, value in (await metrics_of(server)).items() if "room-" in str(name)]
    assert sorted(counts) == list(range(51, 101))
    assert len((await server.status())["readers"]) == 100


async def test_it_is_always_healthy_and_ready_when_all_workers_are(server: StatusServer) -> None:
    assert (await request(server.url, "GET", "/readyz")).status == 200
    server.workers[1].state = State.STARTING
    response = await request(server.url, "GET", "/readyz")
    assert (response.status, response.json()["error"]["code"]) == (503, "busy")
    assert (await get_json(server.url, "/healthz"))["status"] == "ok"


@pytest.mark.parametrize("path", ["/", "/status"])
async def test_it_answers_only_requests_for_its_own_host_name(
    server: StatusServer, path: str
) -> None:
    response = await request(server.url, "GET", path, headers={"Host": "evil.example"})
    assert (response.status, response.json()["error"]["code"]) == (403, "foreign_host")
    assert b"127.0.0.1" not in response.body


async def test_probes_are_answered_under_any_host_name_without_names_of_rooms(
    server: StatusServer,
) -> None:
    await server.hub.add_report("127.0.0.1:6001", 6001, OURS, secret={"sse": 2})
    for path in ("/healthz", "/readyz", "/metrics"):
        response = await request(server.url, "GET", path, headers={"Host": "status.pods.example"})
        assert response.status == 200
        assert b"secret" not in response.body
    assert b"secret" in (await request(server.url, "GET", "/metrics")).body


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/demos/static/../../setup.cfg", "/demos/sse.html", "/demos/static/nothing.js"],
)
async def test_other_addresses_are_not_found(server: StatusServer, path: str) -> None:
    response = await request(server.url, "GET", path)
    assert (response.status, response.json()["error"]["code"]) == (404, "not_found")


async def test_another_method_gets_the_allowed_ones(server: StatusServer) -> None:
    response = await request(server.url, "POST", "/status")
    assert (response.status, response.head.fields["allow"]) == (405, "GET, HEAD")


async def test_the_page_has_a_strict_policy_and_all_its_files(server: StatusServer) -> None:
    response = await request(server.url, "GET", "/")
    assert response.head.fields["content-type"] == "text/html; charset=utf-8"
    assert response.head.fields["content-security-policy"] == pages.CONTENT_SECURITY_POLICY
    for part in ("static/cluster.js", "static/cluster.css", "i18n/zh-Hant.json"):
        assert (await request(server.url, "GET", f"/demos/{part}")).status == 200
