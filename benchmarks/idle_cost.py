"""Measure what an idle client costs per minute: bytes, requests, CPU, memory.

Each transport has its own server, and all are idle at the same time.  One more server has no
readers; its CPU is subtracted, because every server uses it.
"""

import argparse
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

from benchmarks.load.generator import LoadGenerator
from benchmarks.load.workload import new_room
from benchmarks.method import theory
from benchmarks.method.options import add_head_bytes, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from benchmarks.method.testbed import Cost, ServerUnderTest
from realtime.cli import stdio
from realtime.client.http import Endpoint
from realtime.client.sansio import ClientProtocol

# A new connection needs some time until it is idle.
_SETTLE_SECONDS = 1.0
# The default of the server (limits.py).
_HEARTBEAT_SECONDS = 15


class _Group:
    """The clients of one transport, and the server that only they use."""

    def __init__(
        self,
        transport: str,
        cost: Cost,
        load: LoadGenerator,
        make_reader: Callable[..., ClientProtocol],
        options: argparse.Namespace,
        rng: random.Random,
    ) -> None:
        self.transport = transport
        self._cost = cost
        self._client_minutes = options.clients * options.seconds / 60
        # One client connects first and closes, so the server has loaded its modules.
        [first] = load.add_readers([make_reader()])
        first.close()
        self._memory = self._cost.memory_bytes()
        self._readers = load.add_readers(
            make_reader(
                interval=options.interval,
                wait=options.wait,
                phase=rng.random(),
                head_bytes=options.head_bytes,
            )
            for _ in range(options.clients)
        )

    def begin(self) -> None:
        self._before = self._counts()
        self._cpu = self._cost.cpu_seconds()

    def end(self, idle: float, max_poll_gap: float) -> Sample:
        """Return the cost since `begin`, without `idle`: the CPU of a server without clients."""
        used = self._cost.cpu_seconds() - self._cpu - idle
        measures: dict[str, float | None] = {
            name: (after - before) / self._client_minutes
            for (name, before), after in zip(
                self._before.items(), self._counts().values(), strict=True
            )
        }
        measures["cpu_ms"] = 1000 * used / self._client_minutes
        held = self._cost.memory_bytes() - self._memory
        measures["memory_kib"] = held / 1024 / len(self._readers)
        return Sample(
            measures,
            broken=sum(reader.broken for reader in self._readers),
            max_poll_gap=max_poll_gap,
        )

    def _counts(self) -> dict[str, int]:
        counts = [reader.traffic() for reader in self._readers]
        names = ("bytes_up", "bytes_down", "requests")
        return {name: sum(getattr(count, name) for count in counts) for name in names}


class IdleCost(Benchmark):
    name = "idle_cost"
    question = "What does an idle client cost per minute, by transport?"
    examples = """\
  python -m benchmarks.idle_cost --quick
  python -m benchmarks.idle_cost --clients 500 --seconds 60 --interval 5"""
    factors = ("transport",)
    measures: ClassVar = {
        "bytes_up": Measure("B", "from a client, per minute"),
        "bytes_down": Measure("B", "to a client, per minute"),
        "requests": Measure("", "requests of a client, per minute"),
        "cpu_ms": Measure("ms", "server CPU, per client and minute"),
        "memory_kib": Measure("KiB", "server memory, per client"),
    }
    quick: ClassVar = {"clients": 40, "seconds": 15.0, "runs": 1}
    runs = 5

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        add_head_bytes(parser)
        parser.add_argument(
            "--clients",
            type=positive_int,
            default=100,
            help="clients of each transport (%(default)s)",
        )
        parser.add_argument(
            "--seconds",
            type=positive,
            default=30.0,
            help=f"idle time of a run; a multiple of {_HEARTBEAT_SECONDS} (%(default)s)",
        )
        parser.add_argument(
            "--interval",
            type=positive,
            default=1.0,
            help="interval of short polling in s (%(default)s)",
        )
        parser.add_argument(
            "--wait",
            type=positive,
            default=25.0,
            help="maximum wait of long polling in s (%(default)s)",
        )

    def cells(self) -> list[Factors]:
        self._samples: dict[str, Sample] = {}
        return self.grid(transport=self.options.transports)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        """Measure all transports at the same time if each has its own server; return one sample."""
        transport = factors["transport"]
        if transport not in self._samples:
            together = [transport] if self.options.url else self.options.transports
            self._samples = self._measure_together(together, rng)
        return self._samples.pop(transport)

    def _measure_together(self, transports: list[str], rng: random.Random) -> dict[str, Sample]:
        options, without_clients = self.options, self.sut
        with ExitStack() as stack:
            load = stack.enter_context(LoadGenerator())
            groups = []
            for name in transports:
                sut = (
                    without_clients
                    if options.url
                    else stack.enter_context(ServerUnderTest(None, options.hub))
                )
                server, room = Endpoint(self.url(sut=sut)), new_room("idle_cost")
                make_reader = partial(self.make_protocol, name, server, room, sut=sut)
                groups.append(_Group(name, sut.cost, load, make_reader, options, rng))
            load.run_for(_SETTLE_SECONDS)
            idle = without_clients.cost.cpu_seconds()
            for group in groups:
                group.begin()
            load.run_for(options.seconds)
            idle = 0.0 if options.url else without_clients.cost.cpu_seconds() - idle
            return {group.transport: group.end(idle, load.max_poll_gap) for group in groups}

    def predict(self, factors: Factors) -> dict[str, float]:
        transport, options = factors["transport"], self.options
        polls = theory.polls_per_idle_minute(transport, options.interval, options.wait)
        if polls:
            return {"requests": polls, "bytes_up": polls * options.head_bytes}
        up, down = theory.heartbeat_bytes(transport)
        heartbeats = 60 / _HEARTBEAT_SECONDS
        return {"bytes_up": heartbeats * up, "bytes_down": heartbeats * down, "requests": 0}


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(IdleCost)))
