"""What a visit costs until the first event arrives.

A visit opens a room with one message, and ends when it has received it.  SockJS and Socket.IO use
the transport that they prefer in a current browser; their "polling" variants use the fallback for
networks where no WebSocket gets through.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar
from urllib.parse import urlsplit

from benchmarks.load.workload import new_room
from benchmarks.method import theory
from benchmarks.method.options import positive_int
from benchmarks.method.runner import WEBTRANSPORT, Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from benchmarks.method.stats import percentile
from realtime.cli import stdio
from realtime.client import ALL_CLIENTS, Client
from realtime.client.http import get_json, post
from realtime.client.socketio import SocketIOPollingClient
from realtime.client.sockjs import SockJSPollingClient
from realtime.netem.conditions import NetworkConditions

# The fallback of a library where no WebSocket gets through.
FALLBACKS: dict[str, tuple[str, type[Client]]] = {
    "sockjs, polling": ("sockjs", SockJSPollingClient),
    "socketio, polling": ("socketio", SocketIOPollingClient),
}
# A visit that has not received the message by then fails.
_TIMEOUT_SECONDS = 5.0


def with_fallbacks(transports: Sequence[str]) -> list[str]:
    """Return these transports, and the fallbacks of those that are libraries."""
    return [*transports, *(name for name, (of, _) in FALLBACKS.items() if of in transports)]


def client_class(way: str) -> Callable[..., Client]:
    return FALLBACKS[way][1] if way in FALLBACKS else ALL_CLIENTS[way]


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
            "--visits", type=positive_int, default=60, help="visits in a run (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        options = self.options
        return self.grid(way=with_fallbacks(options.transports), network=options.network)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        return asyncio.run(self._measure(factors["way"], factors["network"]))

    async def _measure(self, way: str, network: str) -> Sample:
        room = new_room("session")
        (await post(self.sut.url, room, text="here")).check(201)
        make_client, url = client_class(way), self.url(network)
        if way == WEBTRANSPORT and network != "none":
            make_client = partial(make_client, udp_port=urlsplit(url).port)
        before = await self._requests()
        times, up, down = [], 0, 0
        for _ in range(self.options.visits):
            started = time.perf_counter()
            client = await visit(lambda: make_client(url, room))
            times.append(1000 * (time.perf_counter() - started))
            up, down = up + client.bytes_out, down + client.bytes_in
            client.abort()
        visits = self.options.visits
        return Sample(
            {
                "arrival_ms": percentile(sorted(times), 50),
                "requests": (await self._requests() - before) / visits,
                "bytes_up": up / visits,
                "bytes_down": down / visits,
            }
        )

    async def _requests(self) -> int:
        rows: dict[str, dict[str, int]] = (await get_json(self.sut.url, "/wire"))["transports"]
        return sum(row["requests"] for name, row in rows.items() if name in ALL_CLIENTS)

    def predict(self, factors: Factors) -> dict[str, float]:
        way = factors["way"]
        if way in FALLBACKS:
            return {}
        rtt = 1000 * NetworkConditions.parse(factors["network"]).rtt
        # As in a browser, `/info` and the WebSocket use two connections.
        trips = 2 + theory.EXTRA_ROUND_TRIPS.get(way, 0) + (way == "sockjs")
        trips += theory.LAB_ROUND_TRIPS if way == WEBTRANSPORT else 0
        return {} if way == "socketio" else {"arrival_ms": trips * rtt}


async def visit(make: Callable[[], Client]) -> Client:
    """Open a client, receive the first event, and return the client, which stays open."""
    client = make()
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await client.open()
            await client.receive()
    except BaseException:
        client.abort()
        raise
    return client


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Session)))
