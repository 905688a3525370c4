"""What a client that does not read costs: memory of the server and of the kernel, and whom else.

Some readers stop reading; then much is said.  A server of its own for each measurement, since one
that has grown once has room for the next.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.clients.http import Server, get_json
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import Crowd, clock, evenly, our_words, undisturbed
from benchmarks.load.workload import new_room, talk
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample, percentiles
from benchmarks.method.testbed import ServerUnderTest

# Beyond its own deadline, the time that a server gets to close a reader that stopped.
_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.1
# What the server remembers of a room: little, so that its window is soon as large as it gets.
_HISTORY = 100


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
            "--stopped", type=positive_int, default=50, help="readers (%(default)s)"
        )
        parser.add_argument(
            "--megabytes", type=positive, default=2.0, help="said meanwhile (%(default)s)"
        )
        parser.add_argument(
            "--size", type=positive_int, default=4000, help="bytes of a text (%(default)s)"
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

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        options = self.options
        if options.url:
            return self._measure(self.sut, factors, chance)
        limits = {"write-deadline-seconds": options.deadline, "history-events": _HISTORY}
        arguments = [text for name, value in limits.items() for text in (f"--{name}", str(value))]
        with ServerUnderTest(None, options.hub, *arguments) as sut:
            return self._measure(sut, factors, chance)

    def _measure(self, sut: ServerUnderTest, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        transport, server = factors["transport"], Server(self.url(sut=sut))
        count = round(options.megabytes * 1e6 / options.size)
        words = our_words(sut.url, room, options.size)
        with Crowd() as crowd, undisturbed():
            # What the server keeps for the room is not what it keeps for a reader: fill that first.
            [healthy] = crowd.listen([listener("sse", server, room)])
            talk(crowd, words, evenly(0.0, 2 * options.rate, count, chance))
            stopped = crowd.listen(
                listener(transport, server, room, interval=0.2) for _ in range(options.stopped)
            )
            memory = sut.cost.memory_bytes()
            for reader in stopped:
                reader.stop_reading()
            crowd.readers = [healthy]
            began = clock()
            said = talk(crowd, words, evenly(0.0, options.rate, count, chance))
            held = sut.cost.memory_bytes() - memory
            kernel = kernel_bytes(Server(sut.url).port)
            closed = self._until_closed(crowd, sut, transport, began)
            sample = said.sample(crowd)
            for reader in stopped:
                reader.leave()
        told = percentiles(sample.latencies)
        sample.latencies = []
        sample.measures = {
            "server_kib": held / 1024 / options.stopped,
            "kernel_kib": None if kernel is None else kernel / 1024 / options.stopped,
            "others_p99": told["p99"],
            "closed_s": closed,
        }
        return sample

    def _until_closed(
        self, crowd: Crowd, sut: ServerUnderTest, transport: str, began: float
    ) -> float | None:
        """Look until only those are open who read; None if the server never ends the others.

        A poller that stops has one answer to take, which is not much, and asks nothing more.
        """
        if transport in ("short_polling", "long_polling"):
            return None
        left = 1 if transport == "sse" else 0
        while clock() < began + self.options.deadline + _GRACE_SECONDS:
            wire: dict[str, Any] = asyncio.run(get_json(sut.url, "/wire"))
            if wire["transports"][transport]["open"] <= left:
                return clock() - began
            crowd.wait(_LOOK_SECONDS)
        return None


def kernel_bytes(port: int) -> int | None:
    """Bytes that wait in the send buffers of a server on this machine (proc(5), net/tcp)."""
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
    sys.exit(run(SlowReader))
