"""One copy of a log against its model: a dictionary of numbered texts, and a line that is bad.

The broker of the model numbers, forgets, restarts and comes back from old snapshots.  What it
announces may be lost, doubled or late, and a page that was asked for may be answered long after.
Beside the room stands its own model, a dictionary too; both must always tell the same.
"""

import json
from dataclasses import dataclass, field
from itertools import accumulate

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from realtime.core.events import Cursor, Event
from realtime.core.room import AppendResult, History, Page, Room
from tests.properties.model import Books, Log, said, text_of
from tests.properties.strategies import examples

CAPACITY = 6


@dataclass
class Copy:
    """What the room should hold, told with a dictionary."""

    epoch: str = ""
    top: int = 0
    window: dict[int, str] = field(default_factory=dict)

    @property
    def edge(self) -> int:
        """The number before the first that is kept."""
        return min(self.window, default=self.top + 1) - 1

    def place(self, epoch: str, number: int) -> AppendResult:
        if epoch == self.epoch and number == self.top + 1:
            return AppendResult.APPENDED
        return (
            AppendResult.DUPLICATE
            if epoch == self.epoch and number <= self.top
            else AppendResult.GAP
        )

    def take(self, number: int, text: str) -> None:
        self.top = number
        self.window[number] = text
        self.window = dict(sorted(self.window.items())[-CAPACITY:])

    def merge(self, page: History) -> None:
        if page.epoch != self.epoch or page.first > self.top + 1:
            self.epoch, self.top, self.window = page.epoch, page.first - 1, {}
        for one in page.events:
            if one.cursor.offset > self.top:
                self.take(one.cursor.offset, text_of(one))
        self.window = {n: text for n, text in self.window.items() if n >= page.first}

    def after(self, cursor: Cursor) -> tuple[dict[str, object] | None, int]:
        """The reason and the count of a gap, if there is one, and the number to read on from."""
        if cursor.epoch != self.epoch:
            return {"reason": "unknown", "missed": None}, self.edge
        if cursor.offset > self.top:
            return {"reason": "rewound", "missed": None}, self.edge
        gone = range(cursor.offset + 1, self.edge + 1)
        if gone:
            return {"reason": "trimmed", "missed": len(gone)}, self.edge
        return None, cursor.offset


