"""Two kinds of plots as SVG text: curves over an axis, and figures in a row with their intervals.

Pure functions: data in, text out.  Whatever stands in a name is escaped.  Each SVG stands alone,
with its colours for light, dark and paper, and says in words what it shows.  What differs by colour
differs by shape too, for those who see no colours, and for projectors that have lost some.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

WIDTH = 900
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 30, 50, 60
_CURVES_HEIGHT = 460
_ROW_HEIGHT = 34

# By M. Okabe and K. Ito, for the colour-blind; the second is for a dark ground.
_COLOURS = (
    ("#e69f00", "#e69f00"),
    ("#d55e00", "#ff7f2a"),
    ("#009e73", "#2bd4a4"),
    ("#0072b2", "#56b4e9"),
    ("#cc79a7", "#e39fc6"),
    ("#222222", "#f2f2f2"),
    ("#7a5195", "#b48ad0"),
    ("#8c6d31", "#c9a961"),
    ("#5b7f2b", "#9bc75c"),
)
# Paths around 0 0, some 10 pixels wide.
_MARKS = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",
    "M-4.5,-4.5h9v9h-9z",
    "M0,-6l5.5,10h-11z",
    "M0,-6.5l6,6.5l-6,6.5l-6,-6.5z",
    "M-5,-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z",
    "M0,6l5.5,-10h-11z",
)

_STYLE = """\
.plot{background:#fff;color:#222;font:16px system-ui,"Noto Sans","Noto Sans CJK SC",sans-serif}
.plot text{fill:currentColor}
.plot .title{font-weight:600;font-size:18px}
.plot .grid{stroke:currentColor;stroke-opacity:.15}
.plot .axis{stroke:currentColor}
.plot .line{fill:none;stroke-width:2.5;stroke-linejoin:round}
.plot .theory{stroke-dasharray:7 5;stroke-width:2}
.plot .interval{stroke-width:3;stroke-opacity:.55}
"""


def _style() -> str:
    light = "".join(_colour(number, pair[0]) for number, pair in enumerate(_COLOURS))
    dark = "".join(_colour(number, pair[1]) for number, pair in enumerate(_COLOURS))
    return (
        f"<style>{_STYLE}{light}@media screen and (prefers-color-scheme:dark){{"
        f".plot{{background:#181a1d;color:#eee}}{dark}}}</style>"
    )


def _colour(number: int, colour: str) -> str:
    return f".plot .s{number}{{stroke:{colour}}}.plot .m{number}{{fill:{colour}}}"


# --- axes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to pixels: `low` is at `begin`, `high` at `end`, which may be the smaller one."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    @classmethod
    def over(
        cls, values: Iterable[float], begin: float, end: float, *, log: bool, zero: bool = True
    ) -> "Axis":
        """Hold all `values` with a little room; a linear axis begins at 0 unless told otherwise."""
        known = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        low, high = min(known, default=1.0), max(known, default=10.0)
        if log:
            # Whole decades, or halves of them, so that there are ticks.
            low, high = _nice_below(low), _nice_above(high)
            return cls(low, high if high > low else low * 10, begin, end, log)
        low = min(low, 0.0) if zero else low
        room = (high - low or 1.0) * 0.05
        return cls(low if zero else low - room, high + room, begin, end)

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(one, 1e-12)) for one in (value, low, high))
        place = self.begin + (value - low) / (high - low) * (self.end - self.begin)
        least, most = sorted((self.begin, self.end))
        return min(max(place, least), most)

    def ticks(self) -> list[float]:
        """Some round values: 1, 2 and 5 times a power of ten."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 3 else (1,)
            ones = [step * 10.0**decade for decade in decades for step in steps]
            return [one for one in ones if self.low * 0.999 <= one <= self.high * 1.001]
        rough = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _nice_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return max(power * one for one in (1, 2, 5) if power * one <= value * 1.0001)


def _nice_above(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return min(power * one for one in (1, 2, 5, 10) if power * one >= value * 0.9999)


def wide(values: Iterable[float]) -> bool:
    """Do these values need a logarithmic axis to be told apart?"""
    known = [value for value in values if value > 0]
    return bool(known) and max(known) > 30 * min(known)


def number(value: float) -> str:
    """Three digits, and no more zeros than they need."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


# --- curves --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points; `style` chooses colour and shape.

    `marked` shows each point, `intervals` (low, high) at each; `theory` makes it thin and dashed.
    """

    label: str
    points: Sequence[Point]
    style: int
    theory: bool = False
    marked: bool = False
    steps: bool = False
    intervals: Sequence[tuple[float, float] | None] = ()


def curves(
    title: str,
    x_label: str,
    y_label: str,
    drawn: Sequence[Curve],
    *,
    x_log: bool = False,
    y_log: bool = False,
    x_zero: bool = True,
) -> str:
    """Draw curves over two axes, with a legend above."""
    labels = [curve for curve in drawn if curve.label]
    top = _TOP + 26 * math.ceil(len(labels) / 3) + 10
    height = top + _CURVES_HEIGHT
    floor = height - _BOTTOM
    all_y = [y for curve in drawn for _, y in curve.points]
    all_y += [end for curve in drawn for one in curve.intervals if one for end in one]
    x = Axis.over(
        [x for curve in drawn for x, _ in curve.points],
        _LEFT,
        WIDTH - _RIGHT,
        log=x_log,
        zero=x_zero,
    )
    y = Axis.over(all_y, floor, top, log=y_log)
    parts = [_grid(x, y, x_label, y_label, top, floor)]
    parts += [_legend(curve, place) for place, curve in enumerate(labels)]
    parts += [_curve(curve, x, y) for curve in drawn]
    return _svg(title, height, parts)


def _grid(x: Axis, y: Axis, x_label: str, y_label: str, top: float, floor: float) -> str:
    parts = []
    for tick in x.ticks():
        at = x.at(tick)
        parts.append(f'<path class="grid" d="M{at:.1f},{top}V{floor}"/>')
        parts.append(_text(at, floor + 22, number(tick), "middle"))
    for tick in y.ticks():
        at = y.at(tick)
        parts.append(f'<path class="grid" d="M{_LEFT},{at:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(_text(_LEFT - 8, at + 5, number(tick), "end"))
    parts.append(f'<path class="axis" d="M{_LEFT},{top}V{floor}H{WIDTH - _RIGHT}" fill="none"/>')
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, floor + 48, x_label, "middle"))
    middle = (top + floor) / 2
    parts.append(
        f'<text transform="translate(24,{middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _legend(curve: Curve, place: int) -> str:
    left, top = _LEFT + place % 3 * 265, _TOP + 6 + place // 3 * 26
    style = curve.style % len(_COLOURS)
    dashed = " theory" if curve.theory else ""
    line = f'<path class="line s{style}{dashed}" d="M{left},{top}h34"/>'
    mark = "" if curve.theory else _mark(left + 17, top, curve.style)
    return line + mark + _text(left + 42, top + 5, curve.label)


def _curve(curve: Curve, x: Axis, y: Axis) -> str:
    style = curve.style % len(_COLOURS)
    places = [(x.at(a), y.at(b)) for a, b in curve.points]
    parts = []
    for (left, _), one in zip(places, curve.intervals, strict=False):
        if one is not None:
            ends = f"M{left:.1f},{y.at(one[0]):.1f}V{y.at(one[1]):.1f}"
            parts.append(f'<path class="interval s{style}" d="{ends}"/>')
    if places:
        dashed = " theory" if curve.theory else ""
        parts.append(f'<path class="line s{style}{dashed}" d="{_path(places, curve.steps)}"/>')
    if curve.marked:
        parts += [_mark(a, b, curve.style) for a, b in places]
    elif not curve.theory:
        # A few marks, so that the curves can be told apart without colour.
        chosen = range(len(places) // 8, len(places), max(1, len(places) // 4))
        parts += [_mark(*places[one], curve.style) for one in chosen]
    return "".join(parts)


def _path(places: Sequence[Point], steps: bool) -> str:
    first, *rest = places
    text = f"M{first[0]:.1f},{first[1]:.1f}"
    for a, b in rest:
        text += f"H{a:.1f}V{b:.1f}" if steps else f"L{a:.1f},{b:.1f}"
    return text


# --- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: its value, its interval, and what theory predicts; `open` means: at least."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    theory: float | None = None
    style: int = 0
    open: bool = False


def rows(
    title: str, x_label: str, drawn: Sequence[Row], *, log: bool = False, one: bool = False
) -> str:
    """Draw a row for each figure; `one` marks the value 1, for ratios."""
    left = 30 + 9.5 * max((_width(row.label) for row in drawn), default=1)
    floor = _TOP + _ROW_HEIGHT * len(drawn) + 6
    figures = [f for row in drawn for f in (row.value, row.low, row.high, row.theory) if f]
    x = Axis.over([*figures, *([1.0] if one else [])], left, WIDTH - 120, log=log)
    parts = []
    for tick in x.ticks():
        strong = "axis" if one and tick == 1 else "grid"
        parts.append(f'<path class="{strong}" d="M{x.at(tick):.1f},{_TOP - 8}V{floor}"/>')
        parts.append(_text(x.at(tick), floor + 22, number(tick), "middle"))
    for place, row in enumerate(drawn):
        parts.append(_row(row, x, _TOP + _ROW_HEIGHT * (place + 0.5), left))
    parts.append(_text((left + WIDTH - 120) / 2, floor + 48, x_label, "middle"))
    return _svg(title, floor + _BOTTOM, parts)


def _row(row: Row, x: Axis, at: float, left: float) -> str:
    style = row.style % len(_COLOURS)
    parts = [_text(left - 12, at + 5, row.label, "end")]
    if row.value is None:
        return "".join([*parts, _text(left + 8, at + 5, "–")])
    if row.low is not None and row.high is not None:
        ends = f"M{x.at(row.low):.1f},{at:.1f}H{x.at(row.high):.1f}"
        parts.append(f'<path class="interval s{style}" d="{ends}"/>')
    if row.theory is not None:
        parts.append(
            f'<path class="line theory s{style}" d="M{x.at(row.theory):.1f},{at - 13:.1f}v26"/>'
        )
    parts.append(_mark(x.at(row.value), at, row.style))
    if row.open:
        arrow = f"M{x.at(row.value) + 8:.1f},{at:.1f}h22m-7,-5l7,5l-7,5"
        parts.append(f'<path class="line s{style}" d="{arrow}"/>')
    shown = ("≥ " if row.open else "") + number(row.value)
    parts.append(_text(WIDTH - 108, at + 5, shown))
    return "".join(parts)


def _width(text: str) -> float:
    """In latin letters; Chinese characters are twice as wide."""
    return sum(2.0 if ord(one) > 0x2E80 else 1.0 for one in text)


# --- parts ---------------------------------------------------------------------------------------


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'role="img"><title>{escape(title)}</title>{_style()}'
        f"{_text(20, 28, title, cls='title')}{''.join(parts)}</svg>"
    )


def _mark(x: float, y: float, style: int) -> str:
    shape = _MARKS[style % len(_MARKS)]
    return (
        f'<path class="m{style % len(_COLOURS)}" d="{shape}" '
        f'transform="translate({x:.1f},{y:.1f})"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", cls: str = "") -> str:
    named = f' class="{cls}"' if cls else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
