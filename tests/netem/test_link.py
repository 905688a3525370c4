"""One direction of a connection, with time passed in: when each segment is due."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.netem.conditions import NetworkConditions, Stall
from realtime.netem.link import (
    SEGMENT_BYTES,
    SEGMENT_OVERHEAD,
    DatagramLink,
    End,
    Link,
    Segment,
    handshake_seconds,
)
from tests.cases import each


def link(opened: float = 0) -> Link:
    return Link(opened, Random(1))


def arrivals(link: Link | DatagramLink) -> list[tuple[float, Segment]]:
    """Return every packet on its way with the time when it is due."""
    found: list[tuple[float, Segment]] = []
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


# --- losses of TCP -------------------------------------------------------------------------------

LOSSY = NetworkConditions(rtt=0.1, loss=0.1)  # its timeout is 0.3 s


class Script(Random):
    """Chance that is known: these numbers, and then such that nothing is lost."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self._numbers = list(numbers)

    def random(self) -> float:
        return self._numbers.pop(0) if self._numbers else 0.99


def losing(*losses: int) -> Random:
    """Chance by which segment n is lost `losses[n]` times in a row, and has no jitter."""
    return Script(*(number for times in losses for number in (0, *[0] * times, 0.99)))


@each(
    ("losses", "sent", "due"),
    [
        # Nothing follows: a timeout, another one, and each next one is twice as long.
        ((1,), (0,), (0.35,)),
        ((2,), (0,), (0.65,)),
        ((3,), (0,), (1.25,)),
        ((12,), (0,), (0.3 * 2**9 + 2 * 120 + 0.05,)),
        # What follows shows the gap a round trip later, but what comes soon might have overtaken.
        ((1, 0), (0, 0.05), (0.2, 0.2)),
        ((1, 0), (0, 0.01), (0.175, 0.175)),
        ((1, 0), (0, 0.25), (0.35, 0.35)),
        ((2, 0), (0, 0.05), (0.5, 0.5)),
        # The timer starts again with the acknowledgement of what is in front.
        ((0, 1), (0, 0.05), (0.05, 0.45)),
        ((0, 1), (0, 0.2), (0.05, 0.55)),
        # What is in front does not wait, what is behind does.
        ((0, 1, 0, 0), (0, 0.05, 0.1, 0.3), (0.05, 0.25, 0.25, 0.35)),
        # A segment that is lost as well shows no gap; one that arrives shows all of them.
        ((1, 1), (0, 0.05), (0.35, 0.4)),
        ((1, 1, 0), (0, 0.01, 0.05), (0.2, 0.2, 0.2)),
    ],
)
def test_a_lost_segment_and_those_behind_it_wait_until_it_is_sent_again(
    losses: Sequence[int], sent: Sequence[float], due: Sequence[float]
) -> None:
    lossy = Link(0, losing(*losses))
    for number, at in enumerate(sent):
        lossy.enqueue(bytes([number]), LOSSY, at)
    found = arrivals(lossy)
    assert [segment for _, segment in found] == [bytes([number]) for number in range(len(sent))]
    assert [at for at, _ in found] == pytest.approx(due)


def test_jitter_makes_the_timeout_longer() -> None:
    lossy = Link(0, losing(1))
    lossy.enqueue(b"x", NetworkConditions(rtt=0.1, jitter=0.3, loss=0.1), 0)
    assert lossy.next_due == pytest.approx(0.4 + 4 * 0.1 + 0.05)


def test_a_segment_that_is_sent_again_waits_for_the_end_of_a_stall() -> None:
    lossy = Link(0, losing(1, 0))
    network = NetworkConditions(rtt=0.1, loss=0.1, stall=Stall(5, 10))
    lossy.enqueue(b"x", network, 4.6)
    assert lossy.next_due == pytest.approx(4.95)
    lossy.enqueue(b"y", network, 4.8)
    assert lossy.next_due == pytest.approx(4.95)
    lossy = Link(0, losing(1))
    lossy.enqueue(b"x", network, 4.7)
    assert lossy.next_due == pytest.approx(10)


