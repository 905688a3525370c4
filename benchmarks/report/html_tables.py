"""The tables of a report: every measured figure, its interval, and what theory says beside it."""

from collections.abc import Iterable

from benchmarks.method.results import TRANSPORTS, BudgetLimit, Estimate, Factor, Result, ResultCell
from benchmarks.method.thresholds import Threshold
from benchmarks.report.axes import number
from benchmarks.report.html import Markup, join, tag
from benchmarks.report.i18n import Words
from benchmarks.report.page import table, way
from benchmarks.report.plots import written


def cells(result: Result, words: Words) -> Markup:
    """Return the table of all cells, or a sentence that says that there are none."""
    if not result.cells:
        return tag("p", words.say("empty"))
    head = tag("tr", *_factor_heads(result.factors, words), *_measure_heads(result, words))
    rows = [_row(cell, result, words) for cell in result.ordered]
    return table(head, rows, words.say("figures"))


def capacity(result: Result, words: Words) -> Markup:
    """Return the table of the capacities, or nothing for a result without."""
    if not result.capacity:
        return Markup()
    names = [words.say("factor.transport"), words.say("measure.capacity")]
    rows = [
        tag("tr", tag("th", named(name, "transport", words), scope="row"), value(estimate))
        for name, estimate in result.capacity.items()
    ]
    heading = tag("h3", words.say("capacity.heading"))
    return join(heading, table(_heads(names, words), rows, words.say("capacity.heading")))


def ratios(result: Result, words: Words) -> Markup:
    """Return how many times as much each peer needs, or nothing for a result without."""
    if not result.ratios:
        return Markup()
    measures = list(dict.fromkeys(name for found in result.ratios.values() for name in found))
    titles = [measure_name(result, name, words) for name in measures]
    rows = [
        tag("tr", tag("th", peer, scope="row"), *(value(found.get(name)) for name in measures))
        for peer, found in result.ratios.items()
    ]
    heading = words.say("ratios.heading", peer=result.against)
    whose = "peer" if "peer" in result.factors else next(iter(result.factors), "peer")
    head = _heads([factor_name(whose, words), *titles], words)
    return join(tag("h3", heading), table(head, rows, heading))


def budget(result: Result, words: Words) -> Markup:
    """Return the limits of a result with what was measured, or nothing for a result without."""
    if not result.budget:
        return Markup()
    keys = ("against", "measured", "most", "verdict")
    names = [factor_name("load", words), factor_name("peer", words)]
    names += [words.say("measure"), *(words.say(f"budget.{key}") for key in keys)]
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    rows = [_limit(limit, result, words) for limit in result.budget]
    heading = words.say("budget.heading")
    about = tag("p", words.say("budget.about"))
    return join(tag("h3", heading), about, table(head, rows, heading))


def _limit(limit: BudgetLimit, result: Result, words: Words) -> Markup:
    verdict = {True: "good", False: "bad", None: "unknown"}[limit.holds]
    texts = [limit.peer, measure_name(result, limit.measure, words), limit.against or "–"]
    return tag(
        "tr",
        tag("th", words.level("load", limit.load), scope="row"),
        *(tag("td", text) for text in texts),
        value(limit.measured),
        tag("td", number(limit.most), class_="number"),
        tag("td", words.say(f"budget.{verdict}"), class_=verdict),
    )


def thresholds(result: Result, words: Words) -> Markup:
    """Return what is promised and whether it holds, or nothing for a result without promises."""
    if not result.thresholds:
        return Markup()
    names = [words.say(f"bounds.{key}") for key in ("promise", "measured", "bound", "verdict")]
    head = _heads(names, words)
    rows = [_threshold(one, words) for one in result.thresholds]
    heading = words.say("bounds.heading")
    return join(tag("h3", heading), table(head, rows, heading))


def _threshold(one: Threshold, words: Words) -> Markup:
    its = words.name(f"unit.{one.unit}", one.unit)
    limit = f"{one.sign} {number(one.bound)} {its}".strip()
    verdict = words.say("bounds.holds" if one.holds else "bounds.broken")
    name = words.name(f"bound.{one.name}", one.name)
    return tag(
        "tr",
        tag("th", words.say("and").join(filter(None, (name, one.of))), scope="row"),
        value(None if one.value is None else Estimate(one.value)),
        tag("td", limit, class_="number"),
        tag("td", verdict, class_="number good" if one.holds else "number bad"),
    )


def measure_name(result: Result, measure: str, words: Words) -> str:
    """Return the name of a measure: ours, else the one in the file."""
    known = result.measures.get(measure)
    return words.name(f"measure.{measure}", (known.label if known else "") or measure)


def unit(result: Result, measure: str, words: Words) -> str:
    known = result.measures.get(measure)
    return words.name(f"unit.{known.unit}", known.unit) if known else ""


def factor_name(factor: str, words: Words) -> str:
    return words.name(f"factor.{factor}", factor)


def named(level: Factor, factor: str, words: Words) -> str:
    """Return a level of a factor as a cell shows it; a transport has its colour."""
    if isinstance(level, str):
        return way(level) if level in TRANSPORTS else words.level(factor, level)
    return number(level)


def value(estimate: Estimate | None) -> Markup:
    """Return a table cell: the value, and its interval a little paler."""
    if estimate is None:
        return tag("td", "–", class_="number")
    first, space, interval = written(estimate).rpartition(" (")
    if not space:
        return tag("td", interval, class_="number")
    paler = tag("span", f" ({interval}", class_="interval")
    return tag("td", tag("strong", first), paler, class_="number")


def disagreement(measured: Estimate | None, theory: float | None) -> str:
    """Return by how much the measured value is above (+) or below the predicted one."""
    if measured is None or not theory:
        return "–"
    percent = (measured.value - theory) / abs(theory) * 100
    return f"{'+' if percent > 0 else ''}{number(round(percent, 1))} %"


def _measure_heads(result: Result, words: Words) -> Iterable[Markup]:
    for measure in result.measures:
        name, its = measure_name(result, measure, words), unit(result, measure, words)
        title = name if its in name else name + words.say("and") + its
        yield tag("th", title, scope="col", class_="number")
        if _predicted(result, measure):
            yield tag("th", words.say("theory"), scope="col", class_="number predicted")


def _predicted(result: Result, measure: str) -> bool:
    return any(measure in cell.theory for cell in result.cells)


def _row(cell: ResultCell, result: Result, words: Words) -> Markup:
    levels = [
        tag("th", named(cell.factors.get(factor, "–"), factor, words), scope="row")
        for factor in result.factors
    ]
    return tag("tr", *levels, *_values(cell, result))


def _values(cell: ResultCell, result: Result) -> Iterable[Markup]:
    for measure in result.measures:
        measured, theory = cell.summary.get(measure), cell.theory.get(measure)
        yield value(measured)
        if _predicted(result, measure):
            yield _prediction(measured, theory)


def _prediction(measured: Estimate | None, theory: float | None) -> Markup:
    """What theory says, and below it by how much the measured value is above or below."""
    if theory is None:
        return tag("td", "–", class_="number predicted")
    differs = tag("span", disagreement(measured, theory), class_="interval")
    return tag("td", number(theory), differs, class_="number predicted")


def _factor_heads(factors: Iterable[str], words: Words) -> list[Markup]:
    return [tag("th", factor_name(factor, words), scope="col") for factor in factors]


def _heads(names: Iterable[str], words: Words) -> Markup:
    first, *others = names
    return tag(
        "tr",
        tag("th", first, scope="col"),
        *(tag("th", name, scope="col", class_="number") for name in others),
    )
