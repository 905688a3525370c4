"""Ten thousand people on one server process, most of them silent: what they hold, and who waits.

A lecture hall, or a page that many leave open.  Nobody pays for what is said, since hardly anything
is; what counts is the memory of so many connections, how long one message takes to the last of
them, and whether a newcomer's question is answered while everybody is told.
"""

import argparse
import random
import sys
from contextlib import ExitStack
from typing import ClassVar

from benchmarks.clients import CLIENTS
from benchmarks.clients.http import Endpoint
from benchmarks.clients.protocols import make_protocol
from benchmarks.clients.sansio import ClientProtocol
from benchmarks.load.generator import LoadGenerator, VirtualReader, clock, gc_paused, post_message
from benchmarks.load.probes import Probes
from benchmarks.load.workload import Transcript, new_room, run_workload
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, percentiles
from benchmarks.method.testbed import ServerUnderTest, raise_open_file_limit
from benchmarks.method.thresholds import Threshold, worst

WAITING = [transport for transport in CLIENTS if transport != "short_polling"]
ALL = "all together"
# Files that are open besides the followers' connections: of the hub, of speakers, of programs.
_SPARE_FILES = 200
# Of each of the two questions that others ask, per second, and how long before and after.
_ASKED = 20.0
_MARGIN_SECONDS = 0.5
_SETTLE_SECONDS = 1.0
_PATIENCE_SECONDS = 15.0
_REACHED_MS = 1000.0


