"""The wall clock of Redis steps, Redis freezes, or the machine sleeps: nothing may expire early.

Nor late: a member that is gone quits, whichever way the clock stepped.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from realtime.brokers.redis.broker import RedisBroker
from realtime.core.events import Cursor, Member
from realtime.limits import Limits
from tests.brokers.conftest import Process, Start, draft, eventually
from tests.brokers.private_redis import PrivateRedis
from tests.brokers.stepped_redis import SteppedRedis

START = Cursor("", 0)
ADA, BOB = Member("ada", "Ada", "sse"), Member("bob", "Bob", "sse")
TWO_HOURS = 7200
LIMITS = Limits(lease_seconds=3)


@pytest.fixture(params=[TWO_HOURS, -TWO_HOURS], ids=["forward", "back"])
def step(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
async def stepped() -> AsyncIterator[SteppedRedis]:
    with SteppedRedis() as redis:
        yield redis


async def kinds(process: Process, room: str) -> list[str]:
    history = await process.broker.history(room, START)
    return [json.loads(event.json)["kind"] for event in history.events]


async def members(process: Process, room: str) -> list[str]:
    await process.broker.sweep(room)
    return [member.client for member in await process.broker.members(room)]


async def test_a_step_of_the_clock_removes_nobody_and_forgets_nothing(
    stepped: SteppedRedis, start: Start, room: str, step: int
) -> None:
    process, other = [await start(RedisBroker(stepped.url, LIMITS)) for _ in range(2)]
    first = await process.broker.publish(draft(room))
    await process.broker.enter(room, ADA, "one")
    await process.broker.report("worker", b"here", 5)
    stepped.step(step)
    for one in (process, other):
        assert await members(one, room) == ["ada"]
        assert await kinds(one, room) == ["say", "join"]
        assert await one.broker.reports() == {"worker": b"here"}
    assert (await process.broker.publish(draft(room))).cursor == Cursor(first.cursor.epoch, 3)


async def test_a_member_that_is_gone_quits_although_the_clock_stepped(
    stepped: SteppedRedis, start: Start, room: str, step: int
) -> None:
    process = await start(RedisBroker(stepped.url, Limits(lease_seconds=0.5)))
    await process.broker.enter(room, ADA, "died")
    await process.broker.report("died", b"", 0.5)
    stepped.step(step)

    async def is_gone() -> bool:
        return not await members(process, room) and not await process.broker.reports()

    await eventually(is_gone)
    assert await kinds(process, room) == ["join", "quit"]


async def test_a_process_that_starts_after_a_step_agrees_with_the_others(
    stepped: SteppedRedis, start: Start, room: str, step: int
) -> None:
    process = await start(RedisBroker(stepped.url, LIMITS))
    await process.broker.enter(room, ADA, "one")
    stepped.step(step)
    new = await start(RedisBroker(stepped.url, LIMITS))
    assert await members(new, room) == ["ada"]
    await new.broker.enter(room, BOB, "two")
    assert await members(process, room) == ["ada", "bob"]


async def test_a_redis_that_was_frozen_for_longer_than_a_lease_removes_nobody(
    redis: PrivateRedis, start: Start, room: str
) -> None:
    process = await start(RedisBroker(redis.url, Limits(lease_seconds=1)))
    await process.broker.enter(room, ADA, "another process, which renews later")
    redis.pause()
    await asyncio.sleep(1.5)  # longer than the lease
    redis.resume()
    await process.publish_until_accepted(draft(room))
    assert await members(process, room) == ["ada"]


async def test_leases_continue_when_the_key_of_the_clock_is_deleted(
    redis: PrivateRedis, start: Start, room: str
) -> None:
    process = await start(RedisBroker(redis.url, Limits(lease_seconds=1)))
    await process.broker.enter(room, ADA, "died")
    async with Redis.from_url(redis.url) as admin:
        await admin.delete("{rt}:clock")
    assert await members(process, room) == ["ada"]

    async def is_gone() -> bool:
        return not await members(process, room)

    await eventually(is_gone)
