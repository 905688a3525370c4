"""Joins and quits, once each: leases over the memory broker, whose clock is set by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.core.events import Cursor, Member
from realtime.core.presence import Presence
from realtime.errors import Busy, NoBroker
from realtime.limits import Limits

LIMITS = Limits(lease_seconds=30, grace_seconds=5)
ADA = Member("ada", "Ada", "sse")


class FaultyBroker(MemoryBroker):
    """Memory that can be out of reach, and whose `leave` can be long on its way."""

    down = False
    refused = 0

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(limits, clock)
        self.leaving = asyncio.Event()
        self.leaving.set()

    async def enter(self, room: str, member: Member, node_id: str) -> None:
        self._check()
        await super().enter(room, member, node_id)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        await self.leaving.wait()
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
    """A broker and a clock; `presence` begins a process of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broker = FaultyBroker(LIMITS, lambda: self.now)

    @asynccontextmanager
    async def presence(self, node_id: str) -> AsyncIterator[Presence]:
        presence = Presence(self.broker, LIMITS, node_id)
        yield presence
        await presence.close()

    async def said(self) -> list[str]:
        history = await self.broker.history("r", Cursor("", 0))
        return [json.loads(event.json)["kind"] for event in history.events]

    @asynccontextmanager
    async def process(self, node_id: str, *rooms: str) -> AsyncIterator[Presence]:
        """A process that renews and sweeps by itself, and reads `rooms`."""
        async with self.presence(node_id) as presence:
            presence.start(lambda: rooms)
            await settled()
            yield presence

    async def live(self, seconds: float) -> None:
        """Let everything happen that is due in the next `seconds`."""
        end = self.now + seconds
        while self.now < end:
            await settled()
            self.now += 0.25
        await settled()

    async def pass_seconds(self, seconds: float) -> None:
        await settled()
        self.now += seconds
        await self.broker.sweep("r")


