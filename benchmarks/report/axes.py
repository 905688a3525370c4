"""Axes: map values to positions in the drawing, place ticks at 1, 2, 5, and format numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# If max/min is larger than this, the small values are not visible on a linear axis.
SPREAD = 30.0
# A logarithmic axis over a smaller factor than this needs more ticks than 1, 2, 5.
SHORT = 3.0
FINE = (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
# The width that one tick with its number needs, in units of the drawing.
TICK = 62.0


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, drawn from `start` to `end`; both ends are ticks."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the position of `value`; values outside the axis are drawn at the nearer end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def make_axis(
    values: Iterable[float],
    start: float,
    end: float,
    log: bool | None = None,
    zero: bool = False,
    tick: float = TICK,
) -> Axis:
    """Make an axis that includes all `values`; with `log` None their spread decides.

    A linear axis starts at 0 if `zero` is set, as bars need.  A logarithmic axis draws values of
    0 and less at its lower end.
    """
    found = list(values)
    max_ticks = max(2, int(abs(end - start) / tick))
    if log is None:
        log = needs_log(found)
    if log:
        ticks = _log_ticks([value for value in found if value > 0] or [1.0], max_ticks)
    else:
        ticks = _linear_ticks([*found, 0.0] if zero or not found else found, max_ticks)
    return Axis(ticks[0], ticks[-1], start, end, log, ticks)


def needs_log(values: Iterable[float]) -> bool:
    """Return whether these values need a logarithmic axis."""
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) / min(positive) > SPREAD


def _linear_ticks(values: list[float], max_ticks: int) -> tuple[float, ...]:
    low, high = min(values), max(values)
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    step = _round_up(span / max_ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil((low + span) / step - 1e-9)
    return tuple(_exact(number * step) for number in range(first, last + 1))


def _log_ticks(values: list[float], max_ticks: int) -> tuple[float, ...]:
    """Return 1, 2, 5 of each decade, or fewer: 1 and 3, 1 only, every nth decade."""
    low, high = min(values), max(values)
    for steps in [FINE] * (high / low < SHORT) + [(1, 2, 5), (1, 3), (1,)]:
        ticks = _enclosing(low, high, steps)
        if len(ticks) - 1 <= max_ticks:
            return ticks
    return (*ticks[: -1 : math.ceil(len(ticks) / max_ticks)], ticks[-1])


def _enclosing(low: float, high: float, steps: tuple[float, ...]) -> tuple[float, ...]:
    """Return the ticks of all decades from the last below `low` to the first above `high`."""
    decades = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2)
    ticks = [_exact(step * 10.0**decade) for decade in decades for step in steps]
    below = max(index for index, tick in enumerate(ticks) if tick <= low)
    above = min(index for index, tick in enumerate(ticks) if tick >= high)
    if below == above:
        below, above = below - 1, above + 1
    return tuple(ticks[below : above + 1])


def _round_up(step: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 … that is not below `step`."""
    decade = 10.0 ** math.floor(math.log10(step))
    return next(_exact(n * decade) for n in (1, 2, 5, 10) if n * decade >= step * (1 - 1e-9))


def _exact(value: float) -> float:
    """Round away binary noise: 0.30000000000000004 becomes 0.3."""
    return float(f"{value:.9g}")


def format_tick(value: float) -> str:
    """Format the number of a tick in little space: 20k, 1M."""
    for size, sign in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if abs(value) >= 10_000 and abs(value) >= size:
            return format_number(value / size) + sign
    return format_number(value)


def format_number(value: float) -> str:
    """Format with three significant digits, and all digits before the point: 0.123, 1,235."""
    if value and not 1e-5 <= abs(value) < 1e12:
        return f"{value:.2e}"
    # Round first: 99.96 becomes 100, which has no digit after the point.
    digits = 2 - math.floor(math.log10(float(f"{abs(value):.3g}"))) if value else 0
    text = f"{value:,.{min(max(digits, 0), 8)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
