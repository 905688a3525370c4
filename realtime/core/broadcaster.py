"""Who is following a room, and the one write that reaches them all.

The live followers of a transport stand at one cursor.  A flush asks the room what came after it,
frames that once, and pushes the same bytes to each.  A follower that cannot take them keeps its
own cursor instead of a queue: it *lags*, and reads on from the log when its socket has drained.

    room.since(cursor) ─▶ frame once per transport ─▶ push, push, push …
                                                        └─ refused: lagging, with its cursor

A flush of a large audience takes turns with everybody else: after some milliseconds it lets the
event loop go round once, and goes on where it was.
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

# Pages that one lagging follower may read before the others have their turn.
_PAGES_PER_TURN = 4
# A screen shows 60 frames a second: what comes within the same one is seen at once.
_FRAME_SECONDS = 1 / 60
# Seconds that a flush may keep the event loop to itself, and pushes between looks at the clock.
_TURN_SECONDS = 0.005
_PUSHES_PER_LOOK = 32


class Framing(NamedTuple):
    """How a transport puts events on the wire; followers of equal framing share their bytes.

    `frame` says it for one event.  `envelope` wraps all frames of one push: an HTTP/1.1 chunk,
    or nothing.  `heartbeat` is what breaks a long silence.  `transport` is for whoever counts.
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
    """A live stream: something that bytes can be pushed to."""

    framing: Framing

    def push(self, frames: bytes, events: int) -> bool:
        """Take all of `frames`, or refuse them and call `Broadcaster.resume` when there is room."""

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        """Take what breaks a silence, or refuse it as a push."""

    def close(self, error: RealtimeError) -> None:
        """End the stream, telling why where the transport can."""


# Live followers, in the order in which they came.
Group = dict[Subscriber, None]


