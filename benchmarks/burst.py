"""Many followers are told much at once: what does a delivery cost, and who else has to wait?

A server that pushes each message to each follower by itself has no time left for anybody else.  So
it tells several at once, and the questions are how many, whether everybody is told as soon as his
neighbour, and whether a question that somebody asks meanwhile is answered in time.
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

from benchmarks.clients.http import Server
from benchmarks.clients.protocols import listener
from benchmarks.load.generator import Crowd, Reader, Speaker, clock, evenly, our_words, undisturbed
from benchmarks.load.light_readers import Book, Skimmer
from benchmarks.load.probes import Probes
from benchmarks.load.workload import new_room
from benchmarks.method.audit import Audit, audit, parse_cursor
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, percentiles
from benchmarks.method.thresholds import Threshold, median_over_runs

STREAMS = ["iframe_streaming", "sse", "fetch_streaming", "websocket", "sockjs", "socketio"]
_LEAD_SECONDS = 0.05
# All that was acknowledged has been heard within this time, or is lost.
_PATIENCE_SECONDS = 10.0
# Of each of the two questions that others ask, per second.
_ASKED = 40.0
_BOUND_MS = 50.0


@dataclass(frozen=True, slots=True)
class Follower:
    """One who is told everything, and what he made of it."""

    reader: Reader
    skimmer: Skimmer


class Told:
    """What was said, and what all followers were told of it."""

    def __init__(self, followers: Sequence[Follower], book: Book, speaker: Speaker) -> None:
        self.speaker = speaker
        self._followers = followers
        self._book = book
        self._pieces = self._count_pieces()

    def _count_pieces(self) -> int:
        return sum(follower.reader.pieces() for follower in self._followers)

    @property
    def deliveries(self) -> int:
        return sum(len(follower.skimmer.numbers) for follower in self._followers)

    def complete(self, messages: int) -> bool:
        """Have so many been said, and all that were acknowledged been heard by everybody?"""
        speaker, least = self.speaker, len(self.speaker.cursors)
        return (
            len(speaker.due) == messages
            and speaker.quiet
            and all(len(follower.skimmer.numbers) >= least for follower in self._followers)
        )

    @property
    def unacknowledged(self) -> int:
        speaker = self.speaker
        return len(speaker.due) - len(speaker.cursors) - len(speaker.refused)

    def figures(self, used: float) -> dict[str, float | None]:
        """Give all figures of the followers; `used` are seconds of the server's CPU."""
        pieces = self._count_pieces() - self._pieces
        if not self.deliveries:
            return {}
        waits = [waited(follower.skimmer, self._dues()) for follower in self._followers]
        means = [fmean(one) for one in waits if one]
        told = percentiles([wait for one in waits for wait in one])
        return {
            "cpu_us": 1e6 * used / self.deliveries,
            "per_push": self.deliveries / pieces if pieces else None,
            "p50": told["p50"],
            "p99": told["p99"],
            "spread_ms": max(means) - min(means),
        }

    def _dues(self) -> list[float]:
        """When each message was to be said, by its number in the book."""
        return [self.speaker.due[id.decode()] for id in self._book.ids]

    def audit(self) -> Audit:
        """Compare everybody with the order of the receipts.

        Nearly all were told exactly that, which is seen at once; one of them stands for these, and
        only whoever was told anything else is asked message by message.
        """
        expected = in_order(self.speaker.cursors)
        heard = {
            str(number): follower.skimmer.heard_ids()
            for number, follower in enumerate(self._followers)
        }
        readings = {name: ids for name, ids in heard.items() if ids != expected}
        readings.setdefault("everybody else", expected)
        events = {name: self._as_events(ids) for name, ids in readings.items()}
        found = audit(self.speaker.cursors.keys(), events)
        found.readers = len(self._followers)
        return found

    def _as_events(self, ids: Sequence[str]) -> list[dict[str, str]]:
        cursors = self.speaker.cursors
        return [{"kind": "say", "id": id, "cursor": cursors[id]} for id in ids if id in cursors]


def waited(skimmer: Skimmer, dues: Sequence[float]) -> list[float]:
    """From the intended time of each message to when it came, in ms."""
    numbers = iter(skimmer.numbers)
    return [
        1000 * (piece.when - dues[number])
        for piece in skimmer.pieces
        for number in islice(numbers, piece.messages)
    ]


def in_order(cursors: Mapping[str, str]) -> list[str]:
    """Give the ids in the order of their places."""
    return sorted(cursors, key=lambda id: parse_cursor(cursors[id]))


class Burst(Benchmark):
    name = "burst"
    question = "What does a delivery cost under a burst, and what do others experience meanwhile?"
    examples = """\
  python -m benchmarks.burst --quick
  python -m benchmarks.burst --followers 500 --rate 500 --seconds 10 -t websocket,sse

Of the transports, the streams; a poll asks for more, which is another price."""
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
            "--size", type=positive_int, default=100, help="bytes of a text (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        if not {*self.options.transports} <= {*STREAMS}:
            raise ValueError(f"--transports: some of {', '.join(STREAMS)}; a poll asks for more")
        return self.grid(transport=self.options.transports)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        room = new_room(self.name)
        with ExitStack() as stack:
            crowd = stack.enter_context(Crowd())
            stack.enter_context(undisturbed())
            book = Book()
            followers = self._followers(crowd, factors["transport"], room, book)
            words = our_words(self.sut.url, room, self.options.size)
            told = Told(followers, book, crowd.speaker(words))
            probes = Probes(crowd, self.sut.url, room)
            used = self._talk(crowd, told, probes, chance)
            return Sample(
                {**told.figures(used), **probes.figures()},
                audit=told.audit(),
                unacknowledged=told.unacknowledged + probes.unanswered,
                refused=len(told.speaker.refused),
                broken=sum(reader.broken for reader in crowd.readers),
                late=told.speaker.late + probes.late,
                max_poll_gap=crowd.deaf,
            )

    def _followers(self, crowd: Crowd, transport: str, room: str, book: Book) -> list[Follower]:
        server, count = Server(self.url()), self.options.followers
        skimmers = [Skimmer(listener(transport, server, room), book) for _ in range(count)]
        readers = crowd.listen(skimmers)
        return [Follower(*both) for both in zip(readers, skimmers, strict=True)]

    def _talk(self, crowd: Crowd, told: Told, probes: Probes, chance: random.Random) -> float:
        """Say everything, wait until it was heard, and give the seconds of CPU that it took."""
        options = self.options
        crowd.run(lambda: True, 1.0)
        crowd.deaf, start = 0.0, clock() + _LEAD_SECONDS
        count = max(round(options.rate * options.seconds), 1)
        used = self.sut.cost.cpu_seconds()
        told.speaker.plan(evenly(start, options.rate, count, chance))
        probes.plan(start, _ASKED, options.seconds, chance)
        crowd.wait(start + options.seconds - clock())
        crowd.run(lambda: told.complete(count) and probes.quiet, _PATIENCE_SECONDS)
        return self.sut.cost.cpu_seconds() - used

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        return [
            Threshold(
                f"{what} during the burst, p99",
                median_over_runs([cell], name),
                _BOUND_MS,
                "ms",
                of=cell.factors["transport"],
            )
            for cell in cells
            for what, name in (("/healthz", "health_p99"), ("a short poll", "poll_p99"))
        ]


if __name__ == "__main__":
    sys.exit(run(Burst))
