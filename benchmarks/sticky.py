"""Which transports need sticky routing: the same visits through nginx with three kinds of routing.

A visit opens a room with one message, receives it, and receives the next message.  A transport that
keeps its state in the request (a cursor) can be served by any worker.  A transport that keeps it in
a worker (a session) must return to that worker, unless it is a single connection.

All visitors come from one address, like a school behind its router, or each from another network:
nginx's `ip_hash` uses the first three numbers of an address.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from typing import Any, ClassVar

from benchmarks.load.workload import new_room
from benchmarks.method.options import positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample
from benchmarks.method.testbed import (
    ClusterUnderTest,
    ServerUnderTest,
    TestbedError,
    start_shared_hub,
)
from benchmarks.session import client_class, with_fallbacks
from realtime.cli import stdio
from realtime.client import Client, Refused
from realtime.client.http import BadResponse, get_json, post
from realtime.cluster.proxy_config import ROUTINGS

ONE, MANY = "one address", "many"
# A visit that has not received the messages by then fails.
_TIMEOUT_SECONDS = 3.0


class Sticky(Benchmark):
    name = "sticky"
    question = "Which transports work behind nginx without sticky routing, and is the load even?"
    examples = """\
  python -m benchmarks.sticky --quick
  python -m benchmarks.sticky --workers 8 --visits 200 -t long_polling,sockjs,socketio

It needs nginx, and starts a cluster for each routing."""
    factors = ("way", "routing", "people")
    measures: ClassVar = {
        "held": Measure("%", "of visits that heard what was said before, and then what came"),
        "busiest": Measure("%", "of what they heard came from the busiest worker"),
    }
    quick: ClassVar = {"visits": 8, "runs": 1}
    runs = 3

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--visits", type=positive_int, default=40, help="visits in a run (%(default)s)"
        )
        parser.add_argument(
            "--workers", type=positive_int, default=4, help="workers behind nginx (%(default)s)"
        )

    def start(self) -> ServerUnderTest:
        if self.options.url:
            raise TestbedError("--url: this benchmark starts every server itself")
        if self.options.hub == "memory":
            raise TestbedError("--hub memory: several processes cannot share it")
        hub, _ = start_shared_hub(self.options.hub, self.stack)
        self._broken: Counter[str] = Counter()
        self._clusters = {
            routing: self.stack.enter_context(ClusterUnderTest(hub, self.options.workers, routing))
            for routing in ROUTINGS
        }
        return self.stack.enter_context(ServerUnderTest(None, hub))

    def cells(self) -> list[Factors]:
        chosen = with_fallbacks(self.options.transports)
        return self.grid(way=chosen, routing=list(ROUTINGS), people=[ONE, MANY])

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        return asyncio.run(self._measure(factors, rng))

    async def _measure(self, factors: Factors, rng: random.Random) -> Sample:
        way, cluster = factors["way"], self._clusters[factors["routing"]]
        make_client, room = client_class(way), new_room(self.name)
        (await post(self.sut.url, room, text="before")).check(201)
        before = await _delivered(cluster)
        held = 0
        for number in range(self.options.visits):
            source = "127.0.0.1" if factors["people"] == ONE else _random_address(rng)
            try:
                await self._visit(make_client(cluster.url, room, source=source), f"now {number}")
                held += 1
            except (BadResponse, ConnectionError, Refused, TimeoutError) as error:
                self._broken[f"{way}, {factors['routing']}: {_describe(error)}"] += 1
        after = await _delivered(cluster)
        found = [now - then for now, then in zip(after, before, strict=True)]
        return Sample(
            {
                "held": 100 * held / self.options.visits,
                "busiest": 100 * max(found) / sum(found) if held and sum(found) else None,
            }
        )

    async def _visit(self, client: Client, text: str) -> None:
        """Receive the message from before, and then the one of now."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await client.open()
                await client.receive()
                (await post(self.sut.url, client.room, text=text)).check(201)
                while (await client.receive())["text"] != text:
                    pass
        finally:
            client.abort()

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Return how often each transport failed with each routing, and the error."""
        broken = dict(sorted(self._broken.items()))
        self.notes += [f"{times} × {what}" for what, times in broken.items()]
        return {"broken": broken, "notes": self.notes}


async def _delivered(cluster: ClusterUnderTest) -> list[int]:
    """Return how many events each worker has delivered."""
    return [
        sum(row["events"] for row in (await get_json(url, "/wire"))["transports"].values())
        for url in cluster.workers
    ]


def _random_address(rng: random.Random) -> str:
    """An room_path of this machine, in one of 65 000 networks."""
    return f"127.{rng.randrange(1, 255)}.{rng.randrange(255)}.1"


def _describe(error: Exception) -> str:
    return f"{type(error).__name__} {error}".split("\n")[0][:80]


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Sticky)))
