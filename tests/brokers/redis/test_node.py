"""The circuit breaker: one command at a time while a server fails; test_broker.py has the rest."""

import asyncio

import pytest
from redis.exceptions import ConnectionError, OutOfMemoryError

from realtime.brokers.redis.node import CircuitBreaker
from realtime.errors import NoBroker


class Commands:
    """Commands whose results a test sets."""

    def __init__(self) -> None:
        self.running: list[asyncio.Future[str]] = []

    def __call__(self) -> "asyncio.Future[str]":
        self.running.append(asyncio.get_running_loop().create_future())
        return self.running[-1]


async def start_calls(
    breaker: CircuitBreaker, commands: Commands, count: int
) -> list["asyncio.Task[str]"]:
    tasks = [asyncio.create_task(breaker.call(commands)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_while_a_server_replies_commands_run_concurrently() -> None:
    breaker, commands = CircuitBreaker(), Commands()
    tasks = await start_calls(breaker, commands, 3)
    for command in commands.running:
        command.set_result("done")
    assert await asyncio.gather(*tasks) == ["done"] * 3


async def test_while_it_fails_one_command_runs_and_the_others_fail_at_once() -> None:
    breaker, commands = CircuitBreaker(), Commands()
    (first,) = await start_calls(breaker, commands, 1)
    commands.running[0].set_exception(ConnectionError())
    with pytest.raises(ConnectionError):
        await first
    probe, *others = await start_calls(breaker, commands, 3)
    assert len(commands.running) == 2
    for other in others:
        with pytest.raises(NoBroker):
            await other
    commands.running[1].set_result("done")
    assert await probe == "done"
    assert len(await start_calls(breaker, commands, 3)) == 3
    assert len(commands.running) == 5
    for command in commands.running[2:]:
        command.set_result("done")


async def test_an_error_reply_does_not_open_the_breaker() -> None:
    breaker, commands = CircuitBreaker(), Commands()
    (first,) = await start_calls(breaker, commands, 1)
    commands.running[0].set_exception(OutOfMemoryError())
    with pytest.raises(OutOfMemoryError):
        await first
    tasks = await start_calls(breaker, commands, 2)
    for command in commands.running[1:]:
        command.set_result("done")
    assert await asyncio.gather(*tasks) == ["done"] * 2


async def test_closing_waits_for_commands_in_flight_and_starts_no_more() -> None:
    breaker, commands = CircuitBreaker(), Commands()
    (last,) = await start_calls(breaker, commands, 1)
    closing = asyncio.create_task(breaker.close())
    await asyncio.sleep(0.02)
    assert not closing.done()
    with pytest.raises(NoBroker):
        await breaker.call(commands)
    commands.running[0].set_result("done")
    await closing
    assert await last == "done"
