"""Which plots answer which question: one function per benchmark, from a result to drawings.

Each is a table of what stands on which axis; how it is drawn is in plots.py.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.method.results import TRANSPORTS, Factor, Result, ResultCell
from benchmarks.report.axes import number
from benchmarks.report.html import Markup
from benchmarks.report.i18n import Words
from benchmarks.report.plots import (
    Board,
    Chart,
    Dot,
    Mark,
    Panel,
    Row,
    Series,
    board,
    chart,
    evenly,
)


@dataclass(frozen=True)
class Figure:
    """A plot, the name of its file, and a sentence on how to read it."""

    name: str
    caption: str
    drawing: Markup


def figures(result: Result, words: Words) -> list[Figure]:
    """Return the plots of a result that have something to show; an unknown benchmark has none."""
    make = PLOTS.get(result.benchmark)
    return [figure for figure in make(result, words) if figure] if make else []


def _latency(result: Result, words: Words) -> Iterable[Figure | None]:
    for group in _groups(result, "network", "rate"):
        series = [
            Series(str(name), _look(name), curve=evenly(cell.ecdf), theory=evenly(cell.theory_ecdf))
            for name, cell in _by(result, "transport", group)
            if cell.ecdf or cell.theory_ecdf
        ]
        data = Chart(
            words.say("plot.ecdf", where=_where(group, words)),
            words.say("read.ecdf"),
            words.say("axis.ms"),
            words.say("axis.share"),
            series,
            log_y=False,
            y_values=(0, 1),
            percent=True,
        )
        yield _chart("-".join(["ecdf", *_telling(result, group)]), data, words)
    panels = [
        _panel(result, words, group, ("p50", "p99"), "axis.ms", bars=False)
        for group in _groups(result, "network", "rate")
    ]
    legend = [words.say("measure.p50"), words.say("measure.p99")]
    yield _board("percentiles", "percentiles", panels, words, legend)


def _poll_gap(result: Result, words: Words) -> Iterable[Figure | None]:
    for measure in ("at_once", "mean"):
        series = [
            _against_rate(result, words, group, measure, look)
            for look, group in enumerate(_groups(result, "network", "connection"))
        ]
        share = measure == "at_once"
        data = Chart(
            words.say(f"plot.poll_gap.{measure}"),
            words.say(f"read.poll_gap.{measure}"),
            words.say("axis.rate"),
            words.say(f"axis.{measure}"),
            series,
            log_x=True,
            log_y=False if share else None,
            y_values=(0, 1) if share else (),
            percent=share,
        )
        yield _chart(measure.replace("_", "-"), data, words)


def _against_rate(
    result: Result, words: Words, group: Mapping[str, Factor], measure: str, look: int
) -> Series:
    cells = [(_float(name), cell) for name, cell in _by(result, "rate", group)]
    return Series(
        _where(group, words),
        look,
        dots=[Dot(x, cell.summary[measure]) for x, cell in cells if measure in cell.summary],
        theory=[(x, cell.theory[measure]) for x, cell in cells if measure in cell.theory],
    )


def _overhead(result: Result, words: Words) -> Iterable[Figure | None]:
    groups = _groups(result, "size", "rate")
    panels = [
        _panel(result, words, group, ("bytes_down", "bytes_up"), "axis.bytes_per_message")
        for group in groups
    ]
    legend = [words.say("measure.bytes_down"), words.say("measure.bytes_up")]
    yield _board("bytes", "overhead", panels, words, legend)


def _idle_cost(result: Result, words: Words) -> Iterable[Figure | None]:
    asked = [
        (("bytes_down", "bytes_up"), "axis.bytes_per_minute"),
        (("requests",), "axis.requests_per_minute"),
        (("cpu_ms",), "axis.cpu_per_minute"),
        (("memory_kib",), "axis.kib"),
    ]
    panels = [
        replace(_panel(result, words, {}, measures, unit), title=words.say(f"panel.{measures[-1]}"))
        for measures, unit in asked
    ]
    legend = [words.say("measure.bytes_down"), words.say("measure.bytes_up")]
    yield _board("cost", "idle_cost", panels, words, legend, shared=False)


def _fanout(result: Result, words: Words) -> Iterable[Figure | None]:
    both = [
        cell.summary[name].value
        for cell in result.cells
        for name in ("first_ms", "last_ms")
        if name in cell.summary
    ]
    # The first and the last on axes of the same length, so that the eye can compare them.
    for measure, axis, values in [
        ("first_ms", "axis.ms", both),
        ("last_ms", "axis.ms", both),
        ("cpu_us", "axis.us_per_delivery", []),
    ]:
        data = Chart(
            words.say(f"plot.{measure}"),
            words.say(f"read.{measure}"),
            words.say("axis.followers"),
            words.say(axis),
            _against(result, "followers", measure),
            log_x=True,
            log_y=True,
            y_values=values,
        )
        yield _chart(measure.replace("_", "-"), data, words)


def _capacity(result: Result, words: Words) -> Iterable[Figure | None]:
    names = sorted(result.capacity, key=_place)
    rows = [Row(name, _look(name), [Mark(result.capacity[name])]) for name in names]
    panel = Panel("", words.say("axis.clients"), rows)
    yield _board("clients", "capacity", [panel], words)
    bound = result.bound_ms
    data = Chart(
        words.say("plot.capacity.p99"),
        words.say("read.capacity.p99"),
        words.say("axis.clients"),
        words.say("axis.p99"),
        _against(result, "clients", "p99"),
        log_x=True,
        level=None if bound is None else (words.say("bound", ms=number(bound)), bound),
    )
    yield _chart("p99", data, words)


def _slow_reader(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = [
        replace(_panel(result, words, {}, (measure,), unit), title=words.say(f"panel.{measure}"))
        for measure, unit in [
            ("server_kib", "axis.kib"),
            ("kernel_kib", "axis.kib"),
            ("others_p99", "axis.ms"),
            ("closed_s", "axis.s"),
        ]
    ]
    yield _board("cost", "slow_reader", panels, words, shared=False)


def _recovery(result: Result, words: Words) -> Iterable[Figure | None]:
    measures = ("p50", "p99", "max")
    panels = [
        _panel(result, words, group, measures, "axis.ms", bars=False)
        for group in _groups(result, "network")
    ]
    legend = [words.say(f"measure.{measure}") for measure in measures]
    yield _board("time", "recovery", panels, words, legend)


def _session(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = [
        _panel(result, words, group, ("arrival_ms",), "axis.ms", factor="way")
        for group in _groups(result, "network")
    ]
    yield _board("time", "session", panels, words)


def _sticky(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = [
        _panel(result, words, group, ("held", "busiest"), "axis.percent", factor="way")
        for group in _groups(result, "routing", "people")
    ]
    yield _board("held", "sticky", panels, words)


def _publish(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = _titled(
        result,
        words,
        [
            (("per_second",), "unit.1/s", "panel.per_second"),
            (("message_us",), "unit.µs", "panel.cpu_message"),
            (("ack_p50", "ack_p99"), "axis.ms", "panel.ack"),
        ],
        factor="via",
    )
    yield _board("cost", "publish", panels, words, shared=False)


def _burst(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = _titled(
        result,
        words,
        [
            (("cpu_us",), "unit.µs", "panel.cpu_us"),
            (("per_push",), "axis.messages", "panel.per_push"),
            (("spread_ms",), "axis.ms", "panel.spread_ms"),
            (("health_p99", "poll_p99"), "axis.ms", "panel.others"),
        ],
    )
    yield _board("cost", "burst", panels, words, shared=False)


def _fanout_cost(result: Result, words: Words) -> Iterable[Figure | None]:
    ours = [
        _line(result.pick(transport=name, processes=1), "followers", "cpu_us", name, words)
        for name in result.levels("transport")
    ]
    yield _grown("cpu", words, "fanout_cost", "followers", "us_per_delivery", ours, log=True)
    # The cells of one process that have as many followers as those of several.
    several = [cell for cell in result.ordered if _float(cell.factors.get("processes", 0)) > 1]
    alike = {cell.factors.get("followers") for cell in several}
    cells = [cell for cell in result.ordered if cell.factors.get("followers") in alike]
    processes = [
        _line([c for c in cells if measure in c.summary], "processes", measure, look, words)
        for look, measure in enumerate(("publish_us", "hear_us"))
    ]
    yield _grown(
        "processes", words, "fanout_cost.processes", "processes", "us_per_message", processes
    )


def _line(
    cells: Sequence[ResultCell], factor: str, measure: str, name: Factor, words: Words
) -> Series:
    """One measure of these cells against a factor; named by a transport, or by the measure."""
    found = [cell for cell in cells if factor in cell.factors and measure in cell.summary]
    dots = [Dot(_float(cell.factors[factor]), cell.summary[measure]) for cell in found]
    if isinstance(name, str):
        return Series(words.level("transport", name), _look(name), dots)
    return Series(words.say(f"measure.{measure}"), int(name), dots)


def _grown(
    name: str,
    words: Words,
    key: str,
    x: str,
    y: str,
    series: Sequence[Series],
    log: bool = False,
) -> Figure | None:
    data = Chart(
        words.say(f"plot.{key}"),
        words.say(f"read.{key}"),
        words.say(f"axis.{x}"),
        words.say(f"axis.{y}"),
        series,
        log_x=log,
        log_y=log,
        y_values=() if log else (0,),
    )
    return _chart(name, data, words)


def _c10k(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = _titled(
        result,
        words,
        [
            (("memory_kib",), "axis.kib", "panel.memory_kib"),
            (("p99", "last_ms"), "axis.ms", "panel.reached"),
            (("health_p99", "poll_p99"), "axis.ms", "panel.others"),
        ],
    )
    yield _board("cost", "c10k", panels, words, shared=False)


def _multi_worker(result: Result, words: Words) -> Iterable[Figure | None]:
    readers = max((_float(one) for one in result.levels("readers")), default=0.0)
    cells = result.pick(readers=readers)
    told = [_line(cells, "workers", "deliveries", "websocket", words)]
    yield _grown("delivered", words, "multi_worker", "workers", "deliveries", told)
    costs = [
        _line(cells, "workers", measure, look, words)
        for look, measure in enumerate(("workers_us", "redis_us"))
    ]
    yield _grown("cost", words, "multi_worker.costs", "workers", "us_per_message", costs)


def _titled(
    result: Result,
    words: Words,
    asked: Iterable[tuple[Sequence[str], str, str]],
    factor: str = "transport",
) -> list[Panel]:
    """A panel for each group of measures, with its unit and its title."""
    return [
        replace(_panel(result, words, {}, measures, unit, factor=factor), title=words.say(title))
        for measures, unit, title in asked
    ]


def _peers(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = [
        panel
        for load in result.levels("load") or [""]
        for measure in ("p50", "p99", "cpu_us", "memory_kib", "poll_us")
        if (panel := _ratios(result, words, measure, load)).rows
    ]
    yield _board("ratios", "peers", panels, words)


def _ratios(result: Result, words: Words, measure: str, load: Factor) -> Panel:
    """One measure of all peers under one load, which is the end of their names in the file."""
    end = f", {load}" if load else ""
    rows = [
        Row(peer, _peer_look(peer), [Mark(ratios[measure])])
        for name, ratios in result.ratios.items()
        if measure in ratios and name.endswith(end)
        for peer in [name.removesuffix(end)]
    ]
    told = [words.say(f"panel.{measure}"), *([words.level("load", load)] if load else [])]
    unit = words.say("axis.ratio", peer=result.against)
    return Panel(words.say("and").join(told), unit, rows, bars=False, ratio=True)


def _cost_breakdown(result: Result, words: Words) -> Iterable[Figure | None]:
    panels = [
        _panel(result, words, group, ("cpu_us",), "unit.µs", factor="step")
        for group in _groups(result, "path")
    ]
    yield _board("cpu", "cost_breakdown", panels, words, shared=False)


PLOTS: Mapping[str, Callable[[Result, Words], Iterable[Figure | None]]] = {
    "latency": _latency,
    "poll_gap": _poll_gap,
    "overhead": _overhead,
    "idle_cost": _idle_cost,
    "fanout": _fanout,
    "capacity": _capacity,
    "slow_reader": _slow_reader,
    "recovery": _recovery,
    "session": _session,
    "sticky": _sticky,
    "publish": _publish,
    "burst": _burst,
    "fanout_cost": _fanout_cost,
    "c10k": _c10k,
    "multi_worker": _multi_worker,
    "cost_breakdown": _cost_breakdown,
    "peers": _peers,
}


def _chart(name: str, data: Chart, words: Words) -> Figure | None:
    if not any(series.dots or series.curve or series.theory for series in data.series):
        return None
    data = replace(data, theory=words.say("theory"))
    return Figure(name, data.about, chart(data))


def _board(
    name: str,
    key: str,
    panels: Sequence[Panel],
    words: Words,
    legend: Sequence[str] = (),
    shared: bool = True,
) -> Figure | None:
    if not any(panel.rows for panel in panels):
        return None
    title, about = words.say(f"plot.{key}"), words.say(f"read.{key}")
    data = Board(title, about, panels, legend, 1 if shared else 2, shared, words.say("theory"))
    return Figure(name, about, board(data))


def _panel(
    result: Result,
    words: Words,
    group: Mapping[str, Factor],
    measures: Sequence[str],
    unit: str,
    bars: bool = True,
    factor: str = "transport",
) -> Panel:
    """A row per transport, and in it a mark per measure."""
    rows = [
        Row(
            words.level(factor, name),
            _look(name),
            [_mark(cell, m, shape) for shape, m in enumerate(measures)],
        )
        for name, cell in _by(result, factor, group)
    ]
    return Panel(_where(group, words), words.say(unit), rows, bars)


def _mark(cell: ResultCell, measure: str, shape: int) -> Mark:
    return Mark(cell.summary.get(measure), cell.theory.get(measure), shape)


def _against(result: Result, factor: str, measure: str) -> list[Series]:
    """One series per transport: a measure against a factor that is a number."""
    found = []
    for name in result.levels("transport"):
        cells = [(_float(x), cell) for x, cell in _by(result, factor, {"transport": name})]
        dots = [Dot(x, cell.summary[measure]) for x, cell in cells if measure in cell.summary]
        theory = [(x, cell.theory[measure]) for x, cell in cells if measure in cell.theory]
        found.append(Series(str(name), _look(name), dots, theory=theory))
    return found


def _groups(result: Result, *factors: str) -> list[dict[str, Factor]]:
    """The combinations of these factors that have cells; a factor that no cell has is left out."""
    found: dict[tuple[tuple[str, Factor], ...], None] = {}
    for cell in result.ordered:
        found.setdefault(tuple((f, cell.factors[f]) for f in factors if f in cell.factors))
    orders = {factor: result.levels(factor) for factor in factors}
    return sorted(map(dict, found), key=lambda g: [orders[f].index(g[f]) for f in g])


def _by(
    result: Result, factor: str, group: Mapping[str, Factor]
) -> Iterable[tuple[Factor, ResultCell]]:
    """The cells of a group, each with its level of `factor`."""
    for cell in result.pick(**group):
        if factor in cell.factors:
            yield cell.factors[factor], cell


def _where(group: Mapping[str, Factor], words: Words) -> str:
    return words.say("and").join(words.level(factor, level) for factor, level in group.items())


def _telling(result: Result, group: Mapping[str, Factor]) -> list[str]:
    """The levels that tell this group from others: a single rate need not be named."""
    several = {factor: len(result.levels(factor)) > 1 for factor in group}
    return [str(level) for factor, level in group.items() if several[factor] or factor == "network"]


def _look(name: Factor) -> int | None:
    return TRANSPORTS.index(name) if isinstance(name, str) and name in TRANSPORTS else None


def _peer_look(peer: str) -> int | None:
    """Our own ways have their colours among the peers: "realtime sse" is sse."""
    house, _, name = peer.partition(" ")
    return _look(name) if house == "realtime" else None


def _place(name: str) -> int:
    return TRANSPORTS.index(name) if name in TRANSPORTS else len(TRANSPORTS)


def _float(level: Factor) -> float:
    """A factor as a place on an axis: 10 is 10, and so is "10/s"; what is no number is 0."""
    if not isinstance(level, str):
        return level
    digits = level.removesuffix("/s")
    return float(digits) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", digits) else 0.0