class Broadcaster:
    """The followers of one room."""

    def __init__(self, room: Room, limits: Limits) -> None:
        self._room = room
        self._push_bytes = limits.push_bytes
        self._heartbeat_seconds = limits.heartbeat_seconds
        self._cursor = room.cursor  # where all live followers stand
        self._live: dict[Framing, Group] = {}
        self._lagging: dict[Subscriber, Cursor] = {}
        self._ready: dict[
            Subscriber, None
        ] = {}  # those of the lagging that can take more, in order
        self._flush_at: asyncio.TimerHandle | asyncio.Handle | None = None
        self._flushing: Iterator[None] | None = None
        self._rest_until = 0.0
        self._heard_at = 0.0  # when the live followers were last pushed something
        self._beat_at: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._live.values())) + len(self._lagging)

    # --- coming and going ------------------------------------------------------------------------

    def add(self, subscriber: Subscriber, cursor: Cursor) -> None:
        """Let `subscriber` read on from `cursor`, and then live."""
        self._lagging[subscriber] = cursor
        self.resume(subscriber)

    def resume(self, subscriber: Subscriber) -> None:
        """Say that a follower which refused a push can take more."""
        if subscriber in self._lagging:
            self._ready[subscriber] = None
            self.flush_soon()

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a follower; one that has left already is no error."""
        self._live.get(subscriber.framing, {}).pop(subscriber, None)
        self._lagging.pop(subscriber, None)
        self._ready.pop(subscriber, None)

    def close_staggered(self, seconds: float, error: Callable[[], RealtimeError]) -> None:
        """End every stream, each with an error of its own and at a random moment in `seconds`."""
        loop = asyncio.get_running_loop()
        for subscriber in [*self._lagging, *(f for group in self._live.values() for f in group)]:
            if seconds:
                loop.call_later(random.uniform(0, seconds), _close, subscriber, error)
            else:
                _close(subscriber, error)

    def count(self, counts: Counter[str]) -> None:
        counts["following"] += len(self) - len(self._lagging)
        counts["lagging"] += len(self._lagging)

    def transports(self) -> Counter[str]:
        """How many follow by which transport."""
        counts = Counter(subscriber.framing.transport for subscriber in self._lagging)
        for framing, group in self._live.items():
            counts[framing.transport] += len(group)
        return +counts

    # --- the flush -------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Push what is new: at once when idle, else after a rest that follows each flush.

        So at most half of the time goes into flushing, the event loop answers others meanwhile,
        and what piles up during a rest costs one write per follower instead of one per message.
        """
        if self._flush_at is None and self._flushing is None:
            loop = asyncio.get_running_loop()
            rest = self._rest_until - time.monotonic()
            self._flush_at = (
                loop.call_later(rest, self._flush) if rest > 0 else loop.call_soon(self._flush)
            )

    def _flush(self) -> None:
        self._flush_at = None
        self._flushing = self.flush_steps()
        self._take_turn(0.0)

    def _take_turn(self, spent: float) -> None:
        """Do as much of the flush as fits into one turn; `spent` seconds went into it before."""
        started = time.monotonic()  # a loop may hold its own clock still for a round
        try:
            ended = self._step_until(started + _TURN_SECONDS)
        except BaseException:
            self._flushing = None  # the next flush begins anew
            raise
        now = time.monotonic()
        spent += now - started
        if not ended:
            # Not `call_soon`: whoever is ready to be heard comes first.
            asyncio.get_running_loop().call_later(0, self._take_turn, spent)
            return
        self._flushing = None
        self._rest_until = now + _rest(spent)
        if self._ready or self._cursor != self._room.cursor:
            self.flush_soon()

    def _step_until(self, deadline: float) -> bool:
        """Go on with the flush; say whether it came to its end before the deadline."""
        assert self._flushing is not None
        return not any(time.monotonic() >= deadline for _ in self._flushing)

    def flush_steps(self) -> Iterator[None]:
        """Flush, with a pause wherever somebody else may be let in."""
        more = self._cursor != self._room.cursor
        while more:
            page = self._room.since(self._cursor, size=self._push_bytes)
            encode = partial(Framing.encode, events=page.events)
            for frames, group, some in self._batches(encode):
                for subscriber in some:
                    # It may have left while others had their turn.
                    if subscriber in group and not self._push(subscriber, frames, page):
                        self._fall_behind(subscriber)
                yield
            self._cursor = page.cursor
            more = page.more  # what came meanwhile is for the next flush
            self._clock(page.events)
        ready, self._ready = self._ready, {}
        for subscriber in ready:
            self._catch_up(subscriber)
            yield

    def _batches(
        self, encode: Callable[[Framing], bytes]
    ) -> Iterator[tuple[bytes, Group, Sequence[Subscriber]]]:
        """All live followers, some at a time, with what they are to be told.

        Each time it begins with another: none is always last.
        """
        self._heard_at = time.monotonic()
        for framing, group in _rotated(list(self._live.items())):
            subscribers = _rotated(list(group))
            frames = encode(framing) if subscribers else b""
            for start in range(0, len(subscribers), _PUSHES_PER_LOOK):
                yield frames, group, subscribers[start : start + _PUSHES_PER_LOOK]

    def _clock(self, events: Sequence[Event]) -> None:
        if any(self._live.values()):
            now = time.time()
            for event in events:
                if event.published is not None:
                    metrics.DELIVERY.observe(max(0, now - event.published / 1000))

    def _fall_behind(self, subscriber: Subscriber) -> None:
        group = self._live[subscriber.framing]
        if subscriber in group:  # a push that finds the peer gone may make the follower leave
            del group[subscriber]
            metrics.LAGGED.inc()
            self._lagging[subscriber] = self._cursor

    def _catch_up(self, subscriber: Subscriber) -> None:
        """Let a lagging follower read from the log; it is live again when it has read all."""
        for _ in range(_PAGES_PER_TURN):
            cursor = self._lagging.get(subscriber)
            if cursor is None:  # left meanwhile
                return
            if cursor == self._cursor:
                del self._lagging[subscriber]
                self._live.setdefault(subscriber.framing, {})[subscriber] = None
                self._begin_beating()
                return
            page = self._room.since(cursor, size=self._push_bytes)
            frames = subscriber.framing.encode(page.events)
            if not self._push(subscriber, frames, page):
                return  # it calls `resume` when its socket has drained
            if subscriber in self._lagging:
                self._lagging[subscriber] = page.cursor
        self.resume(subscriber)

    def _push(self, subscriber: Subscriber, frames: bytes, page: Page) -> bool:
        # One follower's failure must not keep the message from all those after it.
        try:
            taken = subscriber.push(frames, len(page.events))
        except Exception:
            log.exception("a push failed; its follower is dropped")
            self.remove(subscriber)
            subscriber.close(GoingAway("The server could not write to this stream."))
            return False
        if taken and page.gap:
            metrics.GAPS.labels(page.gap).inc()
        return taken

    # --- the heartbeat ---------------------------------------------------------------------------

    def _begin_beating(self) -> None:
        """Watch the silence, with one timer for all followers, while there are any."""
        if self._beat_at is None:
            self._heard_at = time.monotonic()
            self._beat_in(self._heartbeat_seconds)

    def _beat_in(self, seconds: float) -> None:
        self._beat_at = asyncio.get_running_loop().call_later(seconds, self._beat)

    def _beat(self) -> None:
        self._beat_at = None
        if not any(self._live.values()):
            return
        silent = time.monotonic() - self._heard_at >= self._heartbeat_seconds
        # Whoever is about to flush breaks the silence, or is done a moment later.
        if silent and self._flushing is None and self._flush_at is None:
            self._flushing = self._beats()
            self._take_turn(0.0)
        due = self._heard_at + self._heartbeat_seconds - time.monotonic()
        self._beat_in(max(due, _TURN_SECONDS))

    def _beats(self) -> Iterator[None]:
        for heartbeat, group, some in self._batches(lambda framing: framing.encode_heartbeat()):
            for subscriber in some:
                if subscriber in group and not subscriber.send_heartbeat(heartbeat):
                    self._fall_behind(subscriber)
            yield


def _rest(spent: float) -> float:
    """Seconds between two flushes: as long as the last one took, and more where nobody sees it."""
    return max(spent, min(3 * spent, _FRAME_SECONDS))


def _rotated(items: list[T]) -> list[T]:
    """The same in a circle, from anywhere on."""
    start = random.randrange(len(items)) if items else 0
    return items[start:] + items[:start]


def _close(subscriber: Subscriber, error: Callable[[], RealtimeError]) -> None:
    subscriber.close(error())
