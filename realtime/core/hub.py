"""The one object that transports talk to: publish, read, follow.

For each room that somebody reads here the hub keeps a RoomReplica: a copy of the room's log, its
subscribers, and the work of keeping that copy in sync with the broker.  Publications arrive with
an offset.  One that does not continue the log starts a sync, which reads the broker's history from
the replica's own cursor.

    publish ─▶ broker ─▶ on_publication ─▶ room.append ─▶ broadcaster, waiting readers
                               └─ not the next offset: sync ─▶ room.merge ─┘
"""

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, TypeVar

from realtime import metrics
from realtime.core.broadcaster import Broadcaster, Subscriber
from realtime.core.broker import Broker
from realtime.core.events import Cursor, Draft, Event, Receipt
from realtime.core.pacing import SENDS_PER_STEP, PacedFlush, rotated
from realtime.core.room import AppendResult, Page, Room
from realtime.errors import Busy, GoingAway, NoBroker, RealtimeError
from realtime.limits import Limits
from realtime.tasks import Supervisor, backoff

# Every room is compared with the broker this often: a lost *last* message leaves no gap in the
# offsets, so nothing else finds it.
COMPARE_SECONDS = 5.0
# A room that has been out of sync for this long makes the process not ready.
OUT_OF_SYNC_SECONDS = 10.0
# A room read more recently than this is not evicted: its reader may be about to wait.
_MIN_IDLE_SECONDS = 0.2
# A wait may end this much later than requested, so that many waits share one timer.
_TIMER_GRANULARITY_SECONDS = 0.02
# Waiting readers have the newest cursors, so few rendered pages are worth caching.
_MAX_RENDERED = 8
# Each response to a poll brings a request, and to read that costs as much again.
_COST_OF_A_WAKE = 2.0

log = logging.getLogger(__name__)

T = TypeVar("T")

# Where a reader starts: after a cursor, or before the last N events.
After = Cursor | int
# Called when there may be something to poll.
Waiter = Callable[[], None]


class SyncCause(StrEnum):
    """Why a room is read from the broker's history; a label of `metrics.SYNCS`."""

    OPENED = "opened"  # there is no copy yet
    CONFIRMED = "confirmed"  # the subscription was renewed: something may have been missed
    HOLE = "hole"  # a publication was not the next one
    CURSOR = "cursor"  # a reader's cursor is ahead of our copy
    COMPARED = "compared"  # the last message may have been lost, which leaves no hole
    RETRIED = "retried"  # the previous sync failed
    RESET = "reset"  # the log was reset, and an empty room publishes nothing that shows it


for _cause in SyncCause:
    metrics.SYNCS.labels(_cause)


