"""Measure ten thousand idle followers of one server process (the C10K problem).

A lecture hall, or a page that many people leave open.  There are few messages, so their cost does
not matter.  What matters: the memory of the connections, the time until a message reaches the last
follower, and how long other requests wait meanwhile.
"""

import argparse
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

from benchmarks.load.connections import clock
from benchmarks.load.generator import LoadGenerator, VirtualReader, gc_paused, post_message
from benchmarks.load.probes import Probes
from benchmarks.load.workload import Transcript, new_room, run_workload
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, percentiles
from benchmarks.method.testbed import ServerUnderTest, raise_open_file_limit
from benchmarks.method.thresholds import Threshold, worst
from realtime.cli import stdio
from realtime.client import CLIENTS
from realtime.client.http import Endpoint
from realtime.client.sansio import ClientProtocol

# WebTransport is left out: its share would delay all others, and the load generator.
WAITING = [transport for transport in CLIENTS if transport != "short_polling"]
ALL = "all together"
# Open files besides the followers' connections: of the hub, of senders, of programs.
_SPARE_FILES = 200
# Other requests per second, of each of two kinds; and the time before and after the messages.
_PROBES_PER_SECOND = 20.0
_MARGIN_SECONDS = 0.5
_SETTLE_SECONDS = 1.0
_PATIENCE_SECONDS = 15.0
_MAX_DELIVERY_MS = 1000.0


