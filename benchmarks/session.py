"""What a visit costs until the first event comes.

A visit comes into a room where one thing was said, and ends when it has heard it.  The libraries go
the way that they take in a browser of today; and, named so, the way that is left where no WebSocket
gets through.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from benchmarks.clients import CLIENTS, Client
from benchmarks.clients.http import get_json, post
from benchmarks.clients.socketio import SocketIOPolling
from benchmarks.clients.sockjs import SockJSPolling
from benchmarks.load.workload import new_room
from benchmarks.method import theory
from benchmarks.method.options import positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from benchmarks.method.stats import percentile
from realtime.netem.conditions import NetworkConditions

# What is left of a library where no WebSocket gets through.
FALLBACKS: dict[str, tuple[str, type[Client]]] = {
    "sockjs, polling": ("sockjs", SockJSPolling),
    "socketio, polling": ("socketio", SocketIOPolling),
}
# One that has not heard it by then never will.
_PATIENCE_SECONDS = 5.0


def ways(transports: Sequence[str]) -> list[str]:
    """These transports, and what is left of those that are libraries."""
    return [*transports, *(name for name, (of, _) in FALLBACKS.items() if of in transports)]


def client_of(way: str) -> type[Client]:
    return FALLBACKS[way][1] if way in FALLBACKS else CLIENTS[way]


class Session(Benchmark):
    name = "session"
    question = "What does a visit cost until its first event?"
    examples = """\
  python -m benchmarks.session --quick
  python -m benchmarks.session --visits 200 --network rtt=100ms -t websocket,sockjs,socketio"""
    factors = ("way", "network")
    networks = ("none", "rtt=50ms")
    measures: ClassVar = {
        "arrival_ms": Measure("ms", "until the first event"),
        "requests": Measure("", "until the first event, handshakes among them"),
        "bytes_up": Measure("B", "from the client, until the first event"),
        "bytes_down": Measure("B", "to the client, with the first event"),
    }
    quick: ClassVar = {"visits": 12, "runs": 1}
    runs = 5

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--visits", type=positive_int, default=60, help="in each run (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return self.grid(way=ways(self.options.transports), network=self.options.network)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        return asyncio.run(self._measure(factors["way"], factors["network"]))

    async def _measure(self, way: str, network: str) -> Sample:
        room = new_room("session")
        (await post(self.sut.url, room, text="here")).check(201)
        kind = client_of(way)
        before = await self._requests()
        took, up, down = [], 0, 0
        url = self.url(network)
        for _ in range(self.options.visits):
            begun = time.perf_counter()
            client = await visit(lambda: kind(url, room))
            took.append(1000 * (time.perf_counter() - begun))
            up, down = up + client.bytes_out, down + client.bytes_in
            client.abort()
        visits = self.options.visits
        return Sample(
            {
                "arrival_ms": percentile(sorted(took), 50),
                "requests": (await self._requests() - before) / visits,
                "bytes_up": up / visits,
                "bytes_down": down / visits,
            }
        )

    async def _requests(self) -> int:
        rows: dict[str, dict[str, int]] = (await get_json(self.sut.url, "/wire"))["transports"]
        return sum(row["requests"] for name, row in rows.items() if name in CLIENTS)

    def predict(self, factors: Factors) -> dict[str, float]:
        way = factors["way"]
        if way in FALLBACKS:
            return {}
        rtt = 1000 * NetworkConditions.parse(factors["network"]).rtt
        # In a browser the WebSocket has a connection of its own, beside that of `/info`.
        trips = 2 + theory.EXTRA_ROUND_TRIPS.get(way, 0) + (way == "sockjs")
        return {} if way == "socketio" else {"arrival_ms": trips * rtt}


async def visit(make: Callable[[], Client]) -> Client:
    """Come, hear what was said, and give the client, which is still there."""
    client = make()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await client.open()
            await client.receive()
    except BaseException:
        client.abort()
        raise
    return client


if __name__ == "__main__":
    sys.exit(run(Session))
