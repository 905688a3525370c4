"""The reference is one session: all of its results are copied, or none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.method.reference import SCALE, main
from benchmarks.method.results import BENCHMARKS
from tests.benchmarks.samples import Json, cell, result
from tests.benchmarks.test_capacity_model import files

pytestmark = pytest.mark.unhurried


def session(folder: Path) -> Path:
    """Full results of every benchmark; those that the model reads are on known lines."""
    files(folder)
    for name in BENCHMARKS:
        path = folder / f"{name}.json"
        text = (
            path.read_text().replace('"sse"', '"websocket"') if path.exists() else '{"cells": []}'
        )
        cells = json.loads(text)["cells"]
        found = result("latency", benchmark=name, settings={"quick": False})
        found["cells"] = cells or [cell({"transport": "sse"}, {"p50": 1.0})]
        path.write_text(json.dumps(found))
    return folder


@pytest.fixture
def targets(tmp_path: Path) -> list[str]:
    to, scale = tmp_path / "reference", tmp_path / "scale.md"
    to.mkdir()
    scale.write_text(SCALE.read_text())
    return ["--to", str(to), "--scale", str(scale)]


def test_the_results_of_a_session_are_copied_and_the_model_is_written(
    tmp_path: Path, targets: list[str]
) -> None:
    (tmp_path / "results").mkdir()
    assert main([str(session(tmp_path / "results")), *targets]) == 0
    copied = {path.stem for path in (tmp_path / "reference").iterdir()}
    assert copied == {*BENCHMARKS}
    assert (tmp_path / "scale.md").read_text() != SCALE.read_text()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: one["settings"].update(quick=True), "overhead: a quick run"),
        (lambda one: one.update(complete=False), "overhead: it was interrupted"),
        (lambda one: one["correctness"].update(lost=2), "overhead: 2 lost"),
        (lambda one: one["correctness"].update(refused=7), "overhead: 7 messages were refused"),
        (lambda one: one.update(seed=8), "2 different seeds"),
        (lambda one: one["machine"].update(cpu="Other"), "2 different machines"),
        (lambda one: one.update(realtime="9.9"), "2 different versions"),
        (lambda one: one.update(benchmark="latency"), "no result of overhead"),
    ],
)
def test_anything_else_is_refused_whole_and_the_reason_is_named(
    change: Callable[[Json], object],
    reason: str,
    tmp_path: Path,
    targets: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "results").mkdir()
    path = session(tmp_path / "results") / "overhead.json"
    one = json.loads(path.read_text())
    change(one)
    path.write_text(json.dumps(one))
    assert main([str(tmp_path / "results"), *targets]) == 1
    assert reason in capsys.readouterr().err
    assert not [*(tmp_path / "reference").iterdir()]
