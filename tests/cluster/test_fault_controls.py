"""Faults on request in a whole cluster: nginx, two workers and a private Redis, with an audit."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.method.audit import Audit
from realtime.client import get_json, request
from tests.cluster_fixture import Cluster, until_gone
from tests.faults.harness import Scenario
from tests.web.test_faults import OPTIONS, inject, until_healed, until_state


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster("spawn", "--nginx", "0", *OPTIONS, workers=2) as cluster:
        yield cluster


def address(cluster: Cluster, index: int = 0) -> str:
    return cluster.urls[index].removeprefix("http://")


async def state_of(cluster: Cluster, number: int) -> dict[str, Any]:
    report = await get_json(cluster.url, "/faults")
    return next(fault for fault in report["faults"] if fault["number"] == number)


async def audited(cluster: Cluster, room: str, *faults: tuple[str, str]) -> Audit:
    """Inject these faults under load, one after the other, and audit all readers.

    What was acknowledged before a kill of Redis may be lost, with a gap.
    """
    await cluster.until_ready()
    excused: set[str] = set()
    async with Scenario([cluster.nginx_url], room) as scene:
        async with scene.load():
            for kind, target in faults:
                await scene.more(10)
                answer = (await inject(cluster.url, kind, target, seconds=1)).check(202).json()
                await until_healed(cluster.url, answer["number"])
                if (kind, target) == ("kill", "redis"):
                    excused = scene.acknowledged
            await scene.more(10)
        return await scene.audit(excused)


async def test_no_reader_misses_a_message_whatever_happens_to_workers_and_connections(
    cluster: Cluster, room: str
) -> None:
    worker = address(cluster)
    audit = await audited(
        cluster,
        room,
        ("cut", worker),
        ("kill", worker),
        ("freeze", worker),
        ("freeze", "redis"),
        ("close", "clients"),
        ("close", "pubsub"),
    )
    assert audit.clean, audit
    assert not audit.gaps, audit


async def test_a_killed_redis_is_a_gap_for_every_reader(cluster: Cluster, room: str) -> None:
    audit = await audited(cluster, room, ("kill", "redis"))
    assert audit.gaps
    assert audit.clean, audit


async def test_while_nginx_is_cut_off_the_other_worker_answers(cluster: Cluster, room: str) -> None:
    await cluster.until_ready()
    worker = address(cluster)
    answer = (await inject(cluster.url, "cut", worker, seconds=30)).check(202).json()
    for _ in range(4):
        await get_json(cluster.nginx_url, f"/rooms/{room}/short_polling")
    await get_json(f"http://{worker}", "/readyz")  # the worker itself works
    busy = await inject(cluster.url, "kill", worker)
    assert busy.json()["error"]["code"] == "target_busy"
    report = await get_json(cluster.url, "/faults")
    assert {"kind": "cut", "target": worker, "timed": True} in report["controls"]
    assert (await state_of(cluster, answer["number"]))["state"] == "active"


async def test_the_status_port_has_the_page_and_its_policy_names_nginx(cluster: Cluster) -> None:
    await cluster.until_ready()
    page = await request(cluster.url, "GET", "/demos/faults.html")
    port = cluster.nginx_url.rpartition(":")[2]
    assert f"http://127.0.0.1:{port} " in page.head.fields["content-security-policy"]
    assert (await cluster.status())["fault_controls"] is True
    preflight = await request(
        cluster.nginx_url, "OPTIONS", "/rooms/x/messages", headers={"Origin": cluster.url}
    )
    assert preflight.head.fields["access-control-allow-origin"] == cluster.url


async def test_a_frozen_worker_ends_with_its_cluster() -> None:
    with Cluster("spawn", *OPTIONS, workers=1) as cluster:
        (worker,) = (await cluster.until_ready())["workers"]
        (await inject(cluster.url, "freeze", address(cluster), seconds=30)).check(202)
        await until_state(worker["pid"], "T")
    await until_gone([worker["pid"]])
    assert "stopped by SIGINT" in cluster.log  # and not killed after a timeout
