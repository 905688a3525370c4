"""Every script runs from its command line to its result file, and reports what is wrong.

All but one run in this process, and measure a server of the test session where they can: starting
Python and a server takes longer than what is tested here.
"""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import latency
from benchmarks.__main__ import find_benchmark
from benchmarks.competitors.compressed import COMPRESSED
from benchmarks.competitors.systems import SYSTEMS
from benchmarks.latency import Latency
from benchmarks.method import runner
from benchmarks.method.samples import Factors, Sample
from benchmarks.webtransport import TRANSPORTS as WAYS
from realtime import __version__
from tests.benchmarks.faulty_server import FaultyServer, losing
from tests.conftest import Servers, missing
from tests.server_process import ROOT

# Small numbers for each script: these tests check that it works, not its figures.  A network is a
# process, so one script has one; the networks of the others are the same code.
SCRIPTS = {
    "latency": ["--network", "rtt=20ms", "--messages", "5"],
    "poll_gap": ["--network", "none", "--rate", "20", "--messages", "5"],
    "overhead": ["--seconds", "1"],  # in less, a busy machine may deliver nothing
    "idle_cost": ["--seconds", "1", "--clients", "5"],
    "fanout": ["--followers", "1,20", "--messages", "2"],
    # A busy machine delays a message by more than the default bound.
    "capacity": ["--steps", "5,10", "--seconds", "0.3", "--bound", "2000"],
    "slow_reader": ["--stopped", "5", "--megabytes", "0.4", "--deadline", "1"],
    "recovery": ["--network", "none", "--cuts", "1", "--every", "0.3"],
    "session": ["--network", "none", "--visits", "2"],
    "webtransport": ["--readers", "3", "--messages", "3"],
}
TWO = ["short_polling", "websocket"]
# Scripts that measure these two: a reader of QUIC is another kind of connection.
WITH_QUIC = {"fanout", "recovery", "slow_reader", "capacity", "idle_cost", "session"}
# One script as a process takes seconds; on a busy machine, more.
SECONDS = 90

pytestmark = pytest.mark.unhurried


@dataclass
class Finished:
    """A script that has ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run a script in this process."""

    def run(script: str, *arguments: object) -> Finished:
        try:
            status = runner.run(find_benchmark(script), [*map(str, arguments)])
        except SystemExit as exit:  # of argparse
            status = int(exit.code or 0)
        return Finished(status, *capsys.readouterr())

    return run


Run = Callable[..., Finished]


def result(folder: Path, script: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{script}.json").read_text())
    return found


def url(servers: Servers, script: str) -> str:
    """The address of a server without a rate limit; `slow_reader` needs other limits."""
    options = ["--messages-per-second", "0", "--connections-per-address", "20000"]
    if script == "slow_reader":
        options += ["--write-deadline-seconds", "1", "--history-events", "100"]
    return servers.get("memory", *options).url


# --- each script runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_and_writes_its_result(
    script: str, run: Run, servers: Servers, tmp_path: Path
) -> None:
    common = ["--quick", "--runs", "1", "--seed", "7"]
    common += ["--transports", ",".join(transports_of(script))]
    at = ["--url", url(servers, script), "--out", tmp_path]
    done = run(script, *common, *SCRIPTS[script], *at)
    assert (done.status, done.stderr) == (0, "")
    check(script, result(tmp_path, script), done.stdout)


def transports_of(script: str) -> list[str]:
    return ["websocket", "webtransport"] if script in WITH_QUIC else TWO


def check(script: str, found: dict[str, Any], stdout: str) -> None:
    """A complete result without a fault, and a table of it."""
    assert found["complete"]
    assert found["seed"] == found["settings"]["seed"] == 7
    assert found["realtime"] == __version__
    assert found["versions"]["tornado"]
    assert found["machine"]["cores"] >= 1
    correctness = found["correctness"]
    faults = ("lost", "doubled", "misplaced", "miscounted")
    assert {correctness.get(name, 0) for name in faults} == {0}
    if script == "session":
        assert {cell["factors"]["way"] for cell in found["cells"]} == {*transports_of(script)}
    elif script == "webtransport":
        assert {cell["factors"]["way"] for cell in found["cells"]} == set(WAYS)
    elif script != "poll_gap":
        names = {cell["factors"]["transport"] for cell in found["cells"]}
        assert names == {*transports_of(script)}
    for cell in found["cells"]:
        assert len(cell["runs"]) == 1
        assert cell["summary"].keys() == found["measures"].keys()
        assert any(cell["summary"].values())
        assert str(next(iter(cell["factors"].values()))) in stdout
    assert "0 lost, 0 duplicated, 0 out of order" in stdout
    assert "late by" in stdout or script in ("idle_cost", "session", "webtransport")


