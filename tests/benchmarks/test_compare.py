"""compare: lost messages first, a warning for what is not comparable, and careful verdicts."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from benchmarks.compare import html_page, main, text_lines
from benchmarks.method.comparison import (
    ComparedMeasure,
    Comparison,
    compare,
    ratio_of_runs,
    verdict,
)
from benchmarks.method.results import Estimate, parse
from benchmarks.report.i18n import LANGUAGES, load_translations
from benchmarks.report.page import libraries
from tests.benchmarks.samples import HOSTILE, KINDS, Json, cell, result, save
from tests.cases import each

pytestmark = pytest.mark.unhurried


def changed(before: Json, change: Callable[[Json], object]) -> Json:
    after = copy.deepcopy(before)
    change(after)
    return after


def scaled(before: Json, measure: str, factor: float) -> Json:
    """Return the same result with one measure multiplied by `factor` in every run."""
    after = copy.deepcopy(before)
    for one in after["cells"]:
        for run in one["runs"]:
            run[measure] *= factor
        one["summary"][measure] = {k: v * factor for k, v in one["summary"][measure].items()}
    return after


def compared(a: Json, b: Json) -> Comparison:
    [found], _ = compare([parse(a, "a.json")], [parse(b, "b.json")])
    return found


def verdicts(found: Comparison, measure: str) -> set[str]:
    return {line.verdict for line in found.lines if line.measure == measure}


def printed(a: Json, b: Json) -> str:
    found, alone = compare([parse(a, "a.json")], [parse(b, "b.json")])
    return "\n".join(text_lines(found, alone, load_translations()["en"]))


# --- ratios and verdicts -------------------------------------------------------------------------


def test_the_ratio_is_b_over_a_and_has_an_interval() -> None:
    found = ratio_of_runs([10, 11, 12], [20, 22, 24])
    assert found is not None
    assert found.value == pytest.approx(2)
    assert found.low is not None
    assert found.high is not None
    assert 1.6 < found.low < 2 < found.high < 2.5


@each(("a", "b"), [([], [1, 2]), ([0, 0], [1, 2]), ([1, 2], [0, 3])])
def test_a_ratio_needs_positive_values(a: list[float], b: list[float]) -> None:
    assert ratio_of_runs(a, b) is None


def test_one_run_gives_a_ratio_without_an_interval() -> None:
    assert ratio_of_runs([2], [3, 3]) == Estimate(1.5)


@each(
    ("a", "b", "more", "printed_text"),
    [
        (Estimate(1, 0.9, 1.1), Estimate(1.2, 1.1, 1.3), False, "same"),
        (Estimate(1, 0.9, 1.1), Estimate(1.3, 1.2, 1.4), False, "worse"),
        (Estimate(1, 0.9, 1.1), Estimate(0.5, 0.4, 0.6), False, "better"),
        (Estimate(1, 0.9, 1.1), Estimate(1.3, 1.2, 1.4), True, "better"),
        (Estimate(1, 0.9, 1.1), Estimate(0.5, 0.4, 0.6), True, "worse"),
        (Estimate(1), Estimate(9), False, "unknown"),
        (None, Estimate(1, 0.9, 1.1), False, "unknown"),
        (Estimate(5, 4, 6), Estimate(9, 8, 10, at_least=True), True, "better"),
        (Estimate(9, 8, 10, at_least=True), Estimate(50, 40, 60), True, "same"),
    ],
)
def test_only_separate_intervals_are_a_difference(
    a: Estimate | None, b: Estimate | None, more: bool, printed_text: str
) -> None:
    assert verdict(a, b, more) == printed_text


def test_less_is_better_except_for_some_measures() -> None:
    before = result("poll_gap", cells=result("poll_gap")["cells"][:4])
    assert verdicts(compared(before, scaled(before, "mean", 0.5)), "mean") == {"better"}
    assert verdicts(compared(before, scaled(before, "mean", 2)), "mean") == {"worse"}
    assert verdicts(compared(before, scaled(before, "at_once", 0.5)), "at_once") == {"worse"}
    assert verdicts(compared(before, copy.deepcopy(before)), "mean") == {"same"}


def test_more_capacity_is_better_and_an_open_end_has_no_ratio() -> None:
    before = result("capacity")
    more = {name: {k: v * 2 for k, v in one.items()} for name, one in before["capacity"].items()}
    for one in more.values():
        one["reached"] = True
    found = compared(before, {**before, "capacity": more})
    lines = {line.factors["transport"]: line for line in found.lines if line.measure == "capacity"}
    assert lines["sse"].verdict == "better"
    assert lines["sse"].ratio == Estimate(2)
    # "At least 4,000" can mean 8,000.
    assert lines["websocket"].ratio is None
    assert lines["websocket"].verdict == "same"


def test_a_single_run_has_no_verdict() -> None:
    one = cell({"transport": "sse"}, {"cpu_ms": 1.0}, runs=1)
    before = result("idle_cost", cells=[one])
    found = compared(before, scaled(before, "cpu_ms", 9))
    assert verdicts(found, "cpu_ms") == {"unknown"}


def test_cells_are_matched_by_their_factors_in_any_order() -> None:
    before = result("idle_cost")
    found = compared(before, changed(before, lambda after: after["cells"].reverse()))
    assert {line.ratio.value for line in found.lines if line.ratio} == {1.0}
    assert found.missing == []


def test_a_cell_on_one_side_only_is_named() -> None:
    before = result("idle_cost")
    found = compared(before, changed(before, lambda after: after["cells"].pop()))
    assert found.missing == ["webtransport"]
    assert "left out: webtransport" in printed(before, changed(before, lambda b: b["cells"].pop()))


def test_a_benchmark_on_one_side_only_is_named() -> None:
    a, b = parse(result("poll_gap"), "a"), parse(result("peers"), "b")
    assert compare([a], [b]) == ([], ["poll_gap", "peers"])


def test_the_newest_of_several_results_is_compared() -> None:
    old, new = result("poll_gap"), result("poll_gap", started="2027-01-01T00:00:00+00:00")
    found, _ = compare([parse(new, "new"), parse(old, "old")], [parse(old, "b")])
    assert found[0].a.path == "new"
    assert found[0].several


def test_a_ratio_of_the_budget_that_grew_is_worse() -> None:
    def costlier(after: Json) -> None:
        after["budget"][0]["measured"] = {"value": 0.8, "low": 0.7, "high": 0.9}

    before = result("peers")
    found = compared(before, changed(before, costlier)).lines
    lines = [line for line in found if line.measure == "budget.cpu_us"]
    assert [line.verdict for line in lines] == ["worse", "same", "unknown"]
    assert lines[0].factors["peer"] == "realtime websocket / socket.io websocket"
    assert "ratio of CPU per delivery" in printed(before, changed(before, costlier))


# --- what comes first ----------------------------------------------------------------------------


def test_lost_messages_come_before_everything() -> None:
    before = result("overhead")
    shown = printed(before, changed(before, lambda b: b["correctness"].update(lost=3)))
    assert shown.startswith("!!! Overhead: The delivery guarantee is broken\n")
    assert "lost: A 0, B 3" in shown
    assert shown.index("lost: A 0, B 3") < shown.index("bytes up")


def test_equal_losses_on_both_sides_are_shown() -> None:
    both = result("overhead", correctness={"lost": 3})
    assert "lost: A 3, B 3" in printed(both, both)


def test_times_of_different_machines_have_no_verdict_but_bytes_have() -> None:
    before = result("idle_cost")
    after = changed(before, lambda b: b["machine"].update(cpu="Other 1"))
    found = compared(before, after)
    assert verdicts(found, "cpu_ms") == verdicts(found, "memory_kib") == {"unknown"}
    assert verdicts(found, "bytes_down") == {"same"}
    shown = printed(before, after)
    assert shown.startswith("!!! The cost of an idle client: These results are not comparable")
    assert "cpu: A Example 9000 @ 3.0 GHz, B Other 1" in shown
    assert "The machines differ" in shown


def test_different_settings_have_no_verdict() -> None:
    before = result("idle_cost")
    after = changed(before, lambda b: b["settings"].update(rate=20.0))
    assert {line.verdict for line in compared(before, after).lines} == {"unknown"}
    assert "rate: A 10.0, B 20.0" in printed(before, after)


@each(
    ("change", "printed_text"),
    [
        (lambda b: b.update(seed=8), "seed: A 7, B 8"),
        (lambda b: b["versions"].update(tornado="7"), "tornado: A 6.6.1, B 7"),
        (lambda b: b["settings"].update(runs=9), "runs: A 5, B 9"),
        (lambda b: b["settings"].update(transports=["sse"]), 'B ["sse"]'),
        (lambda b: b.update(complete=False), "complete: A True, B False"),
    ],
)
def test_other_differences_are_shown_and_keep_the_verdict(
    change: Callable[[Json], object], printed_text: str
) -> None:
    before = result("idle_cost")
    after = changed(before, change)
    assert printed_text in printed(before, after)
    assert "!!!" not in printed(before, after)
    assert verdicts(compared(before, after), "cpu_ms") == {"same"}


def test_equal_results_have_no_warnings() -> None:
    shown = printed(result("latency"), result("latency"))
    assert "!!!" not in shown
    assert "differ" not in shown


# --- the command line and the page ---------------------------------------------------------------


def run(folder: Path, *results: Json, out: bool = True) -> int:
    paths = [str(path) for path in save(folder, *results)]
    return main([*paths, *(["--out", str(folder / "out")] if out else [])])


def test_it_prints_a_table_and_writes_nothing_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result("idle_cost")
    assert run(tmp_path, before, scaled(before, "cpu_ms", 0.5), out=False) == 0
    printed = capsys.readouterr().out
    assert "better" in printed
    assert len(list(tmp_path.iterdir())) == 2


def exit_status(folder: Path, *results: Json, options: tuple[str, ...] = ("--quiet",)) -> int:
    return main([*options, *map(str, save(folder, *results))])


def test_a_regression_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result("idle_cost", cells=result("idle_cost")["cells"][:2])
    assert exit_status(tmp_path, before, scaled(before, "cpu_ms", 2)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[:4] for line in lines] == [
        ["regression:", "idle_cost,", f"{transport}:", "cpu_ms"]
        for transport in ("short_polling", "long_polling")
    ]
    assert all(", B / A 2" in line for line in lines)


def test_without_a_regression_quiet_prints_nothing_and_exits_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result("idle_cost")
    assert exit_status(tmp_path, before, before) == 0
    assert exit_status(tmp_path, before, scaled(before, "cpu_ms", 0.5)) == 0
    assert capsys.readouterr() == ("", "")


def test_a_difference_below_the_tolerance_is_no_regression(tmp_path: Path) -> None:
    one = cell({"transport": "sse"}, {"cpu_ms": 1.0, "bytes_down": 32.0}, runs=5)
    for run_ in one["runs"]:
        run_.update(cpu_ms=1.0, bytes_down=32.0)
    one["summary"] = {
        name: {"value": value, "low": value, "high": value}
        for name, value in (("cpu_ms", 1.0), ("bytes_down", 32.0))
    }
    before = result("idle_cost", cells=[one], measures={"cpu_ms": {}, "bytes_down": {}})
    slower = scaled(before, "cpu_ms", 1.2)
    assert exit_status(tmp_path, before, slower) == 1
    assert exit_status(tmp_path, before, slower, options=("--tolerance", "25")) == 0
    # Bytes are counted, so one byte more is one byte more.
    assert exit_status(tmp_path, before, scaled(before, "bytes_down", 33 / 32)) == 1


def test_lost_messages_are_a_regression_whatever_the_measures_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result("overhead")
    losing = changed(before, lambda b: b["correctness"].update(lost=3))
    assert exit_status(tmp_path, before, losing) == 1
    assert capsys.readouterr().out == "regression: overhead: lost 0 -> 3\n"
    assert exit_status(tmp_path, losing, before) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b["settings"].update(rate=20.0), "rate is 10.0 in A, 20.0 in B"),
        (lambda b: [one["runs"].pop() for one in b["cells"]], "no measure has 5 runs"),
        (lambda b: b["cells"].clear(), "no measure has 5 runs"),
    ],
)
def test_results_that_cannot_be_judged_are_exit_2_and_say_why(
    change: Callable[[Json], object],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = result("idle_cost")
    assert exit_status(tmp_path, before, changed(before, change)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"not judged: idle_cost: {reason}" in err
    assert "nothing can be judged" in err


def test_more_deliveries_are_better() -> None:
    one = cell({"workers": 1, "readers": 1}, {"deliveries": 100.0, "opened": 9.0})
    before = result("multi_worker", cells=[one], measures={"deliveries": {}, "opened": {}})
    assert verdicts(compared(before, scaled(before, "deliveries", 2)), "deliveries") == {"better"}
    assert verdicts(compared(before, scaled(before, "opened", 0.5)), "opened") == {"worse"}


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [path] = save(tmp_path, result("poll_gap"))
    assert main([str(path), str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'none.json'}: No such file")


@each("kind", KINDS)
def test_every_kind_can_be_compared_in_every_language(kind: str) -> None:
    found, alone = compare([parse(result(kind), "a")], [parse(result(kind), "b")])
    page = html_page(found, alone, load_translations())
    for language in LANGUAGES:
        assert f'id="{language}-{kind.replace("_", "-")}"' in page
        assert re.search(f'<figure class="chart" id="{language}-{kind.replace("_", "-")}-', page)


def test_results_without_a_common_benchmark_still_have_a_page(tmp_path: Path) -> None:
    assert run(tmp_path, result("poll_gap"), result("peers")) == 2
    empty = result("poll_gap", cells=[])
    assert run(tmp_path / "empty", empty, empty) == 2
    assert (tmp_path / "empty" / "out" / "compare.html").exists()


def test_hostile_names_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = result("idle_cost", seed=HOSTILE, machine={"cpu": HOSTILE})
    bad["cells"][0]["factors"]["transport"] = HOSTILE
    bad["settings"] = {HOSTILE: HOSTILE}
    other: dict[str, Any] = {**bad, "settings": {}, "seed": 1}
    assert run(tmp_path, bad, other) == 2  # other settings
    page = (tmp_path / "out" / "compare.html").read_text("utf-8")
    page = page.replace(libraries(), "")
    assert "<b onclick" not in page
    assert "&lt;b onclick" in page
    assert not set("\x00\x1b\u202e") & set(page + capsys.readouterr().out)


def test_a_compared_measure_has_all_columns_of_the_table() -> None:
    [line] = compared(
        result(
            "idle_cost",
            cells=[cell({"transport": "sse"}, {"cpu_ms": 1.0})],
            measures={"cpu_ms": {}},
        ),
        result(
            "idle_cost",
            cells=[cell({"transport": "sse"}, {"cpu_ms": 1.0})],
            measures={"cpu_ms": {}},
        ),
    ).lines
    assert line == ComparedMeasure(
        {"transport": "sse"}, "cpu_ms", line.a, line.a, line.ratio, "same"
    )


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_opens_in_each_language(
    context: BrowserContext, console_errors: list[str], tmp_path: Path
) -> None:
    before = result("idle_cost")
    assert run(tmp_path, before, scaled(before, "cpu_ms", 2)) == 1
    page = await context.new_page()
    await page.goto((tmp_path / "out" / "compare.html").as_uri())
    for language, own in LANGUAGES.items():
        await page.get_by_label(own).check()
        heading = load_translations()[language].t("compare.title")
        await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    assert console_errors == []
