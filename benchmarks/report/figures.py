"""Which plots a report shows for each benchmark: one function per benchmark.

Each function selects the values and their axes; plots.py draws them.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.method.results import TRANSPORTS, Factor, Result, ResultCell
from benchmarks.report.axes import format_number
from benchmarks.report.html import Markup
from benchmarks.report.i18n import Translations
from benchmarks.report.plots import (
    BarChart,
    Dot,
    LineChart,
    Mark,
    Panel,
    Row,
    Series,
    draw_bar_chart,
    draw_line_chart,
    interpolate,
)


@dataclass(frozen=True)
class Figure:
    """A plot, its file name, and a sentence on how to read it."""

    name: str
    caption: str
    drawing: Markup


def figures(result: Result, i18n: Translations) -> list[Figure]:
    """Return the plots of a result that have data; an unknown benchmark has no plots."""
    make = PLOTS.get(result.benchmark)
    return [figure for figure in make(result, i18n) if figure] if make else []


def _latency(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    for group in _groups(result, "network", "rate"):
        series = [
            Series(
                str(name),
                _style(name),
                curve=interpolate(cell.ecdf),
                theory=interpolate(cell.theory_ecdf),
            )
            for name, cell in _by(result, "transport", group)
            if cell.ecdf or cell.theory_ecdf
        ]
        data = LineChart(
            i18n.t("plot.ecdf", where=_describe_group(group, i18n)),
            i18n.t("read.ecdf"),
            i18n.t("axis.ms"),
            i18n.t("axis.share"),
            series,
            log_y=False,
            y_values=(0, 1),
            percent=True,
        )
        yield _line_figure("-".join(["ecdf", *_distinguishing_levels(result, group)]), data, i18n)
    panels = [
        _panel(result, i18n, group, ("p50", "p99"), "axis.ms", bars=False)
        for group in _groups(result, "network", "rate")
    ]
    legend = [i18n.t("measure.p50"), i18n.t("measure.p99")]
    yield _bar_figure("percentiles", "percentiles", panels, i18n, legend)


def _poll_gap(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    for measure in ("at_once", "mean"):
        series = [
            _rate_series(result, i18n, group, measure, style)
            for style, group in enumerate(_groups(result, "network", "connection"))
        ]
        share = measure == "at_once"
        data = LineChart(
            i18n.t(f"plot.poll_gap.{measure}"),
            i18n.t(f"read.poll_gap.{measure}"),
            i18n.t("axis.rate"),
            i18n.t(f"axis.{measure}"),
            series,
            log_x=True,
            log_y=False if share else None,
            y_values=(0, 1) if share else (),
            percent=share,
        )
        yield _line_figure(measure.replace("_", "-"), data, i18n)


def _rate_series(
    result: Result, i18n: Translations, group: Mapping[str, Factor], measure: str, style: int
) -> Series:
    cells = [(_float(name), cell) for name, cell in _by(result, "rate", group)]
    return Series(
        _describe_group(group, i18n),
        style,
        dots=[Dot(x, cell.summary[measure]) for x, cell in cells if measure in cell.summary],
        theory=[(x, cell.theory[measure]) for x, cell in cells if measure in cell.theory],
    )


def _overhead(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    groups = _groups(result, "size", "rate")
    panels = [
        _panel(result, i18n, group, ("bytes_down", "bytes_up"), "axis.bytes_per_message")
        for group in groups
    ]
    legend = [i18n.t("measure.bytes_down"), i18n.t("measure.bytes_up")]
    yield _bar_figure("bytes", "overhead", panels, i18n, legend)


def _idle_cost(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        (("bytes_down", "bytes_up"), "axis.bytes_per_minute"),
        (("requests",), "axis.requests_per_minute"),
        (("cpu_ms",), "axis.cpu_per_minute"),
        (("memory_kib",), "axis.kib"),
    ]
    panels = [
        replace(_panel(result, i18n, {}, measures, unit), title=i18n.t(f"panel.{measures[-1]}"))
        for measures, unit in asked
    ]
    legend = [i18n.t("measure.bytes_down"), i18n.t("measure.bytes_up")]
    yield _bar_figure("cost", "idle_cost", panels, i18n, legend, shared=False)


def _fanout(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    both = [
        cell.summary[name].value
        for cell in result.cells
        for name in ("first_ms", "last_ms")
        if name in cell.summary
    ]
    # The first and the last share one y axis, so readers can compare the two plots.
    for measure, axis, values in [
        ("first_ms", "axis.ms", both),
        ("last_ms", "axis.ms", both),
        ("cpu_us", "axis.us_per_delivery", []),
    ]:
        data = LineChart(
            i18n.t(f"plot.{measure}"),
            i18n.t(f"read.{measure}"),
            i18n.t("axis.followers"),
            i18n.t(axis),
            _transport_series(result, "followers", measure),
            log_x=True,
            log_y=True,
            y_values=values,
        )
        yield _line_figure(measure.replace("_", "-"), data, i18n)


def _capacity(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    names = sorted(result.capacity, key=_position)
    rows = [Row(name, _style(name), [Mark(result.capacity[name])]) for name in names]
    panel = Panel("", i18n.t("axis.clients"), rows)
    yield _bar_figure("clients", "capacity", [panel], i18n)
    bound = result.bound_ms
    data = LineChart(
        i18n.t("plot.capacity.p99"),
        i18n.t("read.capacity.p99"),
        i18n.t("axis.clients"),
        i18n.t("axis.p99"),
        _transport_series(result, "clients", "p99"),
        log_x=True,
        level=None if bound is None else (i18n.t("bound", ms=format_number(bound)), bound),
    )
    yield _line_figure("p99", data, i18n)


def _slow_reader(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        replace(_panel(result, i18n, {}, (measure,), unit), title=i18n.t(f"panel.{measure}"))
        for measure, unit in [
            ("server_kib", "axis.kib"),
            ("kernel_kib", "axis.kib"),
            ("others_p99", "axis.ms"),
            ("closed_s", "axis.s"),
        ]
    ]
    yield _bar_figure("cost", "slow_reader", panels, i18n, shared=False)


def _recovery(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    measures = ("p50", "p99", "max")
    panels = [
        _panel(result, i18n, group, measures, "axis.ms", bars=False)
        for group in _groups(result, "network")
    ]
    legend = [i18n.t(f"measure.{measure}") for measure in measures]
    yield _bar_figure("time", "recovery", panels, i18n, legend)


def _session(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _panel(result, i18n, group, ("arrival_ms",), "axis.ms", factor="way")
        for group in _groups(result, "network")
    ]
    yield _bar_figure("time", "session", panels, i18n)


def _sticky(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _panel(result, i18n, group, ("held", "busiest"), "axis.percent", factor="way")
        for group in _groups(result, "routing", "people")
    ]
    yield _bar_figure("held", "sticky", panels, i18n)


def _publish(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = _titled_panels(
        result,
        i18n,
        [
            (("per_second",), "unit.1/s", "panel.per_second"),
            (("message_us",), "unit.µs", "panel.cpu_message"),
            (("ack_p50", "ack_p99"), "axis.ms", "panel.ack"),
        ],
        factor="via",
    )
    yield _bar_figure("cost", "publish", panels, i18n, shared=False)


def _burst(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = _titled_panels(
        result,
        i18n,
        [
            (("cpu_us",), "unit.µs", "panel.cpu_us"),
            (("per_push",), "axis.messages", "panel.per_push"),
            (("spread_ms",), "axis.ms", "panel.spread_ms"),
            (("health_p99", "poll_p99"), "axis.ms", "panel.others"),
        ],
    )
    yield _bar_figure("cost", "burst", panels, i18n, shared=False)


def _fanout_cost(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    ours = [
        _series(result.pick(transport=name, processes=1), "followers", "cpu_us", name, i18n)
        for name in result.levels("transport")
    ]
    yield _factor_figure("cpu", i18n, "fanout_cost", "followers", "us_per_delivery", ours, log=True)
    # Compare with those cells of one process that have the same number of followers.
    several = [cell for cell in result.ordered if _float(cell.factors.get("processes", 0)) > 1]
    alike = {cell.factors.get("followers") for cell in several}
    cells = [cell for cell in result.ordered if cell.factors.get("followers") in alike]
    processes = [
        _series([c for c in cells if measure in c.summary], "processes", measure, style, i18n)
        for style, measure in enumerate(("publish_us", "hear_us"))
    ]
    yield _factor_figure(
        "processes", i18n, "fanout_cost.processes", "processes", "us_per_message", processes
    )


def _series(
    cells: Sequence[ResultCell], factor: str, measure: str, name: Factor, i18n: Translations
) -> Series:
    """Return one measure against a factor; the label is a transport or the measure itself."""
    found = [cell for cell in cells if factor in cell.factors and measure in cell.summary]
    dots = [Dot(_float(cell.factors[factor]), cell.summary[measure]) for cell in found]
    if isinstance(name, str):
        return Series(i18n.level("transport", name), _style(name), dots)
    return Series(i18n.t(f"measure.{measure}"), int(name), dots)


def _factor_figure(
    name: str,
    i18n: Translations,
    key: str,
    x: str,
    y: str,
    series: Sequence[Series],
    log: bool = False,
) -> Figure | None:
    data = LineChart(
        i18n.t(f"plot.{key}"),
        i18n.t(f"read.{key}"),
        i18n.t(f"axis.{x}"),
        i18n.t(f"axis.{y}"),
        series,
        log_x=log,
        log_y=log,
        y_values=() if log else (0,),
    )
    return _line_figure(name, data, i18n)


def _c10k(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = _titled_panels(
        result,
        i18n,
        [
            (("memory_kib",), "axis.kib", "panel.memory_kib"),
            (("p99", "last_ms"), "axis.ms", "panel.reached"),
            (("health_p99", "poll_p99"), "axis.ms", "panel.others"),
        ],
    )
    yield _bar_figure("cost", "c10k", panels, i18n, shared=False)


def _multi_worker(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    readers = max((_float(one) for one in result.levels("readers")), default=0.0)
    cells = result.pick(readers=readers)
    delivered = [_series(cells, "workers", "deliveries", "websocket", i18n)]
    yield _factor_figure("delivered", i18n, "multi_worker", "workers", "deliveries", delivered)
    costs = [
        _series(cells, "workers", measure, style, i18n)
        for style, measure in enumerate(("workers_us", "redis_us"))
    ]
    yield _factor_figure("cost", i18n, "multi_worker.costs", "workers", "us_per_message", costs)


def _titled_panels(
    result: Result,
    i18n: Translations,
    asked: Iterable[tuple[Sequence[str], str, str]],
    factor: str = "transport",
) -> list[Panel]:
    """Return a panel with unit and title for each group of measures."""
    return [
        replace(_panel(result, i18n, {}, measures, unit, factor=factor), title=i18n.t(title))
        for measures, unit, title in asked
    ]


def _peers(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        panel
        for load in result.levels("load") or [""]
        for measure in ("p50", "p99", "cpu_us", "memory_kib", "poll_us", "connect_us")
        if (panel := _ratios(result, i18n, measure, load)).rows
    ]
    yield _bar_figure("ratios", "peers", panels, i18n)


def _ratios(result: Result, i18n: Translations, measure: str, load: Factor) -> Panel:
    """Return one measure of all systems under one load; their names in the file end with it."""
    end = f", {load}" if load else ""
    rows = [
        Row(peer, _peer_style(peer), [Mark(ratios[measure])])
        for name, ratios in result.ratios.items()
        if measure in ratios and name.endswith(end)
        for peer in [name.removesuffix(end)]
    ]
    title = [i18n.t(f"panel.{measure}"), *([i18n.level("load", load)] if load else [])]
    unit = i18n.t("axis.ratio", peer=result.against)
    return Panel(i18n.t("and").join(title), unit, rows, bars=False, ratio=True)


def _cost_breakdown(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _panel(result, i18n, group, ("cpu_us",), "unit.µs", factor="step")
        for group in _groups(result, "path")
    ]
    yield _bar_figure("cpu", "cost_breakdown", panels, i18n, shared=False)


PLOTS: Mapping[str, Callable[[Result, Translations], Iterable[Figure | None]]] = {
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
    "tls": _peers,
}


def _line_figure(name: str, data: LineChart, i18n: Translations) -> Figure | None:
    if not any(series.dots or series.curve or series.theory for series in data.series):
        return None
    data = replace(data, theory=i18n.t("theory"))
    return Figure(name, data.about, draw_line_chart(data))


def _bar_figure(
    name: str,
    key: str,
    panels: Sequence[Panel],
    i18n: Translations,
    legend: Sequence[str] = (),
    shared: bool = True,
) -> Figure | None:
    if not any(panel.rows for panel in panels):
        return None
    title, about = i18n.t(f"plot.{key}"), i18n.t(f"read.{key}")
    data = BarChart(title, about, panels, legend, 1 if shared else 2, shared, i18n.t("theory"))
    return Figure(name, about, draw_bar_chart(data))


def _panel(
    result: Result,
    i18n: Translations,
    group: Mapping[str, Factor],
    measures: Sequence[str],
    unit: str,
    bars: bool = True,
    factor: str = "transport",
) -> Panel:
    """Return a row per transport with a mark per measure."""
    rows = [
        Row(
            i18n.level(factor, name),
            _style(name),
            [_mark(cell, m, shape) for shape, m in enumerate(measures)],
        )
        for name, cell in _by(result, factor, group)
    ]
    return Panel(_describe_group(group, i18n), i18n.t(unit), rows, bars)


def _mark(cell: ResultCell, measure: str, shape: int) -> Mark:
    return Mark(cell.summary.get(measure), cell.theory.get(measure), shape)


def _transport_series(result: Result, factor: str, measure: str) -> list[Series]:
    """Return one series per transport: a measure against a numeric factor."""
    found = []
    for name in result.levels("transport"):
        cells = [(_float(x), cell) for x, cell in _by(result, factor, {"transport": name})]
        dots = [Dot(x, cell.summary[measure]) for x, cell in cells if measure in cell.summary]
        theory = [(x, cell.theory[measure]) for x, cell in cells if measure in cell.theory]
        found.append(Series(str(name), _style(name), dots, theory=theory))
    return found


def _groups(result: Result, *factors: str) -> list[dict[str, Factor]]:
    """Return the combinations of these factors that have cells, without unused factors."""
    found: dict[tuple[tuple[str, Factor], ...], None] = {}
    for cell in result.ordered:
        found.setdefault(tuple((f, cell.factors[f]) for f in factors if f in cell.factors))
    orders = {factor: result.levels(factor) for factor in factors}
    return sorted(map(dict, found), key=lambda g: [orders[f].index(g[f]) for f in g])


def _by(
    result: Result, factor: str, group: Mapping[str, Factor]
) -> Iterable[tuple[Factor, ResultCell]]:
    """Yield the cells of a group, each with its level of `factor`."""
    for cell in result.pick(**group):
        if factor in cell.factors:
            yield cell.factors[factor], cell


def _describe_group(group: Mapping[str, Factor], i18n: Translations) -> str:
    return i18n.t("and").join(i18n.level(factor, level) for factor, level in group.items())


def _distinguishing_levels(result: Result, group: Mapping[str, Factor]) -> list[str]:
    """Return the levels that distinguish this group: a rate that all groups share is left out."""
    several = {factor: len(result.levels(factor)) > 1 for factor in group}
    return [str(level) for factor, level in group.items() if several[factor] or factor == "network"]


def _style(name: Factor) -> int | None:
    return TRANSPORTS.index(name) if isinstance(name, str) and name in TRANSPORTS else None


def _peer_style(peer: str) -> int | None:
    """Give our own transports their usual colours: "realtime sse" has that of sse."""
    system, _, name = peer.partition(" ")
    return _style(name) if system == "realtime" else None


def _position(name: str) -> int:
    return TRANSPORTS.index(name) if name in TRANSPORTS else len(TRANSPORTS)


def _float(level: Factor) -> float:
    """Convert a level to a position on an axis: 10 and "10/s" are 10; other texts are 0."""
    if not isinstance(level, str):
        return level
    digits = level.removesuffix("/s")
    return float(digits) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", digits) else 0.0
