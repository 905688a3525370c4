"""The losses of a TCP link, compared with those of the kernel's own TCP.

Where this test may make no network interface it is skipped: `test_link.py` compares the link with
the theory.
"""

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from random import Random

import pytest

from realtime.netem.conditions import NetworkConditions
from realtime.netem.link import Link
from tests.conftest import missing
from tests.server_process import ROOT

# As root the program of the kernel's TCP takes precedence over all other processes.
pytestmark = [pytest.mark.clocked] if os.geteuid() else []

# In a network namespace of its own; without root in a user namespace, where that is allowed.
_USER = () if os.geteuid() == 0 else ("--user", "--map-root-user")
IN_NAMESPACE = ("unshare", *_USER, "--net")
PROGRAM = (sys.executable, "-m", "tests.netem.real_tcp")
# RTT, loss, interval, burst, connections, messages.  The round trips are long, so that a busy
# machine adds little to them.  More losses, or more messages on their way, would show the
# congestion window.
CASES = {
    "the next messages show a loss": (0.4, 0.05, 0.2, 1, 120, 25),
    "a message is alone, so the timer shows it": (0.3, 0.1, 1.5, 1, 160, 5),
    "of three at once, the last one is like one alone": (0.3, 0.05, 1.5, 3, 160, 15),
}


async def of_the_kernel(*arguments: float) -> list[float]:
    """Return the delays of messages through the kernel's TCP."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(*IN_NAMESPACE, *PROGRAM, *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
    except FileNotFoundError:
        missing("unshare")
    output, trouble = await process.communicate()
    if b"PermissionError" in trouble or b"unshare" in trouble or b"/dev/net/tun" in trouble:
        missing("the right to make a network interface")
    assert process.returncode == 0, trouble.decode()
    delays: list[float] = json.loads(output)
    return delays


def of_the_link(
    rtt: float, loss: float, interval: float, burst: int, connections: int, messages: int
) -> list[float]:
    """Return the delays of the same messages through links."""
    network, delays = NetworkConditions(rtt=rtt, loss=loss), []
    for seed in range(10 * connections):
        link, sent = Link(0, Random(seed)), []
        for number in range(messages):
            sent.append(interval * (number // burst))
            link.enqueue(b"x", network, sent[-1])
        for at in sent:
            delays.append((link.next_due or 0) - at)
            link.pop_due(link.next_due or 0)
    return delays


def late(delays: Sequence[float]) -> tuple[float, float]:
    """Return the share of messages that losses have delayed, and their median delay."""
    limit = 1.7 * min(delays)
    found = [delay for delay in delays if delay > limit]
    return len(found) / len(delays), statistics.median(found)


async def test_losses_delay_messages_as_in_the_kernel() -> None:
    await asyncio.gather(*(compare(why, *case) for why, case in CASES.items()))


async def compare(why: str, *case: *tuple[float, float, float, int, int, int]) -> None:
    model = late(of_the_link(*case))
    # If the machine stands still for a while, the kernel takes that for the network.
    for _ in range(3):
        kernel = late(await of_the_kernel(*case))
        if similar(model, kernel):
            break
    assert similar(model, kernel), (why, model, kernel)


def similar(model: tuple[float, float], kernel: tuple[float, float]) -> bool:
    """Return whether as many messages are late, and for as long."""
    (share, delay), (kernel_share, kernel_delay) = model, kernel
    return share == pytest.approx(kernel_share, rel=0.4) and delay == pytest.approx(
        kernel_delay, rel=0.2
    )
