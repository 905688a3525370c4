"""The log of one room, as one process keeps it: events with consecutive offsets.

A room is a window of events without a hole: `first` … `top`, within one `epoch`.  Its one question
is `since`: what came after a cursor?  Pure: it neither waits nor does I/O; its owner passes in the
events (`append`, one at a time) or a page of the broker's history (`merge`).

    trimmed │ first ……………… top │ not published yet
    ────────┴───────────────────┴─────────────────▶ offset
            ▲ a cursor left of this receives `gap`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from realtime.core.events import Cursor, Event


@dataclass(frozen=True, slots=True)
class History:
    """A page of a broker's log: what it keeps after a cursor.

    `first` is the lowest offset that is kept (``top + 1`` when nothing is), so a reader of the page
    can tell "nothing was published" from "it was published and trimmed".  `more` is true if the
    page was cut.
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
    """The log of one room; it keeps the last `capacity` events."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.epoch = ""  # no broker has an empty epoch: every event is a GAP to a new room
        self.first = 1
        self._events: list[Event] = []
        self._cursor: Cursor | None = None  # built when first used, cached until the log changes

    @property
    def top(self) -> int:
        """The offset of the newest event; 0 in a room where nothing was ever published."""
        return self.first + len(self._events) - 1

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
        self._events.append(event)
        self._cursor = event.cursor
        self._trim(len(self._events) - self.capacity)
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
            self.append(event)
        # The broker may have trimmed more than we have: every process must serve the same window.
        self._trim(min(history.first, self.top + 1) - self.first)
        return continues

    def reset(self, epoch: str, first: int) -> None:
        """Drop everything; the next event has the offset `first` in `epoch`."""
        self.epoch, self.first, self._events = epoch, first, []
        self._cursor = None

    def _trim(self, count: int) -> None:
        if count > 0:
            del self._events[:count]
            self.first += count

    # --- reading -------------------------------------------------------------------------------

    def cursor_before_last(self, count: int) -> Cursor:
        """Return the cursor of a reader who has seen all but the last `count` events."""
        return Cursor(self.epoch, max(self.first - 1, self.top - count))

    def since(self, cursor: Cursor, limit: int | None = None, size: int | None = None) -> Page:
        """Return what came after `cursor`: at most `limit` events (a `gap` is not counted).

        If the window does not continue `cursor`, the page is a `gap` and all that is kept.
        The page ends with the event that brings it to `size` bytes of JSON.
        """
        gap, missed = self._find_gap(cursor)
        offset = self.first - 1 if gap else cursor.offset
        start = offset + 1 - self.first
        events = self._events[start : None if limit is None else start + limit]
        if size is not None:
            events = _cut(events, size)
        if gap is not None:
            events = [Event.gap(Cursor(self.epoch, offset), gap, missed), *events]
            offset -= 1  # a gap has no offset in the log
        end = Cursor(self.epoch, offset + len(events))
        return Page(events, end, end.offset < self.top, gap)

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
