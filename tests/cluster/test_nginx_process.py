"""nginx in front of a cluster: the article's scenario, with every kind of client and an audit."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.clients import CLIENTS, post, request
from realtime.cluster.nginx_process import NginxProcess
from tests.cli.test_serve import run
from tests.cluster.test_master import command_line
from tests.cluster_fixture import SECONDS, Cluster, until_gone
from tests.conftest import Servers, missing
from tests.faults.harness import Scenario
from tests.faults.test_process_faults import joins_and_quits


@pytest.fixture
def cluster(servers: Servers) -> Iterator[Cluster]:
    if not any(Path(place, "nginx").exists() for place in [*os.get_exec_path(), "/usr/sbin"]):
        missing("nginx")
    with Cluster(servers.redis.url, "--nginx", "0", workers=4) as cluster:
        yield cluster


async def nginx_of(cluster: Cluster) -> int:
    """The process that listens, once it does."""
    async with asyncio.timeout(SECONDS):
        while True:
            for pid in cluster.children():
                if b"nginx: master" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            await asyncio.sleep(0.02)


async def until_it_answers(cluster: Cluster) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                if (await request(cluster.front, "GET", "/readyz")).status == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)


async def test_behind_nginx_workers_that_are_killed_cost_nobody_a_message(
    cluster: Cluster, room: str
) -> None:
    await cluster.until_ready()
    async with Scenario([cluster.front] * 2, room) as scene:
        async with scene.load():
            for index in (0, 1, 2, 3, 0, 1):
                await scene.more(20)
                await cluster.kill_worker(index)
            await cluster.until_ready()
            await scene.more(20)
        audit = await scene.audit()
        expected = {name: 2 for name in CLIENTS if name != "short_polling"} | {"websocket": 4}
        status = await cluster.until(lambda s: s["readers"].get(room) == expected)
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert sum(row["restarts"] for row in status["workers"]) == 6


async def test_behind_nginx_a_rolling_restart_is_not_noticed(servers: Servers, room: str) -> None:
    with Cluster(servers.redis.url, "--nginx", "0", workers=3) as cluster:
        before = [worker["pid"] for worker in (await cluster.until_ready())["workers"]]
        async with Scenario([cluster.front] * 2, room, members=True) as scene:
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
    assert all(said == ["join"] for said in joins_and_quits(events).values())
    assert {worker["restarts"] for worker in after["workers"]} == {0}
    assert cluster.steps("a worker has ended", "a worker is ready")[3:9] == [
        (port, step)  # after the start, and before the end: one after the other
        for port in cluster.ports
        for step in ("a worker has ended", "a worker is ready")
    ]


async def test_an_nginx_that_died_is_begun_again_and_ends_with_the_cluster(
    cluster: Cluster,
) -> None:
    await until_it_answers(cluster)
    assert "--trust-proxy 127.0.0.1 " in command_line((await cluster.workers())[0]["pid"])
    os.kill(await nginx_of(cluster), signal.SIGKILL)
    await until_it_answers(cluster)
    title = Path(f"/proc/{await nginx_of(cluster)}/cmdline").read_text()
    folder = re.search(r"-p (\S+)", title)
    children = cluster.children()
    cluster.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(cluster.process.wait, SECONDS)
    await until_gone(children)
    assert folder
    assert not Path(folder[1]).exists()


async def test_a_master_that_is_killed_leaves_nobody_and_another_takes_its_place(room: str) -> None:
    with Cluster("spawn", "--nginx", "0", workers=2) as cluster:
        await cluster.until_ready()
        await until_it_answers(cluster)
        children = cluster.children()
        cluster.kill()
        base = cluster.ports[0]
        cluster.process.wait()
        with Cluster("spawn", "--base-port", str(base), workers=1) as another:
            await another.until_ready()
            assert (await post(another.urls[0], room, text="hi")).status == 201
            await until_gone(children)


def test_a_port_in_use_is_one_line_and_exit_1(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        hub = ("--hub", servers.redis.url, "--status-port", "0", "--base-port", "0")
        result = run("cluster", "--nginx", port, *hub)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"--nginx {port}: " in result.stderr


def test_a_machine_without_nginx_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.cluster.nginx_process._PATH", "/nowhere")
    with pytest.raises(OSError, match="none is installed"):
        NginxProcess("127.0.0.1", 0, ["127.0.0.1:6001"], "any")
