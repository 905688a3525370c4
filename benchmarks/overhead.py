"""What a message costs on the wire: bytes up and down, requests, and segments or datagrams.

Three count independently: the generator at its sockets, a relay in between, and the server below
its transports (`/wire`).  They must agree to the byte, or the result is invalid.
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.load.generator import (
    LoadGenerator,
    TrafficSnapshot,
    VirtualReader,
    constant_arrivals,
    gc_paused,
    post_message,
)
from benchmarks.load.relay import Relay
from benchmarks.load.workload import new_room, run_workload
from benchmarks.method import theory
from benchmarks.method.options import add_head_bytes, floats, ints, positive
from benchmarks.method.runner import WEBTRANSPORT, Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.cli import stdio
from realtime.client.http import Endpoint, encode, get_json
from realtime.client.sansio import PollProtocol
from realtime.netem.conditions import NetworkConditions
from realtime.transports.iframe_streaming import SCRIPT

# How long the server may take to count the last request.
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the model needs: an event, and the lengths of a poll's request and response header."""

    event: bytes
    cursor: str
    request: int
    response_head: int


class Overhead(Benchmark):
    name = "overhead"
    question = "What does a message cost on the wire, by each transport?"
    examples = """\
  python -m benchmarks.overhead --quick
  python -m benchmarks.overhead --sizes 20,2000 --rate 0.5,50 --transports sse,websocket

Segments are those of the loopback, whose packets are larger than those of a network (65 483 bytes
of payload instead of 1 460).  They include acknowledgements, in both directions."""
    factors = ("transport", "size", "rate")
    measures: ClassVar = {
        "bytes_up": Measure("B", "from the reader to the server, per message"),
        "bytes_down": Measure("B", "from the server to the reader, per message"),
        "requests": Measure("", "per message"),
        "segments": Measure("", "of TCP, or datagrams of UDP, both ways, per message"),
    }
    quick: ClassVar = {"sizes": [100], "rate": [20.0], "seconds": 0.5, "interval": 0.25, "runs": 3}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        add_head_bytes(parser)
        parser.add_argument(
            "--sizes",
            type=ints,
            default=[100, 1000],
            metavar="N,…",
            help="bytes of a message text (100,1000)",
        )
        parser.add_argument(
            "--rate",
            type=floats,
            default=[5.0, 50.0],
            metavar="N,…",
            help="messages a second (5,50)",
        )
        parser.add_argument(
            "--seconds", type=positive, default=1.5, help="duration of a run (%(default)s)"
        )
        parser.add_argument(
            "--interval",
            type=positive,
            default=1.0,
            help="interval of short polling, in s (%(default)s)",
        )

    def cells(self) -> list[Factors]:
        options = self.options
        self._lengths: dict[tuple[str, int], Lengths] = {}
        return self.grid(transport=options.transports, size=options.sizes, rate=options.rate)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        with Relay(self.url(), self._udp_port(factors["transport"])) as relay:
            return self._measure(factors, rng, relay)

    def _udp_port(self, transport: str) -> int | None:
        """Return where the relay forwards datagrams to: the server, or the network before it."""
        offer = self.sut.webtransport() if transport == WEBTRANSPORT else None
        if offer is None:
            return None
        return offer.port if self.url() == self.sut.url else Endpoint(self.url()).port

    def _measure(self, factors: Factors, rng: random.Random, relay: Relay) -> Sample:
        options, room = self.options, new_room(self.name)
        counts: list[tuple[TrafficSnapshot, int]] = []
        with LoadGenerator() as load, gc_paused():
            protocol = self.make_protocol(
                factors["transport"],
                Endpoint(relay.url),
                room,
                client=room,
                interval=options.interval,
                phase=rng.random(),
                head_bytes=options.head_bytes,
            )
            [reader] = load.add_readers([protocol])
            # The first interval of a short poller differs from the others, so it does not count.
            start = options.interval if factors["transport"] == "short_polling" else 0.0
            messages = round((start + options.seconds) * factors["rate"])
            times = constant_arrivals(0.0, factors["rate"], messages, rng)
            transcript = run_workload(
                load,
                post_message(self.sut.url, room, factors["size"]),
                times,
                patience=5 + options.interval,
                marks=[
                    (when, lambda: counts.append((reader.traffic(), len(reader.received))))
                    for when in (start, start + options.seconds)
                ],
            )
            sample = transcript.sample(load)
            sample.miscounted = self._miscounted(load, reader, relay, room, factors["transport"])
        sample.latencies = []
        self._learn(factors, reader)
        (before, then), (after, now) = counts
        sample.measures = {
            name: (getattr(after, name) - getattr(before, name)) / (now - then)
            if now > then
            else None
            for name in self.measures
        }
        return sample

    def _miscounted(
        self,
        load: LoadGenerator,
        reader: VirtualReader,
        relay: Relay,
        client: str,
        transport: str,
    ) -> int:
        """Compare the three counts while the connection is open.

        The server does not count a request whose client has disconnected before it was read.  QUIC
        still sends acknowledgements, so the loop runs meanwhile.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            load.run_for(0.02)
            wire = asyncio.run(get_json(self.sut.url, f"/wire?client={client}"))
            row = wire["transports"][transport]
            theirs = row["bytes_in"], row["bytes_out"]
            ours = reader.bytes_out, reader.bytes_in
            relayed = relay.proxy.bytes_up, relay.proxy.bytes_down
            # Between the relay and the server a network may lose datagrams, which TCP sends again.
            may_lose = transport == WEBTRANSPORT and self.url() != self.sut.url
            if ours == relayed and (ours == theirs or may_lose):
                return 0
        self.notes.append(
            f"{transport}: the generator counted {ours}, the relay {relayed}, the server {theirs}"
        )
        return 1

    def _learn(self, factors: Factors, reader: VirtualReader) -> None:
        """Keep the lengths that the model needs."""
        events = [one.event for one in reader.received]
        if not events:
            return
        protocol = reader.protocol
        polls = isinstance(protocol, PollProtocol)
        typical = events[len(events) // 2]  # the numbers in it grow longer
        self._lengths[factors["transport"], factors["size"]] = Lengths(
            encode(typical),
            typical["cursor"],
            len(protocol.request()) if polls else 0,
            protocol.response_head_bytes if isinstance(protocol, PollProtocol) else 0,
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
            up = theory.acknowledgement_bytes(transport)
            return {"bytes_up": up, "bytes_down": down, "requests": 0}
        bare = theory.poll_response_bytes(lengths.response_head, [], lengths.cursor)
        # A comma separates the events of a response: one per event, less one per response.
        down = len(lengths.event) + questions * bare + max(0.0, 1 - questions)
        return {
            "bytes_up": questions * lengths.request,
            "bytes_down": down,
            "requests": questions,
        }


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Overhead)))
