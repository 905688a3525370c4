"""What a minute costs in which nobody says anything: bytes, requests, CPU, memory.

Each transport has a server of its own, and all are quiet at the same time; one more server without
any reader says what a server costs by itself, which is taken off.
"""

import argparse
import random
import sys
from contextlib import ExitStack
from typing import ClassVar

from benchmarks.clients.http import Endpoint
from benchmarks.clients.protocols import make_protocol
from benchmarks.load.generator import LoadGenerator
from benchmarks.load.workload import new_room
from benchmarks.method import theory
from benchmarks.method.options import add_head_bytes, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from benchmarks.method.testbed import Cost, ServerUnderTest

# A connection is quiet some time after it began.
_SETTLE_SECONDS = 1.0
# As the server has it (limits.py).
_HEARTBEAT_SECONDS = 15


class _Group:
    """The clients of one transport, and the server that has no others."""

    def __init__(
        self,
        transport: str,
        url: str,
        cost: Cost,
        crowd: LoadGenerator,
        options: argparse.Namespace,
        chance: random.Random,
    ) -> None:
        self.transport = transport
        self._cost = cost
        self._client_minutes = options.clients * options.seconds / 60
        server, room = Endpoint(url), new_room("idle_cost")
        # One that came and went has warmed the server up.
        [first] = crowd.add_readers([make_protocol(transport, server, room)])
        first.close()
        self._memory = self._cost.memory_bytes()
        self._readers = crowd.add_readers(
            make_protocol(
                transport,
                server,
                room,
                interval=options.interval,
                wait=options.wait,
                phase=chance.random(),
                head_bytes=options.head_bytes,
            )
            for _ in range(options.clients)
        )

    def begin(self) -> None:
        self._before = self._counts()
        self._cpu = self._cost.cpu_seconds()

    def end(self, idle: float, deaf: float) -> Sample:
        """Give what was used since `begin`; `idle` seconds of CPU are any server's own."""
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
            measures, broken=sum(reader.broken for reader in self._readers), max_poll_gap=deaf
        )

    def _counts(self) -> dict[str, int]:
        counts = [reader.traffic() for reader in self._readers]
        names = ("bytes_up", "bytes_down", "requests")
        return {name: sum(getattr(count, name) for count in counts) for name in names}


class IdleCost(Benchmark):
    name = "idle_cost"
    question = "What does a quiet minute cost, per client, by each transport?"
    examples = """\
  python -m benchmarks.idle_cost --quick
  python -m benchmarks.idle_cost --clients 500 --seconds 60 --interval 5"""
    factors = ("transport",)
    measures: ClassVar = {
        "bytes_up": Measure("B", "from a client, per minute"),
        "bytes_down": Measure("B", "to a client, per minute"),
        "requests": Measure("", "of a client, per minute"),
        "cpu_ms": Measure("ms", "of the server's CPU, per client and minute"),
        "memory_kib": Measure("KiB", "of the server's memory, per client"),
    }
    quick: ClassVar = {"clients": 40, "seconds": 15.0, "runs": 1}
    runs = 5

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        add_head_bytes(parser)
        parser.add_argument(
            "--clients", type=positive_int, default=100, help="of each transport (%(default)s)"
        )
        parser.add_argument(
            "--seconds",
            type=positive,
            default=30.0,
            help=f"of silence in a run; a multiple of {_HEARTBEAT_SECONDS} (%(default)s)",
        )
        parser.add_argument(
            "--interval", type=positive, default=1.0, help="of short polling, in s (%(default)s)"
        )
        parser.add_argument(
            "--wait", type=positive, default=25.0, help="of long polling, in s (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        self._samples: dict[str, Sample] = {}
        return self.grid(transport=self.options.transports)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        """Measure all at once where each can have a server, and hand out one after the other."""
        transport = factors["transport"]
        if transport not in self._samples:
            together = [transport] if self.options.url else self.options.transports
            self._samples = self._listen(together, chance)
        return self._samples.pop(transport)

    def _listen(self, transports: list[str], chance: random.Random) -> dict[str, Sample]:
        options, alone = self.options, self.sut
        with ExitStack() as stack:
            crowd = stack.enter_context(LoadGenerator())
            groups = []
            for name in transports:
                sut = (
                    alone
                    if options.url
                    else stack.enter_context(ServerUnderTest(None, options.hub))
                )
                url = self.url(sut=sut)
                groups.append(_Group(name, url, sut.cost, crowd, options, chance))
            crowd.run_for(_SETTLE_SECONDS)
            idle = alone.cost.cpu_seconds()
            for group in groups:
                group.begin()
            crowd.run_for(options.seconds)
            idle = 0.0 if options.url else alone.cost.cpu_seconds() - idle
            return {group.transport: group.end(idle, crowd.max_poll_gap) for group in groups}

    def predict(self, factors: Factors) -> dict[str, float]:
        transport, options = factors["transport"], self.options
        questions = theory.polls_per_idle_minute(transport, options.interval, options.wait)
        if questions:
            return {"requests": questions, "bytes_up": questions * options.head_bytes}
        up, down = theory.heartbeat_bytes(transport)
        beats = 60 / _HEARTBEAT_SECONDS
        return {"bytes_up": beats * up, "bytes_down": beats * down, "requests": 0}


if __name__ == "__main__":
    sys.exit(run(IdleCost))
