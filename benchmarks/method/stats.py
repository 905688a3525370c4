"""Few numbers out of many: percentiles, a distribution to draw, and how sure one may be of them.

Messages of one run share its luck (a busy machine, a scheduler's mood), so they are not independent
and a thousand of them prove little.  Runs are: all intervals here are made by drawing whole runs
anew (Efron's bootstrap, 1979; runs as clusters), and one run alone has no interval at all.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Run = TypeVar("Run")

# With fewer runs an interval says little: of two there are but three different draws.
MIN_RUNS = 5
# Draws of a bootstrap.  With 1 000 the ends of a 95 % interval are the 25th value from each side.
_DRAWS = 1_000
_OUTSIDE = 0.025


@dataclass(frozen=True, slots=True)
class Interval:
    """A value, and between which ends it lies with 95 %; None where one run is all there is."""

    value: float
    low: float | None
    high: float | None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Give the smallest value that `percent` of all do not exceed (nearest rank).

    Nothing is interpolated: the result is a value that was really measured.
    """
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def ecdf(values: Sequence[float], points: int = 200) -> list[tuple[float, float]]:
    """Give the share of values up to x as steps ``(x, share)``; of many, evenly chosen ones.

    The smallest and the largest are always among them: what is rare is what one looks for.
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
    """Give the statistic of one figure per run, the median if nothing else is said."""
    return _interval(runs, statistic, random.Random(seed))


def bootstrap_percentile(
    runs: Sequence[Sequence[float]], percent: float, seed: int = 0
) -> Interval:
    """Give a percentile of all values of all runs together; 100 is the largest."""

    def pooled(drawn: Sequence[Sequence[float]]) -> float:
        return percentile(sorted(value for run in drawn for value in run), percent)

    return _interval(runs, pooled, random.Random(seed))


def ratio(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Interval:
    """Give the median of `a` over that of `b`, whose runs were made at different times."""
    chance = random.Random(seed)
    value = _divide(median(a), median(b))
    if min(len(a), len(b)) < 2:
        return Interval(value, None, None)
    drawn = [_divide(median(_draw(a, chance)), median(_draw(b, chance))) for _ in range(_DRAWS)]
    return Interval(value, *_ends(drawn))


def _divide(a: float, b: float) -> float:
    return a / b if b else math.inf if a else 1.0


def _interval(
    runs: Sequence[Run], statistic: Callable[[Sequence[Run]], float], chance: random.Random
) -> Interval:
    value = statistic(runs)
    if len(runs) < 2:
        return Interval(value, None, None)
    return Interval(value, *_ends([statistic(_draw(runs, chance)) for _ in range(_DRAWS)]))


def _draw(runs: Sequence[Run], chance: random.Random) -> list[Run]:
    return chance.choices(runs, k=len(runs))


def _ends(drawn: list[float]) -> tuple[float, float]:
    ordered = sorted(drawn)
    outside = round(len(ordered) * _OUTSIDE)
    return ordered[outside], ordered[-1 - outside]
