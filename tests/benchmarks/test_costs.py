"""The questions of cost: each runs against a real server, and sees one that errs or is slow."""

import json
import random
import resource
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks import burst, c10k, fanout_cost, multi_worker, publish
from benchmarks.__main__ import QUESTIONS, find
from benchmarks.burst import Burst, in_order, waited
from benchmarks.c10k import ALL, C10K
from benchmarks.clients.http import Server
from benchmarks.clients.protocols import listener
from benchmarks.fanout_cost import FLOOR, FanoutCost
from benchmarks.load.light_readers import Book, Piece, Skimmer
from benchmarks.method import runner, testbed
from benchmarks.method.results import BENCHMARKS
from benchmarks.method.runner import Benchmark
from benchmarks.method.samples import Sample
from benchmarks.method.testbed import raise_open_file_limit
from benchmarks.multi_worker import MultiWorker
from benchmarks.publish import Publish
from benchmarks.sticky import Sticky
from tests.benchmarks.faulty_server import StrangeServer, Tamper, doubling, losing, swapping
from tests.benchmarks.test_closed_loop import SERVER
from tests.nginx_fixture import program

Ran = tuple[int, dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a script as small as it gets, in this process, and give its status and its file."""
    monkeypatch.setattr(publish, "_WARM_SECONDS", 0.05)
    monkeypatch.setattr(c10k, "_SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(c10k, "_MARGIN_SECONDS", 0.05)
    monkeypatch.setattr(fanout_cost, "_HEARD", 5)
    monkeypatch.setattr(multi_worker, "_WARM_SECONDS", 0.05)

    def run(benchmark: type[Benchmark], *arguments: str) -> Ran:
        common = ("--quick", "--runs", "1", "--seed", "7", "--out", str(tmp_path))
        status = runner.run(benchmark, [*common, *arguments])
        return status, json.loads((tmp_path / f"{benchmark.name}.json").read_text())

    return run


def figures(found: dict[str, Any], **factors: Any) -> dict[str, float]:
    [cell] = (cell for cell in found["cells"] if factors.items() <= cell["factors"].items())
    return {name: one["value"] for name, one in cell["summary"].items() if one}


# --- each runs -----------------------------------------------------------------------------------


def test_publish_counts_what_was_acknowledged_and_nothing_is_lost(ask: Callable[..., Ran]) -> None:
    status, found = ask(Publish, "--seconds", "0.2", "--senders", "3")
    told = found["correctness"]
    assert (status, told["lost"], told["doubled"], told["misplaced"]) == (0, 0, 0, 0)
    assert told["deliveries"] == 2 * told["acknowledged"] > 0
    for via in ("websocket", "post"):
        one = figures(found, via=via)
        assert 0 < one["per_second"] * 0.2 <= told["acknowledged"]
        assert 0 < one["message_us"] * one["per_second"] < 2e6  # no more than two cores
        assert 0 < one["ack_p50"] <= one["ack_p99"]
    [promise] = found["bounds"]
    assert promise["value"] == figures(found, via="websocket")["per_second"]


def test_burst_tells_everybody_everything(
    ask: Callable[..., Ran], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--followers", "10", "--rate", "100", "--seconds", "0.2", "-t", "sse,websocket")
    status, found = ask(Burst, *given)
    told = found["correctness"]
    assert (status, told["lost"], told["deliveries"]) == (0, 0, 2 * 10 * 20)
    for transport in ("sse", "websocket"):
        one = figures(found, transport=transport)
        assert one["per_push"] >= 1
        assert 0 < one["p50"] <= one["p99"]
        assert one["spread_ms"] >= 0
    assert len(found["bounds"]) == 4
    assert "a short poll during the burst, p99, sse" in capsys.readouterr().out


def test_growth_has_a_floor_and_several_processes(ask: Callable[..., Ran]) -> None:
    given = ("--followers", "4,40", "--share", "6", "--rate", "400", "--deliveries", "4000")
    status, found = ask(FanoutCost, *given)
    told = found["correctness"]
    assert (status, told["lost"], told["doubled"], told["misplaced"]) == (0, 0, 0, 0)
    assert told["deliveries"] == 30 * (4 + 40) * 2 + 30 * 6
    assert figures(found, transport=FLOOR, followers=40)["cpu_us"] > 0
    several = figures(found, processes=2)
    assert several["hear_us"] > 0
    assert several["publish_us"] > 0
    assert found["against"] == FLOOR
    ratio = found["ratios"]["websocket, 40"]["cpu_us"]["value"]
    ours, floor = (figures(found, transport=t, followers=40) for t in ("websocket", FLOOR))
    assert ratio == pytest.approx(ours["cpu_us"] / floor["cpu_us"], rel=0.001)
    assert ratio > 1  # who does more needs more: a message costs us a round trip to the hub
    assert found["server"]["hub"].endswith(", shared")


def test_crowded_tells_each_transport_and_all(ask: Callable[..., Ran]) -> None:
    given = ("--followers", "13", "--messages", "2", "--pause", "0.1")
    status, found = ask(C10K, *given, "-t", "long_polling,sse,websocket")
    told = found["correctness"]
    assert (status, told["lost"], told["deliveries"]) == (0, 0, 2 * 13)
    parts = [figures(found, transport=t) for t in ("long_polling", "sse", "websocket")]
    whole = figures(found, transport=ALL)
    assert whole["last_ms"] == max(one["last_ms"] for one in parts)
    assert whole["health_p99"] > 0
    [promise] = found["bounds"]
    assert (promise["value"], promise["of"]) == (whole["last_ms"], "13")


def test_sticky_says_who_breaks_and_whom_it_crowds(ask: Callable[..., Ran]) -> None:
    program()  # or it is missing
    given = ("--workers", "3", "--visits", "4", "-t", "long_polling,socketio")
    status, found = ask(Sticky, *given)
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


def test_scale_counts_what_every_reader_was_told(ask: Callable[..., Ran]) -> None:
    given = ("--workers", "1,2", "--readers", "1,4", "--rooms", "3", "--seconds", "0.2")
    status, found = ask(MultiWorker, *given)
    told = found["correctness"]
    assert (status, told["lost"], told["doubled"], told["misplaced"]) == (0, 0, 0, 0)
    assert (told["miscounted"], told["unacknowledged"], told["broken"]) == (0, 0, 0)
    assert told["acknowledged"] > 0
    for workers in (1, 2):
        few, many = (figures(found, workers=workers, readers=n) for n in (1, 4))
        # As many as each message has readers, but for those that were under way.
        assert few["deliveries"] == pytest.approx(few["per_second"], rel=0.3)
        assert many["deliveries"] == pytest.approx(4 * many["per_second"], rel=0.3)
        assert 0 < many["redis_us"] < many["workers_us"]
        assert many["opened"] > 0
    assert found["server"]["hub"].endswith(", shared")


@pytest.mark.parametrize("first", range(6))
def test_scale_spreads_the_readers_of_each_room_evenly(first: int) -> None:
    servers = [Server(f"http://127.0.0.1:{port}") for port in (6001, 6002, 6003, 6004)]
    places = multi_worker.in_turn(servers, first, 16)
    assert places[0] is servers[first % 4]
    assert [places.count(server) for server in servers] == [4, 4, 4, 4]


def test_scale_sees_a_reader_that_was_told_too_little(
    ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: multi_worker.Counting, data: bytes, when: float) -> None:
        """As if the server had told it nothing."""

    monkeypatch.setattr(multi_worker.Counting, "skim", deaf)
    monkeypatch.setattr(multi_worker, "_PATIENCE_SECONDS", 0.2)
    given = ("--workers", "1", "--readers", "1", "--rooms", "2", "--seconds", "0.1")
    status, found = ask(MultiWorker, *given)
    assert (status, found["correctness"]["miscounted"]) == (runner.UNTRUE, 2)


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_message_that_comes_in_two_pieces_is_counted_once(cut: int) -> None:
    counting = multi_worker.Counting(listener("websocket", SERVER, "room"))
    data = b'{"kind":"say","text":"kind say"}' * 2
    for piece in (data[:cut], data[cut : cut + 2], data[cut + 2 :]):
        counting.skim(piece, 0.0)
    assert counting.counted == 2


# --- a server that errs --------------------------------------------------------------------------


def measure(benchmark: type[Benchmark], url: str, cell: dict[str, Any], *given: str) -> Sample:
    options = runner._parse(benchmark, ["--quick", "--url", url, "--out", "/tmp", *given])
    with ExitStack() as stack:
        return benchmark(options, stack).measure(cell, random.Random(7))


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [(losing(5), "lost"), (doubling(5), "doubled"), (swapping(5), "misplaced")],
)
def test_publish_finds_what_is_wrong(
    tamper: Tamper, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_WARM_SECONDS", 0.02)
    monkeypatch.setattr(publish, "_PATIENCE_SECONDS", 0.2)
    given = ("--seconds", "0.03", "--senders", "2", "--window", "1", "-t", "sse")
    with StrangeServer(tamper=tamper) as server:
        sample = measure(Publish, server.url, {"via": "post"}, *given)
    assert sample.audit is not None
    assert getattr(sample.audit, fault)


BURST = ("--followers", "3", "--rate", "100", "--seconds", "0.2")


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [(losing(5), "lost"), (doubling(5), "doubled"), (swapping(5), "misplaced")],
)
def test_burst_finds_what_is_wrong_with_every_follower(
    tamper: Tamper, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burst, "_PATIENCE_SECONDS", 0.2)
    with StrangeServer(tamper=tamper) as server:
        sample = measure(Burst, server.url, {"transport": "sse"}, *BURST)
    assert sample.audit is not None
    assert len(getattr(sample.audit, fault)) == 3


def test_who_asks_while_a_server_stands_still_waits_and_that_is_seen() -> None:
    with StrangeServer(stalls={5: 0.15}) as server:
        sample = measure(Burst, server.url, {"transport": "sse"}, *BURST)
    assert sample.audit is not None
    assert sample.audit.clean
    for name in ("health_p99", "poll_p99", "p99"):
        value = sample.measures[name]
        assert value is not None
        assert value >= 100
    assert sample.measures["per_push"] == pytest.approx(1, abs=0.3)


# --- arithmetic ----------------------------------------------------------------------------------


def test_a_wait_is_from_when_a_message_was_due_to_the_piece_that_brought_it() -> None:
    one = Skimmer(listener("sse", SERVER, "room"), Book())
    one.numbers.extend([1, 0, 2])
    one.pieces += [Piece(5.0, 2), Piece(7.0, 1)]
    assert waited(one, [1.0, 2.0, 6.5]) == pytest.approx([3000, 4000, 500])


def test_messages_are_in_the_order_of_their_numbers_and_not_of_their_letters() -> None:
    assert in_order({"a": "e-10", "b": "e-9", "c": "e-11"}) == ["b", "a", "c"]


def test_more_files_than_may_be_open_are_refused_with_the_number(
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


@pytest.mark.parametrize(
    ("benchmark", "given", "said"),
    [
        (Burst, (*NOWHERE, "-t", "long_polling"), "--transports"),
        (C10K, (*NOWHERE, "--followers", "2"), "at least one for each"),
        (FanoutCost, NOWHERE, "--url"),
        (FanoutCost, ("--hub", "memory", "--followers", "2"), "share nothing"),
        (Sticky, NOWHERE, "--url"),
        (Sticky, ("--hub", "memory"), "share nothing"),
        (MultiWorker, NOWHERE, "--url"),
        (MultiWorker, ("--hub", "memory"), "share nothing"),
    ],
)
def test_what_cannot_be_asked_is_told(
    benchmark: type[Benchmark], given: tuple[str, ...], said: str
) -> None:
    options = runner._parse(benchmark, ["--out", "/tmp", *given])
    with ExitStack() as stack, pytest.raises((testbed.TestbedError, ValueError), match=said):
        benchmark(options, stack).cells()


def test_a_report_knows_every_question_in_the_same_order() -> None:
    assert (*QUESTIONS,) == BENCHMARKS


@pytest.mark.parametrize(
    "name", ["publish", "burst", "fanout_cost", "c10k", "multi_worker", "sticky"]
)
def test_a_question_is_found_by_its_name_and_shows_how_it_is_asked(name: str) -> None:
    assert find(name).name == name
    assert f"python -m benchmarks.{name} --quick" in find(name).examples
