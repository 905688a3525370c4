"""Joins and quits, once each: leases over the memory broker, whose clock the tests move."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.core.clock import SteadyClock
from realtime.core.events import Cursor, Member
from realtime.core.presence import Presence
from realtime.errors import Busy, NoBroker
from realtime.limits import Limits

LIMITS = Limits(lease_seconds=30, grace_seconds=5)
ADA = Member("ada", "Ada", "sse")


class FaultyBroker(MemoryBroker):
    """A memory broker that can be unreachable, and whose `leave` can be delayed."""

    down = False
    refused = 0

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(limits, clock)
        self.leave_allowed = asyncio.Event()
        self.leave_allowed.set()

    async def enter(self, room: str, member: Member, node_id: str, *, stream: bool = False) -> None:
        self._check()
        await super().enter(room, member, node_id, stream=stream)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        await self.leave_allowed.wait()
        self._check()
        await super().leave(room, client, node_id, seconds)

    async def sweep(self, room: str) -> None:
        self._check()
        await super().sweep(room)

    def _check(self) -> None:
        if self.down:
            self.refused += 1
            raise NoBroker


class World:
    """A broker and a clock; `presence` starts a process that uses them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broker = FaultyBroker(LIMITS, lambda: self.now)

    @asynccontextmanager
    async def presence(self, node_id: str) -> AsyncIterator[Presence]:
        presence = Presence(self.broker, LIMITS, node_id)
        yield presence
        await presence.close()

    async def published(self) -> list[str]:
        history = await self.broker.history("r", Cursor("", 0))
        return [json.loads(event.json)["kind"] for event in history.events]

    @asynccontextmanager
    async def process(self, node_id: str, *rooms: str) -> AsyncIterator[Presence]:
        """A process that runs its renew and sweep loops, and reads `rooms`."""
        async with self.presence(node_id) as presence:
            presence.start(lambda: rooms)
            await settle()
            yield presence

    async def run_for(self, seconds: float) -> None:
        """Run everything that is due in the next `seconds`."""
        end = self.now + seconds
        while self.now < end:
            await settle()
            self.now += 0.25
        await settle()

    async def pass_seconds(self, seconds: float) -> None:
        await settle()
        self.now += seconds
        await self.broker.sweep("r")


