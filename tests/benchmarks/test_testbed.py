"""Servers and what they cost: as the kernel counts, or as a server elsewhere tells."""

import sys
import time

import pytest

from benchmarks.method import testbed
from benchmarks.method.testbed import MeasuredProcess, MetricsCost, ProcessCost, ServerUnderTest
from realtime.netem.conditions import NetworkConditions
from tests.conftest import Servers

BUSY = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
SAY = "print('listening on http://127.0.0.1:1/ (nothing)', flush=True)\n"


def test_time_on_a_cpu_is_counted_to_the_millisecond() -> None:
    process = MeasuredProcess([sys.executable, "-c", f"{SAY}{BUSY}time.sleep(60)"])
    try:
        cost = ProcessCost(process.pid)
        deadline = time.monotonic() + 10
        while (used := cost.cpu_seconds()) < 0.2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # it sleeps now, which costs nothing
        assert cost.cpu_seconds() - used < 0.1
        assert 0.2 <= cost.cpu_seconds() < 0.6
    finally:
        process.close()


def test_memory_that_is_taken_is_seen() -> None:
    code = f"import time\n{SAY}held = b'x' * 50_000_000\ntime.sleep(60)"
    process = MeasuredProcess([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 10
        while ProcessCost(process.pid).memory_bytes() < 50e6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 50e6 < ProcessCost(process.pid).memory_bytes() < 90e6
    finally:
        process.close()


def test_a_server_elsewhere_tells_the_same_as_the_kernel(servers: Servers) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    told, counted = MetricsCost(server.url), ProcessCost(server.process.pid)
    assert told.cpu_seconds() == pytest.approx(counted.cpu_seconds(), rel=0.3, abs=0.05)
    assert 1 <= told.memory_bytes() / counted.memory_bytes() < 3  # libraries come on top


def test_a_program_that_says_nothing_is_named() -> None:
    with pytest.raises(testbed.TestbedError, match="did not start"):
        MeasuredProcess([sys.executable, "-c", ""])


def test_a_network_is_begun_once_and_nothing_is_no_network(servers: Servers) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    with ServerUnderTest(server.url) as sut:
        assert sut.via_network(NetworkConditions()) == server.url
        behind = sut.via_network(NetworkConditions.parse("rtt=10ms"))
        assert behind != server.url
        assert sut.via_network(NetworkConditions.parse("rtt=10ms")) == behind
        assert sut.describe()["hub"] == "memory"


def test_what_was_begun_is_ended() -> None:
    with ServerUnderTest(None, "memory") as sut:
        assert sut.cost.memory_bytes() > 0
    with pytest.raises(testbed.TestbedError, match="cannot be reached"):
        sut.describe()
