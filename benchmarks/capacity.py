"""How many clients until 99 of 100 messages no longer come within a bound?

More and more clients of one room, in steps, until a step fails.  A short poller that wants to keep
the bound must ask about so often, so its interval is not a choice here: it is four fifths of it.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from benchmarks.clients.http import Server
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import Crowd, Silent, evenly, our_words, undisturbed
from benchmarks.load.workload import new_room, talk
from benchmarks.method import stats
from benchmarks.method.options import ints, positive
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, interval_json

# Of the bound: the share of it that a short poller may wait, and that the generator may be late.
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
    quick: ClassVar = {"steps": [100, 300], "seconds": 0.5, "runs": 1}
    runs = 5

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--bound", type=positive, default=100.0, help="of p99, in ms (%(default)s)"
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
            "--seconds", type=positive, default=1.0, help="of each step (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        self._limited: set[tuple[str, int]] = set()  # steps at which the generator was the limit
        self.options.steps.sort()
        return self.grid(transport=self.options.transports, clients=self.options.steps)

    def order(self, cells: list[Cell], chance: random.Random) -> Iterator[Cell]:
        """Each transport as a whole, in a mixed order; its steps upwards, to the first that fails.

        The steps above are entered as not measured, so that all have as many runs.
        """
        transports = self.options.transports
        for transport in chance.sample(transports, len(transports)):
            failed = False
            for cell in (cell for cell in cells if cell.factors["transport"] == transport):
                if failed:
                    cell.samples.append(Sample({"p99": None}))
                    continue
                yield cell
                failed = not self._holds(cell.samples[-1])

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        try:
            sample = self._measure(factors, chance)
        except Silent:  # so many cannot even begin, unless nobody is there any more
            self.sut.describe()
            return Sample({"p99": None})
        if max(sample.late, default=0.0) > _GENERATOR_SHARE * self.options.bound / 1000:
            self._limited.add((factors["transport"], factors["clients"]))
        return sample

    def _measure(self, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        server = Server(self.url())
        pace = _INTERVAL_SHARE * options.bound / 1000
        with Crowd() as crowd, undisturbed():
            crowd.listen(
                listener(factors["transport"], server, room, interval=pace, phase=chance.random())
                for _ in range(factors["clients"])
            )
            times = evenly(0.0, options.rate, round(options.seconds * options.rate), chance)
            said = talk(crowd, our_words(self.sut.url, room, 100), times, patience=10)
            sample = said.sample(crowd)
        # Kept as the figure it is: tens of thousands of values would tell no more.
        # What was lost, or never said, took for ever: no percentile of the others may hide it.
        whole = sample.audit is not None and sample.audit.clean
        whole = whole and not (sample.unacknowledged or sample.refused)
        sample.measures = {"p99": sample.measures["p99"] if whole else None}
        sample.latencies = []
        return sample

    def _holds(self, sample: Sample) -> bool:
        p99 = sample.measures["p99"]
        return p99 is not None and p99 <= self.options.bound

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Give the most clients that held in each run, and whether that was the server's limit."""
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
        """Was it the server that failed at the next step, and not the generator or the ladder?"""
        beyond = [cell for cell in steps if cell.factors["clients"] > most]
        if not beyond:
            return False
        factors = beyond[0].factors
        return (factors["transport"], factors["clients"]) not in self._limited

    def _sentence(self, transport: str, found: dict[str, Any]) -> str:
        least = "" if found["reached"] else "at least "
        return f"{transport}: {least}{found['value']:.0f} clients within {self.options.bound:g} ms"


if __name__ == "__main__":
    sys.exit(run(Capacity))
