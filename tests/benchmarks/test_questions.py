"""The arithmetic of single benchmarks, on data with known results."""

import argparse
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.capacity import Capacity
from benchmarks.fanout import first_and_last
from benchmarks.load.generator import ReceivedEvent
from benchmarks.load.workload import Transcript
from benchmarks.method.samples import Cell, Sample
from benchmarks.overhead import Overhead
from benchmarks.poll_gap import _share_at_once
from benchmarks.recovery import recovery_times
from benchmarks.slow_reader import kernel_bytes
from tests.cases import each

pytestmark = pytest.mark.unhurried


def transcript(dues: dict[str, float], arrivals: list[list[tuple[str, float]]]) -> Transcript:
    """Messages by their ids and times, and when each reader received which."""
    readers = [
        SimpleNamespace(received=[ReceivedEvent(when, {"id": id}, 0.0) for id, when in reader])
        for reader in arrivals
    ]
    sender = SimpleNamespace(due=dues, cursors=dict.fromkeys(dues, ""))
    return Transcript(cast(Any, sender), cast(Any, readers), {*dues})


# --- fanout and recovery -------------------------------------------------------------------------


def test_the_first_and_the_last_reader_of_each_message() -> None:
    one = transcript({"a": 0.0, "b": 1.0}, [[("a", 0.1), ("b", 1.2)], [("a", 0.3), ("b", 1.6)]])
    found = first_and_last(one)
    assert (found["first_ms"], found["last_ms"]) == pytest.approx((150, 450))


def test_without_any_arrival_there_is_no_figure() -> None:
    assert first_and_last(transcript({"a": 0.0}, [[]])) == {"first_ms": None, "last_ms": None}


def test_a_message_received_twice_counts_at_its_first_arrival() -> None:
    one = transcript({"a": 0.0}, [[("a", 0.1), ("a", 0.9)]])
    assert one.latencies() == pytest.approx([100])


def test_recovery_is_from_the_reset_to_the_last_message_due_before_it() -> None:
    dues = {"a": 1.0, "b": 2.0, "c": 3.0}
    one = transcript(
        dues, [[("a", 1.1), ("b", 2.5), ("c", 3.1)], [("a", 1.1), ("b", 2.7), ("c", 3.1)]]
    )
    assert recovery_times(one, [2.01]) == pytest.approx([490, 690])


# --- gap -----------------------------------------------------------------------------------------


@each(("fresh", "share"), [(False, 2 / 3), (True, 1 / 3)])
def test_a_message_finds_a_request_that_arrived_before_it_was_due(
    fresh: bool, share: float
) -> None:
    """The request was sent at 0 and needs half a round trip, or one and a half."""
    heard = [(due, ReceivedEvent(9.0, {}, 0.0)) for due in (0.04, 0.06, 0.16)]
    assert _share_at_once(heard, 0.1, fresh) == pytest.approx(share)


# --- capacity ------------------------------------------------------------------------------------


def capacity(*runs: list[float | None], limited: set[tuple[str, int]] | None = None) -> Any:
    """Steps of 10, 20 and 40 clients, and their p99 in each run; the bound is 100."""
    options = argparse.Namespace(
        transports=["sse"],
        steps=[10, 20, 40],
        bound=100.0,
        seed=1,
        url="http://127.0.0.1:1",
        hub="",
    )
    with ExitStack() as stack:
        bench = Capacity(options, stack)
        cells = [Cell(factors) for factors in bench.cells()]
        for cell, column in zip(cells, zip(*runs, strict=True), strict=True):
            cell.samples += [Sample({"p99": p99}) for p99 in column]
        bench._limited = limited or set()
        return bench.extra_fields(cells)["capacity"]["sse"]


@each(
    ("p99", "most"),
    [
        ([50.0, 60.0, 200.0], 20),
        ([50.0, 60.0, 99.0], 40),
        ([150.0, None, None], 0),
        ([50.0, None, 60.0], 10),  # steps after a failure do not count
    ],
)
def test_the_most_clients_are_those_of_the_last_step_before_the_first_failure(
    p99: list[float | None], most: int
) -> None:
    assert capacity(p99)["value"] == most


def test_without_a_failed_step_the_servers_limit_is_unknown() -> None:
    assert not capacity([50.0, 60.0, 70.0])["reached"]
    assert capacity([50.0, 60.0, 170.0])["reached"]


def test_a_late_generator_is_not_the_servers_limit() -> None:
    assert not capacity([50.0, 60.0, 170.0], limited={("sse", 40)})["reached"]
    assert capacity([50.0, 60.0, 170.0], limited={("sse", 10)})["reached"]


def test_the_first_failed_step_decides_whose_limit_it_is() -> None:
    assert not capacity([50.0, 150.0, None], limited={("sse", 20)})["reached"]


def test_capacity_is_the_median_of_the_runs() -> None:
    assert capacity([50.0, 60.0, 200.0], [50.0, 60.0, 90.0], [50.0, 60.0, 90.0])["value"] == 40


# --- the others ----------------------------------------------------------------------------------


def test_bytes_that_wait_in_the_kernel_are_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = server.accept()
            with connection:
                assert kernel_bytes(port) == 0
                connection.setblocking(False)
                sent = 0
                try:
                    while True:
                        sent += connection.send(bytes(65_536))
                except BlockingIOError:
                    pass
                waiting = kernel_bytes(port)
                assert waiting is not None
                assert 0 < waiting <= sent
                client.setblocking(False)


@pytest.mark.parametrize(
    ("here", "between", "there", "miscounted"),
    [((5, 7), (5, 7), (5, 7), 0), ((5, 7), (5, 7), (5, 8), 1), ((5, 7), (6, 7), (5, 7), 1)],
)
def test_the_three_byte_counts_must_agree(
    here: tuple[int, int],
    between: tuple[int, int],
    there: tuple[int, int],
    miscounted: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def wire(url: str, path: str) -> Any:
        return {"transports": {"sse": {"bytes_in": there[0], "bytes_out": there[1]}}}

    monkeypatch.setattr("benchmarks.overhead.get_json", wire)
    monkeypatch.setattr("benchmarks.overhead._SETTLE_SECONDS", 0.05)
    with ExitStack() as stack:
        options = argparse.Namespace(url="http://127.0.0.1:1", hub="")
        bench = Overhead(options, stack)
        load = SimpleNamespace(run_for=lambda seconds: None)
        reader = SimpleNamespace(bytes_out=here[0], bytes_in=here[1])
        relay = SimpleNamespace(proxy=SimpleNamespace(bytes_up=between[0], bytes_down=between[1]))
        found = bench._miscounted(
            cast(Any, load), cast(Any, reader), cast(Any, relay), "client", "sse"
        )
        assert (found, len(bench.notes)) == (miscounted, miscounted)
