"""A supervised worker: the reason of each death is reported, and one that hangs is replaced."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from realtime.cluster import worker as worker_module
from realtime.cluster.worker import State, WorkerProcess
from realtime.limits import Limits
from realtime.server.config import ServerConfig
from realtime.tasks import Supervisor
from tests.cluster_fixture import SECONDS
from tests.ports import free_port

# Programs that are not a server, each in its own way.
NEVER_LISTENS = "import time; time.sleep(1000)"
IGNORES_SIGTERM = (
    "import signal; signal.signal(15, signal.SIG_IGN); open({!r}, 'w').close(); " + NEVER_LISTENS
)

Start = Callable[..., WorkerProcess]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    supervisor = Supervisor()

    def start(*command: str, port: int = 1) -> WorkerProcess:
        config = ServerConfig(port=port, hub="memory", limits=Limits(drain_seconds=0))
        worker = WorkerProcess(config, [sys.executable, *command])
        supervisor.supervise("worker", worker.supervise)
        worker.start()
        return worker

    yield start
    await supervisor.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('no such thing')", "exit status 1: no such thing"),
        ("raise SystemExit(3)", "exit status 3: no output"),
        ("{}['key']", "exit status 1: KeyError: 'key'"),
        ("pass", "ended by itself, with exit status 0"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "killed by signal 40"),
    ],
)
async def test_the_reason_of_a_death_is_reported(start: Start, program: str, reason: str) -> None:
    worker = start("-c", program)
    await until(lambda: worker.restarts >= 2)  # so it was restarted
    assert worker.reason == reason


async def test_a_program_that_cannot_be_started_is_reported_and_tried_again() -> None:
    worker = WorkerProcess(ServerConfig(port=1), ["/nowhere/python"])
    worker.start()
    supervising = asyncio.create_task(worker.supervise())
    await until(lambda: worker.restarts >= 2)
    supervising.cancel()
    assert worker.reason.startswith("it cannot be started: [Errno 2]")


async def test_its_configuration_is_on_its_standard_input(start: Start, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    worker = start("-c", f"import sys; open({str(copy)!r}, 'w').write(sys.stdin.read())", port=7)
    await until(lambda: worker.restarts)
    assert json.loads(copy.read_text())["port"] == 7
    assert ServerConfig.from_json(copy.read_text()).limits == Limits(drain_seconds=0)


async def test_one_that_never_listens_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_START_SECONDS", 0.2)
    worker = start("-c", NEVER_LISTENS)
    await until(lambda: worker.restarts)
    assert worker.reason == "killed: it did not listen within 0.2 s"


async def test_one_that_hangs_is_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_PROBE_INTERVAL", 0.05)
    monkeypatch.setattr(worker_module, "_PROBE_TIMEOUT", 1.0)  # else a busy one is replaced, too
    worker = start("-m", "realtime", "worker", port=free_port())
    await until(lambda: worker.state is State.READY)
    frozen = worker.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    await until(lambda: worker.state is State.READY and worker.pid != frozen)
    assert worker.reason == "killed: it did not answer 3 times in a row"


async def test_one_that_does_not_end_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker_module, "_STOP_SECONDS", 0.2)
    worker = start("-c", IGNORES_SIGTERM.format(str(tmp_path / "ready")))
    await until(lambda: worker.pid and (tmp_path / "ready").exists())
    await worker.stop(signal.SIGTERM)
    await until(lambda: worker.reason)
    assert worker.reason == "killed: it did not end within 0.2 s"
    assert worker.state is State.ENDED
    assert worker.restarts == 0


async def test_one_whose_process_is_being_started_can_be_stopped(start: Start) -> None:
    worker = start("-c", NEVER_LISTENS)
    await until(lambda: worker.state is State.STARTING)
    assert worker.pid is None
    await worker.stop(signal.SIGTERM)
    await until(lambda: worker.reason)
    assert (worker.reason, worker.state) == ("stopped by SIGTERM", State.ENDED)


async def test_one_that_waits_for_its_restart_can_be_stopped(start: Start) -> None:
    worker = start("-c", "pass")
    await until(lambda: worker.state is State.WAITING)
    await worker.stop(signal.SIGTERM)
    assert worker.state is State.ENDED


async def test_its_log_lines_name_the_worker(
    start: Start, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    lines = """import sys; sys.exit('{"level": "INFO"}\\nand a traceback')"""
    worker = start("-c", lines, port=7)
    await until(lambda: worker.restarts)
    log = capfdbinary.readouterr().err
    assert b'{"worker": 7, "level": "INFO"}\n7: and a traceback\n' in log
