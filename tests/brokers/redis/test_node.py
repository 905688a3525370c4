"""Attempts at a server: one at a time while it fails; what the keeper does is in test_redis.py."""

import asyncio

import pytest
from redis.exceptions import ConnectionError, OutOfMemoryError

from realtime.brokers.redis.node import Attempts
from realtime.errors import NoBroker


class Commands:
    """Commands that wait to be told how they end."""

    def __init__(self) -> None:
        self.running: list[asyncio.Future[str]] = []

    def __call__(self) -> "asyncio.Future[str]":
        self.running.append(asyncio.get_running_loop().create_future())
        return self.running[-1]


async def made(attempts: Attempts, commands: Commands, count: int) -> list["asyncio.Task[str]"]:
    tasks = [asyncio.create_task(attempts.make(commands)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_while_a_server_answers_all_are_made_at_once() -> None:
    attempts, commands = Attempts(), Commands()
    tasks = await made(attempts, commands, 3)
    for command in commands.running:
        command.set_result("done")
    assert await asyncio.gather(*tasks) == ["done"] * 3


async def test_while_it_does_not_one_tries_and_the_others_are_told() -> None:
    attempts, commands = Attempts(), Commands()
    (first,) = await made(attempts, commands, 1)
    commands.running[0].set_exception(ConnectionError())
    with pytest.raises(ConnectionError):
        await first
    trying, *others = await made(attempts, commands, 3)
    assert len(commands.running) == 2
    for other in others:
        with pytest.raises(NoBroker):
            await other
    commands.running[1].set_result("done")
    assert await trying == "done"
    assert len(await made(attempts, commands, 3)) == 3
    assert len(commands.running) == 5
    for command in commands.running[2:]:
        command.set_result("done")


async def test_a_refusal_is_an_answer() -> None:
    attempts, commands = Attempts(), Commands()
    (first,) = await made(attempts, commands, 1)
    commands.running[0].set_exception(OutOfMemoryError())
    with pytest.raises(OutOfMemoryError):
        await first
    tasks = await made(attempts, commands, 2)
    for command in commands.running[1:]:
        command.set_result("done")
    assert await asyncio.gather(*tasks) == ["done"] * 2


async def test_closing_waits_for_those_under_way_and_begins_no_more() -> None:
    attempts, commands = Attempts(), Commands()
    (last,) = await made(attempts, commands, 1)
    closing = asyncio.create_task(attempts.close())
    await asyncio.sleep(0.02)
    assert not closing.done()
    with pytest.raises(NoBroker):
        await attempts.make(commands)
    commands.running[0].set_result("done")
    await closing
    assert await last == "done"
