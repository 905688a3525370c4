"""Charts as Vega-Lite specifications: values in, a dict out; nothing is drawn here.

There are two kinds.  A line chart has curves or dots over two axes; a bar chart has rows of bars or
dots.  Measured values are solid and each series has its own shape, so a chart is readable without
colours.  Theory is a dashed line, or a vertical stroke.

A specification is complete: the browser draws it in the page, `vl-convert` draws it for the docs,
and the Vega editor opens it.  https://vega.github.io/vega-lite/docs/
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.method.results import Estimate
from benchmarks.report.numbers import format_estimate, format_number, format_value

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# If max/min is larger than this, the small values are not visible on a linear axis.
SPREAD = 30.0
# The height of a bar, and of the area of a line chart, in pixels.
ROW, HEIGHT = 24, 340
# The width of a legend, which is that of half a page, and of a letter in it.
LEGEND_WIDTH, LETTER_WIDTH = 560, 8
# Points per curve of a distribution that have a shape.
SHAPES_PER_CURVE = 6
# One of so many points of a curve shows its values under the pointer.
TARGET_STEP = 4
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-left",
    "triangle-right",
    "arrow",
)

# (light, dark) pairs after Okabe and Ito; the same colours and order as on the demo pages.
HUES = (
    ("#8a5a00", "#e69f00"),
    ("#b84700", "#f0753a"),
    ("#a6407a", "#d88db5"),
    ("#007a58", "#1fb88d"),
    ("#1b74a8", "#8fd0f7"),
    ("#0b3f91", "#5b9bea"),
    ("#6b3fa0", "#b79cf0"),
    ("#5f5f5f", "#bdbdbd"),
    ("#556b00", "#c0d24a"),
)
PAPER, INK = ("#ffffff", "#15181c"), ("#1a1d21", "#e8eaed")
SOFT, RULE = ("#565d66", "#a4adb8"), ("#d5d9de", "#39414a")
FONT = (
    'system-ui, "Noto Sans", "PingFang SC", "PingFang TC", "Microsoft YaHei", '
    '"Microsoft JhengHei", "Noto Sans CJK SC", "Noto Sans CJK TC", sans-serif'
)

# A chart is always drawn in the light colours: that is what paper, slides and saved pictures need.
CONFIG: Spec = {
    "background": PAPER[0],
    "font": FONT,
    "aria": False,  # a description of each mark is noise: the table has the values
    "axis": {
        "labelColor": SOFT[0],
        "labelFontSize": 14,
        "titleColor": SOFT[0],
        "titleFontSize": 14,
        "titleFontWeight": "normal",
        "domainColor": SOFT[0],
        "gridColor": RULE[0],
        "tickColor": RULE[0],
        "labelLimit": 230,
        "labelSeparation": 8,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": INK[0],
        "labelFontSize": 14,
        "labelLimit": 400,
        "symbolSize": 120,
    },
    "title": {"anchor": "start", "color": INK[0], "fontSize": 18, "offset": 12},
    "view": {"stroke": None},
}


def dark_style(inside: str = ".plot") -> str:
    """Return the CSS that shows a chart, which has light colours, on a dark screen."""
    rules = "".join(
        f'{inside} [{name}="{light}"]{{{name}:{dark}}}'
        for light, dark in (*HUES, INK, SOFT, RULE, PAPER)
        for name in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules}}}"


@dataclass(frozen=True)
class Bar:
    """One value of a row; several bars of a row differ by their `group`."""

    label: str
    estimate: Estimate | None
    style: int | None = None  # index of the colour; None is grey
    group: str = ""
    theory: float | None = None


@dataclass(frozen=True)
class Dot:
    """A point; its y may have an interval."""

    x: float
    y: Estimate


@dataclass(frozen=True)
class Series:
    """Data with one colour, one shape and one entry in the legend."""

    label: str
    style: int | None
    dots: Sequence[Dot] = ()
    curve: Sequence[tuple[float, float]] = ()  # measured, solid
    theory: Sequence[tuple[float, float]] = ()  # dashed


def _frame(
    title: str, about: str, layers: Sequence[Spec], legend: Sequence[str], **more: Any
) -> Spec:
    longest = max(map(len, legend), default=0)
    columns = max(1, LEGEND_WIDTH // (LETTER_WIDTH * longest + 40))
    return {
        "$schema": SCHEMA,
        "title": title,
        "description": about,
        "width": "container",
        "config": {**CONFIG, "legend": {**CONFIG["legend"], "columns": columns}},
        **more,
        "layer": [layer for layer in layers if layer],
    }


def colour(style: int | None) -> str:
    return SOFT[0] if style is None else HUES[style % len(HUES)][0]


def needs_log(values: Iterable[float]) -> bool:
    """Return whether these values need a logarithmic axis."""
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) / min(positive) > SPREAD


def _extent(estimate: Estimate | None) -> list[float]:
    if estimate is None:
        return []
    return [end for end in (estimate.value, estimate.low, estimate.high) if end is not None]


# --- bars ----------------------------------------------------------------------------------------


def extent(bars: Iterable[Bar]) -> list[float]:
    """Return all values that the axis of these bars must include."""
    found = [value for bar in bars for value in _extent(bar.estimate)]
    return found + [bar.theory for bar in bars if bar.theory is not None]


def bar_chart(
    title: str,
    about: str,
    unit: str,
    bars: Sequence[Bar],
    *,
    dots: bool = False,
    ratio: bool = False,
    include: Sequence[float] = (),
) -> Spec:
    """Return rows of bars, or of dots; `ratio` centres the axis on 1.

    The axis also includes the values `include`, so several charts can have the same axis.
    """
    low, high, log = _bar_axis([*extent(bars), *include], ratio)
    scale = {"type": "log" if log else "linear", "domain": [low, high], "nice": False}
    axis = {"format": ",~r", "tickCount": 6, "labelOverlap": True}
    x: Spec = {"field": "x", "type": "quantitative", "title": unit, "scale": scale, "axis": axis}
    groups = list(dict.fromkeys(bar.group for bar in bars))
    rows = [_row(bar, low) for bar in bars]
    layers = [
        _dots(x, groups) if dots else _bars(x, low, groups),
        _bar_intervals(x, dots) if any("low" in row for row in rows) else {},
        _ticks(x) if any("theory" in row for row in rows) else {},
        _figures({**x, "field": "end"}, [row for row in rows if "value" in row]),
        # A dash for each value that was not measured.
        _figures({"value": 0}, [row for row in rows if "value" not in row]),
    ]
    shared = _row_encoding(groups)
    layers = [{**one, "encoding": {**shared, **one["encoding"]}} for one in layers if one]
    height = len({bar.label for bar in bars}) * (8 + ROW * max(1, len(groups)))
    return _frame(
        title,
        about,
        [_ONE, *layers] if ratio else layers,
        groups,
        data={"values": rows},
        height=height,
    )


def _row_encoding(groups: Sequence[str]) -> Spec:
    """Return what the marks of all layers have in common: their row, and their tooltip."""
    encoding: Spec = {
        "y": {"field": "label", "type": "nominal", "sort": None, "title": None},
        "tooltip": {"field": "tip", "type": "nominal"},
    }
    if len(groups) > 1:
        encoding["yOffset"] = {"field": "group", "type": "ordinal", "sort": groups}
    return encoding


# The middle of a chart of ratios.
_ONE: Spec = {
    "data": {"values": [{}]},
    "mark": {"type": "rule", "color": SOFT[0]},
    "encoding": {"x": {"datum": 1}},
}


def _bar_axis(values: Sequence[float], ratio: bool) -> tuple[float, float, bool]:
    """Return the ends of the axis and whether it is logarithmic; on the right is space for text."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    if ratio:
        # Symmetric around 1: twice as much and half as much have the same distance.
        most = max(high, 1 / low, 1.1) ** 1.3
        return 1 / most, most, True
    if needs_log(positive):
        # The shortest bar must have a visible length too.
        return low / 2, high * (2 * high / low) ** 0.15, True
    return min(0.0, *values, 0.0), max(high * 1.18, 0.0), False


