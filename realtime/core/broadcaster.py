"""The subscribers of a room, and the one write that reaches them all.

All live subscribers are at one cursor.  A flush asks the room what came after it, frames that once
per transport, and pushes the same bytes to each subscriber.  A subscriber that cannot take them
keeps its own cursor instead of a queue: it *lags*, and reads on from the log once its socket has
drained.

    room.since(cursor) ─▶ frame once per transport ─▶ push, push, push …
                                                        └─ refused: lagging, with its cursor

When a flush runs, and how long it may block the event loop, is decided in `pacing`.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from realtime import metrics
from realtime.core.events import Cursor, Event
from realtime.core.pacing import SENDS_PER_STEP, SLICE_SECONDS, PacedFlush, rotated
from realtime.core.room import Page, Room
from realtime.errors import GoingAway, RealtimeError
from realtime.limits import Limits

log = logging.getLogger(__name__)

# Pages that one lagging subscriber may read before the next one is served.
_PAGES_PER_STEP = 4


class Framing(NamedTuple):
    """How a transport puts events on the wire; subscribers of equal framing share their bytes.

    `frame` encodes one event.  `envelope` wraps all frames of one push: an HTTP/1.1 chunk,
    compressed or not, or nothing.  `heartbeat` is sent on an idle stream.  `transport` is the label
    for statistics.
    """

    frame: Callable[[Event], bytes]
    envelope: Callable[[bytes], bytes]
    heartbeat: bytes = b""
    transport: str = ""

    def encode(self, events: Sequence[Event]) -> bytes:
        return self.envelope(b"".join(map(self.frame, events)))

    def encode_heartbeat(self) -> bytes:
        return self.envelope(self.heartbeat)


class Subscriber(Protocol):
    """A live stream that bytes can be pushed to."""

    framing: Framing

    def push(self, frames: bytes, events: int) -> bool:
        """Take all of `frames`; or return False, and call `Broadcaster.resume` once drained."""

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        """Send what keeps an idle stream open; or return False, as for a push."""

    def close(self, error: RealtimeError) -> None:
        """End the stream, and send the error if the transport has a way to."""


# Live subscribers, in the order in which they were added.
Group = dict[Subscriber, None]


class Broadcaster:
    """The subscribers of one room."""

    def __init__(self, room: Room, limits: Limits) -> None:
        self._room = room
        self._push_bytes = limits.push_bytes
        self._heartbeat_seconds = limits.heartbeat_seconds
        self._cursor = room.cursor  # of all live subscribers
        self._live: dict[Framing, Group] = {}
        self._lagging: dict[Subscriber, Cursor] = {}
        self._ready: Group = {}  # the lagging ones whose sockets have drained
        self._pace = PacedFlush(self.flush_steps, self._has_more)
        self._last_push_at = 0.0  # to all live subscribers
        self._heartbeat_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._live.values())) + len(self._lagging)

    # --- subscribers -----------------------------------------------------------------------------

    def add(self, subscriber: Subscriber, cursor: Cursor) -> None:
        """Push to `subscriber` what came after `cursor`, and then each new event."""
        self._lagging[subscriber] = cursor
        self.resume(subscriber)

    def resume(self, subscriber: Subscriber) -> None:
        """Serve a subscriber again that refused a push; call it when its socket has drained."""
        if subscriber in self._lagging:
            self._ready[subscriber] = None
            self.flush_soon()

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; it is no error if it was removed already."""
        self._live.get(subscriber.framing, {}).pop(subscriber, None)
        self._lagging.pop(subscriber, None)
        self._ready.pop(subscriber, None)

    def close_staggered(self, seconds: float, error: Callable[[], RealtimeError]) -> None:
        """Close every stream at a random time within `seconds`, each with a new `error()`."""
        loop = asyncio.get_running_loop()
        for subscriber in [*self._lagging, *(s for group in self._live.values() for s in group)]:
            if seconds:
                loop.call_later(random.uniform(0, seconds), _close, subscriber, error)
            else:
                _close(subscriber, error)

    def count(self, counts: Counter[str]) -> None:
        counts["following"] += len(self) - len(self._lagging)
        counts["lagging"] += len(self._lagging)

    def count_by_transport(self) -> Counter[str]:
        counts = Counter(subscriber.framing.transport for subscriber in self._lagging)
        for framing, group in self._live.items():
            counts[framing.transport] += len(group)
        return +counts

    # --- the flush -------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Push new events: at once when idle, otherwise after the cooldown of the last flush."""
        self._pace.run_soon()

    def _has_more(self) -> bool:
        return bool(self._ready) or self._cursor != self._room.cursor

    def flush_steps(self) -> Iterator[None]:
        """Flush, and yield wherever the event loop may run other callbacks."""
        more = self._cursor != self._room.cursor
        while more:
            page = self._room.since(self._cursor, size=self._push_bytes)
            encode = partial(Framing.encode, events=page.events)
            for frames, group, batch in self._batches(encode):
                self._push_to_batch(batch, group, frames, page)
                yield
            self._cursor = page.cursor
            more = page.more  # events published meanwhile wait for the next flush
            self._observe_latency(page.events)
        ready, self._ready = self._ready, {}
        for subscriber in ready:
            self._catch_up(subscriber)
            yield

    def _batches(
        self, encode: Callable[[Framing], bytes]
    ) -> Iterator[tuple[bytes, Group, Sequence[Subscriber]]]:
        """Yield all live subscribers in batches, each with the bytes to push to it."""
        self._last_push_at = time.monotonic()
        for framing, group in rotated(list(self._live.items())):
            subscribers = rotated(list(group))
            frames = encode(framing) if subscribers else b""
            for start in range(0, len(subscribers), SENDS_PER_STEP):
                yield frames, group, subscribers[start : start + SENDS_PER_STEP]

    def _observe_latency(self, events: Sequence[Event]) -> None:
        if any(self._live.values()):
            now = time.time()
            for event in events:
                if event.published is not None:
                    metrics.DELIVERY.observe(max(0, now - event.published / 1000))

    def _fall_behind(self, subscriber: Subscriber) -> None:
        group = self._live[subscriber.framing]
        if subscriber in group:  # a push to a closed connection may remove the subscriber
            del group[subscriber]
            metrics.LAGGED.inc()
            self._lagging[subscriber] = self._cursor

    def _catch_up(self, subscriber: Subscriber) -> None:
        """Let a lagging subscriber read from the log; it is live again once it has read all."""
        for _ in range(_PAGES_PER_STEP):
            cursor = self._lagging.get(subscriber)
            if cursor is None:  # removed meanwhile
                return
            if cursor == self._cursor:
                del self._lagging[subscriber]
                self._live.setdefault(subscriber.framing, {})[subscriber] = None
                self._start_heartbeats()
                return
            page = self._room.since(cursor, size=self._push_bytes)
            if not page.events:
                # An event came while others caught up, and this one has read it already.  The next
                # flush brings the live subscribers to its cursor.  It must not be pushed nothing:
                # an empty chunk ends an HTTP body (RFC 9112 §7.1).
                break
            frames = subscriber.framing.encode(page.events)
            if not self._push(subscriber, frames, page):
                return  # it calls `resume` once its socket has drained
            if subscriber in self._lagging:
                self._lagging[subscriber] = page.cursor
        self.resume(subscriber)

    def _push_to_batch(
        self, batch: Sequence[Subscriber], group: Group, frames: bytes, page: Page
    ) -> None:
        """Push one page to live subscribers; to one after the other, with no call in between."""
        count = len(page.events)
        for subscriber in batch:
            if subscriber not in group:  # removed between two slices
                continue
            try:
                taken = subscriber.push(frames, count)
            except Exception:
                self._drop(subscriber)
                continue
            if not taken:
                self._fall_behind(subscriber)
            elif page.gap:
                metrics.GAPS.labels(page.gap).inc()

    def _push(self, subscriber: Subscriber, frames: bytes, page: Page) -> bool:
        try:
            taken = subscriber.push(frames, len(page.events))
        except Exception:
            self._drop(subscriber)
            return False
        if taken and page.gap:
            metrics.GAPS.labels(page.gap).inc()
        return taken

    def _drop(self, subscriber: Subscriber) -> None:
        """Close a subscriber whose push failed: the others must receive the event all the same."""
        log.exception("a push failed; its subscriber is closed")
        self.remove(subscriber)
        subscriber.close(GoingAway("The server could not write to this stream; reconnect."))

    # --- the heartbeat ---------------------------------------------------------------------------

    def _start_heartbeats(self) -> None:
        """Start the one timer for all subscribers; it stops when the last one is removed."""
        if self._heartbeat_timer is None:
            self._last_push_at = time.monotonic()
            self._schedule_heartbeat(self._heartbeat_seconds)

    def _schedule_heartbeat(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._heartbeat_timer = loop.call_later(seconds, self._heartbeat)

    def _heartbeat(self) -> None:
        self._heartbeat_timer = None
        if not any(self._live.values()):
            return
        idle = time.monotonic() - self._last_push_at >= self._heartbeat_seconds
        # A flush that is due or running pushes to the same streams, so no heartbeat is needed.
        if idle and self._pace.idle:
            self._pace.run(self._heartbeat_steps())
        due = self._last_push_at + self._heartbeat_seconds - time.monotonic()
        self._schedule_heartbeat(max(due, SLICE_SECONDS))

    def _heartbeat_steps(self) -> Iterator[None]:
        for heartbeat, group, batch in self._batches(lambda framing: framing.encode_heartbeat()):
            for subscriber in batch:
                if subscriber in group and not subscriber.send_heartbeat(heartbeat):
                    self._fall_behind(subscriber)
            yield


def _close(subscriber: Subscriber, error: Callable[[], RealtimeError]) -> None:
    subscriber.close(error())
