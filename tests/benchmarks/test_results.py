"""Result files that were written under the old names of six benchmarks stay readable."""

import shutil
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.method.capacity_model import REFERENCE, Costs
from benchmarks.method.comparison import compare as compare_results
from benchmarks.method.results import BENCHMARKS, RENAMED, RENAMED_STEPS, find_file, load, parse
from benchmarks.report.__main__ import main as report
from tests.benchmarks.samples import Json, parsed, result, save
from tests.cases import each

pytestmark = pytest.mark.unhurried


def old_file(kind: str) -> Json:
    """A result file as it was written before its benchmark was renamed."""
    made = result(RENAMED[kind], benchmark=kind)
    old_steps = {new: old for old, new in RENAMED_STEPS.items()}
    for cell in made["cells"]:
        step = cell["factors"].get("step")
        cell["factors"] |= {"step": old_steps.get(step, step)} if step else {}
    return made


@each("kind", RENAMED)
def test_an_old_file_is_read_under_its_new_name(kind: str) -> None:
    old = parse(old_file(kind), f"{kind}.json")
    assert old.benchmark == RENAMED[kind]
    assert old.cells == parsed(RENAMED[kind]).cells


@each("kind", RENAMED)
def test_an_old_file_is_compared_with_a_new_one(kind: str) -> None:
    old = parse(old_file(kind), f"{kind}.json")
    [found], alone = compare_results([old], [parsed(RENAMED[kind])])
    assert alone == found.missing == []
    assert {line.verdict for line in found.lines if line.a} == {"same"}


def test_folders_of_old_and_new_files_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "old", *map(old_file, RENAMED))
    save(tmp_path / "new", *map(result, RENAMED.values()))
    assert compare.main([str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert "same" in printed
    assert "left out" not in printed


def test_a_report_shows_old_files_like_new_ones(tmp_path: Path) -> None:
    save(tmp_path / "old", *map(old_file, RENAMED))
    save(tmp_path / "new", *map(result, RENAMED.values()))
    pages = []
    for folder in ("old", "new"):
        assert report([str(tmp_path / folder), "--out", str(tmp_path / f"{folder}-out")]) == 0
        page = (tmp_path / f"{folder}-out" / "report.html").read_text("utf-8")
        pages.append(page.replace(str(tmp_path / folder), ""))
    old, new = pages
    for kind, renamed in RENAMED.items():
        old = old.replace(f"-{kind}.json", f"-{renamed}.json")
    assert old == new


def test_the_capacity_model_reads_a_folder_with_old_file_names(tmp_path: Path) -> None:
    for old, new in [("scale", "multi_worker"), ("silence", "idle_cost"), ("overhead", "overhead")]:
        shutil.copy(REFERENCE / f"{new}.json", tmp_path / f"{old}.json")
    assert Costs.read(tmp_path) == Costs.read(REFERENCE)


def test_a_file_with_the_new_name_is_preferred(tmp_path: Path) -> None:
    for name in ("gap", "poll_gap"):
        (tmp_path / f"{name}.json").touch()
    assert find_file(tmp_path, "poll_gap") == tmp_path / "poll_gap.json"
    (tmp_path / "poll_gap.json").unlink()
    assert find_file(tmp_path, "poll_gap") == tmp_path / "gap.json"
    (tmp_path / "gap.json").unlink()
    assert find_file(tmp_path, "poll_gap") == tmp_path / "poll_gap.json"


def test_the_reference_has_a_readable_result_of_each_benchmark() -> None:
    assert [one.benchmark for one in load([REFERENCE])] == list(BENCHMARKS)


def test_no_benchmark_has_an_old_name() -> None:
    assert not RENAMED.keys() & set(BENCHMARKS)
    assert set(RENAMED.values()) <= set(BENCHMARKS)
