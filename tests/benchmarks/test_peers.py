"""What is said to the peers, how their order is found, and what the budget makes of the figures."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.clients.protocols import Heard
from benchmarks.competitors.budget import BUDGET, Limit, judge
from benchmarks.competitors.order import in_one_order
from benchmarks.competitors.socketio import SocketIOPolling, split_payload
from benchmarks.competitors.system import SERVER_CORES, on
from benchmarks.competitors.systems import SYSTEMS
from benchmarks.method.audit import audit
from benchmarks.method.samples import Cell, Sample
from benchmarks.peers import Peers
from benchmarks.report.text import format_result
from tests.benchmarks.samples import result

SAID = b'42["message",{"kind":"say","cursor":"peer-1","id":"%b","text":"x"}]'


# --- Socket.IO by polling ------------------------------------------------------------------------


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_packets_of_one_answer_are_split_at_the_record_separator() -> None:
    assert split_payload(b"2") == [b"2"]
    assert split_payload(SAID % b"a" + b"\x1e2\x1e" + SAID % b"b") == [
        SAID % b"a",
        b"2",
        SAID % b"b",
    ]


def test_a_session_is_opened_connected_and_joined_before_anything_is_heard() -> None:
    system = SocketIOPolling()
    system.url = "http://127.0.0.1:8000"
    one = system.listener("room")
    asked = [one.begin(0.0)]
    answers = [b'0{"sid":"s1"}', b"ok", b'40{"sid":"s2"}', b"ok", b"431[]"]
    ready = []
    for when, body in enumerate(answers, 1):
        assert one.take(answer(body), float(when)) == when
        ready.append(one.ready)
        asked.append(one.speak(float(when)))
    assert ready == [False, False, False, False, True]
    assert [request.partition(b" ")[0] for request in asked] == [
        *(b"GET", b"POST", b"GET", b"POST", b"GET", b"GET")
    ]
    assert all(b"&sid=s1 " in request for request in asked[1:])
    assert asked[1].endswith(b"\r\n\r\n40")
    assert asked[3].endswith(b'\r\n\r\n421["join","room"]')


def test_a_ping_among_messages_is_answered_and_the_messages_are_heard() -> None:
    system = SocketIOPolling()
    system.url = "http://127.0.0.1:8000"
    one = system.listener("room")
    one.begin(0.0)
    one.take(answer(SAID % b"a" + b"\x1e2\x1e" + SAID % b"b"), 7.0)
    assert [(heard.event["id"], heard.when) for heard in one.heard] == [("a", 7.0), ("b", 7.0)]
    assert one.speak(7.0).endswith(b"\r\n\r\n3")


# --- one order -----------------------------------------------------------------------------------


def heard_by(*readers: str) -> Any:
    """Readers who heard messages, each a letter."""
    return [
        SimpleNamespace(listener=SimpleNamespace(heard=[Heard(0.0, {"id": i}, 0.0) for i in one]))
        for one in readers
    ]


@pytest.mark.parametrize(
    ("readers", "fault"),
    [
        (["abc", "abc"], None),
        (["bac", "bac"], None),  # which of two was first is nobody's promise
        (["abc", "ac"], "lost"),
        (["ac", "abc"], "lost"),
        (["abc", "abbc"], "duplicated"),
        (["abbc", "abc"], "duplicated"),
        (["abc", "acb"], "reordered"),
    ],
)
def test_a_peers_order_is_that_of_its_readers_and_every_fault_is_found(
    readers: list[str], fault: str | None
) -> None:
    found = audit("abc", in_one_order(heard_by(*readers)))
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


@pytest.mark.parametrize(
    ("limit", "measured", "holds"),
    [
        (Limit("paced", "cpu_us", "ours", "theirs", 0.5), 0.5, True),
        (Limit("paced", "cpu_us", "ours", "theirs", 0.49), 0.5, False),
        (Limit("paced", "cpu_us", "ours", None, 3.9), 4.0, False),
        (Limit("burst", "cpu_us", "ours", None, 9), 9.0, True),
    ],
)
def test_a_limit_is_of_the_median_of_the_runs_quotients(
    limit: Limit, measured: float, holds: bool
) -> None:
    [found] = judge([limit], CELLS, seed=1)
    assert (found["measured"]["value"], found["holds"]) == (measured, holds)


@pytest.mark.parametrize(
    "limit",
    [
        Limit("burst", "cpu_us", "ours", "theirs", 1.0),  # it has no figure
        Limit("paced", "cpu_us", "ours", "a peer that is not here", 1.0),
        Limit("idle", "cpu_us", "ours", "theirs", 1.0),
        Limit("paced", "p99", "ours", "theirs", 1.0),
    ],
)
def test_what_was_not_measured_neither_holds_nor_does_not(limit: Limit) -> None:
    [found] = judge([limit], CELLS, seed=1)
    assert (found["measured"], found["holds"]) == (None, None)


def test_every_limit_is_of_something_that_is_measured() -> None:
    for limit in BUDGET:
        assert limit.measure in Peers.measures
        for peer in {limit.peer, limit.against or limit.peer}:
            assert limit.load in SYSTEMS[peer].loads


def test_the_terminal_is_loud_about_what_does_not_hold_and_what_was_not_measured() -> None:
    limits = [
        Limit("paced", "cpu_us", "ours", "theirs", 0.5),
        Limit("paced", "cpu_us", "ours", None, 1),
        Limit("idle", "cpu_us", "ours", None, 1),
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
def test_whatever_is_started_meanwhile_runs_elsewhere_and_we_come_back() -> None:
    before = os.sched_getaffinity(0)
    with on(SERVER_CORES):
        assert os.sched_getaffinity(0) == {*SERVER_CORES}
    assert os.sched_getaffinity(0) == before
