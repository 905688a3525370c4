"""A long poll is blind between an answer and the next question: at what rate does that bite?

The article says that a long poll's smallest interval between updates is two round trips.  That is
so where every question opens a connection; on a kept one it is a single round trip.  Messages come
at random here, as people write, and each is asked whether it found a question waiting.
"""

import argparse
import random
import sys
from collections.abc import Iterable
from statistics import fmean
from typing import ClassVar

from benchmarks.clients.http import Endpoint
from benchmarks.clients.protocols import make_protocol
from benchmarks.load.generator import (
    LoadGenerator,
    ReceivedEvent,
    gc_paused,
    poisson_arrivals,
    post_message,
)
from benchmarks.load.workload import new_room, run_workload
from benchmarks.method import theory
from benchmarks.method.options import floats, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.netem.conditions import NetworkConditions

_WARM_UP = 3


class PollGap(Benchmark):
    name = "poll_gap"
    question = "At what rate does the blind time of long polling bite?"
    examples = """\
  python -m benchmarks.poll_gap --quick
  python -m benchmarks.poll_gap --network rtt=200ms --rate 0.5,1,2,5,10 --connections kept,fresh"""
    factors = ("network", "connection", "rate")
    measures: ClassVar = {
        "mean": Measure("ms", "from the intended time to the reader, on average"),
        "at_once": Measure("share", "of the messages that found a question waiting"),
    }
    networks = ("rtt=100ms",)
    quick: ClassVar = {
        "messages": 20,
        "rate": [5.0, 20.0],
        "runs": 2,
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--rate",
            type=floats,
            default=[2.0, 5.0, 10.0, 20.0, 50.0],
            metavar="N,…",
            help="messages a second, on average (2,5,10,20,50)",
        )
        parser.add_argument(
            "--connections",
            type=lambda text: text.split(","),
            default=["kept", "fresh"],
            metavar="kept,fresh",
            help="one for all questions, or one for each (both)",
        )
        parser.add_argument(
            "--messages", type=positive_int, default=25, help="in a run (%(default)s)"
        )
        parser.add_argument(
            "--readers", type=positive_int, default=5, help="of each room (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        options = self.options
        return self.grid(network=options.network, connection=options.connections, rate=options.rate)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server, fresh = Endpoint(self.url(factors["network"])), factors["connection"] == "fresh"
        with LoadGenerator() as crowd, gc_paused():
            readers = (
                make_protocol("long_polling", server, room, new_connection_per_request=fresh)
                for _ in range(options.readers)
            )
            crowd.add_readers(readers)
            times = poisson_arrivals(0.0, factors["rate"], _WARM_UP + options.messages, chance)
            words = post_message(self.sut.url, room, 100)
            # The first finds a question waiting, whatever the rate.
            said = run_workload(crowd, words, times, warm_up=_WARM_UP)
            sample = said.sample(crowd)
            rtt = NetworkConditions.parse(factors["network"]).mean_rtt
            # Percentiles are the question of `latency`.
            sample.measures = {
                "mean": fmean(sample.latencies) if sample.latencies else None,
                "at_once": _at_once(said.deliveries(), rtt, fresh),
            }
            sample.latencies = []
            return sample

    def predict(self, factors: Factors) -> dict[str, float]:
        rtt = NetworkConditions.parse(factors["network"]).mean_rtt
        fresh = factors["connection"] == "fresh"
        wait = theory.long_polling_at_random(rtt, factors["rate"], fresh=fresh)
        return {"mean": 1000 * wait.mean, "at_once": wait.at_once}


def _at_once(heard: Iterable[tuple[float, ReceivedEvent]], rtt: float, fresh: bool) -> float | None:
    """The share of messages whose question had reached the server when they were to be said.

    A question needs a transit, and on a new connection a round trip before it.
    """
    way = 1.5 * rtt if fresh else 0.5 * rtt
    found = [one.requested_at + way <= due for due, one in heard]
    return fmean(found) if found else None


if __name__ == "__main__":
    sys.exit(run(PollGap))
