"""``python -m benchmarks.peers``: our server compared with Socket.IO, nchan and plain Tornado."""

import argparse
import random
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.competitors.benchmark import SystemsBenchmark
from benchmarks.competitors.budget import AGAINST, BUDGET, judge
from benchmarks.competitors.order import audit_transcript
from benchmarks.competitors.system import (
    BURST,
    IDLE,
    PACED,
    SERVER_CORES,
    SMALL,
    System,
    pinned_to,
)
from benchmarks.competitors.systems import SYSTEMS
from benchmarks.load.generator import LoadGenerator, constant_arrivals, gc_paused
from benchmarks.load.workload import Transcript, new_room, run_workload
from benchmarks.method import stats
from benchmarks.method.options import add_head_bytes, names_of, positive, positive_int
from benchmarks.method.runner import run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, interval_json, ratios_by_run
from benchmarks.method.testbed import ServerUnderTest
from realtime.cli import stdio
from realtime.client.sansio import ClientProtocol, PollProtocol

LOADS = (PACED, BURST, SMALL, IDLE)
# Between the last connection and the first message: a subscription to Redis takes time.
_SETTLE_SECONDS = 0.3
# One second of the burst is ten seconds of work for some systems, and all of it must arrive.
_PATIENCE_SECONDS = 90.0
# Messages per second of the warm-up.
_WARM_UP_RATE = 100.0


@dataclass(frozen=True)
class _Profile:
    followers: int
    rate: float
    messages: int


_NUMBERS = (
    ("--followers", positive_int, 500, "readers of one room, paced and burst"),
    ("--size", positive_int, 100, "of a message text, in bytes"),
    ("--warm-up", positive_int, 30, "messages before those that count"),
    ("--paced-rate", positive, 40.0, "messages a second"),
    ("--paced-messages", positive_int, 40, "messages in a run"),
    ("--burst-rate", positive, 500.0, "messages a second"),
    ("--burst-messages", positive_int, 500, "messages in a run"),
    ("--small-followers", positive_int, 100, "readers of one room, for the p99"),
    ("--small-messages", positive_int, 80, "messages in a run"),
    ("--pollers", positive_int, 500, "short pollers of the idle room"),
    ("--interval", positive, 1.0, "from one short poll to the next, in s"),
    ("--seconds", positive, 2.0, "of polling in a run"),
)


