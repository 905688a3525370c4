"""Tasks that fail are restarted and counted; close ends all tasks of a supervisor."""

import asyncio
import errno
import socket
import time
from contextlib import suppress
from typing import Any

import pytest

from realtime import tasks
from realtime.errors import Busy
from realtime.tasks import (
    AcceptLoop,
    Deadline,
    Supervisor,
    Turns,
    backoff,
    run_until_first_exits,
)


async def test_a_task_that_fails_is_restarted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "_FIRST_PAUSE", 0.0)
    third = asyncio.Event()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError(f"failure {runs}")
        third.set()
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.supervise("test", run)
    await asyncio.wait_for(third.wait(), 10)
    assert supervisor.failures == 2
    assert "failure 2" in caplog.text
    await supervisor.close()


async def test_close_waits_until_a_task_has_cleaned_up() -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    supervisor = Supervisor()
    supervisor.spawn("test", run)
    await started.wait()
    await supervisor.close()
    assert cleaned.is_set()


async def test_nothing_starts_after_close() -> None:
    supervisor = Supervisor()
    await supervisor.close()
    ran = asyncio.Event()

    async def run() -> None:
        ran.set()

    supervisor.spawn("late", run)
    await asyncio.sleep(0)
    assert not ran.is_set()


def test_a_backoff_grows_to_its_bound_and_is_never_negative() -> None:
    assert all(0 <= backoff(n, longest=2.0) <= 2.0 for n in range(2000))
    assert all(backoff(1) <= 0.2 for _ in range(100))


async def test_each_failure_in_a_row_waits_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    third = asyncio.Event()
    in_a_row: list[int] = []

    def pause(failures: int) -> float:
        in_a_row.append(failures)
        if failures == 3:
            third.set()
        return 0.0

    async def run() -> None:
        raise RuntimeError("again")

    monkeypatch.setattr(tasks, "backoff", pause)
    supervisor = Supervisor()
    supervisor.supervise("test", run)
    await asyncio.wait_for(third.wait(), 10)
    await supervisor.close()
    assert in_a_row[:3] == [1, 2, 3]


async def test_a_cancellation_that_is_lost_is_repeated() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    supervisor = Supervisor()
    supervisor.spawn("stubborn", run)
    await started.wait()
    await asyncio.wait_for(supervisor.close(), 10)
    assert ended.is_set()


async def test_a_task_that_failed_makes_the_process_not_ready_until_it_is_healthy_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = asyncio.Event()

    async def run() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("once")
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.check()
    supervisor.supervise("test", run)
    await asyncio.wait_for(failed.wait(), 10)
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        supervisor.check()
    monkeypatch.setattr(tasks, "HEALTHY_SECONDS", 0.0)
    supervisor.check()
    await supervisor.close()


# --- several tasks that run together --------------------------------------------------------------


async def run_forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def test_the_first_of_several_that_fails_ends_the_others_and_is_raised() -> None:
    ended: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("the connection is lost")

    with pytest.raises(ConnectionError, match="the connection is lost"):
        await run_until_first_exits(run_forever(ended, "a"), fail(), run_forever(ended, "b"))
    assert sorted(ended) == ["a", "b"]


async def test_all_of_several_end_on_close_even_if_one_missed_a_cancellation() -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await run_forever(ended, "stubborn")

    supervisor = Supervisor()
    supervisor.spawn("several", lambda: run_until_first_exits(run_forever(ended, "a"), stubborn()))
    await started.wait()
    await asyncio.wait_for(supervisor.close(), 10)
    assert sorted(ended) == ["a", "stubborn"]


async def test_when_one_returns_without_an_error_all_end() -> None:
    ended: list[str] = []
    await run_until_first_exits(run_forever(ended, "a"), asyncio.sleep(0))
    assert ended == ["a"]


