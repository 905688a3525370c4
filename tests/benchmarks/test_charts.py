"""Charts: each is a valid specification that has its values, and is drawn where they belong."""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import jsonschema_rs
import pytest
import vl_convert

from benchmarks.method.results import TRANSPORTS, Estimate
from benchmarks.report.charts import (
    HUES,
    SHAPES,
    Bar,
    Dot,
    Series,
    Spec,
    bar_chart,
    colour,
    line_chart,
    needs_log,
)
from benchmarks.report.figures import Figure, figures, interpolate
from benchmarks.report.i18n import load_translations
from benchmarks.report.numbers import format_estimate, format_number
from benchmarks.report.page import VENDOR
from tests.benchmarks.samples import HOSTILE, KINDS, parsed
from tests.cases import each
from tests.conftest import missing
from tools.pictures import CHARTS, VEGA_LITE

pytestmark = pytest.mark.unhurried

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@cache
def validator() -> Any:
    """The schema of the version that draws the report."""
    path = VENDOR / "vega-lite" / "vega-lite-schema.json"
    if not path.exists():
        missing("vega, which make test downloads,")

    def encoded(part: dict[str, Any]) -> dict[str, Any]:
        """In a reference RFC 3986 wants `<` and `|` encoded, and this schema does not."""
        return {**part, "$ref": quote(part["$ref"], safe="#/")} if "$ref" in part else part

    schema = json.loads(path.read_text("utf-8"), object_hook=encoded)
    return jsonschema_rs.validator_for(schema)


def in_english(kind: str, **changes: Any) -> list[Figure]:
    return figures(parsed(kind, **changes), load_translations()["en"])


def values(spec: Spec) -> Iterable[dict[str, Any]]:
    """Yield every row of data in a specification."""
    for part in (spec, *spec["layer"]):
        yield from part.get("data", {}).get("values", [])
    for rows in spec.get("datasets", {}).values():
        yield from rows


def layer(spec: Spec, mark: str) -> Spec:
    """Return the only layer with this kind of mark."""
    kinds = [one["mark"] if isinstance(one["mark"], str) else one["mark"]["type"]
             for one in spec["layer"] if "mark" in one]  # fmt: skip
    return spec["layer"][kinds.index(mark)]


def scale(spec: Spec, channel: str) -> Spec:
    encodings = [one["encoding"] for one in spec["layer"] if "encoding" in one]
    return next(one[channel]["scale"] for one in encodings if "scale" in one.get(channel, {}))


# --- numbers -------------------------------------------------------------------------------------


@each(
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


def test_an_estimate_has_its_interval_or_at_least() -> None:
    assert format_estimate(Estimate(1.2, 1.1, 1.4)) == "1.2 (1.1–1.4)"
    assert format_estimate(Estimate(4000, at_least=True)) == "≥ 4,000"


# --- bars ----------------------------------------------------------------------------------------


def bars(*estimates: Estimate | None, **options: Any) -> Spec:
    rows = [Bar(f"row {place}", one, place) for place, one in enumerate(estimates)]
    return bar_chart("title", "about", "unit", rows, **options)


def test_a_bar_of_half_the_value_is_drawn_with_half_the_length() -> None:
    spec = bars(Estimate(10), Estimate(5), Estimate(0))
    drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg({**spec, "width": 600}, VEGA_LITE))
    paths = [one.attrib for one in drawn.iter(SVG + "path")]
    lengths = {
        one["fill"]: float(re.search(r"h(-?[\d.]+)", one["d"])[1])  # type: ignore[index]
        for one in paths
        if one.get("fill") in {colour(place) for place in range(3)}
    }
    whole, half, nothing = (lengths[colour(place)] for place in range(3))
    assert half == pytest.approx(whole / 2, abs=0.1)
    assert nothing == 0
    assert whole > 300
    texts = ["".join(one.itertext()) for one in drawn.iter(SVG + "text")]
    assert {"title", "unit", "row 0", "10", "5"} <= set(texts)


