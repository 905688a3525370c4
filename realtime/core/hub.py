"""The one object that transports talk to: publish, read, follow.

Each room that somebody here reads is a Channel: the room's log, its audience, and the work of
keeping that log whole.  Announcements come in by number; whatever is not the next one starts a
sync, which reads the broker's memory from our own cursor.

    publish ─▶ broker ─▶ announced ─▶ room.append ─▶ audience, waiting readers
                              └─ not the next number: sync ─▶ room.merge ─┘
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from realtime import metrics
from realtime.core.broadcaster import Broadcaster, Subscriber
from realtime.core.broker import Broker
from realtime.core.events import Cursor, Draft, Event, Receipt
from realtime.core.room import AppendResult, Page, Room
from realtime.errors import Busy, GoingAway, NoBroker
from realtime.limits import Limits
from realtime.tasks import Supervisor, backoff

# Every room is compared with the broker this often: a lost *last* message makes no hole.
COMPARE_SECONDS = 5.0
# A room that could not be brought in step for so long makes the process not ready.
OUT_OF_STEP_SECONDS = 10.0
# A room read so short a while ago does not give way to another: its reader may be about to wait.
_SPARED_SECONDS = 0.2
# A poll may wait so much longer than it asked: its end shares a timer with those of others.
_GRAIN_SECONDS = 0.02
# Waiting readers have the newest cursors, so few rendered pages are worth caching.
_MAX_RENDERED = 8

T = TypeVar("T")

# Where a reader begins: after a cursor, or before the last so many events.
After = Cursor | int


class Cause(StrEnum):
    """Why a room is read from the broker's memory."""

    OPENED = "opened"  # nothing is known of it yet
    CONFIRMED = "confirmed"  # listening began anew: something may have been missed
    HOLE = "hole"  # an announcement was not the next one
    CURSOR = "cursor"  # a reader has seen more than we
    COMPARED = "compared"  # the last message may have been lost, which makes no hole
    RETRIED = "retried"  # the reading before failed
    RESET = "reset"  # the room begins anew, and perhaps nobody is in it to be announced


for _cause in Cause:
    metrics.SYNCS.labels(_cause)


