"""How fast can clients publish in one room, and what does each message cost to publish?

Senders in a closed loop keep the server busy.  The same number of messages is in flight by frames
and by requests: a WebSocket sender has a window of them on one connection; a POST sender has one
per connection, so there are more connections, since HTTP/1.1 answers in turn.  And the same number
of readers receive everything, so that only the way to publish differs.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from benchmarks.load.closed_loop import PostSender, SendLog, WebSocketSender, message_encoder
from benchmarks.load.connections import clock
from benchmarks.load.generator import LoadGenerator, VirtualReader, gc_paused
from benchmarks.load.light_readers import DiscardReader
from benchmarks.load.workload import new_room
from benchmarks.method.audit import Audit, audit, parse_cursor
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, percentiles
from benchmarks.method.thresholds import Threshold, median_over_runs
from realtime.cli import stdio
from realtime.client.http import Endpoint
from realtime.client.sansio import ClientProtocol

WAYS = ("websocket", "post")
# Before anything counts: with the first messages the server loads modules and grows.
_WARM_UP_SECONDS = 0.3
# An acknowledged message that has not arrived by then is lost.
_PATIENCE_SECONDS = 10.0
# Readers that parse everything; two, so that their orders can be compared.
_AUDITORS = 2
_MIN_PER_SECOND = 3000


class Publish(Benchmark):
    name = "publish"
    question = "How fast can one room be spoken into, and what does a message cost on its way in?"
    examples = """\
  python -m benchmarks.publish --quick
  python -m benchmarks.publish --senders 4 --window 1 --via websocket

Both have senders * window messages in flight, and as many readers receive everything.  The readers
that check for lost messages use --transports (websocket)."""
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
        parser.add_argument("--via", type=_ways, default=[*WAYS], help=f"some of {', '.join(WAYS)}")
        parser.add_argument("--senders", type=positive_int, default=16, help="(%(default)s)")
        parser.add_argument(
            "--window",
            type=positive_int,
            default=4,
            help="messages in flight per sender (%(default)s)",
        )
        parser.add_argument("--seconds", type=positive, default=3.0, help="(%(default)s)")
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a message text (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(via=self.options.via)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        room, log = new_room(self.name), SendLog()
        with ExitStack() as stack:
            load = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            auditors = self._auditors(load, room)
            senders = self._senders(factors["via"], load, room, log)
            measures = self._measure_senders(load, senders, log)
            load.run_until(
                lambda: log.all_answered and _received_all(auditors, log), _PATIENCE_SECONDS
            )
            return Sample(
                measures,
                audit=compare(log, auditors),
                unacknowledged=log.unacknowledged,
                refused=len(log.refused),
                broken=sum(reader.broken for reader in (*auditors, *senders)),
                late=log.late,
                max_poll_gap=load.max_poll_gap,
            )

    # --- readers and senders ---------------------------------------------------------------------

    def _auditors(self, load: LoadGenerator, room: str) -> list[VirtualReader]:
        """Add the readers that check every message."""
        server, names = Endpoint(self.url()), self.options.transports
        return load.add_readers(
            self.make_protocol(names[number % len(names)], server, room)
            for number in range(_AUDITORS)
        )

    def _senders(
        self, via: str, load: LoadGenerator, room: str, log: SendLog
    ) -> list[VirtualReader]:
        options, server = self.options, Endpoint(self.sut.url)
        encoder = message_encoder("benchmark", options.size, via)
        if via == "websocket":
            frames = (
                WebSocketSender(server, room, log, encoder, options.window) for _ in self._each()
            )
            return load.add_readers(frames)
        load.add_readers(DiscardReader(self._reader_protocol(server, room)) for _ in self._each())
        posts = options.senders * options.window
        return load.add_readers(PostSender(server, room, log, encoder) for _ in range(posts))

    def _each(self) -> range:
        return range(self.options.senders)

    def _reader_protocol(self, server: Endpoint, room: str) -> ClientProtocol:
        return self.make_protocol(self.options.transports[0], server, room)

    # --- the measurement -------------------------------------------------------------------------

    def _measure_senders(
        self, load: LoadGenerator, senders: Sequence[VirtualReader], log: SendLog
    ) -> dict[str, float | None]:
        for sender in senders:
            sender.send()
        load.run_for(_WARM_UP_SECONDS)
        load.max_poll_gap, start, used = 0.0, clock(), self.sut.cost.cpu_seconds()
        load.run_for(self.options.seconds)
        used, end = self.sut.cost.cpu_seconds() - used, clock()
        load.run_until(lambda: True, 1.0)  # parse what has arrived
        log.open = False
        return self._figures(log, start, end, used)

    def _figures(
        self, log: SendLog, start: float, end: float, used: float
    ) -> dict[str, float | None]:
        acks = log.between(start, end)
        latency = percentiles([1000 * (ack.when - ack.sent_at) for ack in acks])
        return {
            "per_second": len(acks) / (end - start),
            "message_us": 1e6 * used / len(acks) if acks else None,
            "ack_p50": latency["p50"],
            "ack_p99": latency["p99"],
        }

    # --- what is promised ------------------------------------------------------------------------

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        frames = [cell for cell in cells if cell.factors["via"] == "websocket"]
        rate = median_over_runs(frames, "per_second")
        name = "messages acknowledged in one room"
        found = Threshold(name, rate, _MIN_PER_SECOND, "1/s", at_least=True, of="websocket")
        return [found] if frames else []


def _received_all(auditors: Sequence[VirtualReader], log: SendLog) -> bool:
    return all(len(one.ids) >= len(log.acks) for one in auditors)


def compare(log: SendLog, auditors: Sequence[VirtualReader]) -> Audit:
    """Compare what the auditors received with every acknowledged message and its cursor.

    The acknowledgements in the order of their cursors are one more reader: a sender that received
    a wrong cursor, or the same cursor twice, conflicts with the readers.
    """
    received = {str(n): [one.event for one in w.received] for n, w in enumerate(auditors)}
    found = audit(log.acks.keys(), {**received, "receipts": _as_events(log)})
    found.readers = len(auditors)
    if log.repeated:
        found.duplicated["receipts"] = log.repeated
    # A message without an acknowledgement has a cursor all the same, and counts elsewhere.
    found.reordered.pop("receipts", None)
    return found


def _as_events(log: SendLog) -> list[dict[str, Any]]:
    events = [{"kind": "say", "id": id, "cursor": one.cursor} for id, one in log.acks.items()]
    return sorted(events, key=lambda event: parse_cursor(event["cursor"]))


def _ways(text: str) -> list[str]:
    ways = text.split(",")
    for way in ways:
        if way not in WAYS:
            raise argparse.ArgumentTypeError(f"{way!r} is none of {', '.join(WAYS)}")
    return ways


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Publish)))
