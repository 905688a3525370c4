"""From values to places on paper: an axis, its ticks at 1, 2, 5, and how numbers are written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# A larger ratio of the largest value to the smallest is not seen on a linear axis.
SPREAD = 30.0
# A logarithmic axis shorter than this factor has more ticks than 1, 2, 5.
SHORT = 3.0
FINE = (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
# Paper that one tick with its number needs, in the units of the drawing.
TICK = 62.0


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, drawn from `start` to `end`; both ends are ticks."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return where `value` is drawn; what lies outside is drawn at the nearer end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def scale(
    values: Iterable[float],
    start: float,
    end: float,
    log: bool | None = None,
    zero: bool = False,
    tick: float = TICK,
) -> Scale:
    """Make an axis on which all `values` have a place; `log` None decides by their spread.

    A linear axis begins at 0 where `zero` asks for it, as bars do.  A logarithmic one has no place
    for 0 and less: these are drawn at its lower end.
    """
    found = list(values)
    most = max(2, int(abs(end - start) / tick))
    if log is None:
        log = wide(found)
    if log:
        ticks = _log_ticks([value for value in found if value > 0] or [1.0], most)
    else:
        ticks = _linear_ticks([*found, 0.0] if zero or not found else found, most)
    return Scale(ticks[0], ticks[-1], start, end, log, ticks)


def wide(values: Iterable[float]) -> bool:
    """Say whether these want a logarithmic axis."""
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) / min(positive) > SPREAD


def _linear_ticks(values: list[float], most: int) -> tuple[float, ...]:
    low, high = min(values), max(values)
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    step = _round_up(span / most)
    first, last = math.floor(low / step + 1e-9), math.ceil((low + span) / step - 1e-9)
    return tuple(_exact(number * step) for number in range(first, last + 1))


def _log_ticks(values: list[float], most: int) -> tuple[float, ...]:
    """1, 2, 5 of each decade, or its 1 alone, or every other decade: as many as there is room."""
    low, high = min(values), max(values)
    for steps in [FINE] * (high / low < SHORT) + [(1, 2, 5), (1, 3), (1,)]:
        ticks = _enclosing(low, high, steps)
        if len(ticks) - 1 <= most:
            return ticks
    return (*ticks[: -1 : math.ceil(len(ticks) / most)], ticks[-1])


def _enclosing(low: float, high: float, steps: tuple[float, ...]) -> tuple[float, ...]:
    """The ticks of all decades around the values, cut to the last below and the first above."""
    decades = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2)
    ticks = [_exact(step * 10.0**decade) for decade in decades for step in steps]
    below = max(place for place, tick in enumerate(ticks) if tick <= low)
    above = min(place for place, tick in enumerate(ticks) if tick >= high)
    if below == above:
        below, above = below - 1, above + 1
    return tuple(ticks[below : above + 1])


def _round_up(step: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 … that is not below `step`."""
    decade = 10.0 ** math.floor(math.log10(step))
    return next(_exact(n * decade) for n in (1, 2, 5, 10) if n * decade >= step * (1 - 1e-9))


def _exact(value: float) -> float:
    """Free 0.30000000000000004 of its tail."""
    return float(f"{value:.9g}")


def short(value: float) -> str:
    """Write a tick in little room: 20k, 1M."""
    for size, sign in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if abs(value) >= 10_000 and abs(value) >= size:
            return number(value / size) + sign
    return number(value)


def number(value: float) -> str:
    """Write three digits that matter, and all that stand before the point: 0.123, 4.5, 1,235."""
    if value and not 1e-5 <= abs(value) < 1e12:
        return f"{value:.2e}"
    # Rounded first: 99.96 is 100, and has no digit after the point.
    digits = 2 - math.floor(math.log10(float(f"{abs(value):.3g}"))) if value else 0
    text = f"{value:,.{min(max(digits, 0), 8)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
