"""Plots as SVG: data in, text out; no file, no library, no script.

There are two kinds.  A `LineChart` has curves or dots over two axes; a `BarChart` has panels of
rows, with bars or dots in each row.  Measured values are solid and each series has its own marker
shape, so a plot is readable without colours.  Theory is a dashed line, or a vertical stroke.

    draw_line_chart(LineChart(...))                  an <svg> element, for a page with svg.STYLE
    svg.standalone(draw_line_chart(...), "en")       a complete file
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.method.results import HUGE, Estimate
from benchmarks.report import svg
from benchmarks.report.axes import Axis, format_number, format_tick, make_axis, needs_log
from benchmarks.report.html import Markup, join, tag

HEIGHT = 400.0  # of the plotting area of a line chart
# Width for the number behind a bar, and the share of a panel that the labels may take.
FIGURE = 76.0
NAMES = 0.42
# Points that make a line look smooth on a logarithmic axis.
SMOOTH = 120


@dataclass(frozen=True)
class Dot:
    """A point; its y may have an interval."""

    x: float
    y: Estimate


@dataclass(frozen=True)
class Series:
    """Data with one colour, one marker shape and one entry in the legend."""

    label: str
    style: int | None  # index of the colour and the marker shape; None is grey
    dots: Sequence[Dot] = ()
    curve: Sequence[tuple[float, float]] = ()  # measured, solid
    theory: Sequence[tuple[float, float]] = ()  # dashed


@dataclass(frozen=True)
class LineChart:
    """Curves and dots over two axes."""

    title: str
    about: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_x: bool | None = None
    log_y: bool | None = None
    y_values: Sequence[float] = ()  # further values that the y axis must include
    level: tuple[str, float] | None = None  # a horizontal line: its label and its y
    theory: str = "theory"
    percent: bool = False  # y is a share, shown in per cent


@dataclass(frozen=True)
class Mark:
    """One value of a row; `shape` is its index in the legend of the chart."""

    estimate: Estimate | None
    theory: float | None = None
    shape: int = 0


@dataclass(frozen=True)
class Row:
    label: str
    style: int | None
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Panel:
    """Rows over one axis, which starts at 0 or is logarithmic; ratios are centred on 1."""

    title: str
    unit: str
    rows: Sequence[Row]
    bars: bool = True
    ratio: bool = False


@dataclass(frozen=True)
class BarChart:
    """Panels in one or more columns."""

    title: str
    about: str
    panels: Sequence[Panel]
    legend: Sequence[str] = ()  # the meaning of the marks in a row
    columns: int = 1
    shared: bool = True  # all panels have the same unit and the same axis
    theory: str = "theory"


# --- charts --------------------------------------------------------------------------------------


def draw_line_chart(data: LineChart) -> Markup:
    """Draw curves and dots over two axes."""
    keys = [_key(series) for series in data.series]
    if any(series.theory for series in data.series):
        keys.append((data.theory, svg.line([(0, 0), (34, 0)], "curve theory")))
    legend, bottom = svg.legend(keys, svg.MARGIN + 44)
    top = bottom + svg.LINE + 16
    x = make_axis(_xs(data), svg.MARGIN + 64, svg.WIDTH - svg.MARGIN - 12, data.log_x, tick=78)
    zero = data.log_y is False
    y = make_axis(_ys(data), top + HEIGHT, top, data.log_y, zero=zero, tick=44)
    body = join(
        legend,
        svg.text(data.y_label, svg.MARGIN, bottom + 22, "soft"),
        _grid(x, y, data.percent),
        svg.text(data.x_label, x.end, top + HEIGHT + 52, "soft", "end"),
        _level(data, x, y),
        # Curves first, so no line covers a dot.
        *(_curves(series, x, y) for series in data.series),
        *(_dots(series, x, y) for series in data.series),
    )
    return svg.drawing(data.title, data.about, top + HEIGHT + 68, body)


def interpolate(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Insert points into a line: on a logarithmic axis its segments are not straight."""
    pieces = max(1, SMOOTH // max(1, len(line)))
    return [
        (x1 + (x2 - x1) * n / pieces, y1 + (y2 - y1) * n / pieces)
        for (x1, y1), (x2, y2) in itertools.pairwise(line)
        for n in range(pieces)
    ] + list(line[-1:])


def _xs(data: LineChart) -> list[float]:
    lines = [line for s in data.series for line in (s.curve, s.theory)]
    return [x for line in lines for x, _ in line] + [d.x for s in data.series for d in s.dots]


def _ys(data: LineChart) -> list[float]:
    lines = [line for s in data.series for line in (s.curve, s.theory)]
    found = [y for line in lines for _, y in line]
    found += [y for s in data.series for dot in s.dots for y in _extent(dot.y)]
    return found + list(data.y_values) + ([data.level[1]] if data.level else [])


def _extent(estimate: Estimate) -> list[float]:
    ends = (estimate.value, estimate.low, estimate.high)
    return [end for end in ends if end is not None]


def _grid(x: Axis, y: Axis, percent: bool) -> Markup:
    parts = []
    for value in x.ticks:
        parts.append(svg.line([(x.at(value), y.start), (x.at(value), y.end)], "rule"))
        parts.append(svg.text(format_tick(value), x.at(value), y.start + 24, "soft", "middle"))
    for value in y.ticks:
        label = f"{format_number(value * 100)} %" if percent else format_tick(value)
        parts.append(svg.line([(x.start, y.at(value)), (x.end, y.at(value))], "rule"))
        parts.append(svg.text(label, x.start - 10, y.at(value) + 6, "soft", "end"))
    parts.append(svg.line([(x.start, y.end), (x.start, y.start), (x.end, y.start)], "axis over"))
    return join(*parts)


def _level(data: LineChart, x: Axis, y: Axis) -> Markup:
    if data.level is None:
        return Markup()
    name, value = data.level
    line = svg.line([(x.start, y.at(value)), (x.end, y.at(value))], "tick over")
    return join(line, svg.text(name, x.start + 8, y.at(value) - 8))


def _curves(series: Series, x: Axis, y: Axis) -> Markup:
    theory = [(x.at(a), y.at(b)) for a, b in series.theory]
    curve = [(x.at(a), y.at(b)) for a, b in series.curve]
    return svg.coloured(
        series.style,
        svg.line(theory, "curve theory") if theory else "",
        svg.line(curve, "curve") if curve else "",
        # Markers along the curve distinguish it where colours cannot.
        *(svg.shape(series.style, px, py) for px, py in _spaced(curve, series.style or 0)),
    )


def _spaced(points: Sequence[tuple[float, float]], shift: int) -> Iterator[tuple[float, float]]:
    """Yield six points of a curve, at heights that differ from series to series."""
    if not points:
        return
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    for step in range(6):
        height = lowest + (highest - lowest) * (step + 0.15 + 0.14 * (shift % 6)) / 6
        yield _at_height(points, height)


def _at_height(points: Sequence[tuple[float, float]], height: float) -> tuple[float, float]:
    """Where a curve crosses a height; y need not rise, but the curve must reach it."""
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if min(y1, y2) <= height <= max(y1, y2):
            return (x1 + (x2 - x1) * (height - y1) / (y2 - y1) if y2 != y1 else x1), height
    return points[0]


def _dots(series: Series, x: Axis, y: Axis) -> Markup:
    joined = [(x.at(dot.x), y.at(dot.y.value)) for dot in series.dots] if not series.theory else []
    dots = [_dot(series, dot, x, y) for dot in series.dots]
    return svg.coloured(series.style, svg.line(joined, "curve") if joined else "", *dots)


def _dot(series: Series, dot: Dot, x: Axis, y: Axis) -> Markup:
    px, interval = x.at(dot.x), Markup()
    if dot.y.low is not None and dot.y.high is not None:
        interval = svg.line([(px, y.at(dot.y.low)), (px, y.at(dot.y.high))], "whisker")
    name = tag("title", f"{series.label}, {format_number(dot.x)}: {format_estimate(dot.y)}")
    return tag("g", name, interval, svg.shape(series.style, px, y.at(dot.y.value)))


def _key(series: Series) -> tuple[str, Markup]:
    line = svg.line([(0, 0), (34, 0)], "curve") if series.curve or not series.theory else ""
    return series.label, svg.coloured(series.style, line, svg.shape(series.style, 17, 0))


# --- boards --------------------------------------------------------------------------------------


def draw_bar_chart(data: BarChart) -> Markup:
    """Draw panels of rows."""
    keys = [(name, _sample(data, shape)) for shape, name in enumerate(data.legend)]
    if any(m.theory is not None for p in data.panels for r in p.rows for m in r.marks):
        keys.append((data.theory, svg.line([(17, -10), (17, 10)], "tick")))
    legend, y = svg.legend(keys, svg.MARGIN + 44)
    width = (svg.WIDTH - svg.MARGIN * (data.columns + 1)) / data.columns
    longest = max(svg.text_width(row.label) for panel in data.panels for row in panel.rows)
    names = min(longest + 16, NAMES * width)
    parts, panels = [legend], iter(data.panels)
    while line := list(itertools.islice(panels, data.columns)):
        for column, one in enumerate(line):
            left = svg.MARGIN + column * (width + svg.MARGIN)
            axis = data.panels if data.shared else [one]
            x = _panel_axis(axis, left + names, left + width - FIGURE)
            parts.append(_panel(one, x, left, y + 18, width))
        y += max(map(_panel_height, line))
    return svg.drawing(data.title, data.about, y + 16, join(*parts))


def _sample(data: BarChart, shape: int) -> Markup:
    if data.panels and data.panels[0].bars:
        return _bar(0, 34, 0, shape)
    return svg.shape(shape, 17, 0)


def _row_height(row: Row) -> float:
    return svg.LINE * max(1, len(row.marks)) + 8


def _panel_height(panel: Panel) -> float:
    return sum(map(_row_height, panel.rows)) + 3.6 * svg.LINE


def _panel(panel: Panel, x: Axis, left: float, top: float, width: float) -> Markup:
    """Title and unit, grid, then row after row."""
    first = top + svg.LINE + 4
    bottom = first + sum(map(_row_height, panel.rows))
    room = width if not panel.title else width - svg.text_width(panel.title) - 20
    parts = [
        svg.text(svg.shorten(panel.title, width), left, top + 12, "sub"),
        svg.text(svg.shorten(panel.unit, room), left + width, top + 12, "soft", "end"),
    ]
    for value in x.ticks:
        strong = "axis" if panel.ratio and value == 1 else "rule"
        parts.append(svg.line([(x.at(value), first), (x.at(value), bottom)], strong))
        parts.append(svg.text(format_tick(value), x.at(value), bottom + 22, "soft", "middle"))
    y = first
    for row in panel.rows:
        parts.append(_row(row, panel.bars, left, y, x))
        y += _row_height(row)
    return join(*parts)


def _panel_axis(panels: Sequence[Panel], start: float, end: float) -> Axis:
    """Return an axis that includes all values of these panels."""
    marks = [mark for panel in panels for row in panel.rows for mark in row.marks]
    panel = panels[0]
    values = [value for mark in marks if mark.estimate for value in _extent(mark.estimate)]
    values += [mark.theory for mark in marks if mark.theory is not None]
    if panel.ratio:
        # Symmetric around 1: twice as much and half as much have the same distance.
        values += [1.0, *(1 / value for value in values if value > 1 / HUGE)]
        return make_axis(values, start, end, log=True)
    log = needs_log(values)
    if log and panel.bars:
        # The shortest bar must have a visible length too.
        values.append(min(value for value in values if value > 0) / 2)
    return make_axis(values, start, end, log=log, zero=True)


def _row(row: Row, bars: bool, left: float, top: float, x: Axis) -> Markup:
    height = _row_height(row)
    label = svg.shorten(row.label, x.start - left - 14)
    name = svg.text(label, x.start - 12, top + height / 2 + 6, anchor="end")
    marks = [
        _mark(mark, row, bars, x, top + 4 + svg.LINE * (index + 0.5))
        for index, mark in enumerate(row.marks)
    ]
    return svg.coloured(row.style, tag("g", tag("title", row.label), name), *marks)


def _mark(mark: Mark, row: Row, bars: bool, x: Axis, y: float) -> Markup:
    theory = Markup()
    if mark.theory is not None:
        at = x.at(mark.theory)
        theory = svg.line([(at, y - 11), (at, y + 11)], "tick")
    if mark.estimate is None:
        return join(theory, svg.text("–", x.start + 8, y + 6, "soft"))
    value = x.at(mark.estimate.value)
    body = _bar(x.start, value, y, mark.shape) if bars else svg.shape(mark.shape, value, y)
    last = max([value, *(x.at(end) for end in _extent(mark.estimate))])
    if mark.estimate.at_least:
        last = value + 26
        body = join(body, _arrow(value, y))
    figure = ("≥ " if mark.estimate.at_least else "") + format_number(mark.estimate.value)
    after = max(last, x.at(mark.theory) if mark.theory is not None else 0) + 10
    tooltip = tag("title", f"{row.label}: {format_estimate(mark.estimate)}")
    interval = _interval(mark.estimate, x, y, bars)
    return tag("g", tooltip, body, interval, theory, svg.text(figure, after, y + 6, "soft"))


def _interval(estimate: Estimate, x: Axis, y: float, bars: bool) -> Markup:
    if estimate.low is None or estimate.high is None or estimate.at_least:
        return Markup()
    low, high = x.at(estimate.low), x.at(estimate.high)
    # On a bar of the same colour it would be invisible.
    css = "ink over" if bars else "whisker"
    ends = [svg.line([(end, y - 5), (end, y + 5)], css) for end in (low, high)]
    return join(svg.line([(low, y), (high, y)], css), *ends)


def _bar(start: float, end: float, y: float, shape: int) -> Markup:
    """Draw a bar: the first of a row is solid, the second hollow."""
    css = "mark" if shape == 0 else "hollow"
    return svg.box(start, y - 8, max(end - start, 0), 16, css)


def _arrow(x: float, y: float) -> Markup:
    points = [(x + 12, y - 7), (x + 22, y), (x + 12, y + 7)]
    return join(svg.line([(x, y), (x + 22, y)], "whisker"), svg.line(points, "whisker"))


def format_estimate(estimate: Estimate) -> str:
    """Format a value with its interval: 1.2 (1.1–1.4)."""
    value = ("≥ " if estimate.at_least else "") + format_number(estimate.value)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({format_number(estimate.low)}–{format_number(estimate.high)})"
