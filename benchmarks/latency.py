"""From the moment at which a message was to be said to the moment at which a reader has it."""

import argparse
import random
import sys
from typing import ClassVar

from benchmarks.clients.http import Server
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import Crowd, evenly, our_words, undisturbed
from benchmarks.load.workload import new_room, talk
from benchmarks.method import theory
from benchmarks.method.options import floats, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import LATENCY_MEASURES, Factors, Sample
from realtime.netem.conditions import NetworkConditions


class Latency(Benchmark):
    name = "latency"
    question = "How long does a message take from its sender to a reader, by each transport?"
    examples = """\
  python -m benchmarks.latency --quick
  python -m benchmarks.latency --network rtt=100ms --transports long_polling,sse
  python -m benchmarks.latency --network none --network rtt=50ms,jitter=20ms --rate 2,50
  python -m benchmarks.latency --url http://127.0.0.1:8000

The sender posts to the server without the network between: a reader's share of the way is measured,
one transit, and whoever sends from afar adds another."""
    factors = ("transport", "network", "rate")
    measures = LATENCY_MEASURES
    networks = ("none", "rtt=25ms", "rtt=100ms")
    quick: ClassVar = {
        "messages": 20,
        "rate": [25.0],
        "interval": 0.2,
        "warm_up": 2,
        "network": ["none", "rtt=50ms"],
        "runs": 2,
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--rate", type=floats, default=[20.0], metavar="N,…", help="messages a second (20)"
        )
        parser.add_argument(
            "--messages", type=positive_int, default=60, help="counted in a run (%(default)s)"
        )
        parser.add_argument(
            "--warm-up", type=positive_int, default=5, help="not counted (%(default)s)"
        )
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a text (%(default)s)"
        )
        parser.add_argument(
            "--readers", type=positive_int, default=1, help="of a transport (%(default)s)"
        )
        parser.add_argument(
            "--interval", type=positive, default=1.0, help="of short polling, in s (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(
            transport=self.options.transports,
            network=self.options.network,
            rate=self.options.rate,
        )

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Server(self.url(factors["network"]))
        interval = options.interval
        with Crowd() as crowd, undisturbed():
            readers = (
                listener(
                    factors["transport"], server, room, interval=interval, phase=chance.random()
                )
                for _ in range(options.readers)
            )
            crowd.listen(readers)
            times = evenly(0.0, factors["rate"], options.warm_up + options.messages, chance)
            words = our_words(self.sut.url, room, options.size)
            said = talk(crowd, words, times, warm_up=options.warm_up, patience=5 + interval)
            return said.sample(crowd)

    def predict(self, factors: Factors) -> dict[str, float]:
        wait = self._wait(factors)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return {name: 1000 * wait.quantile(share) for name, share in shares.items()}

    def distribution(self, factors: Factors) -> list[tuple[float, float]]:
        return [(1000 * when, share) for when, share in self._wait(factors).distribution()]

    def _wait(self, factors: Factors) -> theory.LatencyModel:
        rtt = NetworkConditions.parse(factors["network"]).mean_rtt
        interval = self.options.interval
        return theory.for_transport(factors["transport"], rtt, factors["rate"], interval)


if __name__ == "__main__":
    sys.exit(run(Latency))
