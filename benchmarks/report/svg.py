"""SVG elements: lines, shapes and texts, with colours for light screens, dark screens and paper.

The style uses plain CSS rules without variables, because programs other than browsers render these
files too.
"""

import unicodedata
from collections.abc import Iterable, Sequence

from benchmarks.report.html import Markup, join, tag

WIDTH = 960.0
MARGIN = 20.0
TEXT = 17.0  # large: a projector makes it look half as big
LINE = 24.0
SHAPES = ("circle", "square", "triangle", "diamond", "down", "cross", "left", "right")

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
)
PAPER, INK, SOFT, RULE = (
    ("#ffffff", "#15181c"),
    ("#1a1d21", "#e8eaed"),
    ("#565d66", "#a4adb8"),
    ("#d5d9de", "#39414a"),
)


def _colours(theme: int) -> str:
    hues = "".join(f".plot .hue{n}{{color:{hue[theme]}}}" for n, hue in enumerate(HUES))
    return (
        f".plot{{color:{SOFT[theme]}}}.plot text{{fill:{INK[theme]}}}"
        f".plot .soft{{fill:{SOFT[theme]}}}.plot .paper{{fill:{PAPER[theme]}}}"
        f".plot .rule{{stroke:{RULE[theme]}}}.plot .axis{{stroke:{SOFT[theme]}}}"
        f".plot .tick,.plot .ink{{stroke:{INK[theme]}}}.plot .hollow{{fill:{PAPER[theme]}}}{hues}"
    )


# Printed pages are always light.
STYLE = (
    '.plot{font:17px system-ui,"Noto Sans","PingFang SC","PingFang TC","Microsoft YaHei",'
    '"Microsoft JhengHei","Noto Sans CJK SC","Noto Sans CJK TC",sans-serif}'
    ".plot .head{font-size:21px;font-weight:600}.plot .sub{font-weight:600}"
    ".plot .rule,.plot .axis{stroke-width:1}"
    ".plot .curve{fill:none;stroke:currentColor;stroke-width:3;stroke-linejoin:round}"
    ".plot .theory{stroke-dasharray:9 6;stroke-width:2}"
    ".plot .whisker{fill:none;stroke:currentColor;stroke-width:2}"
    ".plot .tick{fill:none;stroke-width:3}"
    ".plot .over{fill:none;stroke-width:2}.plot .mark{fill:currentColor}"
    ".plot .hollow{stroke:currentColor;stroke-width:2}"
    f"{_colours(0)}@media screen and (prefers-color-scheme:dark){{{_colours(1)}}}"
)


def standalone(drawing: Markup, language: str) -> str:
    """Return an <svg> element as a complete file, with its colours and fonts."""
    opening, rest = drawing.split(">", 1)
    return f'{opening} xml:lang="{language}">{tag("style", Markup(STYLE))}{rest}\n'


def drawing(title: str, about: str, height: float, body: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        tag("desc", about),
        box(0, 0, WIDTH, height, "paper"),
        text(shorten(title, (WIDTH - 2 * MARGIN) * TEXT / 21), MARGIN, MARGIN + 14, "head"),
        body,
        xmlns="http://www.w3.org/2000/svg",
        class_="plot",
        role="img",
        viewBox=f"0 0 {coordinate(WIDTH)} {coordinate(height)}",
    )


def legend(keys: Sequence[tuple[str, Markup]], top: float) -> tuple[Markup, float]:
    """Draw entries from left to right in as many lines as needed; also return the bottom edge."""
    parts, x, y = [], MARGIN, top + 8
    for label, sample in keys:
        label = shorten(label, WIDTH / 2)
        width = 44 + text_width(label) + 28
        if x > MARGIN and x + width > WIDTH:
            x, y = MARGIN, y + LINE
        where = f"translate({coordinate(x)} {coordinate(y)})"
        parts.append(tag("g", sample, text(label, 44, 6), transform=where))
        x += width
    return join(*parts), (y + 12 if keys else top - 8)


def coloured(style: int | None, *parts: str) -> Markup:
    return tag("g", *parts, class_=None if style is None else f"hue{style % len(HUES)}")


def shape(style: int | None, x: float, y: float) -> Markup:
    """Draw one of eight marker shapes, about 14 units wide."""
    name = SHAPES[(style or 0) % len(SHAPES)]
    if name == "circle":
        return tag("circle", class_="mark", cx=coordinate(x), cy=coordinate(y), r="6.5")
    corners = {
        "square": ((-6, -6), (6, -6), (6, 6), (-6, 6)),
        "triangle": ((0, -8), (8, 6), (-8, 6)),
        "diamond": ((0, -9), (8, 0), (0, 9), (-8, 0)),
        "down": ((0, 8), (8, -6), (-8, -6)),
        "left": ((-8, 0), (6, -8), (6, 8)),
        "right": ((8, 0), (-6, -8), (-6, 8)),
        "cross": (
            *((-2, -7), (2, -7), (2, -2), (7, -2), (7, 2), (2, 2)),
            *((2, 7), (-2, 7), (-2, 2), (-7, 2), (-7, -2), (-2, -2)),
        ),
    }[name]
    return tag("path", class_="mark", d=path((x + a, y + b) for a, b in corners) + "Z")


def box(x: float, y: float, width: float, height: float, css: str) -> Markup:
    size = {"width": coordinate(width), "height": coordinate(height)}
    return tag("rect", class_=css, x=coordinate(x), y=coordinate(y), **size)


def line(points: Iterable[tuple[float, float]], css: str) -> Markup:
    return tag("path", class_=css, d=path(points), fill="none")


def path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def text(text: str, x: float, y: float, css: str | None = None, anchor: str = "start") -> Markup:
    side = None if anchor == "start" else anchor
    return tag("text", text, class_=css, x=coordinate(x), y=coordinate(y), text_anchor=side)


def coordinate(value: float) -> str:
    """Format a coordinate with one digit after the point: finer than any screen."""
    return f"{value:.1f}".removesuffix(".0")


def text_width(text: str) -> float:
    """Estimate the width of a text, rather too wide; no font metrics are available here."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return TEXT * (wide + 0.62 * (len(text) - wide))


def shorten(text: str, width: float) -> str:
    """Cut a text that is wider than `width`, and mark the cut with an ellipsis."""
    if text_width(text) <= width:
        return text
    while text and text_width(text + "…") > width:
        text = text[: min(len(text) - 1, int(width / TEXT * 2.5))]
    return text + "…"