def test_a_fin_can_be_lost_and_a_reset_cannot() -> None:
    for end, due in ((End.FIN, 0.35), (End.RESET, 0.05)):
        lossy = Link(0, losing(1))
        lossy.enqueue_end(end, LOSSY, 0)
        assert lossy.next_due == pytest.approx(due)


def test_of_a_large_write_single_segments_are_lost() -> None:
    lossy = Link(0, losing(0, 1, 0))
    lossy.enqueue(b"x" * 3 * SEGMENT_BYTES, LOSSY, 0)
    assert [at for at, _ in arrivals(lossy)] == pytest.approx([0.05, 0.175, 0.175])


def test_the_delay_of_single_segments_is_that_of_the_theory() -> None:
    """With probability p^k (1 - p) a segment is lost k times, which costs RTO 2^(k-1).

    The mean of that is RTO p (1 - p) / (1 - 2p).
    """
    lossy, count, delays = link(), 20_000, []
    for number in range(count):
        now = 1_000.0 * number  # so that none is behind another
        lossy.enqueue(b"x", LOSSY, now)
        timeouts = ((lossy.next_due or 0) - now - 0.05) / 0.3
        lossy.pop_due(now + 1_000)
        assert round(timeouts).bit_count() <= 1
        assert timeouts == pytest.approx(round(timeouts), abs=1e-3)
        delays.append(timeouts)
    assert sum(delays) / count == pytest.approx(0.09 / 0.8, rel=0.1)
    assert sum(delay < 0.5 for delay in delays) / count == pytest.approx(0.9, rel=0.01)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4_000)), min_size=1, max_size=30),
    st.floats(0.001, 0.5),
    st.integers(0, 1_000),  # a seed: `st.randoms` would try a chance that loses everything for ever
)
def test_losses_keep_every_byte_and_the_order(
    writes: list[tuple[float, int]], loss: float, seed: int
) -> None:
    lossy, network = Link(0, Random(seed)), NetworkConditions(rtt=0.2, jitter=0.1, loss=loss)
    now, sent, received, last = 0.0, b"", b"", 0.0
    for number, (gap, size) in enumerate(writes):
        now += gap
        while (segment := lossy.pop_due(now)) is not None:
            received += segment if isinstance(segment, bytes) else b""
        sent += bytes([number]) * size
        lossy.enqueue(bytes([number]) * size, network, now)
        assert lossy.next_due is not None
        assert lossy.next_due >= last
        last = now  # nothing that is enqueued later may arrive before now
    found = arrivals(lossy)
    assert received + b"".join(one for _, one in found if isinstance(one, bytes)) == sent
    assert all(one <= other for (one, _), (other, _) in pairwise(found))
    assert found[-1][0] >= now + 0.1
    assert lossy.held == 0


@each(("numbers", "seconds"), [((), 0.1), ((0,), 1.1), ((0, 0), 3.1)])
def test_a_lost_handshake_is_repeated_after_a_second_and_then_two(
    numbers: Sequence[float], seconds: float
) -> None:
    assert handshake_seconds(LOSSY, Script(*numbers)) == pytest.approx(seconds)


def test_a_handshake_is_lost_in_either_direction() -> None:
    random, count = Random(1), 10_000
    in_time = sum(handshake_seconds(LOSSY, random) == 0.1 for _ in range(count))
    assert in_time / count == pytest.approx(0.81, rel=0.02)
    assert handshake_seconds(NetworkConditions(rtt=0.1), Script(0)) == 0.1


# --- datagrams -----------------------------------------------------------------------------------


def datagrams(*numbers: float) -> DatagramLink:
    return DatagramLink(0, Script(*numbers))


def test_a_datagram_takes_half_a_round_trip_and_stays_whole() -> None:
    far = datagrams()
    for data in (b"one", b"", b"x" * 5_000):
        far.enqueue(data, NetworkConditions(rtt=2, rate=10**9), 5)
    assert far.pop_due(5.9) is None
    assert [data for _, data in arrivals(far)] == [b"one", b"", b"x" * 5_000]


