"""The table beside a result file: one row per run and measure, for spreadsheets and pandas."""

import csv
from pathlib import Path

import pytest

from benchmarks.method.runner import save
from tests.benchmarks.samples import cell, result

pytestmark = pytest.mark.unhurried


def test_the_table_has_a_row_per_run_and_measure(tmp_path: Path) -> None:
    factors = {"transport": "sse", "network": "rtt=100ms,jitter=20ms", "rate": 20.0}
    found = cell(factors, {"p50": 52.5, "p99": None}, runs=2)
    measures = {"p50": {"unit": "ms", "label": ""}, "p99": {"unit": "ms", "label": ""}}
    made = result("latency", cells=[found], measures=measures)
    path = save(made, tmp_path)
    with path.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[2] == {
        "script": "latency",
        "started": "2026-11-23T08:20:00+00:00",
        "run": "2",
        "transport": "sse",
        "network": "rtt=100ms,jitter=20ms",
        "rate": "20.0",
        "measure": "p50",
        "unit": "ms",
        "value": str(found["runs"][1]["p50"]),
    }
    assert [row["value"] for row in rows if row["measure"] == "p99"] == ["", ""]


def test_a_factor_that_a_cell_lacks_is_empty(tmp_path: Path) -> None:
    found = cell({"transport": "sse"}, {"p50": 1.0}, runs=1)
    made = result("latency", cells=[found], factors=["transport", "network"])
    made["measures"]["p50"]["unit"] = "µs"
    with save(made, tmp_path).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert (row["network"], row["unit"]) == ("", "µs")
