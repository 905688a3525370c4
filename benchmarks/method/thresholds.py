"""Thresholds: the values that a measurement must not pass, and whether this run met them.

Each benchmark declares thresholds for its most important measures.  The result file keeps them, and
the report shows them first, so a change that costs speed is noticed without knowing old results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from benchmarks.method.samples import Cell, short


@dataclass(frozen=True, slots=True)
class Threshold:
    """A measured value and its maximum; or its minimum, where more is better."""

    name: str
    value: float | None  # None: not measured
    bound: float
    unit: str = ""
    at_least: bool = False
    of: str = ""  # which of several: a transport, or a number of followers

    @property
    def holds(self) -> bool:
        """Whether the value is within the bound; a value that was not measured is not."""
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def sign(self) -> str:
        return "≥" if self.at_least else "≤"

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the result file."""
        return {**asdict(self), "value": short(self.value), "holds": self.holds}


def from_json(data: Mapping[str, Any]) -> Threshold:
    """Return the threshold of an entry that `to_json` made."""
    return Threshold(**{field.name: data[field.name] for field in fields(Threshold)})


def median_over_runs(cells: Iterable[Cell], measure: str) -> float | None:
    """Return the median over all runs of these cells, as the tables show it."""
    values = _values(cells, measure)
    return median(values) if values else None


def worst(cells: Iterable[Cell], measure: str) -> float | None:
    """Return the maximum of all runs: one forgotten follower in one run is one too many."""
    return max(_values(cells, measure), default=None)


def _values(cells: Iterable[Cell], measure: str) -> list[float]:
    found = (sample.measures.get(measure) for cell in cells for sample in cell.samples)
    return [value for value in found if value is not None]


def lines(thresholds: Iterable[Threshold], judged: bool = True) -> list[str]:
    """Format thresholds as lines of text; `!!!` marks those that fail.

    Short or few runs (`judged` is False) show the values, but cannot say whether a threshold holds.
    """
    return [_line(one, judged) for one in thresholds]


def _line(one: Threshold, judged: bool) -> str:
    value = "not measured" if one.value is None else f"{one.value:.4g}"
    unit = f" {one.unit}" if one.unit else ""
    verdict = "holds" if one.holds else "!!! does not hold"
    if not judged:
        verdict = "not judged, too few or too short runs"
    name = f"{one.name}, {one.of}" if one.of else one.name
    return f"{verdict}: {name}: {value} {one.sign} {one.bound:g}{unit}"
