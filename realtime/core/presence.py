"""Who is in a room: a lease per client, renewed while the client is connected.

Each open stream and each poll holds one reference to its client.  While there is one in this
process, the lease is renewed.  When the last one is released, the lease is left to expire: for a
stream after the grace, so that a page reload is not a quit and a join; for a poll after the whole
lease, because the next poll is expected.

Anybody can send the id of another client.  So an open stream is present, whatever others send: a
`leave` shows only when the last stream has ended, and the first open stream gives the name.  A poll
with another name changes nothing while the member is there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from realtime.core.broker import Broker, RoomSummary
from realtime.core.events import Member
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.tasks import Supervisor

# Rooms of a list that are swept at once.
_SWEEPS = 50
# The renew loop passes this often during a lease, and once more after the lease has ended: so that
# another sweep finds a lease that ended a little later by the broker's clock.
_PASSES_PER_LEASE, _EXTRA_PASSES = 12, 2


@dataclass
class _TrackedClient:
    """One client in one room, as this process sees it."""

    member: Member
    streams: list[Member] = field(default_factory=list)  # open, the oldest first
    polls: int = 0
    renewed_at: float = float("-inf")
    has_left: bool = False  # by `leave`; one of its streams may still be closing
    idle_passes: int = 0  # of the renew loop, since the last reference

    @property
    def ref_count(self) -> int:
        return len(self.streams) + self.polls

    @property
    def is_present(self) -> bool:
        return bool(self.streams) or (self.polls > 0 and not self.has_left)

    def would_change(self, member: Member) -> bool:
        """Return whether a poll of `member` would change the member: not its name, but its way."""
        if member is self.member or self.streams:
            return False
        return member.name == self.member.name and member != self.member

    def update(self, member: Member) -> bool:
        """Take the name of the oldest stream, or of a poll of `member`; return if it changed."""
        old, is_free = self.member, self.has_left or member.name == self.member.name
        if self.streams:
            self.member = self.streams[0]
        elif is_free:
            self.member = member
        return self.member != old


class Presence:
    """The members of all rooms; `node_id` identifies this process to the broker."""

    def __init__(self, broker: Broker, limits: Limits, node_id: str) -> None:
        self._broker = broker
        self._limits = limits
        self._node_id = node_id
        self._tracked: dict[tuple[str, str], _TrackedClient] = {}
        self._streams_of: Counter[str] = Counter()  # client: its open streams, in all rooms
        self._extra_grace = 0.0  # seconds
        self._supervisor = Supervisor()

    def start(self, rooms: Callable[[], Sequence[str]]) -> None:
        """Start to renew leases, and to sweep the rooms that `rooms()` returns."""
        self._supervisor.supervise("renew leases", self._renew_loop)
        self._supervisor.supervise("sweep leases", lambda: self._sweep_loop(rooms))

    def extend_grace(self, seconds: float) -> None:
        """Add `seconds` to every grace from now on: a draining server itself closes the streams."""
        self._extra_grace = seconds

    def check_ready(self) -> None:
        """Return if leases are renewed and swept; raises `Busy` otherwise."""
        self._supervisor.check()

    async def close(self) -> None:
        """Stop renewing.  The leases expire unless another process takes them over."""
        await self._supervisor.close()

    def __len__(self) -> int:
        """Return how many clients of this process are in a room, or were a short while ago."""
        return len(self._tracked)

    def is_tracked(self, room: str, client: str) -> bool:
        """Return whether a client of this process is in a room, or was a short while ago."""
        return (room, client) in self._tracked

    def count_streams(self, client: str) -> int:
        """Return how many streams a client has open at this process, in all rooms."""
        return self._streams_of[client]

    # --- joining and leaving ---------------------------------------------------------------------

    async def track(self, room: str, member: Member, *, stream: bool) -> None:
        """Add a reference, a stream or a poll; the first one of a new member publishes a join.

        If the broker cannot be reached, this returns all the same, so that the client can read.
        The renewal retries.
        """
        tracked = self._tracked.setdefault((room, member.client), _TrackedClient(member))
        tracked.idle_passes = 0
        if stream:
            tracked.streams.append(member)
            self._streams_of[member.client] += 1
        else:
            tracked.polls += 1
        is_first = stream and len(tracked.streams) == 1
        if tracked.update(member) or tracked.has_left or is_first:
            tracked.has_left = False
            tracked.renewed_at = float("-inf")
        if _now() - tracked.renewed_at >= self._limits.lease_seconds / 3:
            await self._try_renew(room, tracked)

    def track_poll_again(self, room: str, member: Member) -> bool:
        """Add a reference of a poll, as `track` does, if that changes nothing else.

        Return False, with nothing done, if `track` would have to call the broker.
        """
        tracked = self._tracked.get((room, member.client))
        if tracked is None or tracked.has_left or tracked.would_change(member):
            return False
        if _now() - tracked.renewed_at >= self._limits.lease_seconds / 3:
            return False
        tracked.idle_passes = 0
        tracked.polls += 1
        return True

    def untrack(self, room: str, member: Member, *, stream: bool) -> None:
        """Release a reference; without another one the member has quit after a while."""
        tracked = self._tracked.get((room, member.client))
        if tracked is None:  # its lease expired long ago
            return
        if not stream:
            tracked.polls -= 1
            return
        tracked.streams.remove(member)
        self._streams_of[member.client] -= 1
        if not self._streams_of[member.client]:
            del self._streams_of[member.client]
        if tracked.ref_count > 0:
            # On a reload, the new page may connect before the old one calls `leave`.  So the stream
            # that left may be the one that ends here, and the others stay.
            tracked.update(tracked.member)
            tracked.has_left = False
            self._supervisor.spawn("stay", lambda: self._try_renew(room, tracked))
            return
        seconds = self._limits.grace_seconds + self._extra_grace
        if seconds < self._limits.lease_seconds:
            self._supervisor.spawn(
                "untrack", lambda: self._release_lease(room, member.client, seconds)
            )

    async def leave(self, room: str, client: str) -> None:
        """Remove a client from the list now; the quit follows after the grace unless it returns.

        A client with an open stream stays on the list until that has ended.
        """
        if tracked := self._tracked.get((room, client)):
            tracked.has_left = True
        await self._broker.leave(room, client, None, self._limits.grace_seconds)
        self._sweep_later(room, self._limits.grace_seconds)

    # --- the lists -------------------------------------------------------------------------------

    async def members(
        self, room: str, after: str = "", limit: int | None = None
    ) -> Sequence[Member]:
        """List a page of the members of a room, see `Broker.members`."""
        # A process that died releases no lease, and perhaps no process sweeps that room.
        await self._broker.sweep(room)
        return await self._broker.members(room, after, limit)

    async def count_members(self, room: str) -> int:
        return await self._broker.count_members(room)

    async def rooms(self, after: str = "", limit: int | None = None) -> Sequence[RoomSummary]:
        """List a page of the rooms, see `Broker.rooms`."""
        summaries = await self._broker.rooms(after, limit)
        rooms = [summary.room for summary in summaries if summary.members]
        for start in range(0, len(rooms), _SWEEPS):  # not all at once: others wait meanwhile
            await asyncio.gather(*map(self._broker.sweep, rooms[start : start + _SWEEPS]))
        return await self._broker.rooms(after, limit) if rooms else summaries

    # --- leases ----------------------------------------------------------------------------------

    async def _renew(self, room: str, tracked: _TrackedClient) -> None:
        tracked.renewed_at = _now()  # set first: references added meanwhile need no second call
        await self._broker.enter(room, tracked.member, self._node_id, stream=bool(tracked.streams))

    async def _release_lease(self, room: str, client: str, seconds: float) -> None:
        tracked = self._tracked.get((room, client))
        if tracked is None or tracked.ref_count > 0:  # it is back
            return
        del self._tracked[room, client]
        try:
            await self._broker.leave(room, client, self._node_id, seconds)
        except NoBroker:
            return  # the lease expires without it
        if back := self._tracked.get((room, client)):  # `enter` may have arrived before `leave`
            await self._try_renew(room, back)
        self._sweep_later(room, seconds)

    def _sweep_later(self, room: str, seconds: float) -> None:
        def sweep() -> None:
            self._supervisor.spawn("sweep", lambda: self._sweep(room))

        # 50 ms late: at exactly `seconds` the lease might not have expired yet.
        asyncio.get_running_loop().call_later(seconds + 0.05, sweep)

    async def _sweep(self, room: str) -> None:
        try:
            await self._broker.sweep(room)
        except NoBroker:
            return  # the next sweep finds it

    async def _renew_loop(self) -> None:
        lease = self._limits.lease_seconds
        while True:
            await asyncio.sleep(lease / _PASSES_PER_LEASE)
            for key, tracked in list(self._tracked.items()):
                if tracked.ref_count > 0:
                    age = _now() - tracked.renewed_at
                    if tracked.is_present and age >= lease / 4:
                        await self._try_renew(key[0], tracked)
                    continue
                # We count passes, not seconds: while the machine slept, the lease did not run.
                tracked.idle_passes += 1
                if tracked.idle_passes >= _PASSES_PER_LEASE + _EXTRA_PASSES:
                    self._tracked.pop(key, None)
                    self._sweep_later(key[0], 0)  # perhaps no reader here makes `_sweep_loop` do it

    async def _try_renew(self, room: str, tracked: _TrackedClient) -> None:
        try:
            await self._renew(room, tracked)
        except NoBroker:
            # Retry soon, but not at every poll: each would wait for a broker that is down.
            tracked.renewed_at = _now() - self._limits.lease_seconds / 4

    async def _sweep_loop(self, rooms: Callable[[], Sequence[str]]) -> None:
        # Members of a process that died: no other code publishes their quit.
        while True:
            await asyncio.sleep(self._limits.lease_seconds / 6)
            for room in {*rooms(), *(room for room, _ in self._tracked)}:
                await self._sweep(room)


def _now() -> float:
    return asyncio.get_running_loop().time()
