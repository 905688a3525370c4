"""What the lecturer has forbidden: the rules of a room, and the streams and polls that they end.

The rules are in the hub, so they hold at every process and survive its restart.  A process keeps a
copy for a short while.  The hub announces a change to the processes that have readers of the room;
the copy of any other process is renewed soon.

    PUT /rooms/ROOM/rules/removed/CLIENT ─▶ hub ─▶ every process: refuse it, end its streams
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from realtime.core.broker import Broker
from realtime.core.events import Member, moderated_room
from realtime.errors import Muted, NameNotApproved, NoBroker, RealtimeError, Removed, RoomLocked
from realtime.tasks import Supervisor

# A copy is renewed after this time: an announcement can be lost.
_COPY_SECONDS = 2.0
# Copies that are kept; older ones of other rooms are dropped above that.
_MAX_COPIES = 2_000
# Names that wait for approval; a client that invents names must not fill the memory of the hub.
_MAX_WANTED = 200
# A client whose name waits tries again after this time.
_APPROVAL_SECONDS = 5
# In place of a client: everybody.
EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one room; `inside` are the clients that were members when it was locked.

    With `approval`, only a name in `names` may join or speak; `wanted` are those that tried.
    """

    locked: bool = False
    approval: bool = False
    muted: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> Self:
        """Parse what a broker stores: ``{"locked": …, "muted CLIENT": …, "names NAME": …, …}``."""
        found = defaultdict(set)
        for field in fields:
            rule, _, whose = field.partition(" ")
            found[rule].add(whose)
        lists = ("muted", "removed", "inside", "names", "wanted")
        switches = ("locked" in found, "approval" in found)
        return cls(*switches, *(frozenset(found[rule]) for rule in lists))

    def check_member(self, client: str) -> None:
        """Return if this client may be a member; raises `Removed` or `RoomLocked`."""
        if client in self.removed:
            raise Removed("The lecturer has removed you from this room.")
        self._check_lock(client)

    def check_speaker(self, client: str | None) -> None:
        """Return if this client may speak; raises `Removed`, `RoomLocked` or `Muted`."""
        if client in self.removed:
            raise Removed("The lecturer has removed you from this room.")
        self._check_lock(client)
        if client in self.muted or EVERYBODY in self.muted:
            raise Muted("The lecturer has muted you; you can read on.")
        if client is None and (self.muted or self.removed):
            raise Muted("Somebody is muted here, so a message needs its `client`.")

    def approves(self, name: str | None) -> bool:
        """Return whether a client with this name may join and speak."""
        return not self.approval or name in self.names

    def _check_lock(self, client: str | None) -> None:
        if self.locked and client not in self.inside:
            raise RoomLocked("The lecturer has locked this room; its members stay.")


class Endable(Protocol):
    """A client in a room, whose stream or waiting poll `end` closes with an error."""

    def end(self, error: RealtimeError) -> None: ...


class Moderation:
    """The rules of all rooms, as this process knows them, and the streams that obey them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._copies: dict[str, tuple[Rules, float]] = {}  # room: (rules, when they were read)
        self._streams: dict[str, dict[Endable, str]] = {}  # room: {stream: client}
        self._supervisor = Supervisor()

    def start(self) -> None:
        """Start to compare the rules of rooms with streams, for an announcement that was lost."""
        self._supervisor.supervise("enforce rules", self._enforce_loop)

    async def close(self) -> None:
        await self._supervisor.close()

    # --- the rules -------------------------------------------------------------------------------

    async def rules(self, room: str) -> Rules:
        """Return the rules of a room; raises `NoBroker` if they were never read."""
        copy, now = self._copies.get(room), _now()
        if copy is None:
            return await self.read(room)
        if now - copy[1] >= _COPY_SECONDS:
            self._copies[room] = copy[0], now  # others use the old copy until it is renewed
            try:
                return await self.read(room)
            except NoBroker:  # what the lecturer said still holds
                return copy[0]
        return copy[0]

    def admits_now(self, room: str, member: Member) -> bool:
        """Return whether the rules admit a member, as far as our copy is new enough to tell."""
        copy = self._copies.get(room)
        if copy is None or _now() - copy[1] >= _COPY_SECONDS:
            return False
        try:
            copy[0].check_member(member.client)
        except RealtimeError:
            return False
        return copy[0].approves(member.name)

    async def change(self, room: str, changes: Mapping[str, str | None]) -> None:
        """Set these fields of the rules, or delete those that are None; at every process."""
        await self._broker.change_rules(room, changes)
        await self._enforce(room)

    async def check_name(self, room: str, rules: Rules, name: str | None) -> None:
        """Return if the name may be used; otherwise ask the lecturer, and raise the error."""
        if rules.approves(name):
            return
        rules, read_at = self._copies.get(room, (rules, _now()))
        if name is not None and name not in rules.wanted and len(rules.wanted) < _MAX_WANTED:
            # Into the copy first: other names arrive before the broker has answered.
            self._copies[room] = replace(rules, wanted=rules.wanted | {name}), read_at
            await self._broker.change_rules(room, {f"wanted {name}": "1"})
        raise NameNotApproved(
            "The lecturer approves the names in this room; wait for yours.",
            retry_after=_APPROVAL_SECONDS,
        )

    def on_rules(self, room: str) -> None:
        """Another process may have changed the rules of a room."""
        self._supervisor.spawn("read rules", lambda: self._try_enforce(room))

    async def read(self, room: str) -> Rules:
        """Return the rules of a room as they are now; raises `NoBroker`."""
        rules = Rules.parse(await self._broker.rules(room))
        if len(self._copies) >= _MAX_COPIES:
            self._copies = {r: c for r, c in self._copies.items() if _now() - c[1] < _COPY_SECONDS}
        self._copies[room] = rules, _now()
        return rules

    # --- the streams -----------------------------------------------------------------------------

    def add(self, room: str, client: str, stream: Endable) -> None:
        """End this stream, or this poll, when its client may no longer be a member.

        That can be at once: the rules may have changed since the client was admitted.
        """
        room = moderated_room(room)
        self._streams.setdefault(room, {})[stream] = client
        if copy := self._copies.get(room):
            _end_unless_member(stream, client, copy[0])

    def discard(self, room: str, stream: Endable) -> None:
        """Forget a stream that has ended."""
        room = moderated_room(room)
        streams = self._streams.get(room, {})
        streams.pop(stream, None)
        if not streams:
            self._streams.pop(room, None)

    async def _enforce(self, room: str) -> None:
        """Read the rules of a room, and end the streams of those who may not be members.

        Of a locked room, that is who was admitted while the lecturer locked it.
        """
        rules = await self.read(room)
        if rules.removed or rules.locked:
            for stream, client in list(self._streams.get(room, {}).items()):
                _end_unless_member(stream, client, rules)

    async def _try_enforce(self, room: str) -> None:
        try:
            await self._enforce(room)
        except NoBroker:
            return  # the loop tries again

    async def _enforce_loop(self) -> None:
        while True:
            await asyncio.sleep(_COPY_SECONDS)
            rooms: Sequence[str] = list(self._streams)
            for room in rooms:
                await asyncio.sleep(_COPY_SECONDS / len(rooms))  # not all at once
                await self._try_enforce(room)


def _end_unless_member(stream: Endable, client: str, rules: Rules) -> None:
    try:
        rules.check_member(client)
    except RealtimeError as error:
        stream.end(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
