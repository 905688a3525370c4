"""What a message costs on the wire: bytes up and down, requests, and TCP segments.

Three count, and know nothing of each other: the generator at its sockets, a relay in between, and
the server below its transports (`/wire`).  They must agree to the byte, or the result is untrue.
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.clients.http import Server, encode, get_json
from benchmarks.clients.protocols import Poll, listener
from benchmarks.load.generator import Count, Crowd, Reader, evenly, our_words, undisturbed
from benchmarks.load.relay import Relay
from benchmarks.load.workload import Said, new_room, talk
from benchmarks.method import theory
from benchmarks.method.options import add_head_bytes, floats, ints, positive
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.netem.conditions import NetworkConditions
from realtime.transports.iframe_streaming import SCRIPT

# Seconds until the server has seen the last question.
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the model has to be told: an event, and the heads that a poll sends and receives."""

    event: bytes
    cursor: str
    question: int
    head: int


class Overhead(Benchmark):
    name = "overhead"
    question = "What does a message cost on the wire, by each transport?"
    examples = """\
  python -m benchmarks.overhead --quick
  python -m benchmarks.overhead --sizes 20,2000 --rate 0.5,50 --transports sse,websocket

Segments are those of the loopback, whose packets are larger than those of a network (65 483 bytes
of payload instead of 1 460), acknowledgements included; both ways of the reader's connection."""
    factors = ("transport", "size", "rate")
    measures: ClassVar = {
        "bytes_up": Measure("B", "from the reader to the server, per message"),
        "bytes_down": Measure("B", "from the server to the reader, per message"),
        "requests": Measure("", "per message"),
        "segments": Measure("", "of TCP, both ways, per message"),
    }
    quick: ClassVar = {"sizes": [100], "rate": [20.0], "seconds": 0.5, "interval": 0.25, "runs": 3}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        add_head_bytes(parser)
        parser.add_argument(
            "--sizes", type=ints, default=[100, 1000], metavar="N,…", help="of texts (100,1000)"
        )
        parser.add_argument(
            "--rate", type=floats, default=[5.0, 50.0], metavar="N,…", help="a second (5,50)"
        )
        parser.add_argument(
            "--seconds", type=positive, default=1.5, help="of each run (%(default)s)"
        )
        parser.add_argument(
            "--interval", type=positive, default=1.0, help="of short polling, in s (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        options = self.options
        self._lengths: dict[tuple[str, int], Lengths] = {}
        return self.grid(transport=options.transports, size=options.sizes, rate=options.rate)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        with Relay(self.url()) as between:
            return self._measure(factors, chance, between)

    def _measure(self, factors: Factors, chance: random.Random, between: Relay) -> Sample:
        options, room = self.options, new_room(self.name)
        counts: list[tuple[Count, int]] = []
        with Crowd() as crowd, undisturbed():
            one = listener(
                factors["transport"],
                Server(between.url),
                room,
                client=room,
                interval=options.interval,
                phase=chance.random(),
                head_bytes=options.head_bytes,
            )
            [reader] = crowd.listen([one])
            # Counted from when things are as they will be: the first interval has no past.
            begin = options.interval if factors["transport"] == "short_polling" else 0.0
            messages = round((begin + options.seconds) * factors["rate"])
            times = evenly(0.0, factors["rate"], messages, chance)
            said = talk(
                crowd,
                our_words(self.sut.url, room, factors["size"]),
                times,
                patience=5 + options.interval,
                marks=[
                    (when, lambda: counts.append((reader.count(), len(one.heard))))
                    for when in (begin, begin + options.seconds)
                ],
            )
            sample = said.sample(crowd)
            sample.miscounted = self._miscounted(reader, between, room, factors["transport"])
        sample.latencies = []
        self._learn(factors, reader, said)
        (before, then), (after, now) = counts
        sample.measures = {
            name: (getattr(after, name) - getattr(before, name)) / (now - then)
            if now > then
            else None
            for name in self.measures
        }
        return sample

    def _miscounted(self, reader: Reader, between: Relay, client: str, transport: str) -> int:
        """Compare the three, while the connection stands.

        A question whose asker leaves before the server has looked at it belongs to nobody there.
        """
        ours = reader.bytes_out, reader.bytes_in
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            wire = asyncio.run(get_json(self.sut.url, f"/wire?client={client}"))
            row = wire["transports"][transport]
            told = row["bytes_in"], row["bytes_out"]
            relayed = between.proxy.bytes_up, between.proxy.bytes_down
            if ours == relayed == told:
                return 0
            time.sleep(0.02)
        self.notes.append(f"{transport}: counted {ours} here, {relayed} between, {told} there")
        return 1

    def _learn(self, factors: Factors, reader: Reader, said: Said) -> None:
        heard = [one.event for one in reader.listener.heard]
        if not heard:
            return
        polls = isinstance(reader.listener, Poll)
        usual = heard[len(heard) // 2]  # numbers grow longer
        self._lengths[factors["transport"], factors["size"]] = Lengths(
            encode(usual),
            usual["cursor"],
            len(reader.listener.question()) if polls else 0,
            reader.listener.answer_head_bytes if isinstance(reader.listener, Poll) else 0,
        )

    def predict(self, factors: Factors) -> dict[str, float]:
        transport, rate = factors["transport"], factors["rate"]
        lengths = self._lengths.get((transport, factors["size"]))
        if lengths is None:
            return {}
        rtt = NetworkConditions.parse(self.options.network[0]).mean_rtt
        questions = theory.polls_per_message(transport, rate, rtt, self.options.interval)
        if not questions:
            down: float = theory.pushed_bytes(transport, lengths.event, lengths.cursor, SCRIPT)
            return {"bytes_up": 0, "bytes_down": down, "requests": 0}
        bare = theory.poll_response_bytes(lengths.head, [], lengths.cursor)
        # A comma stands between the events of an answer: one for each, less one for each answer.
        down = len(lengths.event) + questions * bare + max(0.0, 1 - questions)
        return {
            "bytes_up": questions * lengths.question,
            "bytes_down": down,
            "requests": questions,
        }


if __name__ == "__main__":
    sys.exit(run(Overhead))
