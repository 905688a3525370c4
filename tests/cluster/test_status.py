"""What a cluster shows of itself: what is so, what is not known, and nothing to other sites."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from benchmarks.clients import get_json, request
from realtime.brokers.memory import MemoryBroker
from realtime.cluster import registry, status
from realtime.cluster.registry import NodeInfo
from realtime.cluster.worker import State, WorkerProcess
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.web import pages

OURS = "a name of our own"


class Hub(MemoryBroker):
    """A hub that can be away."""

    away = False

    async def reports(self) -> Any:
        if self.away:
            raise NoBroker
        return await super().reports()

    async def say(self, worker: str, pid: int, master: str, **readers: dict[str, int]) -> None:
        connections = {"sse": sum(counts["sse"] for counts in readers.values())}
        report = NodeInfo(worker, "box", master, pid, False, connections, readers)
        await self.report(f"{worker} {pid} {master}", report.encode(), 60)


class Stand:
    """A status port over two workers of ours, which nobody began."""

    def __init__(self) -> None:
        self.hub = Hub(Limits())
        self.workers = [
            WorkerProcess("http://127.0.0.1:1", port, [], {}, 0) for port in (6001, 6002)
        ]
        for worker in self.workers:
            worker.state, worker.pid = State.READY, worker.port
        overview = status.ClusterStatus(
            self.workers, "127.0.0.1", self.hub, "memory, for a test", OURS
        )
        self._server = HTTPServer(status.make_application(overview, OriginPolicy([])))
        sockets = bind_sockets(0, "127.0.0.1")
        self._server.add_sockets(sockets)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    async def status(self) -> Any:
        return await get_json(self.url, "/status")

    async def aclose(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with aclosing(Stand()) as stand:
        yield stand


async def test_ours_come_first_and_all_are_added_up(stand: Stand) -> None:
    here = registry.machine()
    await stand.hub.say("10.0.0.2:6001", 1, "", lobby={"sse": 1})
    await stand.hub.say("127.0.0.1:6001", 6001, OURS, lobby={"sse": 2}, 聊天室={"sse": 5})
    stand.workers[0].restarts, stand.workers[0].reason = 3, "killed by SIGKILL"
    seen = await stand.status()
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


async def test_one_of_ours_that_died_is_counted_no_more_though_its_lease_goes_on(
    stand: Stand,
) -> None:
    await stand.hub.say("127.0.0.1:6001", 6001, OURS, lobby={"sse": 2})
    stand.workers[0].pid = None
    assert (await stand.status())["readers"] == {}
    stand.workers[0].pid = 6009  # another, which has not reported
    seen = await stand.status()
    assert seen["connections"] == {}
    assert len(seen["workers"]) == 2


async def test_a_machine_that_looks_like_ours_is_another(stand: Stand) -> None:
    """Of cloned machines each has the same name, the same addresses, and perhaps the same pids."""
    await stand.hub.say("127.0.0.1:6001", 6001, "somebody else", lobby={"sse": 2})
    await stand.hub.say("127.0.0.1:6001", 6001, OURS, lobby={"sse": 1})
    seen = await stand.status()
    assert [row["ours"] for row in seen["workers"]] == [True, True, False]
    assert seen["readers"] == {"lobby": {"sse": 3}}


async def test_while_the_hub_is_away_it_tells_what_it_knows_itself(stand: Stand) -> None:
    await stand.hub.say("127.0.0.1:6001", 6001, OURS, lobby={"sse": 2})
    stand.hub.away = True
    seen = await stand.status()
    assert seen["hub"]["up"] is False
    assert [row["state"] for row in seen["workers"]] == ["ready", "ready"]
    assert [row["connections"] for row in seen["workers"]] == [None, None]  # not 0
    assert (await request(stand.url, "GET", "/metrics")).status == 200


async def figures(stand: Stand) -> dict[tuple[str, ...], float]:
    text = (await request(stand.url, "GET", "/metrics")).body.decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_its_figures_can_be_read_whatever_a_room_is_called(stand: Stand) -> None:
    here, room = registry.machine(), 'a"\\\n{} 聊天室'
    await stand.hub.say("127.0.0.1:6001", 6001, OURS, **{room: {"sse": 2}})
    stand.workers[1].state, stand.workers[1].restarts = State.WAITING, 2
    seen = await figures(stand)
    assert seen["realtime_cluster_hub_up",] == 1
    assert seen["realtime_cluster_ready", f"{here}/127.0.0.1:6001"] == 1
    assert seen["realtime_cluster_ready", f"{here}/127.0.0.1:6002"] == 0
    assert seen["realtime_cluster_restarts_total", f"{here}/127.0.0.1:6002"] == 2
    assert seen["realtime_cluster_connections", "sse", f"{here}/127.0.0.1:6001"] == 2
    assert seen["realtime_cluster_readers", room, "sse"] == 2


async def test_one_that_died_elsewhere_and_its_successor_are_one_row(stand: Stand) -> None:
    for pid in (7, 8):
        await stand.hub.say("10.0.0.2:6001", pid, "", lobby={"sse": 2})
    text = (await request(stand.url, "GET", "/metrics")).body.decode()
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    names = [row.rpartition(" ")[0] for row in rows]
    assert len(names) == len(set(names))  # Prometheus takes none of it otherwise
    assert (await figures(stand))["realtime_cluster_connections", "sse", "box/10.0.0.2:6001"] == 4


async def test_only_the_largest_rooms_have_figures_of_their_own(stand: Stand) -> None:
    rooms = {f"room-{n}": {"sse": n} for n in range(1, 101)}
    await stand.hub.say("127.0.0.1:6001", 6001, OURS, **rooms)
    counts = [value for name, value in (await figures(stand)).items() if "room-" in str(name)]
    assert sorted(counts) == list(range(51, 101))
    assert len((await stand.status())["readers"]) == 100


async def test_it_is_healthy_in_any_case_and_ready_when_all_are(stand: Stand) -> None:
    assert (await request(stand.url, "GET", "/readyz")).status == 200
    stand.workers[1].state = State.STARTING
    answer = await request(stand.url, "GET", "/readyz")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "busy")
    assert (await get_json(stand.url, "/healthz"))["status"] == "ok"


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/healthz"])
async def test_it_answers_only_to_its_own_name(stand: Stand, path: str) -> None:
    answer = await request(stand.url, "GET", path, headers={"Host": "evil.example"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_host")
    assert b"127.0.0.1" not in answer.body


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/demos/static/../../setup.cfg", "/demos/sse.html", "/demos/static/nothing.js"],
)
async def test_there_is_nothing_else(stand: Stand, path: str) -> None:
    answer = await request(stand.url, "GET", path)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


async def test_another_method_is_told_which_it_may_be(stand: Stand) -> None:
    answer = await request(stand.url, "POST", "/status")
    assert (answer.status, answer.head.fields["allow"]) == (405, "GET")


async def test_the_page_comes_under_a_strict_policy_with_all_its_parts(stand: Stand) -> None:
    answer = await request(stand.url, "GET", "/")
    assert answer.head.fields["content-type"] == "text/html; charset=utf-8"
    assert answer.head.fields["content-security-policy"] == pages.CONTENT_SECURITY_POLICY
    for part in ("static/cluster.js", "static/cluster.css", "i18n/zh-Hant.json"):
        assert (await request(stand.url, "GET", f"/demos/{part}")).status == 200
