"""The broker for one process: it gives the guarantees of the Redis broker, in dictionaries.

No method here waits, so each is as atomic as one of the Redis broker's Lua scripts.
"""

import asyncio
import heapq
import math
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS, Listener, RoomSummary
from realtime.core.clock import SteadyClock
from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.names import Names
from realtime.core.room import History, Room
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.tasks import Supervisor

# How often we look for idle rooms to evict.
_EVICT_INTERVAL_SECONDS = 60.0


@dataclass
class _Log:
    """The state of one room, which Redis keeps in seven keys."""

    room: Room
    events_expire_at: float = -math.inf
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # id: (offset, expiry)
    people: dict[str, Member] = field(default_factory=dict)
    leases: dict[tuple[str, str], float] = field(default_factory=dict)  # (client, node_id): expiry
    leaving: set[str] = field(default_factory=set)
    # client: the nodes where it has an open stream, the oldest first
    streams: dict[str, list[str]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def is_listed(self, client: str) -> bool:
        return client not in self.leaving or client in self.streams

    def set_stream(self, client: str, node_id: str, is_open: bool) -> list[str]:
        """Add a node to those where a client has an open stream, or remove it; return them."""
        nodes = self.streams.setdefault(client, [])
        if is_open and node_id not in nodes:
            nodes.append(node_id)
        elif not is_open and node_id in nodes:
            nodes.remove(node_id)
        return nodes or self.streams.pop(client)


class MemoryBroker:
    """Stores and publishes events within this process; `clock` returns seconds, from any start."""

    def __init__(self, limits: Limits, clock: Callable[[], float] | None = None) -> None:
        self._limits = limits
        self._steady_clock = SteadyClock(limits.lease_seconds)
        self._clock = clock or self._steady_clock.now
        self._logs: dict[str, _Log] = {}
        self._subscribed: set[str] = set()
        self._reports: dict[str, tuple[bytes, float]] = {}  # worker: (text, expiry)
        self._rules: dict[str, tuple[dict[str, str], float]] = {}  # room: (fields, expiry)
        self._listener: Listener | None = None
        self._evict_again_at = -math.inf
        self._supervisor = Supervisor()

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        self._supervisor.supervise("clock", self._steady_clock.run)
        self._supervisor.supervise("evict", self._evict_loop)

    async def close(self) -> None:
        self._subscribed.clear()
        await self._supervisor.close()

    async def ping(self) -> None:
        return

    # --- events ----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        log, now = self._log(draft.room), self._clock()
        offset, expiry = log.seen.get(draft.id.lower(), (0, -math.inf))
        if expiry > now:
            return Receipt(Cursor(log.room.epoch, offset), draft.id, created=False)
        suffix = log.names.suffix(draft.client, draft.name)
        event = self._append(draft.room, draft.kind, draft.json_tail_with(suffix))
        self._remember_id(log, draft.id.lower(), event.cursor.offset, now)
        return Receipt(event.cursor, draft.id, created=True)

    async def history(self, room: str, after: Cursor) -> History:
        log = self._log(room).room
        events = log.events_after(after.offset if after.epoch == log.epoch else 0)
        return History(log.epoch, log.top, log.first, events)

    def listen(self, room: str) -> None:
        self._subscribed.add(room)
        self._notify(lambda listener: listener.on_subscribed(room))

    def unlisten(self, room: str) -> None:
        self._subscribed.discard(room)

    async def _evict_loop(self) -> None:
        while True:
            await asyncio.sleep(min(_EVICT_INTERVAL_SECONDS, self._limits.history_seconds))
            self.evict_idle_rooms()

    def evict_idle_rooms(self) -> None:
        """Delete the rooms whose keys would have expired in Redis."""
        idle_since = self._clock() - self._limits.history_seconds * (META_TTL_FACTOR - 1)
        for room in self._logs.keys() - self._subscribed:
            log = self._logs[room]
            # A room without events was only read: a client that invents names must not fill memory.
            if not log.people and (log.room.top == 0 or log.events_expire_at <= idle_since):
                del self._logs[room]

    def _log(self, room: str) -> _Log:
        log = self._logs.get(room)
        if log is None:
            self._make_space()
            log = self._logs[room] = self._new_log()
        if log.events_expire_at <= self._clock():
            log.room.trim(log.room.top + 1)
        return log

    def _make_space(self) -> None:
        """Evict rooms before one more is created; raises `NoBroker` if all of them are needed."""
        # Rooms that are only read, and not counted by `core.admission`, have as much space again.
        if len(self._logs) < 2 * self._limits.kept_rooms:
            return
        now = self._clock()
        if now >= self._evict_again_at:  # each time it looks at all rooms
            self._evict_again_at = now + 1
            self.evict_idle_rooms()
        if len(self._logs) >= 2 * self._limits.kept_rooms:
            failure = NoBroker("The hub's memory is full; try again later.")
            failure.full = True
            raise failure

    def _new_log(self) -> _Log:
        limits = self._limits
        room = Room(limits.history_events, limits.presence_events, limits.room_bytes)
        room.reset(secrets.token_hex(5), 1)
        return _Log(room)

    def _append(self, room: str, kind: str, json_tail: bytes) -> Event:
        log = self._log(room)
        json_tail += b',"published":%d}' % (time.time() * 1000)
        event = Event.numbered(kind, Cursor(log.room.epoch, log.room.top + 1), json_tail)
        log.room.append(event)
        log.events_expire_at = self._clock() + self._limits.history_seconds
        if room in self._subscribed:
            self._notify(lambda listener: listener.on_publication(room, event))
        return event

    def _remember_id(self, log: _Log, id: str, offset: int, now: float) -> None:
        # Entries are in the order of their expiry, so the expired ones are at the front.
        while log.seen and next(iter(log.seen.values()))[1] <= now:
            del log.seen[next(iter(log.seen))]
        log.seen.pop(id, None)
        log.seen[id] = (offset, now + SEEN_SECONDS)

    def _notify(self, call: Callable[[Listener], None]) -> None:
        # Not at once: `publish` returns first, as with a broker across a network.
        if self._listener is not None:
            asyncio.get_running_loop().call_soon(call, self._listener)

    async def reset(self, room: str) -> None:
        old = self._log(room)
        self._logs[room] = new = self._new_log()
        new.people, new.leases, new.leaving = old.people, old.leases, old.leaving
        new.streams, new.names = old.streams, old.names
        for member in old.people.values():
            self._append_presence("join", room, member)

    # --- members ---------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str, *, stream: bool = False) -> None:
        log, client = self._log(room), member.client
        old = log.people.get(client)
        suffix = log.names.suffix(client, member.name)
        member, name = replace(member, name=member.name + suffix), member.name
        nodes = log.set_stream(client, node_id, stream)
        free = old is None or client in log.leaving or old.name == member.name
        if nodes[:1] == [node_id] or (not nodes and free):
            log.people[client] = member
            log.names.take(client, name, suffix)
        log.leaving.discard(client)
        log.leases[client, node_id] = self._clock() + self._limits.lease_seconds
        if old is None:
            self._append_presence("join", room, member)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        log, new_expiry = self._logs.get(room), self._clock() + seconds
        if log is None or client not in log.people:
            return
        if node_id is None:
            log.leaving.add(client)
        else:
            log.set_stream(client, node_id, False)
        held = log.streams.get(client, [])
        for lease, expiry in log.leases.items():
            if lease[0] == client and (
                lease[1] == node_id or (not node_id and lease[1] not in held)
            ):
                log.leases[lease] = min(expiry, new_expiry)

    async def sweep(self, room: str) -> None:
        log, now = self._logs.get(room), self._clock()
        if log is None:  # a room that somebody asked for, and nobody has entered
            return
        expired = [lease for lease, expiry in log.leases.items() if expiry <= now]
        for client, node_id in expired:
            del log.leases[client, node_id]
            log.set_stream(client, node_id, False)
        for client in dict(expired):
            if not any(other == client for other, _ in log.leases):
                log.leaving.discard(client)
                log.names.release(client)
                self._append_presence("quit", room, log.people.pop(client))

    async def members(
        self, room: str, after: str = "", limit: int | None = None
    ) -> Sequence[Member]:
        log = self._logs.get(room)
        if log is None:
            return []
        listed = (client for client in log.people if client > after and log.is_listed(client))
        first = heapq.nsmallest(limit or self._limits.list_rows, listed)
        return [log.people[client] for client in first]

    async def count_members(self, room: str) -> int:
        log = self._logs.get(room)
        return len(log.people) - len(log.leaving - log.streams.keys()) if log else 0

    async def rooms(self, after: str = "", limit: int | None = None) -> Sequence[RoomSummary]:
        now = self._clock()
        listed = (
            room
            for room, log in self._logs.items()
            if room > after and (log.people or (log.room.has_events and log.events_expire_at > now))
        )
        return [
            RoomSummary(room, await self.count_members(room), self._logs[room].room.top)
            for room in heapq.nsmallest(limit or self._limits.list_rows, listed)
        ]

    def _append_presence(self, kind: str, room: str, member: Member) -> None:
        self._append(room, kind, b'"id":"%b",%b' % (str(uuid.uuid4()).encode(), member.json_tail))

    # --- rules -----------------------------------------------------------------------------------

    async def rules(self, room: str) -> Mapping[str, str]:
        fields, expiry = self._rules.get(room, ({}, -math.inf))
        return fields if expiry > self._clock() else {}

    async def change_rules(self, room: str, changes: Mapping[str, str | None]) -> None:
        now = self._clock()
        fields: dict[str, str | None] = {**await self.rules(room), **changes}
        kept = {field: value for field, value in fields.items() if value is not None}
        self._rules = {room: one for room, one in self._rules.items() if one[1] > now}
        self._rules[room] = kept, now + self._limits.history_seconds * META_TTL_FACTOR
        if room in self._subscribed:
            self._notify(lambda listener: listener.on_rules(room))

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        self._reports[worker] = text, self._clock() + seconds

    async def reports(self) -> Mapping[str, bytes]:
        now = self._clock()
        self._reports = {
            worker: report for worker, report in self._reports.items() if report[1] > now
        }
        return {worker: text for worker, (text, _) in self._reports.items()}