@pytest.mark.unhurried
def test_the_bytes_of_webtransport_are_counted_three_times_and_predicted(
    run: Run, servers: Servers, tmp_path: Path
) -> None:
    common = ("--quick", "--runs", "1", "--transports", "webtransport", "--out", tmp_path)
    done = run("overhead", *common, "--url", url(servers, "overhead"))
    assert (done.status, done.stderr) == (0, "")
    (cell,) = result(tmp_path, "overhead")["cells"]
    for name in ("bytes_up", "bytes_down"):
        assert cell["summary"][name]["value"] == pytest.approx(cell["theory"][name], rel=0.25)


@pytest.mark.unhurried
def test_a_server_without_webtransport_has_no_row_for_it_and_a_note(
    run: Run, servers: Servers, tmp_path: Path
) -> None:
    at = ("--url", servers.get("memory", "--no-webtransport").url, "--out", tmp_path)
    common = ("--quick", "--runs", "1", "--network", "none", "--messages", "2")
    assert run("latency", *common, "--transports", "sse,webtransport", *at).status == 0
    found = result(tmp_path, "latency")
    assert [cell["factors"]["transport"] for cell in found["cells"]] == ["sse"]
    assert found["notes"] == ["The server has no WebTransport, so that has no row."]
    alone = run("latency", *common, "--transports", "webtransport", *at)
    assert alone.status == 1
    assert "no WebTransport" in alone.stderr
    refused = run("fanout_cost", "--transports", "webtransport", "--out", tmp_path)
    assert refused.status == 2
    assert "over TCP only" in refused.stderr


