"""The subscribers of a room, and the one write that reaches them all.

All live subscribers are at one cursor.  A flush asks the room what came after it, frames that once
per transport, and pushes the same bytes to each subscriber.  A subscriber that cannot take them
keeps its own cursor instead of a queue: it *lags*, and reads on from the log once its socket has
drained.

    room.since(cursor) ─▶ frame once per transport ─▶ push, push, push …
                                                        └─ refused: lagging, with its cursor

A flush to many subscribers runs in time slices: after some milliseconds it lets the event loop
serve other callbacks once, and then continues where it stopped.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from realtime import metrics
from realtime.core.events import Cursor, Event
from realtime.core.room import Page, Room
from realtime.errors import GoingAway, RealtimeError
from realtime.limits import Limits

log = logging.getLogger(__name__)

T = TypeVar("T")

# Pages that one lagging subscriber may read before the next one is served.
_PAGES_PER_STEP = 4
# A screen shows 60 frames a second: events within one frame are seen at the same time.
_FRAME_SECONDS = 1 / 60
# How long a flush may block the event loop, and how many pushes it makes per check of the clock.
_SLICE_SECONDS = 0.005
_PUSHES_PER_STEP = 32


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
        self._flush_timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._flushing: Iterator[None] | None = None
        self._next_flush_at = 0.0
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
        """Push new events: at once when idle, otherwise after the cooldown of the last flush.

        So at most half of the time is spent flushing, the event loop stays responsive, and the
        events of one cooldown cost one write per subscriber instead of one each.
        """
        if self._flush_timer is None and self._flushing is None:
            loop = asyncio.get_running_loop()
            delay = self._next_flush_at - time.monotonic()
            self._flush_timer = (
                loop.call_later(delay, self._flush) if delay > 0 else loop.call_soon(self._flush)
            )

    def _flush(self) -> None:
        self._flush_timer = None
        self._flushing = self.flush_steps()
        self._run_slice(0.0)

    def _run_slice(self, spent: float) -> None:
        """Run one time slice of the flush; earlier slices took `spent` seconds."""
        started = time.monotonic()  # an event loop may update its own clock once per iteration
        try:
            ended = self._run_until(started + _SLICE_SECONDS)
        except BaseException:
            self._flushing = None  # the next flush starts over
            raise
        now = time.monotonic()
        spent += now - started
        if not ended:
            # Not `call_soon`: sockets that are ready to be read come first.
            asyncio.get_running_loop().call_later(0, self._run_slice, spent)
            return
        self._flushing = None
        self._next_flush_at = now + _cooldown(spent)
        if self._ready or self._cursor != self._room.cursor:
            self.flush_soon()

    def _run_until(self, deadline: float) -> bool:
        """Continue the flush; return whether it ended before the deadline."""
        assert self._flushing is not None
        return not any(time.monotonic() >= deadline for _ in self._flushing)

    def flush_steps(self) -> Iterator[None]:
        """Flush, and yield wherever the event loop may run other callbacks."""
        more = self._cursor != self._room.cursor
        while more:
            page = self._room.since(self._cursor, size=self._push_bytes)
            encode = partial(Framing.encode, events=page.events)
            for frames, group, batch in self._batches(encode):
                for subscriber in batch:
                    # It may have been removed between two slices.
                    if subscriber in group and not self._push(subscriber, frames, page):
                        self._fall_behind(subscriber)
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
        """Yield all live subscribers in batches, each with the bytes to push to it.

        The order starts at a random subscriber each time, so that nobody is always the last.
        """
        self._last_push_at = time.monotonic()
        for framing, group in _rotated(list(self._live.items())):
            subscribers = _rotated(list(group))
            frames = encode(framing) if subscribers else b""
            for start in range(0, len(subscribers), _PUSHES_PER_STEP):
                yield frames, group, subscribers[start : start + _PUSHES_PER_STEP]

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

    def _push(self, subscriber: Subscriber, frames: bytes, page: Page) -> bool:
        # One subscriber's failure must not keep the message from those after it.
        try:
            taken = subscriber.push(frames, len(page.events))
        except Exception:
            log.exception("a push failed; its subscriber is closed")
            self.remove(subscriber)
            subscriber.close(GoingAway("The server could not write to this stream; reconnect."))
            return False
        if taken and page.gap:
            metrics.GAPS.labels(page.gap).inc()
        return taken

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
        if idle and self._flushing is None and self._flush_timer is None:
            self._flushing = self._heartbeat_steps()
            self._run_slice(0.0)
        due = self._last_push_at + self._heartbeat_seconds - time.monotonic()
        self._schedule_heartbeat(max(due, _SLICE_SECONDS))

    def _heartbeat_steps(self) -> Iterator[None]:
        for heartbeat, group, batch in self._batches(lambda framing: framing.encode_heartbeat()):
            for subscriber in batch:
                if subscriber in group and not subscriber.send_heartbeat(heartbeat):
                    self._fall_behind(subscriber)
            yield


def _cooldown(spent: float) -> float:
    """Return the seconds between two flushes.

    As long as the last flush took; up to three times that while it stays below one screen frame.
    """
    return max(spent, min(3 * spent, _FRAME_SECONDS))


def _rotated(items: list[T]) -> list[T]:
    """Return the same items in the same cyclic order, starting at a random one."""
    start = random.randrange(len(items)) if items else 0
    return items[start:] + items[:start]


def _close(subscriber: Subscriber, error: Callable[[], RealtimeError]) -> None:
    subscriber.close(error())
