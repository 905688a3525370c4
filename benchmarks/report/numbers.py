"""Numbers as text: three significant digits, and intervals."""

import math

from benchmarks.method.results import Estimate


def format_number(value: float) -> str:
    """Format with three significant digits, and all digits before the point: 0.123, 1,235."""
    if value and not 1e-5 <= abs(value) < 1e12:
        return f"{value:.2e}"
    # Round first: 99.96 becomes 100, which has no digit after the point.
    digits = 2 - math.floor(math.log10(float(f"{abs(value):.3g}"))) if value else 0
    text = f"{value:,.{min(max(digits, 0), 8)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def format_value(estimate: Estimate) -> str:
    """Format a value without its interval: ≥ 1.2."""
    return ("≥ " if estimate.at_least else "") + format_number(estimate.value)


def format_interval(estimate: Estimate) -> str:
    """Format an interval, (1.1–1.4), or nothing if it is unknown."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"({format_number(estimate.low)}–{format_number(estimate.high)})"


def format_estimate(estimate: Estimate) -> str:
    """Format a value with its interval: 1.2 (1.1–1.4)."""
    return f"{format_value(estimate)} {format_interval(estimate)}".rstrip()
