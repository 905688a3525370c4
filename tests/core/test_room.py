"""The log: what is appended, what is trimmed, and what came after a cursor."""

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.events import Cursor, Event
from realtime.core.room import AppendResult, History, Room


def event(number: int, epoch: str = "e") -> Event:
    return Event.numbered("say", Cursor(epoch, number), b'"n":%d}' % number)


def room(first: int, top: int, capacity: int = 100) -> Room:
    """Return a room that keeps `first` … `top`."""
    result = Room(capacity)
    result.merge(History("e", top, first, [event(n) for n in range(first, top + 1)]))
    return result


def offsets(room: Room, cursor: Cursor) -> list[int]:
    return [e.cursor.offset for e in room.since(cursor).events if b"gap" not in e.json]


def test_the_cursor_is_that_of_the_newest_event() -> None:
    room = Room(2)
    assert room.cursor == Cursor("", 0)
    room.reset("e", 1)
    assert room.cursor == Cursor("e", 0)
    for number in range(1, 5):
        room.append(Event.numbered("say", Cursor("e", number), b'"":0}'))
        assert room.cursor == Cursor("e", number)


def test_only_the_next_offset_is_appended() -> None:
    log = room(1, 3)
    assert log.append(event(5)) is AppendResult.GAP
    assert log.append(event(3)) is AppendResult.DUPLICATE
    assert log.append(event(4, "other")) is AppendResult.GAP
    assert log.append(event(4)) is AppendResult.APPENDED
    assert (log.first, log.top) == (1, 4)


def test_a_new_room_appends_nothing_before_its_first_merge() -> None:
    assert Room(10).append(event(1)) is AppendResult.GAP


def test_it_keeps_the_last_capacity_events() -> None:
    log = room(1, 3, capacity=3)
    log.append(event(4))
    assert offsets(log, Cursor("e", 1)) == [2, 3, 4]


def test_since_returns_what_came_after() -> None:
    page = room(1, 5).since(Cursor("e", 3))
    assert [e.cursor.offset for e in page.events] == [4, 5]
    assert (page.cursor, page.more) == (Cursor("e", 5), False)


def test_since_the_top_is_nothing() -> None:
    assert room(1, 5).since(Cursor("e", 5)).events == []


def test_since_is_cut_at_its_limit() -> None:
    page = room(1, 5).since(Cursor("e", 0), limit=2)
    assert (page.cursor, page.more) == (Cursor("e", 2), True)


def test_since_is_cut_after_the_event_that_reaches_its_size() -> None:
    size = len(event(1).json)
    page = room(1, 5).since(Cursor("e", 0), size=size + 1)
    assert (page.cursor, page.more) == (Cursor("e", 2), True)
    assert room(1, 5).since(Cursor("e", 0), size=size).cursor == Cursor("e", 1)


def test_a_cursor_before_the_window_receives_the_number_of_missed_events() -> None:
    page = room(11, 15).since(Cursor("e", 3))
    assert page.events[0].json == (b'{"kind":"gap","cursor":"e-10","reason":"trimmed","missed":7}')
    assert [e.cursor.offset for e in page.events[1:]] == [11, 12, 13, 14, 15]


def test_a_cursor_at_the_edge_of_the_window_receives_no_gap() -> None:
    assert offsets(room(11, 15), Cursor("e", 10)) == [11, 12, 13, 14, 15]


def test_a_cursor_past_the_top_receives_rewound() -> None:
    gap = room(1, 5).since(Cursor("e", 9)).events[0]
    assert gap.json == b'{"kind":"gap","cursor":"e-0","reason":"rewound","missed":null}'


def test_a_cursor_of_another_epoch_receives_unknown_and_all_that_is_kept() -> None:
    page = room(4, 5).since(Cursor("old", 5))
    assert b'"reason":"unknown","missed":null' in page.events[0].json
    assert [e.cursor.offset for e in page.events[1:]] == [4, 5]


def test_a_limit_does_not_count_the_gap() -> None:
    page = room(11, 15).since(Cursor("e", 3), limit=1)
    assert [e.cursor.offset for e in page.events] == [10, 11]


def test_a_copy_may_be_behind_a_cursor_of_another_process() -> None:
    log = room(1, 5)
    assert log.is_behind(Cursor("e", 6))
    assert log.is_behind(Cursor("new", 1))
    assert not log.is_behind(Cursor("e", 5))


def test_cursor_before_last_is_before_the_last_events() -> None:
    assert room(1, 5).cursor_before_last(2) == Cursor("e", 3)
    assert room(4, 5).cursor_before_last(50) == Cursor("e", 3)
    assert room(1, 5).cursor_before_last(0) == Cursor("e", 5)


def test_merge_appends_what_is_missing() -> None:
    log = room(1, 3)
    log.merge(History("e", 6, 1, [event(n) for n in (3, 4, 5, 6)]))
    assert offsets(log, Cursor("e", 0)) == [1, 2, 3, 4, 5, 6]


def test_merge_of_another_epoch_resets() -> None:
    log = room(1, 3)
    log.merge(History("f", 9, 8, [event(8, "f"), event(9, "f")]))
    assert (log.epoch, log.first, log.top) == ("f", 8, 9)


def test_merge_past_a_hole_resets() -> None:
    log = room(1, 3)
    log.merge(History("e", 9, 8, [event(8), event(9)]))
    assert offsets(log, Cursor("e", 3)) == [8, 9]
    assert b'"trimmed","missed":4' in log.since(Cursor("e", 3)).events[0].json


