"""The recipes of docs/recipes.md: other tools see what our load generator sees."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cost_breakdown import CostBreakdown
from benchmarks.method import runner
from benchmarks.method.runner import Benchmark
from benchmarks.overhead import Overhead
from tests.conftest import Servers, missing
from tests.server_process import ROOT, Server

RECIPES = ROOT / "benchmarks" / "recipes"
# A tool that runs for a second needs a few, on a busy machine.
SECONDS = 60
PUSHING = ["long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket"]


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


def tool(name: str) -> None:
    if shutil.which(name) is None:
        missing(name)


def run(*command: str) -> list[list[str]]:
    """Run a recipe; return the words of each line."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


def measured(
    benchmark: type[Benchmark], server: Server, folder: Path, *given: str
) -> list[dict[str, Any]]:
    """Run a benchmark; return its cells."""
    common = ["--url", server.url, "--out", str(folder), "--quick", "--runs", "1"]
    assert runner.run(benchmark, [*common, *given]) == 0
    cells: list[dict[str, Any]] = json.loads((folder / f"{benchmark.name}.json").read_text())[
        "cells"
    ]
    return cells


@pytest.mark.unhurried
def test_curl_counts_the_bytes_of_a_message_as_overhead_does(
    server: Server, tmp_path: Path
) -> None:
    tool("curl")
    counted = {name: int(count) for name, count in run("sh", f"{RECIPES}/bytes.sh", server.url)}
    given = ("-t", ",".join(PUSHING), "--rate", "20", "--seconds", "0.3")
    # The model, since on a busy machine two messages can come together and then share some bytes.
    ours = {
        cell["factors"]["transport"]: cell["theory"]["bytes_down"]
        for cell in measured(Overhead, server, tmp_path, *given)
    }
    assert {name: counted[name] for name in PUSHING} == pytest.approx(ours, abs=1)
    assert counted["short_polling"] == counted["long_polling"]


def test_wrk_sees_a_poll_cost_what_cost_breakdown_says(server: Server, tmp_path: Path) -> None:
    tool("wrk")
    tool("curl")
    given = ("--times", "4000", "--rounds", "1", "--followers", "2")

    def ratio() -> float:
        [_, [found, *_]] = run("sh", f"{RECIPES}/polls.sh", server.url, "1")
        [ours] = [
            cell["summary"]["cpu_us"]["value"]
            for cell in measured(CostBreakdown, server, tmp_path, *given)
            if cell["factors"] == {"path": "poll", "step": "end_to_end"}
        ]
        return float(found) / float(ours)

    # Both are CPU time, one after the other.  What else runs on the same core meanwhile can double
    # one of them, but not each time.
    assert any(0.5 < ratio() < 2 for _ in range(3))


# No package registry has k6, so CI has none, and a skip is no missing part (tools/parts.sh).
@pytest.mark.skipif(shutil.which("k6") is None, reason="k6 is not installed")
def test_k6_sees_the_delay_of_a_network(server: Server, tmp_path: Path) -> None:
    with Server("--target", server.url, "--network", "rtt=100ms", program=PROXY) as proxy:
        given = ["-e", f"URL={server.url}", "-e", f"READERS={proxy.url}", "-e", "SECONDS=2"]
        summary = tmp_path / "summary.json"
        given += ["--quiet", "--summary-export", str(summary)]
        done = subprocess.run(["k6", "run", *given, f"{RECIPES}/delay.js"], timeout=SECONDS)
    assert done.returncode == 0
    delays = json.loads(summary.read_text())["metrics"]["delivery_delay"]
    assert delays["count"] == 10 * 20 * 2
    assert 50 <= delays["med"] < 100


PROXY = ("-m", "realtime", "proxy")


@pytest.mark.unhurried
def test_the_script_for_k6_is_a_module_without_a_syntax_error() -> None:
    tool("node")
    script = (RECIPES / "delay.js").read_bytes()
    command = ["node", "--input-type=module", "--check"]
    assert subprocess.run(command, input=script, timeout=SECONDS).returncode == 0