async def test_a_timeout_is_raised_at_once_even_if_the_task_missed_its_cancellation() -> None:
    started, release, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        ended.set()

    supervisor = Supervisor()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(supervisor.wait_for(0.01, stubborn()), 10)
    assert started.is_set()
    asyncio.get_running_loop().call_later(0.05, release.set)
    await asyncio.wait_for(supervisor.close(), 10)
    assert ended.is_set()  # close waits for abandoned tasks


async def test_a_result_in_time_is_returned_and_a_failure_is_raised() -> None:
    async def fail() -> None:
        raise ConnectionError("no")

    supervisor = Supervisor()
    assert await supervisor.wait_for(10, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ConnectionError):
        await supervisor.wait_for(10, fail())


# --- timeouts -------------------------------------------------------------------------------------


async def test_a_deadline_expires_when_the_time_is_up_and_not_after_it_was_left() -> None:
    ended = asyncio.Event()
    began = time.monotonic()
    with Deadline(0.04, ended.set):
        await asyncio.wait_for(ended.wait(), 10)
    assert time.monotonic() - began >= 0.04
    ended.clear()
    with Deadline(0.04, ended.set):
        pass
    await asyncio.sleep(0.06)
    assert not ended.is_set()


async def test_data_that_arrived_in_time_is_received_even_if_the_loop_was_blocked() -> None:
    async def run() -> str:
        theirs.send(b"here")  # it arrives while the loop is blocked
        data = await asyncio.get_running_loop().sock_recv(ours, 4)
        for _ in range(5):  # a client library needs several loop iterations to pass it on
            await asyncio.sleep(0)
        return data.decode()

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        asyncio.get_running_loop().call_soon(time.sleep, 0.1)
        assert await Supervisor().wait_for(0.05, run()) == "here"


# --- accepting ------------------------------------------------------------------------------------


class FullListener(socket.socket):
    """A listening socket of a process that has no file left."""

    full = True
    tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.full:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.mark.parametrize("cause", ["files", "connections"])
async def test_accepting_pauses_instead_of_spinning_and_recovers(
    cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    is_full = cause == "connections"
    with FullListener() as listener, socket.socket() as client:
        listener.full = cause == "files"
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        loop = AcceptLoop(listener, lambda one, _: accepted.put_nowait(one), lambda: is_full)
        client.connect(listener.getsockname())
        while not caplog.records:
            await asyncio.sleep(0)
        for _ in range(100):  # a loop that spins would try in each iteration
            await asyncio.sleep(0)
        assert listener.tries <= 1
        assert accepted.empty()
        is_full = listener.full = False
        async with asyncio.timeout(10):
            (await accepted.get()).close()
        loop.close()
    assert {record.getMessage() for record in caplog.records} == {"accepting pauses"}


async def test_an_accept_loop_can_be_closed_while_it_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FullListener() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        loop = AcceptLoop(listener, lambda one, _: one.close())
        client.connect(listener.getsockname())
        while not caplog.records:
            await asyncio.sleep(0)
        loop.close()
    assert loop._pause is not None
    assert loop._pause.cancelled()


# --- turns ---------------------------------------------------------------------------------------


async def test_turns_go_round_the_keys_one_at_a_time() -> None:
    turns, order = Turns(), []

    async def work(name: str) -> None:
        async with turns.take(name[0]):
            order.append(name)
            await asyncio.sleep(0)
            assert order[-1] == name  # nobody else had a turn meanwhile

    async with turns.take("x"):
        waiting = [asyncio.create_task(work(name)) for name in ("a1", "a2", "a3", "b1", "c1", "b2")]
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*waiting)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    async with asyncio.timeout(10), turns.take("a"):
        pass


async def test_a_turn_that_is_cancelled_or_fails_passes_on() -> None:
    turns = Turns()
    reached = []

    async def work(name: str) -> None:
        async with turns.take(name):
            reached.append(name)
            raise ValueError

    async with turns.take("x"):
        waiting = [asyncio.create_task(work(name)) for name in "abc"]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # it has its turn, but has not noticed
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert reached == ["c"]
    assert [type(result) for result in results][2] is ValueError
    async with asyncio.timeout(10), turns.take("a"):
        pass
