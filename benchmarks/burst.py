"""A burst to many followers: what does a delivery cost, and who else has to wait?

A server that pushes each message to each follower separately has no time left for other requests.
So ours sends several messages with one push.  The questions are how many, whether all followers
receive them equally early, and whether other requests are answered in time meanwhile.
"""

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import ClassVar

from benchmarks.load.connections import clock
from benchmarks.load.generator import (
    LoadGenerator,
    OpenLoopSender,
    VirtualReader,
    constant_arrivals,
    gc_paused,
    post_message,
)
from benchmarks.load.light_readers import IdIndex, IdScanner
from benchmarks.load.probes import Probes
from benchmarks.load.workload import new_room
from benchmarks.method.audit import Audit, audit, parse_cursor
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, percentiles
from benchmarks.method.thresholds import Threshold, median_over_runs
from realtime.cli import stdio
from realtime.client import CLIENTS
from realtime.client.http import Endpoint

# Polls are not streams: each of their responses needs a request.  All use TCP: the load generator
# cannot decrypt so many packets of QUIC.
STREAMS = [name for name in CLIENTS if not name.endswith("_polling")]
_LEAD_SECONDS = 0.05
# An acknowledged message that has not arrived by then is lost.
_PATIENCE_SECONDS = 10.0
# The rate of each of the two probes, per second.
_PROBE_RATE = 40.0
_MAX_PROBE_MS = 50.0


@dataclass(frozen=True, slots=True)
class Follower:
    """A reader of everything, and the ids that it found."""

    reader: VirtualReader
    scanner: IdScanner


class FanoutLog:
    """What was sent, and what every follower received of it."""

    def __init__(
        self, followers: Sequence[Follower], index: IdIndex, sender: OpenLoopSender
    ) -> None:
        self.sender = sender
        self._followers = followers
        self._index = index
        self._segments_before = self._count_segments()

    def _count_segments(self) -> int:
        return sum(follower.reader.data_segments() for follower in self._followers)

    @property
    def deliveries(self) -> int:
        return sum(len(follower.scanner.numbers) for follower in self._followers)

    def complete(self, messages: int) -> bool:
        """Whether so many were sent, and every follower has received all that were acknowledged."""
        sender, expected = self.sender, len(self.sender.cursors)
        return (
            len(sender.due) == messages
            and sender.all_answered
            and all(len(follower.scanner.numbers) >= expected for follower in self._followers)
        )

    @property
    def unacknowledged(self) -> int:
        sender = self.sender
        return len(sender.due) - len(sender.cursors) - len(sender.refused)

    def figures(self, used: float) -> dict[str, float | None]:
        """Return the figures of the followers; `used` is the server's CPU time in seconds."""
        segments = self._count_segments() - self._segments_before
        if not self.deliveries:
            return {}
        waits = [latencies(follower.scanner, self._dues()) for follower in self._followers]
        means = [fmean(one) for one in waits if one]
        latency = percentiles([wait for one in waits for wait in one])
        return {
            "cpu_us": 1e6 * used / self.deliveries,
            "per_push": self.deliveries / segments if segments else None,
            "p50": latency["p50"],
            "p99": latency["p99"],
            "spread_ms": max(means) - min(means),
        }

    def _dues(self) -> list[float]:
        """Return the intended time of each message, by its number in the index."""
        return [self.sender.due[id.decode()] for id in self._index.ids]

    def audit(self) -> Audit:
        """Compare every follower with the order of the acknowledgements.

        Nearly all received exactly that order, which one comparison shows.  One follower represents
        them, and only the others are checked message by message.
        """
        expected = in_order(self.sender.cursors)
        received = {
            str(number): follower.scanner.received_ids()
            for number, follower in enumerate(self._followers)
        }
        readings = {name: ids for name, ids in received.items() if ids != expected}
        readings.setdefault("all others", expected)
        events = {name: self._as_events(ids) for name, ids in readings.items()}
        found = audit(self.sender.cursors.keys(), events)
        found.readers = len(self._followers)
        return found

    def _as_events(self, ids: Sequence[str]) -> list[dict[str, str]]:
        cursors = self.sender.cursors
        return [{"kind": "say", "id": id, "cursor": cursors[id]} for id in ids if id in cursors]


