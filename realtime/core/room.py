"""The numbered log of one room, as one process remembers it.

A room is a window of events numbered without a hole: `first` … `top`, in one `epoch`.  Its one
question is `since`: what came after a cursor?  Pure: it neither waits nor asks anybody; whoever
owns it brings the events (`append`, one at a time) or a page of the broker's memory (`merge`).

    forgotten │ first ……………… top │ to come
    ──────────┴───────────────────┴────────▶ number
              ▲ a cursor left of this is told `gap`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from realtime.core.events import Cursor, Event


@dataclass(frozen=True, slots=True)
class History:
    """A page of a broker's memory: what it keeps after a cursor.

    `first` is the lowest number still kept (``top + 1`` when nothing is), so a reader of the page
    can tell "nothing came" from "it came and is gone".  `more` says that the page was cut.
    """

    epoch: str
    top: int
    first: int
    events: Sequence[Event]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What came after a cursor: the events, the cursor after them, and whether it was cut.

    `gap` is why the first event is a gap, if it is one.
    """

    events: Sequence[Event]
    cursor: Cursor
    more: bool
    gap: str | None = None


class AppendResult(Enum):
    """Where an announced event stands to the log: only the next one can be taken as it comes."""

    APPENDED = "next"
    DUPLICATE = "old"
    GAP = "ahead"


class Room:
    """The log of one room; it forgets all but the last `capacity` events."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.epoch = ""  # no broker gives out an empty epoch: everything is AHEAD of a new room
        self.first = 1
        self._events: list[Event] = []
        self._cursor: Cursor | None = None  # made when it is asked for, and kept while it is true

    @property
    def top(self) -> int:
        """The number of the newest event; 0 in a room where nothing was ever said."""
        return self.first + len(self._events) - 1

    @property
    def cursor(self) -> Cursor:
        """The cursor of a reader who has seen everything."""
        if self._cursor is None:
            self._cursor = Cursor(self.epoch, self.top)
        return self._cursor

    # --- writing -------------------------------------------------------------------------------

    def append(self, event: Event) -> AppendResult:
        """Take an event if it is the next; else say what it is, and leave the log as it was."""
        epoch, number = event.cursor.epoch, event.cursor.offset
        if epoch != self.epoch or number > self.top + 1:
            return AppendResult.GAP
        if number <= self.top:
            return AppendResult.DUPLICATE
        self._events.append(event)
        self._cursor = event.cursor
        self._forget(len(self._events) - self.capacity)
        return AppendResult.APPENDED

    def merge(self, history: History) -> bool:
        """Take a page of the broker's memory that was asked with our own cursor.

        A page of another epoch, or one that begins past our top, does not continue our copy:
        then the copy begins anew, and readers find out by their cursors.  Says whether it did not.
        """
        continues = history.epoch == self.epoch and history.first <= self.top + 1
        if not continues:
            self.reset(history.epoch, history.first)
        for event in history.events:
            self.append(event)
        # The broker may have forgotten more than we: everybody is told the same window.
        self._forget(min(history.first, self.top + 1) - self.first)
        return continues

    def reset(self, epoch: str, first: int) -> None:
        """Forget everything; the next event is number `first` of `epoch`."""
        self.epoch, self.first, self._events = epoch, first, []
        self._cursor = None

    def _forget(self, count: int) -> None:
        if count > 0:
            del self._events[:count]
            self.first += count

    # --- reading -------------------------------------------------------------------------------

    def last(self, count: int) -> Cursor:
        """The cursor of a reader who has seen all but the last `count` events."""
        return Cursor(self.epoch, max(self.first - 1, self.top - count))

    def since(self, cursor: Cursor, limit: int | None = None, size: int | None = None) -> Page:
        """Answer what came after `cursor`: at most `limit` events (a `gap` not counted).

        A cursor that the window does not continue is answered by a `gap` and all that is kept.
        The answer ends with the event that makes it `size` bytes of JSON.
        """
        gap, missed = self._gap(cursor)
        number = self.first - 1 if gap else cursor.offset
        start = number + 1 - self.first
        events = self._events[start : None if limit is None else start + limit]
        if size is not None:
            events = _cut(events, size)
        if gap is not None:
            events = [Event.gap(Cursor(self.epoch, number), gap, missed), *events]
            number -= 1  # a gap is no number of the log
        end = Cursor(self.epoch, number + len(events))
        return Page(events, end, end.offset < self.top, gap)

    def is_behind(self, cursor: Cursor) -> bool:
        """Say whether our copy may be older than `cursor`: ask the broker before saying `gap`.

        A reader comes from another process, where the next event was heard a moment earlier.
        """
        return cursor.epoch != self.epoch or cursor.offset > self.top

    def _gap(self, cursor: Cursor) -> tuple[str | None, int | None]:
        """Why the log does not continue `cursor`, and how many events it missed, if known."""
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
