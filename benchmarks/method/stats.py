"""Summaries of many values: percentiles, distributions, and confidence intervals.

Messages of one run are not independent: all of them share the load of the machine at that time, so
a thousand of them prove little.  Runs are independent.  All intervals here come from a bootstrap
that resamples whole runs (Efron 1979, with runs as clusters); a single run has no interval.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TypeVar

Run = TypeVar("Run")

# With fewer runs an interval says little: two runs have only three different resamples.
MIN_RUNS = 5
# Bootstrap resamples.  With 1,000 the ends of a 95 % interval are the 25th value from each side.
_RESAMPLES = 1_000
_OUTSIDE = 0.025
# A pivot is zero if elimination has left so little of it.
_SINGULAR = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its 95 % confidence interval; the ends are None if there is only one run."""

    value: float
    low: float | None
    high: float | None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all values do not exceed (nearest rank).

    No interpolation: the result is a value that was measured.
    """
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def ecdf(values: Sequence[float], points: int = 200) -> list[tuple[float, float]]:
    """Return the empirical distribution as steps ``(x, share)``, at most `points` of them.

    The smallest and the largest value are always included: rare delays are the interesting ones.
    """
    ordered = sorted(values)
    count = len(ordered)
    points = min(points, count)
    ranks = sorted({round(i * (count - 1) / max(points - 1, 1)) for i in range(points)})
    return [(ordered[rank], (rank + 1) / count) for rank in ranks]


def bootstrap(
    runs: Sequence[float],
    seed: int = 0,
    statistic: Callable[[Sequence[float]], float] = median,
) -> Interval:
    """Return a statistic (by default the median) of one value per run, with its interval."""
    return _interval(runs, statistic, random.Random(seed))


def bootstrap_percentile(
    runs: Sequence[Sequence[float]], percent: float, seed: int = 0
) -> Interval:
    """Return a percentile of all values of all runs together; 100 is the maximum."""

    def pooled(resampled: Sequence[Sequence[float]]) -> float:
        return percentile(sorted(value for run in resampled for value in run), percent)

    return _interval(runs, pooled, random.Random(seed))


def ratio(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Interval:
    """Return median(a) / median(b); the runs of a and b are independent of each other."""
    value = _divide(median(a), median(b))
    if min(len(a), len(b)) < 2:
        return Interval(value, None, None)
    values = [
        _divide(median([a[i] for i in of_a]), median([b[i] for i in of_b]))
        for of_a, of_b in _positions(len(a), len(b), seed)
    ]
    return Interval(value, *_ends(values))


@lru_cache
def _positions(a: int, b: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Return the positions of all resamples: a comparison has hundreds of ratios of as many runs.

    To draw them takes most of the time of a bootstrap.
    """
    rng = random.Random(seed)
    return [(_resample(range(a), rng), _resample(range(b), rng)) for _ in range(_RESAMPLES)]


def relative_fit(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Return the coefficients of a linear model, with the least squares of *relative* errors.

    A row has what the coefficients of one value are multiplied with; values are positive.  A large
    value is not measured more precisely than a small one, so absolute errors would ignore the small
    ones.  Raises ValueError if the rows do not determine the coefficients.
    """
    scaled = [[x / value for x in row] for row, value in zip(rows, values, strict=True)]
    size = len(rows[0])
    # The normal equations, each with its right side: (AᵀA) c = Aᵀ1.
    equations = [
        [*(sum(row[i] * row[j] for row in scaled) for j in range(size)), sum(r[i] for r in scaled)]
        for i in range(size)
    ]
    return _solve(equations)


def _solve(equations: list[list[float]]) -> list[float]:
    """Solve normal equations by Gauss-Jordan elimination with partial pivoting."""
    sizes = [equation[place] for place, equation in enumerate(equations)]
    for column, size in enumerate(sizes):
        pivot = max(equations[column:], key=lambda equation: abs(equation[column]))
        if abs(pivot[column]) <= _SINGULAR * size:
            raise ValueError("the values do not determine the coefficients")
        equations.remove(pivot)
        pivot = [x / pivot[column] for x in pivot]
        equations = [
            [x - equation[column] * y for x, y in zip(equation, pivot, strict=True)]
            for equation in equations
        ]
        equations.insert(column, pivot)
    return [equation[-1] for equation in equations]


def _divide(a: float, b: float) -> float:
    return a / b if b else math.inf if a else 1.0


def _interval(
    runs: Sequence[Run], statistic: Callable[[Sequence[Run]], float], rng: random.Random
) -> Interval:
    value = statistic(runs)
    if len(runs) < 2:
        return Interval(value, None, None)
    return Interval(value, *_ends([statistic(_resample(runs, rng)) for _ in range(_RESAMPLES)]))


def _resample(runs: Sequence[Run], rng: random.Random) -> list[Run]:
    return rng.choices(runs, k=len(runs))


def _ends(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    outside = round(len(ordered) * _OUTSIDE)
    return ordered[outside], ordered[-1 - outside]
