"""Compare two sets of results, cell by cell: what differs, by how much, and whether it matters.

Pure: results go in, a list of comparisons comes out.  Each ratio has an interval, from a bootstrap
over the runs of both.  Verdicts are careful: only intervals that do not overlap count as a
difference; values from few runs, or from different machines, get no verdict.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.method.results import BENCHMARKS, BudgetRow, Estimate, Factor, Result, ResultCell
from benchmarks.method.samples import FAULTS
from benchmarks.method.stats import MIN_RUNS, ratio

# Of these measures more is better; of all others, less.
MORE_IS_BETTER = {
    *("at_once", "capacity", "deliveries", "held", "opened", "per_push", "per_second"),
}
# Times and memory depend on these properties of the machine.
MACHINE = ("cpu", "cores")
# These counts do not depend on the machine; times, memory and CPU do.
COUNTED = {"bytes_up", "bytes_down", "requests"}
# Settings that do not change what is measured.
HARMLESS = {"runs", "out", "seed"}
SEED = 1


@dataclass(frozen=True)
class ComparedMeasure:
    """One measure in one cell, in A and in B."""

    factors: Mapping[str, Factor]
    measure: str
    a: Estimate | None
    b: Estimate | None
    ratio: Estimate | None  # B / A
    verdict: str  # same, better, worse, unknown: of B


@dataclass(frozen=True)
class Difference:
    """A setting, version or count that differs: its name and both values."""

    name: str
    a: str
    b: str


@dataclass
class Comparison:
    """One benchmark, as A and B ran it."""

    a: Result
    b: Result
    lines: list[ComparedMeasure]
    missing: list[str]
    correctness: list[Difference] = field(default_factory=list)
    void: list[Difference] = field(default_factory=list)
    notes: list[Difference] = field(default_factory=list)
    another_machine: bool = False
    several: bool = False

    @property
    def judged(self) -> bool:
        """Whether any measure has a verdict."""
        return any(line.verdict != "unknown" for line in self.lines)

    @property
    def new_faults(self) -> list[Difference]:
        """Return the faults that B has more of."""
        faults = self.a.faults, self.b.faults
        return [
            one
            for one in self.correctness
            if faults[1].get(one.name, 0) > faults[0].get(one.name, 0)
        ]

    def regressions(self, tolerance: float) -> list[ComparedMeasure]:
        """Return the measures that are worse in B by more than `tolerance`, a share of A.

        Of a thousand equal measures with five runs, the intervals of some eight are apart by chance
        (all values of one side above all of the other: 2 of 252 orders), mostly by little.
        Counted bytes do not vary by chance.
        """
        return [
            line
            for line in self.lines
            if line.verdict == "worse" and (line.measure in COUNTED or _change(line) > tolerance)
        ]


def compare(a: Sequence[Result], b: Sequence[Result]) -> tuple[list[Comparison], list[str]]:
    """Match results by benchmark; also return the benchmarks that only one side has.

    If one side has several results of a benchmark, the newest one counts.
    """
    ours, theirs = _newest(a), _newest(b)
    both = [kind for kind in ours if kind in theirs]
    found = [_compare(ours[kind], theirs[kind]) for kind in sorted(both, key=_position)]
    kinds = Counter(result.benchmark for result in (*a, *b))
    for one in found:
        one.several = kinds[one.a.benchmark] > 2
    return found, sorted(ours.keys() ^ theirs.keys(), key=_position)


def _newest(results: Iterable[Result]) -> dict[str, Result]:
    return {result.benchmark: result for result in sorted(results, key=lambda r: r.started)}


def _position(kind: str) -> tuple[int, str]:
    return (BENCHMARKS.index(kind) if kind in BENCHMARKS else len(BENCHMARKS)), kind


def _compare(a: Result, b: Result) -> Comparison:
    ours, theirs = _cells(a), _cells(b)
    both = [key for key in ours if key in theirs]
    alone = [
        *(ours[k] for k in ours if k not in both),
        *(theirs[k] for k in theirs if k not in both),
    ]
    machine, settings = _machines(a, b), _settings(a, b)
    lines = [line for key in both for line in _lines(a, ours[key], theirs[key])]
    return Comparison(
        a,
        b,
        [
            replace(line, verdict="unknown")
            if settings or (machine and line.measure not in COUNTED)
            else line
            for line in lines + _capacities(a, b) + _budgets(a, b)
        ],
        [cell_label(cell.factors) for cell in alone],
        correctness=_correctness(a, b),
        void=machine + settings,
        notes=_notes(a, b),
        another_machine=bool(machine),
    )


def cell_label(factors: Mapping[str, Factor]) -> str:
    return " ".join(map(str, factors.values()))


def _cells(result: Result) -> dict[frozenset[tuple[str, Factor]], ResultCell]:
    return {frozenset(cell.factors.items()): cell for cell in result.ordered}


def _lines(a: Result, ours: ResultCell, theirs: ResultCell) -> Iterable[ComparedMeasure]:
    for measure in a.measures:
        before, after = ours.summary.get(measure), theirs.summary.get(measure)
        runs = ours.values(measure), theirs.values(measure)
        judged = min(map(len, runs)) >= MIN_RUNS
        found = verdict(before, after, measure in MORE_IS_BETTER) if judged else "unknown"
        yield ComparedMeasure(ours.factors, measure, before, after, ratio_of_runs(*runs), found)


def _capacities(a: Result, b: Result) -> list[ComparedMeasure]:
    both = [name for name in a.capacity if name in b.capacity]
    return [_capacity(name, a.capacity[name], b.capacity[name]) for name in both]


def _capacity(transport: str, a: Estimate, b: Estimate) -> ComparedMeasure:
    """Compare capacities; "at least" values have no ratio, and two of them no verdict."""
    open_ended = a.at_least or b.at_least
    factor = None if open_ended or a.value <= 0 else Estimate(b.value / a.value)
    found = "unknown" if a.at_least and b.at_least else verdict(a, b, more_is_better=True)
    return ComparedMeasure({"transport": transport}, "capacity", a, b, factor, found)


def _budgets(a: Result, b: Result) -> list[ComparedMeasure]:
    """Compare the ratios of the budget; each was computed within the runs of its own file."""
    cells = (*a.cells, *b.cells)
    judged = all(len(cell.runs) >= MIN_RUNS for cell in cells)
    after = {_budget_key(limit): limit.measured for limit in b.budget}
    return [
        _budget(limit, after[_budget_key(limit)], judged)
        for limit in a.budget
        if limit.against and _budget_key(limit) in after
    ]


def _change(line: ComparedMeasure) -> float:
    """Return by which share of A a measure differs in B; infinite if that has no number."""
    if line.a is None or line.b is None or not line.a.value:
        return math.inf
    return abs(line.b.value / line.a.value - 1)


def _budget_key(limit: BudgetRow) -> tuple[str, str, str, str]:
    return limit.load, limit.measure, limit.peer, limit.against


def _budget(limit: BudgetRow, after: Estimate | None, judged: bool) -> ComparedMeasure:
    factors = {"load": limit.load, "peer": f"{limit.peer} / {limit.against}"}
    before = limit.measured
    factor = Estimate(after.value / before.value) if before and after and before.value > 0 else None
    found = verdict(before, after, more_is_better=False) if judged else "unknown"
    return ComparedMeasure(factors, f"budget.{limit.measure}", before, after, factor, found)


def ratio_of_runs(a: Sequence[float], b: Sequence[float]) -> Estimate | None:
    """Return B / A, with an interval if both have two runs; None if a value is not positive."""
    if not a or not b or min(*a, *b) <= 0:
        return None
    found = ratio(b, a, SEED)
    if min(len(a), len(b)) < 2:
        return Estimate(found.value)
    return Estimate(found.value, found.low, found.high)


def verdict(a: Estimate | None, b: Estimate | None, more_is_better: bool) -> str:
    """Return the verdict on B: same if the intervals overlap, else better or worse."""
    if a is None or b is None or None in (a.low, a.high, b.low, b.high):
        return "unknown"
    if _low(a) <= _high(b) and _low(b) <= _high(a):
        return "same"
    return "better" if (b.value > a.value) == more_is_better else "worse"


def _low(estimate: Estimate) -> float:
    return estimate.value if estimate.low is None else estimate.low


def _high(estimate: Estimate) -> float:
    """Return the upper end; an "at least" value has none."""
    if estimate.at_least:
        return math.inf
    return estimate.value if estimate.high is None else estimate.high


# --- what else differs ---------------------------------------------------------------------------


def _correctness(a: Result, b: Result) -> list[Difference]:
    """Return the faults that either side has, even if both have equally many."""
    return [
        Difference(name, _count(a, name), _count(b, name))
        for name in FAULTS
        if name in a.faults or name in b.faults
    ]


def _count(result: Result, name: str) -> str:
    count = result.correctness.get(name)
    return "–" if count is None else f"{count:g}"


def _machines(a: Result, b: Result) -> list[Difference]:
    """Return the machine properties that make times incomparable."""
    return [one for one in _differences(a.machine, b.machine) if one.name in MACHINE]


def _settings(a: Result, b: Result) -> list[Difference]:
    """Return the settings that make the values incomparable."""
    return [one for one in _differences(a.settings, b.settings) if not _harmless(one)]


def _notes(a: Result, b: Result) -> list[Difference]:
    """Return all other differences; they may or may not explain a verdict."""
    pairs = [
        *_differences({"seed": a.seed}, {"seed": b.seed}),
        *_differences({"realtime": a.realtime}, {"realtime": b.realtime}),
        *_differences({"complete": str(a.complete)}, {"complete": str(b.complete)}),
        *(one for one in _differences(a.machine, b.machine) if one.name not in MACHINE),
        *(one for one in _differences(a.settings, b.settings) if _harmless(one)),
        *_differences(a.versions, b.versions),
        *_differences(a.server, b.server),
    ]
    return list(dict.fromkeys(pairs))


def _harmless(one: Difference) -> bool:
    """Whether a setting does not matter; lists only select cells, and cells are matched."""
    return one.name in HARMLESS or (one.a.startswith("[") and one.b.startswith("["))


def _differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[Difference]:
    names = dict.fromkeys([*a, *b])
    found = [Difference(name, a.get(name) or "–", b.get(name) or "–") for name in names]
    return [one for one in found if one.a != one.b]
