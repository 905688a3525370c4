"""Fan-out: when the first and the last of many readers receive a message, and what each costs."""

import argparse
import random
import sys
from collections import defaultdict
from statistics import median
from typing import ClassVar

from benchmarks.load.generator import LoadGenerator, constant_arrivals, gc_paused, post_message
from benchmarks.load.workload import Transcript, new_room, run_workload
from benchmarks.method.options import ints, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.cli import stdio
from realtime.client.http import Endpoint


class Fanout(Benchmark):
    name = "fanout"
    question = "How long does one message take to the first and to the last of many readers?"
    examples = """\
  python -m benchmarks.fanout --quick
  python -m benchmarks.fanout --followers 1,10,100,1000,3000 --transports websocket,sse"""
    factors = ("transport", "followers")
    measures: ClassVar = {
        "first_ms": Measure("ms", "until the first reader has a message"),
        "last_ms": Measure("ms", "until the last reader has it"),
        "cpu_us": Measure("µs", "of the server's CPU, per delivery"),
    }
    quick: ClassVar = {
        "followers": [1, 100],
        "messages": 4,
        "rate": 10.0,
        "interval": 0.2,
        "runs": 2,
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--followers",
            type=ints,
            default=[1, 10, 100, 1000],
            metavar="N,…",
            help="readers of one room (1,10,100,1000)",
        )
        parser.add_argument(
            "--rate", type=positive, default=5.0, help="messages a second (%(default)s)"
        )
        parser.add_argument(
            "--messages", type=positive_int, default=6, help="messages in a run (%(default)s)"
        )
        parser.add_argument(
            "--interval",
            type=positive,
            default=1.0,
            help="interval of short polling, in s (%(default)s)",
        )

    def cells(self) -> list[Factors]:
        return self.grid(transport=self.options.transports, followers=self.options.followers)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Endpoint(self.url())
        with LoadGenerator() as load, gc_paused():
            load.add_readers(
                self.make_protocol(
                    factors["transport"],
                    server,
                    room,
                    interval=options.interval,
                    phase=rng.random(),
                )
                for _ in range(factors["followers"])
            )
            times = constant_arrivals(0.0, options.rate, options.messages, rng)
            spec = post_message(self.sut.url, room, 100)
            used = self.sut.cost.cpu_seconds()
            transcript = run_workload(load, spec, times, patience=10 + options.interval)
            used = self.sut.cost.cpu_seconds() - used
            sample = transcript.sample(load)
        deliveries = len(sample.latencies)
        sample.latencies = []
        sample.measures = first_and_last(transcript)
        sample.measures["cpu_us"] = 1e6 * used / deliveries if deliveries else None
        return sample


def first_and_last(transcript: Transcript) -> dict[str, float | None]:
    """Return the medians over messages of the time to the first and to the last reader."""
    times: dict[float, list[float]] = defaultdict(list)
    for due, received in transcript.deliveries():
        times[due].append(1000 * (received.when - due))
    if not times:
        return {"first_ms": None, "last_ms": None}
    return {
        "first_ms": median(map(min, times.values())),
        "last_ms": median(map(max, times.values())),
    }


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Fanout)))
