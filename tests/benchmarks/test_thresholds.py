"""A promise is kept or not, and what is not kept is loud wherever a result is read."""

from typing import Any

import pytest

from benchmarks.method.comparison import compare
from benchmarks.method.results import parse
from benchmarks.method.samples import Cell, Sample, ratios_by_run
from benchmarks.method.thresholds import Threshold, from_json, lines, median_over_runs, worst
from benchmarks.report.html_tables import thresholds
from benchmarks.report.i18n import LANGUAGES, load_translations
from tests.benchmarks.samples import parsed, result


@pytest.mark.parametrize(
    ("value", "at_least", "holds"),
    [
        (49.9, False, True),
        (50.0, False, True),
        (50.1, False, False),
        (50.0, True, True),
        (49.9, True, False),
        (None, False, False),  # what nobody measured is no promise kept
        (None, True, False),
    ],
)
def test_a_bound_is_the_most_or_the_least(value: float | None, at_least: bool, holds: bool) -> None:
    assert Threshold("a poll", value, 50, "ms", at_least).holds is holds


def test_what_a_file_keeps_is_what_was_promised() -> None:
    one = Threshold("a poll", 12.5, 50, "ms", of="sse")
    assert one.to_json()["holds"] is True
    assert from_json(one.to_json()) == one


def test_what_does_not_hold_is_loud() -> None:
    said = lines(
        [Threshold("a poll", 51.23, 50, "ms", of="sse"), Threshold("told", None, 3, at_least=True)]
    )
    assert said == [
        "!!! does not hold: a poll, sse: 51.23 ≤ 50 ms",
        "!!! does not hold: told: not measured ≥ 3",
    ]


def test_the_worst_run_is_not_the_one_in_the_middle() -> None:
    cells = [Cell({}, [Sample({"ms": 1.0}), Sample({"ms": None}), Sample({"ms": 9.0})])]
    cells.append(Cell({}, [Sample({"ms": 3.0})]))
    assert (median_over_runs(cells, "ms"), worst(cells, "ms")) == (3.0, 9.0)
    assert (median_over_runs(cells, "s"), worst(cells, "s")) == (None, None)


def test_ratios_are_of_the_same_run() -> None:
    one = Cell({}, [Sample({"x": 2.0}), Sample({"x": 40.0}), Sample({"x": None})])
    base = Cell({}, [Sample({"x": 1.0}), Sample({"x": 20.0}), Sample({"x": 5.0})])
    assert ratios_by_run(one, base, "x") == [2, 2]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_shows_what_holds_and_what_does_not(language: str) -> None:
    i18n = load_translations()[language]
    table = thresholds(parsed("burst"), i18n)
    assert table.count(i18n.t("bounds.broken")) == 2  # one is too slow, one was not measured
    assert i18n.t("bounds.holds") in thresholds(parsed("publish"), i18n)
    assert thresholds(parsed("latency"), i18n) == ""
    promise = "/healthz during the burst, p99"
    assert (promise in table) is (i18n.name(f"bound.{promise}", "") == promise)


def _slower(kind: str, measure: str, factor: float) -> dict[str, Any]:
    """The same file, but that one measure is so many times as much."""
    made = result(kind)
    for cell in made["cells"]:
        for run in cell["runs"]:
            run[measure] = run[measure] and run[measure] * factor
        cell["summary"][measure] = cell["summary"][measure] and {
            name: value * factor for name, value in cell["summary"][measure].items()
        }
    return made


@pytest.mark.parametrize(
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
def test_a_change_that_costs_speed_is_seen(
    kind: str, measure: str, factor: float, verdict: str
) -> None:
    [found], _ = compare([parsed(kind)], [parse(_slower(kind, measure, factor), "after.json")])
    told = [line.verdict for line in found.lines if line.measure == measure and line.a]
    assert {*told} == {verdict}
    assert verdict not in {line.verdict for line in found.lines if line.measure != measure}