class RoomReplica:
    """One room, which this process keeps in sync with the broker."""

    def __init__(
        self,
        name: str,
        owner: tuple[str, str | None],
        broker: Broker,
        limits: Limits,
        supervisor: Supervisor,
    ) -> None:
        self.name = name
        # Who opened the room here: an address, and the client if that is one of a class.
        self.owner = owner
        self.address = owner[0]
        self.opening = 0  # readers that wait for a sync before their first page
        self.closed = False
        self.room = Room(limits.history_events, limits.presence_events, limits.room_bytes)
        self.broadcaster = Broadcaster(self.room, limits)
        self.out_of_sync_since: float | None = None
        self._broker = broker
        self._limits = limits
        self._supervisor = supervisor
        # For each cursor: the page after it, what was rendered of it, and by which function.
        self._rendered: dict[Cursor, tuple[Page, Any, Callable[[Page], Any]]] = {}
        self._news = 0  # how many times something new was read
        self._woken_at = 0  # that number, when the waiting readers were last woken
        # Each waiting reader: its deadline, its transport, and how many news it has read.
        self._waiting: dict[Waiter, tuple[float, str, int]] = {}
        self._wakes = PacedFlush(
            self._wake_steps, lambda: self._woken_at != self._news, _COST_OF_A_WAKE
        )
        self._next_timeout = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._syncing = False
        self._sync_wanted: asyncio.Future[None] | None = None
        self._sync_failures = 0
        self._touched = _now()

    # --- reading ---------------------------------------------------------------------------------

    def is_synced(self, after: After) -> bool:
        """Return whether our copy is new enough to answer `after` correctly."""
        has_copy = bool(self.room.epoch)
        return has_copy and not (isinstance(after, Cursor) and self.room.is_behind(after))

    async def ensure_synced(self) -> None:
        """Return when a new read of the broker's history is complete; raises `NoBroker`."""
        cause = SyncCause.CURSOR if self.room.epoch else SyncCause.OPENED
        await asyncio.shield(self.sync_soon(cause))

    def start_cursor(self, after: After) -> Cursor:
        return after if isinstance(after, Cursor) else self.room.cursor_before_last(after)

    def render(
        self, cursor: Cursor, render: Callable[[Page], T]
    ) -> tuple[Page, T, Callable[[Page], T]]:
        """Return what came after `cursor`, what `render` makes of it, and `render`.

        All readers at one cursor share one result, which is cached until the next event.  Another
        `render` at the same cursor replaces it.
        """
        rendered = self._rendered.get(cursor)
        if rendered is None or rendered[2] is not render:
            limits = self._limits
            page = self.room.since(cursor, limits.answer_events, limits.answer_bytes)
            rendered = page, render(page), render
            if len(self._rendered) >= _MAX_RENDERED:
                self._rendered.clear()
            self._rendered[cursor] = rendered
        return rendered

    def add_waiter(self, waiter: Waiter, seconds: float, transport: str) -> None:
        """Call `waiter` once: after the next event, or after `seconds`."""
        deadline = _now() + seconds
        self._waiting[waiter] = deadline, transport, self._news
        if deadline < self._next_timeout:
            self._set_timer(deadline)

    def remove_waiter(self, waiter: Waiter) -> None:
        self._waiting.pop(waiter, None)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_timeout = when
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(when - _now(), self._time_out_waiters)

    def _time_out_waiters(self) -> None:
        """End the waits whose time is up: one timer per room, so that a wait needs none itself."""
        self._timer, self._next_timeout = None, math.inf
        now = _now()
        for waiter in [waiter for waiter, (until, _, _) in self._waiting.items() if until <= now]:
            self._wake(waiter)
        if self._waiting:
            soonest = min(until for until, _, _ in self._waiting.values())
            self._set_timer(max(soonest, now + _TIMER_GRANULARITY_SECONDS))

    def count(self, counts: Counter[str]) -> None:
        counts["waiting"] += len(self._waiting)
        self.broadcaster.count(counts)

    def count_by_transport(self) -> Counter[str]:
        """Count the current readers of this room, by transport."""
        counts = self.broadcaster.count_by_transport()
        counts.update(transport for _, transport, _ in self._waiting.values())
        return counts

    def touch(self) -> None:
        self._touched = _now()

    @property
    def in_use(self) -> bool:
        """Whether somebody reads this room now, or waits until it can be read."""
        return bool(self.opening or self._waiting or len(self.broadcaster))

    def idle_seconds(self) -> float:
        """Return for how long nobody has read this room."""
        if self.in_use:
            self.touch()
        return _now() - self._touched

    # --- new events ------------------------------------------------------------------------------

    def on_publication(self, event: Event) -> None:
        match self.room.append(event):
            case AppendResult.APPENDED:
                self._notify()
            case AppendResult.GAP:
                self.sync_soon(SyncCause.HOLE)

    def _notify(self) -> None:
        self._rendered.clear()
        self.broadcaster.flush_soon()
        self._news += 1
        if self._waiting:
            self._wakes.run_soon()

    def wake_waiters(self) -> None:
        """End every wait now, so that each reader polls again."""
        for waiter in list(self._waiting):
            self._wake(waiter)

    def _wake_steps(self) -> Iterator[None]:
        # Wakes are paced.  A reader that came meanwhile has read the news, and waits for the next.
        self._woken_at = news = self._news
        waiters = rotated([one for one, (_, _, read) in self._waiting.items() if read < news])
        for start in range(0, len(waiters), SENDS_PER_STEP):
            for waiter in waiters[start : start + SENDS_PER_STEP]:
                self._wake(waiter)
            yield

    def _wake(self, waiter: Waiter) -> None:
        """End one wait, unless it has ended meanwhile."""
        if self._waiting.pop(waiter, None) is None:
            return
        try:
            waiter()
        except Exception:  # one reader's failure must not keep the event from those after it
            log.exception("a waiting reader could not be woken")

    # --- keeping in sync -------------------------------------------------------------------------

    def sync_soon(self, cause: SyncCause) -> "asyncio.Future[None]":
        """Read the broker's history from our own cursor; never two reads at a time.

        The returned future is done when a read that started after this call has ended.  It holds
        `NoBroker` if that read failed.  Then a retry is scheduled, unless nobody reads the room:
        one without readers waits for the next comparison.
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
        self.out_of_sync_since = self.out_of_sync_since or _now()
        done = asyncio.get_running_loop().create_future()
        try:
            while self._sync_wanted is not None:
                done, self._sync_wanted = self._sync_wanted, None
                while await self._read_page():
                    pass
                _settle(done, None)
            self._sync_failures, self.out_of_sync_since = 0, None
        except NoBroker as error:
            self._sync_failures += 1
            pause = backoff(self._sync_failures, longest=2.0)
            asyncio.get_running_loop().call_later(pause, self._retry)
            _settle(done, error)
        finally:
            self._syncing = False
            # After any error, the broker's or our own, nobody may wait for this sync forever.
            _settle(done, NoBroker())
            self.fail_pending_sync()

    def _retry(self) -> None:
        # A poll may return to a room that was read a moment ago.
        if not self.closed and self.idle_seconds() < COMPARE_SECONDS:
            self.sync_soon(SyncCause.RETRIED)

    def fail_pending_sync(self) -> None:
        """Raise `NoBroker` for everyone who waits for a read that has not started."""
        if self._sync_wanted is not None:
            _settle(self._sync_wanted, NoBroker())
            self._sync_wanted = None

    async def _read_page(self) -> bool:
        before = self.room.cursor
        history = await self._broker.history(self.name, before)
        held = self.room.cursor  # publications may have come meanwhile
        if not self.room.merge(history) and before.epoch:
            metrics.RESETS.inc()
        if self.room.cursor != held:
            self._notify()
        return history.more


def _too_many_rooms(owner: str) -> Busy:
    return Busy(f"{owner} is at its limit of open rooms; leave some, or retry.", retry_after=10)


def _settle(future: "asyncio.Future[None]", error: RealtimeError | None) -> None:
    if not future.done():
        future.set_exception(error) if error else future.set_result(None)


def _now() -> float:
    return time.monotonic()


def _is_any(replica: RoomReplica) -> bool:
    return True


class Reader:
    """A cursor that can wait; each poll has one."""

    __slots__ = ("_error", "_replica", "_woken", "cursor")

    def __init__(self, replica: RoomReplica, cursor: Cursor) -> None:
        self.cursor = cursor
        self._replica = replica
        self._woken: asyncio.Future[None] | None = None
        self._error: RealtimeError | None = None

    def poll(self, render: Callable[[Page], T]) -> T:
        """Render what came after the cursor, perhaps nothing, and move the cursor past it.

        Readers at the same cursor that pass the same `render` share one result.
        """
        page, result, _ = self._replica.render(self.cursor, render)
        if page.gap:
            metrics.GAPS.labels(page.gap).inc()
        self.cursor = page.cursor
        return result

    async def wait(self, seconds: float, transport: str) -> None:
        """Return when there is something to `poll`, after `seconds`, or on `cancel`.

        While it waits, the reader is counted under `transport`.  Raises the error of a `cancel`.
        """
        if self._error is not None:
            raise self._error
        if self._replica.room.cursor != self.cursor:
            return
        self._woken = asyncio.get_running_loop().create_future()
        self.add_waiter(self.cancel, seconds, transport)
        try:
            await self._woken
        finally:
            self.remove_waiter(self.cancel)

    def cancel(self, error: RealtimeError | None = None) -> None:
        """End a `wait`: the client has disconnected, or may not read on because of `error`."""
        self._error = self._error or error
        if self._woken is not None:
            _settle(self._woken, error)

    def add_waiter(self, waiter: Waiter, seconds: float, transport: str) -> None:
        """Call `waiter` once, at the next event or after `seconds`: a `wait` without a task.

        Only directly after a `poll` that returned nothing, or an event could be missed.
        """
        self._replica.add_waiter(waiter, seconds, transport)

    def remove_waiter(self, waiter: Waiter) -> None:
        """Do not call `waiter` any more; it is no error if it was called already."""
        self._replica.remove_waiter(waiter)


class Hub:
    """Publish to rooms, read them and follow them, over any broker."""

    def __init__(self, broker: Broker, limits: Limits) -> None:
        self._broker = broker
        self._limits = limits
        self._replicas: dict[str, RoomReplica] = {}
        self._opened: Counter[str] = Counter()  # address: how many of these rooms it opened
        self._supervisor = Supervisor()
        self._drain_window: float | None = None  # seconds; None until the server starts to stop
        self._closed = False
        # Called with a room whose rules have changed.
        self.rules_changed: Callable[[str], None] = lambda room: None

    async def start(self) -> None:
        """Connect to the broker; raises `NoBroker` if that fails."""
        await self._broker.start(self)
        self._supervisor.supervise("compare", self._compare_loop)

    def drain(self, seconds: float) -> None:
        """Send readers elsewhere: end waiting polls now, each stream at a random time in `seconds`.

        Reading and publishing still work meanwhile; `check_open` raises `GoingAway`.
        """
        self._drain_window = seconds
        for replica in self._replicas.values():
            replica.wake_waiters()
            replica.broadcaster.close_staggered(seconds, self._going_away)

    async def close(self) -> None:
        """End every wait, close every stream, and close the broker."""
        self._closed, self._drain_window = True, self._drain_window or 0
        for replica in self._replicas.values():
            replica.wake_waiters()
            replica.broadcaster.close_staggered(0, self._going_away)
        await self._supervisor.close()
        for replica in self._replicas.values():
            replica.fail_pending_sync()
        await self._broker.close()

    async def check_ready(self) -> None:
        """Return if every room is in sync with the broker; otherwise raise the reason."""
        self.check_open()
        self._supervisor.check()
        await self.check_broker()
        limit = _now() - OUT_OF_SYNC_SECONDS
        if any((r.out_of_sync_since or limit) < limit for r in self._replicas.values()):
            raise Busy("A room is out of sync with the hub; try again soon.", retry_after=5)
        if len(self._replicas) >= self._limits.rooms and self._idlest(_is_any) is None:
            raise _too_many_rooms("This server")

    async def check_broker(self) -> None:
        """Return if the broker answers and its pub/sub works.

        Raises `NoBroker`, or `Busy` if one of its tasks failed.
        """
        await self._broker.ping()

    @property
    def closing(self) -> bool:
        """Whether the server has started to stop."""
        return self._drain_window is not None

    def check_open(self) -> None:
        """Raise `GoingAway` if the server has started to stop: no wait or stream may start here."""
        if self.closing:
            raise self._going_away()

    def _going_away(self) -> GoingAway:
        # The delay is random, or all clients would reconnect at the same instant.
        pause = random.uniform(1, 1 + (self._drain_window or 0))
        return GoingAway("The server is stopping; reconnect in a moment.", retry_after=pause)

    def count(self) -> Counter[str]:
        """Count the rooms kept here by state, and their readers by kind."""
        counts: Counter[str] = Counter(live=0, syncing=0, following=0, lagging=0, waiting=0)
        for replica in self._replicas.values():
            counts["syncing" if replica.out_of_sync_since else "live"] += 1
            replica.count(counts)
        return counts

    def readers(self) -> dict[str, Counter[str]]:
        """Count who follows or waits here, by room and transport; rooms without any are omitted."""
        counted = ((name, replica.count_by_transport()) for name, replica in self._replicas.items())
        return {name: counts for name, counts in counted if counts}

    # --- the three verbs -------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        """Publish to everybody, this process included, through the broker; once per `draft.id`."""
        with metrics.PUBLISH.time():
            try:
                return await self._broker.publish(draft)
            except NoBroker as error:
                if error.full:
                    message = "The hub's memory is full; try again later."
                    raise Busy(message, retry_after=30) from error
                raise

    async def read(
        self, room: str, after: After, address: str = "", client: str | None = None
    ) -> Reader:
        """Return a reader that starts after a cursor, or before the last N events.

        `address` is the client's; it counts as the owner of the room if it opens it here.  `client`
        is one of a class, see `Limits.admits_client`.
        """
        replica = await self._synced_replica(room, after, address, client)
        return Reader(replica, replica.start_cursor(after))

    def read_now(self, room: str, cursor: Cursor) -> Reader | None:
        """Return what `read` would; None if that would have to wait for the broker."""
        replica = self._replicas.get(room)
        if replica is None or self._closed or not replica.is_synced(cursor):
            return None
        replica.touch()
        return Reader(replica, cursor)

    async def follow(
        self, room: str, after: After, subscriber: Subscriber, address: str = ""
    ) -> Broadcaster:
        """Push what came after `after`, then each new event, until `subscriber` is removed."""
        replica = await self._synced_replica(room, after, address)
        replica.broadcaster.add(subscriber, replica.start_cursor(after))
        return replica.broadcaster

    async def reset(self, room: str) -> None:
        """Reset the log of a room: every reader, in every process, receives a `gap`."""
        await self._broker.reset(room)
        if replica := self._replicas.get(room):
            replica.sync_soon(SyncCause.RESET)

    # --- calls from the broker -------------------------------------------------------------------

    def on_publication(self, room: str, event: Event) -> None:
        if replica := self._replicas.get(room):
            replica.on_publication(event)

    def on_rules(self, room: str) -> None:
        self.rules_changed(room)

    def on_subscribed(self, room: str) -> None:
        if replica := self._replicas.get(room):
            replica.sync_soon(SyncCause.CONFIRMED)

    # --- the rooms kept here ---------------------------------------------------------------------

    @property
    def rooms(self) -> list[str]:
        return list(self._replicas)

    async def _synced_replica(
        self, room: str, after: After, address: str, client: str | None = None
    ) -> RoomReplica:
        if self._closed:
            raise self._going_away()
        replica = self._replicas.get(room) or self._open(room, address, client)
        replica.touch()
        if not replica.is_synced(after):
            # A room that is being opened is in use.  If other readers could evict it meanwhile,
            # readers of too many rooms would evict each other's rooms forever.
            replica.opening += 1
            try:
                await replica.ensure_synced()
            finally:
                replica.opening -= 1
        if self._closed:
            raise self._going_away()
        return replica

    def _open(self, room: str, address: str, client: str | None) -> RoomReplica:
        """Keep one room more; raises `Busy` if all others are in use.

        They are first those of `client`, then those of `address`.
        """
        limits, used, owner = self._limits, len(self._replicas), (address, client)
        of_address = self._opened[address] if address else 0
        per_address = limits.rooms_per_address
        # Counted only in a class, and when a room is opened.
        held = client is not None and sum(r.owner == owner for r in self._replicas.values())
        if not limits.admits_client(client, held, limits.rooms_per_client, per_address):
            self._evict_idlest("This client", lambda replica: replica.owner == owner)
        elif of_address >= per_address:
            self._evict_idlest("Your address", lambda replica: replica.address == address)
        elif not limits.admits(of_address, per_address, used, limits.rooms):
            self._evict_idlest("This server")
        replica = RoomReplica(room, owner, self._broker, self._limits, self._supervisor)
        self._replicas[room] = replica
        self._opened[address] += 1
        self._broker.listen(room)
        return replica

    def _evict_idlest(self, owner: str, is_owned: Callable[[RoomReplica], bool] = _is_any) -> None:
        idlest = self._idlest(is_owned)
        if idlest is None:
            raise _too_many_rooms(owner)
        self._forget(idlest)

    def _idlest(self, is_owned: Callable[[RoomReplica], bool]) -> RoomReplica | None:
        """Return the room that is idle for longest, of all or of one owner."""
        rooms = filter(is_owned, self._replicas.values())
        idlest = max(rooms, key=RoomReplica.idle_seconds, default=None)
        return idlest if idlest and idlest.idle_seconds() >= _MIN_IDLE_SECONDS else None

    def _forget(self, replica: RoomReplica) -> None:
        if self._replicas.get(replica.name) is replica:  # not one that was opened since
            del self._replicas[replica.name]
            self._opened[replica.address] -= 1
            if not self._opened[replica.address]:
                del self._opened[replica.address]
            replica.closed = True
            self._broker.unlisten(replica.name)

    async def _compare_loop(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_SECONDS * random.uniform(0.5, 1) / 2)
            rooms = self.rooms  # names: a list of replicas would keep the forgotten ones in memory
            for room in rooms:
                # Spread over time, or a thousand rooms would query the broker at once.
                await asyncio.sleep(COMPARE_SECONDS / 2 / len(rooms))
                if (replica := self._replicas.get(room)) is None:
                    continue
                if replica.idle_seconds() > self._limits.idle_room_seconds:
                    self._forget(replica)
                else:
                    replica.sync_soon(SyncCause.COMPARED)
