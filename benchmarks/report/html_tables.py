"""The tables of a report: each measured value, its interval, and what theory predicts."""

from collections.abc import Iterable

from benchmarks.method.results import TRANSPORTS, BudgetRow, Estimate, Factor, Result, ResultCell
from benchmarks.method.thresholds import Threshold
from benchmarks.report.axes import format_number
from benchmarks.report.html import Markup, join, tag
from benchmarks.report.i18n import Translations
from benchmarks.report.page import table, transport_label
from benchmarks.report.plots import format_estimate


def cells(result: Result, i18n: Translations) -> Markup:
    """Return the table of all cells, or a sentence if there are none."""
    if not result.cells:
        return tag("p", i18n.t("empty"))
    head = tag("tr", *_factor_heads(result.factors, i18n), *_measure_heads(result, i18n))
    rows = [_row(cell, result, i18n) for cell in result.ordered]
    return table(head, rows, i18n.t("figures"))


def capacity(result: Result, i18n: Translations) -> Markup:
    """Return the table of the capacities, or nothing for a result without any."""
    if not result.capacity:
        return Markup()
    names = [i18n.t("factor.transport"), i18n.t("measure.capacity")]
    rows = [
        tag(
            "tr",
            tag("th", level_label(name, "transport", i18n), scope="row"),
            estimate_cell(estimate),
        )
        for name, estimate in result.capacity.items()
    ]
    heading = tag("h3", i18n.t("capacity.heading"))
    return join(heading, table(_heads(names, i18n), rows, i18n.t("capacity.heading")))


def ratios(result: Result, i18n: Translations) -> Markup:
    """Return the table of ratios to the reference system, or nothing for a result without any."""
    if not result.ratios:
        return Markup()
    measures = list(dict.fromkeys(name for found in result.ratios.values() for name in found))
    titles = [measure_name(result, name, i18n) for name in measures]
    rows = [
        tag(
            "tr",
            tag("th", peer, scope="row"),
            *(estimate_cell(found.get(name)) for name in measures),
        )
        for peer, found in result.ratios.items()
    ]
    heading = i18n.t("ratios.heading", peer=result.against)
    subject = "peer" if "peer" in result.factors else next(iter(result.factors), "peer")
    head = _heads([factor_name(subject, i18n), *titles], i18n)
    return join(tag("h3", heading), table(head, rows, heading))


def budget(result: Result, i18n: Translations) -> Markup:
    """Return the budget with the measured ratios, or nothing for a result without one."""
    if not result.budget:
        return Markup()
    keys = ("against", "measured", "most", "verdict")
    names = [factor_name("load", i18n), factor_name("peer", i18n)]
    names += [i18n.t("measure"), *(i18n.t(f"budget.{key}") for key in keys)]
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    rows = [_limit(limit, result, i18n) for limit in result.budget]
    heading = i18n.t("budget.heading")
    about = tag("p", i18n.t("budget.about"))
    return join(tag("h3", heading), about, table(head, rows, heading))


def _limit(limit: BudgetRow, result: Result, i18n: Translations) -> Markup:
    verdict = {True: "good", False: "bad", None: "unknown"}[limit.holds]
    texts = [limit.peer, measure_name(result, limit.measure, i18n), limit.against or "–"]
    return tag(
        "tr",
        tag("th", i18n.level("load", limit.load), scope="row"),
        *(tag("td", text) for text in texts),
        estimate_cell(limit.measured),
        tag("td", format_number(limit.most), class_="number"),
        tag("td", i18n.t(f"budget.{verdict}"), class_=verdict),
    )


def thresholds(result: Result, i18n: Translations) -> Markup:
    """Return the thresholds and whether they hold, or nothing for a result without any."""
    if not result.thresholds:
        return Markup()
    names = [i18n.t(f"bounds.{key}") for key in ("promise", "measured", "bound", "verdict")]
    head = _heads(names, i18n)
    rows = [_threshold(one, i18n) for one in result.thresholds]
    heading = i18n.t("bounds.heading")
    return join(tag("h3", heading), table(head, rows, heading))


