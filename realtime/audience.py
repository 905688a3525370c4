"""Who is following a room, and the one write that reaches them all.

The live followers of a transport stand at one cursor.  A flush asks the room what came after it,
frames that once, and pushes the same bytes to each.  A follower that cannot take them keeps its
own cursor instead of a queue: it *lags*, and reads on from the log when its socket has drained.

    room.since(cursor) ─▶ frame once per transport ─▶ push, push, push …
                                                        └─ refused: lagging, with its cursor
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from realtime import metrics
from realtime.errors import GoingAway, RealtimeError
from realtime.events import Cursor, Event
from realtime.limits import Limits
from realtime.room import Passage, Room

log = logging.getLogger(__name__)

# Pages that one lagging follower may read before the others have their turn.
_PAGES_PER_TURN = 4


class Framing(NamedTuple):
    """How a transport puts events on the wire; followers of equal framing share their bytes.

    `frame` says it for one event.  `envelope` wraps all frames of one push: an HTTP/1.1 chunk,
    or nothing.
    """

    frame: Callable[[Event], bytes]
    envelope: Callable[[bytes], bytes]

    def encode(self, events: Sequence[Event]) -> bytes:
        return self.envelope(b"".join(map(self.frame, events)))


class Follower(Protocol):
    """A live stream: something that bytes can be pushed to."""

    framing: Framing

    def push(self, frames: bytes, events: int) -> bool:
        """Take all of `frames`, or refuse them and call `Audience.resume` when there is room."""

    def close(self, error: RealtimeError) -> None:
        """End the stream, telling why where the transport can."""


class Audience:
    """The followers of one room."""

    def __init__(self, room: Room, limits: Limits) -> None:
        self._room = room
        self._push_bytes = limits.push_bytes
        self._cursor = room.cursor  # where all live followers stand
        self._live: dict[Framing, set[Follower]] = {}
        self._lagging: dict[Follower, Cursor] = {}
        self._ready: dict[Follower, None] = {}  # those of the lagging that can take more, in order
        self._flush_at: asyncio.TimerHandle | asyncio.Handle | None = None
        self._rest_until = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._live.values())) + len(self._lagging)

    # --- coming and going ------------------------------------------------------------------------

    def join(self, follower: Follower, cursor: Cursor) -> None:
        """Let `follower` read on from `cursor`, and then live."""
        self._lagging[follower] = cursor
        self.resume(follower)

    def resume(self, follower: Follower) -> None:
        """Say that a follower which refused a push can take more."""
        if follower in self._lagging:
            self._ready[follower] = None
            self.flush_soon()

    def leave(self, follower: Follower) -> None:
        """Forget a follower; one that has left already is no error."""
        self._live.get(follower.framing, set()).discard(follower)
        self._lagging.pop(follower, None)
        self._ready.pop(follower, None)

    def disperse(self, seconds: float, error: Callable[[], RealtimeError]) -> None:
        """End every stream, each with an error of its own and at a random moment in `seconds`."""
        loop = asyncio.get_running_loop()
        for follower in [*self._lagging, *(f for group in self._live.values() for f in group)]:
            if seconds:
                loop.call_later(random.uniform(0, seconds), _close, follower, error)
            else:
                _close(follower, error)

    def count(self, counts: Counter[str]) -> None:
        counts["following"] += len(self) - len(self._lagging)
        counts["lagging"] += len(self._lagging)

    # --- the flush -------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Push what is new: at once when idle, else after a rest as long as the last flush took.

        So at most half of the time goes into flushing, the event loop answers others meanwhile,
        and what piles up during a rest costs one write per follower instead of one per message.
        """
        if self._flush_at is None:
            loop = asyncio.get_running_loop()
            rest = self._rest_until - loop.time()
            self._flush_at = (
                loop.call_later(rest, self._flush) if rest > 0 else loop.call_soon(self._flush)
            )

    def _flush(self) -> None:
        self._flush_at = None
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._push_news()
        ready, self._ready = self._ready, {}
        for follower in ready:
            self._catch_up(follower)
        ended = loop.time()
        self._rest_until = ended + (ended - started)

    def _push_news(self) -> None:
        while self._cursor != self._room.cursor:
            passage = self._room.since(self._cursor, size=self._push_bytes)
            for framing, group in self._live.items():
                if group:
                    frames = framing.encode(passage.events)
                    for follower in list(group):
                        if not self._push(follower, frames, passage):
                            self._fall_behind(follower)
            self._cursor = passage.cursor
            self._clock(passage.events)

    def _clock(self, events: Sequence[Event]) -> None:
        if any(self._live.values()):
            now = time.time()
            for event in events:
                if event.published is not None:
                    metrics.DELIVERY.observe(max(0, now - event.published / 1000))

    def _fall_behind(self, follower: Follower) -> None:
        group = self._live[follower.framing]
        if follower in group:  # a push that finds the peer gone may make the follower leave
            group.remove(follower)
            metrics.LAGGED.inc()
            self._lagging[follower] = self._cursor

    def _catch_up(self, follower: Follower) -> None:
        """Let a lagging follower read from the log; it is live again when it has read all."""
        for _ in range(_PAGES_PER_TURN):
            cursor = self._lagging.get(follower)
            if cursor is None:  # left meanwhile
                return
            if cursor == self._cursor:
                del self._lagging[follower]
                self._live.setdefault(follower.framing, set()).add(follower)
                return
            passage = self._room.since(cursor, size=self._push_bytes)
            frames = follower.framing.encode(passage.events)
            if not self._push(follower, frames, passage):
                return  # it calls `resume` when its socket has drained
            if follower in self._lagging:
                self._lagging[follower] = passage.cursor
        self.resume(follower)

    def _push(self, follower: Follower, frames: bytes, passage: Passage) -> bool:
        # One follower's failure must not keep the message from all those after it.
        try:
            taken = follower.push(frames, len(passage.events))
        except Exception:
            log.exception("a push failed; its follower is dropped")
            self.leave(follower)
            follower.close(GoingAway("The server could not write to this stream."))
            return False
        if taken and passage.gap:
            metrics.GAPS.labels(passage.gap).inc()
        return taken


def _close(follower: Follower, error: Callable[[], RealtimeError]) -> None:
    follower.close(error())
