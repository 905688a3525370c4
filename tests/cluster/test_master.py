"""`realtime cluster`: workers that are killed, replaced and drained, under load and an audit."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from benchmarks.clients import CLIENTS, post, request
from tests.brokers.private_redis import PrivateRedis
from tests.cli.test_serve import run
from tests.cluster_fixture import SECONDS, Cluster
from tests.conftest import Servers
from tests.transports.readers import take, texts


@pytest.fixture
def hub(servers: Servers) -> str:
    """A Redis that others use as well."""
    return servers.redis.url


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


# --- a cluster -----------------------------------------------------------------------------------


async def test_its_workers_are_one_chat_over_one_redis_that_ends_with_them(room: str) -> None:
    with Cluster("spawn", "--text-bytes", "3") as cluster:
        status = await cluster.until_ready()
        async with CLIENTS["sse"](cluster.urls[2], room, after="now") as reader:
            assert (await post(cluster.urls[0], room, text="one")).status == 201
            assert texts(await take(reader, 1)) == ["one"]
        assert (await post(cluster.urls[1], room, text="four")).status == 413
        pids = [worker["pid"] for worker in status["workers"]]
        children = cluster.children()
        assert {*children} > {*pids}
        assert len(children) == len(pids) + 1  # one Redis for all
        assert "redis" in status["hub"]["label"] or "valkey" in status["hub"]["label"]
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)


async def test_neither_password_nor_key_is_in_sight_of_other_users() -> None:
    with PrivateRedis("--requirepass", "secret") as redis:
        address = redis.url.replace("unix://", "unix://:secret@")
        with Cluster(address, "--key", "hush", workers=1) as cluster:
            worker = (await cluster.until_ready())["workers"][0]
            assert "secret" not in command_line(worker["pid"])
            assert "hush" not in command_line(worker["pid"])
            assert (await request(cluster.urls[0], "DELETE", "/rooms/a?key=hush")).status == 204
            assert "secret" not in str(await cluster.status())


async def test_the_hub_may_be_told_by_the_environment(
    hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REALTIME_HUB", f"unix://{tmp_path}/nobody.sock")
    for command in (["--port", "0"], ["cluster", "--status-port", "0"]):
        result = run(*command)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        assert "nobody.sock cannot be reached" in result.stderr


async def test_a_master_sees_the_workers_of_another_on_the_same_hub(hub: str, room: str) -> None:
    with Cluster(hub, workers=1) as one, Cluster(hub, workers=1) as other:
        await one.until_ready()
        await other.until_ready()
        async with CLIENTS["websocket"](other.urls[0], room, after="now"):
            seen = await one.until(lambda s: s["readers"].get(room) == {"websocket": 1})
        place = other.urls[0].removeprefix("http://")
        rows = {row["worker"]: row for row in seen["others"]}
        assert (rows[place]["ours"], rows[place]["connections"]["websocket"]) == (False, 1)


# --- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        (["--text-bytes", "0"], 2, "--text-bytes: must be a whole number above 0"),
        (["--nonsense", "7"], 2, "unrecognized arguments: --nonsense 7"),
        (["--workers", "0"], 2, "--workers: must be a whole number above 0"),
        (["--lanes", "6"], 2, "each worker has one port"),
        (["--port", "8000"], 2, "--base-port"),
        (["talk"], 2, "unrecognized arguments: talk"),
        (["--tls-certificate", "a.pem", "--nginx", "0"], 2, "a certificate is for it"),
        (["--nginx", "localhost:x"], 2, "--nginx: a port is a number"),
        (["--base-port", "65530", "--workers", "8"], 2, "no port past 65535"),
        (["--hub", "memory"], 1, "each worker would be a chat of its own"),
        (["--hub", "http://:secret@x"], 1, "--hub: say "),
        (["--tls-certificate", "nowhere.pem"], 1, "--tls-certificate, --tls-key: [Errno 2]"),
    ],
)
def test_what_no_worker_could_begin_with_is_told_once(
    options: list[str], status: int, complaint: str
) -> None:
    result = run("cluster", "--status-port", "0", *options)
    assert (result.returncode, result.stdout) == (status, "")
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr


def test_what_stands_before_the_command_is_not_passed_over() -> None:
    result = run("--hub", "spawn", "cluster", "--status-port", "0")
    assert result.returncode == 2
    assert "stands behind `cluster`" in result.stderr


def test_a_status_port_in_use_is_one_line_and_exit_1(hub: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("cluster", "--status-port", port, "--hub", hub)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"--status-port {port}: " in result.stderr


async def test_a_worker_whose_port_is_taken_says_so_and_begins_when_it_is_free(hub: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Cluster(hub, "--base-port", str(port), workers=1) as cluster:
            seen = await cluster.until(lambda s: s["workers"][0]["reason"])
            worker = seen["workers"][0]
            assert worker["state"] in ("waiting", "starting")
            assert worker["reason"].startswith("exit status 1: realtime: [Errno 98]")
            assert (await request(cluster.url, "GET", "/readyz")).status == 503
            taken.close()
            worker = (await cluster.until_ready())["workers"][0]
            assert worker["restarts"] >= 1
            assert (await request(cluster.url, "GET", "/readyz")).status == 200


# --- faults and signals --------------------------------------------------------------------------


async def test_sigterm_drains_one_after_the_other_and_ends(hub: str) -> None:
    with Cluster(hub, workers=3) as cluster:
        await cluster.until_ready()
        children = cluster.children()
        cluster.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(cluster.process.wait, SECONDS)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    assert cluster.steps("stopping", "a worker has ended") == [
        (port, step) for port in cluster.ports for step in ("stopping", "a worker has ended")
    ]


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGQUIT], [signal.SIGTERM] * 2])
async def test_whoever_does_not_want_to_wait_need_not(
    hub: str, numbers: list[signal.Signals]
) -> None:
    with Cluster(hub, "--drain-seconds", "1000", workers=2) as cluster:
        await cluster.until_ready()
        cluster.process.send_signal(numbers[0])
        if len(numbers) > 1:
            await cluster.until(lambda s: s["workers"][0]["state"] == "draining")
            cluster.process.send_signal(numbers[1])
        await asyncio.to_thread(cluster.process.wait, SECONDS)


async def test_a_terminal_that_was_closed_ends_it(hub: str) -> None:
    master, terminal = os.openpty()
    with Cluster(hub, workers=1, stdin=terminal) as cluster:
        os.close(terminal)
        await cluster.until_ready()
        os.close(master)
        cluster.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(cluster.process.wait, SECONDS)