class RoomReplica:
    """One room, as this process keeps it in step with the broker."""

    def __init__(self, name: str, broker: Broker, limits: Limits, supervisor: Supervisor) -> None:
        self.name = name
        self.room = Room(limits.history_events)
        self.broadcaster = Broadcaster(self.room, limits)
        self.out_of_step_since: float | None = None
        self._broker = broker
        self._limits = limits
        self._supervisor = supervisor
        self._rendered: dict[tuple[Cursor, Callable[[Page], Any]], tuple[Page, Any]] = {}
        # Until when, and by which transport.
        self._waiting: dict[asyncio.Future[None], tuple[float, str]] = {}
        self._look_at = math.inf
        self._looking: asyncio.TimerHandle | None = None
        self._syncing = False
        self._sync_wanted: asyncio.Future[None] | None = None
        self._sync_failures = 0
        self._touched = _now()

    # --- reading ---------------------------------------------------------------------------------

    def is_synced(self, after: After) -> bool:
        """Whether `after` can be answered truly."""
        known = bool(self.room.epoch)
        return known and not (isinstance(after, Cursor) and self.room.is_behind(after))

    async def ensure_synced(self) -> None:
        """Return when we have asked the broker what we do not know; raises `NoBroker`."""
        cause = Cause.CURSOR if self.room.epoch else Cause.OPENED
        await asyncio.shield(self.sync_soon(cause))

    def start(self, after: After) -> Cursor:
        return after if isinstance(after, Cursor) else self.room.last(after)

    def render(self, cursor: Cursor, render: Callable[[Page], T]) -> tuple[Page, T]:
        """Return what came after `cursor`, and what `render` makes of it.

        All readers at one cursor share one result: it is cached until the next event.
        """
        rendered = self._rendered.get((cursor, render))
        if rendered is None:
            limits = self._limits
            page = self.room.since(cursor, limits.answer_events, limits.answer_bytes)
            rendered = page, render(page)
            if len(self._rendered) >= _MAX_RENDERED:
                self._rendered.clear()
            self._rendered[cursor, render] = rendered
        return rendered

    def waiter(self, seconds: float, transport: str) -> "asyncio.Future[None]":
        """Return a future that is done at the next event, or after `seconds`."""
        waiter = asyncio.get_running_loop().create_future()
        deadline = _now() + seconds
        self._waiting[waiter] = deadline, transport
        if deadline < self._look_at:
            self._look_again_at(deadline)
        return waiter

    def forget(self, waiter: "asyncio.Future[None]") -> None:
        self._waiting.pop(waiter, None)

    def _look_again_at(self, when: float) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._look_at = when
        self._looking = asyncio.get_running_loop().call_later(when - _now(), self._end_waiting)

    def _end_waiting(self) -> None:
        """Let go those whose time is up: one timer for all, which costs each of them nothing."""
        self._looking, self._look_at = None, math.inf
        now = _now()
        for waiter in [waiter for waiter, (until, _) in self._waiting.items() if until <= now]:
            _settle(waiter, None)
            self.forget(waiter)
        if self._waiting:
            soonest, _ = min(self._waiting.values())
            self._look_again_at(max(soonest, now + _GRAIN_SECONDS))

    def count(self, counts: Counter[str]) -> None:
        counts["waiting"] += len(self._waiting)
        self.broadcaster.count(counts)

    def transports(self) -> Counter[str]:
        """How many read this room now, by transport."""
        counts = self.broadcaster.transports()
        counts.update(transport for _, transport in self._waiting.values())
        return counts

    def touch(self) -> None:
        self._touched = _now()

    def idle_seconds(self) -> float:
        """How long nobody has read this room."""
        if self._waiting or len(self.broadcaster):
            self.touch()
        return _now() - self._touched

    # --- news ------------------------------------------------------------------------------------

    def on_publication(self, event: Event) -> None:
        match self.room.append(event):
            case AppendResult.APPENDED:
                self._news()
            case AppendResult.GAP:
                self.sync_soon(Cause.HOLE)

    def _news(self) -> None:
        self._rendered.clear()
        self.broadcaster.flush_soon()
        self.wake()

    def wake(self) -> None:
        """Let every waiting reader look again."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            _settle(waiter, None)

    # --- keeping in step -------------------------------------------------------------------------

    def sync_soon(self, cause: Cause) -> "asyncio.Future[None]":
        """Read the broker's memory from our own cursor, one reading at a time.

        The result is done when a reading that began after this call has ended.  It holds
        `NoBroker` if that failed, and then another is tried soon, whoever waits or not.
        """
        if self._sync_wanted is None:
            metrics.SYNCS.labels(cause).inc()
            self._sync_wanted = asyncio.get_running_loop().create_future()
            self._sync_wanted.add_done_callback(lambda done: done.exception())
        if not self._syncing:
            self._syncing = True
            self._supervisor.spawn("sync", self._sync)
        return self._sync_wanted

    async def _sync(self) -> None:
        self.out_of_step_since = self.out_of_step_since or _now()
        done = asyncio.get_running_loop().create_future()
        try:
            while self._sync_wanted is not None:
                done, self._sync_wanted = self._sync_wanted, None
                while await self._read_page():
                    pass
                _settle(done, None)
            self._sync_failures, self.out_of_step_since = 0, None
        except NoBroker as error:
            self._sync_failures += 1
            pause = backoff(self._sync_failures, longest=2.0)
            asyncio.get_running_loop().call_later(pause, self.sync_soon, Cause.RETRIED)
            _settle(done, error)
        finally:
            self._syncing = False
            # After an error, of the broker or of ours: nobody may hang on it.
            _settle(done, NoBroker())
            self.give_up()

    def give_up(self) -> None:
        """Tell whoever waits for a reading that has not begun that it will not."""
        if self._sync_wanted is not None:
            _settle(self._sync_wanted, NoBroker())
            self._sync_wanted = None

    async def _read_page(self) -> bool:
        before = self.room.cursor
        history = await self._broker.history(self.name, before)
        if not self.room.merge(history) and before.epoch:
            metrics.RESETS.inc()
        if self.room.cursor != before:
            self._news()
        return history.more


def _settle(future: "asyncio.Future[None]", error: NoBroker | None) -> None:
    if not future.done():
        future.set_exception(error) if error else future.set_result(None)


def _now() -> float:
    return time.monotonic()


class Reader:
    """A cursor that can wait: what a poll is."""

    def __init__(self, replica: RoomReplica, cursor: Cursor) -> None:
        self.cursor = cursor
        self._replica = replica
        self._waiter: asyncio.Future[None] | None = None

    def poll(self, render: Callable[[Page], T]) -> T:
        """Render what came after the cursor, perhaps nothing, and move past it.

        Readers at the same cursor that pass the same `render` share one result.
        """
        page, rendered = self._replica.render(self.cursor, render)
        if page.gap:
            metrics.GAPS.labels(page.gap).inc()
        self.cursor = page.cursor
        return rendered

    async def wait(self, seconds: float, transport: str) -> None:
        """Return when there is something to `poll`, after `seconds`, or on `cancel`.

        Meanwhile the reader is counted as one of `transport`.
        """
        if self._replica.room.cursor != self.cursor:
            return
        self._waiter = waiter = self._replica.waiter(seconds, transport)
        try:
            await waiter
        finally:
            self._replica.forget(waiter)

    def cancel(self) -> None:
        """End a `wait`: whoever asked is gone."""
        if self._waiter is not None:
            _settle(self._waiter, None)


class Hub:
    """Publish to rooms, read them, follow them; over whichever broker."""

    def __init__(self, broker: Broker, limits: Limits) -> None:
        self._broker = broker
        self._limits = limits
        self._replicas: dict[str, RoomReplica] = {}
        self._supervisor = Supervisor()
        self._spread: float | None = None  # seconds, once the server has begun to stop
        self._closed = False

    async def start(self) -> None:
        """Connect to the broker; raises `NoBroker` if that fails."""
        await self._broker.start(self)
        self._supervisor.supervise("compare", self._compare_for_ever)

    def drain(self, seconds: float) -> None:
        """Send readers elsewhere: waiting polls now, each stream at its own moment in `seconds`.

        Reading and publishing go on meanwhile; who would wait or follow is told `GoingAway`.
        """
        self._spread = seconds
        for replica in self._replicas.values():
            replica.wake()
            replica.broadcaster.close_staggered(seconds, self._going_away)

    async def close(self) -> None:
        """Answer every waiting reader, end every stream, let the broker go."""
        self._closed, self._spread = True, self._spread or 0
        for replica in self._replicas.values():
            replica.wake()
            replica.broadcaster.close_staggered(0, self._going_away)
        await self._supervisor.close()
        for replica in self._replicas.values():
            replica.give_up()
        await self._broker.close()

    async def check_ready(self) -> None:
        """Return if all is in step with the broker, or raise why not."""
        self.check_open()
        self._supervisor.check()
        await self.check_broker()
        late = _now() - OUT_OF_STEP_SECONDS
        if any((c.out_of_step_since or late) < late for c in self._replicas.values()):
            raise Busy("A room could not be brought in step with the hub.", retry_after=5)

    async def check_broker(self) -> None:
        """Return if the broker answers and is heard; raises `NoBroker`, or `Busy` for its tasks."""
        await self._broker.ping()

    @property
    def closing(self) -> bool:
        """Whether the server has begun to stop."""
        return self._spread is not None

    def check_open(self) -> None:
        """Raise `GoingAway` if the server has begun to stop: what lasts should not begin here."""
        if self.closing:
            raise self._going_away()

    def _going_away(self) -> GoingAway:
        # At random, or all who were here would come back in the same instant.
        pause = random.uniform(1, 1 + (self._spread or 0))
        return GoingAway("The server stops; come back in a moment.", retry_after=pause)

    def count(self) -> Counter[str]:
        """How many rooms are kept here, in which state, and how many read them in which way."""
        counts: Counter[str] = Counter(live=0, syncing=0, following=0, lagging=0, waiting=0)
        for replica in self._replicas.values():
            counts["syncing" if replica.out_of_step_since else "live"] += 1
            replica.count(counts)
        return counts

    def readers(self) -> dict[str, Counter[str]]:
        """Who follows or waits here, by room and transport; rooms without a reader are left out."""
        counted = ((name, replica.transports()) for name, replica in self._replicas.items())
        return {name: counts for name, counts in counted if counts}

    # --- the three verbs -------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        """Say it to everybody, ourselves included, by way of the broker; once per `draft.id`."""
        with metrics.PUBLISH.time():
            return await self._broker.publish(draft)

    async def read(self, room: str, after: After) -> Reader:
        """Give a reader that stands after a cursor, or before the last so many events."""
        replica = await self._channel_at(room, after)
        return Reader(replica, replica.start(after))

    async def follow(self, room: str, after: After, subscriber: Subscriber) -> Broadcaster:
        """Push to `subscriber` what came after, then what comes, until it is removed."""
        replica = await self._channel_at(room, after)
        replica.broadcaster.add(subscriber, replica.start(after))
        return replica.broadcaster

    async def reset(self, room: str) -> None:
        """Begin a room anew: every reader is told `gap`, here and in all other processes."""
        await self._broker.reset(room)
        if replica := self._replicas.get(room):
            replica.sync_soon(Cause.RESET)

    # --- what the broker tells -------------------------------------------------------------------

    def on_publication(self, room: str, event: Event) -> None:
        if replica := self._replicas.get(room):
            replica.on_publication(event)

    def on_subscribed(self, room: str) -> None:
        if replica := self._replicas.get(room):
            replica.sync_soon(Cause.CONFIRMED)

    # --- the rooms read here ---------------------------------------------------------------------

    @property
    def rooms(self) -> list[str]:
        return list(self._replicas)

    async def _channel_at(self, room: str, after: After) -> RoomReplica:
        while True:
            if self._closed:
                raise self._going_away()
            replica = self._replicas.get(room) or self._open(room)
            replica.touch()
            if not replica.is_synced(after):
                await replica.ensure_synced()
            if self._replicas.get(room) is replica:  # it may have been forgotten meanwhile
                return replica

    def _open(self, room: str) -> RoomReplica:
        if len(self._replicas) >= self._limits.rooms:
            self._make_place()
        replica = RoomReplica(room, self._broker, self._limits, self._supervisor)
        self._replicas[room] = replica
        self._broker.listen(room)
        return replica

    def _make_place(self) -> None:
        idlest = max(self._replicas.values(), key=RoomReplica.idle_seconds)
        if idlest.idle_seconds() < _SPARED_SECONDS:
            raise Busy("This server reads as many rooms as it may.", retry_after=10)
        self._forget(idlest)

    def _forget(self, replica: RoomReplica) -> None:
        if self._replicas.get(replica.name) is replica:  # not one that was opened since
            del self._replicas[replica.name]
            self._broker.unlisten(replica.name)

    async def _compare_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_SECONDS * random.uniform(0.5, 1) / 2)
            replicas = list(self._replicas.values())
            for replica in replicas:
                # Spread over time, or a thousand rooms would ask the broker in one breath.
                await asyncio.sleep(COMPARE_SECONDS / 2 / len(replicas))
                if replica.idle_seconds() > self._limits.idle_room_seconds:
                    self._forget(replica)
                else:
                    replica.sync_soon(Cause.COMPARED)