async def settle() -> None:
    """Let the started tasks end: with this broker they take a few loop iterations."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: world.now)
    return world


async def test_a_tracked_member_has_joined_once(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        await presence.track("r", ADA, stream=True)
        assert await world.published() == ["join"]
        assert await presence.members("r") == [ADA]


async def test_an_untracked_member_has_quit_after_the_grace(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        presence.untrack("r", ADA, stream=True)
        await world.pass_seconds(4)
        assert await world.published() == ["join"]
        await world.pass_seconds(2)
        assert await world.published() == ["join", "quit"]
        assert await presence.members("r") == []


async def test_a_reload_publishes_nothing(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        presence.untrack("r", ADA, stream=True)
        await world.pass_seconds(3)
        await presence.track("r", ADA, stream=True)
        await world.pass_seconds(10)
        assert await world.published() == ["join"]


async def test_closing_one_of_two_tabs_is_not_a_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        await presence.track("r", ADA, stream=True)
        presence.untrack("r", ADA, stream=True)
        await world.pass_seconds(10)
        assert await world.published() == ["join"]


async def test_a_reload_that_connects_to_another_process_publishes_nothing(world: World) -> None:
    async with world.presence("a") as one, world.presence("b") as other:
        await one.track("r", ADA, stream=True)
        await other.track("r", ADA, stream=True)
        one.untrack("r", ADA, stream=True)
        await world.pass_seconds(10)
        assert await world.published() == ["join"]


async def test_two_processes_publish_one_quit(world: World) -> None:
    async with world.presence("a") as one, world.presence("b") as other:
        await one.track("r", ADA, stream=True)
        await other.track("r", ADA, stream=True)
        one.untrack("r", ADA, stream=True)
        other.untrack("r", ADA, stream=True)
        await world.pass_seconds(6)
        await world.broker.sweep("r")
        assert await world.published() == ["join", "quit"]


async def test_members_of_a_process_that_died_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
    await world.pass_seconds(29)
    assert await world.published() == ["join"]
    await world.pass_seconds(2)
    assert await world.published() == ["join", "quit"]


async def test_a_poll_is_a_member_until_its_lease_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=False)
        presence.untrack("r", ADA, stream=False)
        await world.pass_seconds(29)
        assert await world.published() == ["join"]
        await world.pass_seconds(2)
        assert await world.published() == ["join", "quit"]


async def test_a_client_that_leaves_is_removed_at_once_and_quits_after_the_grace(
    world: World,
) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=False)
        presence.untrack("r", ADA, stream=False)
        await presence.leave("r", "ada")
        assert await presence.members("r") == []
        assert await world.published() == ["join"]
        await world.pass_seconds(6)
        assert await world.published() == ["join", "quit"]


async def test_a_client_that_leaves_and_returns_has_not_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, stream=True)
        await settle()
        await presence.track("r", ADA, stream=True)
        await world.pass_seconds(10)
        assert await presence.members("r") == [ADA]
        assert await world.published() == ["join"]


async def test_a_leave_that_arrives_after_the_new_page_does_not_remove_it(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)  # the old page
        await presence.track("r", ADA, stream=True)  # the new one
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, stream=True)
        await world.pass_seconds(10)
        assert await presence.members("r") == [ADA]
        assert await world.published() == ["join"]


async def test_a_client_that_was_never_tracked_can_leave(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.leave("r", "nobody")
        await world.pass_seconds(10)
        assert await world.published() == []


async def test_a_client_that_returns_at_once_has_not_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        presence.untrack("r", ADA, stream=True)
        await presence.track("r", ADA, stream=True)
        await world.pass_seconds(10)
        assert await world.published() == ["join"]


async def test_a_client_that_returns_before_its_leave_arrives_stays(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        world.broker.leave_allowed.clear()
        presence.untrack("r", ADA, stream=True)
        await settle()
        await presence.track("r", ADA, stream=True)
        world.broker.leave_allowed.set()
        await world.pass_seconds(10)
        assert await world.published() == ["join"]


async def test_a_new_name_is_listed_when_the_old_stream_has_ended(world: World) -> None:
    lady = Member("ada", "Lady Ada", "sse")
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        await presence.track("r", lady, stream=True)
        assert await presence.members("r") == [ADA]
        presence.untrack("r", ADA, stream=True)
        await settle()
        assert await presence.members("r") == [lady]
        assert await world.published() == ["join"]


async def test_polls_and_streams_of_others_do_not_rename_a_member(world: World) -> None:
    eve = Member("ada", "Eve", "sse")
    async with world.presence("a") as presence, world.presence("b") as other:
        await presence.track("r", ADA, stream=True)
        for process in (presence, other):
            for stream in (False, True):
                await process.track("r", eve, stream=stream)
                assert await presence.members("r") == [ADA]
        assert await world.published() == ["join"]


async def test_a_polling_client_can_change_its_name_after_a_leave(world: World) -> None:
    lady = Member("ada", "Lady Ada", "sse")
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=False)
        await presence.track("r", lady, stream=False)
        assert await presence.members("r") == [ADA]
        await presence.leave("r", "ada")
        await presence.track("r", lady, stream=False)
        assert await presence.members("r") == [lady]
        assert await world.published() == ["join"]


# --- the loops -----------------------------------------------------------------------------------


async def test_the_quit_is_published_when_the_grace_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        presence.untrack("r", ADA, stream=True)
        await world.run_for(4)
        assert await world.published() == ["join"]
        await world.run_for(2)
        assert await world.published() == ["join", "quit"]


async def test_the_quit_after_a_leave_is_published_when_the_grace_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA, stream=True)
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, stream=True)
        await world.run_for(6)
        assert await world.published() == ["join", "quit"]


async def test_an_open_stream_is_renewed(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA, stream=True)
        await world.run_for(100)
        assert await world.published() == ["join"]


async def test_a_stream_that_stays_after_a_late_leave_is_renewed(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA, stream=True)
        await presence.track("r", ADA, stream=True)
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, stream=True)
        await world.run_for(100)
        assert await world.published() == ["join"]


async def test_an_open_stream_stays_listed_when_somebody_else_calls_leave(world: World) -> None:
    async with world.process("a", "r") as presence, world.presence("b") as other:
        await presence.track("r", ADA, stream=True)
        for process in (presence, other):
            await process.leave("r", "ada")
            assert await presence.members("r") == [ADA]
            await world.run_for(50)
            assert await presence.members("r") == [ADA]
        assert await world.published() == ["join"]


async def test_the_leave_of_a_page_counts_when_its_stream_has_ended(world: World) -> None:
    async with world.presence("a") as presence, world.presence("b") as other:
        await presence.track("r", ADA, stream=True)
        await other.leave("r", "ada")
        presence.untrack("r", ADA, stream=True)
        await settle()
        assert await presence.members("r") == []
        await world.pass_seconds(6)
        assert await world.published() == ["join", "quit"]


async def test_a_client_that_stops_polling_is_not_renewed(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA, stream=False)
        presence.untrack("r", ADA, stream=False)
        await world.run_for(40)
        assert await world.published() == ["join", "quit"]
        assert not presence._tracked


async def test_a_process_that_reads_the_room_publishes_the_quits_of_one_that_died(
    world: World,
) -> None:
    async with world.presence("a") as dying:
        await dying.track("r", ADA, stream=True)
    async with world.process("b", "r"):
        await world.run_for(40)
        assert await world.published() == ["join", "quit"]


async def test_a_process_sweeps_the_rooms_of_its_members_too(world: World) -> None:
    bob = Member("bob", "Bob", "sse")
    async with world.presence("a") as dying:
        await dying.track("r", ADA, stream=True)
    async with world.process("b") as presence:
        await presence.track("r", bob, stream=True)
        await world.run_for(40)
        assert await world.published() == ["join", "join", "quit"]


# --- the clock steps, and the machine sleeps -----------------------------------------------------


@pytest.fixture
async def sleeper(world: World) -> AsyncIterator[World]:
    """A world whose broker counts time as it does by default."""
    clock = SteadyClock(LIMITS.lease_seconds, lambda: world.now)
    world.broker = FaultyBroker(LIMITS, clock.now)
    running = asyncio.create_task(clock.run())
    await settle()
    yield world
    running.cancel()


async def test_after_a_sleep_of_ten_minutes_nobody_has_quit_who_is_here(sleeper: World) -> None:
    async with sleeper.process("a", "r") as presence:
        await presence.track("r", ADA, stream=True)
        await sleeper.run_for(10)
        sleeper.now += 600
        # The sweep may come before the renewal: a page asks for the list as soon as it wakes up.
        assert await presence.members("r") == [ADA]
        await sleeper.run_for(100)
        assert await sleeper.published() == ["join"]


async def test_after_a_sleep_of_ten_minutes_a_client_that_polls_is_still_a_member(
    sleeper: World,
) -> None:
    async with sleeper.process("a", "r") as presence:
        for sleep in (0, 600, 0):
            await presence.track("r", ADA, stream=False)
            presence.untrack("r", ADA, stream=False)
            await sleeper.run_for(10)
            sleeper.now += sleep
        assert await sleeper.published() == ["join"]


async def test_after_a_sleep_a_client_that_is_gone_quits_even_if_nobody_reads_the_room(
    sleeper: World,
) -> None:
    async with sleeper.process("a") as presence:
        await presence.track("r", ADA, stream=False)
        presence.untrack("r", ADA, stream=False)
        await sleeper.run_for(5)
        sleeper.now += 600
        await sleeper.run_for(LIMITS.lease_seconds * 1.5)
        assert await sleeper.published() == ["join", "quit"]
        assert len(presence) == 0


# --- an unreachable broker -----------------------------------------------------------------------


async def test_a_member_tracked_without_the_broker_joins_when_it_is_back(world: World) -> None:
    async with world.process("a", "r") as presence:
        world.broker.down = True
        await presence.track("r", ADA, stream=True)
        await world.run_for(10)
        world.broker.down = False
        await world.run_for(10)
        assert await world.published() == ["join"]


async def test_a_member_untracked_without_the_broker_quits_when_the_lease_ends(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA, stream=True)
        world.broker.down = True
        presence.untrack("r", ADA, stream=True)
        await world.run_for(20)
        world.broker.down = False
        await world.run_for(20)
        assert await world.published() == ["join", "quit"]
    assert caplog.text == ""


async def test_an_unreachable_broker_delays_a_client_once_and_not_at_each_poll(
    world: World,
) -> None:
    async with world.presence("a") as presence:
        world.broker.down = True
        for _ in range(10):
            await presence.track("r", ADA, stream=False)
            presence.untrack("r", ADA, stream=False)
            world.now += 0.1
        assert world.broker.refused == 1
        world.broker.down = False
        world.now += LIMITS.lease_seconds / 10
        await presence.track("r", ADA, stream=True)
        assert await world.published() == ["join"]


# --- the lists -----------------------------------------------------------------------------------


async def test_members_of_a_process_that_died_are_not_listed_even_if_nobody_reads_the_room(
    world: World,
) -> None:
    async with world.presence("dies") as presence:
        await presence.track("r", ADA, stream=True)
    world.now += LIMITS.lease_seconds + 1
    async with world.presence("alive") as presence:
        assert await presence.members("r") == []
        assert await world.published() == ["join", "quit"]


async def test_members_of_a_process_that_died_are_not_counted_in_the_list_of_rooms(
    world: World,
) -> None:
    async with world.presence("dies") as presence:
        await presence.track("r", ADA, stream=True)
    world.now += LIMITS.lease_seconds + 1
    async with world.presence("alive") as presence:
        assert [room.members for room in await presence.rooms()] == [0]


async def test_a_sweep_that_fails_makes_the_process_not_ready_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.process("a", "r") as presence:
        presence.check_ready()

        async def fail(room: str) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as broken:
            broken.setattr(world.broker, "sweep", fail)
            await world.run_for(LIMITS.lease_seconds / 6 + 1)
        with pytest.raises(Busy):
            presence.check_ready()
        await world.run_for(20)
        presence.check_ready()


async def test_the_quit_of_a_polling_client_is_published_even_if_nobody_reads_the_room(
    world: World,
) -> None:
    async with world.process("one") as one:
        await world.run_for(1)  # so that the lease does not end together with a sweep
        await one.track("r", ADA, stream=False)
        one.untrack("r", ADA, stream=False)
        await world.run_for(LIMITS.lease_seconds * 1.5)
        assert len(one) == 0
    assert await world.published() == ["join", "quit"]


async def test_a_polling_client_that_leaves_and_returns_has_not_quit(world: World) -> None:
    async with world.presence("one") as one:
        await one.track("r", ADA, stream=False)
        one.untrack("r", ADA, stream=False)
        await one.leave("r", "ada")
        await one.track("r", ADA, stream=False)
        one.untrack("r", ADA, stream=False)
        assert await one.members("r") == [ADA]
        await world.pass_seconds(LIMITS.grace_seconds + 1)
        assert await world.published() == ["join"]
