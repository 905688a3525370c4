"""The result of one measurement, and the summary of many.  Pure: no clock, no I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.method import stats
from benchmarks.method.audit import Audit
from benchmarks.method.stats import Interval

Factors = dict[str, Any]
# Counts in a result file that must all be zero, or the measurement cannot be trusted.
FAULTS = ("lost", "doubled", "misplaced", "disagreeing", "unacknowledged", "miscounted")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured quantity of a cell: its unit, and a label for tables."""

    unit: str
    label: str


@dataclass
class Sample:
    """The result of one run of one cell.

    `latencies` (ms) are kept where percentiles are computed from them.  `late` and `max_poll_gap`
    (seconds) are delays of the load generator itself, not of the server.
    """

    measures: dict[str, float | None]
    latencies: list[float] = field(default_factory=list)
    audit: Audit | None = None
    unacknowledged: int = 0  # requests without a response
    refused: int = 0  # with 503: an overloaded server may refuse, and the message is not lost
    broken: int = 0
    miscounted: int = 0  # byte or message counts that should be equal and are not
    late: list[float] = field(default_factory=list)
    max_poll_gap: float = 0.0


@dataclass
class Cell:
    """One combination of factors, and its sample from each run."""

    factors: Factors
    samples: list[Sample] = field(default_factory=list)


PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
LATENCY_MEASURES = {
    "p50": Measure("ms", "half of the messages arrived within"),
    "p90": Measure("ms", "9 of 10 arrived within"),
    "p99": Measure("ms", "99 of 100 arrived within"),
    "max": Measure("ms", "all arrived within"),
}


def percentiles(latencies: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(latencies)
    return {
        name: stats.percentile(ordered, percent) if ordered else None
        for name, percent in PERCENTILES.items()
    }


def summarise(samples: Sequence[Sample], name: str, seed: int) -> Interval | None:
    """Return the median over runs; for a percentile, that of all messages of all runs together.

    The slowest message in a thousand occurs in one run only; a median over runs would drop it.
    """
    latencies = [sample.latencies for sample in samples if sample.latencies]
    if name in PERCENTILES and latencies:
        return stats.bootstrap_percentile(latencies, PERCENTILES[name], seed)
    values = [value for sample in samples if (value := sample.measures.get(name)) is not None]
    return stats.bootstrap(values, seed) if values else None


def ratios_by_run(cell: Cell, base: Cell, name: str) -> list[float]:
    """Divide one cell by another, run by run: within a run both had the same machine load."""
    pairs = (
        (one.measures.get(name), other.measures.get(name))
        for one, other in zip(cell.samples, base.samples, strict=False)
    )
    return [one / other for one, other in pairs if one is not None and other]


def interval_json(found: Interval | None) -> dict[str, float | None] | None:
    """Convert an interval to the format of result files."""
    if found is None:
        return None
    return {
        "value": short(found.value),
        "low": short(found.low),
        "high": short(found.high),
    }


def short(value: float | None) -> float | None:
    """Round to five significant digits; no measurement here is more precise."""
    return None if value is None else float(f"{value:.5g}")


def correctness(samples: Sequence[Sample]) -> dict[str, int]:
    """Count messages, deliveries and every kind of fault, under the names of the result file."""
    counts: Counter[str] = Counter()
    for sample in samples:
        counts["unacknowledged"] += sample.unacknowledged
        counts["refused"] += sample.refused
        counts["broken"] += sample.broken
        counts["miscounted"] += sample.miscounted
        if (audit := sample.audit) is not None:
            counts["acknowledged"] += audit.acknowledged
            counts["deliveries"] += audit.acknowledged * audit.readers
            counts["gaps"] += sum(audit.gaps.values())
            counts["disagreeing"] += len(audit.conflicting)
            counts["lost"] += _count_ids(audit.lost)
            counts["doubled"] += _count_ids(audit.duplicated)
            counts["misplaced"] += _count_ids(audit.reordered)
    return dict(counts)


def _count_ids(by_reader: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, by_reader.values()))


def generator(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Return the delays of the load generator itself, in ms."""
    late = sorted(1000 * seconds for sample in samples for seconds in sample.late)
    return {
        "late_p99_ms": short(stats.percentile(late, 99)) if late else None,
        "late_max_ms": short(late[-1]) if late else None,
        "deaf_max_ms": short(1000 * max((sample.max_poll_gap for sample in samples), default=0.0)),
    }


def trusted(correctness: Mapping[str, Any]) -> bool:
    return not any(correctness.get(name) for name in FAULTS)
