"""What we promise of a figure, and whether this run kept it.

A promise is one number that a figure must not pass.  Whoever asks a question says which of its
figures are promised; the file keeps them, and the report shows them before everything else that is
fast or slow, so that a change which costs speed is seen by somebody who looks for nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from benchmarks.method.samples import Cell, short


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure, and what it may be at most; or at least, where more is better."""

    name: str
    value: float | None  # None: it could not be measured
    bound: float
    unit: str = ""
    at_least: bool = False
    of: str = ""  # whose figure it is, where there are several: a transport, how many followers

    @property
    def holds(self) -> bool:
        """A figure that nobody measured holds nothing."""
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def sign(self) -> str:
        return "≥" if self.at_least else "≤"

    def told(self) -> dict[str, Any]:
        """Give what a result file keeps."""
        return {**asdict(self), "value": short(self.value), "holds": self.holds}


def read(told: Mapping[str, Any]) -> Bound:
    """Take a promise out of what a result file keeps."""
    return Bound(**{field.name: told[field.name] for field in fields(Bound)})


def middle(cells: Iterable[Cell], measure: str) -> float | None:
    """The median over all runs of these cells, as the tables show it."""
    values = _values(cells, measure)
    return median(values) if values else None


def worst(cells: Iterable[Cell], measure: str) -> float | None:
    """The largest of all runs: one follower that was forgotten in one run is one too many."""
    return max(_values(cells, measure), default=None)


def _values(cells: Iterable[Cell], measure: str) -> list[float]:
    found = (sample.measures.get(measure) for cell in cells for sample in cell.samples)
    return [value for value in found if value is not None]


def lines(bounds: Iterable[Bound]) -> list[str]:
    """Write the promises as lines of text; what does not hold is loud."""
    return [_line(one) for one in bounds]


def _line(one: Bound) -> str:
    value = "not measured" if one.value is None else f"{one.value:.4g}"
    unit = f" {one.unit}" if one.unit else ""
    verdict = "holds" if one.holds else "!!! does not hold"
    name = f"{one.name}, {one.of}" if one.of else one.name
    return f"{verdict}: {name}: {value} {one.sign} {one.bound:g}{unit}"
