"""``python -m benchmarks.peers``: ours beside Socket.IO, nchan and plain Tornado."""

import argparse
import random
import sys
from contextlib import ExitStack
from typing import Any, ClassVar

from benchmarks import stats
from benchmarks.crowd import Crowd, evenly, undisturbed
from benchmarks.options import positive, positive_int
from benchmarks.peers.systems import SYSTEMS, start_redis
from benchmarks.samples import Cell, Factors, Measure, Sample, interval
from benchmarks.script import Benchmark, main
from benchmarks.stand import Stand, StandError
from benchmarks.talk import new_room, talk

AGAINST = "realtime websocket"
# Between the last connection and the first message: who subscribes by way of a hub needs it.
_SETTLE_SECONDS = 0.5


class Peers(Benchmark):
    name = "peers"
    question = "What do others cost, asked the same in the same run?"
    examples = """\
  python -m benchmarks.peers --quick
  python -m benchmarks.peers --followers 1000 --peers "realtime sse,nchan eventsource"

One server process each, one Redis for all that use one, no compression, no TLS; what is missing
on this machine is said, and how to get it.  Ratios are what to look at: above 1 is more than
ours."""
    factors = ("peer",)
    measures: ClassVar = {
        "p50": Measure("ms", "half of the deliveries had come after"),
        "p99": Measure("ms", "99 of 100 had come after"),
        "cpu_us": Measure("µs", "of the server's CPU, per delivery"),
        "memory_kib": Measure("KiB", "of the server's memory, per idle connection"),
    }
    quick: ClassVar = {"followers": 100, "messages": 5, "rate": 10.0, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--peers", type=_names, default=[*SYSTEMS], metavar="NAME,…", help="which (all)"
        )
        parser.add_argument(
            "--followers", type=positive_int, default=500, help="of one room (%(default)s)"
        )
        parser.add_argument(
            "--messages", type=positive_int, default=20, help="in a run (%(default)s)"
        )
        parser.add_argument("--rate", type=positive, default=10.0, help="a second (%(default)s)")
        parser.add_argument("--size", type=positive_int, default=100, help="bytes (%(default)s)")

    def cells(self) -> list[Factors]:
        if self.options.url:
            raise StandError("--url: here every system is started anew, ours among them")
        self.redis = start_redis(self.stack)
        here = []
        for name in self.options.peers:
            lack = SYSTEMS[name]().missing()
            if lack is None:
                here.append(name)
            else:
                self.notes.append(f"!!! {name} is not measured, for want of {lack}")
        return self.grid(peer=here)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        options, room = self.options, new_room(self.name)
        system = SYSTEMS[factors["peer"]]()
        with ExitStack() as stack, Crowd() as crowd, undisturbed():
            system.start(stack, self.redis)
            system.behind = self.url(stand=stack.enter_context(Stand(system.url)))
            words = system.words(room, options.size)
            # One that is told something before all others: what is loaded late is loaded now.
            [first] = crowd.listen([system.listener(new_room(self.name))])
            crowd.wait(_SETTLE_SECONDS)
            memory = system.cost.memory_bytes()
            crowd.readers.clear()
            readers = crowd.listen(system.listener(room) for _ in range(options.followers))
            crowd.wait(_SETTLE_SECONDS)
            memory = system.cost.memory_bytes() - memory
            times = evenly(0.0, options.rate, options.messages, chance)
            used = system.cost.cpu_seconds()
            said = talk(crowd, words, times)
            used = system.cost.cpu_seconds() - used
            sample = said.sample(crowd)
            first.leave()
        deliveries = len(sample.latencies)
        sample.measures = {
            "p50": sample.measures["p50"],
            "p99": sample.measures["p99"],
            "cpu_us": 1e6 * used / deliveries if deliveries else None,
            "memory_kib": memory / 1024 / len(readers),
        }
        sample.latencies = []
        return sample

    def more(self, cells: list[Cell]) -> dict[str, Any]:
        """Give every figure as a ratio to ours, of the same runs."""
        base = {cell.factors["peer"]: cell for cell in cells}.get(AGAINST)
        if base is None:
            return {}
        ratios: dict[str, Any] = {}
        for cell in cells:
            if cell is base:
                continue
            ratios[cell.factors["peer"]] = {
                name: interval(stats.bootstrap(values, self.options.seed))
                for name in self.measures
                if (values := _quotients(cell, base, name))
            }
        for peer, found in ratios.items():
            told = ", ".join(f"{name} ×{one['value']:.2g}" for name, one in found.items())
            self.notes.append(f"{peer} against {AGAINST}: {told}")
        return {"against": AGAINST, "ratios": ratios, "notes": self.notes}


def _quotients(cell: Cell, base: Cell, name: str) -> list[float]:
    """One for each run: both were measured within it, and share its luck."""
    pairs = (
        (one.measures[name], other.measures[name])
        for one, other in zip(cell.samples, base.samples, strict=False)
    )
    return [one / other for one, other in pairs if one is not None and other]


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SYSTEMS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SYSTEMS)}")
    return names


if __name__ == "__main__":
    sys.exit(main(Peers))