class RoomMachine(RuleBasedStateMachine):
    line = Bundle("line")
    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.log = Log(CAPACITY)
        self.room = Room(CAPACITY)
        self.copy = Copy()
        self.page: History | None = None
        self.everybody: list[Books] = []
        self.said = 0

    @initialize(before=st.integers(0, 2 * CAPACITY), synced=st.booleans())
    def a_conversation_before_anybody_came(self, before: int, synced: bool) -> None:
        for _ in range(before):
            self.say(1)
        if synced:
            self.sync_to_the_end(CAPACITY)

    # --- the broker ------------------------------------------------------------------------------

    @rule(target=line, words=st.integers(1, 9))
    def say(self, words: int) -> Event:
        self.said += 1
        return self.log.say(f"{self.said}" + " word" * words)

    @rule(lost=st.integers(0, 2 * CAPACITY))
    def restart(self, lost: int) -> None:
        """As another server, which lacks the newest if it came back from a snapshot."""
        self.log.rewind(lost)

    @rule()
    def forget_everything(self) -> None:
        self.log.expire()

    # --- the line --------------------------------------------------------------------------------

    @rule(count=st.integers(1, CAPACITY + 1))
    def say_what_is_heard_at_once(self, count: int) -> None:
        for _ in range(count):
            self._announce(self.say(1))

    @rule(event=consumes(line))
    def deliver(self, event: Event) -> None:
        self._announce(event)

    @rule(event=line)
    def deliver_what_may_come_again(self, event: Event) -> None:
        self._announce(event)

    @rule(event=consumes(line))
    def lose(self, event: Event) -> None:
        pass

    def _announce(self, event: Event) -> None:
        epoch, number = event.cursor.epoch, event.cursor.offset
        place = self.copy.place(epoch, number)
        assert self.room.append(event) is place
        if place is AppendResult.APPENDED:
            self.copy.take(number, text_of(event))

    # --- a sync ----------------------------------------------------------------------------------

    @precondition(lambda self: self.page is None)
    @rule(size=st.integers(1, CAPACITY))
    def ask_for_a_page(self, size: int) -> None:
        self.page = self.log.page(self.room.cursor, size)

    @precondition(lambda self: self.page is not None)
    @rule()
    def merge_the_page(self) -> None:
        assert self.page is not None
        self.room.merge(self.page)
        self.copy.merge(self.page)
        self.page = None

    @rule(size=st.integers(1, CAPACITY))
    def sync_to_the_end(self, size: int) -> None:
        more = True
        while more:
            self.page = self.log.page(self.room.cursor, size)
            more = self.page.more
            self.merge_the_page()
        assert (self.room.epoch, self.copy.window) == (self.log.epoch, self.log.kept)
        assert self.room.top == self.log.top

    # --- readers ---------------------------------------------------------------------------------

    @precondition(lambda self: self.room.epoch)
    @rule(target=readers, count=st.integers(0, CAPACITY + 2))
    def begin_before_the_last(self, count: int) -> Books:
        cursor = self.room.cursor_before_last(count)
        shown = [n for n in self.copy.window if n > self.copy.top - count]
        assert cursor == Cursor(self.copy.epoch, self.copy.top - len(shown))
        return self._welcome(cursor)

    @precondition(lambda self: self.room.epoch)
    @rule(target=readers, life=st.integers(0, 2), offset=st.integers(-2 * CAPACITY, 3))
    def come_from_elsewhere(self, life: int, offset: int) -> Books:
        """With a cursor of an old life or of another process, which may be ahead of ours."""
        number = max(0, self.copy.top + offset)
        return self._welcome(Cursor(f"life{max(1, self.log.lives - life)}", number))

    def _welcome(self, cursor: Cursor) -> Books:
        reader = Books(self.log, cursor, forward=False)
        self.everybody.append(reader)
        return reader

    @rule(
        reader=readers,
        limit=st.none() | st.integers(1, CAPACITY + 1),
        size=st.none() | st.integers(0, 500),
    )
    def read(self, reader: Books, limit: int | None, size: int | None) -> None:
        passage = self.room.since(reader.cursor, limit, size)
        self._compare_with_the_copy(passage, reader.cursor, limit, size)
        self._turn(reader, passage)

    @rule(reader=readers, count=st.integers(1, 3), more=st.integers(-1, 1))
    def read_about_as_much_as_some_events_weigh(self, reader: Books, count: int, more: int) -> None:
        _, number = self.copy.after(reader.cursor)
        some = [n for n in self.copy.window if n > number][:count]
        weight = sum(len(said(self.copy.epoch, n, self.copy.window[n]).json) for n in some)
        self.read(reader, None, weight + more)

    @rule(reader=readers, limit=st.integers(1, 3))
    def read_to_the_end(self, reader: Books, limit: int) -> None:
        more = True
        while more:
            passage = self.room.since(reader.cursor, limit)
            more = passage.more
            self._turn(reader, passage)
        assert reader.cursor == Cursor(self.copy.epoch, self.copy.top)
        assert not self.room.since(reader.cursor).events

    @rule(reader=readers)
    def see_who_is_behind(self, reader: Books) -> None:
        known = range(self.copy.top + 1) if reader.cursor.epoch == self.copy.epoch else ()
        assert self.room.is_behind(reader.cursor) is (reader.cursor.offset not in known)

    def _turn(self, reader: Books, passage: Page) -> None:
        reader.read(one.json for one in passage.events)
        assert reader.cursor == passage.cursor

    def _compare_with_the_copy(
        self, passage: Page, cursor: Cursor, limit: int | None, size: int | None
    ) -> None:
        gap, number = self.copy.after(cursor)
        told = [json.loads(one.json) for one in passage.events]
        if gap is not None:
            where = str(Cursor(self.copy.epoch, number))
            assert told.pop(0) == {"kind": "gap", "cursor": where, **gap}
        later = {n: text for n, text in sorted(self.copy.window.items()) if n > number}
        assert [one["text"] for one in told] == list(later.values())[: len(told)]
        assert passage.cursor == Cursor(self.copy.epoch, number + len(told))
        assert passage.more is (len(told) < len(later))
        self._check_the_cut(passage, told, later, limit, size)

    def _check_the_cut(
        self,
        passage: Page,
        told: list[dict[str, str]],
        later: dict[int, str],
        limit: int | None,
        size: int | None,
    ) -> None:
        """It ends at its limit, with the event that makes its size, or at the end: no sooner."""
        json_sizes = [len(one.json) for one in passage.events[len(passage.events) - len(told) :]]
        totals = list(accumulate(json_sizes))
        full = size is not None and totals[-1:] and totals[-1] >= size
        assert limit is None or len(told) <= limit
        assert size is None or all(total < size for total in totals[:-1])
        assert len(told) == len(later) or len(told) == limit or full

    # --- always ----------------------------------------------------------------------------------

    @invariant()
    def the_window_has_no_hole(self) -> None:
        assert (self.room.epoch, self.room.top) == (self.copy.epoch, self.copy.top)
        assert self.room.first == self.copy.edge + 1
        assert sorted(self.copy.window) == list(range(self.room.first, self.room.top + 1))
        assert len(self.copy.window) <= CAPACITY
        kept = self.room.since(Cursor(self.room.epoch, self.room.first - 1)).events
        assert {one.cursor.offset: text_of(one) for one in kept} == self.copy.window

    @invariant()
    def nothing_is_kept_that_the_broker_never_had(self) -> None:
        ever = self.log.ever.get(self.room.epoch, {})
        assert self.copy.window.items() <= ever.items()

    @invariant()
    def everybody_was_shown_or_told_of_every_number_once(self) -> None:
        for reader in self.everybody:
            reader.check()


TestRoomMachine = RoomMachine.TestCase
TestRoomMachine.settings = examples(200, steps=50)
