"""Joins and quits, once each: leases over the memory broker, whose clock is set by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.events import Cursor, Member
from realtime.limits import Limits
from realtime.presence import Presence

LIMITS = Limits(lease_seconds=30, grace_seconds=5)
ADA = Member("ada", "Ada", "sse")


class World:
    """A broker and a clock; `presence` begins a process of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broker = MemoryBroker(LIMITS, lambda: self.now)

    @asynccontextmanager
    async def presence(self, holder: str) -> AsyncIterator[Presence]:
        presence = Presence(self.broker, LIMITS, holder)
        yield presence
        await presence.close()

    async def said(self) -> list[str]:
        history = await self.broker.history("r", Cursor("", 0))
        return [json.loads(event.json)["kind"] for event in history.events]

    async def pass_seconds(self, seconds: float) -> None:
        await settled()
        self.now += seconds
        await self.broker.sweep("r")


async def settled() -> None:
    """Let the tasks that were begun end: over this broker they never wait for long."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_who_arrives_has_joined_once(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        await presence.arrive("r", ADA)
        assert await world.said() == ["join"]
        assert await presence.members("r") == [ADA]


async def test_who_departs_has_quit_after_the_grace(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        presence.depart("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(4)
        assert await world.said() == ["join"]
        await world.pass_seconds(2)
        assert await world.said() == ["join", "quit"]
        assert await presence.members("r") == []


async def test_a_reload_is_silent(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        presence.depart("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(3)
        await presence.arrive("r", ADA)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_one_of_two_tabs_that_closes_is_no_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        await presence.arrive("r", ADA)
        presence.depart("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_a_reload_that_lands_on_another_process_is_silent(world: World) -> None:
    async with world.presence("a") as one, world.presence("b") as other:
        await one.arrive("r", ADA)
        await other.arrive("r", ADA)
        one.depart("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_two_processes_say_one_quit(world: World) -> None:
    async with world.presence("a") as one, world.presence("b") as other:
        await one.arrive("r", ADA)
        await other.arrive("r", ADA)
        one.depart("r", ADA, LIMITS.grace_seconds)
        other.depart("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(6)
        await world.broker.sweep("r")
        assert await world.said() == ["join", "quit"]


async def test_a_process_that_dies_lets_its_members_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
    await world.pass_seconds(29)
    assert await world.said() == ["join"]
    await world.pass_seconds(2)
    assert await world.said() == ["join", "quit"]


async def test_a_poll_is_a_member_until_its_lease_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        presence.depart("r", ADA, LIMITS.lease_seconds)
        await world.pass_seconds(29)
        assert await world.said() == ["join"]
        await world.pass_seconds(2)
        assert await world.said() == ["join", "quit"]


async def test_who_leaves_is_off_the_list_at_once_and_quits_after_the_grace(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        await presence.leave("r", "ada")
        assert await presence.members("r") == []
        assert await world.said() == ["join"]
        await world.pass_seconds(6)
        assert await world.said() == ["join", "quit"]


async def test_who_leaves_and_comes_back_never_left(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)
        await presence.leave("r", "ada")
        presence.depart("r", ADA, LIMITS.grace_seconds)
        await settled()
        await presence.arrive("r", ADA)
        await world.pass_seconds(10)
        assert await presence.members("r") == [ADA]
        assert await world.said() == ["join"]


async def test_a_goodbye_that_comes_after_the_new_page_is_not_its_own(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.arrive("r", ADA)  # the old page
        await presence.arrive("r", ADA)  # the new one
        await presence.leave("r", "ada")
        presence.depart("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(10)
        assert await presence.members("r") == [ADA]
        assert await world.said() == ["join"]


async def test_who_was_never_there_can_leave(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.leave("r", "nobody")
        await world.pass_seconds(10)
        assert await world.said() == []