def _row(bar: Bar, low: float) -> Spec:
    """Return the data of a bar; a logarithmic axis draws 0 at its lower end."""
    row: Spec = {"label": bar.label, "group": bar.group, "colour": colour(bar.style)}
    if bar.theory is not None:
        row["theory"] = max(bar.theory, low)
    name = ", ".join(filter(None, (bar.label, bar.group)))
    if bar.estimate is None:
        return row | {"tip": name, "text": "–"}
    estimate = bar.estimate
    row |= {"tip": f"{name}: {format_estimate(estimate)}", "text": format_value(estimate)}
    row |= {"value": estimate.value, "x": max(estimate.value, low)}
    row["end"] = max([*_extent(estimate), low] + ([] if bar.theory is None else [bar.theory]))
    if estimate.low is not None and estimate.high is not None and not estimate.at_least:
        row |= {"low": max(estimate.low, low), "high": max(estimate.high, low)}
    return row


# The colour of each row as it is in the data.
_ROW_COLOUR: Spec = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
_GREY_LEGEND: Spec = {"symbolFillColor": SOFT[0], "symbolStrokeColor": SOFT[0]}


def _bars(x: Spec, low: float, groups: Sequence[str]) -> Spec:
    """Return the bars: the first of a row is solid, the second paler."""
    encoding: Spec = {"x": x, "x2": {"datum": low}, "color": _ROW_COLOUR}
    if len(groups) > 1:
        scale = {"domain": [*groups], "range": [0.35**n for n in range(len(groups))]}
        legend = {**_GREY_LEGEND, "symbolType": "square"}
        # An ordinal field, since opacity suggests an order.
        encoding["opacity"] = {"field": "group", "type": "ordinal"}
        encoding["opacity"] |= {"scale": scale, "legend": legend}
    return {"mark": "bar", "encoding": encoding}


