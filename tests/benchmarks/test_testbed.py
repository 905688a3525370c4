"""Servers under test, and their CPU and memory from the kernel or from /metrics."""

import sys
import time

import pytest

from benchmarks.method import testbed
from benchmarks.method.testbed import MeasuredProcess, MetricsCost, ProcessCost, ServerUnderTest
from realtime.netem.conditions import NetworkConditions
from tests.conftest import Servers

BUSY = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
# It ends on SIGINT even if that is ignored here, as in a job in the background.
FIRST_LINE = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "print('listening on http://127.0.0.1:1/ (nothing)', flush=True)\n"
)


def test_cpu_time_of_a_process_is_counted() -> None:
    process = MeasuredProcess([sys.executable, "-c", f"{FIRST_LINE}{BUSY}time.sleep(60)"])
    try:
        cost = ProcessCost(process.pid)
        deadline = time.monotonic() + 10
        while (used := cost.cpu_seconds()) < 0.2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # it sleeps now and uses no CPU
        assert cost.cpu_seconds() - used < 0.1
        assert 0.2 <= cost.cpu_seconds() < 0.6
    finally:
        process.close()


@pytest.mark.unhurried
def test_memory_of_a_process_is_counted() -> None:
    code = f"import time\n{FIRST_LINE}held = b'x' * 50_000_000\ntime.sleep(60)"
    process = MeasuredProcess([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 10
        while ProcessCost(process.pid).memory_bytes() < 50e6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 50e6 < ProcessCost(process.pid).memory_bytes() < 90e6
    finally:
        process.close()


def test_metrics_and_the_kernel_report_the_same(servers: Servers) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    reported, counted = MetricsCost(server.url), ProcessCost(server.process.pid)
    assert reported.cpu_seconds() == pytest.approx(counted.cpu_seconds(), rel=0.3, abs=0.05)
    assert 1 <= reported.memory_bytes() / counted.memory_bytes() < 3  # /metrics includes libraries


@pytest.mark.unhurried
def test_a_program_without_output_is_named_in_the_error() -> None:
    with pytest.raises(testbed.TestbedError, match="did not start"):
        MeasuredProcess([sys.executable, "-c", ""])


@pytest.mark.unhurried
def test_a_network_is_started_once_and_only_if_it_has_conditions(servers: Servers) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    with ServerUnderTest(server.url) as sut:
        assert sut.via_network(NetworkConditions()) == server.url
        behind = sut.via_network(NetworkConditions.parse("rtt=10ms"))
        assert behind != server.url
        assert sut.via_network(NetworkConditions.parse("rtt=10ms")) == behind
        assert sut.describe()["hub"] == "memory"


@pytest.mark.unhurried
def test_started_processes_are_stopped() -> None:
    with ServerUnderTest(None, "memory") as sut:
        assert sut.cost.memory_bytes() > 0
    with pytest.raises(testbed.TestbedError, match="cannot be reached"):
        sut.describe()
