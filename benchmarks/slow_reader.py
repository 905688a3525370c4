"""What a client that does not read costs: memory of the server and of the kernel, and latency for
others.

Some readers stop reading; then many messages are sent.  Each measurement starts its own server,
because a process that has grown once reuses that memory.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.load.connections import clock
from benchmarks.load.generator import (
    LoadGenerator,
    constant_arrivals,
    gc_paused,
    post_message,
)
from benchmarks.load.workload import new_room, run_workload
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample, percentiles
from benchmarks.method.testbed import ServerUnderTest
from realtime.cli import stdio
from realtime.client.http import Endpoint, get_json

# How long after its own deadline the server may take to close a reader that stopped.
_GRACE_SECONDS = 5.0
_CHECK_SECONDS = 0.1
# The history of a room is short, so that it soon reaches its full size.
_HISTORY_EVENTS = 100


class SlowReader(Benchmark):
    name = "slow_reader"
    question = "What does a client cost that does not read, by each transport?"
    examples = """\
  python -m benchmarks.slow_reader --quick
  python -m benchmarks.slow_reader --stopped 100 --megabytes 20 --deadline 10"""
    factors = ("transport",)
    measures: ClassVar = {
        "server_kib": Measure("KiB", "of the server's memory, per stopped reader"),
        "kernel_kib": Measure("KiB", "in the server's socket buffers, per stopped reader"),
        "others_p99": Measure("ms", "what somebody who reads had to wait meanwhile (p99)"),
        "closed_s": Measure("s", "until the server ended the last of them"),
    }
    quick: ClassVar = {"stopped": 20, "megabytes": 1.0, "deadline": 1.5, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--stopped", type=positive_int, default=50, help="readers that stop (%(default)s)"
        )
        parser.add_argument(
            "--megabytes", type=positive, default=2.0, help="sent meanwhile (%(default)s)"
        )
        parser.add_argument(
            "--size", type=positive_int, default=4000, help="bytes of a message text (%(default)s)"
        )
        parser.add_argument(
            "--deadline",
            type=positive,
            default=5.0,
            help="seconds the server waits for a reader (%(default)s)",
        )
        parser.add_argument(
            "--rate", type=positive, default=200.0, help="messages a second (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(transport=self.options.transports)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        options = self.options
        if options.url:
            return self._measure(self.sut, factors, rng)
        limits = {"write-deadline-seconds": options.deadline, "history-events": _HISTORY_EVENTS}
        arguments = [text for name, value in limits.items() for text in (f"--{name}", str(value))]
        with ServerUnderTest(None, options.hub, *arguments) as sut:
            return self._measure(sut, factors, rng)

    def _measure(self, sut: ServerUnderTest, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        transport, server = factors["transport"], Endpoint(self.url(sut=sut))
        count = round(options.megabytes * 1e6 / options.size)
        spec = post_message(sut.url, room, options.size)
        with LoadGenerator() as load, gc_paused():
            # The history of the room is not part of a reader's cost, so fill it first.
            [healthy] = load.add_readers([self.make_protocol("sse", server, room)])
            run_workload(load, spec, constant_arrivals(0.0, 2 * options.rate, count, rng))
            stopped = load.add_readers(
                self.make_protocol(transport, server, room, sut=sut, interval=0.2)
                for _ in range(options.stopped)
            )
            memory = sut.cost.memory_bytes()
            for reader in stopped:
                reader.pause_reading()
            load.readers = [healthy]
            started = clock()
            transcript = run_workload(load, spec, constant_arrivals(0.0, options.rate, count, rng))
            held = sut.cost.memory_bytes() - memory
            kernel = kernel_bytes(Endpoint(sut.url).port)
            closed = self._until_closed(load, sut, transport, started)
            sample = transcript.sample(load)
            for reader in stopped:
                reader.close()
        latency = percentiles(sample.latencies)
        sample.latencies = []
        sample.measures = {
            "server_kib": held / 1024 / options.stopped,
            "kernel_kib": None if kernel is None else kernel / 1024 / options.stopped,
            "others_p99": latency["p99"],
            "closed_s": closed,
        }
        return sample

    def _until_closed(
        self, load: LoadGenerator, sut: ServerUnderTest, transport: str, started: float
    ) -> float | None:
        """Return when the server has closed the stopped readers; None if it never does.

        A poller that stops has one response to read, which is small, and sends no more requests.
        """
        if transport in ("short_polling", "long_polling"):
            return None
        left = 1 if transport == "sse" else 0
        while clock() < started + self.options.deadline + _GRACE_SECONDS:
            wire: dict[str, Any] = asyncio.run(get_json(sut.url, "/wire"))
            if wire["transports"][transport]["open"] <= left:
                return clock() - started
            load.run_for(_CHECK_SECONDS)
        return None


def kernel_bytes(port: int) -> int | None:
    """Return the bytes in the send buffers of a server on this machine (proc(5), net/tcp)."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return None
    waiting = 0
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            waiting += int(fields[4].split(":")[0], 16)
    return waiting


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(SlowReader)))
