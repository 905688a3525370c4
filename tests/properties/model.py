"""The reference model: what a broker ever stored, and what one reader received of it.

The log is a dictionary from offsets to texts, for each of its epochs.  It shares nothing with the
server but the value types.
"""

import json
from collections.abc import Iterable
from typing import Any

from realtime.core.events import Cursor, Event
from realtime.core.room import History


class Log:
    """The log of one room, as its broker keeps it: the last `capacity` texts, by offset."""

    def __init__(self, capacity: int, room: str = "") -> None:
        self._capacity = capacity
        self._room = room
        self.epoch_count = 0
        self.top = 0
        self.kept: dict[int, str] = {}
        # For each epoch: all its texts, and the last offset that was trimmed.
        self.ever: dict[str, dict[int, str]] = {}
        self.trimmed_to: dict[str, int] = {}
        self.start_epoch()

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.top)

    # --- changes ---------------------------------------------------------------------------------

    def publish(self, text: str) -> Event:
        self.top += 1
        self.kept[self.top] = self.ever[self.epoch][self.top] = text
        if self.kept.pop(self.top - self._capacity, None):
            self.trimmed_to[self.epoch] = self.top - self._capacity
        return make_event(self.epoch, self.top, text)

    def start_epoch(self) -> None:
        """Restart as another server: the offsets continue, and mean other events."""
        self.epoch_count += 1
        self.epoch = f"{self._room}epoch{self.epoch_count}"
        self.ever[self.epoch] = dict(self.kept)
        self.trimmed_to[self.epoch] = min(self.kept, default=self.top + 1) - 1

    def rewind(self, lost: int) -> None:
        """Restart from a snapshot without the newest events: their offsets are assigned again."""
        self.top = max(0, self.top - lost)
        self.kept = {offset: text for offset, text in self.kept.items() if offset <= self.top}
        self.start_epoch()

    def expire(self) -> None:
        """Trim all texts, but keep the top."""
        self.kept.clear()
        self.trimmed_to[self.epoch] = self.top

    # --- queries ---------------------------------------------------------------------------------

    def page(self, after: Cursor, size: int) -> History:
        first = min(self.kept, default=self.top + 1)
        offset = after.offset if after.epoch == self.epoch else 0
        later = [n for n in sorted(self.kept) if n > offset]
        events = [make_event(self.epoch, n, self.kept[n]) for n in later[:size]]
        return History(self.epoch, self.top, first, events, more=len(later) > size)

    def order(self, cursor: Cursor) -> tuple[int, int]:
        """Return a sort key of a cursor: first its epoch, then its offset."""
        epochs = [*self.ever]
        return epochs.index(cursor.epoch) if cursor.epoch in epochs else -1, cursor.offset


def make_event(epoch: str, offset: int, text: str) -> Event:
    return Event.numbered("say", Cursor(epoch, offset), b'"text":"%b"}' % text.encode())


def text_of(event: Event) -> str:
    return str(json.loads(event.json)["text"])


class ReaderRecord:
    """What one reader received; each event is checked against the model as it arrives.

    A reader that only goes `forward` must never be moved back to an earlier epoch, nor before its
    own cursor.  A single copy of a log cannot promise that; the hub does.
    """

    def __init__(self, log: Log, cursor: Cursor, forward: bool) -> None:
        self.log = log
        self._forward = forward
        self.cursor = cursor
        self.received: list[Cursor] = []
        # Where it started, or restarted after a gap without a count, and how many events followed.
        self.start = cursor
        self.accounted = 0

    def read(self, events: Iterable[bytes]) -> None:
        """Read events as a browser page does."""
        for data in events:
            event = json.loads(data)
            cursor = Cursor.parse(event["cursor"])
            if event["kind"] == "gap":
                self._skip(cursor, event)
            else:
                self._receive(cursor, event["text"])

    def check(self) -> None:
        """Check that each offset since the start was received or reported as missed, none twice."""
        assert self.cursor == Cursor(self.start.epoch, self.start.offset + self.accounted)
        assert len(self.received) == len(set(self.received))

    def _receive(self, cursor: Cursor, text: str) -> None:
        assert cursor == Cursor(self.cursor.epoch, self.cursor.offset + 1), (
            "events are missing without a gap"
        )
        assert self.log.ever[cursor.epoch][cursor.offset] == text, "that was never published"
        self.received.append(cursor)
        self.accounted += 1
        self.cursor = cursor

    def _skip(self, cursor: Cursor, event: dict[str, Any]) -> None:
        # Whatever the reason, nothing that is still kept may be skipped.
        assert cursor.offset <= self.log.trimmed_to[cursor.epoch], "a gap where there is none"
        if event["reason"] == "trimmed":
            assert cursor.epoch == self.cursor.epoch
            assert event["missed"] == cursor.offset - self.cursor.offset > 0
            self.accounted += event["missed"]
        else:
            assert event["missed"] is None
            self._check_reason(cursor, event["reason"])
            self.start, self.accounted = cursor, 0
        self.cursor = cursor

    def _check_reason(self, cursor: Cursor, reason: str) -> None:
        assert reason in ("unknown", "rewound")
        assert (cursor.epoch == self.cursor.epoch) is (reason == "rewound")
        if self._forward:
            assert cursor.epoch != self.cursor.epoch
            assert self.log.order(cursor) > self.log.order(self.cursor)
