"""What one measurement gives, and what many of them give together.  Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.method import stats
from benchmarks.method.audit import Audit
from benchmarks.method.stats import Interval

Factors = dict[str, Any]
# What must be zero for the figures to be true.
FAULTS = ("lost", "doubled", "misplaced", "disagreeing", "unacknowledged", "miscounted")


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a cell."""

    unit: str
    label: str


@dataclass
class Sample:
    """What one run of one cell gave.

    `latencies` (ms) are kept whole where percentiles are made of them; `late` and `deaf` (seconds)
    are the generator's own faults.
    """

    measures: dict[str, float | None]
    latencies: list[float] = field(default_factory=list)
    audit: Audit | None = None
    unacknowledged: int = 0  # without any answer
    refused: int = 0  # with a 503: whoever is overloaded may say no, and nothing is lost
    broken: int = 0
    miscounted: int = 0  # counts of bytes that should be equal and are not
    late: list[float] = field(default_factory=list)
    deaf: float = 0.0


@dataclass
class Cell:
    factors: Factors
    samples: list[Sample] = field(default_factory=list)


PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
LATENCY_MEASURES = {
    "p50": Measure("ms", "half of the messages had come after"),
    "p90": Measure("ms", "nine of ten had come after"),
    "p99": Measure("ms", "99 of 100 had come after"),
    "max": Measure("ms", "the last of all came after"),
}


def percentiles(latencies: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(latencies)
    return {
        name: stats.percentile(ordered, percent) if ordered else None
        for name, percent in PERCENTILES.items()
    }


def summarise(samples: Sequence[Sample], name: str, seed: int) -> Interval | None:
    """The median over runs; but a percentile is that of all messages of all runs.

    The one message in a thousand that took long came in one run; a median would forget it.
    """
    latencies = [sample.latencies for sample in samples if sample.latencies]
    if name in PERCENTILES and latencies:
        return stats.bootstrap_percentile(latencies, PERCENTILES[name], seed)
    values = [value for sample in samples if (value := sample.measures.get(name)) is not None]
    return stats.bootstrap(values, seed) if values else None


def quotients(cell: Cell, base: Cell, name: str) -> list[float]:
    """Divide one cell by another, run by run: both were measured within it, and share its luck."""
    pairs = (
        (one.measures.get(name), other.measures.get(name))
        for one, other in zip(cell.samples, base.samples, strict=False)
    )
    return [one / other for one, other in pairs if one is not None and other]


def interval(found: Interval | None) -> dict[str, float | None] | None:
    """Write an interval as result files have it."""
    if found is None:
        return None
    return {
        "value": short(found.value),
        "low": short(found.low),
        "high": short(found.high),
    }


def short(value: float | None) -> float | None:
    """Keep five digits: nobody measured more."""
    return None if value is None else float(f"{value:.5g}")


def correctness(samples: Sequence[Sample]) -> dict[str, int]:
    """Count what was said and heard, and every fault."""
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
            counts["disagreeing"] += len(audit.disagreeing)
            for name in ("lost", "doubled", "misplaced"):
                counts[name] += sum(map(len, getattr(audit, name).values()))
    return dict(counts)


def generator(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Say how late the load generator was itself, in ms."""
    late = sorted(1000 * seconds for sample in samples for seconds in sample.late)
    return {
        "late_p99_ms": short(stats.percentile(late, 99)) if late else None,
        "late_max_ms": short(late[-1]) if late else None,
        "deaf_max_ms": short(1000 * max((sample.deaf for sample in samples), default=0.0)),
    }


def trusted(correctness: Mapping[str, Any]) -> bool:
    return not any(correctness.get(name) for name in FAULTS)
