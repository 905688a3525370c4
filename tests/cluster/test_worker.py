"""A worker that is kept alive: why one ended is said, and one that is hung does not stay so."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from realtime.cluster import worker as worker_module
from realtime.cluster.worker import State, WorkerProcess
from realtime.tasks import Supervisor
from tests.cluster_fixture import SECONDS, free_port

# Programs that are no server, each in its own way.
LISTENS_NEVER = "import time; time.sleep(1000)"
IS_STUBBORN = (
    "import signal; signal.signal(15, signal.SIG_IGN); open({!r}, 'w').close(); " + LISTENS_NEVER
)

Begin = Callable[..., WorkerProcess]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    supervisor = Supervisor()

    def begin(*command: str, port: int = 1) -> WorkerProcess:
        url = f"http://127.0.0.1:{port}"
        worker = WorkerProcess(url, port, [sys.executable, *command], os.environ, drain_seconds=0)
        supervisor.supervise("worker", worker.keep)
        worker.start()
        return worker

    yield begin
    await supervisor.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('no such thing')", "exit status 1: no such thing"),
        ("raise SystemExit(3)", "exit status 3: it said nothing"),
        ("{}['key']", "exit status 1: KeyError: 'key'"),
        ("pass", "ended by itself, with exit status 0"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "killed by signal 40"),
    ],
)
async def test_why_one_died_is_said(begin: Begin, program: str, reason: str) -> None:
    worker = begin("-c", program)
    await until(lambda: worker.restarts >= 2)  # and it is begun again
    assert worker.reason == reason


async def test_a_program_that_cannot_be_begun_is_told_and_tried_again() -> None:
    worker = WorkerProcess("http://127.0.0.1:1", 1, ["/nowhere/python"], {}, drain_seconds=0)
    worker.start()
    keeping = asyncio.create_task(worker.keep())
    await until(lambda: worker.restarts >= 2)
    keeping.cancel()
    assert worker.reason.startswith("it cannot be started: [Errno 2]")


async def test_one_that_never_listens_is_killed(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_START_SECONDS", 0.2)
    worker = begin("-c", LISTENS_NEVER)
    await until(lambda: worker.restarts)
    assert worker.reason == "killed, since it did not listen within 0.2 s"


async def test_one_that_is_hung_is_replaced(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_ASK_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "_ASK_TIMEOUT", 0.5)
    port = free_port()
    command = ["-m", "realtime", "--hub", "memory", "--port", str(port)]
    worker = begin(*command, port=port)
    await until(lambda: worker.state is State.READY)
    frozen = worker.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    await until(lambda: worker.state is State.READY and worker.pid != frozen)
    assert worker.reason == "killed, since it did not answer 3 times in a row"


async def test_one_that_does_not_end_is_killed(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker_module, "_END_SECONDS", 0.2)
    worker = begin("-c", IS_STUBBORN.format(str(tmp_path / "deaf")))
    await until(lambda: worker.pid and (tmp_path / "deaf").exists())
    await worker.stop(signal.SIGTERM)
    await until(lambda: worker.reason)
    assert worker.reason == "killed, since it did not end within 0.2 s"
    assert worker.state is State.ENDED
    assert worker.restarts == 0


async def test_one_that_is_just_being_begun_can_be_ended(begin: Begin) -> None:
    worker = begin("-c", LISTENS_NEVER)
    await until(lambda: worker.state is State.STARTING)  # and has no pid yet
    assert worker.pid is None
    await worker.stop(signal.SIGTERM)
    await until(lambda: worker.reason)
    assert (worker.reason, worker.state) == ("told to end by SIGTERM", State.ENDED)


async def test_one_that_waits_to_be_begun_again_can_be_ended(begin: Begin) -> None:
    worker = begin("-c", "pass")
    await until(lambda: worker.state is State.WAITING)
    await worker.stop(signal.SIGTERM)
    assert worker.state is State.ENDED


async def test_what_it_logs_says_who_it_was(
    begin: Begin, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    lines = """import sys; sys.exit('{"level": "INFO"}\\nand a traceback')"""
    worker = begin("-c", lines, port=7)
    await until(lambda: worker.restarts)
    told = capfdbinary.readouterr().err
    assert b'{"worker": 7, "level": "INFO"}\n7: and a traceback\n' in told