def test_a_script_is_a_program_that_starts_its_own_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.latency", "--quick", "--runs", "1", "--seed", "7"]
    command += ["--transports", ",".join(TWO), "--messages", "5", "--network", "none"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    check("latency", result(tmp_path, "latency"), done.stdout)


# --- what goes wrong -----------------------------------------------------------------------------

SSE = ("--quick", "--transports", "sse", "--network", "none", "--runs", "1")
FEW = ("--messages", "10")


def test_a_lost_message_is_an_error_and_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_PATIENCE_SECONDS", 0.3)
    with FaultyServer(tamper=losing(5)) as server:
        done = run("latency", *SSE, *FEW, "--url", server.url, "--out", tmp_path)
    assert done.status == 3
    assert "!!! latency: 1 lost" in done.stdout
    assert result(tmp_path, "latency")["correctness"]["lost"] == 1


@pytest.mark.clocked
def test_a_stall_of_50_ms_is_in_the_table(run: Run, tmp_path: Path) -> None:
    with FaultyServer(stalls={10: 0.05}) as server:
        run("latency", *SSE, "--url", server.url, "--out", tmp_path)
    [cell] = result(tmp_path, "latency")["cells"]
    assert cell["summary"]["max"]["value"] >= 50
    assert cell["summary"]["p50"]["value"] < 50


def test_an_interrupted_script_keeps_what_it_has_measured(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Latency.measure
    samples: list[Sample] = []

    def interrupted(self: Latency, factors: Factors, rng: random.Random) -> Sample:
        if samples:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C during the second run
        samples.append(measure(self, factors, rng))
        return samples[-1]

    monkeypatch.setattr(Latency, "measure", interrupted)
    with FaultyServer() as server:
        done = run("latency", *SSE, *FEW, "--runs", "999", "--url", server.url, "--out", tmp_path)
    assert (done.status, done.stderr) == (130, "")
    assert "interrupted" in done.stdout
    found = result(tmp_path, "latency")
    assert not found["complete"]
    assert len(found["cells"][0]["runs"]) == 1


def test_a_missing_server_is_one_line_and_exit_1(run: Run, tmp_path: Path) -> None:
    done = run("latency", "--quick", "--url", "http://127.0.0.1:1", "--out", tmp_path)
    assert (done.status, done.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:1" in done.stderr


def test_a_rejection_by_the_server_is_named(run: Run, servers: Servers, tmp_path: Path) -> None:
    limits = ("--message-burst", "1", "--messages-per-second", "1")
    with servers.make("memory", *limits) as server:
        done = run("latency", *SSE, "--url", server.url, "--out", tmp_path)
    assert done.status == 1
    assert "too_fast" in done.stderr


@pytest.mark.parametrize("script", [*SCRIPTS, "peers", "compression"])
def test_help_has_examples(script: str, run: Run) -> None:
    done = run(script, "--help")
    assert done.status == 0
    assert f"python -m benchmarks.{script} --quick" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--transports", "pigeon"], "pigeon"),
        (["--network", "lag=1s"], "lag"),
        (["--runs", "0"], "above 0"),
        (["--url", "https://127.0.0.1"], "http:// only"),
        (["--out", "/dev/null/results"], "--out /dev/null/results"),
        (["--rate", "0"], "above 0"),
    ],
)
def test_an_invalid_option_is_named(arguments: list[str], word: str, run: Run) -> None:
    done = run("latency", *arguments)
    assert done.status == 2
    assert word in done.stderr


def test_a_benchmark_of_one_network_rejects_two(run: Run) -> None:
    done = run("idle_cost", "--network", "none", "--network", "rtt=1s")
    assert done.status == 2
    assert "one network per run" in done.stderr


# --- other systems -------------------------------------------------------------------------------

PRODUCTS = sorted({name.split()[0] for name in SYSTEMS})


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_is_measured_and_loses_nothing(product: str, run: Run, tmp_path: Path) -> None:
    names = [name for name in SYSTEMS if name.startswith(product)]
    if lack := SYSTEMS[names[0]].missing():
        missing(lack)
    options = ["--quick", "--followers", "20", "--pollers", "20", "--paced-messages", "5"]
    options += ["--loads", "paced,idle", "--peers", ",".join(names), "--seconds", "0.5"]
    done = run("peers", *options, "--out", tmp_path)
    assert (done.status, done.stderr) == (0, "")
    found = result(tmp_path, "peers")
    cells = {cell["factors"]["peer"]: cell for cell in found["cells"]}
    assert cells.keys() == set(names)
    for cell in cells.values():
        check_figures(cell)
    check_deliveries(found)
    check_comparison(found)


def test_compression_saves_bytes_in_every_product(run: Run, tmp_path: Path) -> None:
    deflated = [name for name in COMPRESSED if name.endswith(" deflate")]
    for name in deflated:
        if lack := COMPRESSED[name].missing():
            missing(lack)
    options = ["--quick", "--followers", "2", "--messages", "5"]
    options += ["--peers", ",".join(["realtime websocket", *deflated])]
    done = run("compression", *options, "--out", tmp_path)
    assert (done.status, done.stderr) == (0, "")
    found = result(tmp_path, "compression")
    down = {c["factors"]["peer"]: c["summary"]["bytes_down"]["value"] for c in found["cells"]}
    assert len(deflated) == 3
    assert all(down[name] < 0.9 * down["realtime websocket"] for name in deflated)
    assert found["correctness"]["lost"] == found["correctness"]["misplaced"] == 0


def test_tls_is_measured_beside_plain_and_a_resumed_session(run: Run, tmp_path: Path) -> None:
    peers = ["realtime websocket", "nchan websocket"]
    if lack := SYSTEMS[peers[1]].missing():
        missing(lack)
    options = ["--quick", "--connections", "10", "--warm-up", "3", "--loads", "connect"]
    done = run("tls", *options, "--peers", ",".join(peers), "--out", tmp_path)
    # `miscounted` has a cell whose sessions were resumed and should not be, or the other way.
    assert (done.status, done.stderr) == (0, "")
    found = result(tmp_path, "tls")
    assert found["correctness"]["miscounted"] == 0
    assert {(cell["factors"]["peer"], cell["factors"]["tls"]) for cell in found["cells"]} == {
        (peer, way) for peer in peers for way in ("none", "TLS", "TLS, resumed")
    }
    assert all(cell["summary"]["connect_us"]["value"] > 0 for cell in found["cells"])
    assert found["ratios"].keys() == {
        f"{peer}, {way}, connect" for peer in peers for way in ("TLS", "TLS, resumed")
    }


def check_figures(cell: dict[str, Any]) -> None:
    figures = {name: one["value"] for name, one in cell["summary"].items() if one}
    idle = cell["factors"]["load"] == "idle"
    assert figures.keys() == ({"poll_us"} if idle else {"p50", "p99", "cpu_us", "memory_kib"})
    assert all(value > 0 for value in figures.values())


def check_deliveries(found: dict[str, Any]) -> None:
    """Five messages of the warm-up and five that count; but one at the end of an idle time."""
    assert found["correctness"]["lost"] == found["correctness"]["doubled"] == 0
    loads = [cell["factors"]["load"] for cell in found["cells"]]
    deliveries = 20 * (10 * loads.count("paced") + loads.count("idle"))
    assert found["correctness"]["deliveries"] == deliveries


def check_comparison(found: dict[str, Any]) -> None:
    """There is a ratio, and a verdict of the budget, where both figures were measured."""
    here = {(cell["factors"]["load"], cell["factors"]["peer"]) for cell in found["cells"]}
    base = ("paced", found["against"])
    others = {f"{peer}, {load}" for load, peer in here if load == "paced"} - {f"{base[1]}, paced"}
    assert found["ratios"].keys() == (others if base in here else set())
    for one in found["budget"]:
        needed = {(one["load"], peer) for peer in (one["peer"], one["against"] or one["peer"])}
        assert (one["holds"] is not None) == (needed <= here)
    assert any("applies to the default --followers" in note for note in found["notes"])


def test_a_missing_system_is_reported_and_the_others_are_behind_the_network(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither node nor nginx; our own hub is in a wheel.
    monkeypatch.setenv("PATH", str(tmp_path))
    options = ["--quick", "--followers", "2", "--loads", "paced", "--network", "rtt=20ms"]
    options += ["--peers", "realtime websocket,socket.io websocket", "--out", tmp_path]
    done = run("peers", *options)
    assert done.status == 0
    assert "!!! socket.io websocket is not measured, it needs node" in done.stdout
    assert "!!! not measured" in done.stdout
    assert "performance budget: " in done.stdout
    [cell] = result(tmp_path, "peers")["cells"]
    assert cell["summary"]["p50"]["value"] >= 10
