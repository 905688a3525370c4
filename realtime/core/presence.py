"""Who is in a room: a lease per client, renewed by any sign of life.

A visit is an open stream or a poll.  While a client has one here, its lease is renewed; when the
last one ends, the lease is left to run out: after the grace for a stream, so that a reload is no
quit and join, after the whole lease for a poll, which will come again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from realtime.core.broker import Broker, RoomSummary
from realtime.core.events import Member
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.tasks import Supervisor


@dataclass
class _Presence:
    """One client in one room, as seen by this process."""

    member: Member
    visits: int = 0
    renewed: float = float("-inf")
    left: bool = False  # it was said so; a stream of it may still be closing


class Presence:
    """The members of all rooms; `node_id` names this process among those that share the broker."""

    def __init__(self, broker: Broker, limits: Limits, node_id: str) -> None:
        self._broker = broker
        self._limits = limits
        self._node_id = node_id
        self._present: dict[tuple[str, str], _Presence] = {}
        self._patience = 0.0  # seconds that are added to every grace
        self._supervisor = Supervisor()

    def start(self, rooms: Callable[[], Sequence[str]]) -> None:
        """Begin to renew leases, and to sweep what `rooms()` lists."""
        self._supervisor.supervise("renew leases", self._renew_for_ever)
        self._supervisor.supervise("sweep leases", lambda: self._sweep_for_ever(rooms))

    def extend_grace(self, seconds: float) -> None:
        """From now on, whoever departs has so much longer to be back: it is we who send them."""
        self._patience = seconds

    def check_ready(self) -> None:
        """Return if leases are renewed and swept, or raise `Busy`."""
        self._supervisor.check()

    async def close(self) -> None:
        """Stop renewing.  Leases run out by themselves, unless another process takes them over."""
        await self._supervisor.close()

    def __len__(self) -> int:
        """How many clients are, or were a short while ago, in a room by way of this process."""
        return len(self._present)

    # --- coming and going ------------------------------------------------------------------------

    async def track(self, room: str, member: Member) -> None:
        """Begin a visit; the first one of a new member is announced as a join.

        While the broker cannot be reached nobody is kept from reading: renewing tries again.
        """
        present = self._present.setdefault((room, member.client), _Presence(member))
        present.visits += 1
        if present.member != member or present.left:
            present.member, present.left, present.renewed = member, False, float("-inf")
        if _now() - present.renewed >= self._limits.lease_seconds / 3:
            await self._renew_or_try_again(room, present)

    def untrack(self, room: str, member: Member, seconds: float) -> None:
        """End a visit; unless another is open or begins, the member has quit in `seconds`."""
        present = self._present.get((room, member.client))
        if present is None:  # its lease ran out long ago
            return
        present.visits -= 1
        if present.visits > 0 and seconds < self._limits.lease_seconds:
            # Perhaps the one that said goodbye is this one, and said it to another process: a
            # reload, whose new page was here before the goodbye.
            present.left = False
            self._supervisor.spawn("stay", lambda: self._renew_or_try_again(room, present))
        seconds += self._patience
        if present.visits <= 0 and seconds < self._limits.lease_seconds:
            self._supervisor.spawn("depart", lambda: self._run_out(room, member.client, seconds))

    async def leave(self, room: str, client: str) -> None:
        """Take a client off the list now; the quit is said after the grace, unless it returns."""
        if present := self._present.get((room, client)):
            present.left = True
        await self._broker.leave(room, client, None, self._limits.grace_seconds)
        self._sweep_later(room, self._limits.grace_seconds)

    # --- who is there ----------------------------------------------------------------------------

    async def members(self, room: str) -> Sequence[Member]:
        # A process that died says no goodbye, and perhaps nobody here reads that room.
        await self._broker.sweep(room)
        return await self._broker.members(room)

    async def rooms(self) -> Sequence[RoomSummary]:
        peopled = [summary.room for summary in await self._broker.rooms() if summary.members]
        await asyncio.gather(*map(self._broker.sweep, peopled))
        return await self._broker.rooms()

    # --- leases ----------------------------------------------------------------------------------

    async def _renew(self, room: str, present: _Presence) -> None:
        present.renewed = _now()  # before it is done: others that arrive meanwhile need not ask
        await self._broker.enter(room, present.member, self._node_id)

    async def _run_out(self, room: str, client: str, seconds: float) -> None:
        present = self._present.get((room, client))
        if present is None or present.visits > 0:  # back already
            return
        del self._present[room, client]
        try:
            await self._broker.leave(room, client, self._node_id, seconds)
        except NoBroker:
            return  # the lease runs out by itself
        if back := self._present.get((room, client)):  # the two may have crossed on the way
            await self._renew_or_try_again(room, back)
        self._sweep_later(room, seconds)

    def _sweep_later(self, room: str, seconds: float) -> None:
        def sweep() -> None:
            self._supervisor.spawn("sweep", lambda: self._sweep(room))

        # A hair late, or it would come just before the lease has ended.
        asyncio.get_running_loop().call_later(seconds + 0.05, sweep)

    async def _sweep(self, room: str) -> None:
        try:
            await self._broker.sweep(room)
        except NoBroker:
            return  # the next round finds it

    async def _renew_for_ever(self) -> None:
        third = self._limits.lease_seconds / 3
        while True:
            await asyncio.sleep(third / 4)
            for key, present in list(self._present.items()):
                age = _now() - present.renewed
                if present.visits <= 0 and age >= self._limits.lease_seconds:
                    self._present.pop(key, None)
                    self._sweep_later(key[0], 0)  # nobody else here may be reading that room
                elif present.visits > 0 and not present.left and age >= third * 3 / 4:
                    await self._renew_or_try_again(key[0], present)

    async def _renew_or_try_again(self, room: str, present: _Presence) -> None:
        try:
            await self._renew(room, present)
        except NoBroker:
            # Soon, but not at every poll: each would be kept waiting for a hub that is away.
            present.renewed = _now() - self._limits.lease_seconds / 4

    async def _sweep_for_ever(self, rooms: Callable[[], Sequence[str]]) -> None:
        # Members whose process died have nobody else to say their quit.
        while True:
            await asyncio.sleep(self._limits.lease_seconds / 6)
            for room in {*rooms(), *(room for room, _ in self._present)}:
                await self._sweep(room)


def _now() -> float:
    return asyncio.get_running_loop().time()
