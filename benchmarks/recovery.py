"""From a cut to caught up: every connection breaks at the moment at which something is said.

Whoever was cut comes again at once with its cursor, and has caught up when it has heard what was
said at that very moment.  A page waits a little before it comes again (full jitter), so that a
thousand of them do not come together; that pause is a choice, and not measured here.
"""

import argparse
import random
import sys
from typing import ClassVar

from benchmarks.clients.http import Server
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import Crowd, clock, evenly, our_words, undisturbed
from benchmarks.load.workload import Said, new_room, talk
from benchmarks.method import theory
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import LATENCY_MEASURES, Factors, Sample, percentiles
from realtime.netem.conditions import NetworkConditions


class Recovery(Benchmark):
    name = "recovery"
    question = "How long from a cut to caught up, and is anything lost or doubled?"
    examples = """\
  python -m benchmarks.recovery --quick
  python -m benchmarks.recovery --network rtt=200ms --cuts 20 --readers 50"""
    factors = ("transport", "network")
    measures = LATENCY_MEASURES
    networks = ("none", "rtt=100ms")
    quick: ClassVar = {
        "cuts": 2,
        "every": 0.4,
        "interval": 0.2,
        "readers": 5,
        "runs": 1,
        "network": ["none", "rtt=50ms"],
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cuts", type=positive_int, default=3, help="in a run (%(default)s)")
        parser.add_argument(
            "--every", type=positive, default=1.3, help="seconds between cuts (%(default)s)"
        )
        parser.add_argument(
            "--readers", type=positive_int, default=10, help="that are cut together (%(default)s)"
        )
        parser.add_argument(
            "--rate", type=positive, default=20.0, help="messages a second (%(default)s)"
        )
        parser.add_argument(
            "--interval", type=positive, default=1.0, help="of short polling, in s (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(transport=self.options.transports, network=self.options.network)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Server(self.url(factors["network"]))
        with Crowd() as crowd, undisturbed():
            readers = crowd.listen(
                listener(
                    factors["transport"],
                    server,
                    room,
                    interval=options.interval,
                    phase=chance.random(),
                )
                for _ in range(options.readers)
            )
            cuts: list[float] = []

            def cut() -> None:
                cuts.append(clock())
                for reader in readers:
                    reader.cut()

            seconds = options.every * (options.cuts + 1)
            times = evenly(0.0, options.rate, round(seconds * options.rate) + 1, chance)
            # Right after a message was due, so that it is said, and surely not yet heard.
            marks = [
                (times[round(n * options.every * options.rate)], cut)
                for n in range(1, 1 + options.cuts)
            ]
            words = our_words(self.sut.url, room, 100)
            said = talk(crowd, words, times, patience=5 + options.interval, marks=marks)
            sample = said.sample(crowd)
        sample.latencies = caught_up(said, cuts)
        sample.measures = percentiles(sample.latencies)
        return sample

    def predict(self, factors: Factors) -> dict[str, float]:
        rtt = NetworkConditions.parse(factors["network"]).mean_rtt
        wait = theory.recovery(factors["transport"], rtt, self.options.interval)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return {name: 1000 * wait.quantile(share) for name, share in shares.items()}


def caught_up(said: Said, cuts: list[float]) -> list[float]:
    """From each cut to each reader's hearing of the last that was due before it, in ms."""
    dues = sorted(said.speaker.due.values())
    targets = {max(due for due in dues if due <= cut): cut for cut in cuts}
    return [1000 * (heard.when - targets[due]) for due, heard in said.heard() if due in targets]


if __name__ == "__main__":
    sys.exit(run(Recovery))
