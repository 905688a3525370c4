"""``python -m benchmarks.compression``: bytes saved by compression, and the CPU that it costs.

Three ways: our server and nchan compress a message once for all readers; plain Tornado has a
compressor for each client, which remembers what it sent, and compresses each delivery again.
"""

import argparse
import random
import sys
from typing import ClassVar

from benchmarks.competitors.benchmark import SystemsBenchmark
from benchmarks.competitors.compressed import COMPRESSED, publish_words
from benchmarks.competitors.order import audit_transcript
from benchmarks.competitors.system import SERVER_CORES, System, pinned_to
from benchmarks.load.generator import LoadGenerator, constant_arrivals, gc_paused
from benchmarks.load.workload import new_room, run_workload
from benchmarks.method.options import ints, names_of, positive, positive_int
from benchmarks.method.runner import run
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.cli import stdio

# Between the last connection and the first message: a subscription to Redis takes time.
_SETTLE_SECONDS = 0.3
_PATIENCE_SECONDS = 20.0
# Messages before those that count.
_WARM_UP = 5


class Compression(SystemsBenchmark):
    name = "compression"
    systems = COMPRESSED
    question = "What does compression save on the wire, and what does it cost?"
    examples = """\
  python -m benchmarks.compression --quick
  python -m benchmarks.compression --followers 1,500 --peers "realtime websocket deflate"

With one reader, a delivery carries the whole cost of its message; with a hundred, a part of it.
`tornado write_message deflate` compresses for each client; the others once for all readers."""
    factors = ("peer", "followers")
    measures: ClassVar = {
        "bytes_down": Measure("B", "to a reader, per message"),
        "cpu_us": Measure("µs", "of the server's CPU, per delivery"),
    }
    quick: ClassVar = {"followers": [1, 20], "messages": 20, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--peers", type=names_of(COMPRESSED), default=[*COMPRESSED], metavar="NAME,…"
        )
        parser.add_argument(
            "--followers", type=ints, default=[1, 10, 100], metavar="N,…", help="(1,10,100)"
        )
        parser.add_argument(
            "--size", type=positive_int, default=100, help="of a text, in bytes (%(default)s)"
        )
        parser.add_argument(
            "--rate", type=positive, default=80.0, help="messages a second (%(default)s)"
        )
        parser.add_argument(
            "--messages", type=positive_int, default=120, help="in a run (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        self.start_redis()
        self._started: dict[str, System] = {}
        return self.grid(peer=self.available_peers(), followers=self.options.followers)

    def _system(self, name: str) -> System:
        """Return a system, whose server all variants of a product share."""
        system, product = COMPRESSED[name](), name.split()[0]
        if product not in self._started:
            with pinned_to(SERVER_CORES):
                system.start(self.stack, self.redis)
            self._started[product] = system
        system.url, system.cost = self._started[product].url, self._started[product].cost
        return system

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        system = self._system(factors["peer"])
        with LoadGenerator() as load, gc_paused():
            spec = publish_words(system, room, options.size, rng)
            readers = load.add_readers(system.protocol(room) for _ in range(factors["followers"]))
            load.run_for(_SETTLE_SECONDS)
            warm = constant_arrivals(0.0, options.rate, _WARM_UP, rng)
            sender = run_workload(load, spec, warm, patience=_PATIENCE_SECONDS).sender
            times = constant_arrivals(0.0, options.rate, options.messages, rng)
            received = sum(reader.traffic().bytes_down for reader in readers)
            used = system.cost.cpu_seconds()
            transcript = run_workload(load, spec, times, patience=_PATIENCE_SECONDS, sender=sender)
            used = system.cost.cpu_seconds() - used
            received = sum(reader.traffic().bytes_down for reader in readers) - received
            sample = transcript.sample(load, audit_transcript(system, transcript))
        deliveries = options.messages * factors["followers"]
        sample.latencies = []
        sample.measures = {
            "bytes_down": received / deliveries,
            "cpu_us": 1e6 * used / deliveries,
        }
        return sample


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Compression)))