def latencies(scanner: IdScanner, dues: Sequence[float]) -> list[float]:
    """Return the times from the intended time of each message to its arrival, in ms."""
    numbers = iter(scanner.numbers)
    return [
        1000 * (arrival.when - dues[number])
        for arrival in scanner.arrivals
        for number in islice(numbers, arrival.messages)
    ]


def in_order(cursors: Mapping[str, str]) -> list[str]:
    """Return the ids in the order of their cursors."""
    return sorted(cursors, key=lambda id: parse_cursor(cursors[id]))


class Burst(Benchmark):
    name = "burst"
    question = "What does a delivery cost under a burst, and what do others experience meanwhile?"
    examples = """\
  python -m benchmarks.burst --quick
  python -m benchmarks.burst --followers 500 --rate 500 --seconds 10 -t websocket,sse

Streams only: a poll needs a request for each response, which is another cost."""
    over_udp = False
    factors = ("transport",)
    measures: ClassVar = {
        "cpu_us": Measure("µs", "of the server's CPU, per delivery"),
        "per_push": Measure("", "messages that one push covers"),
        "p50": Measure("ms", "half of the deliveries had come after"),
        "p99": Measure("ms", "99 of 100 had come after"),
        "spread_ms": Measure("ms", "from the luckiest follower's mean to the unluckiest's"),
        "health_p50": Measure("ms", "half of the /healthz were answered after"),
        "health_p99": Measure("ms", "99 of 100 /healthz were answered after"),
        "poll_p50": Measure("ms", "half of the short polls were answered after"),
        "poll_p99": Measure("ms", "99 of 100 short polls were answered after"),
    }
    quick: ClassVar = {"followers": 200, "rate": 200.0, "seconds": 1.0, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=STREAMS)
        parser.add_argument("--followers", type=positive_int, default=500, help="(%(default)s)")
        parser.add_argument(
            "--rate", type=positive, default=500.0, help="messages a second (%(default)s)"
        )
        parser.add_argument("--seconds", type=positive, default=3.0, help="(%(default)s)")
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a message text (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        if not {*self.options.transports} <= {*STREAMS}:
            raise ValueError(f"--transports: some of {', '.join(STREAMS)}; not a poll")
        return self.grid(transport=self.options.transports)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        room = new_room(self.name)
        with ExitStack() as stack:
            load = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            index = IdIndex()
            followers = self._followers(load, factors["transport"], room, index)
            spec = post_message(self.sut.url, room, self.options.size)
            log = FanoutLog(followers, index, load.open_loop_sender(spec))
            probes = Probes(load, self.sut.url, room)
            used = self._send_burst(load, log, probes, rng)
            return Sample(
                {**log.figures(used), **probes.figures()},
                audit=log.audit(),
                unacknowledged=log.unacknowledged + probes.unanswered,
                refused=len(log.sender.refused),
                broken=sum(reader.broken for reader in load.readers),
                late=log.sender.late + probes.late,
                max_poll_gap=load.max_poll_gap,
            )

    def _followers(
        self, load: LoadGenerator, transport: str, room: str, index: IdIndex
    ) -> list[Follower]:
        server, count = Endpoint(self.url()), self.options.followers
        scanners = [
            IdScanner(self.make_protocol(transport, server, room), index) for _ in range(count)
        ]
        readers = load.add_readers(scanners)
        return [Follower(*both) for both in zip(readers, scanners, strict=True)]

    def _send_burst(
        self, load: LoadGenerator, log: FanoutLog, probes: Probes, rng: random.Random
    ) -> float:
        """Send the burst, wait until it has arrived, and return the CPU time that it took, in s."""
        options = self.options
        load.run_until(lambda: True, 1.0)
        load.max_poll_gap, start = 0.0, clock() + _LEAD_SECONDS
        count = max(round(options.rate * options.seconds), 1)
        used = self.sut.cost.cpu_seconds()
        log.sender.schedule(constant_arrivals(start, options.rate, count, rng))
        probes.schedule(start, _PROBE_RATE, options.seconds, rng)
        load.run_for(start + options.seconds - clock())
        load.run_until(lambda: log.complete(count) and probes.all_answered, _PATIENCE_SECONDS)
        return self.sut.cost.cpu_seconds() - used

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        return [
            Threshold(
                f"{what} during the burst, p99",
                median_over_runs([cell], name),
                _MAX_PROBE_MS,
                "ms",
                of=cell.factors["transport"],
            )
            for cell in cells
            for what, name in (("/healthz", "health_p99"), ("a short poll", "poll_p99"))
        ]


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Burst)))
