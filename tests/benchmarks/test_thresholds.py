"""A threshold holds or not, and one that fails is marked wherever a result is shown."""

from typing import Any

import pytest

from benchmarks.method.comparison import compare
from benchmarks.method.results import parse
from benchmarks.method.samples import Cell, Sample, ratios_by_run
from benchmarks.method.thresholds import Threshold, from_json, lines, median_over_runs, worst
from benchmarks.report.i18n import LANGUAGES, load_translations
from benchmarks.report.tables import thresholds
from benchmarks.report.text import format_result
from tests.benchmarks.samples import parsed, result
from tests.cases import each

pytestmark = pytest.mark.unhurried


@each(
    ("value", "at_least", "holds"),
    [
        (49.9, False, True),
        (50.0, False, True),
        (50.1, False, False),
        (50.0, True, True),
        (49.9, True, False),
        (None, False, False),  # a value that was not measured does not hold
        (None, True, False),
    ],
)
def test_a_threshold_is_a_maximum_or_a_minimum(
    value: float | None, at_least: bool, holds: bool
) -> None:
    assert Threshold("a poll", value, 50, "ms", at_least).holds is holds


def test_a_threshold_survives_the_result_file() -> None:
    one = Threshold("a poll", 12.5, 50, "ms", of="sse")
    assert one.to_json()["holds"] is True
    assert from_json(one.to_json()) == one


def test_a_threshold_that_fails_is_marked() -> None:
    shown = lines(
        [Threshold("a poll", 51.23, 50, "ms", of="sse"), Threshold("rate", None, 3, at_least=True)]
    )
    assert shown == [
        "!!! does not hold: a poll, sse: 51.23 ≤ 50 ms",
        "!!! does not hold: rate: not measured ≥ 3",
    ]


def test_worst_is_the_maximum_and_not_the_median() -> None:
    cells = [Cell({}, [Sample({"ms": 1.0}), Sample({"ms": None}), Sample({"ms": 9.0})])]
    cells.append(Cell({}, [Sample({"ms": 3.0})]))
    assert (median_over_runs(cells, "ms"), worst(cells, "ms")) == (3.0, 9.0)
    assert (median_over_runs(cells, "s"), worst(cells, "s")) == (None, None)


def test_ratios_are_computed_within_a_run() -> None:
    one = Cell({}, [Sample({"x": 2.0}), Sample({"x": 40.0}), Sample({"x": None})])
    base = Cell({}, [Sample({"x": 1.0}), Sample({"x": 20.0}), Sample({"x": 5.0})])
    assert ratios_by_run(one, base, "x") == [2, 2]


def test_a_short_run_shows_the_value_and_no_verdict() -> None:
    [line] = lines([Threshold("a poll", 51.23, 50, "ms")], judged=False)
    assert line == "not judged, too few or too short runs: a poll: 51.23 ≤ 50 ms"
    made = result("peers", bounds=[Threshold("a poll", 51.23, 50).to_json()])
    for settings, judged in [
        ({"runs": 5, "quick": False}, True),
        ({"runs": 5, "quick": True}, False),
        ({"runs": 4}, False),
    ]:
        text = format_result({**made, "settings": settings})
        assert ("does not hold" in text, "not judged" in text) == (judged, not judged)


@each("language", LANGUAGES)
def test_a_report_shows_which_thresholds_hold(language: str) -> None:
    i18n = load_translations()[language]
    verdicts = [row[-1].text for row in thresholds(parsed("burst"), i18n).rows]
    assert verdicts == [i18n.t("verdict.bad"), i18n.t("verdict.unknown")]
    assert [row[-1].look for row in thresholds(parsed("publish"), i18n).rows] == ["number good"]
    assert thresholds(parsed("latency"), i18n).rows == []
    name = "/healthz during the burst, p99"
    first = thresholds(parsed("burst"), i18n).rows[0][0].text
    assert (name in first) is (i18n.name(f"bound.{name}", "") == name)


def _slower(kind: str, measure: str, factor: float) -> dict[str, Any]:
    """Return the same file with one measure multiplied by `factor`."""
    made = result(kind)
    for cell in made["cells"]:
        for run in cell["runs"]:
            run[measure] = run[measure] and run[measure] * factor
        cell["summary"][measure] = cell["summary"][measure] and {
            name: value * factor for name, value in cell["summary"][measure].items()
        }
    return made


@each(
    ("kind", "measure", "factor", "verdict"),
    [
        ("publish", "per_second", 0.5, "worse"),
        ("publish", "message_us", 2.0, "worse"),
        ("burst", "cpu_us", 2.0, "worse"),
        ("burst", "per_push", 2.0, "better"),
        ("fanout_cost", "cpu_us", 0.5, "better"),
        ("c10k", "last_ms", 2.0, "worse"),
    ],
)
def test_a_change_that_costs_speed_gets_a_verdict(
    kind: str, measure: str, factor: float, verdict: str
) -> None:
    [found], _ = compare([parsed(kind)], [parse(_slower(kind, measure, factor), "after.json")])
    verdicts = [line.verdict for line in found.lines if line.measure == measure and line.a]
    assert {*verdicts} == {verdict}
    assert verdict not in {line.verdict for line in found.lines if line.measure != measure}
