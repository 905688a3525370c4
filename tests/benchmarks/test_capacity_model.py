"""The capacity model: its arithmetic, on costs with known results, and its document."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.method.capacity_model import (
    REFERENCE,
    Assumptions,
    Costs,
    IdleClientCost,
    ModelError,
    figure_tables,
    intervals,
    main,
    plan,
    rewrite,
    single_room,
    spread,
    tables,
)
from tests.cases import each
from tests.server_process import ROOT

pytestmark = pytest.mark.unhurried

# A message costs 100 + 40 for each worker that receives it, a delivery 10, a client 20 per second.
COSTS = Costs(
    message_us=100,
    hear_us=40,
    delivery_us=10,
    redis_us=30,
    announce_us=5,
    idle={"websocket": IdleClientCost(cpu_ms=1.2, memory_kib=16, bytes_down=60)},
    event_bytes={"websocket": 250},
)
ASSUMED = Assumptions(room=10, rate=6, busy=0.5, memory=4.0)


def test_few_clients_need_one_worker_and_one_redis() -> None:
    found = plan(10, COSTS, ASSUMED)
    assert (found.messages, found.deliveries, found.receiving_workers) == (1, 10, 1)
    assert (found.workers, found.redis, found.connections) == (1, 1, 3)
    assert found.megabits == pytest.approx(8 * (10 * 250 + 10) / 1e6)


def test_more_clients_need_more_workers_and_each_receives_more_messages() -> None:
    found = plan(10_000, COSTS, ASSUMED)
    receiving = spread(found.workers, 10)
    used = 1000 * (100 + 40 * receiving) + 10_000 * 10 + 10_000 * 20
    assert found.receiving_workers == receiving
    assert found.cores == pytest.approx(used / 1e6)
    assert (found.workers - 1) * 0.5 < used / 1e6 <= found.workers * 0.5
    assert found.limit == "CPU"


def test_routing_a_room_to_one_worker_saves_workers_and_redis() -> None:
    apart, together = (
        plan(1_000_000, COSTS, replace(ASSUMED, together=one)) for one in (False, True)
    )
    assert together.receiving_workers == 1
    assert 9 < apart.receiving_workers < 10
    assert together.workers < apart.workers
    assert together.redis < apart.redis


def test_memory_limits_idle_clients() -> None:
    found = plan(1_000_000, COSTS, replace(ASSUMED, rate=0, memory=0.1, busy=1))
    assert found.limit == "memory"
    assert found.workers == 153  # 16 KiB per client, 0.1 GiB per worker
    assert found.redis == 1


def test_the_connection_limit_of_a_worker_decides() -> None:
    found = plan(1_000_000, COSTS, replace(ASSUMED, rate=0, memory=100, busy=1, open=5_000))
    assert (found.workers, found.limit) == (200, "connections")
    assert found.machines == 25


def test_one_room_is_limited_by_workers_and_then_by_redis() -> None:
    found = single_room(10_000, COSTS, ASSUMED)
    assert (found.workers, found.limit) == (1, "workers")
    assert found.worker_ms == pytest.approx(0.1 + 0.04 + 10_000 * 0.01)
    found = single_room(1_000_000_000, COSTS, ASSUMED)
    assert (found.workers, found.limit) == (100_000, "Redis")
    assert found.redis_ms == pytest.approx(0.03 + 100_000 * 0.005)
    assert found.max_rate == pytest.approx(500 / found.redis_ms)


def test_redis_pays_for_each_message_and_each_receiving_worker() -> None:
    found = plan(1_000_000, COSTS, replace(ASSUMED, together=True))
    assert found.redis == 7  # 100,000 per second at 35 µs, half of a core each


@each(
    ("workers", "room", "at"),
    [(1, 50, 1), (2, 1, 1), (2, 2, 1.5), (10_000, 50, 49.88), (10**18, 50, 50)],
)
def test_the_expected_number_of_workers_with_readers_of_a_room(
    workers: int, room: int, at: float
) -> None:
    assert spread(workers, room) == pytest.approx(at, abs=0.01)


# --- costs from result files ---------------------------------------------------------------------


def files(folder: Path, **changes: Any) -> Path:
    """Result files on known lines: 60 + 40 for each worker + 3 for each reader."""

    def cell(factors: dict[str, Any], **middles: float) -> dict[str, Any]:
        return {"factors": factors, "summary": {n: {"value": v} for n, v in middles.items()}}

    contents = {
        "multi_worker": [
            cell(
                {"workers": workers, "readers": readers},
                workers_us=60 + 40 * min(workers, readers) + 3 * readers,
                redis_us=25 + 5 * min(workers, readers),
                per_second=1000,
                deliveries=1000 * readers,
                opened=500,
            )
            for workers in (1, 2, 4)
            for readers in (1, 16)
        ],
        "idle_cost": [cell({"transport": "sse"}, cpu_ms=0.3, memory_kib=16.5, bytes_down=32)],
        "overhead": [
            cell({"transport": "sse", "size": size, "rate": rate}, bytes_down=200 + size + rate)
            for size in (100, 1000)
            for rate in (1, 5)
        ],
    } | changes
    for name, cells in contents.items():
        (folder / f"{name}.json").write_text(json.dumps({"cells": cells}))
    return folder


def test_costs_are_linear_fits_of_the_measurements(tmp_path: Path) -> None:
    costs = Costs.read(files(tmp_path))
    assert costs.message_us == pytest.approx(60)
    assert costs.hear_us == pytest.approx(40)
    assert costs.delivery_us == pytest.approx(3)
    assert costs.redis_us == pytest.approx(25)
    assert costs.announce_us == pytest.approx(5)
    assert costs.idle == {"sse": IdleClientCost(0.3, 16.5, 32)}
    assert costs.event_bytes == {"sse": 301}  # of the lowest rate: one message at a time


def test_the_difference_of_each_cell_from_the_fit_is_in_a_table(tmp_path: Path) -> None:
    table = figure_tables(files(tmp_path), Costs.read(tmp_path))["residuals"]
    rows = table.splitlines()[2:]
    assert len(rows) == 6
    assert all(row.count("+0 %") + row.count("-0 %") == 2 for row in rows)


def test_the_intervals_of_the_fit_contain_it_and_one_run_has_none(tmp_path: Path) -> None:
    costs = Costs.read(REFERENCE)
    fitted = (costs.message_us, costs.hear_us, costs.delivery_us, costs.redis_us, costs.announce_us)
    ends = intervals(REFERENCE)
    assert all(low <= value <= high for value, (low, high) in zip(fitted, ends, strict=True))
    assert intervals(files(tmp_path)) == []


def test_a_measurement_where_more_readers_cost_less_is_an_error(tmp_path: Path) -> None:
    path = files(tmp_path) / "multi_worker.json"
    found = json.loads(path.read_text())
    for one in found["cells"]:
        one["summary"]["workers_us"]["value"] = 300 / one["factors"]["readers"]
    path.write_text(json.dumps(found))
    with pytest.raises(ModelError, match="negative"):
        Costs.read(tmp_path)


@pytest.mark.parametrize(("factor", "value"), [("workers", 2), ("readers", 16)])
def test_a_measurement_without_variety_is_an_error_that_says_so(
    factor: str, value: int, tmp_path: Path
) -> None:
    path = files(tmp_path) / "multi_worker.json"
    found = json.loads(path.read_text())
    found["cells"] = [one for one in found["cells"] if one["factors"][factor] == value]
    path.write_text(json.dumps(found))
    with pytest.raises(ModelError, match="two different numbers"):
        Costs.read(tmp_path)


@pytest.mark.parametrize("name", ["multi_worker", "idle_cost", "overhead"])
def test_a_missing_or_invalid_file_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    path = files(tmp_path) / f"{name}.json"
    for text in ("", "[]", '{"cells": [1]}', '{"cells": [{"factors": {}}]}'):
        path.write_text(text)
        with pytest.raises(ModelError, match=name):
            Costs.read(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=name):
        Costs.read(tmp_path)


# --- the document --------------------------------------------------------------------------------


def test_the_document_has_the_tables_of_the_model() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    costs = Costs.read(REFERENCE)
    found = {**figure_tables(REFERENCE, costs), **tables(costs, Assumptions())}
    assert all(table in text for table in found.values())
    assert rewrite(text, found) == text


def test_rewrite_replaces_a_table_and_is_idempotent() -> None:
    text = "a\n<!-- plan -->\nold\n\nold\n<!-- / -->\nb\n"
    once = rewrite(text, {"plan": "| new |", "other": "| none |"})
    assert once == "a\n<!-- plan -->\n\n| new |\n\n<!-- / -->\nb\n"
    assert rewrite(once, {"plan": "| new |"}) == once


def model(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.multi_worker", "--model", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_the_command_line_computes_with_other_assumptions() -> None:
    done = model("--json", "--clients", "10000", "--room", "5", "--rate", "6")
    printed = json.loads(done.stdout)
    (found,) = printed["plans"]
    expected = plan(10_000, Costs.read(REFERENCE), Assumptions(room=5, rate=6))
    assert found["workers"] == expected.workers
    assert found["deliveries"] == expected.deliveries
    assert (printed["assumptions"]["room"], printed["halls"][0]["clients"]) == (5, 10_000)
    assert printed["costs"]["silence"].keys() == Costs.read(REFERENCE).idle.keys()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--transport", "pigeon"], "--transport"),
        (["--busy", "0"], "--busy"),
        (["--busy", "2"], "--busy"),
        (["--clients", "0"], "--clients"),
        (["--room", "nan"], "--room"),
        (["--room", "1e308"], "--room"),
        (["--rate", "1e300"], "--rate"),
        (["--open", "0"], "--open"),
        (["--cores", "inf"], "--cores"),
        (["--write", "/nowhere/scale.md"], "/nowhere/scale.md"),
        (["--figures", "/nowhere"], "multi_worker.json"),
    ],
)
def test_an_invalid_option_is_named_in_the_error(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert named in capsys.readouterr().err