async def settled() -> None:
    """Let the tasks that were begun end: over this broker they never wait for long."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: world.now)
    return world


async def test_who_arrives_has_joined_once(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        await presence.track("r", ADA)
        assert await world.said() == ["join"]
        assert await presence.members("r") == [ADA]


async def test_who_departs_has_quit_after_the_grace(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(4)
        assert await world.said() == ["join"]
        await world.pass_seconds(2)
        assert await world.said() == ["join", "quit"]
        assert await presence.members("r") == []


async def test_a_reload_is_silent(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(3)
        await presence.track("r", ADA)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_one_of_two_tabs_that_closes_is_no_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_a_reload_that_lands_on_another_process_is_silent(world: World) -> None:
    async with world.presence("a") as one, world.presence("b") as other:
        await one.track("r", ADA)
        await other.track("r", ADA)
        one.untrack("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_two_processes_say_one_quit(world: World) -> None:
    async with world.presence("a") as one, world.presence("b") as other:
        await one.track("r", ADA)
        await other.track("r", ADA)
        one.untrack("r", ADA, LIMITS.grace_seconds)
        other.untrack("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(6)
        await world.broker.sweep("r")
        assert await world.said() == ["join", "quit"]


async def test_a_process_that_dies_lets_its_members_quit(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
    await world.pass_seconds(29)
    assert await world.said() == ["join"]
    await world.pass_seconds(2)
    assert await world.said() == ["join", "quit"]


async def test_a_poll_is_a_member_until_its_lease_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.lease_seconds)
        await world.pass_seconds(29)
        assert await world.said() == ["join"]
        await world.pass_seconds(2)
        assert await world.said() == ["join", "quit"]


async def test_who_leaves_is_off_the_list_at_once_and_quits_after_the_grace(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        await presence.leave("r", "ada")
        assert await presence.members("r") == []
        assert await world.said() == ["join"]
        await world.pass_seconds(6)
        assert await world.said() == ["join", "quit"]


async def test_who_leaves_and_comes_back_never_left(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await settled()
        await presence.track("r", ADA)
        await world.pass_seconds(10)
        assert await presence.members("r") == [ADA]
        assert await world.said() == ["join"]


async def test_a_goodbye_that_comes_after_the_new_page_is_not_its_own(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)  # the old page
        await presence.track("r", ADA)  # the new one
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.pass_seconds(10)
        assert await presence.members("r") == [ADA]
        assert await world.said() == ["join"]


async def test_who_was_never_there_can_leave(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.leave("r", "nobody")
        await world.pass_seconds(10)
        assert await world.said() == []


async def test_who_returns_in_the_same_breath_never_left(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await presence.track("r", ADA)
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_who_returns_while_the_goodbye_is_on_its_way_stays(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        world.broker.leaving.clear()
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await settled()
        await presence.track("r", ADA)
        world.broker.leaving.set()
        await world.pass_seconds(10)
        assert await world.said() == ["join"]


async def test_a_new_name_is_shown_without_a_second_join(world: World) -> None:
    lady = Member("ada", "Lady Ada", "sse")
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        await presence.track("r", lady)
        assert await presence.members("r") == [lady]
        assert await world.said() == ["join"]


# --- by itself -----------------------------------------------------------------------------------


async def test_the_quit_is_said_when_the_grace_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.live(4)
        assert await world.said() == ["join"]
        await world.live(2)
        assert await world.said() == ["join", "quit"]


async def test_the_quit_of_who_left_is_said_when_the_grace_ends(world: World) -> None:
    async with world.presence("a") as presence:
        await presence.track("r", ADA)
        await presence.leave("r", "ada")
        await world.live(6)
        assert await world.said() == ["join", "quit"]


async def test_an_open_stream_is_renewed(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA)
        await world.live(100)
        assert await world.said() == ["join"]


async def test_a_stream_that_stays_after_a_late_goodbye_is_renewed(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA)
        await presence.track("r", ADA)
        await presence.leave("r", "ada")
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.live(100)
        assert await world.said() == ["join"]


async def test_a_stream_still_open_does_not_bring_back_who_left(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA)
        await presence.leave("r", "ada")
        await world.live(100)
        assert await world.said() == ["join", "quit"]


async def test_a_poll_that_does_not_come_again_is_not_renewed(world: World) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA)
        presence.untrack("r", ADA, LIMITS.lease_seconds)
        await world.live(40)
        assert await world.said() == ["join", "quit"]
        assert not presence._tracked


async def test_a_process_that_reads_the_room_says_the_quits_of_one_that_died(world: World) -> None:
    async with world.presence("a") as dying:
        await dying.track("r", ADA)
    async with world.process("b", "r"):
        await world.live(40)
        assert await world.said() == ["join", "quit"]


async def test_a_process_sweeps_the_rooms_of_its_members_too(world: World) -> None:
    bob = Member("bob", "Bob", "sse")
    async with world.presence("a") as dying:
        await dying.track("r", ADA)
    async with world.process("b") as presence:
        await presence.track("r", bob)
        await world.live(40)
        assert await world.said() == ["join", "join", "quit"]


# --- a broker out of reach -----------------------------------------------------------------------


async def test_who_arrives_without_the_broker_has_joined_when_it_is_back(world: World) -> None:
    async with world.process("a", "r") as presence:
        world.broker.down = True
        await presence.track("r", ADA)
        await world.live(10)
        world.broker.down = False
        await world.live(10)
        assert await world.said() == ["join"]


async def test_who_departs_without_the_broker_quits_when_the_lease_ends(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.process("a", "r") as presence:
        await presence.track("r", ADA)
        world.broker.down = True
        presence.untrack("r", ADA, LIMITS.grace_seconds)
        await world.live(20)
        world.broker.down = False
        await world.live(20)
        assert await world.said() == ["join", "quit"]
    assert caplog.text == ""


async def test_a_hub_that_is_away_keeps_a_poller_waiting_once_and_not_at_each_poll(
    world: World,
) -> None:
    async with world.presence("a") as presence:
        world.broker.down = True
        for _ in range(10):
            await presence.track("r", ADA)
            presence.untrack("r", ADA, LIMITS.lease_seconds)
            world.now += 0.1
        assert world.broker.refused == 1
        world.broker.down = False
        world.now += LIMITS.lease_seconds / 10
        await presence.track("r", ADA)
        assert await world.said() == ["join"]


# --- who is there, said to whoever asks ----------------------------------------------------------


async def test_the_members_of_a_process_that_died_are_not_listed_though_nobody_reads_the_room(
    world: World,
) -> None:
    async with world.presence("dies") as presence:
        await presence.track("r", ADA)
    world.now += LIMITS.lease_seconds + 1
    async with world.presence("asked") as presence:
        assert await presence.members("r") == []
        assert await world.said() == ["join", "quit"]


async def test_nor_are_they_counted_in_the_list_of_rooms(world: World) -> None:
    async with world.presence("dies") as presence:
        await presence.track("r", ADA)
    world.now += LIMITS.lease_seconds + 1
    async with world.presence("asked") as presence:
        assert [room.members for room in await presence.rooms()] == [0]


async def test_a_sweep_that_fails_for_a_reason_of_ours_is_not_ready_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.process("a", "r") as presence:
        presence.check_ready()

        async def fail(room: str) -> None:
            raise RuntimeError("a mistake of ours")

        with monkeypatch.context() as broken:
            broken.setattr(world.broker, "sweep", fail)
            await world.live(LIMITS.lease_seconds / 6 + 1)
        with pytest.raises(Busy):
            presence.check_ready()
        await world.live(20)
        presence.check_ready()


async def test_the_quit_of_a_poller_is_said_though_nobody_reads_the_room(world: World) -> None:
    async with world.process("one") as one:
        await world.live(1)  # so that the lease does not end with a round of sweeping
        await one.track("r", ADA)
        one.untrack("r", ADA, LIMITS.lease_seconds)
        await world.live(LIMITS.lease_seconds * 1.5)
        assert len(one) == 0
    assert await world.said() == ["join", "quit"]


async def test_a_poller_who_leaves_and_comes_back_never_left(world: World) -> None:
    async with world.presence("one") as one:
        await one.track("r", ADA)
        one.untrack("r", ADA, LIMITS.lease_seconds)
        await one.leave("r", "ada")
        await one.track("r", ADA)
        one.untrack("r", ADA, LIMITS.lease_seconds)
        assert await one.members("r") == [ADA]
        await world.pass_seconds(LIMITS.grace_seconds + 1)
        assert await world.said() == ["join"]
