"""The log of one room, as one process keeps it: events in the order of their offsets.

A room is a window of messages without a hole: `first` … `top`, within one `epoch`.  Its one
question is `since`: what came after a cursor?  Pure: it neither waits nor does I/O; its owner
passes in the events (`append`, one at a time) or a page of the broker's history (`merge`).

    trimmed │ first ……………… top │ not published yet
    ────────┴───────────────────┴─────────────────▶ offset
            ▲ a cursor left of this receives `gap`

Joins and quits share the offsets with the messages, so there is one order, but not the space.  A
room remembers the last `history_events` messages, and apart from them the last `presence_events`
joins and quits.  So those who come and go, however many, never push out what was said.  An old
join that was dropped leaves a hole, and no `gap`: a gap reports lost messages, and the current
members are a question to presence, not to the log.
"""

import sys
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from realtime.core.events import Cursor, Event


@dataclass(frozen=True, slots=True)
class History:
    """A page of a broker's log: what it keeps after a cursor.

    All messages from the offset `first` on are kept (``top + 1`` when none is), so a reader of the
    page can tell "nothing was published" from "it was published and trimmed".  `more` is true if
    the page was cut.
    """

    epoch: str
    top: int
    first: int
    events: Sequence[Event]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What came after a cursor: the events, the cursor after them, and whether it was cut.

    If the first event is a gap, `gap` is its reason.
    """

    events: Sequence[Event]
    cursor: Cursor
    more: bool
    gap: str | None = None


class AppendResult(Enum):
    """How a published event relates to the log: only the next one can be appended."""

    APPENDED = "appended"
    DUPLICATE = "duplicate"
    GAP = "gap"


class Room:
    """The log of one room: the last `capacity` messages, and `presence_capacity` joins and quits.

    Of its messages it keeps the newest `max_bytes` of JSON, and always the last one.
    """

    def __init__(
        self, capacity: int, presence_capacity: int = sys.maxsize, max_bytes: int = sys.maxsize
    ) -> None:
        self.capacity = capacity
        self._presence_capacity = presence_capacity
        self._max_bytes = max_bytes
        self.epoch = ""  # no broker has an empty epoch: every event is a GAP to a new room
        self.first = 1
        self.top = 0  # the offset of the newest event; 0 if nothing was ever published
        self._cursor: Cursor | None = None  # built when first used, cached until the log changes
        self._events: list[Event] = []
        # The offsets of all events, for a binary search; and of the two kinds, oldest first.
        self._offsets: list[int] = []
        self._messages: deque[int] = deque()
        self._presence: deque[int] = deque()
        self._bytes = 0  # of the messages

    @property
    def cursor(self) -> Cursor:
        """The cursor of a reader who has seen everything."""
        if self._cursor is None:
            self._cursor = Cursor(self.epoch, self.top)
        return self._cursor

    # --- writing -------------------------------------------------------------------------------

    def append(self, event: Event) -> AppendResult:
        """Append an event if it is the next one; otherwise return why not, and change nothing."""
        epoch, offset = event.cursor.epoch, event.cursor.offset
        if epoch != self.epoch or offset > self.top + 1:
            return AppendResult.GAP
        if offset <= self.top:
            return AppendResult.DUPLICATE
        self._add(event)
        return AppendResult.APPENDED

    def merge(self, history: History) -> bool:
        """Merge a page of the broker's log that was read from our own cursor.

        A page of another epoch, or one that starts past our top, does not continue our copy: then
        the copy is reset, and readers find out by their cursors.  Returns whether it continued.
        """
        continues = history.epoch == self.epoch and history.first <= self.top + 1
        if not continues:
            self.reset(history.epoch, history.first)
        for event in history.events:
            if event.cursor.offset > self.top:  # between two of them, old joins may be missing
                self._add(event)
        if not history.more and history.top > self.top:
            self.top, self._cursor = history.top, None
        # The broker may have trimmed more than we have: every process must serve the same window.
        self.trim(min(history.first, self.top + 1))
        return continues

    def reset(self, epoch: str, first: int) -> None:
        """Drop everything; the next event has the offset `first` in `epoch`."""
        self.trim(self.top + 1)
        self.epoch, self.first, self.top, self._cursor = epoch, first, first - 1, None

    def trim(self, first: int) -> None:
        """Drop all events before the offset `first`."""
        if first <= self.first:
            return
        count = bisect_left(self._offsets, first)
        for event in self._events[:count]:
            if event.is_presence:
                self._presence.popleft()
            else:
                self._messages.popleft()
                self._bytes -= len(event.json)
        del self._events[:count], self._offsets[:count]
        self.first = first

    def _add(self, event: Event) -> None:
        self._cursor = event.cursor
        self.top = offset = event.cursor.offset
        self._events.append(event)
        self._offsets.append(offset)
        if event.is_presence:
            self._presence.append(offset)
            if len(self._presence) > self._presence_capacity:
                index = bisect_left(self._offsets, self._presence.popleft())
                del self._events[index], self._offsets[index]
        else:
            self._messages.append(offset)
            self._bytes += len(event.json)
            while self._is_full():
                self.trim(self._messages[0] + 1)

    def _is_full(self) -> bool:
        count = len(self._messages)
        return count > self.capacity or (self._bytes > self._max_bytes and count > 1)

    # --- reading -------------------------------------------------------------------------------

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def cursor_before_last(self, count: int) -> Cursor:
        """Return the cursor of a reader who has seen all but the last `count` events.

        At least half of them are messages, if there are so many: then a few events more follow.
        So a newcomer reads what was said, even if everybody came a moment ago.
        """
        if not count or not self._events:
            return self.cursor
        starts = [self._offsets[-count] if count < len(self._offsets) else self.first]
        if self._messages:
            starts.append(self._messages[-min(max(count // 2, 1), len(self._messages))])
        return Cursor(self.epoch, min(starts) - 1)

    def since(self, cursor: Cursor, limit: int | None = None, size: int | None = None) -> Page:
        """Return what came after `cursor`: at most `limit` events (a `gap` is not counted).

        If the window does not continue `cursor`, the page is a `gap` and all that is kept.
        The page ends with the event that brings it to `size` bytes of JSON.
        """
        gap, missed = self._find_gap(cursor)
        offset = self.first - 1 if gap else cursor.offset
        start = bisect_right(self._offsets, offset)
        events = self._events[start : None if limit is None else start + limit]
        if size is not None:
            events = _cut(events, size)
        more = start + len(events) < len(self._events)
        end = events[-1].cursor if more else self.cursor
        if gap is not None:  # it has no offset in the log
            events = [Event.gap(Cursor(self.epoch, offset), gap, missed), *events]
        return Page(events, end, more, gap)

    def events_after(self, offset: int) -> list[Event]:
        """Return all events after an offset."""
        return self._events[bisect_right(self._offsets, offset) :]

    def is_behind(self, cursor: Cursor) -> bool:
        """Return whether our copy may be older than `cursor`: ask the broker before sending `gap`.

        A reader may come from another process, which received the next event a moment earlier.
        """
        return cursor.epoch != self.epoch or cursor.offset > self.top

    def _find_gap(self, cursor: Cursor) -> tuple[str | None, int | None]:
        """Return why the log does not continue `cursor`, and the number of lost events if known."""
        if cursor.epoch != self.epoch:
            return "unknown", None
        if cursor.offset > self.top:
            return "rewound", None
        if cursor.offset < self.first - 1:
            return "trimmed", self.first - 1 - cursor.offset
        return None, None


def _cut(events: list[Event], size: int) -> list[Event]:
    for count, total in enumerate(accumulate(len(event.json) for event in events), 1):
        if total >= size:
            return events[:count]
    return events