def test_bars_start_at_zero_unless_their_spread_is_wide() -> None:
    assert scale(bars(Estimate(10), Estimate(5)), "x")["domain"][0] == 0
    wide = bars(Estimate(1), Estimate(900), Estimate(0))
    assert scale(wide, "x")["type"] == "log"
    # The shortest bar has a visible length, and 0 is drawn at the end of the axis.
    assert scale(wide, "x")["domain"][0] == 0.5
    assert [row["x"] for row in wide["data"]["values"]] == [1, 900, 0.5]
    assert layer(wide, "bar")["encoding"]["x2"] == {"datum": 0.5}


@each(("found", "log"), [([1, 29], False), ([1, 31], True), ([0, 5], False), ([0, 1, 900], True)])
def test_a_wide_spread_makes_an_axis_logarithmic(found: list[float], log: bool) -> None:
    assert needs_log(found) is log


def test_a_value_that_was_not_measured_is_a_dash_without_a_bar() -> None:
    spec = bars(Estimate(10), None)
    measured, not_measured = spec["data"]["values"]
    assert "x" not in not_measured
    dashes = [one["data"]["values"] for one in spec["layer"][1:] if "data" in one][-1]
    assert [row["text"] for row in dashes] == ["–"]
    assert measured["text"] == "10"


def test_theory_is_a_stroke_in_its_row() -> None:
    spec = bar_chart("", "", "", [Bar("a", Estimate(10), theory=5.0), Bar("b", Estimate(7))])
    assert layer(spec, "tick")["encoding"]["x"]["field"] == "theory"
    assert [row.get("theory") for row in spec["data"]["values"]] == [5.0, None]


def test_at_least_has_no_upper_end() -> None:
    [row] = bars(Estimate(10, 9, 11, at_least=True))["data"]["values"]
    assert row["text"] == "≥ 10"
    assert "high" not in row
    [row] = bars(Estimate(10, 9, 11))["data"]["values"]
    assert (row["low"], row["high"]) == (9, 11)


def test_ratios_are_centred_on_one() -> None:
    low, high = scale(bars(Estimate(0.5), Estimate(1.5), dots=True, ratio=True), "x")["domain"]
    assert low == pytest.approx(1 / high)
    assert high > 2
    rule = bars(Estimate(0.5), ratio=True)["layer"][0]
    assert rule["encoding"] == {"x": {"datum": 1}}


def test_charts_of_one_unit_have_one_axis() -> None:
    found = [one.spec for one in in_english("overhead")]
    assert len(found) == 3
    assert len({str(scale(one, "x")) for one in found}) == 1


# --- lines ---------------------------------------------------------------------------------------


def test_a_dot_has_its_values_and_its_interval() -> None:
    series = Series("one", 0, dots=[Dot(100, Estimate(5, 1, 10)), Dot(200, Estimate(6))])
    spec = line_chart("", "", "x", "y", [series])
    points = layer(spec, "point")["data"]["values"]
    assert [(point["x"], point["y"]) for point in points] == [(100, 5), (200, 6)]
    assert points[0]["tip"] == "one, 100: 5 (1–10)"
    assert [(one["low"], one["high"]) for one in layer(spec, "rule")["data"]["values"]] == [(1, 10)]
    # Without theory the dots are joined.
    assert len(spec["datasets"]["joined"]) == 2


def test_theory_is_dashed_and_not_joined_with_the_dots() -> None:
    series = Series("one", 3, dots=[Dot(1, Estimate(5))], theory=[(0, 0), (1, 1)])
    spec = line_chart("", "", "x", "y", [series])
    assert layer(spec, "line")["mark"]["strokeDash"]
    assert layer(spec, "line")["data"] == {"name": "theory"}
    assert spec["datasets"].keys() == {"theory"}


def test_series_differ_by_shape_as_well_as_by_colour() -> None:
    series = [Series(name, n, dots=[Dot(n, Estimate(n))]) for n, name in enumerate(TRANSPORTS)]
    encoding = layer(line_chart("", "", "x", "y", series), "point")["encoding"]
    for channel, known in (("color", HUES), ("shape", SHAPES)):
        used = encoding[channel]["scale"]
        assert used["domain"] == [*TRANSPORTS]
        assert len(set(used["range"])) == len(TRANSPORTS) == len(known)