class C10K(Benchmark):
    name = "c10k"
    question = "What do ten thousand silent followers of one process hold, and who waits for them?"
    examples = """\
  python -m benchmarks.c10k --quick
  python -m benchmarks.c10k --followers 3000 --transports websocket,long_polling

Followers are spread evenly over the transports, of which short polling is none by itself: it is
never idle.  Each needs an open file on both sides: where `ulimit -Hn` is lower than their number,
fewer can be had."""
    factors = ("transport",)
    measures: ClassVar = {
        "memory_kib": Measure("KiB", "of the server's memory, per follower"),
        "memory_mib": Measure("MiB", "of the server's memory, for all of them"),
        "p50": Measure("ms", "half of the followers had a message after"),
        "p99": Measure("ms", "99 of 100 had it after"),
        "last_ms": Measure("ms", "the last of them had it after"),
        "health_p99": Measure("ms", "99 of 100 /healthz were answered after"),
        "poll_p99": Measure("ms", "99 of 100 short polls were answered after"),
    }
    quick: ClassVar = {"followers": 500, "messages": 2, "pause": 0.5, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=WAITING)
        parser.add_argument(
            "--followers", type=positive_int, default=10_000, help="in all (%(default)s)"
        )
        parser.add_argument("--messages", type=positive_int, default=3, help="(%(default)s)")
        parser.add_argument(
            "--pause", type=positive, default=2.0, help="seconds between messages (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        raise_open_file_limit(self.options.followers + _SPARE_FILES)
        if self.options.followers < len(self.options.transports):
            raise ValueError("--followers: at least one for each transport")
        self._samples: dict[str, Sample] = {}
        return self.grid(transport=[*self.options.transports, ALL])

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        """Measure all at once, and hand out one after the other."""
        if factors["transport"] not in self._samples:
            self._samples = self._gather(chance)
        return self._samples.pop(factors["transport"])

    def _gather(self, chance: random.Random) -> dict[str, Sample]:
        options = self.options
        if options.url:
            return self._listen(self.sut, chance)
        most = str(options.followers + _SPARE_FILES)
        limits = ("--connections", most, "--connections-per-address", most)
        with ServerUnderTest(None, options.hub, *limits) as sut:
            return self._listen(sut, chance)

    def _listen(self, sut: ServerUnderTest, chance: random.Random) -> dict[str, Sample]:
        room = new_room(self.name)
        with ExitStack() as stack:
            crowd = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            hall = Hall(crowd, sut, Endpoint(self.url(sut=sut)), room)
            for transport in chance.sample(self.options.transports, len(self.options.transports)):
                hall.seat(transport, self._share(transport), chance)
            crowd.run_for(_SETTLE_SECONDS)
            probes = Probes(crowd, sut.url, room)
            said = self._talk(crowd, sut, room, probes, chance)
            return self._figures(hall, said, said.sample(crowd), probes)

    def _share(self, transport: str) -> int:
        """How many follow by this transport; the last ones are those that are left over."""
        names: list[str] = self.options.transports
        count: int = self.options.followers
        place = names.index(transport)
        return count * (place + 1) // len(names) - count * place // len(names)

    def _talk(
        self,
        crowd: LoadGenerator,
        sut: ServerUnderTest,
        room: str,
        probes: Probes,
        chance: random.Random,
    ) -> Transcript:
        options = self.options
        # Silence before each: a message is told to all before the next is said.
        times = [
            _MARGIN_SECONDS + options.pause * (number + chance.random() / 2)
            for number in range(options.messages)
        ]
        probes.schedule(clock(), _ASKED, times[-1] + _MARGIN_SECONDS, chance)
        words = post_message(sut.url, room, 100)
        marks = [(times[-1] + _MARGIN_SECONDS, lambda: None)]
        said = run_workload(crowd, words, times, patience=_PATIENCE_SECONDS, marks=marks)
        crowd.run_until(lambda: probes.all_answered, _PATIENCE_SECONDS)
        return said

    def _figures(
        self, hall: "Hall", said: Transcript, whole: Sample, probes: Probes
    ) -> dict[str, Sample]:
        """One sample for each transport, and one for all, which has what all have in common."""
        samples = {
            transport: Sample(
                {**reached(Transcript(said.sender, readers, said.counted)), "memory_kib": kib}
            )
            for transport, (readers, kib) in hall.seats.items()
        }
        whole.measures = {
            **reached(said),
            **probes.figures(),
            "memory_kib": hall.held_kib / len(said.readers),
            "memory_mib": hall.held_kib / 1024,
        }
        whole.latencies = []
        whole.late += probes.late
        whole.unacknowledged += probes.unanswered
        return {**samples, ALL: whole}

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        everybody = [cell for cell in cells if cell.factors["transport"] == ALL]
        last, count = worst(everybody, "last_ms"), f"{self.options.followers:,}"
        name = "one message to the last of all followers"
        return [Threshold(name, last, _REACHED_MS, "ms", of=count)]


class Hall:
    """Followers who come transport by transport, and the memory that each of these took."""

    def __init__(
        self, crowd: LoadGenerator, sut: ServerUnderTest, server: Endpoint, room: str
    ) -> None:
        self.seats: dict[
            str, tuple[list[VirtualReader], float]
        ] = {}  # by transport, with KiB per reader
        self._crowd, self._sut, self._server, self._room = crowd, sut, server, room

    def seat(self, transport: str, count: int, chance: random.Random) -> None:
        # One that came and went has loaded what is loaded late.
        [first] = self._crowd.add_readers([self._listener(transport, 1.0)])
        first.close()
        self._crowd.readers.remove(first)
        before = self._sut.cost.memory_bytes()
        readers = self._crowd.add_readers(
            self._listener(transport, chance.random()) for _ in range(count)
        )
        self._crowd.run_for(_MARGIN_SECONDS)
        held = self._sut.cost.memory_bytes() - before
        self.seats[transport] = readers, held / 1024 / count

    def _listener(self, transport: str, phase: float) -> ClientProtocol:
        return make_protocol(transport, self._server, self._room, phase=phase)

    @property
    def held_kib(self) -> float:
        return sum(len(readers) * kib for readers, kib in self.seats.values())


def reached(said: Transcript) -> dict[str, float | None]:
    """From the intended time of each message to each of its followers, in ms."""
    told = percentiles(said.latencies())
    return {"p50": told["p50"], "p99": told["p99"], "last_ms": told["max"]}


if __name__ == "__main__":
    sys.exit(run(C10K))
