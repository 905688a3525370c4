"""Which charts a report shows for each benchmark: one function per benchmark.

Each function selects the values and their axes; charts.py makes the specification.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.method.results import TRANSPORTS, Factor, Result, ResultCell
from benchmarks.report.charts import (
    Bar,
    Dot,
    Series,
    Spec,
    bar_chart,
    extent,
    line_chart,
)
from benchmarks.report.i18n import Translations
from benchmarks.report.numbers import format_number

# Points that make a line look smooth on a logarithmic axis.
SMOOTH = 60


@dataclass(frozen=True)
class Figure:
    """A chart, its name within the result, and a sentence on how to read it."""

    name: str
    caption: str
    spec: Spec


@dataclass(frozen=True)
class Panel:
    """The rows of one chart; the charts of a benchmark that share a unit share their axis."""

    name: str
    title: str
    unit: str
    bars: Sequence[Bar]
    dots: bool = False
    ratio: bool = False


def figures(result: Result, i18n: Translations) -> list[Figure]:
    """Return the charts of a result that have data; an unknown benchmark has none."""
    make = CHARTS.get(result.benchmark)
    return [figure for figure in make(result, i18n) if figure] if make else []


def _latency(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    for group in _groups(result, "network", "rate"):
        series = [
            Series(
                str(name),
                style_of(name),
                curve=cell.ecdf,
                theory=interpolate(cell.theory_ecdf),
            )
            for name, cell in _by(result, "transport", group)
            if cell.ecdf or cell.theory_ecdf
        ]
        if any(one.curve or one.theory for one in series):
            spec = line_chart(
                i18n.t("plot.ecdf", where=_describe_group(group, i18n)),
                i18n.t("read.ecdf"),
                i18n.t("axis.ms"),
                i18n.t("axis.share"),
                series,
                log_y=False,
                include=(0, 1),
                percent=True,
            )
            name = "-".join(["ecdf", *_distinguishing_levels(result, group)])
            yield Figure(name, i18n.t("read.ecdf"), spec)
    panels = [
        _panel(result, i18n, group, ("p50", "p99"), "axis.ms", dots=True)
        for group in _groups(result, "network", "rate")
    ]
    yield from _panels("percentiles", "percentiles", panels, i18n)


def interpolate(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Insert points into a line: on a logarithmic axis its segments are not straight.

    The points are closer at the start of a segment, where such an axis enlarges.
    """
    pieces = max(1, SMOOTH // max(1, len(line)))
    shares = [(n / pieces) ** 2 for n in range(pieces)]
    return [
        (x1 + (x2 - x1) * share, y1 + (y2 - y1) * share)
        for (x1, y1), (x2, y2) in itertools.pairwise(line)
        for share in shares
    ] + list(line[-1:])


def _poll_gap(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    for measure in ("at_once", "mean"):
        series = [
            _rate_series(result, i18n, group, measure, style)
            for style, group in enumerate(_groups(result, "network", "connection"))
        ]
        share = measure == "at_once"
        yield _line_figure(
            measure.replace("_", "-"),
            i18n,
            f"poll_gap.{measure}",
            "axis.rate",
            f"axis.{measure}",
            series,
            log_x=True,
            log_y=False if share else None,
            include=(0, 1) if share else (),
            percent=share,
        )


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
    panels = [
        _panel(result, i18n, group, ("bytes_down", "bytes_up"), "axis.bytes_per_message")
        for group in _groups(result, "size", "rate")
    ]
    yield from _panels("bytes", "overhead", panels, i18n)


def _compression(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    for measure, axis in (("bytes_down", "axis.bytes_per_message"), ("cpu_us", "unit.µs")):
        panels = [
            replace(panel, name=f"{measure}-{panel.name}")
            for group in _groups(result, "followers")
            for panel in [_panel(result, i18n, group, (measure,), axis, factor="peer")]
        ]
        yield from _panels("", f"compression.{measure}", panels, i18n)


def _idle_cost(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        (("bytes_down", "bytes_up"), "axis.bytes_per_minute", "panel.bytes_up"),
        (("requests",), "axis.requests_per_minute", "panel.requests"),
        (("cpu_ms",), "axis.cpu_per_minute", "panel.cpu_ms"),
        (("memory_kib",), "axis.kib", "panel.memory_kib"),
    ]
    yield from _titled(result, i18n, "idle_cost", asked)


def _fanout(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    both = [
        cell.summary[name].value
        for cell in result.cells
        for name in ("first_ms", "last_ms")
        if name in cell.summary
    ]
    # The first and the last share one y axis, so readers can compare the two charts.
    for measure, axis, values in [
        ("first_ms", "axis.ms", both),
        ("last_ms", "axis.ms", both),
        ("cpu_us", "axis.us_per_delivery", []),
    ]:
        yield _line_figure(
            measure.replace("_", "-"),
            i18n,
            measure,
            "axis.followers",
            axis,
            _transport_series(result, "followers", measure),
            log_x=True,
            log_y=True,
            include=values,
        )


def _capacity(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    names = sorted(result.capacity, key=_position)
    bars = [Bar(name, result.capacity[name], style_of(name)) for name in names]
    panel = Panel("clients", "", i18n.t("axis.clients"), bars)
    yield from _panels("", "capacity", [panel], i18n)
    bound = result.bound_ms
    yield _line_figure(
        "p99",
        i18n,
        "capacity.p99",
        "axis.clients",
        "axis.p99",
        _transport_series(result, "clients", "p99"),
        log_x=True,
        level=None if bound is None else (i18n.t("bound", ms=format_number(bound)), bound),
    )


def _slow_reader(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        ((measure,), unit, f"panel.{measure}")
        for measure, unit in [
            ("server_kib", "axis.kib"),
            ("kernel_kib", "axis.kib"),
            ("others_p99", "axis.ms"),
            ("closed_s", "axis.s"),
        ]
    ]
    yield from _titled(result, i18n, "slow_reader", asked)


def _recovery(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _panel(result, i18n, group, ("p50", "p99", "max"), "axis.ms", dots=True)
        for group in _groups(result, "network")
    ]
    yield from _panels("time", "recovery", panels, i18n)


def _session(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _panel(result, i18n, group, ("arrival_ms",), "axis.ms", factor="way")
        for group in _groups(result, "network")
    ]
    yield from _panels("time", "session", panels, i18n)


def _sticky(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _panel(result, i18n, group, ("held", "busiest"), "axis.percent", factor="way")
        for group in _groups(result, "routing", "people")
    ]
    yield from _panels("held", "sticky", panels, i18n)


def _publish(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        (("per_second",), "unit.1/s", "panel.per_second"),
        (("message_us",), "unit.µs", "panel.cpu_message"),
        (("ack_p50", "ack_p99"), "axis.ms", "panel.ack"),
    ]
    yield from _titled(result, i18n, "publish", asked, factor="via")


def _burst(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        (("cpu_us",), "unit.µs", "panel.cpu_us"),
        (("per_push",), "axis.messages", "panel.per_push"),
        (("spread_ms",), "axis.ms", "panel.spread_ms"),
        (("health_p99", "poll_p99"), "axis.ms", "panel.others"),
    ]
    yield from _titled(result, i18n, "burst", asked)


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
        return Series(i18n.level("transport", name), style_of(name), dots)
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
    include = () if log else (0,)
    axes = f"axis.{x}", f"axis.{y}"
    return _line_figure(name, i18n, key, *axes, series, log_x=log, log_y=log, include=include)


def _c10k(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        (("memory_kib",), "axis.kib", "panel.memory_kib"),
        (("p99", "last_ms"), "axis.ms", "panel.reached"),
        (("health_p99", "poll_p99"), "axis.ms", "panel.others"),
    ]
    yield from _titled(result, i18n, "c10k", asked)


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


def _peers(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    panels = [
        _ratios(result, i18n, measure, load)
        for load in result.levels("load") or [""]
        for measure in ("p50", "p99", "cpu_us", "memory_kib", "poll_us", "connect_us")
    ]
    # Each has its axis: 1 is in the middle.
    for panel in panels:
        yield from _panels("ratios", "peers", [panel], i18n)


def _ratios(result: Result, i18n: Translations, measure: str, load: Factor) -> Panel:
    """Return one measure of all systems under one load; their names in the file end with it."""
    end = f", {load}" if load else ""
    bars = [
        Bar(peer, ratios[measure], _peer_style(peer))
        for name, ratios in result.ratios.items()
        if measure in ratios and name.endswith(end)
        for peer in [name.removesuffix(end)]
    ]
    title = [i18n.t(f"panel.{measure}"), *([i18n.level("load", load)] if load else [])]
    unit = i18n.t("axis.ratio", peer=result.against)
    name = f"{measure}-{load}"
    return Panel(name, i18n.t("and").join(title), unit, bars, dots=True, ratio=True)


def _cost_breakdown(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    for group in _groups(result, "path"):
        panel = _panel(result, i18n, group, ("cpu_us",), "unit.µs", factor="step")
        yield from _panels("cpu", "cost_breakdown", [panel], i18n)


def _webtransport(result: Result, i18n: Translations) -> Iterable[Figure | None]:
    asked = [
        (("cpu_us",), "unit.µs", "panel.cpu_us"),
        (("connect_us",), "unit.µs", "panel.connect_us"),
        (("memory_kib",), "axis.kib", "panel.memory_kib"),
        (("bytes_up", "bytes_down"), "axis.bytes_per_message", "panel.bytes_up"),
    ]
    yield from _titled(result, i18n, "webtransport", asked, factor="way")


CHARTS: Mapping[str, Callable[[Result, Translations], Iterable[Figure | None]]] = {
    "latency": _latency,
    "poll_gap": _poll_gap,
    "overhead": _overhead,
    "compression": _compression,
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
    "webtransport": _webtransport,
}


def _line_figure(
    name: str,
    i18n: Translations,
    key: str,
    x: str,
    y: str,
    series: Sequence[Series],
    **options: Any,
) -> Figure | None:
    """Return a line chart whose texts have these keys, or None without data."""
    if not any(one.dots or one.curve or one.theory for one in series):
        return None
    title, about = i18n.t(f"plot.{key}"), i18n.t(f"read.{key}")
    return Figure(name, about, line_chart(title, about, i18n.t(x), i18n.t(y), series, **options))


def _titled(
    result: Result,
    i18n: Translations,
    key: str,
    asked: Iterable[tuple[Sequence[str], str, str]],
    factor: str = "transport",
) -> Iterable[Figure]:
    """Yield a chart for each group of measures, which has a unit, a title and an axis."""
    for measures, unit, title in asked:
        panel = _panel(result, i18n, {}, measures, unit, factor=factor)
        yield from _panels("", key, [replace(panel, name=measures[0], title=i18n.t(title))], i18n)


def _panels(name: str, key: str, panels: Sequence[Panel], i18n: Translations) -> Iterable[Figure]:
    """Yield a chart for each panel with data; all of them have the same axis."""
    values = [value for panel in panels for value in extent(panel.bars)]
    about = i18n.t(f"read.{key}")
    for panel in panels:
        if any(bar.estimate for bar in panel.bars):
            title = i18n.t("colon").join(filter(None, (i18n.t(f"plot.{key}"), panel.title)))
            spec = bar_chart(
                title,
                about,
                panel.unit,
                panel.bars,
                dots=panel.dots,
                ratio=panel.ratio,
                include=values,
            )
            yield Figure("-".join(filter(None, (name, panel.name))), about, spec)


def _panel(
    result: Result,
    i18n: Translations,
    group: Mapping[str, Factor],
    measures: Sequence[str],
    unit: str,
    dots: bool = False,
    factor: str = "transport",
) -> Panel:
    """Return a row per transport with a bar per measure."""
    several = len(measures) > 1
    bars = [
        Bar(
            i18n.level(factor, name),
            cell.summary.get(measure),
            style_of(name),
            i18n.t(f"measure.{measure}") if several else "",
            cell.theory.get(measure),
        )
        for name, cell in _by(result, factor, group)
        for measure in measures
    ]
    name = "-".join(map(str, group.values()))
    return Panel(name, _describe_group(group, i18n), i18n.t(unit), bars, dots)


def _transport_series(result: Result, factor: str, measure: str) -> list[Series]:
    """Return one series per transport: a measure against a numeric factor."""
    found = []
    for name in result.levels("transport"):
        cells = [(_float(x), cell) for x, cell in _by(result, factor, {"transport": name})]
        dots = [Dot(x, cell.summary[measure]) for x, cell in cells if measure in cell.summary]
        theory = [(x, cell.theory[measure]) for x, cell in cells if measure in cell.theory]
        found.append(Series(str(name), style_of(name), dots, theory=theory))
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


def style_of(name: Factor) -> int | None:
    """Return the index of a transport's colour and shape; other names have none."""
    return TRANSPORTS.index(name) if isinstance(name, str) and name in TRANSPORTS else None


def _peer_style(peer: str) -> int | None:
    """Give our own transports their usual colours: "realtime sse" has that of sse."""
    system, _, name = peer.partition(" ")
    return style_of(name) if system == "realtime" else None


def _position(name: str) -> int:
    return TRANSPORTS.index(name) if name in TRANSPORTS else len(TRANSPORTS)


def _float(level: Factor) -> float:
    """Convert a level to a position on an axis: 10 and "10/s" are 10; other texts are 0."""
    if not isinstance(level, str):
        return level
    digits = level.removesuffix("/s")
    return float(digits) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", digits) else 0.0
