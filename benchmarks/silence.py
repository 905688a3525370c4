"""What a minute costs in which nobody says anything: bytes, requests, CPU, memory.

Each transport has a server of its own, and all are quiet at the same time; one more server without
any reader says what a server costs by itself, which is taken off.
"""

import argparse
import random
import sys
from typing import ClassVar

from benchmarks import theory
from benchmarks.clients.http import Server
from benchmarks.crowd import Crowd, Reader
from benchmarks.listeners import listener
from benchmarks.script import (
    Benchmark,
    Factors,
    Measure,
    Sample,
    add_head_bytes,
    main,
    positive,
    positive_int,
)
from benchmarks.stand import Stand
from benchmarks.talk import new_room

# A connection is quiet some time after it began.
_SETTLE_SECONDS = 1.0
# As the server has it (limits.py).
_HEARTBEAT_SECONDS = 15


class Silence(Benchmark):
    name = "silence"
    question = "What does a quiet minute cost, per client, by each transport?"
    examples = """\
  python -m benchmarks.silence --quick
  python -m benchmarks.silence --clients 500 --seconds 60 --interval 5"""
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
        options = self.options
        alone = self.stand
        with Crowd() as crowd:
            stands = {
                name: alone if options.url else self.stack.enter_context(Stand(None, options.hub))
                for name in transports
            }
            crowds: dict[str, list[Reader]] = {}
            memory = {}
            for name, stand in stands.items():
                server, room = Server(stand.url), new_room(self.name)
                # One that came and went has warmed the server up.
                [first] = crowd.listen([listener(name, server, room)])
                first.leave()
                memory[name] = stand.cost.memory_bytes()
                crowds[name] = crowd.listen(
                    listener(
                        name,
                        server,
                        room,
                        interval=options.interval,
                        wait=options.wait,
                        phase=chance.random(),
                        head_bytes=options.head_bytes,
                    )
                    for _ in range(options.clients)
                )
            crowd.wait(_SETTLE_SECONDS)
            costs = [stand.cost for stand in stands.values()]
            before = [[reader.count() for reader in crowds[name]] for name in stands]
            idle, used = alone.cost.cpu_seconds(), [cost.cpu_seconds() for cost in costs]
            crowd.wait(options.seconds)
            used = [cost.cpu_seconds() - then for cost, then in zip(costs, used, strict=True)]
            idle = 0.0 if options.url else alone.cost.cpu_seconds() - idle
            after = [[reader.count() for reader in crowds[name]] for name in stands]
            held = [stand.cost.memory_bytes() - memory[name] for name, stand in stands.items()]
        samples = {}
        for number, name in enumerate(stands):
            client_minutes = options.clients * options.seconds / 60
            measures: dict[str, float | None] = {
                what: sum(
                    getattr(b, what) - getattr(a, what)
                    for a, b in zip(before[number], after[number], strict=True)
                )
                / client_minutes
                for what in ("bytes_up", "bytes_down", "requests")
            }
            measures["cpu_ms"] = 1000 * (used[number] - idle) / client_minutes
            measures["memory_kib"] = held[number] / 1024 / options.clients
            broken = sum(reader.broken for reader in crowds[name])
            samples[name] = Sample(measures, broken=broken, deaf=crowd.deaf)
        return samples

    def predict(self, factors: Factors) -> dict[str, float]:
        transport, options = factors["transport"], self.options
        questions = theory.questions_per_quiet_minute(transport, options.interval, options.wait)
        if questions:
            return {"requests": questions}
        up, down = theory.heartbeat_bytes(transport)
        beats = 60 / _HEARTBEAT_SECONDS
        return {"bytes_up": beats * up, "bytes_down": beats * down, "requests": 0}


if __name__ == "__main__":
    sys.exit(main(Silence))
