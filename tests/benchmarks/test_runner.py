"""The runner: order of the cells, summaries, exit status."""

import argparse
import random
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.method import runner
from benchmarks.method.audit import Audit
from benchmarks.method.runner import Benchmark
from benchmarks.method.samples import Cell, Factors, Measure, Sample, summarise, trusted
from benchmarks.method.testbed import ServerUnderTest
from benchmarks.report.text import format_result
from tests.cases import each

pytestmark = pytest.mark.unhurried


class Known(Benchmark):
    """A benchmark with known results and without a server."""

    name = "known"
    question = "?"
    examples = ""
    factors = ("transport", "size")
    measures: ClassVar = {"p50": Measure("ms", "")}
    quick: ClassVar = {"runs": 2}
    order_of_cells: ClassVar[list[str]] = []
    audit: ClassVar = Audit(1, 10)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=["sse", "websocket"])
        cls.order_of_cells = []

    def start(self) -> ServerUnderTest:
        sut = ServerUnderTest("http://127.0.0.1:1")
        sut.describe = lambda: {"hub": "none", "version": "0"}  # type: ignore[method-assign]
        return sut

    def cells(self) -> list[Factors]:
        return self.grid(transport=["sse", "websocket"], size=[1, 2, 3])

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        self.order_of_cells.append(f"{factors['transport']}{factors['size']}")
        return Sample({"p50": float(factors["size"])}, audit=self.audit)

    def predict(self, factors: Factors) -> dict[str, float]:
        return {"p50": 2.0}


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    return Run(tmp_path)


class Run:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str) -> int:
        return runner.run(Known, [*arguments, "--out", str(self._folder)])


def test_every_run_measures_every_cell_once_in_a_new_order(run: Run) -> None:
    assert run("--runs", "4", "--seed", "1") == 0
    runs = [Known.order_of_cells[n : n + 6] for n in range(0, 24, 6)]
    assert all(len({*one}) == 6 for one in runs)
    assert len({*map(tuple, runs)}) > 1


def test_the_seed_determines_the_order(run: Run) -> None:
    orders = []
    for seed in ("1", "1", "2"):
        run("--seed", seed)
        orders.append(Known.order_of_cells)
    assert orders[0] == orders[1] != orders[2]


def test_theory_and_the_difference_are_printed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--quick")
    printed = capsys.readouterr().out
    assert "1 [1–1] | 2 -50 %" in printed
    assert "3 [3–3] | 2 +50 %" in printed
    assert "fewer than 5 runs" in printed


def test_the_maximum_is_that_of_all_runs() -> None:
    samples = [Sample({}, [1.0, 2.0, 3.0]) for _ in range(4)] + [Sample({}, [1.0, 50.0, 3.0])]
    worst, middle = summarise(samples, "max", 0), summarise(samples, "p50", 0)
    assert worst is not None and middle is not None  # noqa: PT018
    assert (worst.value, middle.value) == (50, 2)


def test_a_measure_without_values_has_no_summary() -> None:
    assert summarise([Sample({"p99": None}), Sample({})], "p99", 0) is None


@each("fault", ["lost", "doubled", "misplaced", "disagreeing", "unacknowledged", "miscounted"])
def test_one_fault_makes_a_result_untrusted(fault: str) -> None:
    assert trusted({})
    assert not trusted({fault: 1})


@pytest.mark.parametrize(
    ("fault", "word"),
    [("lost", "lost"), ("duplicated", "duplicated"), ("reordered", "out of order")],
)
def test_faults_are_in_the_first_line_and_in_the_exit_status(
    fault: str,
    word: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    audit = Audit(1, 10)
    getattr(audit, fault)["reader"] = ["id"]
    monkeypatch.setattr(Known, "audit", audit)
    assert run("--runs", "1") == 3
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].startswith("!!! known:")
    assert f"6 {word}" in lines[0]


def test_an_error_after_some_cells_keeps_them(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(self: Known, factors: Factors, rng: random.Random) -> Sample:
        if len(self.order_of_cells) == 3:
            raise OSError("the cable is out")
        self.order_of_cells.append("")
        return Sample({"p50": 1.0})

    monkeypatch.setattr(Known, "measure", measure)
    assert run("--runs", "1") == 1
    assert "the cable is out" in capsys.readouterr().out


def test_a_cell_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as stack:
        options = argparse.Namespace(url=None, hub="", runs=1, seed=1, out=Path())
        bench = Known(options, stack)
        cells = [
            Cell(factors, [bench.measure(factors, random.Random())]) for factors in bench.cells()
        ]
        result = runner._result(bench, cells, options, {})
    table = [line.split() for line in format_result(result).splitlines()]
    assert ["websocket", "3", "3", "|", "2", "+50", "%"] in table
