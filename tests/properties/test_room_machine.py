"""A state machine: one `Room` against a model of it, fed by an unreliable broker.

The broker of the model assigns offsets, trims, restarts, and restores old snapshots.  What it
publishes may be lost, repeated or late, and a requested page may arrive long after the request.
The model of the room is a dictionary; the room must always give the same results.
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
from tests.properties.model import Log, ReaderRecord, make_event, text_of
from tests.properties.strategies import examples

CAPACITY = 6


@dataclass
class RoomModel:
    """The expected state of the room, as a dictionary."""

    epoch: str = ""
    top: int = 0
    window: dict[int, str] = field(default_factory=dict)

    @property
    def edge(self) -> int:
        """The offset before the first that is kept."""
        return min(self.window, default=self.top + 1) - 1

    def expected_result(self, epoch: str, offset: int) -> AppendResult:
        if epoch == self.epoch and offset == self.top + 1:
            return AppendResult.APPENDED
        return (
            AppendResult.DUPLICATE
            if epoch == self.epoch and offset <= self.top
            else AppendResult.GAP
        )

    def append(self, offset: int, text: str) -> None:
        self.top = offset
        self.window[offset] = text
        self.window = dict(sorted(self.window.items())[-CAPACITY:])

    def merge(self, page: History) -> None:
        if page.epoch != self.epoch or page.first > self.top + 1:
            self.epoch, self.top, self.window = page.epoch, page.first - 1, {}
        for one in page.events:
            if one.cursor.offset > self.top:
                self.append(one.cursor.offset, text_of(one))
        self.window = {n: text for n, text in self.window.items() if n >= page.first}

    def after(self, cursor: Cursor) -> tuple[dict[str, object] | None, int]:
        """Return the reason and count of a gap, if any, and the offset to continue from."""
        if cursor.epoch != self.epoch:
            return {"reason": "unknown", "missed": None}, self.edge
        if cursor.offset > self.top:
            return {"reason": "rewound", "missed": None}, self.edge
        gone = range(cursor.offset + 1, self.edge + 1)
        if gone:
            return {"reason": "trimmed", "missed": len(gone)}, self.edge
        return None, cursor.offset


class RoomMachine(RuleBasedStateMachine):
    in_flight = Bundle("in_flight")
    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.log = Log(CAPACITY)
        self.room = Room(CAPACITY)
        self.model = RoomModel()
        self.pending_page: History | None = None
        self.all_readers: list[ReaderRecord] = []
        self.published = 0

    @initialize(before=st.integers(0, 2 * CAPACITY), synced=st.booleans())
    def start_with_a_history(self, before: int, synced: bool) -> None:
        for _ in range(before):
            self.publish(1)
        if synced:
            self.sync_to_the_end(CAPACITY)

    # --- the broker ------------------------------------------------------------------------------

    @rule(target=in_flight, words=st.integers(1, 9))
    def publish(self, words: int) -> Event:
        self.published += 1
        return self.log.publish(f"{self.published}" + " word" * words)

    @rule(lost=st.integers(0, 2 * CAPACITY))
    def restart(self, lost: int) -> None:
        """Restart as another server; one restored from a snapshot lacks the newest events."""
        self.log.rewind(lost)

    @rule()
    def trim_everything(self) -> None:
        self.log.expire()

    # --- publications ----------------------------------------------------------------------------

    @rule(count=st.integers(1, CAPACITY + 1))
    def publish_and_deliver(self, count: int) -> None:
        for _ in range(count):
            self._deliver(self.publish(1))

    @rule(event=consumes(in_flight))
    def deliver(self, event: Event) -> None:
        self._deliver(event)

    @rule(event=in_flight)
    def deliver_but_perhaps_again(self, event: Event) -> None:
        self._deliver(event)

    @rule(event=consumes(in_flight))
    def lose(self, event: Event) -> None:
        pass

    def _deliver(self, event: Event) -> None:
        epoch, offset = event.cursor.epoch, event.cursor.offset
        result = self.model.expected_result(epoch, offset)
        assert self.room.append(event) is result
        if result is AppendResult.APPENDED:
            self.model.append(offset, text_of(event))

    # --- a sync ----------------------------------------------------------------------------------

    @precondition(lambda self: self.pending_page is None)
    @rule(size=st.integers(1, CAPACITY))
    def request_a_page(self, size: int) -> None:
        self.pending_page = self.log.page(self.room.cursor, size)

    @precondition(lambda self: self.pending_page is not None)
    @rule()
    def merge_the_page(self) -> None:
        assert self.pending_page is not None
        self.room.merge(self.pending_page)
        self.model.merge(self.pending_page)
        self.pending_page = None

    @rule(size=st.integers(1, CAPACITY))
    def sync_to_the_end(self, size: int) -> None:
        more = True
        while more:
            self.pending_page = self.log.page(self.room.cursor, size)
            more = self.pending_page.more
            self.merge_the_page()
        assert (self.room.epoch, self.model.window) == (self.log.epoch, self.log.kept)
        assert self.room.top == self.log.top

    # --- readers ---------------------------------------------------------------------------------

    @precondition(lambda self: self.room.epoch)
    @rule(target=readers, count=st.integers(0, CAPACITY + 2))
    def start_before_the_last(self, count: int) -> ReaderRecord:
        cursor = self.room.cursor_before_last(count)
        shown = [n for n in self.model.window if n > self.model.top - count]
        assert cursor == Cursor(self.model.epoch, self.model.top - len(shown))
        return self._add_reader(cursor)

    @precondition(lambda self: self.room.epoch)
    @rule(target=readers, age=st.integers(0, 2), distance=st.integers(-2 * CAPACITY, 3))
    def come_from_another_process(self, age: int, distance: int) -> ReaderRecord:
        """With a cursor of an old epoch, or of another process, which may be ahead of ours."""
        offset = max(0, self.model.top + distance)
        return self._add_reader(Cursor(f"epoch{max(1, self.log.epoch_count - age)}", offset))

    def _add_reader(self, cursor: Cursor) -> ReaderRecord:
        reader = ReaderRecord(self.log, cursor, forward=False)
        self.all_readers.append(reader)
        return reader

    @rule(
        reader=readers,
        limit=st.none() | st.integers(1, CAPACITY + 1),
        size=st.none() | st.integers(0, 500),
    )
    def read(self, reader: ReaderRecord, limit: int | None, size: int | None) -> None:
        page = self.room.since(reader.cursor, limit, size)
        self._compare_with_the_model(page, reader.cursor, limit, size)
        self._record(reader, page)

    @rule(reader=readers, count=st.integers(1, 3), more=st.integers(-1, 1))
    def read_about_the_size_of_some_events(
        self, reader: ReaderRecord, count: int, more: int
    ) -> None:
        _, offset = self.model.after(reader.cursor)
        some = [n for n in self.model.window if n > offset][:count]
        size = sum(len(make_event(self.model.epoch, n, self.model.window[n]).json) for n in some)
        self.read(reader, None, size + more)

    @rule(reader=readers, limit=st.integers(1, 3))
    def read_to_the_end(self, reader: ReaderRecord, limit: int) -> None:
        more = True
        while more:
            page = self.room.since(reader.cursor, limit)
            more = page.more
            self._record(reader, page)
        assert reader.cursor == Cursor(self.model.epoch, self.model.top)
        assert not self.room.since(reader.cursor).events

    @rule(reader=readers)
    def compare_is_behind(self, reader: ReaderRecord) -> None:
        offsets = range(self.model.top + 1) if reader.cursor.epoch == self.model.epoch else ()
        assert self.room.is_behind(reader.cursor) is (reader.cursor.offset not in offsets)

    def _record(self, reader: ReaderRecord, page: Page) -> None:
        reader.read(one.json for one in page.events)
        assert reader.cursor == page.cursor

    def _compare_with_the_model(
        self, page: Page, cursor: Cursor, limit: int | None, size: int | None
    ) -> None:
        gap, offset = self.model.after(cursor)
        events = [json.loads(one.json) for one in page.events]
        if gap is not None:
            where = str(Cursor(self.model.epoch, offset))
            assert events.pop(0) == {"kind": "gap", "cursor": where, **gap}
        later = {n: text for n, text in sorted(self.model.window.items()) if n > offset}
        assert [one["text"] for one in events] == list(later.values())[: len(events)]
        assert page.cursor == Cursor(self.model.epoch, offset + len(events))
        assert page.more is (len(events) < len(later))
        self._check_the_cut(page, events, later, limit, size)

    def _check_the_cut(
        self,
        page: Page,
        events: list[dict[str, str]],
        later: dict[int, str],
        limit: int | None,
        size: int | None,
    ) -> None:
        """A page ends at its limit, with the event that reaches its size, or at the top."""
        json_sizes = [len(one.json) for one in page.events[len(page.events) - len(events) :]]
        totals = list(accumulate(json_sizes))
        full = size is not None and totals[-1:] and totals[-1] >= size
        assert limit is None or len(events) <= limit
        assert size is None or all(total < size for total in totals[:-1])
        assert len(events) == len(later) or len(events) == limit or full

    # --- always ----------------------------------------------------------------------------------

    @invariant()
    def the_window_has_no_hole(self) -> None:
        assert (self.room.epoch, self.room.top) == (self.model.epoch, self.model.top)
        assert self.room.first == self.model.edge + 1
        assert sorted(self.model.window) == list(range(self.room.first, self.room.top + 1))
        assert len(self.model.window) <= CAPACITY
        kept = self.room.since(Cursor(self.room.epoch, self.room.first - 1)).events
        assert {one.cursor.offset: text_of(one) for one in kept} == self.model.window

    @invariant()
    def nothing_is_kept_that_was_never_published(self) -> None:
        ever = self.log.ever.get(self.room.epoch, {})
        assert self.model.window.items() <= ever.items()

    @invariant()
    def every_reader_received_each_offset_once_or_a_gap(self) -> None:
        for reader in self.all_readers:
            reader.check()


TestRoomMachine = RoomMachine.TestCase
TestRoomMachine.settings = examples(60, steps=50)
