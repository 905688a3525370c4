"""Plots: points are at the position of their values, and names are always escaped."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.method.results import TRANSPORTS, Estimate
from benchmarks.report.axes import format_number, format_tick, make_axis
from benchmarks.report.figures import figures
from benchmarks.report.i18n import LANGUAGES, load_translations
from benchmarks.report.plots import (
    FIGURE,
    BarChart,
    Dot,
    LineChart,
    Mark,
    Panel,
    Row,
    Series,
    draw_bar_chart,
    draw_line_chart,
)
from benchmarks.report.svg import HUES, MARGIN, SHAPES, WIDTH, shorten, standalone, text_width
from tests.benchmarks.samples import HOSTILE, KINDS, cell, parsed

pytestmark = pytest.mark.unhurried

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
CHART = LineChart("title", "about", "x", "y", ())


def elements(drawing: str, name: str, look: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(drawing).iter(SVG + name)
    return [one for one in found if look in one.get("class", "").split() or not look]


def texts(drawing: str) -> list[str]:
    return ["".join(one.itertext()) for one in elements(drawing, "text")]


def circles(drawing: str) -> list[tuple[float, float]]:
    """The dots of the first series, without the one in the legend."""
    found = [one for one in elements(drawing, "circle") if one.get("cy") != "0"]
    return [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in found]


def at(drawing: str, label: str) -> ElementTree.Element:
    """Return the text element with the content `label`."""
    [found] = [one for one in elements(drawing, "text") if "".join(one.itertext()) == label]
    return found


# --- axes ----------------------------------------------------------------------------------------


def test_a_linear_axis_maps_the_middle_to_the_middle() -> None:
    axis = make_axis([0, 10], 100, 300)
    assert [axis.at(value) for value in (0, 5, 10)] == [100, 200, 300]


def test_a_logarithmic_axis_gives_each_decade_the_same_length() -> None:
    axis = make_axis([1, 100], 0, 200, log=True)
    assert [round(axis.at(value), 6) for value in (1, 10, 100)] == [0, 100, 200]


def test_an_axis_can_run_upwards() -> None:
    axis = make_axis([0, 1], 400, 100)
    assert [axis.at(value) for value in (0, 0.5, 1)] == [400, 250, 100]


def test_values_outside_the_axis_are_drawn_at_the_nearer_end() -> None:
    axis = make_axis([1, 100], 0, 200, log=True)
    assert [axis.at(value) for value in (-5, 0, 1e9)] == [0, 0, 200]


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([0, 10], None, (0, 2, 4, 6, 8, 10)),
        ([0, 0.7], None, (0, 0.2, 0.4, 0.6, 0.8)),
        ([13, 87], None, (0, 20, 40, 60, 80, 100)),
        ([0.4, 8], True, (0.2, 0.5, 1, 2, 5, 10)),
        ([1, 900], True, (1, 3, 10, 30, 100)),
        ([1, 90_000], True, (1, 10, 100, 1000)),
        ([7], None, (0, 2, 4, 6, 8)),
        ([], None, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([0], True, (0.9, 1, 1.1)),
    ],
)
def test_ticks_are_ones_twos_and_fives(
    values: list[float], log: bool | None, ticks: tuple[float, ...]
) -> None:
    assert make_axis(values, 0, 400, log).ticks[: len(ticks)] == ticks


@pytest.mark.parametrize("values", [[1e-9, 1e12], [3, 3.01], [1e-29, 1e29], [5, 5], [-4, 9]])
@pytest.mark.parametrize("log", [True, False])
def test_every_axis_includes_its_values_and_has_space_for_its_ticks(
    values: list[float], log: bool
) -> None:
    axis = make_axis(values, 0, 620, log)
    assert axis.low <= min(v for v in values if v > 0 or not log)
    assert axis.high >= max(values)
    assert 2 <= len(axis.ticks) <= 13
    assert list(axis.ticks) == sorted(set(axis.ticks))


@pytest.mark.parametrize(
    ("values", "log"), [([1, 29], False), ([1, 31], True), ([0, 5], False), ([0, 1, 900], True)]
)
def test_a_wide_spread_makes_an_axis_logarithmic(values: list[float], log: bool) -> None:
    assert make_axis(values, 0, 400).log is log


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00012, "0.00012"),
        (0.01234, "0.0123"),
        (1.2345, "1.23"),
        (9.996, "10"),
        (99.96, "100"),
        (1234567.8, "1,234,568"),
        (-4.5, "−4.5"),
        (1e13, "1.00e+13"),
    ],
)
def test_a_number_has_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_ticks_with_many_zeros_are_short() -> None:
    assert [format_tick(value) for value in (5000, 20_000, 1e6, 3e9)] == [
        "5,000",
        "20k",
        "1M",
        "3G",
    ]


# --- charts --------------------------------------------------------------------------------------


def dots(*points: tuple[float, float], **more: object) -> LineChart:
    series = Series("one", 0, dots=[Dot(x, Estimate(y)) for x, y in points])
    return replace(CHART, series=[series], **more)  # type: ignore[arg-type]


def test_a_dot_is_above_its_x_and_beside_its_y() -> None:
    drawing = draw_line_chart(dots((100, 0), (150, 20), (200, 40)))
    (_, middle, _) = circles(drawing)
    assert middle[0] == pytest.approx(
        (circles(drawing)[0][0] + circles(drawing)[2][0]) / 2, abs=0.1
    )
    assert middle[0] == pytest.approx(float(at(drawing, "150").attrib["x"]), abs=0.1)
    # The text of a number is 6 units below the middle of its line.
    assert middle[1] == pytest.approx(float(at(drawing, "20").attrib["y"]) - 6, abs=0.1)


def test_logarithmic_axes_give_each_factor_of_ten_the_same_distance() -> None:
    drawing = draw_line_chart(dots((1, 1), (10, 10), (100, 100), log_x=True, log_y=True))
    (x1, y1), (x2, y2), (x3, y3) = circles(drawing)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)


def test_an_interval_reaches_from_its_low_to_its_high() -> None:
    series = Series("one", 0, dots=[Dot(100, Estimate(5, 0, 10)), Dot(200, Estimate(5))])
    drawing = draw_line_chart(replace(CHART, series=[series]))
    [interval] = elements(drawing, "path", "whisker")
    [low, high] = [float(y) for y in re.findall(r"[ML][-.\d]+ ([-.\d]+)", interval.attrib["d"])]
    assert low == pytest.approx(float(at(drawing, "0").attrib["y"]) - 6, abs=0.1)
    assert low - high == pytest.approx(400, abs=0.1)


def test_theory_is_dashed_and_in_the_legend() -> None:
    drawing = draw_line_chart(
        replace(CHART, series=[Series("one", 3, theory=[(0, 0), (1, 1)])], theory="T")
    )
    assert "T" in texts(drawing)
    assert len(elements(drawing, "path", "theory")) == 2
    assert "stroke-dasharray" in standalone(drawing, "en")


def test_without_theory_the_legend_does_not_mention_it() -> None:
    assert "T" not in texts(draw_line_chart(dots((0, 0), (1, 1), theory="T")))


def test_a_share_is_written_in_per_cent() -> None:
    drawing = draw_line_chart(dots((0, 0), (1, 1), percent=True))
    assert {"0 %", "100 %"} <= set(texts(drawing))


def test_series_differ_by_shape_as_well_as_by_colour() -> None:
    series = [Series(name, n, dots=[Dot(n, Estimate(n))]) for n, name in enumerate(TRANSPORTS)]
    drawing = draw_line_chart(replace(CHART, series=series))
    keys = [one for one in ElementTree.fromstring(drawing).iter(SVG + "g") if one.get("transform")]
    shapes = {re.sub(r" class=\"hue\d\"", "", _markup(key)) for key in keys}
    assert len(shapes) == len(TRANSPORTS) == len(SHAPES) == len(HUES)


def _markup(key: ElementTree.Element) -> str:
    marks = [one for one in key.iter() if one.get("class") == "mark"]
    return "".join(ElementTree.tostring(one, "unicode") for one in marks)


def test_the_curve_of_a_distribution_goes_through_its_points() -> None:
    curve = [(0.0, 0.0), (5.0, 0.5), (10.0, 1.0)]
    drawing = draw_line_chart(replace(CHART, series=[Series("one", 0, curve=curve)]))
    path = max((one.attrib["d"] for one in elements(drawing, "path", "curve")), key=len)
    points = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
    (x1, y1), (x2, y2), (x3, y3) = points
    assert (x2, y2) == (
        pytest.approx((x1 + x3) / 2, abs=0.1),
        pytest.approx((y1 + y3) / 2, abs=0.1),
    )


def test_an_even_distribution_is_no_straight_line_on_a_logarithmic_axis() -> None:
    one = cell({"transport": "sse", "network": "none", "rate": "10/s"}, {"p50": 500.0})
    one |= {"ecdf": [[1, 0.0], [1001, 1.0]], "theory_ecdf": [[1, 0.0], [1001, 1.0]]}
    [found, _] = figures(parsed("latency", cells=[one]), load_translations()["en"])
    for look in ("curve", "theory"):
        path = max((p.attrib["d"] for p in elements(found.drawing, "path", look)), key=len)
        points = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
        x, y = zip(*points, strict=True)
        half = min(points, key=lambda point: abs(point[1] - (y[0] + y[-1]) / 2))
        # 501 is half-way between 1 and 1,001, and nine tenths of the way on paper.
        assert (half[0] - x[0]) / (x[-1] - x[0]) == pytest.approx(0.9, abs=0.01)


# --- boards --------------------------------------------------------------------------------------


def one_panel(*marks: Mark, **more: object) -> BarChart:
    rows = [Row(f"row {place}", place, [mark]) for place, mark in enumerate(marks)]
    return BarChart("title", "about", [replace(Panel("", "unit", rows), **more)])  # type: ignore[arg-type]


def test_a_bar_of_half_the_value_has_half_the_length() -> None:
    drawing = draw_bar_chart(one_panel(Mark(Estimate(10)), Mark(Estimate(5)), Mark(Estimate(0))))
    whole, half, nothing = [float(b.attrib["width"]) for b in elements(drawing, "rect", "mark")]
    assert half == pytest.approx(whole / 2, abs=0.1)
    assert nothing == 0
    assert whole > (WIDTH - 2 * MARGIN - FIGURE) / 2


def test_a_value_that_was_not_measured_is_a_dash_without_a_bar() -> None:
    drawing = draw_bar_chart(one_panel(Mark(Estimate(10)), Mark(None)))
    assert len(elements(drawing, "rect", "mark")) == 1
    assert "–" in texts(drawing)


def test_theory_is_a_stroke_across_its_row() -> None:
    drawing = draw_bar_chart(one_panel(Mark(Estimate(10), theory=5.0)))
    [_, stroke] = [one.attrib["d"] for one in elements(drawing, "path", "tick")]
    [bar] = elements(drawing, "rect", "mark")
    start, width = float(bar.attrib["x"]), float(bar.attrib["width"])
    assert float(stroke.split()[0][1:]) == pytest.approx(start + width / 2, abs=0.1)


def test_at_least_is_an_arrow_without_an_upper_end() -> None:
    bounded = draw_bar_chart(one_panel(Mark(Estimate(10, 9, 11))))
    drawing = draw_bar_chart(one_panel(Mark(Estimate(10, 9, 11, at_least=True))))
    assert "≥ 10" in texts(drawing)
    assert len(elements(drawing, "path", "whisker")) == 2
    assert elements(bounded, "path", "ink")
    assert not elements(drawing, "path", "ink")


def test_ratios_are_centred_on_one() -> None:
    marks = [Mark(Estimate(ratio)) for ratio in (0.51, 1, 1 / 0.51)]
    drawing = draw_bar_chart(one_panel(*marks, bars=False, ratio=True))
    half, one, twice = [x for x, _ in circles(drawing)]
    assert one - half == pytest.approx(twice - one, abs=0.2)
    [line] = [path.attrib["d"] for path in elements(drawing, "path", "axis")]
    assert one == pytest.approx(float(line[1:].split()[0]), abs=0.1)


def test_panels_of_one_unit_share_an_axis() -> None:
    panels = [Panel(n, "", [Row("r", 0, [Mark(Estimate(v))])]) for n, v in [("a", 10), ("b", 5)]]
    widths = [
        float(b.attrib["width"])
        for b in elements(draw_bar_chart(BarChart("", "", panels)), "rect", "mark")
    ]
    assert widths[1] == pytest.approx(widths[0] / 2, abs=0.1)
    own = draw_bar_chart(BarChart("", "", panels, shared=False))
    widths = [float(b.attrib["width"]) for b in elements(own, "rect", "mark")]
    assert widths[1] == pytest.approx(widths[0], abs=0.1)


# --- all of them ---------------------------------------------------------------------------------


def drawings(kind: str, **changes: object) -> Iterable[str]:
    for language, i18n in load_translations().items():
        for one in figures(parsed(kind, **changes), i18n):
            yield standalone(one.drawing, language)


@pytest.mark.parametrize("kind", KINDS)
def test_every_plot_is_a_file_of_its_own_with_a_title_and_a_description(kind: str) -> None:
    found = list(drawings(kind))
    assert len(found) >= len(LANGUAGES)
    for one in found:
        root = ElementTree.fromstring(one)
        assert root.tag == SVG + "svg"
        assert [child.tag for child in root][:3] == [SVG + "style", SVG + "title", SVG + "desc"]
        assert (root[1].text or "").strip()
        assert (root[2].text or "").strip()
        assert "nan" not in one.replace("name", "").lower().replace("nanum", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_plot_draws_nothing_outside_its_area(kind: str) -> None:
    for one in drawings(kind):
        root = ElementTree.fromstring(one)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for shape in root.iter():
            for name, most in [("x", width), ("cx", width), ("y", height), ("cy", height)]:
                # A group moves the entries of the legend to their position.
                assert -8 <= float(shape.get(name, 0)) <= most
        for text in root.iter(SVG + "text"):
            if text.get("text-anchor") is None and text.get("class") != "head":
                assert float(text.attrib["x"]) + text_width("".join(text.itertext())) <= width + 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_without_cells_has_no_empty_plots(kind: str) -> None:
    assert list(drawings(kind, cells=[], capacity={}, ratios={})) == []


def test_an_unknown_benchmark_has_no_plots() -> None:
    assert list(drawings("latency", benchmark="weather")) == []


@pytest.mark.parametrize("kind", ["latency", "overhead", "idle_cost", "fanout", "recovery"])
def test_a_hostile_name_stays_text(kind: str) -> None:
    cells = KINDS[kind]()["cells"]
    for one in cells[:3]:
        one["factors"]["transport"] = HOSTILE
    found = list(drawings(kind, cells=cells))
    assert any("&lt;/script&gt;" in one for one in found)
    for drawing in found:
        root = ElementTree.fromstring(drawing)
        assert not {SVG + "b", SVG + "script"} & {part.tag for part in root.iter()}
        assert not set("\x1b\u202e") & set(drawing)


@pytest.mark.parametrize("text", ["x" * 5000, "字" * 5000])
def test_a_very_long_name_is_cut(text: str) -> None:
    cut = shorten(text, 200)
    assert cut.endswith("…")
    assert text_width(cut) <= 200
    assert shorten("short", 200) == "short"


def test_a_transport_has_the_colour_that_it_has_on_the_pages() -> None:
    for sheet in ("demos/static/style.css", "benchmarks/report/report.css"):
        text = (ROOT / sheet).read_text("utf-8")
        for name, colours in zip(TRANSPORTS, HUES, strict=True):
            pattern = rf'="{name}"\] {{ --[a-z]+: light-dark\({colours[0]}, {colours[1]}\)'
            assert re.search(pattern, text), (sheet, name)
