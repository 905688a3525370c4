"""`realtime cluster` as a whole: one chat, secrets, and what each signal does."""

import asyncio
import fcntl
import os
import resource
import signal
import socket
import termios
from pathlib import Path

import pytest

from realtime.client import CLIENTS, get_json, post, request
from realtime.client.webtransport import WebTransportClient
from tests.brokers.private_redis import PrivateRedis
from tests.cluster_fixture import SECONDS, Cluster
from tests.conftest import Servers
from tests.transports.readers import take, texts


@pytest.fixture
def hub(servers: Servers) -> str:
    """A Redis that other tests use as well."""
    return servers.redis.url


# --- a cluster -----------------------------------------------------------------------------------


async def test_its_workers_are_one_chat_over_one_redis_that_ends_with_them(room: str) -> None:
    with Cluster("spawn", "--text-bytes", "3", "--key", "hushed", workers=2) as cluster:
        status = await cluster.until_ready()
        async with CLIENTS["sse"](cluster.urls[1], room, after="now") as reader:
            assert (await post(cluster.urls[0], room, text="one")).status == 201
            assert texts(await take(reader, 1)) == ["one"]
        assert (await post(cluster.urls[1], room, text="four")).status == 413
        await expect_figures_of_all_workers(cluster, room)
        pids = [worker["pid"] for worker in status["workers"]]
        children = cluster.children()
        assert {*children} > {*pids}
        assert len(children) == len(pids) + 1  # one Redis for all
        assert "redis" in status["hub"]["label"] or "valkey" in status["hub"]["label"]
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)


async def test_a_page_of_its_nginx_connects_with_webtransport_to_each_worker(
    hub: str, room: str
) -> None:
    """Past nginx, at the UDP port of the worker that has answered `/lab`."""
    with Cluster(hub, "--nginx", "0", workers=2) as cluster:
        await cluster.until_ready()
        headers = {"Origin": cluster.nginx_url, "Sec-Fetch-Site": "same-site"}
        urls = {*cluster.urls}
        async with asyncio.timeout(SECONDS):
            while urls:
                client = WebTransportClient(cluster.nginx_url, room, after="now", headers=headers)
                async with client:
                    await client.send("hello")
                    assert texts(await take(client, 1)) == ["hello"]
                    assert client._session is not None
                    _, port = client._session._transport.get_extra_info("peername")
                    urls.discard(f"http://127.0.0.1:{port}")


async def expect_figures_of_all_workers(cluster: Cluster, room: str) -> None:
    """The counters of a phone are the sums of all workers; one that hangs is reported."""
    poll = f"/rooms/{room}/short_polling?client=ada&name=Ada"
    for url in cluster.urls:
        await get_json(url, poll)

    async def figures() -> tuple[int, int]:
        report = await get_json(cluster.urls[0], f"/class/{room}/traffic?key=hushed")
        (row,) = report["members"]
        return row["traffic"]["short_polling"]["requests"], report["silent"]

    assert await figures() == (2, 0)
    (pid,) = [row["pid"] for row in (await cluster.status())["workers"][1:]]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert await figures() == (1, 1)
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_other_users_cannot_see_the_password_or_the_key() -> None:
    with PrivateRedis("--requirepass", "secret") as redis:
        address = redis.url.replace("unix://", "unix://:secret@")
        with Cluster(address, "--key", "hushed", workers=1) as cluster:
            pid = (await cluster.until_ready())["workers"][0]["pid"]
            seen = "".join(
                Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")
            )
            assert "secret" not in seen
            assert "hushed" not in seen
            assert (await request(cluster.urls[0], "DELETE", "/rooms/a?key=hushed")).status == 204
            assert "secret" not in str(await cluster.status())


