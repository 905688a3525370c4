"""Latency: from the intended send time of a message to its arrival at a reader."""

import argparse
import random
import sys
from typing import ClassVar

from benchmarks.load.generator import LoadGenerator, constant_arrivals, gc_paused, post_message
from benchmarks.load.workload import new_room, run_workload
from benchmarks.method import theory
from benchmarks.method.options import floats, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import LATENCY_MEASURES, Factors, Sample
from realtime.cli import stdio
from realtime.client.http import Endpoint
from realtime.netem.conditions import NetworkConditions

# A message that has not arrived by then is lost.
_PATIENCE_SECONDS = 5.0

# A proxy that collects a response until 4 KiB are there, or for a second.
BUFFERING = "buffer=4096,flush=1s"


class Latency(Benchmark):
    name = "latency"
    question = "How long does a message take from its sender to a reader, by each transport?"
    examples = """\
  python -m benchmarks.latency --quick
  python -m benchmarks.latency --network rtt=100ms --transports long_polling,sse
  python -m benchmarks.latency --network none --network rtt=50ms,jitter=20ms --rate 2,50
  python -m benchmarks.latency --url http://127.0.0.1:8000

The sender posts without the network in between, so one transit is measured, from the server to the
reader; a distant sender adds another."""
    factors = ("transport", "network", "rate")
    measures = LATENCY_MEASURES
    networks = ("none", "rtt=25ms", "rtt=100ms", BUFFERING)
    quick: ClassVar = {
        "messages": 20,
        "rate": [25.0],
        "interval": 0.2,
        "warm_up": 2,
        "network": ["none", "rtt=50ms", BUFFERING],
        "runs": 2,
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--rate", type=floats, default=[20.0], metavar="N,…", help="messages a second (20)"
        )
        parser.add_argument(
            "--messages",
            type=positive_int,
            default=60,
            help="messages that count in a run (%(default)s)",
        )
        parser.add_argument(
            "--warm-up",
            type=positive_int,
            default=5,
            help="messages before those that count (%(default)s)",
        )
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a message text (%(default)s)"
        )
        parser.add_argument(
            "--readers", type=positive_int, default=1, help="readers of a transport (%(default)s)"
        )
        parser.add_argument(
            "--interval",
            type=positive,
            default=1.0,
            help="interval of short polling, in s (%(default)s)",
        )

    def cells(self) -> list[Factors]:
        return self.grid(
            transport=self.options.transports,
            network=self.options.network,
            rate=self.options.rate,
        )

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Endpoint(self.url(factors["network"]))
        interval = options.interval
        with LoadGenerator() as load, gc_paused():
            readers = (
                self.make_protocol(
                    factors["transport"], server, room, interval=interval, phase=rng.random()
                )
                for _ in range(options.readers)
            )
            load.add_readers(readers)
            times = constant_arrivals(0.0, factors["rate"], options.warm_up + options.messages, rng)
            spec = post_message(self.sut.url, room, options.size)
            transcript = run_workload(
                load, spec, times, warm_up=options.warm_up, patience=5 + interval
            )
            return transcript.sample(load)

    def predict(self, factors: Factors) -> dict[str, float]:
        if _is_buffered(factors):
            return {}
        wait = self._wait(factors)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return {name: 1000 * wait.quantile(share) for name, share in shares.items()}

    def distribution(self, factors: Factors) -> list[tuple[float, float]] | None:
        if _is_buffered(factors):
            return None
        return [(1000 * when, share) for when, share in self._wait(factors).distribution()]

    def _wait(self, factors: Factors) -> theory.LatencyModel:
        rtt = NetworkConditions.parse(factors["network"]).mean_rtt
        interval = self.options.interval
        return theory.for_transport(factors["transport"], rtt, factors["rate"], interval)


def _is_buffered(factors: Factors) -> bool:
    """Whether a proxy holds responses back, which theory does not describe."""
    return NetworkConditions.parse(factors["network"]).buffer is not None


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Latency)))