def test_a_rate_paces_datagrams_too() -> None:
    narrow = datagrams()
    for _ in range(3):
        narrow.enqueue(b"x" * 100, NetworkConditions(rate=100), 5)
    assert [due for due, _ in arrivals(narrow)] == [6, 7, 8]


def test_a_lost_datagram_delays_nothing() -> None:
    network = NetworkConditions(rtt=2, loss=0.1)
    lossy = datagrams(0, 0.99, 0.99, 0, 0.05)  # jitter, loss, lateness; jitter, loss
    for number in range(3):
        lossy.enqueue(bytes([number]), network, number)
    assert arrivals(lossy) == [(1, b"\0"), (3, b"\2")]
    assert lossy.held == 0


def test_a_late_datagram_takes_twice_as_long_and_others_overtake_it() -> None:
    network = NetworkConditions(rtt=2, reorder=0.1)
    changing = datagrams(0, 0.99, 0.05)
    for number in range(4):
        changing.enqueue(bytes([number]), network, number / 2)
    assert arrivals(changing) == [(1.5, b"\1"), (2, b"\0"), (2, b"\2"), (2.5, b"\3")]


@given(st.lists(st.floats(0, 3), min_size=2, max_size=50), st.randoms(use_true_random=False))
def test_jitter_alone_keeps_the_order_of_datagrams(gaps: list[float], random: Random) -> None:
    jittery, now = DatagramLink(0, random), 0.0
    for number, gap in enumerate(gaps):
        now += gap
        jittery.enqueue(bytes([number]), NetworkConditions(rtt=2, jitter=4), now)
    assert [data for _, data in arrivals(jittery)] == [bytes([n]) for n in range(len(gaps))]


@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=50),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.randoms(use_true_random=False),
)
def test_datagrams_are_never_early_and_late_by_half_a_round_trip_at_most(
    gaps: list[float], loss: float, reorder: float, random: Random
) -> None:
    network = NetworkConditions(rtt=2, loss=loss, reorder=reorder)
    bad, now, sent = DatagramLink(0, random), 0.0, []
    for number, gap in enumerate(gaps):
        now += gap
        sent.append(now)
        bad.enqueue(bytes([number]), network, now)
    found = arrivals(bad)
    assert len({data for _, data in found}) == len(found) <= len(gaps)
    for due, data in found:
        assert isinstance(data, bytes)
        assert due - sent[data[0]] in (pytest.approx(1), pytest.approx(2))
    assert bad.held == 0


def test_losses_and_late_datagrams_are_as_frequent_as_written() -> None:
    bad, count = DatagramLink(0, Random(1)), 10_000
    for number in range(count):
        bad.enqueue(b"", NetworkConditions(rtt=2, loss=0.2, reorder=0.1), 100 * number)
    delays = [due % 100 for due, _ in arrivals(bad)]
    assert len(delays) / count == pytest.approx(0.8, rel=0.02)
    assert delays.count(2) / len(delays) == pytest.approx(0.1, rel=0.1)
    assert delays.count(1) + delays.count(2) == len(delays)


def test_a_datagram_due_in_a_stall_arrives_at_its_end() -> None:
    stalling, network = datagrams(), NetworkConditions(rtt=2, stall=Stall(2, 10))
    for second in (6, 7, 8, 9):
        stalling.enqueue(bytes([second]), network, second)
    assert [due for due, _ in arrivals(stalling)] == [7, 10, 10, 10]


def test_datagrams_hold_their_bytes_and_overhead() -> None:
    holding = datagrams()
    for _ in range(2):
        holding.enqueue(b"x" * 1_000, NetworkConditions(rtt=2), 0)
    assert holding.held == 2 * (1_000 + SEGMENT_OVERHEAD)
    holding.pop_due(1)
    assert holding.held == 1_000 + SEGMENT_OVERHEAD
    holding.clear()
    assert (holding.held, holding.next_due, holding.pop_due(9)) == (0, None, None)