def _dots(x: Spec, groups: Sequence[str]) -> Spec:
    """Return the dots: those of a row differ in shape."""
    encoding: Spec = {"x": x, "color": _ROW_COLOUR}
    if len(groups) > 1:
        scale = {"domain": [*groups], "range": [*SHAPES[: len(groups)]]}
        encoding["shape"] = {"field": "group", "type": "nominal"}
        encoding["shape"] |= {"scale": scale, "legend": _GREY_LEGEND}
    mark = {"type": "point", "filled": True, "size": 110, "opacity": 1}
    return {"mark": mark, "encoding": encoding}


def _bar_intervals(x: Spec, dots: bool) -> Spec:
    # On a bar of the same colour it would be invisible.
    mark = {"type": "rule", "strokeWidth": 2, "color": INK[0]}
    ends = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    return {"mark": mark, "encoding": {**ends, **({"color": _ROW_COLOUR} if dots else {})}}


def _ticks(x: Spec) -> Spec:
    mark = {"type": "tick", "thickness": 3, "size": 20, "color": INK[0]}
    return {"mark": mark, "encoding": {"x": {**x, "field": "theory"}}}


def _figures(x: Spec, rows: Sequence[Spec]) -> Spec:
    """Return the numbers beside the bars of these rows."""
    if not rows:
        return {}
    mark = {"type": "text", "align": "left", "dx": 8, "fontSize": 14, "color": SOFT[0]}
    text = {"field": "text", "type": "nominal"}
    return {"data": {"values": rows}, "mark": mark, "encoding": {"x": x, "text": text}}


# --- lines ---------------------------------------------------------------------------------------


def line_chart(
    title: str,
    about: str,
    x_title: str,
    y_title: str,
    series: Sequence[Series],
    *,
    log_x: bool | None = None,
    log_y: bool | None = None,
    include: Sequence[float] = (),
    level: tuple[str, float] | None = None,
    percent: bool = False,
) -> Spec:
    """Return curves and dots over two axes; with `log_x` or `log_y` None the spread decides.

    The y axis also includes the values `include`.  `level` is a horizontal line: its label and its
    y.  With `percent` y is a share.
    """
    points = [point for one in series for point in _points(one)]
    curves = [point for one in series for point in _line(one.label, one.curve)]
    theory = [point for one in series for point in _line(one.label, one.theory)]
    everything = [*points, *curves, *theory]
    xs = [point["x"] for point in everything]
    ys = [point[end] for point in everything for end in ("y", "low", "high") if end in point]
    ys = [*ys, *include, *([level[1]] if level else [])]
    x = _axis("x", x_title, xs, log_x)
    y = _axis("y", y_title, ys, log_y)
    if percent:
        y["axis"]["format"] = ".0%"
    labels = [one.label for one in series]
    hues = {"domain": labels, "range": [colour(one.style) for one in series]}
    encoding: Spec = {
        "x": x,
        "y": y,
        "color": {"field": "series", "type": "nominal", "scale": hues},
    }
    shapes = {"domain": labels, "range": [SHAPES[(one.style or 0) % len(SHAPES)] for one in series]}
    shape = {"shape": {"field": "series", "type": "nominal", "scale": shapes}}
    joined = [point for one in series if not one.theory for point in _points(one)]
    layers: list[Spec] = [
        # Curves first, so no line covers a dot.
        _lines("theory", theory, encoding, {"strokeDash": [9, 6], "strokeWidth": 2}),
        _lines("curves", curves, encoding, {"strokeWidth": 3}),
        _lines("joined", joined, encoding, {"strokeWidth": 3}),
        _intervals(points, encoding),
        _level(level, y) if level else {},
        {
            "data": {"values": points + _sample(series)},
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {**encoding, **shape, "tooltip": {"field": "tip", "type": "nominal"}},
        },
        _targets(curves[::TARGET_STEP], encoding),
    ]
    datasets = {"theory": theory, "curves": curves, "joined": joined}
    used = {name: values for name, values in datasets.items() if values}
    return _frame(title, about, layers, labels, height=HEIGHT, datasets=used)


