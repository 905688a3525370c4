"""The benchmarks of cost: each runs against a real server, and detects a faulty or slow one."""

import argparse
import json
import random
import resource
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks import burst, c10k, fanout_cost, multi_worker, publish
from benchmarks.__main__ import CLASSES, find_benchmark
from benchmarks.burst import Burst, in_order, latencies
from benchmarks.c10k import ALL, C10K
from benchmarks.fanout_cost import BASELINE, FanoutCost, endpoints, fit_growth
from benchmarks.load.light_readers import Arrival, IdIndex, IdScanner
from benchmarks.method import runner, testbed
from benchmarks.method.results import BENCHMARKS
from benchmarks.method.runner import Benchmark
from benchmarks.method.samples import Sample
from benchmarks.method.testbed import raise_open_file_limit
from benchmarks.multi_worker import MultiWorker
from benchmarks.publish import Publish
from benchmarks.sticky import Sticky
from realtime.client.http import Endpoint
from realtime.client.protocols import make_protocol
from tests.benchmarks.faulty_server import FaultyServer, Tamper, duplicating, losing, swapping
from tests.benchmarks.test_closed_loop import ENDPOINT
from tests.conftest import Servers
from tests.nginx_fixture import Nginx
from tests.server_process import Server

Outcome = tuple[int, dict[str, Any]]
# A hub without a process to start.
MEMORY = ("--hub", "memory")


