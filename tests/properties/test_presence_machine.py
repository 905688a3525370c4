"""Two processes that hold leases in one broker: whoever comes, goes, reloads, waves or dies.

Each client joins and quits in turn, join first, whatever interleaves; and when everything has
come to rest, a member is who has a visit open, and nobody else.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from realtime.brokers.memory import MemoryBroker
from realtime.core.events import Cursor, Member
from realtime.core.presence import Presence
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.properties.clock import Clock
from tests.properties.strategies import examples

LIMITS = Limits(lease_seconds=30, grace_seconds=5, history_events=10_000, history_seconds=10**6)
CLIENTS = st.sampled_from(["ada", "bob"])
PROCESSES = st.integers(0, 1)
# Longer than a lease that was renewed just now, and what it takes to see that it ended.
REST_SECONDS = 2 * LIMITS.lease_seconds
# How coarsely the clock is moved, and a little.
SLACK_SECONDS = 2.5


class Line(MemoryBroker):
    """The broker's memory, which one process after the other may fail to reach."""

    down = False

    async def enter(self, room: str, member: Member, node_id: str) -> None:
        await self._cross()
        await super().enter(room, member, node_id)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        await self._cross(turns=4)  # slower than an arrival, which may overtake it
        await super().leave(room, client, node_id, seconds)

    async def sweep(self, room: str) -> None:
        await self._cross()
        await super().sweep(room)

    async def _cross(self, turns: int = 1) -> None:
        """Be some turns of the loop on the way, so that others get in between."""
        for _ in range(turns):
            await asyncio.sleep(0)
        if self.down:
            raise NoBroker


@dataclass(eq=False)
class Visit:
    """An open stream or a poll; a goodbye makes it doubtful whether it still counts."""

    process: int
    # "here": it counts.  "waved": the process it is open in was told that it does not.
    # "unsure": said to the other process, which cannot know of it; both are right.
    state: str = "here"


@dataclass(eq=False)
class Client:
    """What we know of one client without having looked into any process."""

    visits: list[Visit] = field(default_factory=list)
    alone_since: float = 0.0
    # A poll may come again, and a dead process says nothing: then the whole lease has to run out.
    lingers: bool = False
    # The processes where it was, and until when they may not know of a goodbye said elsewhere.
    known_to: set[int] = field(default_factory=set)
    doubts: dict[int, float] = field(default_factory=dict)
    # Its visits that counted when we last looked, and how often it had quit by then.
    staying: set[Visit] = field(default_factory=set)
    quits: int = 0

    @property
    def here(self) -> set[Visit]:
        return {visit for visit in self.visits if visit.state == "here"}


class PresenceMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner(loop_factory=Clock)
        self.clock = cast(Clock, self.runner.get_loop())
        self.broker = Line(LIMITS, lambda: self.clock.now)
        self.lives = 0
        self.failures = 0
        self.processes = [self._process(), self._process()]
        self.clients = {"ada": Client(), "bob": Client()}
        # Since when the broker could be reached, and when we last looked.
        self.up_since = self.looked = float("-inf")

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for presence in self.processes:
                self.runner.run(presence.close())
            self.runner.close()

    def _process(self) -> Presence:
        self.lives += 1
        presence = Presence(self.broker, LIMITS, f"process{self.lives}")

        async def start() -> None:
            presence.start(lambda: ["r"])
            await self.clock.settle()

        self.runner.run(start())
        return presence

    # --- coming and going ------------------------------------------------------------------------

    @rule(client=CLIENTS, process=PROCESSES, settled=st.booleans())
    def track(self, client: str, process: int, settled: bool) -> None:
        visits = self.clients[client].visits
        visits.append(Visit(process))
        for visit in visits:
            if visit.process == process:  # one that comes after the goodbye takes it back
                visit.state = "unsure" if self._is_in_doubt(client, process) else "here"
        self._do(lambda: self.processes[process].track("r", _member(client)), settled)
        self.clients[client].known_to.add(process)
        if visits[-1].state == "here" and self._is_up_for(LIMITS.lease_seconds / 12):
            assert self._said()[client][-1] == "join"

    def _is_in_doubt(self, client: str, process: int) -> bool:
        """Whether the process may not have heard of a goodbye: see the tests at the end."""
        return self.clients[client].doubts.get(process, 0) > self.clock.now

    def _is_up_for(self, seconds: float) -> bool:
        return not self.broker.down and self.clock.now - self.up_since > seconds

    @precondition(lambda self: any(client.visits for client in self.clients.values()))
    @rule(
        client=CLIENTS,
        place=st.integers(0, 3),
        poll=st.sampled_from([False, False, True]),
        settled=st.booleans(),
    )
    def untrack(self, client: str, place: int, poll: bool, settled: bool) -> None:
        """A stream ends, or the answer to a poll goes out."""
        known = self.clients[client]
        if not known.visits:
            return
        gone = known.visits.pop(place % len(known.visits))
        for visit in known.visits:
            # The goodbye was of the stream that has gone.  A poll ends with every answer, and tells
            # nothing of whose it was.
            if not poll and (visit.process, visit.state) == (gone.process, "waved"):
                visit.state = "here"
        known.alone_since = self.clock.now
        known.lingers = known.lingers or poll or self.broker.down
        linger = LIMITS.lease_seconds if poll else LIMITS.grace_seconds
        self._do(lambda: self._depart(gone.process, client, linger), settled)

    async def _depart(self, process: int, client: str, linger: float) -> None:
        self.processes[process].untrack("r", _member(client), linger)

    @rule(client=CLIENTS, process=PROCESSES)
    def wave(self, client: str, process: int) -> None:
        """A page says goodbye when it closes; its stream may be known to be closed only later."""
        known = self.clients[client]
        for other in known.known_to - {process}:
            known.doubts[other] = self.clock.now + REST_SECONDS
        for visit in known.visits:
            heard = visit.process == process and not self.broker.down
            visit.state = "waved" if heard else "unsure"
        self._do(lambda: self._leave(process, client), True)

    async def _leave(self, process: int, client: str) -> None:
        try:
            await self.processes[process].leave("r", client)
        except NoBroker:
            assert self.broker.down

    @rule(process=PROCESSES)
    def die(self, process: int) -> None:
        """And be started again, with none of its visits."""
        self.runner.run(self.processes[process].close())
        self.processes[process] = self._process()
        for client in self.clients.values():
            client.lingers = True
            client.known_to.discard(process)
            client.alone_since = self.clock.now
            client.visits = [visit for visit in client.visits if visit.process != process]

    @rule(down=st.sampled_from([True, False, False]))
    def reach_the_broker_or_not(self, down: bool) -> None:
        if self.broker.down or down:
            self.up_since = self.clock.now
        self.broker.down = down

    @rule(seconds=st.sampled_from([0.5, 4.0, 6.0, 11.0, 29.0, 31.0]))
    def pass_seconds(self, seconds: float) -> None:
        if self.broker.down:
            self.up_since = self.clock.now + seconds
        self.runner.run(self.clock.pass_seconds(seconds))

    @rule()
    def come_to_rest(self) -> None:
        self.reach_the_broker_or_not(False)
        self.pass_seconds(REST_SECONDS)
        members = self._members()
        joined = {client for client, kinds in self._said().items() if kinds[-1:] == ["join"]}
        assert members == joined
        for name, client in self.clients.items():
            if client.here:
                assert name in members
            elif all(visit.state == "waved" for visit in client.visits):
                assert name not in members

    def _do(self, action: Callable[[], Coroutine[Any, Any, None]], settled: bool) -> None:
        async def act() -> None:
            await action()
            if settled:
                await self.clock.settle()

        self.runner.run(act())

    # --- always ----------------------------------------------------------------------------------

    @invariant()
    def everybody_joins_and_quits_in_turn(self) -> None:
        if not hasattr(self, "runner"):
            return
        for name, kinds in self._said().items():
            assert kinds == ["join", "quit"] * (len(kinds) // 2) + ["join"] * (len(kinds) % 2)
            self._check_when(self.clients[name], name, kinds)
        self.looked = self.clock.now
        for presence in self.processes:
            assert presence._supervisor.failures == 0

    def _check_when(self, client: Client, name: str, kinds: list[str]) -> None:
        """Nobody quits who is here, and nobody lingers who is gone."""
        if not self.broker.down and self.looked - self.up_since > REST_SECONDS:
            quit_meanwhile = kinds.count("quit") > client.quits
            assert not (quit_meanwhile and client.staying & client.here)
            if not client.visits and not client.lingers:
                overdue = self.clock.now - client.alone_since > LIMITS.grace_seconds + SLACK_SECONDS
                assert kinds[-1:] != ["join"] or not overdue
        if self._is_up_for(LIMITS.lease_seconds / 12 + SLACK_SECONDS):
            assert not client.here or name in self._members()
        if kinds[-1:] != ["join"]:
            client.lingers = False
        client.staying, client.quits = client.here, kinds.count("quit")

    def _members(self) -> set[str]:
        return {member.client for member in self.runner.run(self.broker.members("r"))}

    def _said(self) -> dict[str, list[str]]:
        history = self.runner.run(self.broker.history("r", Cursor("", 0)))
        said: dict[str, list[str]] = {"ada": [], "bob": []}
        for event in history.events:
            told = json.loads(event.json)
            said[told["client"]].append(told["kind"])
        return said


def _member(client: str) -> Member:
    return Member(client, client.title(), "sse")


TestPresenceMachine = PresenceMachine.TestCase
TestPresenceMachine.settings = examples(150, steps=30)


async def test_a_goodbye_that_reaches_the_other_process_makes_a_reload_no_quit() -> None:
    """No page can choose the process that hears its goodbye, nor who comes first there."""
    async with processes() as (one, other):
        await one.track("r", _member("ada"))
        await other.leave("r", "ada")  # the goodbye of the old page
        await one.track("r", _member("ada"))  # the new page
        one.untrack("r", _member("ada"), LIMITS.grace_seconds)  # the stream of the old page
        assert await settled_members(one) == ["ada"]


@asynccontextmanager
async def processes() -> AsyncIterator[tuple[Presence, Presence]]:
    broker = MemoryBroker(LIMITS)
    one, other = Presence(broker, LIMITS, "one"), Presence(broker, LIMITS, "other")
    yield one, other
    await one.close()
    await other.close()


async def settled_members(presence: Presence) -> list[str]:
    for _ in range(20):
        await asyncio.sleep(0)  # whatever may follow from what was done
    return [member.client for member in await presence.members("r")]
