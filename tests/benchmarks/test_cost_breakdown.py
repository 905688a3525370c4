"""Every step exists in the server's code and takes some time."""

import json
from pathlib import Path

import pytest

from benchmarks.cost_breakdown import STEPS, CostBreakdown
from benchmarks.method import runner

pytestmark = pytest.mark.unhurried


def test_each_step_of_each_path_is_measured(tmp_path: Path) -> None:
    options = ("--quick", "--times", "20", "--rounds", "2", "--followers", "5", "--hub", "memory")
    assert runner.run(CostBreakdown, [*options, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "cost_breakdown.json").read_text())
    measured = {
        (cell["factors"]["path"], cell["factors"]["step"]): cell["summary"]["cpu_us"]["value"]
        for cell in found["cells"]
    }
    assert {*measured} == {(path, step) for path, steps in STEPS.items() for step in steps}
    assert all(value > 0 for value in measured.values())
