"""One message to many: when has the first reader it, when the last, and what does each one cost?"""

import argparse
import random
import sys
from collections import defaultdict
from statistics import median
from typing import ClassVar

from benchmarks.clients.http import Server
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import Crowd, evenly, our_words, undisturbed
from benchmarks.load.workload import Said, new_room, talk
from benchmarks.method.options import ints, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample


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
        parser.add_argument("--rate", type=positive, default=5.0, help="a second (%(default)s)")
        parser.add_argument(
            "--messages", type=positive_int, default=6, help="in a run (%(default)s)"
        )
        parser.add_argument(
            "--interval", type=positive, default=1.0, help="of short polling, in s (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(transport=self.options.transports, followers=self.options.followers)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Server(self.url())
        with Crowd() as crowd, undisturbed():
            crowd.listen(
                listener(
                    factors["transport"],
                    server,
                    room,
                    interval=options.interval,
                    phase=chance.random(),
                )
                for _ in range(factors["followers"])
            )
            times = evenly(0.0, options.rate, options.messages, chance)
            words = our_words(self.sut.url, room, 100)
            used = self.sut.cost.cpu_seconds()
            said = talk(crowd, words, times, patience=10 + options.interval)
            used = self.sut.cost.cpu_seconds() - used
            sample = said.sample(crowd)
        deliveries = len(sample.latencies)
        sample.latencies = []
        sample.measures = first_and_last(said)
        sample.measures["cpu_us"] = 1e6 * used / deliveries if deliveries else None
        return sample


def first_and_last(said: Said) -> dict[str, float | None]:
    """The median over messages of the time to their first and to their last reader."""
    times: dict[float, list[float]] = defaultdict(list)
    for due, heard in said.heard():
        times[due].append(1000 * (heard.when - due))
    if not times:
        return {"first_ms": None, "last_ms": None}
    return {
        "first_ms": median(map(min, times.values())),
        "last_ms": median(map(max, times.values())),
    }


if __name__ == "__main__":
    sys.exit(run(Fanout))