def test_merge_trims_what_the_broker_trimmed() -> None:
    log = room(1, 5)
    log.merge(History("e", 5, 4, []))
    assert (log.first, log.top) == (4, 5)
    log.merge(History("e", 5, 6, []))
    assert (log.first, log.top) == (6, 5)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(-2, 3)),
        st.tuples(st.just("publish"), st.integers(1, 4)),
        st.just(("sync", 0)),
        st.just(("new epoch", 0)),
        st.just(("read", 0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_reader_receives_each_offset_once_in_order_or_a_gap(
    steps: list[tuple[str, int]],
) -> None:
    """Whatever is lost, repeated, late or reset on the way to this copy."""
    kept, epochs, top, log = 5, 1, 0, Room(5)

    def history() -> History:
        epoch = f"e{epochs}"
        first = max(1, top - kept + 1)
        after = log.top if log.epoch == epoch else 0
        events = [event(n, epoch) for n in range(max(first, after + 1), top + 1)]
        return History(epoch, top, first, events)

    log.merge(history())
    cursor = log.cursor
    for step, number in steps:
        if step == "publish":
            top += number
        elif step == "deliver" and 0 < top + number <= top:
            log.append(event(top + number, f"e{epochs}"))
        elif step == "sync":
            log.merge(history())
        elif step == "new epoch":
            epochs += 1
        elif step == "read":
            page = log.since(cursor)
            expected = cursor.offset + 1 if cursor.epoch == log.epoch else None
            for e in page.events:
                if b'"gap"' in e.json:
                    expected = e.cursor.offset + 1
                    continue
                assert e.cursor.offset == expected
                expected += 1
            cursor = page.cursor
    log.merge(history())
    assert log.since(cursor).cursor == Cursor(f"e{epochs}", top)


def test_one_trimmed_event_is_a_gap() -> None:
    page = room(11, 15).since(Cursor("e", 9))
    assert b'"reason":"trimmed","missed":1}' in page.events[0].json
    assert [e.cursor.offset for e in page.events[1:]] == [11, 12, 13, 14, 15]


# --- joins and quits -----------------------------------------------------------------------------


def presence(number: int, kind: str = "join") -> Event:
    return Event.numbered(kind, Cursor("e", number), b'"n":%d}' % number)


def mixed_room(*kinds: str, capacity: int = 100, presence_capacity: int = 3) -> Room:
    """Return a room in which these events were published, from offset 1 on."""
    result = Room(capacity, presence_capacity)
    result.reset("e", 1)
    for number, kind in enumerate(kinds, 1):
        made = event(number) if kind == "say" else presence(number, kind)
        assert result.append(made) is AppendResult.APPENDED
    return result


def test_joins_and_quits_push_out_only_joins_and_quits() -> None:
    log = mixed_room("say", "join", "quit", "say", "join", "quit", "join", capacity=2)
    assert offsets(log, Cursor("e", 0)) == [1, 4, 5, 6, 7]
    assert (log.first, log.top) == (1, 7)
    assert log.since(Cursor("e", 0)).gap is None
    log.append(event(8))
    assert (log.first, log.top) == (2, 8)
    assert log.since(Cursor("e", 0)).gap == "trimmed"
    assert offsets(log, Cursor("e", 1)) == [4, 5, 6, 7, 8]


def test_a_page_with_a_hole_continues_where_it_ended() -> None:
    log = mixed_room("say", *["join"] * 5, "say", "join")
    page = log.since(Cursor("e", 0), limit=2)
    assert (page.cursor, page.more) == (Cursor("e", 5), True)
    page = log.since(page.cursor, limit=3)
    assert [e.cursor.offset for e in page.events] == [6, 7, 8]
    assert (page.cursor, page.more) == (Cursor("e", 8), False)
    assert log.since(Cursor("e", 3)).gap is None  # the cursor of an event that was dropped


def test_a_page_of_the_history_may_have_holes() -> None:
    log = Room(100, 3)
    log.merge(History("e", 9, 1, [event(1), event(4)], more=True))
    assert (log.first, log.top) == (1, 4)
    log.merge(History("e", 9, 1, [presence(7), event(8)]))  # 9 was a join, and none is kept
    assert (log.first, log.top) == (1, 9)
    assert offsets(log, Cursor("e", 0)) == [1, 4, 7, 8]
    assert log.append(event(10)) is AppendResult.APPENDED


def test_a_newcomer_reads_messages_even_after_many_joins() -> None:
    log = mixed_room(*["say"] * 40, *["join"] * 60, presence_capacity=60)
    assert log.cursor_before_last(50) == Cursor("e", 15)  # 25 messages, and all joins since
    assert log.cursor_before_last(0) == Cursor("e", 100)
    calm = mixed_room(*["join"] * 10, *["say"] * 60, presence_capacity=60)
    assert calm.cursor_before_last(50) == Cursor("e", 20)
    assert mixed_room("say", *["join"] * 9).cursor_before_last(2) == Cursor("e", 0)
    assert mixed_room(*["join"] * 9).cursor_before_last(2) == Cursor("e", 7)


def test_a_room_is_bounded_in_bytes_and_keeps_its_last_message() -> None:
    log = Room(100, 100, 3 * len(event(1).json))
    log.reset("e", 1)
    for number in range(1, 6):
        log.append(event(number))
    assert (log.first, offsets(log, Cursor("e", 2))) == (3, [3, 4, 5])
    log.append(Event.numbered("say", Cursor("e", 6), b'"x":"%b"}' % (1000 * b"x")))
    assert (log.first, log.top) == (6, 6)
