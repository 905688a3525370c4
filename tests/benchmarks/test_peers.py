"""The protocols of the other systems, the check of their order, and the budget."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.competitors.budget import BUDGET, CostLimit, judge
from benchmarks.competitors.order import in_one_order
from benchmarks.competitors.socketio import SocketIOPollingSystem, split_payload
from benchmarks.competitors.system import SERVER_CORES, pinned_to
from benchmarks.competitors.systems import SYSTEMS
from benchmarks.load.generator import ReceivedEvent
from benchmarks.method.audit import audit
from benchmarks.method.samples import Cell, Sample
from benchmarks.peers import Peers
from benchmarks.report.text import format_result
from tests.benchmarks.samples import result
from tests.cases import each

MESSAGE = b'42["message",{"kind":"say","cursor":"peer-1","id":"%b","text":"x"}]'


pytestmark = pytest.mark.unhurried


# --- Socket.IO by polling ------------------------------------------------------------------------


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_packets_of_one_response_are_split_at_the_record_separator() -> None:
    assert split_payload(b"2") == [b"2"]
    assert split_payload(MESSAGE % b"a" + b"\x1e2\x1e" + MESSAGE % b"b") == [
        MESSAGE % b"a",
        b"2",
        MESSAGE % b"b",
    ]


def test_a_session_opens_connects_and_joins_before_it_is_ready() -> None:
    system = SocketIOPollingSystem()
    system.url = "http://127.0.0.1:8000"
    one = system.protocol("room")
    requests = [one.connect(0.0)]
    answers = [b'0{"sid":"s1"}', b"ok", b'40{"sid":"s2"}', b"ok", b"431[]"]
    ready = []
    for when, body in enumerate(answers, 1):
        one.receive_data(response(body), float(when))
        assert one.send_at == when
        ready.append(one.ready)
        requests.append(one.data_to_send(float(when)))
    assert ready == [False, False, False, False, True]
    assert [request.partition(b" ")[0] for request in requests] == [
        *(b"GET", b"POST", b"GET", b"POST", b"GET", b"GET")
    ]
    assert all(b"&sid=s1 " in request for request in requests[1:])
    assert requests[1].endswith(b"\r\n\r\n40")
    assert requests[3].endswith(b'\r\n\r\n421["join","room"]')


def test_a_ping_among_messages_is_answered_and_the_messages_are_received() -> None:
    system = SocketIOPollingSystem()
    system.url = "http://127.0.0.1:8000"
    one = system.protocol("room")
    one.connect(0.0)
    updates = one.receive_data(response(MESSAGE % b"a" + b"\x1e2\x1e" + MESSAGE % b"b"), 7.0)
    assert [event["id"] for event, _ in updates if event] == ["a", "b"]
    assert one.data_to_send(7.0).endswith(b"\r\n\r\n3")


# --- one order -----------------------------------------------------------------------------------


def readers_of(*readers: str) -> Any:
    """Readers that received messages, each a letter."""
    return [
        SimpleNamespace(received=[ReceivedEvent(0.0, {"id": id}, 0.0) for id in ids])
        for ids in readers
    ]


@each(
    ("readers", "fault"),
    [
        (["abc", "abc"], None),
        (["bac", "bac"], None),  # no system promises which of two is first
        (["abc", "ac"], "lost"),
        (["ac", "abc"], "lost"),
        (["abc", "abbc"], "duplicated"),
        (["abbc", "abc"], "duplicated"),
        (["abc", "acb"], "reordered"),
    ],
)
def test_the_order_is_that_of_the_readers_and_every_fault_is_found(
    readers: list[str], fault: str | None
) -> None:
    found = audit("abc", in_one_order(readers_of(*readers)))
    assert found.clean == (fault is None)
    assert fault is None or getattr(found, fault)


# --- the budget ----------------------------------------------------------------------------------


def cell(load: str, peer: str, *values: float | None) -> Cell:
    return Cell({"load": load, "peer": peer}, [Sample({"cpu_us": value}) for value in values])


CELLS = [
    cell("paced", "ours", 1.0, 30.0, 4.0),
    cell("paced", "theirs", 2.0, 50.0, 10.0),
    cell("burst", "ours", 9.0, 9.0, 9.0),
    cell("burst", "theirs", None, None, None),
]


@each(
    ("limit", "measured", "holds"),
    [
        (CostLimit("paced", "cpu_us", "ours", "theirs", 0.5), 0.5, True),
        (CostLimit("paced", "cpu_us", "ours", "theirs", 0.49), 0.5, False),
        (CostLimit("paced", "cpu_us", "ours", None, 3.9), 4.0, False),
        (CostLimit("burst", "cpu_us", "ours", None, 9), 9.0, True),
    ],
)
def test_a_limit_compares_the_median_of_the_ratios_of_the_runs(
    limit: CostLimit, measured: float, holds: bool
) -> None:
    [found] = judge([limit], CELLS, seed=1)
    assert (found["measured"]["value"], found["holds"]) == (measured, holds)


@each(
    "limit",
    [
        CostLimit("burst", "cpu_us", "ours", "theirs", 1.0),  # it has no value
        CostLimit("paced", "cpu_us", "ours", "an unknown system", 1.0),
        CostLimit("idle", "cpu_us", "ours", "theirs", 1.0),
        CostLimit("paced", "p99", "ours", "theirs", 1.0),
    ],
)
def test_a_limit_without_a_measurement_has_no_verdict(limit: CostLimit) -> None:
    [found] = judge([limit], CELLS, seed=1)
    assert (found["measured"], found["holds"]) == (None, None)


def test_every_limit_is_about_a_measured_value() -> None:
    for limit in BUDGET:
        assert limit.measure in Peers.measures
        for peer in {limit.peer, limit.against or limit.peer}:
            assert limit.load in SYSTEMS[peer].loads


def test_the_terminal_marks_limits_that_do_not_hold_or_were_not_measured() -> None:
    limits = [
        CostLimit("paced", "cpu_us", "ours", "theirs", 0.5),
        CostLimit("paced", "cpu_us", "ours", None, 1),
        CostLimit("idle", "cpu_us", "ours", None, 1),
    ]
    lines = format_result(result("peers", budget=judge(limits, CELLS, seed=1))).splitlines()
    assert "performance budget: 1 of 3 limits hold, 1 do not, 1 were not measured" in lines
    [holds, broken, unknown] = lines[-3:]
    assert "0.5 [0.4–0.6]" in holds
    assert holds.endswith(" holds")
    assert broken.endswith("!!! does not hold")
    assert unknown.endswith("!!! not measured")


# --- cores ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not SERVER_CORES, reason="one core, or no Linux")
def test_processes_started_meanwhile_run_on_the_given_cores_and_ours_returns() -> None:
    before = os.sched_getaffinity(0)
    with pinned_to(SERVER_CORES):
        assert os.sched_getaffinity(0) == {*SERVER_CORES}
    assert os.sched_getaffinity(0) == before
