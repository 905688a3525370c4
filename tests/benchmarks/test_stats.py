"""Statistics, compared with known results."""

import random
from statistics import NormalDist

import pytest

from benchmarks.method.stats import (
    bootstrap,
    bootstrap_percentile,
    ecdf,
    percentile,
    ratio,
    relative_fit,
)
from tests.cases import each

pytestmark = pytest.mark.unhurried


@each(("percent", "value"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (90, 90), (99, 99), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent: float, value: int) -> None:
    assert percentile(range(1, 101), percent) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert {percentile([7], percent) for percent in (0, 50, 99, 100)} == {7}


def test_one_slow_message_in_a_hundred_is_the_maximum_and_not_p99() -> None:
    values = sorted([1.0] * 99 + [50.0])
    assert (percentile(values, 99), percentile(values, 100)) == (1, 50)


def test_a_distribution_of_few_has_a_step_for_each() -> None:
    assert ecdf([3.0, 1.0, 2.0, 2.0]) == [(1, 0.25), (2, 0.5), (2, 0.75), (3, 1)]


def test_a_distribution_of_many_keeps_both_ends() -> None:
    steps = ecdf([float(n) for n in range(100_000)], points=50)
    assert len(steps) == 50
    assert steps[0] == (0, 1e-5)
    assert steps[-1] == (99_999, 1)
    assert all(share == pytest.approx((value + 1) / 100_000) for value, share in steps)


def test_the_value_is_the_median_of_the_runs() -> None:
    assert bootstrap([1.0, 9.0, 3.0]).value == 3
    assert bootstrap([1.0, 2.0]).value == 1.5


def test_one_run_has_no_interval() -> None:
    one = bootstrap([4.0])
    assert (one.value, one.low, one.high) == (4, None, None)
    assert bootstrap_percentile([[1.0, 2.0]], 50).low is None


def test_equal_runs_have_an_empty_interval() -> None:
    same = bootstrap([4.0] * 5)
    assert (same.low, same.high) == (4, 4)


def test_an_interval_contains_the_true_value_about_as_often_as_it_claims() -> None:
    rng = random.Random(1)
    truth = NormalDist(10, 2)
    held = 0
    for trial in range(200):
        found = bootstrap([rng.gauss(truth.mean, truth.stdev) for _ in range(15)], trial)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth.mean <= found.high
    assert 0.88 <= held / 200 <= 1


def test_a_percentile_is_that_of_all_runs_together() -> None:
    runs = [[1.0] * 100, [1.0] * 100, [1.0] * 95 + [50.0] * 5]
    assert bootstrap_percentile(runs, 99).value == 50
    assert bootstrap_percentile(runs, 100).value == 50
    assert bootstrap_percentile(runs, 50).value == 1


def test_whole_runs_are_resampled_and_not_messages() -> None:
    """Two runs that disagree: a bootstrap over their 2 000 messages would be sure of the middle."""
    found = bootstrap_percentile([[1.0] * 1000, [9.0] * 1000], 50)
    assert (found.low, found.high) == (1, 9)


def test_the_seed_determines_the_interval() -> None:
    values = [random.Random(2).gauss(0, 1) for _ in range(7)] + [3.0, 5.0]
    assert bootstrap(values, 1) == bootstrap(values, 1)


def test_a_ratio_is_of_medians() -> None:
    found = ratio([4.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert found.value == 2
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 2 <= found.high
    assert ratio([3.0], [2.0]).value == 1.5


# --- fits ----------------------------------------------------------------------------------------


def test_a_fit_finds_the_line_that_the_values_are_on() -> None:
    rows = [(1, n, n * n) for n in (1, 10, 100, 1000)]
    values = [5 + 3 * n + 0.5 * n * n for n in (1, 10, 100, 1000)]
    assert relative_fit(rows, values) == pytest.approx([5, 3, 0.5])


def test_a_fit_weighs_relative_errors() -> None:
    """Of one constant for 1 and 100, absolute errors choose 50.5; relative errors stay near 1."""
    [found] = relative_fit([(1,), (1,)], [1, 100])
    assert found == pytest.approx(1.01 / 1.0001)


def test_a_fit_of_too_little_is_an_error() -> None:
    with pytest.raises(ValueError, match="do not determine"):
        relative_fit([(1, 2), (1, 2)], [3, 3])