async def test_a_master_shows_the_workers_of_another_on_the_same_hub(hub: str, room: str) -> None:
    with Cluster(hub, workers=1) as one, Cluster(hub, workers=1) as other:
        await one.until_ready()
        await other.until_ready()
        async with CLIENTS["websocket"](other.urls[0], room, after="now"):
            seen = await one.until(lambda s: s["readers"].get(room) == {"websocket": 1})
        address = other.urls[0].removeprefix("http://")
        rows = {row["worker"]: row for row in seen["others"]}
        assert (rows[address]["ours"], rows[address]["connections"]["websocket"]) == (False, 1)


async def test_a_worker_whose_port_is_taken_reports_it_and_starts_when_it_is_free(hub: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Cluster(hub, "--base-port", str(port), workers=1) as cluster:
            seen = await cluster.until(lambda s: s["workers"][0]["reason"])
            worker = seen["workers"][0]
            assert worker["state"] in ("waiting", "starting")
            assert f"127.0.0.1:{port} " in worker["reason"]
            assert worker["reason"].endswith("Address already in use")
            assert (await request(cluster.url, "GET", "/readyz")).status == 503
            taken.close()
            worker = (await cluster.until_ready())["workers"][0]
            assert worker["restarts"] >= 1
            assert (await request(cluster.url, "GET", "/readyz")).status == 200


# --- signals -------------------------------------------------------------------------------------


async def test_sigterm_drains_one_by_one_and_ends(hub: str) -> None:
    with Cluster(hub, workers=2) as cluster:
        await cluster.until_ready()
        children = cluster.children()
        cluster.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(cluster.process.wait, SECONDS)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    assert cluster.steps("stopping", "a worker has ended") == [
        (port, step) for port in cluster.ports for step in ("stopping", "a worker has ended")
    ]


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGQUIT], [signal.SIGTERM] * 2])
async def test_sigint_sigquit_and_a_second_sigterm_end_it_at_once(
    hub: str, numbers: list[signal.Signals]
) -> None:
    with Cluster(hub, "--drain-seconds", "1000", workers=1) as cluster:
        await cluster.until_ready()
        cluster.process.send_signal(numbers[0])
        if len(numbers) > 1:
            await cluster.until(lambda s: s["workers"][0]["state"] == "draining")
            cluster.process.send_signal(numbers[1])
        await asyncio.to_thread(cluster.process.wait, SECONDS)


async def test_a_terminal_that_closes_ends_it(hub: str) -> None:
    master, terminal = os.openpty()
    with Cluster(hub, workers=1, stdin=terminal) as cluster:
        os.close(terminal)
        await cluster.until_ready()
        os.close(master)
        cluster.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(cluster.process.wait, SECONDS)


async def test_a_terminal_that_closes_ends_it_even_if_its_streams_are_files(hub: str) -> None:
    master, terminal = os.openpty()

    def control() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    with Cluster(hub, workers=1, prepare=control) as cluster:
        os.close(terminal)
        await cluster.until_ready()
        children = cluster.children()
        os.close(master)  # the kernel sends SIGHUP
        await asyncio.to_thread(cluster.process.wait, SECONDS)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)


async def test_with_all_files_in_use_it_replaces_a_worker_and_floods_no_log(hub: str) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

    options = ("--idle-seconds", "1", "--request-seconds", "1")
    with Cluster(hub, *options, workers=1, prepare=limit) as cluster:
        await cluster.until_ready()
        address = "127.0.0.1", int(cluster.url.rpartition(":")[2])
        silent = [socket.create_connection(address) for _ in range(200)]
        (worker,) = (pid for pid in cluster.children() if b"worker" in command_of(pid))
        os.kill(worker, signal.SIGKILL)
        for one in silent:  # each is closed, and meanwhile the worker is replaced
            one.settimeout(SECONDS)
            await asyncio.to_thread(one.recv, 1000)
            one.close()
        await cluster.until(lambda s: s["workers"][0]["restarts"] == 1)
        await cluster.until_ready()
    assert cluster.log.count("accepting pauses") <= 1
    assert len(cluster.log.splitlines()) < 30


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
