"""How many clients until the p99 of the latency exceeds a bound?

More and more clients of one room, in steps, until a step fails.  A short poller can only keep the
bound if its interval is shorter, so the interval is no option here: it is four fifths of the bound.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from benchmarks.load.generator import (
    LoadGenerator,
    ServerUnresponsive,
    constant_arrivals,
    gc_paused,
    post_message,
)
from benchmarks.load.workload import new_room, run_workload
from benchmarks.method import stats
from benchmarks.method.options import ints, positive
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, interval_json
from realtime.cli import stdio
from realtime.client.http import Endpoint

# Shares of the bound: the interval of a short poller, and the lateness of the generator.
_INTERVAL_SHARE = 0.8
_GENERATOR_SHARE = 0.2


class Capacity(Benchmark):
    name = "capacity"
    question = "How many clients until p99 passes a bound, by each transport?"
    examples = """\
  python -m benchmarks.capacity --quick
  python -m benchmarks.capacity --bound 250 --rate 2 --steps 100,300,1000,3000 -t sse"""
    factors = ("transport", "clients")
    measures: ClassVar = {"p99": Measure("ms", "99 of 100 had come after")}
    quick: ClassVar = {"steps": [100, 300], "seconds": 0.5, "pause": 0.1, "runs": 1}
    runs = 5

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--bound", type=positive, default=100.0, help="bound of p99, in ms (%(default)s)"
        )
        parser.add_argument(
            "--steps",
            type=ints,
            default=[100, 200, 400, 800, 1600, 3200],
            metavar="N,…",
            help="numbers of clients (100,200,400,800,1600,3200)",
        )
        parser.add_argument(
            "--rate", type=positive, default=10.0, help="messages a second (%(default)s)"
        )
        parser.add_argument(
            "--seconds", type=positive, default=1.0, help="duration of each step (%(default)s)"
        )
        parser.add_argument(
            "--pause", type=positive, default=5.0, help="before each transport (%(default)s s)"
        )

    def cells(self) -> list[Factors]:
        self._limited: set[tuple[str, int]] = set()  # steps where the generator was the limit
        self.options.steps.sort()
        return self.grid(transport=self.options.transports, clients=self.options.steps)

    def order(self, cells: list[Cell], rng: random.Random) -> Iterator[Cell]:
        """Return the transports in random order, each with its steps upwards to the first failure.

        The steps above get a sample without a value, so that all cells have as many runs.
        """
        transports = self.options.transports
        for transport in rng.sample(transports, len(transports)):
            # A server that was overloaded is busy for some time longer, and would answer this
            # transport late: QUIC keeps a closed connection for three probe timeouts (RFC 9000
            # §10.2).
            time.sleep(self.options.pause)
            failed = False
            for cell in (cell for cell in cells if cell.factors["transport"] == transport):
                if failed:
                    cell.samples.append(Sample({"p99": None}))
                    continue
                yield cell
                failed = not self._holds(cell.samples[-1])

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        with LoadGenerator() as load, gc_paused():
            try:
                sample = self._measure(load, factors, rng)
            except ServerUnresponsive:  # so many readers cannot start; raises if the server is gone
                self.sut.describe()
                sample = Sample({"p99": None})
            if load.max_lag > _GENERATOR_SHARE * self.options.bound / 1000:
                self._limited.add((factors["transport"], factors["clients"]))
        return sample

    def _measure(self, load: LoadGenerator, factors: Factors, rng: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Endpoint(self.url())
        poll_interval = _INTERVAL_SHARE * options.bound / 1000
        load.add_readers(
            self.make_protocol(
                factors["transport"],
                server,
                room,
                interval=poll_interval,
                phase=rng.random(),
            )
            for _ in range(factors["clients"])
        )
        times = constant_arrivals(0.0, options.rate, round(options.seconds * options.rate), rng)
        transcript = run_workload(load, post_message(self.sut.url, room, 100), times, patience=10)
        sample = transcript.sample(load)
        # Only the percentile is kept: tens of thousands of values add nothing.
        # A message that was lost or never sent has an infinite latency: no percentile may hide it.
        whole = sample.audit is not None and sample.audit.clean
        whole = whole and not (sample.unacknowledged or sample.refused)
        sample.measures = {"p99": sample.measures["p99"] if whole else None}
        sample.latencies = []
        return sample

    def _holds(self, sample: Sample) -> bool:
        p99 = sample.measures["p99"]
        return p99 is not None and p99 <= self.options.bound

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Return the most clients within the bound, and whether the server was the limit."""
        capacity = {}
        for transport in self.options.transports:
            steps = [cell for cell in cells if cell.factors["transport"] == transport]
            runs = min((len(cell.samples) for cell in steps), default=0)
            held = [float(self._most(steps, run)) for run in range(runs)]
            if held:
                capacity[transport] = {
                    **(interval_json(stats.bootstrap(held, self.options.seed)) or {}),
                    "reached": self._reached(steps, max(held)),
                }
        self.notes += [self._sentence(name, one) for name, one in capacity.items()]
        return {"bound_ms": self.options.bound, "capacity": capacity, "notes": self.notes}

    def _most(self, steps: list[Cell], run: int) -> int:
        most = 0
        for cell in steps:
            if not self._holds(cell.samples[run]):
                break
            most = cell.factors["clients"]
        return most

    def _reached(self, steps: list[Cell], most: float) -> bool:
        """Whether there was a next step, and the server failed at it, not the generator."""
        beyond = [cell for cell in steps if cell.factors["clients"] > most]
        if not beyond:
            return False
        factors = beyond[0].factors
        return (factors["transport"], factors["clients"]) not in self._limited

    def _sentence(self, transport: str, found: dict[str, Any]) -> str:
        prefix = "" if found["reached"] else "at least "
        return f"{transport}: {prefix}{found['value']:.0f} clients within {self.options.bound:g} ms"


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Capacity)))