@pytest.fixture
def run_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a benchmark with small numbers in this process; return its status and its result."""
    monkeypatch.setattr(publish, "_WARM_UP_SECONDS", 0.05)
    monkeypatch.setattr(c10k, "_SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(c10k, "_MARGIN_SECONDS", 0.05)
    monkeypatch.setattr(fanout_cost, "_RECEIVED", 5)
    monkeypatch.setattr(multi_worker, "_WARM_SECONDS", 0.05)

    def run(benchmark: type[Benchmark], *arguments: str) -> Outcome:
        common = ("--quick", "--runs", "1", "--seed", "7", "--out", str(tmp_path))
        status = runner.run(benchmark, [*common, *arguments])
        return status, json.loads((tmp_path / f"{benchmark.name}.json").read_text())

    return run


@pytest.fixture
def quiet(servers: Servers) -> Server:
    """A server without a rate limit."""
    options = ("--messages-per-second", "0", "--connections-per-address", "20000")
    return servers.get("memory", *options)


def figures(found: dict[str, Any], **factors: Any) -> dict[str, float]:
    [cell] = (cell for cell in found["cells"] if factors.items() <= cell["factors"].items())
    return {name: one["value"] for name, one in cell["summary"].items() if one}


# --- each benchmark runs -------------------------------------------------------------------------


def test_publish_counts_the_acknowledged_messages_and_loses_none(
    run_small: Callable[..., Outcome], quiet: Server
) -> None:
    status, found = run_small(Publish, "--url", quiet.url, "--seconds", "0.2", "--senders", "3")
    correctness = found["correctness"]
    assert (status, correctness["lost"], correctness["doubled"], correctness["misplaced"]) == (
        0,
        0,
        0,
        0,
    )
    assert correctness["deliveries"] == 2 * correctness["acknowledged"] > 0
    for via in ("websocket", "post"):
        one = figures(found, via=via)
        assert 0 < one["per_second"] * 0.2 <= correctness["acknowledged"]
        assert 0 < one["message_us"] * one["per_second"] < 2e6  # no more than two cores
        assert 0 < one["ack_p50"] <= one["ack_p99"]
    [threshold] = found["bounds"]
    assert threshold["value"] == figures(found, via="websocket")["per_second"]


def test_burst_delivers_every_message_to_every_follower(
    run_small: Callable[..., Outcome], quiet: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--followers", "10", "--rate", "100", "--seconds", "0.2", "-t", "sse,websocket")
    status, found = run_small(Burst, "--url", quiet.url, *given)
    correctness = found["correctness"]
    assert (status, correctness["lost"], correctness["deliveries"]) == (0, 0, 2 * 10 * 20)
    for transport in ("sse", "websocket"):
        one = figures(found, transport=transport)
        assert one["per_push"] >= 1
        assert 0 < one["p50"] <= one["p99"]
        assert one["spread_ms"] >= 0
    assert len(found["bounds"]) == 4
    assert "a short poll during the burst, p99, sse" in capsys.readouterr().out


def test_fanout_cost_has_a_baseline_and_several_processes(
    run_small: Callable[..., Outcome],
) -> None:
    given = ("--followers", "4,40", "--share", "6", "--rate", "400", "--deliveries", "4000")
    status, found = run_small(FanoutCost, *given)
    correctness = found["correctness"]
    assert (status, correctness["lost"], correctness["doubled"], correctness["misplaced"]) == (
        0,
        0,
        0,
        0,
    )
    assert correctness["deliveries"] == 30 * (4 + 40) * 2 + 30 * 6
    assert figures(found, transport=BASELINE, followers=40)["cpu_us"] > 0
    several = figures(found, processes=2)
    assert several["hear_us"] > 0
    assert several["publish_us"] > 0
    assert found["against"] == BASELINE
    ratio = found["ratios"]["websocket, 40"]["cpu_us"]["value"]
    ours, floor = (figures(found, transport=t, followers=40) for t in ("websocket", BASELINE))
    assert ratio == pytest.approx(ours["cpu_us"] / floor["cpu_us"], rel=0.001)
    assert found["growth"] == {}  # two points are no line
    assert ratio > 1  # who does more needs more: a message costs us a round trip to the hub
    assert found["server"]["hub"].endswith(", shared")


@pytest.mark.unhurried
def test_c10k_reports_each_transport_and_all_together(run_small: Callable[..., Outcome]) -> None:
    given = ("--followers", "13", "--messages", "2", "--pause", "0.1")
    status, found = run_small(C10K, *MEMORY, *given, "-t", "long_polling,sse,websocket")
    correctness = found["correctness"]
    assert (status, correctness["lost"], correctness["deliveries"]) == (0, 0, 2 * 13)
    parts = [figures(found, transport=t) for t in ("long_polling", "sse", "websocket")]
    whole = figures(found, transport=ALL)
    assert whole["last_ms"] == max(one["last_ms"] for one in parts)
    assert whole["health_p99"] > 0
    [threshold] = found["bounds"]
    assert (threshold["value"], threshold["of"]) == (whole["last_ms"], "13")


@pytest.mark.unhurried
def test_sticky_finds_the_transports_that_fail_and_the_uneven_load(
    run_small: Callable[..., Outcome],
) -> None:
    Nginx.program()  # or it is missing
    given = ("--workers", "2", "--visits", "4", "-t", "long_polling,socketio")
    status, found = run_small(Sticky, *given)
    assert status == 0
    held = {
        (way, routing): figures(found, way=way, routing=routing, people=people)["held"]
        for way in ("long_polling", "socketio", "socketio, polling")
        for routing in ("any", "address", "session")
        for people in ("one address", "many")
    }
    broken = {one for one, share in held.items() if share < 100}
    assert broken == {("socketio", "any"), ("socketio, polling", "any")}
    school = figures(found, way="long_polling", routing="address", people="one address")
    assert school["busiest"] == 100
    for routing in ("any", "session"):
        spread = figures(found, way="long_polling", routing=routing, people="one address")
        assert spread["busiest"] < 100
    assert all("no such session" in what for what in found["broken"])


def test_multi_worker_counts_the_deliveries_to_every_reader(
    run_small: Callable[..., Outcome],
) -> None:
    given = ("--workers", "1,2", "--readers", "1,4", "--rooms", "3", "--seconds", "0.2")
    status, found = run_small(MultiWorker, *given)
    correctness = found["correctness"]
    assert (status, correctness["lost"], correctness["doubled"], correctness["misplaced"]) == (
        0,
        0,
        0,
        0,
    )
    assert (correctness["miscounted"], correctness["unacknowledged"], correctness["broken"]) == (
        0,
        0,
        0,
    )
    assert correctness["acknowledged"] > 0
    for workers in (1, 2):
        few, many = (figures(found, workers=workers, readers=n) for n in (1, 4))
        # As many as each message has readers, but for those that were under way.
        assert few["deliveries"] == pytest.approx(few["per_second"], rel=0.3)
        assert many["deliveries"] == pytest.approx(4 * many["per_second"], rel=0.3)
        assert 0 < many["redis_us"] < many["workers_us"]
        assert many["opened"] > 0
    assert found["server"]["hub"].endswith(", shared")


@pytest.mark.unhurried
@pytest.mark.parametrize("first", range(6))
def test_multi_worker_spreads_the_readers_of_each_room_evenly(first: int) -> None:
    servers = [Endpoint(f"http://127.0.0.1:{port}") for port in (6001, 6002, 6003, 6004)]
    places = multi_worker.round_robin(servers, first, 16)
    assert places[0] is servers[first % 4]
    assert [places.count(server) for server in servers] == [4, 4, 4, 4]


@pytest.mark.unhurried
def test_multi_worker_detects_a_reader_that_received_too_little(
    run_small: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_nothing(self: multi_worker.CountingReader, data: bytes, now: float) -> None:
        """As if the server had sent nothing."""

    monkeypatch.setattr(multi_worker.CountingReader, "scan", count_nothing)
    monkeypatch.setattr(multi_worker, "_PATIENCE_SECONDS", 0.2)
    given = ("--workers", "1", "--readers", "1", "--rooms", "2", "--seconds", "0.1")
    status, found = run_small(MultiWorker, *given)
    assert (status, found["correctness"]["miscounted"]) == (runner.UNTRUSTED, 2)


@pytest.mark.unhurried
@pytest.mark.parametrize("cut", range(1, 30))
def test_a_message_in_two_chunks_is_counted_once(cut: int) -> None:
    counting = multi_worker.CountingReader(make_protocol("websocket", ENDPOINT, "room"))
    data = b'{"kind":"say","text":"kind say"}' * 2
    for piece in (data[:cut], data[cut : cut + 2], data[cut + 2 :]):
        counting.scan(piece, 0.0)
    assert counting.counted == 2


# --- a faulty server -----------------------------------------------------------------------------


def measure(benchmark: type[Benchmark], url: str, cell: dict[str, Any], *given: str) -> Sample:
    options = runner._parse(benchmark, ["--quick", "--url", url, "--out", "/tmp", *given])
    with ExitStack() as stack:
        return benchmark(options, stack).measure(cell, random.Random(7))


@pytest.mark.unhurried
@pytest.mark.parametrize(
    ("tamper", "fault"),
    [(losing(5), "lost"), (duplicating(5), "duplicated"), (swapping(5), "reordered")],
)
def test_publish_finds_every_fault(
    tamper: Tamper, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_WARM_UP_SECONDS", 0.02)
    monkeypatch.setattr(publish, "_PATIENCE_SECONDS", 0.2)
    given = ("--seconds", "0.03", "--senders", "2", "--window", "1", "-t", "sse")
    with FaultyServer(tamper=tamper) as server:
        sample = measure(Publish, server.url, {"via": "post"}, *given)
    assert sample.audit is not None
    assert getattr(sample.audit, fault)


BURST = ("--followers", "3", "--rate", "100", "--seconds", "0.2")


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [(losing(5), "lost"), (duplicating(5), "duplicated"), (swapping(5), "reordered")],
)
def test_burst_finds_every_fault_at_every_follower(
    tamper: Tamper, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burst, "_PATIENCE_SECONDS", 0.2)
    with FaultyServer(tamper=tamper) as server:
        sample = measure(Burst, server.url, {"transport": "sse"}, *BURST)
    assert sample.audit is not None
    assert len(getattr(sample.audit, fault)) == 3


def test_burst_measures_the_requests_that_wait_during_a_stall() -> None:
    with FaultyServer(stalls={5: 0.15}) as server:
        sample = measure(Burst, server.url, {"transport": "sse"}, *BURST)
    assert sample.audit is not None
    assert sample.audit.clean
    for name in ("health_p99", "poll_p99", "p99"):
        value = sample.measures[name]
        assert value is not None
        assert value >= 100
    assert sample.measures["per_push"] == pytest.approx(1, abs=0.3)


# --- arithmetic ----------------------------------------------------------------------------------


def test_a_latency_is_from_the_intended_time_to_the_chunk_with_the_message() -> None:
    one = IdScanner(make_protocol("sse", ENDPOINT, "room"), IdIndex())
    one.numbers.extend([1, 0, 2])
    one.arrivals += [Arrival(5.0, 2), Arrival(7.0, 1)]
    assert latencies(one, [1.0, 2.0, 6.5]) == pytest.approx([3000, 4000, 500])


def test_messages_are_in_the_numeric_order_of_their_offsets() -> None:
    assert in_order({"a": "e-10", "b": "e-9", "c": "e-11"}) == ["b", "a", "c"]


def test_growth_is_a_line_and_how_far_each_number_of_followers_is_from_it() -> None:
    found = fit_growth({n: 1000 / n + 8 for n in (10, 100, 1000, 20_000)})
    assert (found["message_us"], found["follower_us"]) == pytest.approx((1000, 8))
    assert found["residuals"] == pytest.approx(dict.fromkeys(found["residuals"], 0), abs=1e-6)
    bent = fit_growth({10: 108, 100: 18, 1000: 9, 20_000: 16.05})
    assert bent["residuals"]["20000"] > 0.1
    assert fit_growth({10: 1, 100: 1}) == {}


def test_many_followers_come_from_several_addresses_of_this_machine() -> None:
    found = [*endpoints(["http://127.0.0.1:1", "http://127.0.0.1:2"], 20_000)]
    assert {one.port for one in found} == {1, 2}
    assert {one.source for one in found} == {"127.0.0.2", "127.0.0.3"}


def test_more_followers_than_open_files_are_reduced_and_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout_cost, "max_open_files", lambda: 1200)
    bench = FanoutCost.__new__(FanoutCost)
    bench.options, bench.notes = argparse.Namespace(followers=[10, 1000, 5000, 9000]), []
    assert bench._allowed_followers() == [10, 1000]
    assert bench.notes[0].startswith("!!! 1,000 followers, not 9,000: a process may have 1,200")


def test_too_many_open_files_are_rejected_with_the_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 500))
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: set_to.append(both))
    with pytest.raises(testbed.TestbedError, match="only 500"):
        raise_open_file_limit(501)
    raise_open_file_limit(90)
    assert set_to == []
    raise_open_file_limit(400)
    assert set_to == [(400, 500)]


NOWHERE = ("--url", "http://127.0.0.1:1")


@pytest.mark.unhurried
@pytest.mark.parametrize(
    ("benchmark", "given", "said"),
    [
        (Burst, (*NOWHERE, "-t", "long_polling"), "--transports"),
        (C10K, (*NOWHERE, "--followers", "2"), "at least one for each"),
        (FanoutCost, NOWHERE, "--url"),
        (FanoutCost, ("--hub", "memory", "--followers", "2"), "--hub memory"),
        (Sticky, NOWHERE, "--url"),
        (Sticky, ("--hub", "memory"), "--hub memory"),
        (MultiWorker, NOWHERE, "--url"),
        (MultiWorker, ("--hub", "memory"), "--hub memory"),
    ],
)
def test_an_impossible_request_is_an_error_that_says_why(
    benchmark: type[Benchmark], given: tuple[str, ...], said: str
) -> None:
    options = runner._parse(benchmark, ["--out", "/tmp", *given])
    with ExitStack() as stack, pytest.raises((testbed.TestbedError, ValueError), match=said):
        benchmark(options, stack).cells()


@pytest.mark.unhurried
def test_a_report_has_every_benchmark_in_the_same_order() -> None:
    assert (*CLASSES,) == BENCHMARKS


@pytest.mark.unhurried
@pytest.mark.parametrize(
    "name", ["publish", "burst", "fanout_cost", "c10k", "multi_worker", "sticky"]
)
def test_a_benchmark_is_found_by_its_name_and_shows_an_example(name: str) -> None:
    assert find_benchmark(name).name == name
    assert f"python -m benchmarks.{name} --quick" in find_benchmark(name).examples
