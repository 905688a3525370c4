"""A state machine: two processes with leases in one broker, and clients that come and go.

Clients connect, reload, poll and leave; processes die; the broker is at times down.  Whatever
interleaves, the joins and quits of each client alternate, join first.  When all is idle, the
members are exactly the clients with an open stream or poll.
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
# Longer than a fresh lease, plus the time to notice that it expired.
REST_SECONDS = 2 * LIMITS.lease_seconds
# The longest step of the clock, and a little more.
SLACK_SECONDS = 2.5


class UnreliableBroker(MemoryBroker):
    """A memory broker that may be unreachable, and whose calls take some loop iterations."""

    down = False

    async def enter(self, room: str, member: Member, node_id: str, *, stream: bool = False) -> None:
        await self._delay()
        await super().enter(room, member, node_id, stream=stream)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        await self._delay(iterations=4)  # slower than `enter`, which may overtake it
        await super().leave(room, client, node_id, seconds)

    async def sweep(self, room: str) -> None:
        await self._delay()
        await super().sweep(room)

    async def _delay(self, iterations: int = 1) -> None:
        """Wait some loop iterations, so that other calls interleave."""
        for _ in range(iterations):
            await asyncio.sleep(0)
        if self.down:
            raise NoBroker


@dataclass(eq=False)
class Reference:
    """An open stream, which counts in any case, or a poll; after a leave that counts no longer."""

    process: int
    stream: bool
    # "counts"; "left": its process received the leave; "unsure": the other process received it,
    # which has no knowledge of this reference, so either result is correct.
    state: str = "counts"


@dataclass(eq=False)
class Client:
    """The expected state of one client, derived without looking into a process."""

    references: list[Reference] = field(default_factory=list)
    alone_since: float = 0.0
    # After a poll, or if a process died, the quit comes only when the whole lease has expired.
    keeps_lease: bool = False
    # The processes it used, and until when each may not know of a leave at the other one.
    known_to: set[int] = field(default_factory=set)
    doubts: dict[int, float] = field(default_factory=dict)
    # At the last check: the references that counted, and the number of quits.
    staying: set[Reference] = field(default_factory=set)
    quits: int = 0

    @property
    def counting(self) -> set[Reference]:
        return {reference for reference in self.references if reference.state == "counts"}


class PresenceMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner(loop_factory=Clock)
        self.clock = cast(Clock, self.runner.get_loop())
        self.broker = UnreliableBroker(LIMITS, lambda: self.clock.now)
        self.process_count = 0
        self.failures = 0
        self.processes = [self._process(), self._process()]
        self.clients = {"ada": Client(), "bob": Client()}
        # Since when the broker is reachable, and the time of the last check.
        self.up_since = self.checked = float("-inf")

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for presence in self.processes:
                self.runner.run(presence.close())
            self.runner.close()

    def _process(self) -> Presence:
        self.process_count += 1
        presence = Presence(self.broker, LIMITS, f"process{self.process_count}")

        async def start() -> None:
            presence.start(lambda: ["r"])
            await self.clock.settle()

        self.runner.run(start())
        return presence

    # --- rules -----------------------------------------------------------------------------------

    @rule(
        client=CLIENTS,
        process=PROCESSES,
        stream=st.sampled_from([True, True, False]),
        settle=st.booleans(),
    )
    def track(self, client: str, process: int, stream: bool, settle: bool) -> None:
        references = self.clients[client].references
        references.append(Reference(process, stream))
        for reference in references:
            if (
                reference.process == process and not reference.stream
            ):  # a reference after the leave cancels it
                reference.state = "unsure" if self._is_in_doubt(client, process) else "counts"
        self._do(lambda: self.processes[process].track("r", _member(client), stream=stream), settle)
        self.clients[client].known_to.add(process)
        if references[-1].state == "counts" and self._is_up_for(LIMITS.lease_seconds / 12):
            assert self._published()[client][-1] == "join"

    def _is_in_doubt(self, client: str, process: int) -> bool:
        """Return whether the process may not know of a leave: see the test at the end."""
        return self.clients[client].doubts.get(process, 0) > self.clock.now

    def _is_up_for(self, seconds: float) -> bool:
        return not self.broker.down and self.clock.now - self.up_since > seconds

    @precondition(lambda self: any(client.references for client in self.clients.values()))
    @rule(
        client=CLIENTS,
        index=st.integers(0, 3),
        settle=st.booleans(),
    )
    def untrack(self, client: str, index: int, settle: bool) -> None:
        """A stream ends, or the response to a poll is sent."""
        known = self.clients[client]
        if not known.references:
            return
        gone = known.references.pop(index % len(known.references))
        poll = not gone.stream
        for reference in known.references:
            # The leave was that of the stream that ended.  A poll ends with every response, so it
            # shows nothing about which page left.
            if not poll and (reference.process, reference.state) == (gone.process, "left"):
                reference.state = "counts"
        known.alone_since = self.clock.now
        known.keeps_lease = known.keeps_lease or poll or self.broker.down
        self._do(lambda: self._untrack(gone, client), settle)

    async def _untrack(self, reference: Reference, client: str) -> None:
        self.processes[reference.process].untrack("r", _member(client), stream=reference.stream)

    @rule(client=CLIENTS, process=PROCESSES)
    def leave(self, client: str, process: int) -> None:
        """A page calls leave when it closes; the server may notice the end of its stream later."""
        known = self.clients[client]
        for other in known.known_to - {process}:
            known.doubts[other] = self.clock.now + REST_SECONDS
        for reference in known.references:
            if reference.stream:
                continue
            received = reference.process == process and not self.broker.down
            reference.state = "left" if received else "unsure"
        self._do(lambda: self._leave(process, client), True)

    async def _leave(self, process: int, client: str) -> None:
        try:
            await self.processes[process].leave("r", client)
        except NoBroker:
            assert self.broker.down

    @rule(process=PROCESSES)
    def die(self, process: int) -> None:
        """Kill a process and restart it, without its references."""
        self.runner.run(self.processes[process].close())
        self.processes[process] = self._process()
        for client in self.clients.values():
            client.keeps_lease = True
            client.known_to.discard(process)
            client.alone_since = self.clock.now
            client.references = [
                reference for reference in client.references if reference.process != process
            ]

    @rule(down=st.sampled_from([True, False, False]))
    def set_broker_down(self, down: bool) -> None:
        if self.broker.down or down:
            self.up_since = self.clock.now
        self.broker.down = down

    @rule(seconds=st.sampled_from([0.5, 4.0, 6.0, 11.0, 29.0, 31.0]))
    def pass_seconds(self, seconds: float) -> None:
        if self.broker.down:
            self.up_since = self.clock.now + seconds
        self.runner.run(self.clock.pass_seconds(seconds))

    @rule()
    def become_idle(self) -> None:
        self.set_broker_down(False)
        self.pass_seconds(REST_SECONDS)
        members = self._members()
        joined = {client for client, kinds in self._published().items() if kinds[-1:] == ["join"]}
        assert members == joined
        for name, client in self.clients.items():
            if client.counting:
                assert name in members
            elif all(reference.state == "left" for reference in client.references):
                assert name not in members

    def _do(self, action: Callable[[], Coroutine[Any, Any, None]], settle: bool) -> None:
        async def act() -> None:
            await action()
            if settle:
                await self.clock.settle()

        self.runner.run(act())

    # --- always ----------------------------------------------------------------------------------

    @invariant()
    def joins_and_quits_of_each_client_alternate(self) -> None:
        if not hasattr(self, "runner"):
            return
        for name, kinds in self._published().items():
            assert kinds == ["join", "quit"] * (len(kinds) // 2) + ["join"] * (len(kinds) % 2)
            self._check_when(self.clients[name], name, kinds)
        self.checked = self.clock.now
        for presence in self.processes:
            assert presence._supervisor.failures == 0

    def _check_when(self, client: Client, name: str, kinds: list[str]) -> None:
        """No connected client quits, and no disconnected one stays a member."""
        if not self.broker.down and self.checked - self.up_since > REST_SECONDS:
            quit_meanwhile = kinds.count("quit") > client.quits
            assert not (quit_meanwhile and client.staying & client.counting)
            if not client.references and not client.keeps_lease:
                overdue = self.clock.now - client.alone_since > LIMITS.grace_seconds + SLACK_SECONDS
                assert kinds[-1:] != ["join"] or not overdue
        if self._is_up_for(LIMITS.lease_seconds / 12 + SLACK_SECONDS):
            assert not client.counting or name in self._members()
        if kinds[-1:] != ["join"]:
            client.keeps_lease = False
        client.staying, client.quits = client.counting, kinds.count("quit")

    def _members(self) -> set[str]:
        return {member.client for member in self.runner.run(self.broker.members("r"))}

    def _published(self) -> dict[str, list[str]]:
        history = self.runner.run(self.broker.history("r", Cursor("", 0)))
        published: dict[str, list[str]] = {"ada": [], "bob": []}
        for event in history.events:
            fields = json.loads(event.json)
            published[fields["client"]].append(fields["kind"])
        return published


def _member(client: str) -> Member:
    return Member(client, client.title(), "sse")


TestPresenceMachine = PresenceMachine.TestCase
TestPresenceMachine.settings = examples(50, steps=30)


async def test_a_leave_that_reaches_the_other_process_makes_a_reload_no_quit() -> None:
    """A page cannot choose the process that receives its leave, nor the order of arrival."""
    async with processes() as (one, other):
        await one.track("r", _member("ada"), stream=True)
        await other.leave("r", "ada")  # the leave of the old page
        await one.track("r", _member("ada"), stream=True)  # the new page
        one.untrack("r", _member("ada"), stream=True)  # the stream of the old page
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
        await asyncio.sleep(0)  # run everything that follows
    return [member.client for member in await presence.members("r")]
