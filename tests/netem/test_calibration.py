"""The losses of a TCP link, compared with those of the kernel's own TCP.

Where this test may make no network interface it is skipped: `test_link.py` compares the link with
the theory.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from random import Random

import pytest

from realtime.netem.conditions import NetworkConditions
from realtime.netem.link import Link
from tests.cases import each
from tests.server_process import ROOT

pytestmark = pytest.mark.clocked

# In a network namespace of its own; with a user namespace, where that is allowed without root.
IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")
PROGRAM = (sys.executable, "-m", "tests.netem.real_tcp")


def of_the_kernel(*arguments: float) -> list[float]:
    """Return the delays of messages through the kernel's TCP."""
    command = [*IN_NAMESPACE, *PROGRAM, *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is missing")
    if "PermissionError" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no right to make a network interface")
    assert done.returncode == 0, done.stderr
    delays: list[float] = json.loads(done.stdout)
    return delays


def of_the_link(
    rtt: float, loss: float, interval: float, connections: int, messages: int
) -> list[float]:
    """Return the delays of the same messages through links."""
    network, delays = NetworkConditions(rtt=rtt, loss=loss), []
    for seed in range(connections):
        link, sent = Link(0, Random(seed)), []
        for number in range(messages):
            sent.append(interval * number)
            link.enqueue(b"x", network, sent[-1])
        for at in sent:
            delays.append((link.next_due or 0) - at)
            link.pop_due(link.next_due or 0)
    return delays


def mean(delays: Sequence[float]) -> float:
    return sum(delays) / len(delays)


def late(delays: Sequence[float], limit: float) -> float:
    """Return the share of messages that took longer than `limit`."""
    return sum(delay > limit for delay in delays) / len(delays)


@each(
    ("rtt", "loss", "interval"),
    [
        (0.1, 0.05, 0.025),  # the next messages show a loss
        (0.05, 0.1, 0.4),  # a message is alone, so the timer shows it
    ],
)
def test_losses_delay_messages_as_in_the_kernel(rtt: float, loss: float, interval: float) -> None:
    size = 100, 5_000 // 100
    kernel, model = (
        of_the_kernel(rtt, loss, interval, *size),
        of_the_link(rtt, loss, interval, *size),
    )
    assert mean(model) == pytest.approx(mean(kernel), rel=0.2)
