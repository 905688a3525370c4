"""What a visit costs until the first event comes, and what it is worth at another process.

A visit comes into a room where one thing was said, and ends when it has heard it.  The libraries go
the way that they take in a browser of today; and, named so, the way that is left where no WebSocket
gets through.

Then the same with two processes behind a balancer that gives each request to either of them, by
chance: what comes to its event there needs no sticky routing.  Our own clients ask by connections
that are kept; here each question has one of its own, as a balancer would see it.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from typing import ClassVar

from benchmarks import theory
from benchmarks.clients import CLIENTS, Client, Refused
from benchmarks.clients.http import (
    BadResponse,
    Connection,
    Count,
    Exchange,
    Server,
    get_json,
    post,
)
from benchmarks.clients.socketio import SocketIOPolling
from benchmarks.clients.sockjs import SockJSPolling
from benchmarks.options import positive_int
from benchmarks.samples import Factors, Measure, Sample
from benchmarks.script import Benchmark, main
from benchmarks.stand import Stand, StandError
from benchmarks.stats import percentile
from benchmarks.talk import new_room
from realtime.network import Network
from realtime.spawn import SpawnedServer, find_program

# What is left of a library where no WebSocket gets through.
FALLBACKS: dict[str, tuple[str, type[Client]]] = {
    "sockjs, polling": ("sockjs", SockJSPolling),
    "socketio, polling": ("socketio", SocketIOPolling),
}
# One that has not heard it by then never will.
_PATIENCE_SECONDS = 5.0
_EITHER = {"Connection": "close"}


class _Balancer(Server):
    """Two processes behind one name: each connection leads to either, by chance."""

    def __init__(self, urls: list[str], chance: random.Random) -> None:
        super().__init__(urls[0])
        self._servers = [Server(url) for url in urls]
        self._chance = chance

    async def connect(self, count: Count) -> Connection:
        return await self._chance.choice(self._servers).connect(count)


class Session(Benchmark):
    name = "session"
    question = "What does a visit cost until its first event, and which needs sticky routing?"
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
        "anywhere": Measure("%", "of visits that hear it where each request goes to either of two"),
    }
    quick: ClassVar = {"visits": 12, "runs": 1}
    runs = 5

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--visits", type=positive_int, default=60, help="in each run (%(default)s)"
        )

    def start(self) -> Stand:
        program = find_program()
        if program is None:
            raise StandError("two processes need a redis-server or a valkey-server between them")
        hub = asyncio.run(SpawnedServer.start(program))
        self.stack.callback(hub.close)
        self._other = self.stack.enter_context(Stand(None, hub.url))
        return self.stack.enter_context(Stand(None, hub.url))

    def cells(self) -> list[Factors]:
        chosen = self.options.transports
        ways = [*chosen, *(name for name, (of, _) in FALLBACKS.items() if of in chosen)]
        return self.grid(way=ways, network=self.options.network)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        return asyncio.run(self._measure(factors["way"], factors["network"], chance))

    async def _measure(self, way: str, network: str, chance: random.Random) -> Sample:
        room = new_room("session")
        (await post(self.stand.url, room, text="here")).check(201)
        kind = FALLBACKS[way][1] if way in FALLBACKS else CLIENTS[way]
        before = await self._requests()
        took, up, down = [], 0, 0
        url = self.url(network)
        for _ in range(self.options.visits):
            begun = time.perf_counter()
            client = await _visit(lambda: kind(url, room))
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
                "anywhere": await self._share_anywhere(kind, room, network, chance),
            }
        )

    async def _share_anywhere(
        self, kind: type[Client], room: str, network: str, chance: random.Random
    ) -> float | None:
        if Network.parse(network) != Network():
            return None  # it is a matter of where, and not of how far
        urls = [self.stand.url, self._other.url]
        arrived = 0
        for _ in range(self.options.visits):
            try:
                client = await _visit(lambda: _scattered(kind(urls[0], room), urls, chance))
                client.abort()
                arrived += 1
            except (BadResponse, ConnectionError, Refused, TimeoutError):
                pass  # the other process does not know the session
        return 100.0 * arrived / int(self.options.visits)

    async def _requests(self) -> int:
        rows: dict[str, dict[str, int]] = (await get_json(self.stand.url, "/wire"))["transports"]
        return sum(row["requests"] for name, row in rows.items() if name in CLIENTS)

    def predict(self, factors: Factors) -> dict[str, float]:
        way = factors["way"]
        if way in FALLBACKS:
            return {}
        rtt = 1000 * Network.parse(factors["network"]).rtt
        # In a browser the WebSocket has a connection of its own, beside that of `/info`.
        trips = 2 + theory.SESSION.get(way, 0) + (way == "sockjs")
        return {} if way == "socketio" else {"arrival_ms": trips * rtt}


async def _visit(make: Callable[[], Client]) -> Client:
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


def _scattered(client: Client, urls: list[str], chance: random.Random) -> Client:
    """Let each question of a client go to either server."""
    client._server = _Balancer(urls, chance)
    for name in ("_polls", "_posts"):
        if (exchange := getattr(client, name, None)) is not None:
            count = exchange._count
            setattr(client, name, Exchange(client._server, count, _EITHER))
    return client


if __name__ == "__main__":
    sys.exit(main(Session))
