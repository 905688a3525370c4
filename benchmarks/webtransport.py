"""``python -m benchmarks.webtransport``: what WebTransport costs, beside WebSocket.

Asyncio clients read here, by all ways the same, also over TLS.  aioquic in the clients costs about
as much as in the server; with more readers than one, only the costs of the
server and the bytes count, and the delays are measured with a single reader.
"""

import argparse
import asyncio
import random
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from benchmarks.load.workload import new_room
from benchmarks.method.options import positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from benchmarks.method.stats import percentile
from benchmarks.method.testbed import ServerUnderTest
from benchmarks.tls import trusted_certificate
from realtime.cli import stdio
from realtime.client import ALL_CLIENTS, Client

# QUIC always encrypts, so a WebSocket over TLS is what it must be compared with.
TRANSPORTS = {
    "websocket": "websocket",
    "websocket, TLS": "websocket",
    "webtransport": "webtransport",
}
# A new connection needs some time until it is idle.
_SETTLE_SECONDS = 0.5
# A message that has not arrived by then is lost.
_TIMEOUT_SECONDS = 10.0


class WebTransportCost(Benchmark):
    name = "webtransport"
    question = "What does WebTransport cost, beside WebSocket?"
    examples = """\
  python -m benchmarks.webtransport --quick
  python -m benchmarks.webtransport --readers 300 --rate 5"""
    factors = ("way",)
    measures: ClassVar = {
        "cpu_us": Measure("µs", "of the server's CPU, per delivery"),
        "connect_us": Measure("µs", "of the server's CPU, per new connection"),
        "memory_kib": Measure("KiB", "of the server's memory, per connection"),
        "bytes_down": Measure("B", "to a reader, per delivery"),
        "bytes_up": Measure("B", "from a reader, per delivery"),
        "arrival_ms": Measure("ms", "half of the messages arrived within, with one reader"),
    }
    quick: ClassVar = {"readers": 20, "messages": 10, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--readers", type=positive_int, default=100, help="readers of a way (%(default)s)"
        )
        parser.add_argument(
            "--messages", type=positive_int, default=50, help="messages in a run (%(default)s)"
        )
        parser.add_argument(
            "--rate", type=positive, default=10.0, help="messages a second (%(default)s)"
        )
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a message text (%(default)s)"
        )

    def start(self) -> ServerUnderTest:
        certificate = self.stack.enter_context(trusted_certificate())
        self._tls = ("--tls-certificate", str(certificate))
        return self.stack.enter_context(ServerUnderTest(None, self.options.hub))

    def cells(self) -> list[Factors]:
        return self.grid(way=[*TRANSPORTS])

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        way = factors["way"]
        options = self._tls if way.endswith("TLS") else ()
        # A new one for each run: connections would use the memory that earlier ones have left.
        with ServerUnderTest(None, self.options.hub, *options) as server:
            return asyncio.run(_Run(server, TRANSPORTS[way], self.options).measure())


class _Run:
    """One run of one way."""

    def __init__(
        self, server: ServerUnderTest, transport: str, options: argparse.Namespace
    ) -> None:
        self._server = server
        self._transport = transport
        self._options = options
        self._room = new_room("webtransport")
        self._speaker = ALL_CLIENTS["sse"](server.url, self._room)
        self._text = "x" * options.size

    async def measure(self) -> Sample:
        measures: dict[str, float | None] = {}
        cost, count = self._server.cost, self._options.readers
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._speaker.close)
            # The server has loaded its modules, and the connection of the speaker is open.
            one = await stack.enter_async_context(self._client())
            measures["arrival_ms"] = percentile(sorted(await self._arrivals(one)), 50)
            memory, used = cost.memory_bytes(), cost.cpu_seconds()
            readers = [await stack.enter_async_context(self._client()) for _ in range(count)]
            measures["connect_us"] = 1e6 * (cost.cpu_seconds() - used) / count
            await asyncio.sleep(_SETTLE_SECONDS)
            measures["memory_kib"] = (cost.memory_bytes() - memory) / 1024 / count
            down, up = (sum(c.bytes_in for c in readers), sum(c.bytes_out for c in readers))
            used = cost.cpu_seconds()
            received = await self._deliver([one, *readers])
            deliveries = self._options.messages * (count + 1)
            measures["cpu_us"] = 1e6 * (cost.cpu_seconds() - used) / deliveries
            each = self._options.messages * count
            measures["bytes_down"] = (sum(c.bytes_in for c in readers) - down) / each
            measures["bytes_up"] = (sum(c.bytes_out for c in readers) - up) / each
        return Sample(measures, miscounted=deliveries - received)

    def _client(self) -> Client:
        return ALL_CLIENTS[self._transport](self._server.url, self._room, after="now")

    async def _arrivals(self, reader: Client) -> list[float]:
        """Return the times from sending a message until its only reader has it, in ms."""
        sent: dict[str, float] = {}
        times = []

        async def read() -> None:
            for _ in range(self._options.messages):
                event = await reader.receive()
                times.append(1000 * (time.perf_counter() - sent[event["id"]]))

        await self._while_sending([read()], lambda id: sent.update({id: time.perf_counter()}))
        return times

    async def _deliver(self, readers: list[Client]) -> int:
        """Publish, and return how many messages the readers have received in all."""
        received = 0

        async def read(client: Client) -> None:
            nonlocal received
            for _ in range(self._options.messages):
                await client.receive()
                received += 1

        await self._while_sending([read(client) for client in readers])
        return received

    async def _while_sending(
        self,
        reads: list[Coroutine[Any, Any, None]],
        sent: Callable[[str], None] = lambda id: None,
    ) -> None:
        """Publish all messages on a schedule; wait for the readers, but not for ever."""
        reading = [asyncio.create_task(read) for read in reads]
        start = time.perf_counter()
        for number in range(self._options.messages):
            due = start + number / self._options.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            id = str(uuid.uuid4())
            sent(id)
            await self._speaker.send(self._text, id=id)
        await asyncio.wait(reading, timeout=_TIMEOUT_SECONDS)
        for task in reading:
            if task.done():
                task.result()
            else:
                task.cancel()


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(WebTransportCost)))