def _threshold(one: Threshold, i18n: Translations) -> Markup:
    unit = i18n.name(f"unit.{one.unit}", one.unit)
    limit = f"{one.sign} {format_number(one.bound)} {unit}".strip()
    verdict = i18n.t("bounds.holds" if one.holds else "bounds.broken")
    name = i18n.name(f"bound.{one.name}", one.name)
    return tag(
        "tr",
        tag("th", i18n.t("and").join(filter(None, (name, one.of))), scope="row"),
        estimate_cell(None if one.value is None else Estimate(one.value)),
        tag("td", limit, class_="number"),
        tag("td", verdict, class_="number good" if one.holds else "number bad"),
    )


def measure_name(result: Result, measure: str, i18n: Translations) -> str:
    """Return the translated name of a measure, or else the label in the file."""
    known = result.measures.get(measure)
    return i18n.name(f"measure.{measure}", (known.label if known else "") or measure)


def unit(result: Result, measure: str, i18n: Translations) -> str:
    known = result.measures.get(measure)
    return i18n.name(f"unit.{known.unit}", known.unit) if known else ""


def factor_name(factor: str, i18n: Translations) -> str:
    return i18n.name(f"factor.{factor}", factor)


def level_label(level: Factor, factor: str, i18n: Translations) -> str:
    """Return a level of a factor for a table cell; a transport gets its colour."""
    if isinstance(level, str):
        return transport_label(level) if level in TRANSPORTS else i18n.level(factor, level)
    return format_number(level)


def estimate_cell(estimate: Estimate | None) -> Markup:
    """Return a table cell: the value, and its interval in a paler colour."""
    if estimate is None:
        return tag("td", "–", class_="number")
    first, space, interval = format_estimate(estimate).rpartition(" (")
    if not space:
        return tag("td", interval, class_="number")
    paler = tag("span", f" ({interval}", class_="interval")
    return tag("td", tag("strong", first), paler, class_="number")


def difference_from_theory(measured: Estimate | None, theory: float | None) -> str:
    """Return how far the measured value is above (+) or below the predicted one."""
    if measured is None or not theory:
        return "–"
    percent = (measured.value - theory) / abs(theory) * 100
    return f"{'+' if percent > 0 else ''}{format_number(round(percent, 1))} %"


def _measure_heads(result: Result, i18n: Translations) -> Iterable[Markup]:
    for measure in result.measures:
        name, unit_name = measure_name(result, measure, i18n), unit(result, measure, i18n)
        title = name if unit_name in name else name + i18n.t("and") + unit_name
        yield tag("th", title, scope="col", class_="number")
        if _predicted(result, measure):
            yield tag("th", i18n.t("theory"), scope="col", class_="number predicted")


def _predicted(result: Result, measure: str) -> bool:
    return any(measure in cell.theory for cell in result.cells)


def _row(cell: ResultCell, result: Result, i18n: Translations) -> Markup:
    levels = [
        tag("th", level_label(cell.factors.get(factor, "–"), factor, i18n), scope="row")
        for factor in result.factors
    ]
    return tag("tr", *levels, *_values(cell, result))


def _values(cell: ResultCell, result: Result) -> Iterable[Markup]:
    for measure in result.measures:
        measured, theory = cell.summary.get(measure), cell.theory.get(measure)
        yield estimate_cell(measured)
        if _predicted(result, measure):
            yield _prediction(measured, theory)


def _prediction(measured: Estimate | None, theory: float | None) -> Markup:
    """Return the theoretical value, and the difference of the measured one in a second line."""
    if theory is None:
        return tag("td", "–", class_="number predicted")
    differs = tag("span", difference_from_theory(measured, theory), class_="interval")
    return tag("td", format_number(theory), differs, class_="number predicted")


def _factor_heads(factors: Iterable[str], i18n: Translations) -> list[Markup]:
    return [tag("th", factor_name(factor, i18n), scope="col") for factor in factors]


def _heads(names: Iterable[str], i18n: Translations) -> Markup:
    first, *others = names
    return tag(
        "tr",
        tag("th", first, scope="col"),
        *(tag("th", name, scope="col", class_="number") for name in others),
    )
