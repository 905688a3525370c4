"""The broker for one process: the promises of the Redis broker, kept in dictionaries.

Nothing here waits, so every method is as atomic as the other broker's scripts are.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from realtime.core.broker import META_TTL_FACTOR, SEEN_SECONDS, Listener, RoomSummary
from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.room import History
from realtime.limits import Limits
from realtime.tasks import Supervisor

# Rooms are looked through this often for those that may be forgotten.
_FORGET_SECONDS = 60.0


@dataclass
class _Log:
    """What Redis keeps of one room under its five keys."""

    epoch: str = field(default_factory=lambda: secrets.token_hex(5))
    top: int = 0
    events: list[Event] = field(default_factory=list)
    fresh_until: float = 0.0
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # id: (number, until)
    people: dict[str, Member] = field(default_factory=dict)
    leases: dict[tuple[str, str], float] = field(default_factory=dict)  # (client, holder): until
    leaving: set[str] = field(default_factory=set)


class MemoryBroker:
    """Numbers, remembers and announces within this process; `clock` gives seconds."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self._logs: dict[str, _Log] = {}
        self._heard: set[str] = set()
        self._reports: dict[str, tuple[bytes, float]] = {}  # worker: (text, until)
        self._listener: Listener | None = None
        self._supervisor = Supervisor()

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        self._supervisor.supervise("forget", self._forget_for_ever)

    async def close(self) -> None:
        self._heard.clear()
        await self._supervisor.close()

    async def ping(self) -> None:
        return

    # --- words -----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        log, now = self._log(draft.room), self._clock()
        number, until = log.seen.get(draft.id.lower(), (0, 0.0))
        if until > now:
            return Receipt(Cursor(log.epoch, number), draft.id, created=False)
        event = self._append(draft.room, draft.kind, draft.json_tail)
        self._remember(log, draft.id.lower(), event.cursor.offset, now)
        return Receipt(event.cursor, draft.id, created=True)

    async def history(self, room: str, after: Cursor) -> History:
        log = self._log(room)
        first = log.top - len(log.events) + 1
        start = max(after.offset + 1, first) if after.epoch == log.epoch else first
        return History(log.epoch, log.top, first, log.events[start - first :])

    def listen(self, room: str) -> None:
        self._heard.add(room)
        self._later(lambda listener: listener.on_subscribed(room))

    def unlisten(self, room: str) -> None:
        self._heard.discard(room)

    async def _forget_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(_FORGET_SECONDS, self._limits.history_seconds))
            self.forget()

    def forget(self) -> None:
        """Let go of the rooms that Redis would have let expire."""
        quiet = self._clock() - self._limits.history_seconds * (META_TTL_FACTOR - 1)
        for room in self._logs.keys() - self._heard:
            log = self._logs[room]
            # One that was only looked at leaves no trace, however many somebody makes up.
            if not log.people and (log.top == 0 or log.fresh_until <= quiet):
                del self._logs[room]

    def _log(self, room: str) -> _Log:
        log = self._logs.setdefault(room, _Log())
        if log.fresh_until <= self._clock():
            log.events.clear()
        return log

    def _append(self, room: str, kind: str, rest: bytes) -> Event:
        log, now = self._log(room), self._clock()
        log.top += 1
        rest += b',"published":%d}' % (now * 1000)
        event = Event.numbered(kind, Cursor(log.epoch, log.top), rest)
        log.events.append(event)
        del log.events[: -self._limits.history_events]
        log.fresh_until = now + self._limits.history_seconds
        if room in self._heard:
            self._later(lambda listener: listener.on_publication(room, event))
        return event

    def _remember(self, log: _Log, id: str, number: int, now: float) -> None:
        # Entries stand in the order in which they end, so the old ones are at the front.
        while log.seen and next(iter(log.seen.values()))[1] <= now:
            del log.seen[next(iter(log.seen))]
        log.seen.pop(id, None)
        log.seen[id] = (number, now + SEEN_SECONDS)

    def _later(self, tell: Callable[[Listener], None]) -> None:
        # Not at once: the caller is answered first, as with a broker across a network.
        if self._listener is not None:
            asyncio.get_running_loop().call_soon(tell, self._listener)

    async def reset(self, room: str) -> None:
        old = self._log(room)
        self._logs[room] = _Log(people=old.people, leases=old.leases, leaving=old.leaving)
        for member in old.people.values():
            self._append_about("join", room, member)

    # --- people ----------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str) -> None:
        log = self._log(room)
        known = member.client in log.people
        log.people[member.client] = member
        log.leaving.discard(member.client)
        log.leases[member.client, node_id] = self._clock() + self._limits.lease_seconds
        if not known:
            self._append_about("join", room, member)

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        log, until = self._log(room), self._clock() + seconds
        if client not in log.people:
            return
        if node_id is None:
            log.leaving.add(client)
        for lease, expiry in log.leases.items():
            if lease[0] == client and node_id in (None, lease[1]):
                log.leases[lease] = min(expiry, until)

    async def sweep(self, room: str) -> None:
        log, now = self._log(room), self._clock()
        ended = [lease for lease, until in log.leases.items() if until <= now]
        for lease in ended:
            del log.leases[lease]
        for client in dict(ended):
            if not any(other == client for other, _ in log.leases):
                log.leaving.discard(client)
                self._append_about("quit", room, log.people.pop(client))

    async def members(self, room: str) -> Sequence[Member]:
        log = self._logs.get(room, _Log())
        return [member for member in log.people.values() if member.client not in log.leaving]

    async def rooms(self) -> Sequence[RoomSummary]:
        logs = {room: self._log(room) for room in self._logs}
        return [
            RoomSummary(room, len(await self.members(room)), log.top)
            for room, log in logs.items()
            if log.people or log.events
        ]

    def _append_about(self, kind: str, room: str, member: Member) -> None:
        self._append(room, kind, b'"id":"%b",%b' % (str(uuid.uuid4()).encode(), member.json_tail))

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        self._reports[worker] = text, self._clock() + seconds

    async def reports(self) -> Mapping[str, bytes]:
        now = self._clock()
        self._reports = {name: one for name, one in self._reports.items() if one[1] > now}
        return {worker: text for worker, (text, _) in self._reports.items()}