def _axis(name: str, title: str, values: Sequence[float], log: bool | None) -> Spec:
    positive = [value for value in values if value > 0] or [1.0]
    if log is None:
        log = needs_log(values)
    scale: Spec = {"zero": False, "nice": True}
    if log:
        scale = {"type": "log", "nice": True, "clamp": True}
        values = positive
    if values:
        scale["domain"] = [min(values), max(values)]
        if scale["domain"][0] == scale["domain"][1]:
            scale["domain"] = [scale["domain"][0] / 2, scale["domain"][1] * 2 or 1]
    axis = {"format": ",~r", "labelOverlap": True, "tickCount": 6}
    return {"field": name, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _points(one: Series) -> list[Spec]:
    return [_point(one, dot) for dot in one.dots]


def _point(one: Series, dot: Dot) -> Spec:
    tip = f"{one.label}, {format_number(dot.x)}: {format_estimate(dot.y)}"
    point: Spec = {"series": one.label, "x": dot.x, "y": dot.y.value, "tip": tip}
    if dot.y.low is not None and dot.y.high is not None:
        point |= {"low": dot.y.low, "high": dot.y.high}
    return point


def _line(label: str, line: Sequence[tuple[float, float]]) -> list[Spec]:
    return [{"series": label, "x": x, "y": y} for x, y in line]


def _sample(series: Sequence[Series]) -> list[Spec]:
    """Return some points of each curve, at other heights than those of the next curve."""
    found = []
    for number, one in enumerate(series):
        step = max(1, len(one.curve) // SHAPES_PER_CURVE)
        first = (number * step // max(1, len(series)) + step // 8) % step
        found += _line(one.label, one.curve[first::step])
    return found


def _lines(name: str, values: Sequence[Spec], encoding: Spec, look: Spec) -> Spec:
    if not values:
        return {}
    order = {"order": {"value": 0}}  # as in the data: a distribution has vertical parts
    mark = {"type": "line", **look}
    return {"data": {"name": name}, "mark": mark, "encoding": {**encoding, **order}}


def _intervals(points: Sequence[Spec], encoding: Spec) -> Spec:
    found = [point for point in points if "low" in point]
    if not found:
        return {}
    ends = {"y": {**encoding["y"], "field": "low"}, "y2": {"field": "high"}}
    mark = {"type": "rule", "strokeWidth": 2}
    return {"data": {"values": found}, "mark": mark, "encoding": {**encoding, **ends}}


def _level(level: tuple[str, float], y: Spec) -> Spec:
    name, value = level
    where = {"y": {**y, "field": "y"}}
    text = {"type": "text", "align": "left", "dx": 8, "dy": -8, "fontSize": 14, "color": INK[0]}
    return {
        "data": {"values": [{"y": value, "name": name}]},
        "layer": [
            {"mark": {"type": "rule", "color": INK[0], "strokeWidth": 2}, "encoding": where},
            {
                "mark": text,
                "encoding": {**where, "x": {"value": 0}, "text": {"field": "name"}},
            },
        ],
    }


def _targets(curves: Sequence[Spec], encoding: Spec) -> Spec:
    """Return invisible points on the curves, which show their values."""
    if not curves:
        return {}
    mark = {"type": "point", "filled": True, "size": 150, "opacity": 0}
    axes = ({"field": n, "title": encoding[n]["title"], "format": ",.3~r"} for n in "xy")
    tooltip = [
        {"field": "series", "title": " "},
        *({**one, "type": "quantitative"} for one in axes),
    ]
    shown = {**encoding, "tooltip": tooltip}
    return {"name": "targets", "data": {"values": curves}, "mark": mark, "encoding": shown}
