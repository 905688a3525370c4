"""The tables of a report as data: each measured value, its interval, and what theory predicts.

templates/table.html shows them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks.method.results import TRANSPORTS, BudgetRow, Estimate, Factor, Result, ResultCell
from benchmarks.method.thresholds import Threshold
from benchmarks.report.i18n import Translations
from benchmarks.report.numbers import format_interval, format_number, format_value


@dataclass(frozen=True)
class TableCell:
    """A cell: its text, a paler text beside it, and its look (CSS classes)."""

    text: str
    paler: str = ""
    look: str = ""
    is_head: bool = False
    transport: str = ""


@dataclass(frozen=True)
class Table:
    """A table and its heading."""

    heading: str
    heads: Sequence[TableCell]
    rows: Sequence[Sequence[TableCell]]
    about: str = ""


def all_tables(result: Result, i18n: Translations) -> list[Table]:
    """Return the tables of a result that are not empty."""
    found = (cells, thresholds, capacity, budget, ratios)
    return [table for make in found if (table := make(result, i18n)) and table.rows]


def cells(result: Result, i18n: Translations) -> Table:
    """Return the table of all cells."""
    heads = [head(factor_name(factor, i18n)) for factor in result.factors]
    rows = [[*_levels(cell, result, i18n), *_values(cell, result)] for cell in result.ordered]
    return Table(i18n.t("figures"), [*heads, *_measure_heads(result, i18n)], rows)


def capacity(result: Result, i18n: Translations) -> Table:
    """Return the table of the capacities."""
    heads = _heads([i18n.t("factor.transport"), i18n.t("measure.capacity")])
    rows = [
        [level_cell(name, "transport", i18n), estimate_cell(estimate)]
        for name, estimate in result.capacity.items()
    ]
    return Table(i18n.t("capacity.heading"), heads, rows)


def ratios(result: Result, i18n: Translations) -> Table:
    """Return the table of ratios to the reference system."""
    measures = list(dict.fromkeys(name for found in result.ratios.values() for name in found))
    rows = [
        [head(peer), *(estimate_cell(found.get(name)) for name in measures)]
        for peer, found in result.ratios.items()
    ]
    subject = "peer" if "peer" in result.factors else next(iter(result.factors), "peer")
    titles = [measure_name(result, name, i18n) for name in measures]
    heads = _heads([factor_name(subject, i18n), *titles])
    return Table(i18n.t("ratios.heading", peer=result.against), heads, rows)


def budget(result: Result, i18n: Translations) -> Table:
    """Return the budget with the measured ratios."""
    keys = ("against", "measured", "most", "verdict")
    names = [factor_name("load", i18n), factor_name("peer", i18n)]
    names += [i18n.t("measure"), *(i18n.t(f"budget.{key}") for key in keys)]
    rows = [_limit(limit, result, i18n) for limit in result.budget]
    heads = [head(name) for name in names]
    return Table(i18n.t("budget.heading"), heads, rows, i18n.t("budget.about"))


def _limit(limit: BudgetRow, result: Result, i18n: Translations) -> list[TableCell]:
    texts = [limit.peer, measure_name(result, limit.measure, i18n), limit.against or "–"]
    return [
        head(i18n.level("load", limit.load)),
        *map(TableCell, texts),
        estimate_cell(limit.measured),
        number(format_number(limit.most)),
        verdict_cell(limit.holds, limit.measured is not None, result, i18n),
    ]


def thresholds(result: Result, i18n: Translations) -> Table:
    """Return the thresholds and whether they hold."""
    names = [i18n.t(f"bounds.{key}") for key in ("promise", "measured", "bound", "verdict")]
    rows = [_threshold(one, result, i18n) for one in result.thresholds]
    return Table(i18n.t("bounds.heading"), _heads(names), rows)


def _threshold(one: Threshold, result: Result, i18n: Translations) -> list[TableCell]:
    unit = i18n.name(f"unit.{one.unit}", one.unit)
    name = i18n.name(f"bound.{one.name}", one.name)
    measured = one.value is not None
    verdict = verdict_cell(one.holds if measured else None, measured, result, i18n)
    return [
        head(i18n.t("and").join(filter(None, (name, one.of)))),
        estimate_cell(Estimate(one.value) if one.value is not None else None),
        number(f"{one.sign} {format_number(one.bound)} {unit}".strip()),
        replace(verdict, look=f"number {verdict.look}"),
    ]


def verdict_cell(
    holds: bool | None, measured: bool, result: Result, i18n: Translations
) -> TableCell:
    """Return whether a limit holds; a run that is too short cannot judge it."""
    if holds is None or not measured:
        return TableCell(i18n.t("verdict.unknown"), look="unknown")
    if not result.judges_limits:
        return TableCell(i18n.t("verdict.not_judged"), look="unknown")
    look = "good" if holds else "bad"
    return TableCell(i18n.t(f"verdict.{look}"), look=look)


def measure_name(result: Result, measure: str, i18n: Translations) -> str:
    """Return the translated name of a measure, or else the label in the file."""
    known = result.measures.get(measure)
    return i18n.name(f"measure.{measure}", (known.label if known else "") or measure)


def unit(result: Result, measure: str, i18n: Translations) -> str:
    known = result.measures.get(measure)
    return i18n.name(f"unit.{known.unit}", known.unit) if known else ""


def factor_name(factor: str, i18n: Translations) -> str:
    return i18n.name(f"factor.{factor}", factor)


def head(text: str, look: str = "") -> TableCell:
    return TableCell(text, look=look, is_head=True)


def number(text: str) -> TableCell:
    return TableCell(text, look="number")


def level_cell(level: Factor, factor: str, i18n: Translations) -> TableCell:
    """Return a level of a factor; a transport gets its name and its colour."""
    if isinstance(level, str) and level in TRANSPORTS:
        return TableCell(i18n.t(f"name.{level}"), is_head=True, transport=level)
    text = i18n.level(factor, level) if isinstance(level, str) else format_number(level)
    return head(text)


def estimate_cell(estimate: Estimate | None) -> TableCell:
    """Return the value, and its interval in a paler colour."""
    if estimate is None:
        return number("–")
    return TableCell(format_value(estimate), format_interval(estimate), look="number value")


def difference_from_theory(measured: Estimate | None, theory: float | None) -> str:
    """Return how far the measured value is above (+) or below the predicted one."""
    if measured is None or not theory:
        return "–"
    percent = (measured.value - theory) / abs(theory) * 100
    return f"{'+' if percent > 0 else ''}{format_number(round(percent, 1))} %"


def _measure_heads(result: Result, i18n: Translations) -> Iterable[TableCell]:
    for measure in result.measures:
        name, unit_name = measure_name(result, measure, i18n), unit(result, measure, i18n)
        title = name if unit_name in name else name + i18n.t("and") + unit_name
        yield head(title, "number")
        if _predicted(result, measure):
            yield head(i18n.t("theory"), "number predicted")


def _predicted(result: Result, measure: str) -> bool:
    return any(measure in cell.theory for cell in result.cells)


def _levels(cell: ResultCell, result: Result, i18n: Translations) -> list[TableCell]:
    factors = result.factors
    return [level_cell(cell.factors.get(factor, "–"), factor, i18n) for factor in factors]


def _values(cell: ResultCell, result: Result) -> Iterable[TableCell]:
    for measure in result.measures:
        measured, theory = cell.summary.get(measure), cell.theory.get(measure)
        yield estimate_cell(measured)
        if _predicted(result, measure):
            yield _prediction(measured, theory)


def _prediction(measured: Estimate | None, theory: float | None) -> TableCell:
    """Return the theoretical value, and the difference of the measured one in a second line."""
    if theory is None:
        return TableCell("–", look="number predicted")
    differs = difference_from_theory(measured, theory)
    return TableCell(format_number(theory), differs, look="number predicted")


def _heads(names: Iterable[str]) -> list[TableCell]:
    first, *others = names
    return [head(first), *(head(name, "number") for name in others)]
