"""nginx in front of a cluster: the tutorial's scenario, with every kind of client and an audit."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.client import CLIENTS, post, request
from realtime.cluster.nginx_process import NginxProcess
from tests.cluster_fixture import SECONDS, Cluster, until_gone
from tests.conftest import Servers, missing
from tests.faults.harness import Scenario
from tests.faults.test_process_faults import joins_and_quits


@pytest.fixture
def cluster(servers: Servers) -> Iterator[Cluster]:
    if not any(Path(folder, "nginx").exists() for folder in [*os.get_exec_path(), "/usr/sbin"]):
        missing("nginx")
    with Cluster(servers.redis.url, "--nginx", "0", workers=2) as cluster:
        yield cluster


async def nginx_of(cluster: Cluster) -> int:
    """Return the pid of nginx's own master, once it is there."""
    async with asyncio.timeout(SECONDS):
        while True:
            for pid in cluster.children():
                if b"nginx: master" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            await asyncio.sleep(0.02)


async def until_it_responds(cluster: Cluster) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                if (await request(cluster.nginx_url, "GET", "/readyz")).status == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)


async def test_behind_nginx_killed_workers_cost_no_reader_a_message(
    cluster: Cluster, room: str
) -> None:
    await cluster.until_ready()
    async with Scenario([cluster.nginx_url] * 2, room) as scene:
        async with scene.load():
            for index in (0, 1, 0):
                await scene.more(20)
                await cluster.kill_worker(index)
            await cluster.until_ready()
            await scene.more(20)
        audit = await scene.audit()
        expected = {name: 2 for name in CLIENTS if name != "short_polling"} | {"websocket": 4}
        status = await cluster.until(lambda s: s["readers"].get(room) == expected)
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert sum(row["restarts"] for row in status["workers"]) == 3


async def test_behind_nginx_no_reader_notices_a_rolling_restart(
    servers: Servers, room: str
) -> None:
    with Cluster(servers.redis.url, "--nginx", "0", workers=2) as cluster:
        before = [worker["pid"] for worker in (await cluster.until_ready())["workers"]]
        async with Scenario([cluster.nginx_url] * 2, room, members=True) as scene:
            async with scene.load():
                cluster.process.send_signal(signal.SIGHUP)
                after = await cluster.until(
                    lambda s: all(
                        worker["state"] == "ready" and worker["pid"] not in before
                        for worker in s["workers"]
                    )
                )
                await scene.more(20)
            audit = await scene.audit()
            events = next(iter(scene.readers.values())).events
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert all(kinds == ["join"] for kinds in joins_and_quits(events).values())
    assert {worker["restarts"] for worker in after["workers"]} == {0}
    assert cluster.steps("a worker has ended", "a worker is ready")[2:6] == [
        (port, step)  # without the steps of the start and the end
        for port in cluster.ports
        for step in ("a worker has ended", "a worker is ready")
    ]


async def test_an_nginx_that_dies_is_restarted_and_ends_with_the_cluster(
    cluster: Cluster,
) -> None:
    await until_it_responds(cluster)
    os.kill(await nginx_of(cluster), signal.SIGKILL)
    await until_it_responds(cluster)
    title = Path(f"/proc/{await nginx_of(cluster)}/cmdline").read_text()
    folder = re.search(r"-p (\S+)", title)
    children = cluster.children()
    cluster.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(cluster.process.wait, SECONDS)
    await until_gone(children)
    assert folder
    assert not Path(folder[1]).exists()


async def test_a_killed_master_leaves_no_process_and_another_can_take_its_ports(room: str) -> None:
    with Cluster("spawn", "--nginx", "0", workers=2) as cluster:
        await cluster.until_ready()
        await until_it_responds(cluster)
        children = cluster.children()
        cluster.kill()
        base = cluster.ports[0]
        cluster.process.wait()
        with Cluster("spawn", "--base-port", str(base), workers=1) as another:
            await another.until_ready()
            assert (await post(another.urls[0], room, text="hi")).status == 201
            await until_gone(children)


def test_without_nginx_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.cluster.nginx_process._PATH", "/nowhere")
    with pytest.raises(OSError, match="nginx is not installed"):
        NginxProcess("127.0.0.1", 0, ["127.0.0.1:6001"], "any")
