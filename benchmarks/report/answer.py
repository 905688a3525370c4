"""The answer of a report, "which transport, when": a row per transport, a column per question.

Each cell has the measured value, and whether it is among the best or the worst; a cell without a
value has the script that measures it.  Pure: results go in, a table comes out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from benchmarks.method.results import TRANSPORTS, Estimate, Factor, Result, ResultCell
from benchmarks.report.charts import Bar, bar_chart
from benchmarks.report.figures import Figure, style_of
from benchmarks.report.i18n import Translations
from benchmarks.report.numbers import format_number
from realtime.netem.conditions import NetworkConditions

# Values are among the best if they differ from the best one by at most this share of it, or by this
# share of the distance to the worst one: 24 and 32 bytes per minute are equal beside 45,000.
NEAR, NEAR_OF_RANGE = 0.1, 0.03
# What passes a proxy by is no answer to a question about one: UDP needs a way past it.
PAST_PROXIES = "webtransport"
ABOUT_PROXIES = ("buffered", "sticky")
# With fewer questions that are measured for all, the page recommends nothing.
MIN_QUESTIONS = 3

Values = Mapping[str, Estimate]


@dataclass(frozen=True)
class Question:
    """A column: where its values come from."""

    key: str
    script: str
    measure: Callable[[Result], tuple[Values, str]]  # the values, and under which condition


@dataclass(frozen=True)
class Column:
    """A question with its values, each of which may be among the best or the worst."""

    key: str
    script: str
    condition: str
    values: Values
    marks: Mapping[str, str]  # transport: best or worst


def answer(results: Sequence[Result]) -> list[Column]:
    """Return all columns; one without a result has no values."""
    newest = {one.benchmark: one for one in sorted(results, key=lambda one: one.started)}
    return [_column(question, newest.get(question.script)) for question in QUESTIONS]


def _column(question: Question, result: Result | None) -> Column:
    values, condition = question.measure(result) if result and result.cells else ({}, "")
    values = {
        name: values[name]
        for name in TRANSPORTS
        if name in values and not goes_past(question.key, name)
    }
    more_is_better = question.key == "sticky"
    marks = find_marks(values, more_is_better)
    return Column(question.key, question.script, condition, values, marks)


def goes_past(key: str, transport: str) -> bool:
    """Return whether a question is about a proxy that this transport does not go through."""
    return key in ABOUT_PROXIES and transport == PAST_PROXIES


def find_marks(values: Values, more_is_better: bool = False) -> dict[str, str]:
    """Return which of these values are among the best, and which among the worst.

    If the best and the worst are equal, or most are worst, these marks would say nothing.
    """
    if len(values) < 2:
        return {}
    ends = min(values.values(), key=_value), max(values.values(), key=_value)
    best, worst = reversed(ends) if more_is_better else ends
    distance = abs(worst.value - best.value)
    good = {name for name, one in values.items() if _equal(one, best, distance)}
    bad = {name for name, one in values.items() if _equal(one, worst, distance)}
    if good & bad:
        return {}
    bad = bad if len(bad) <= len(values) / 2 else set()
    return dict.fromkeys(good, "best") | dict.fromkeys(bad, "worst")


def _value(estimate: Estimate) -> float:
    return estimate.value


def _equal(one: Estimate, other: Estimate, distance: float) -> bool:
    difference = abs(one.value - other.value)
    near = difference <= max(NEAR * abs(other.value), NEAR_OF_RANGE * distance)
    return near or (_low(one) <= _high(other) and _low(other) <= _high(one))


def _low(one: Estimate) -> float:
    return one.value if one.low is None else one.low


def _high(one: Estimate) -> float:
    return one.value if one.high is None else one.high


# --- what each question measures -----------------------------------------------------------------


def _delay(result: Result) -> tuple[Values, str]:
    return _through(result, _networks(result, buffered=False))


def _buffered(result: Result) -> tuple[Values, str]:
    return _through(result, _networks(result, buffered=True))


def _through(result: Result, networks: Sequence[Factor]) -> tuple[Values, str]:
    """Return p50 through the slowest of these networks, at the lowest rate."""
    if not networks:
        return {}, ""
    slowest = max(networks, key=lambda one: _conditions(one).mean_rtt)
    cells = _lowest(result.pick(network=slowest), "rate")
    return _measured(cells, "p50"), str(slowest)


def _networks(result: Result, buffered: bool) -> list[Factor]:
    found = result.levels("network")
    return [one for one in found if (_conditions(one).buffer is not None) == buffered]


def _conditions(network: Factor) -> NetworkConditions:
    """Parse a network of a result file, which may be any text."""
    try:
        return NetworkConditions.parse(str(network))
    except ValueError:
        return NetworkConditions()


def _bytes(result: Result) -> tuple[Values, str]:
    cells = _lowest(_lowest(result.ordered, "size"), "rate")
    sizes = [cell.factors["size"] for cell in cells if "size" in cell.factors]
    return _sums(cells, ("bytes_down", "bytes_up")), str(next(iter(sizes), ""))


def _idle(result: Result) -> tuple[Values, str]:
    return _sums(result.ordered, ("bytes_down", "bytes_up")), ""


def _memory(result: Result) -> tuple[Values, str]:
    return _measured(result.ordered, "memory_kib"), ""


def _cpu(result: Result) -> tuple[Values, str]:
    most = [one for one in result.levels("followers") if not isinstance(one, str)][-1:]
    cells = [cell for cell in result.ordered if cell.factors.get("followers") in most]
    return _measured(cells, "cpu_us"), format_number(most[0]) if most else ""


def _recovery(result: Result) -> tuple[Values, str]:
    return _through(result, result.levels("network"))


def _sticky(result: Result) -> tuple[Values, str]:
    """Return the share of visits that work without sticky routing, in the worse of two cases."""
    cells = [cell for cell in result.pick(routing="any") if "held" in cell.summary]
    found: dict[str, Estimate] = {}
    for cell in cells:
        name, held = str(cell.factors.get("way")), cell.summary["held"]
        found[name] = min(found.get(name, held), held, key=_value)
    return found, ""


QUESTIONS = (
    Question("delay", "latency", _delay),
    Question("bytes", "overhead", _bytes),
    Question("idle", "idle_cost", _idle),
    Question("cpu", "fanout", _cpu),
    Question("memory", "idle_cost", _memory),
    Question("buffered", "latency", _buffered),
    Question("recovery", "recovery", _recovery),
    Question("sticky", "sticky", _sticky),
)


def _lowest(cells: Sequence[ResultCell], factor: str) -> list[ResultCell]:
    """Return the cells with the lowest level of a numeric factor; all, if none has it."""
    levels = [cell.factors.get(factor) for cell in cells]
    numbers = [level for level in levels if isinstance(level, int | float)]
    return [one for one in cells if not numbers or one.factors.get(factor) == min(numbers)]


def _measured(cells: Iterable[ResultCell], measure: str) -> dict[str, Estimate]:
    return {
        str(cell.factors.get("transport")): cell.summary[measure]
        for cell in cells
        if measure in cell.summary
    }


def _sums(cells: Iterable[ResultCell], measures: Sequence[str]) -> dict[str, Estimate]:
    """Return the sums of some measures; the intervals are added, which is rather too wide."""
    return {
        str(cell.factors.get("transport")): reduce(_add, (cell.summary[m] for m in measures))
        for cell in cells
        if all(measure in cell.summary for measure in measures)
    }


def _add(a: Estimate, b: Estimate) -> Estimate:
    return Estimate(a.value + b.value, _low(a) + _low(b), _high(a) + _high(b))


# --- what follows --------------------------------------------------------------------------------


def conclusions(columns: Sequence[Column], i18n: Translations) -> list[str]:
    """Return the sentences that follow from the table, the most important one first."""
    asked = [column for column in columns if column.marks]
    if len(asked) < MIN_QUESTIONS:
        return [i18n.t("answer.too_little")]
    sentences = _recommendation(asked, i18n), _objection(asked, i18n)
    about = {"buffered": _behind_a_proxy, "sticky": _with_several_workers}
    others = [about[column.key](column, i18n) for column in asked if column.key in about]
    return [sentence for sentence in (*sentences, *others) if sentence]


def _recommendation(asked: Sequence[Column], i18n: Translations) -> str:
    """Name the transports that are the worst least often and, of these, the best most often."""
    best, worst = _counts(asked, "best"), _counts(asked, "worst")
    measured = [name for name in TRANSPORTS if any(name in one.marks for one in asked)]
    scores = {name: (-worst[name], best[name]) for name in measured}
    first = max(scores.values())
    names = [name for name, score in scores.items() if score == first]
    counts = {"worst": str(-first[0]), "best": str(first[1]), "of": str(len(asked))}
    key = "answer.take" if first[0] == 0 else "answer.take_still"
    sentence = i18n.t(key, names=_names(names, i18n, "list.or"), **counts)
    return sentence if len(names) == 1 else f"{sentence} {i18n.t('answer.between')}"


def _objection(asked: Sequence[Column], i18n: Translations) -> str:
    """Name the transport that is the worst most often, if it is so more than once."""
    worst = _counts(asked, "worst")
    name = max(TRANSPORTS, key=lambda name: worst[name])
    keys = [column.key for column in asked if column.marks.get(name) == "worst"]
    if len(keys) < 2:
        return ""
    what = i18n.t("and").join(i18n.t(f"answer.{key}") for key in keys)
    return i18n.t("answer.avoid", name=i18n.t(f"name.{name}"), what=what)


def _behind_a_proxy(column: Column, i18n: Translations) -> str:
    names = [name for name in TRANSPORTS if column.marks.get(name) == "best"]
    return i18n.t("answer.proxy", names=_names(names, i18n, "list.or"))


def _with_several_workers(column: Column, i18n: Translations) -> str:
    names = [name for name, one in column.values.items() if one.value < 100]
    return i18n.t("answer.needs_sticky", names=_names(names, i18n)) if names else ""


def price_of_webtransport(results: Iterable[Result], i18n: Translations) -> list[str]:
    """Return a sentence that compares it with a WebSocket over TLS: QUIC always encrypts."""
    sentences = []
    for result in results:
        cells = {cell.factors.get("way"): cell.summary for cell in result.cells}
        one, other = cells.get("webtransport", {}), cells.get("websocket, TLS", {})
        asked = [m for m in ("cpu_us", "memory_kib") if m in one and m in other and other[m].value]
        if len(asked) == 2:
            cpu, memory = (
                format_number(float(f"{one[m].value / other[m].value:.2g}")) for m in asked
            )
            sentences.append(i18n.t("answer.webtransport", cpu=cpu, memory=memory))
    return sentences[:1]


def column_text(column: Column, transport: str, i18n: Translations) -> str:
    """Return the text of a cell: its value, or whether the transport needs sticky routing."""
    value = column.values[transport].value
    if column.key != "sticky":
        return format_number(float(f"{value:.3g}"))
    return i18n.t("answer.no" if value >= 100 else "answer.yes", percent=format_number(value))


def _counts(columns: Iterable[Column], mark: str) -> dict[str, int]:
    marks = [column.marks for column in columns]
    return {name: sum(found.get(name) == mark for found in marks) for name in TRANSPORTS}


def _names(names: Sequence[str], i18n: Translations, last: str = "list") -> str:
    """Return the names of transports as a list, with another separator before the last one."""
    texts = [i18n.t(f"name.{name}") for name in names]
    return i18n.t(last).join(filter(None, (i18n.t("list").join(texts[:-1]), *texts[-1:])))


# --- a chart per question ------------------------------------------------------------------------


def charts(columns: Sequence[Column], i18n: Translations) -> list[Figure]:
    """Return a chart for each question that has values."""
    return [_chart(column, i18n) for column in columns if column.values]


def _chart(column: Column, i18n: Translations) -> Figure:
    bars = [
        Bar(i18n.t(f"name.{name}"), estimate, style_of(name))
        for name, estimate in column.values.items()
    ]
    title, about = i18n.t(f"answer.{column.key}"), condition(column, i18n)
    unit = i18n.t("axis.works" if column.key == "sticky" else f"answer.{column.key}.unit")
    return Figure(column.key, about, bar_chart(title, about, unit, bars))


def condition(column: Column, i18n: Translations) -> str:
    """Return under which condition a column was measured, in a few words."""
    return i18n.t(f"answer.{column.key}.how", what=column.condition or "–")
