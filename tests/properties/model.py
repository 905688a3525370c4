"""The truth and the books: what a broker ever had, and what one reader was shown of it.

The log is a dictionary of numbered texts for each life it had; nothing here is shared with the
server but the values that travel.
"""

import json
from collections.abc import Iterable
from typing import Any

from realtime.core.events import Cursor, Event
from realtime.core.room import History


class Log:
    """The log of one room, as its broker keeps it: the last `capacity` texts, by number."""

    def __init__(self, capacity: int, room: str = "") -> None:
        self._capacity = capacity
        self._room = room
        self.lives = 0
        self.top = 0
        self.kept: dict[int, str] = {}
        # Of each life: all that it ever had, and up to which number that is forgotten.
        self.ever: dict[str, dict[int, str]] = {}
        self.gone: dict[str, int] = {}
        self.begin_life()

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.top)

    # --- what happens to it ----------------------------------------------------------------------

    def say(self, text: str) -> Event:
        self.top += 1
        self.kept[self.top] = self.ever[self.epoch][self.top] = text
        if self.kept.pop(self.top - self._capacity, None):
            self.gone[self.epoch] = self.top - self._capacity
        return said(self.epoch, self.top, text)

    def begin_life(self) -> None:
        """Come back as another server: the numbers go on, and mean something else."""
        self.lives += 1
        self.epoch = f"{self._room}life{self.lives}"
        self.ever[self.epoch] = dict(self.kept)
        self.gone[self.epoch] = min(self.kept, default=self.top + 1) - 1

    def rewind(self, lost: int) -> None:
        """Come back from a snapshot, which lacks the newest: their numbers are given anew."""
        self.top = max(0, self.top - lost)
        self.kept = {number: text for number, text in self.kept.items() if number <= self.top}
        self.begin_life()

    def expire(self) -> None:
        """Forget all texts, and not the numbers."""
        self.kept.clear()
        self.gone[self.epoch] = self.top

    # --- what it answers -------------------------------------------------------------------------

    def page(self, after: Cursor, size: int) -> History:
        first = min(self.kept, default=self.top + 1)
        number = after.offset if after.epoch == self.epoch else 0
        later = [n for n in sorted(self.kept) if n > number]
        events = [said(self.epoch, n, self.kept[n]) for n in later[:size]]
        return History(self.epoch, self.top, first, events, more=len(later) > size)

    def order(self, cursor: Cursor) -> tuple[int, int]:
        """Where that is in all its history: the later its life, and the higher its number."""
        lives = [*self.ever]
        return lives.index(cursor.epoch) if cursor.epoch in lives else -1, cursor.offset


def said(epoch: str, number: int, text: str) -> Event:
    return Event.numbered("say", Cursor(epoch, number), b'"text":"%b"}' % text.encode())


def text_of(event: Event) -> str:
    return str(json.loads(event.json)["text"])


class Books:
    """What one reader was shown or told, checked as it comes against what was true.

    A reader that only goes `forward` must never be led back to a life of the log that is over, nor
    before its own cursor; one copy of a log alone cannot promise that, the hub does.
    """

    def __init__(self, log: Log, cursor: Cursor, forward: bool) -> None:
        self.log = log
        self._forward = forward
        self.cursor = cursor
        self.shown: list[Cursor] = []
        # Where it began, or where a gap without a count let it begin again, and how far it came.
        self.start = cursor
        self.accounted = 0

    def read(self, events: Iterable[bytes]) -> None:
        """Read events as a page does."""
        for event in events:
            told = json.loads(event)
            cursor = Cursor.parse(told["cursor"])
            if told["kind"] == "gap":
                self._skip(cursor, told)
            else:
                self._show(cursor, told["text"])

    def check(self) -> None:
        """Every number since the start was shown or told to be missed, and none was shown twice."""
        assert self.cursor == Cursor(self.start.epoch, self.start.offset + self.accounted)
        assert len(self.shown) == len(set(self.shown))

    def _show(self, cursor: Cursor, text: str) -> None:
        assert cursor == Cursor(self.cursor.epoch, self.cursor.offset + 1), "a hole without a gap"
        assert self.log.ever[cursor.epoch][cursor.offset] == text, "nobody ever said that"
        self.shown.append(cursor)
        self.accounted += 1
        self.cursor = cursor

    def _skip(self, cursor: Cursor, told: dict[str, Any]) -> None:
        # Nothing that was still kept may be skipped, whatever the reason.
        assert cursor.offset <= self.log.gone[cursor.epoch], "told of a gap where there is none"
        if told["reason"] == "trimmed":
            assert cursor.epoch == self.cursor.epoch
            assert told["missed"] == cursor.offset - self.cursor.offset > 0
            self.accounted += told["missed"]
        else:
            assert told["missed"] is None
            self._check_reason(cursor, told["reason"])
            self.start, self.accounted = cursor, 0
        self.cursor = cursor

    def _check_reason(self, cursor: Cursor, reason: str) -> None:
        assert reason in ("unknown", "rewound")
        assert (cursor.epoch == self.cursor.epoch) is (reason == "rewound")
        if self._forward:
            assert cursor.epoch != self.cursor.epoch
            assert self.log.order(cursor) > self.log.order(self.cursor)
