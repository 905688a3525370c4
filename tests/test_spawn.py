"""Choosing a hub, and a private server that nobody else can reach and that ends with us."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.limits import Limits
from realtime.spawn import HubError, SpawnedServer, choose, find_program
from tests.server import Server


@pytest.fixture
def program() -> Path:
    found = find_program()
    assert found is not None, "the valkey extra, or a redis-server, belongs to every test machine"
    return found


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for is as dead as can be.
    return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()


async def test_a_spawned_server_is_ours_alone_and_leaves_nothing(program: Path) -> None:
    server = await SpawnedServer.start(program)
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
    monkeypatch.setattr("realtime.spawn.find_program", lambda: None)
    choice = await choose("auto", Limits())
    assert isinstance(choice.broker, MemoryBroker)
    assert choice.label == "memory, no redis-server or valkey-server found"


async def test_spawn_has_no_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.spawn.find_program", lambda: None)
    with pytest.raises(HubError, match="no redis-server or valkey-server found"):
        await choose("spawn", Limits())


async def test_a_program_that_is_no_server_is_told(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(HubError, match="did not start"):
        await SpawnedServer.start(program)


@pytest.mark.parametrize("hub", ["redis", "http://x", "", "memory "])
async def test_what_is_no_hub_is_refused(hub: str) -> None:
    with pytest.raises(HubError, match="say auto, memory, spawn"):
        await choose(hub, Limits())


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://:secret@box:6379/1", "redis://box:6379/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("rediss://user:secret@box", "rediss://box"),
    ],
)
async def test_a_password_is_not_shown(url: str, label: str) -> None:
    choice = await choose(url, Limits())
    assert choice.label == label
    await choice.broker.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_a_server_that_is_killed_takes_its_redis_along(program: Path) -> None:
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
