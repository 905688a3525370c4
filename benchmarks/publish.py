"""How fast can one room be spoken into, and what does each message cost on its way in?

Senders in a closed loop keep the server busy.  The same number of messages is under way whether
they come as frames or as requests: a sender by WebSocket has a window of them on one connection, a
sender by POST as many connections with one each, since HTTP/1.1 answers in turn.  And the same
number of people are told everything, so that what differs is the way in.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from benchmarks.clients.http import Server
from benchmarks.clients.protocols import Listener, listener
from benchmarks.load.closed_loop import FrameSender, PostSender, Tally, drafts
from benchmarks.load.generator import Crowd, Reader, clock, undisturbed
from benchmarks.load.light_readers import Bystander
from benchmarks.load.workload import new_room
from benchmarks.method.audit import Audit, audit, parse_cursor
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, percentiles
from benchmarks.method.thresholds import Threshold, median_over_runs

WAYS = ("websocket", "post")
# Before anything is counted: the first messages make the server load and grow.
_WARM_SECONDS = 0.3
# All that was acknowledged has been heard within this time, or is lost.
_PATIENCE_SECONDS = 10.0
# Readers who understand everything; two, so that their orders can be compared.
_WITNESSES = 2
_PER_SECOND = 3000


class Publish(Benchmark):
    name = "publish"
    question = "How fast can one room be spoken into, and what does a message cost on its way in?"
    examples = """\
  python -m benchmarks.publish --quick
  python -m benchmarks.publish --senders 4 --window 1 --via websocket

Both ways have senders * window messages under way; those that are told everything are as many.
Who checks that nothing is lost reads by --transports (websocket)."""
    factors = ("via",)
    measures: ClassVar = {
        "per_second": Measure("1/s", "messages acknowledged"),
        "message_us": Measure("µs", "of the server's CPU, per message"),
        "ack_p50": Measure("ms", "half of the messages were acknowledged after"),
        "ack_p99": Measure("ms", "99 of 100 were acknowledged after"),
    }
    quick: ClassVar = {"seconds": 1.0, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=["websocket"])
        parser.add_argument("--via", type=_ways, default=[*WAYS], help=f"of {', '.join(WAYS)}")
        parser.add_argument("--senders", type=positive_int, default=16, help="(%(default)s)")
        parser.add_argument(
            "--window", type=positive_int, default=4, help="under way per sender (%(default)s)"
        )
        parser.add_argument("--seconds", type=positive, default=3.0, help="(%(default)s)")
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a text (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(via=self.options.via)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        room, tally = new_room(self.name), Tally()
        with ExitStack() as stack:
            crowd = stack.enter_context(Crowd())
            stack.enter_context(undisturbed())
            witnesses = self._witnesses(crowd, room)
            senders = self._senders(factors["via"], crowd, room, tally)
            measures = self._speak(crowd, senders, tally)
            crowd.run(lambda: tally.quiet and _heard(witnesses, tally), _PATIENCE_SECONDS)
            return Sample(
                measures,
                audit=compare(tally, witnesses),
                unacknowledged=len(tally.said) - len(tally.receipts) - len(tally.refused),
                refused=len(tally.refused),
                broken=sum(reader.broken for reader in (*witnesses, *senders)),
                late=tally.late,
                max_poll_gap=crowd.deaf,
            )

    # --- who is in the room ----------------------------------------------------------------------

    def _witnesses(self, crowd: Crowd, room: str) -> list[Reader]:
        """Those who check everything."""
        server, names = Server(self.url()), self.options.transports
        return crowd.listen(
            listener(names[number % len(names)], server, room) for number in range(_WITNESSES)
        )

    def _senders(self, via: str, crowd: Crowd, room: str, tally: Tally) -> list[Reader]:
        options, server = self.options, Server(self.sut.url)
        draft = drafts("benchmark", options.size, via)
        if via == "websocket":
            frames = (FrameSender(server, room, tally, draft, options.window) for _ in self._each())
            return crowd.listen(frames)
        crowd.listen(Bystander(self._hearing(server, room)) for _ in self._each())
        posts = options.senders * options.window
        return crowd.listen(PostSender(server, room, tally, draft) for _ in range(posts))

    def _each(self) -> range:
        return range(self.options.senders)

    def _hearing(self, server: Server, room: str) -> Listener:
        return listener(self.options.transports[0], server, room)

    # --- speaking --------------------------------------------------------------------------------

    def _speak(
        self, crowd: Crowd, senders: Sequence[Reader], tally: Tally
    ) -> dict[str, float | None]:
        for sender in senders:
            sender.speak()
        crowd.wait(_WARM_SECONDS)
        crowd.deaf, begin, used = 0.0, clock(), self.sut.cost.cpu_seconds()
        crowd.wait(self.options.seconds)
        used, end = self.sut.cost.cpu_seconds() - used, clock()
        crowd.run(lambda: True, 1.0)  # what came until now is understood
        tally.open = False
        return self._figures(tally, begin, end, used)

    def _figures(
        self, tally: Tally, begin: float, end: float, used: float
    ) -> dict[str, float | None]:
        receipts = tally.between(begin, end)
        told = percentiles([1000 * (one.when - one.said) for one in receipts])
        return {
            "per_second": len(receipts) / (end - begin),
            "message_us": 1e6 * used / len(receipts) if receipts else None,
            "ack_p50": told["p50"],
            "ack_p99": told["p99"],
        }

    # --- what is promised ------------------------------------------------------------------------

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        frames = [cell for cell in cells if cell.factors["via"] == "websocket"]
        rate = median_over_runs(frames, "per_second")
        name = "messages acknowledged in one room"
        found = Threshold(name, rate, _PER_SECOND, "1/s", at_least=True, of="websocket")
        return [found] if frames else []


def _heard(witnesses: Sequence[Reader], tally: Tally) -> bool:
    return all(len(one.listener.ids) >= len(tally.receipts) for one in witnesses)


def compare(tally: Tally, witnesses: Sequence[Reader]) -> Audit:
    """Ask the witnesses for every message that was acknowledged, and for its place.

    The receipts in the order of their places are one more reading: who was told another place, or
    the same one twice, disagrees with those who read it there.
    """
    heard = {str(n): [one.event for one in w.listener.heard] for n, w in enumerate(witnesses)}
    found = audit(tally.receipts.keys(), {**heard, "receipts": _as_events(tally)})
    found.readers = len(witnesses)
    if tally.repeated:
        found.duplicated["receipts"] = tally.repeated
    # What was never acknowledged has a place all the same, and is counted where it belongs.
    found.reordered.pop("receipts", None)
    return found


def _as_events(tally: Tally) -> list[dict[str, Any]]:
    events = [{"kind": "say", "id": id, "cursor": one.cursor} for id, one in tally.receipts.items()]
    return sorted(events, key=lambda event: parse_cursor(event["cursor"]))


def _ways(text: str) -> list[str]:
    ways = text.split(",")
    for way in ways:
        if way not in WAYS:
            raise argparse.ArgumentTypeError(f"{way!r} is none of {', '.join(WAYS)}")
    return ways


if __name__ == "__main__":
    sys.exit(run(Publish))
