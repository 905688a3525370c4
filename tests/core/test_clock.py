"""The steady clock: what it counts of a pause, and that it never goes back."""

from realtime.core.clock import SteadyClock
from tests.cases import each


@each(("lease_seconds", "counted"), [(3000, 5), (30, 5), (12, 2), (0.1, 0.5)])
def test_a_pause_counts_as_a_sixth_of_a_lease_and_at_most_five_seconds(
    lease_seconds: float, counted: float
) -> None:
    now = 1000.0
    clock = SteadyClock(lease_seconds, lambda: now)
    now += 600
    assert clock.now() == counted
    clock.advance_to(0)
    assert clock.now() == counted


def test_time_that_is_counted_in_ticks_is_complete() -> None:
    now = 1000.0
    clock = SteadyClock(30, lambda: now)
    for _ in range(100):
        now += clock.tick_seconds
        clock.advance_to(0)
    assert clock.now() == 100 * clock.tick_seconds


def test_the_clock_follows_another_that_is_ahead_and_never_goes_back() -> None:
    clock = SteadyClock(30, lambda: 0.0)
    clock.advance_to(7)
    clock.advance_to(3)
    assert clock.now() == 7
