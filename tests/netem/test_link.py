"""One direction of a connection, with time passed in: when each segment is due."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.netem.conditions import NetworkConditions, Stall
from realtime.netem.link import SEGMENT_BYTES, SEGMENT_OVERHEAD, End, Link, Segment
from tests.cases import each


def link(opened: float = 0) -> Link:
    return Link(opened, Random(1))


def arrivals(link: Link) -> list[tuple[float, Segment]]:
    """Return every segment on its way with the time when it is due."""
    found = []
    while (due := link.next_due) is not None:
        segment = link.pop_due(due)
        assert segment is not None
        found.append((due, segment))
    return found


def test_without_conditions_a_segment_is_due_at_once() -> None:
    empty = link()
    empty.enqueue(b"hello", NetworkConditions(), 5)
    assert empty.pop_due(5) == b"hello"


def test_each_way_takes_half_a_round_trip() -> None:
    far = link()
    far.enqueue(b"hello", NetworkConditions(rtt=2), 5)
    assert far.pop_due(5.9) is None
    assert far.pop_due(6) == b"hello"


def test_no_byte_leaves_before_the_link_is_open() -> None:
    new = link(opened=5)
    new.enqueue(b"hello", NetworkConditions(rtt=2), 3)
    assert arrivals(new) == [(6, b"hello")]


@given(st.lists(st.floats(0, 3), min_size=2, max_size=50))
def test_jitter_stays_in_its_range_and_keeps_the_order(gaps: list[float]) -> None:
    jittery = link()
    now, sent = 0.0, []
    for number, gap in enumerate(gaps):
        now += gap
        sent.append(now)
        jittery.enqueue(bytes([number]), NetworkConditions(rtt=2, jitter=4), now)
    found = arrivals(jittery)
    assert [segment for _, segment in found] == [bytes([number]) for number in range(len(gaps))]
    assert all(one <= other for (one, _), (other, _) in pairwise(found))
    for started, (due, _) in zip(sent, found, strict=True):
        assert due - started + 1e-9 >= 1
        assert due - started <= 5 + 1e-9


def test_each_segment_has_its_own_jitter() -> None:
    jittery = link()
    for second in range(0, 1000, 10):
        jittery.enqueue(b"x", NetworkConditions(jitter=4), second)
    delays = [due - 10 * number for number, (due, _) in enumerate(arrivals(jittery))]
    assert min(delays) < 0.5
    assert max(delays) > 3.5
    assert 1.5 < sum(delays) / len(delays) < 2.5


def test_a_rate_spreads_the_bytes_evenly() -> None:
    narrow = link()
    narrow.enqueue(b"x" * 14_600, NetworkConditions(rate=1460), 5)
    found = arrivals(narrow)
    assert [len(segment) for _, segment in found] == [SEGMENT_BYTES] * 10
    assert [due for due, _ in found] == pytest.approx(range(6, 16))


def test_later_data_waits_for_the_rate_too() -> None:
    narrow = link()
    narrow.enqueue(b"x" * 100, NetworkConditions(rate=100), 5)
    narrow.enqueue(b"y" * 100, NetworkConditions(rate=100), 5.5)
    assert [due for due, _ in arrivals(narrow)] == [6, 7]


def test_an_idle_link_saves_no_bandwidth() -> None:
    narrow = link()
    narrow.enqueue(b"x" * 100, NetworkConditions(rate=100), 50)
    assert [due for due, _ in arrivals(narrow)] == [51]


def test_a_segment_due_in_a_stall_arrives_at_its_end() -> None:
    stalling = link()
    network = NetworkConditions(rtt=2, stall=Stall(2, 10))
    for second in (6, 7, 8, 9):
        stalling.enqueue(str(second).encode(), network, second)
    assert arrivals(stalling) == [(7, b"6"), (10, b"7"), (10, b"8"), (10, b"9")]


def test_new_conditions_apply_to_later_data() -> None:
    changing = link()
    changing.enqueue(b"slow", NetworkConditions(rtt=20), 0)
    changing.enqueue(b"quick", NetworkConditions(), 1)
    changing.enqueue(b"later", NetworkConditions(), 11)
    assert arrivals(changing) == [(10, b"slow"), (10, b"quick"), (11, b"later")]


@each("end", End)
def test_an_end_travels_behind_the_bytes(end: End) -> None:
    ending = link()
    ending.enqueue(b"last words", NetworkConditions(rtt=2, rate=10), 5)
    ending.enqueue_end(end, NetworkConditions(rtt=2, rate=10), 5)
    assert arrivals(ending) == [(7, b"last words"), (7, end)]


def test_held_counts_bytes_and_overhead() -> None:
    holding = link()
    holding.enqueue(b"x" * 1000, NetworkConditions(rtt=2), 0)
    holding.enqueue(b"y", NetworkConditions(rtt=2), 0)
    assert holding.held == 1001 + 2 * SEGMENT_OVERHEAD
    holding.pop_due(1)
    assert holding.held == 1 + SEGMENT_OVERHEAD
    holding.pop_due(1)
    assert holding.held == 0


def test_a_cleared_link_holds_nothing() -> None:
    cleared = link()
    cleared.enqueue(b"hello", NetworkConditions(rtt=2), 0)
    cleared.clear()
    assert (cleared.held, cleared.next_due, cleared.pop_due(9)) == (0, None, None)
