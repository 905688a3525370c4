"""What many clients take: the arithmetic, on figures whose answers are known; and the document."""

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
    measured,
    plan,
    rewrite,
    single_room,
    spread,
    tables,
)
from tests.server_process import ROOT

pytestmark = pytest.mark.unhurried

# A message costs 100 + 40 for each worker that hears it, a delivery 10, a second of silence 20.
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


def test_few_clients_take_one_of_each() -> None:
    found = plan(10, COSTS, ASSUMED)
    assert (found.messages, found.deliveries, found.receiving_workers) == (1, 10, 1)
    assert (found.workers, found.redis, found.connections) == (1, 1, 3)
    assert found.megabits == pytest.approx(8 * (10 * 250 + 10) / 1e6)


def test_more_clients_take_more_workers_each_of_which_hears_more() -> None:
    found = plan(10_000, COSTS, ASSUMED)
    told = spread(found.workers, 10)
    used = 1000 * (100 + 40 * told) + 10_000 * 10 + 10_000 * 20
    assert found.receiving_workers == told
    assert found.cores == pytest.approx(used / 1e6)
    assert (found.workers - 1) * 0.5 < used / 1e6 <= found.workers * 0.5
    assert found.limit == "CPU"


def test_readers_who_are_led_together_are_heard_of_at_one_worker() -> None:
    apart, together = (
        plan(1_000_000, COSTS, replace(ASSUMED, together=one)) for one in (False, True)
    )
    assert together.receiving_workers == 1
    assert 9 < apart.receiving_workers < 10
    assert together.workers < apart.workers
    assert together.redis < apart.redis


def test_clients_who_say_nothing_are_limited_by_memory() -> None:
    found = plan(1_000_000, COSTS, replace(ASSUMED, rate=0, memory=0.1, busy=1))
    assert found.limit == "memory"
    assert found.workers == 153  # 16 KiB each, of 0.1 GiB
    assert found.redis == 1


def test_a_worker_lets_in_so_many_and_no_more() -> None:
    found = plan(1_000_000, COSTS, replace(ASSUMED, rate=0, memory=100, busy=1, open=5_000))
    assert (found.workers, found.limit) == (200, "connections")
    assert found.machines == 25


def test_one_room_with_everybody_in_ends_at_one_redis() -> None:
    found = single_room(10_000, COSTS, ASSUMED)
    assert (found.workers, found.limit) == (1, "workers")
    assert found.worker_ms == pytest.approx(0.1 + 0.04 + 10_000 * 0.01)
    found = single_room(1_000_000_000, COSTS, ASSUMED)
    assert (found.workers, found.limit) == (100_000, "Redis")
    assert found.redis_ms == pytest.approx(0.03 + 100_000 * 0.005)
    assert found.max_rate == pytest.approx(500 / found.redis_ms)


def test_redis_is_busy_with_each_message_and_each_worker_that_is_told() -> None:
    found = plan(1_000_000, COSTS, replace(ASSUMED, together=True))
    assert found.redis == 7  # 100 000 a second of 35 µs, on half of a core each


@pytest.mark.parametrize(
    ("workers", "room", "at"),
    [(1, 50, 1), (2, 1, 1), (2, 2, 1.5), (10_000, 50, 49.88), (10**18, 50, 50)],
)
def test_how_many_workers_have_readers_of_a_room(workers: int, room: int, at: float) -> None:
    assert spread(workers, room) == pytest.approx(at, abs=0.01)


# --- figures -------------------------------------------------------------------------------------


def files(folder: Path, **changes: Any) -> Path:
    """Result files whose lines are known: 60 + 40 for each worker + 3 for each reader."""

    def cell(factors: dict[str, Any], **middles: float) -> dict[str, Any]:
        return {"factors": factors, "summary": {n: {"value": v} for n, v in middles.items()}}

    told = {
        "multi_worker": [
            cell(
                {"workers": workers, "readers": readers},
                workers_us=60 + 40 * min(workers, readers) + 3 * readers,
                redis_us=25 + 5 * min(workers, readers),
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
    for name, cells in told.items():
        (folder / f"{name}.json").write_text(json.dumps({"cells": cells}))
    return folder


def test_costs_are_lines_through_what_was_measured(tmp_path: Path) -> None:
    costs = Costs.read(files(tmp_path))
    assert costs.message_us == pytest.approx(60)
    assert costs.hear_us == pytest.approx(40)
    assert costs.delivery_us == pytest.approx(3)
    assert costs.redis_us == pytest.approx(25)
    assert costs.announce_us == pytest.approx(5)
    assert costs.idle == {"sse": IdleClientCost(0.3, 16.5, 32)}
    assert costs.event_bytes == {"sse": 301}  # each alone, as people speak


@pytest.mark.parametrize("name", ["multi_worker", "idle_cost", "overhead"])
def test_files_that_are_missing_or_strange_are_named(tmp_path: Path, name: str) -> None:
    path = files(tmp_path) / f"{name}.json"
    for text in ("", "[]", '{"cells": [1]}', '{"cells": [{"factors": {}}]}'):
        path.write_text(text)
        with pytest.raises(ModelError, match=name):
            Costs.read(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=name):
        Costs.read(tmp_path)


# --- the document --------------------------------------------------------------------------------


def test_the_tables_of_the_document_are_those_of_the_model() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    found = {"measured": measured(REFERENCE), **tables(Costs.read(REFERENCE), Assumptions())}
    assert all(table in text for table in found.values())
    assert rewrite(text, found) == text


def test_tables_are_put_in_their_places() -> None:
    text = "a\n<!-- plan -->\nold\n\nold\n<!-- / -->\nb\n"
    once = rewrite(text, {"plan": "| new |", "other": "| none |"})
    assert once == "a\n<!-- plan -->\n\n| new |\n\n<!-- / -->\nb\n"
    assert rewrite(once, {"plan": "| new |"}) == once


def model(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.multi_worker", "--model", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_the_script_recomputes_it_under_other_assumptions() -> None:
    done = model("--json", "--clients", "10000", "--room", "5", "--rate", "6")
    said = json.loads(done.stdout)
    (found,) = said["plans"]
    expected = plan(10_000, Costs.read(REFERENCE), Assumptions(room=5, rate=6))
    assert found["workers"] == expected.workers
    assert found["deliveries"] == expected.deliveries
    assert (said["assumptions"]["room"], said["halls"][0]["clients"]) == (5, 10_000)
    assert said["costs"]["silence"].keys() == Costs.read(REFERENCE).idle.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
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
def test_what_makes_no_sense_is_told(arguments: list[str], said: str) -> None:
    done = model(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