class Peers(SystemsBenchmark):
    name = "peers"
    systems = SYSTEMS
    question = "What do others cost, asked the same in the same run?"
    examples = """\
  python -m benchmarks.peers --quick
  python -m benchmarks.peers --followers 1000 --peers "realtime sse,nchan eventsource"
  python -m benchmarks.peers --loads small --small-followers 50 --runs 20

Four loads: messages at a steady rate; a burst; the steady rate with few readers, for the p99;
short polls of an idle room.  Each system has one server process; all that use a Redis share one.
There is no compression and no TLS.  What this machine lacks is reported, and how to install it.
The budget at the end lists the ratios that our server must keep."""
    factors: ClassVar[tuple[str, ...]] = ("load", "peer")
    measures: ClassVar = {
        "p50": Measure("ms", "half of the deliveries had come after"),
        "p99": Measure("ms", "99 of 100 had come after"),
        "cpu_us": Measure("µs", "of the server's CPU, per delivery"),
        "memory_kib": Measure("KiB", "of the server's memory, per idle connection"),
        "poll_us": Measure("µs", "of the server's CPU, per poll that is answered with nothing"),
    }
    quick: ClassVar = {
        "followers": 100,
        "paced_messages": 10,
        "burst_messages": 100,
        "small_followers": 20,
        "small_messages": 10,
        "warm_up": 5,
        "pollers": 100,
        "interval": 0.5,
        "seconds": 1.0,
        "runs": 1,
    }
    # What a subclass may change: the loads, the systems by default, and the options with a number.
    loads: ClassVar[tuple[str, ...]] = LOADS
    default_peers: ClassVar[tuple[str, ...]] = (*SYSTEMS,)
    numbers: ClassVar[tuple[tuple[str, Any, float, str], ...]] = _NUMBERS

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        add_head_bytes(parser)
        parser.add_argument(
            "--peers",
            type=names_of(SYSTEMS),
            default=[*cls.default_peers],
            metavar="NAME,…",
            help=f"({', '.join(cls.default_peers)})",
        )
        parser.add_argument(
            "--loads",
            type=names_of(cls.loads),
            default=[*cls.loads],
            metavar="NAME,…",
            help=f"which of {', '.join(cls.loads)} (all)",
        )
        for name, kind, default, what in cls.numbers:
            parser.add_argument(name, type=kind, default=default, help=f"{what} (%(default)s)")

    def cells(self) -> list[Factors]:
        self.start_redis()
        grid = self.grid(load=self.options.loads, peer=self.available_peers())
        return [cell for cell in grid if self.takes(cell["peer"], cell["load"])]

    def takes(self, peer: str, load: str) -> bool:
        """Return whether a system is measured under a load."""
        return load in SYSTEMS[peer].loads

    def order(self, cells: list[Cell], rng: random.Random) -> Iterable[Cell]:
        """Return one load after the other: cells of one ratio are close in time."""
        mixed = rng.sample(cells, len(cells))
        loads = [cell.factors["load"] for cell in mixed]
        return sorted(mixed, key=lambda cell: loads.index(cell.factors["load"]))

    # --- one cell --------------------------------------------------------------------------------

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        system = self.make_system(factors)
        with ExitStack() as stack, LoadGenerator() as load, gc_paused():
            with pinned_to(SERVER_CORES):
                system.start(stack, self.redis)
                system.reader_url = self.url(sut=stack.enter_context(ServerUnderTest(system.url)))
            return self.measure_system(system, load, factors, rng)

    def make_system(self, factors: Factors) -> System:
        return SYSTEMS[factors["peer"]]()

    def measure_system(
        self, system: System, load: LoadGenerator, factors: Factors, rng: random.Random
    ) -> Sample:
        if factors["load"] == IDLE:
            return self._poll(system, load, rng)
        return self._publish(system, load, factors["load"], rng)

    def _profile(self, name: str) -> _Profile:
        options = self.options
        return {
            PACED: _Profile(options.followers, options.paced_rate, options.paced_messages),
            BURST: _Profile(options.followers, options.burst_rate, options.burst_messages),
            SMALL: _Profile(options.small_followers, options.paced_rate, options.small_messages),
        }[name]

    def _publish(
        self, system: System, load: LoadGenerator, name: str, rng: random.Random
    ) -> Sample:
        """Publish to many readers, and measure the server's CPU until all have received it."""
        profile, room = self._profile(name), new_room(self.name)
        spec = system.request_spec(room, self.options.size)
        before = self._memory(system, load) if name == PACED else None
        load.add_readers(system.protocol(room) for _ in range(profile.followers))
        load.run_for(_SETTLE_SECONDS)
        held = system.cost.memory_bytes() / 1024
        warm = constant_arrivals(0.0, _WARM_UP_RATE, self.options.warm_up, rng)
        sender = run_workload(load, spec, warm, patience=_PATIENCE_SECONDS).sender
        times = constant_arrivals(0.0, profile.rate, profile.messages, rng)
        used = system.cost.cpu_seconds()
        transcript = run_workload(load, spec, times, patience=_PATIENCE_SECONDS, sender=sender)
        used = system.cost.cpu_seconds() - used
        self._note_refused(system, name, transcript)
        sample = transcript.sample(load, audit_transcript(system, transcript))
        sample.measures["cpu_us"] = _per(1e6 * used, len(sample.latencies))
        sample.measures["memory_kib"] = before and (held - before) / profile.followers
        sample.latencies = []  # a burst has 250 000
        return sample

    def _note_refused(self, system: System, load: str, transcript: Transcript) -> None:
        if count := len(transcript.sender.refused):
            total = len(transcript.sender.due)
            self.notes.append(f"!!! {system.name}, {load}: {count} of {total} refused (503)")

    def _memory(self, system: System, load: LoadGenerator) -> float:
        """Return the server's memory, in KiB, after one connection has made it load its modules."""
        load.add_readers([system.protocol(new_room(self.name))])
        load.run_for(_SETTLE_SECONDS)
        load.readers.clear()
        return system.cost.memory_bytes() / 1024

    def _poll(self, system: System, load: LoadGenerator, rng: random.Random) -> Sample:
        """Poll an idle room, and check with one message that it was the right one."""
        options, room = self.options, new_room(self.name)
        readers = load.add_readers(
            self._poller(system.protocol(room), (n + rng.random()) / options.pollers)
            for n in range(options.pollers)
        )
        load.run_for(_SETTLE_SECONDS + options.interval)
        requests = sum(reader.protocol.requests for reader in readers)
        used = system.cost.cpu_seconds()
        load.run_for(options.seconds)
        used = system.cost.cpu_seconds() - used
        requests = sum(reader.protocol.requests for reader in readers) - requests
        transcript = run_workload(
            load, system.request_spec(room, options.size), [0.0], patience=_PATIENCE_SECONDS
        )
        sample = transcript.sample(load, audit_transcript(system, transcript))
        sample.measures = {"poll_us": _per(1e6 * used, requests)}
        sample.latencies = []  # they only show the interval
        return sample

    def _poller(self, protocol: ClientProtocol, phase: float) -> ClientProtocol:
        assert isinstance(protocol, PollProtocol)
        protocol.interval, protocol.phase = self.options.interval, phase
        protocol.head_bytes = self.options.head_bytes
        return protocol

    # --- all cells -------------------------------------------------------------------------------

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Return every figure as a ratio to ours, of the same runs, and judge the budget."""
        bases = {cell.factors["load"]: cell for cell in cells if cell.factors["peer"] == AGAINST}
        ratios = {
            f"{cell.factors['peer']}, {load}": self._ratios(cell, bases[load])
            for cell in cells
            if (load := cell.factors["load"]) in bases and cell is not bases[load]
        }
        budget = judge(BUDGET, cells, self.options.seed)
        self._note_other_settings()
        return {"against": AGAINST, "ratios": ratios, "budget": budget, "notes": self.notes}

    def _note_other_settings(self) -> None:
        """Note changed options: with fewer readers, each delivery carries more of the cost."""
        given = vars(self.options)
        changed = [
            name for name, _, default, _ in self.numbers if given[_variable(name)] != default
        ]
        if changed:
            self.notes.append(f"!!! the budget applies to the default {', '.join(changed)}")

    def _ratios(self, cell: Cell, base: Cell) -> dict[str, Any]:
        return {
            name: interval_json(stats.bootstrap(values, self.options.seed))
            for name in self.measures
            if (values := ratios_by_run(cell, base, name))
        }


def _per(total: float, count: int) -> float | None:
    return total / count if count else None


def _variable(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(Peers)))