class C10K(Benchmark):
    name = "c10k"
    question = (
        "What do ten thousand idle followers of one process need, and how long do others wait?"
    )
    examples = """\
  python -m benchmarks.c10k --quick
  python -m benchmarks.c10k --followers 3000 --transports websocket,long_polling

Followers are spread evenly over the transports, by default all over TCP but short polling, which is
never idle.  Each follower needs an open file on both sides: if `ulimit -Hn` is lower, use fewer."""
    factors = ("transport",)
    measures: ClassVar = {
        "memory_kib": Measure("KiB", "server memory, per follower"),
        "memory_mib": Measure("MiB", "server memory, for all followers"),
        "p50": Measure("ms", "half of the followers receive a message within"),
        "p99": Measure("ms", "99 of 100 receive it within"),
        "last_ms": Measure("ms", "the last follower receives it after"),
        "health_p99": Measure("ms", "99 of 100 /healthz respond within"),
        "poll_p99": Measure("ms", "99 of 100 short polls respond within"),
    }
    quick: ClassVar = {"followers": 500, "messages": 2, "pause": 0.5, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=WAITING)
        parser.add_argument(
            "--followers",
            type=positive_int,
            default=10_000,
            help="followers in total (%(default)s)",
        )
        parser.add_argument(
            "--messages", type=positive_int, default=3, help="messages (%(default)s)"
        )
        parser.add_argument(
            "--pause", type=positive, default=2.0, help="seconds between messages (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        raise_open_file_limit(self.options.followers + _SPARE_FILES)
        if self.options.followers < len(self.options.transports):
            raise ValueError("--followers: use at least one for each transport")
        self._samples: dict[str, Sample] = {}
        return self.grid(transport=[*self.options.transports, ALL])

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        """Measure all transports at the same time; return the sample of one."""
        if factors["transport"] not in self._samples:
            self._samples = self._measure_all(rng)
        return self._samples.pop(factors["transport"])

    def _measure_all(self, rng: random.Random) -> dict[str, Sample]:
        options = self.options
        if options.url:
            return self._follow(self.sut, rng)
        max_connections = str(options.followers + _SPARE_FILES)
        limits = ["--connections", max_connections]
        limits += ["--connections-per-address", max_connections]
        with ServerUnderTest(None, options.hub, *limits) as sut:
            return self._follow(sut, rng)

    def _follow(self, sut: ServerUnderTest, rng: random.Random) -> dict[str, Sample]:
        room = new_room(self.name)
        with ExitStack() as stack:
            load = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            server = Endpoint(self.url(sut=sut))
            make_reader = partial(self.make_protocol, endpoint=server, room=room, sut=sut)
            followers = Followers(load, sut, make_reader)
            for transport in rng.sample(self.options.transports, len(self.options.transports)):
                followers.connect(transport, self._share(transport), rng)
            load.run_for(_SETTLE_SECONDS)
            probes = Probes(load, sut.url, room)
            transcript = self._publish(load, sut, room, probes, rng)
            return self._summarise(followers, transcript, transcript.sample(load), probes)

    def _share(self, transport: str) -> int:
        """Return the number of followers of a transport; the remainder goes to the last ones."""
        names: list[str] = self.options.transports
        count: int = self.options.followers
        index = names.index(transport)
        return count * (index + 1) // len(names) - count * index // len(names)

    def _publish(
        self,
        load: LoadGenerator,
        sut: ServerUnderTest,
        room: str,
        probes: Probes,
        rng: random.Random,
    ) -> Transcript:
        options = self.options
        # A pause before each message: it reaches all followers before the next one is sent.
        times = [
            _MARGIN_SECONDS + options.pause * (number + rng.random() / 2)
            for number in range(options.messages)
        ]
        probes.schedule(clock(), _PROBES_PER_SECOND, times[-1] + _MARGIN_SECONDS, rng)
        spec = post_message(sut.url, room, 100)
        marks = [(times[-1] + _MARGIN_SECONDS, lambda: None)]
        transcript = run_workload(load, spec, times, patience=_PATIENCE_SECONDS, marks=marks)
        load.run_until(lambda: probes.all_answered, _PATIENCE_SECONDS)
        return transcript

    def _summarise(
        self, followers: "Followers", transcript: Transcript, whole: Sample, probes: Probes
    ) -> dict[str, Sample]:
        """Return one sample per transport, and one for all with what cannot be separated."""
        samples = {
            transport: Sample(
                {
                    **_delivery_times(Transcript(transcript.sender, readers, transcript.counted)),
                    "memory_kib": kib,
                }
            )
            for transport, (readers, kib) in followers.groups.items()
        }
        whole.measures = {
            **_delivery_times(transcript),
            **probes.figures(),
            "memory_kib": followers.held_kib / len(transcript.readers),
            "memory_mib": followers.held_kib / 1024,
        }
        whole.latencies = []
        whole.late += probes.late
        whole.unacknowledged += probes.unanswered
        return {**samples, ALL: whole}

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        all_followers = [cell for cell in cells if cell.factors["transport"] == ALL]
        last, count = worst(all_followers, "last_ms"), f"{self.options.followers:,}"
        name = "one message to the last of all followers"
        return [Threshold(name, last, _MAX_DELIVERY_MS, "ms", of=count)]


class Followers:
    """Followers that connect transport by transport, and the server memory of each transport."""

    def __init__(
        self,
        load: LoadGenerator,
        sut: ServerUnderTest,
        make_reader: Callable[..., ClientProtocol],
    ) -> None:
        # By transport: its readers, and KiB of server memory per reader.
        self.groups: dict[str, tuple[list[VirtualReader], float]] = {}
        self._load, self._sut, self._make_reader = load, sut, make_reader

    def connect(self, transport: str, count: int, rng: random.Random) -> None:
        # One client connects first and closes, so the server has loaded its modules.
        [first] = self._load.add_readers([self._make_reader(transport)])
        first.close()
        self._load.readers.remove(first)
        before = self._sut.cost.memory_bytes()
        readers = self._load.add_readers(
            self._make_reader(transport, phase=rng.random()) for _ in range(count)
        )
        self._load.run_for(_MARGIN_SECONDS)
        held = self._sut.cost.memory_bytes() - before
        self.groups[transport] = readers, held / 1024 / count

    @property
    def held_kib(self) -> float:
        return sum(len(readers) * kib for readers, kib in self.groups.values())


def _delivery_times(transcript: Transcript) -> dict[str, float | None]:
    """Return percentiles of the time from the intended time to each follower, in ms."""
    found = percentiles(transcript.latencies())
    return {"p50": found["p50"], "p99": found["p99"], "last_ms": found["max"]}


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(C10K)))
