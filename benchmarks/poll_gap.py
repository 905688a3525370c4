"""Measure the blind time of long polling, between a response and the next request.

The tutorial says that the smallest interval between two updates of a long poll is two round trips.
That holds if every request opens a new connection; on a kept connection it is one round trip.
Here messages come at random times, as people write; we count those that find a request waiting.
"""

import argparse
import random
import sys
from collections.abc import Iterable
from statistics import fmean
from typing import ClassVar

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
from realtime.cli import stdio
from realtime.client.http import Endpoint
from realtime.client.protocols import make_protocol
from realtime.netem.conditions import NetworkConditions

_WARM_UP = 3


class PollGap(Benchmark):
    name = "poll_gap"
    question = "At what message rate does the blind time of long polling matter?"
    examples = """\
  python -m benchmarks.poll_gap --quick
  python -m benchmarks.poll_gap --network rtt=200ms --rate 0.5,1,2,5,10 --connections kept,fresh"""
    factors = ("network", "connection", "rate")
    measures: ClassVar = {
        "mean": Measure("ms", "mean latency, from the intended time to the reader"),
        "at_once": Measure("share", "messages that find a request waiting"),
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
            help="mean messages per second (2,5,10,20,50)",
        )
        parser.add_argument(
            "--connections",
            type=lambda text: text.split(","),
            default=["kept", "fresh"],
            metavar="kept,fresh",
            help="one connection for all requests, or one for each request (both)",
        )
        parser.add_argument(
            "--messages", type=positive_int, default=25, help="messages per run (%(default)s)"
        )
        parser.add_argument(
            "--readers", type=positive_int, default=5, help="readers of a room (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        options = self.options
        return self.grid(network=options.network, connection=options.connections, rate=options.rate)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server, fresh = Endpoint(self.url(factors["network"])), factors["connection"] == "fresh"
        with LoadGenerator() as load, gc_paused():
            readers = (
                make_protocol("long_polling", server, room, new_connection_per_request=fresh)
                for _ in range(options.readers)
            )
            load.add_readers(readers)
            times = poisson_arrivals(0.0, factors["rate"], _WARM_UP + options.messages, rng)
            spec = post_message(self.sut.url, room, 100)
            # The first message always finds a request waiting, so it does not count.
            transcript = run_workload(load, spec, times, warm_up=_WARM_UP)
            sample = transcript.sample(load)
            rtt = NetworkConditions.parse(factors["network"]).mean_rtt
            # Percentiles are measured by `latency`.
            sample.measures = {
                "mean": fmean(sample.latencies) if sample.latencies else None,
                "at_once": _share_at_once(transcript.deliveries(), rtt, fresh),
            }
            sample.latencies = []
            return sample

    def predict(self, factors: Factors) -> dict[str, float]:
        rtt = NetworkConditions.parse(factors["network"]).mean_rtt
        fresh = factors["connection"] == "fresh"
        wait = theory.long_polling_at_random(rtt, factors["rate"], fresh=fresh)
        return {"mean": 1000 * wait.mean, "at_once": wait.at_once}


def _share_at_once(
    deliveries: Iterable[tuple[float, ReceivedEvent]], rtt: float, fresh: bool
) -> float | None:
    """Return the share of messages whose request reached the server before their intended time.

    A request needs one transit; on a new connection a round trip comes first.
    """
    request_time = 1.5 * rtt if fresh else 0.5 * rtt
    found = [one.requested_at + request_time <= due for due, one in deliveries]
    return fmean(found) if found else None


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(PollGap)))
