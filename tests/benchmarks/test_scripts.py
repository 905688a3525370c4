"""Every script runs from its command line to its file, and says what it must."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.competitors.systems import SYSTEMS
from realtime import __version__
from tests.benchmarks.faulty_server import StrangeServer, losing
from tests.conftest import missing
from tests.server_process import ROOT, Server

# Of each script, quick and smaller still: it is the way that is tested here, not the figures.
SCRIPTS = {
    "latency": ["--network", "rtt=20ms"],
    "poll_gap": ["--network", "rtt=50ms", "--rate", "20", "--messages", "10"],
    "overhead": [],
    "idle_cost": ["--seconds", "2", "--clients", "5", "--network", "rtt=20ms"],
    "fanout": ["--followers", "1,20", "--network", "rtt=20ms"],
    "capacity": ["--steps", "5,10", "--network", "rtt=20ms"],
    "slow_reader": ["--stopped", "5", "--megabytes", "0.4", "--deadline", "1"],
    "recovery": ["--network", "rtt=20ms"],
    "session": ["--network", "none", "--visits", "2"],
}
TWO = ["short_polling", "websocket"]
# A run of one script takes seconds; on a machine that is busy, more.
SECONDS = 90


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{script}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)


def result(folder: Path, script: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{script}.json").read_text())
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_and_writes_what_it_found(script: str, tmp_path: Path) -> None:
    common = ["--quick", "--runs", "1", "--seed", "7", "--transports", ",".join(TWO)]
    done = run(script, *common, *SCRIPTS[script], "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = result(tmp_path, script)
    assert found["complete"]
    assert found["seed"] == found["settings"]["seed"] == 7
    assert found["realtime"] == __version__
    assert found["versions"]["tornado"]
    assert found["machine"]["cores"] >= 1
    told = found["correctness"]
    assert {told.get(name, 0) for name in ("lost", "doubled", "misplaced", "miscounted")} == {0}
    if script == "session":
        assert {cell["factors"]["way"] for cell in found["cells"]} == set(TWO)
    elif script != "poll_gap":
        assert {cell["factors"]["transport"] for cell in found["cells"]} == set(TWO)
    for cell in found["cells"]:
        assert len(cell["runs"]) == 1
        assert cell["summary"].keys() == found["measures"].keys()
        assert any(cell["summary"].values())
        assert str(next(iter(cell["factors"].values()))) in done.stdout
    assert "0 lost, 0 duplicated, 0 out of order" in done.stdout
    assert "late by" in done.stdout or script in ("idle_cost", "session")


@pytest.mark.unhurried
def test_messages_that_a_server_loses_are_loud(tmp_path: Path) -> None:
    with StrangeServer(tamper=losing(5)) as server:
        options = ["--transports", "sse", "--network", "none", "--runs", "1", "--out", tmp_path]
        done = run("latency", "--quick", "--url", server.url, *options)
    assert done.returncode == 3
    assert "!!! latency: 1 lost" in done.stdout
    assert result(tmp_path, "latency")["correctness"]["lost"] == 1


def test_a_stall_of_50_ms_is_in_the_table(tmp_path: Path) -> None:
    with StrangeServer(stalls={10: 0.05}) as server:
        options = ["--transports", "sse", "--network", "none", "--runs", "1", "--out", tmp_path]
        run("latency", "--quick", "--url", server.url, *options)
    [cell] = result(tmp_path, "latency")["cells"]
    assert cell["summary"]["max"]["value"] >= 50
    assert cell["summary"]["p50"]["value"] < 50


@pytest.mark.unhurried
def test_interrupted_it_keeps_what_is_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.latency", "--network", "none", "--runs", "999"]
    command += ["--transports", "sse", "--quick", "--out", str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=6)
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, complaints) == (130, "")
    assert "interrupted" in said
    found = result(tmp_path, "latency")
    assert not found["complete"]
    assert 1 <= len(found["cells"][0]["runs"]) < 999


def test_a_server_that_is_not_there_is_one_line_and_exit_1(tmp_path: Path) -> None:
    done = run("latency", "--quick", "--url", "http://127.0.0.1:1", "--out", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:1" in done.stderr


def test_a_server_that_refuses_is_named(tmp_path: Path) -> None:
    with Server("--hub", "memory", "--message-burst", "1", "--messages-per-second", "1") as server:
        done = run("latency", "--quick", "--url", server.url, "-t", "sse", "--out", tmp_path)
    assert done.returncode == 1
    assert "too_fast" in done.stderr


@pytest.mark.parametrize("script", [*SCRIPTS, "peers"])
def test_help_has_examples(script: str) -> None:
    done = run(script, "--help")
    assert done.returncode == 0
    assert f"python -m benchmarks.{script} --quick" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--transports", "pigeon"], "pigeon"),
        (["--network", "lag=1s"], "lag"),
        (["--runs", "0"], "above 0"),
        (["--url", "https://127.0.0.1"], "not an http:// address"),
        (["--out", "/dev/null/results"], "--out /dev/null/results"),
        (["--rate", "0"], "above 0"),
    ],
)
def test_what_cannot_be_is_named(arguments: list[str], word: str) -> None:
    done = run("latency", *arguments)
    assert done.returncode == 2
    assert word in done.stderr


def test_a_question_of_one_network_is_not_asked_of_two() -> None:
    done = run("idle_cost", "--network", "none", "--network", "rtt=1s")
    assert done.returncode == 2
    assert "one at a time" in done.stderr


# --- peers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of all that this machine has, each under one load."""
    folder = tmp_path_factory.mktemp("peers")
    options = ["--quick", "--followers", "20", "--pollers", "20", "--paced-messages", "5"]
    options += ["--loads", "paced,idle", "--seed", "7", "--network", "rtt=20ms"]
    done = run("peers", *options, "--out", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "performance budget: " in done.stdout
    return result(folder, "peers")


@pytest.mark.unhurried
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_peer_is_measured(name: str, peers: dict[str, Any]) -> None:
    if lack := SYSTEMS[name].missing():
        missing(lack)
    [cell] = (cell for cell in peers["cells"] if cell["factors"]["peer"] == name)
    figures = {measure: found["value"] for measure, found in cell["summary"].items() if found}
    if cell["factors"]["load"] == "idle":
        assert figures.keys() == {"poll_us"}
    else:
        assert figures.keys() == {"p50", "p99", "cpu_us", "memory_kib"}
        assert figures["p50"] >= 10  # through the network, like everybody
        assert f"{name}, paced" in peers["ratios"] or name == peers["against"]
    assert all(value > 0 for value in figures.values())


def test_peers_lose_and_double_nothing(peers: dict[str, Any]) -> None:
    assert peers["correctness"]["lost"] == peers["correctness"]["doubled"] == 0
    # Five that warm up and five that count; but one that ends a silence.
    loads = [cell["factors"]["load"] for cell in peers["cells"]]
    deliveries = 20 * (10 * loads.count("paced") + loads.count("idle"))
    assert peers["correctness"]["deliveries"] == deliveries


def test_the_budget_is_judged_where_there_was_a_figure(peers: dict[str, Any]) -> None:
    here = {(cell["factors"]["load"], cell["factors"]["peer"]) for cell in peers["cells"]}
    for one in peers["budget"]:
        asked = {(one["load"], peer) for peer in (one["peer"], one["against"] or one["peer"])}
        assert (one["holds"] is not None) == (asked <= here)
    assert any("meant for the usual --followers" in note for note in peers["notes"])


def test_a_peer_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no node, no nginx; and our hub is in the wheel
    options = ["--quick", "--followers", "2", "--loads", "paced", "--out", tmp_path]
    done = run("peers", *options, "--peers", "realtime websocket,socket.io websocket")
    assert done.returncode == 0
    assert "!!! socket.io websocket is not measured, for want of node" in done.stdout
    assert "!!! not measured" in done.stdout
