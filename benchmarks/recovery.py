"""From a reset to caught up: every connection breaks at the moment when a message is sent.

Each reader reconnects at once with its cursor, and has caught up when it has received the message
of that moment.  A page waits a little before it reconnects (full jitter), so that a thousand pages
do not reconnect together; that pause is a choice, and not measured here.
"""

import argparse
import random
import sys
from typing import ClassVar

from benchmarks.load.connections import clock
from benchmarks.load.generator import (
    LoadGenerator,
    constant_arrivals,
    gc_paused,
    post_message,
)
from benchmarks.load.workload import Transcript, new_room, run_workload
from benchmarks.method import theory
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import LATENCY_MEASURES, Factors, Sample, percentiles
from realtime.cli import stdio
from realtime.client.http import Endpoint
from realtime.netem.conditions import NetworkConditions


class Recovery(Benchmark):
    name = "recovery"
    question = "How long from a cut to caught up, and is anything lost or doubled?"
    examples = """\
  python -m benchmarks.recovery --quick
  python -m benchmarks.recovery --network rtt=200ms --cuts 10 --readers 50"""
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
        parser.add_argument(
            "--cuts", type=positive_int, default=3, help="resets in a run (%(default)s)"
        )
        parser.add_argument(
            "--every", type=positive, default=1.3, help="seconds between resets (%(default)s)"
        )
        parser.add_argument(
            "--readers",
            type=positive_int,
            default=10,
            help="readers that are reset together (%(default)s)",
        )
        parser.add_argument(
            "--rate", type=positive, default=20.0, help="messages a second (%(default)s)"
        )
        parser.add_argument(
            "--interval",
            type=positive,
            default=1.0,
            help="interval of short polling, in s (%(default)s)",
        )

    def cells(self) -> list[Factors]:
        return self.grid(transport=self.options.transports, network=self.options.network)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Endpoint(self.url(factors["network"]))
        with LoadGenerator() as load, gc_paused():
            readers = load.add_readers(
                self.make_protocol(
                    factors["transport"],
                    server,
                    room,
                    interval=options.interval,
                    phase=rng.random(),
                )
                for _ in range(options.readers)
            )
            resets: list[float] = []

            def reset_all() -> None:
                resets.append(clock())
                for reader in readers:
                    reader.reset()

            seconds = options.every * (options.cuts + 1)
            times = constant_arrivals(0.0, options.rate, round(seconds * options.rate) + 1, rng)
            # Right after a message was due: it is sent, and not yet received.
            marks = [
                (times[round(n * options.every * options.rate)], reset_all)
                for n in range(1, 1 + options.cuts)
            ]
            spec = post_message(self.sut.url, room, 100)
            transcript = run_workload(load, spec, times, patience=5 + options.interval, marks=marks)
            sample = transcript.sample(load)
        sample.latencies = recovery_times(transcript, resets)
        sample.measures = percentiles(sample.latencies)
        return sample

    def predict(self, factors: Factors) -> dict[str, float]:
        rtt = NetworkConditions.parse(factors["network"]).mean_rtt
        wait = theory.recovery(factors["transport"], rtt, self.options.interval)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return {name: 1000 * wait.quantile(share) for name, share in shares.items()}


def recovery_times(transcript: Transcript, resets: list[float]) -> list[float]:
    """Return the times from each reset until a reader has the last message due before it, in ms."""
    dues = sorted(transcript.sender.due.values())
    targets = {max(due for due in dues if due <= reset): reset for reset in resets}
    return [
        1000 * (received.when - targets[due])
        for due, received in transcript.deliveries()
        if due in targets
    ]


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Recovery)))