def test_a_share_is_written_in_per_cent() -> None:
    [at_once, mean] = in_english("poll_gap")
    formats = [
        layer(one.spec, "point")["encoding"]["y"]["axis"]["format"] for one in (at_once, mean)
    ]
    assert formats == [".0%", ",~r"]


def test_a_distribution_goes_through_its_points_in_their_order() -> None:
    cells = KINDS["latency"]()["cells"]
    first = in_english("latency")[0].spec
    curve = [
        [row["x"], row["y"]]
        for row in first["datasets"]["curves"]
        if row["series"] == "short_polling"
    ]
    assert curve == cells[0]["ecdf"]
    assert layer(first, "line")["encoding"]["order"] == {"value": 0}


def test_an_even_distribution_is_no_straight_line_on_a_logarithmic_axis() -> None:
    points = interpolate([(1.0, 0.0), (1001.0, 1.0)])
    assert all(y == pytest.approx((x - 1) / 1000) for x, y in points)
    assert points[-1] == (1001.0, 1.0)
    # On paper the first decade is a third of the axis, so it needs more points.
    assert sum(1 < x < 20 for x, _ in points) >= 3


# --- all of them ---------------------------------------------------------------------------------


@each("kind", KINDS)
def test_every_chart_is_valid_and_has_a_title_and_a_description(kind: str) -> None:
    for i18n in load_translations().values():
        found = figures(parsed(kind), i18n)
        assert found
        for one in found:
            errors = [error.message[:500] for error in validator().iter_errors(one.spec)]
            assert errors == []
            assert one.spec["title"].strip()
            assert one.spec["description"].strip()
            assert "NaN" not in json.dumps(one.spec)


@each("kind", KINDS)
def test_vega_lite_compiles_every_chart(kind: str) -> None:
    for one in in_english(kind):
        assert vl_convert.vegalite_to_vega(one.spec, VEGA_LITE)["marks"]


def test_the_schema_notices_a_mistake() -> None:
    spec = bars(Estimate(1))
    assert not validator().is_valid({**spec, "layer": [{"mark": "pie", "encoding": {}}]})


@each("kind", KINDS)
def test_a_result_without_cells_has_no_empty_charts(kind: str) -> None:
    assert in_english(kind, cells=[], capacity={}, ratios={}) == []


def test_an_unknown_benchmark_has_no_charts() -> None:
    assert in_english("latency", benchmark="weather") == []


@each("kind", ["latency", "overhead", "idle_cost", "fanout", "recovery"])
def test_a_hostile_name_is_a_value_in_the_data(kind: str) -> None:
    cells = KINDS[kind]()["cells"]
    for one in cells[:3]:
        one["factors"]["transport"] = HOSTILE
    rows = [row for one in in_english(kind, cells=cells) for row in values(one.spec)]
    names = {row.get("label", row.get("series")) for row in rows}
    assert any(name and name.startswith("</script>") for name in names)
    assert not any(set("\x1b\u202e") & set(name) for name in names if name)


def test_a_transport_has_the_colour_that_it_has_on_the_pages() -> None:
    for sheet in ("demos/static/style.css", "benchmarks/report/report.css"):
        text = (ROOT / sheet).read_text("utf-8")
        for name, colours in zip(TRANSPORTS, HUES, strict=True):
            pattern = rf'="{name}"\] {{ --[a-z]+: light-dark\({colours[0]}, {colours[1]}\)'
            assert re.search(pattern, text), (sheet, name)


def test_the_charts_of_the_docs_exist_and_are_drawn_by_the_same_version() -> None:
    for benchmark, name in CHARTS.values():
        found = [one.name.replace("100 ms", "rtt=100ms") for one in in_english(benchmark)]
        assert name in found
    package = json.loads((ROOT / "benchmarks/report/package.json").read_text("utf-8"))
    assert package["dependencies"]["vega-lite"].startswith(VEGA_LITE)
