"""``python -m benchmarks.peers``: ours beside Socket.IO, nchan and plain Tornado."""

import argparse
import random
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.clients.protocols import Listener, Poll
from benchmarks.competitors.budget import AGAINST, BUDGET, judge
from benchmarks.competitors.order import audited
from benchmarks.competitors.system import (
    BURST,
    GENERATOR_CORES,
    IDLE,
    PACED,
    SERVER_CORES,
    SMALL,
    System,
    on,
    start_redis,
)
from benchmarks.competitors.systems import SYSTEMS
from benchmarks.load.generator import Crowd, evenly, undisturbed
from benchmarks.load.workload import Said, new_room, talk
from benchmarks.method import stats
from benchmarks.method.options import add_head_bytes, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, interval_json, ratios_by_run
from benchmarks.method.testbed import ServerUnderTest, TestbedError

LOADS = (PACED, BURST, SMALL, IDLE)
# Between the last connection and the first message: who subscribes by way of a hub needs it.
_SETTLE_SECONDS = 0.3
# A second of the burst is ten seconds of work for some, and all of it is to come.
_PATIENCE_SECONDS = 90.0
# How fast the words are said by which a server warms up.
_WARM_UP_RATE = 100.0


@dataclass(frozen=True)
class _Load:
    followers: int
    rate: float
    messages: int


class Peers(Benchmark):
    name = "peers"
    question = "What do others cost, asked the same in the same run?"
    examples = """\
  python -m benchmarks.peers --quick
  python -m benchmarks.peers --followers 1000 --peers "realtime sse,nchan eventsource"
  python -m benchmarks.peers --loads small --small-followers 50 --runs 20

Four loads: messages at a steady pace; a burst; the same pace with few readers, for its p99; and
short polls of a room where nothing is said.  One server process each, one Redis for all that use
one, no compression, no TLS; what is missing on this machine is said, and how to get it.  At the end
is the budget: ratios that ours must keep."""
    factors = ("load", "peer")
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

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        add_head_bytes(parser)
        parser.add_argument(
            "--peers", type=_names_of(SYSTEMS), default=[*SYSTEMS], metavar="NAME,…", help="(all)"
        )
        parser.add_argument(
            "--loads",
            type=_names_of(LOADS),
            default=[*LOADS],
            metavar="NAME,…",
            help=f"which of {', '.join(LOADS)} (all)",
        )
        for name, kind, default, what in _NUMBERS:
            parser.add_argument(name, type=kind, default=default, help=f"{what} (%(default)s)")

    def cells(self) -> list[Factors]:
        if self.options.url:
            raise TestbedError("--url: here every system is started anew, ours among them")
        self.stack.enter_context(on(GENERATOR_CORES))
        with on(SERVER_CORES):
            self.redis = start_redis(self.stack)
        peers = [name for name in self.options.peers if self._is_here(name)]
        grid = self.grid(load=self.options.loads, peer=peers)
        return [cell for cell in grid if cell["load"] in SYSTEMS[cell["peer"]].loads]

    def _is_here(self, name: str) -> bool:
        lack = SYSTEMS[name].missing()
        if lack is not None:
            self.notes.append(f"!!! {name} is not measured, for want of {lack}")
        return lack is None

    def order(self, cells: list[Cell], chance: random.Random) -> Iterable[Cell]:
        """One load after the other: two that are divided by each other are measured close by."""
        mixed = chance.sample(cells, len(cells))
        loads = [cell.factors["load"] for cell in mixed]
        return sorted(mixed, key=lambda cell: loads.index(cell.factors["load"]))

    # --- one cell --------------------------------------------------------------------------------

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        system = SYSTEMS[factors["peer"]]()
        with ExitStack() as stack, Crowd() as crowd, undisturbed():
            with on(SERVER_CORES):
                system.start(stack, self.redis)
                system.behind = self.url(sut=stack.enter_context(ServerUnderTest(system.url)))
            if factors["load"] == IDLE:
                return self._poll(system, crowd, chance)
            return self._speak(system, crowd, factors["load"], chance)

    def _load(self, name: str) -> _Load:
        options = self.options
        return {
            PACED: _Load(options.followers, options.paced_rate, options.paced_messages),
            BURST: _Load(options.followers, options.burst_rate, options.burst_messages),
            SMALL: _Load(options.small_followers, options.paced_rate, options.small_messages),
        }[name]

    def _speak(self, system: System, crowd: Crowd, name: str, chance: random.Random) -> Sample:
        """Say something to as many, and see what the server's CPU was used for until all heard."""
        load, room = self._load(name), new_room(self.name)
        words = system.words(room, self.options.size)
        before = self._memory(system, crowd) if name == PACED else None
        crowd.listen(system.listener(room) for _ in range(load.followers))
        crowd.wait(_SETTLE_SECONDS)
        held = system.cost.memory_bytes() / 1024
        warm = evenly(0.0, _WARM_UP_RATE, self.options.warm_up, chance)
        speaker = talk(crowd, words, warm, patience=_PATIENCE_SECONDS).speaker
        times = evenly(0.0, load.rate, load.messages, chance)
        used = system.cost.cpu_seconds()
        said = talk(crowd, words, times, patience=_PATIENCE_SECONDS, speaker=speaker)
        used = system.cost.cpu_seconds() - used
        self._note_refused(system, name, said)
        sample = said.sample(crowd, audited(system, said))
        sample.measures["cpu_us"] = _per(1e6 * used, len(sample.latencies))
        sample.measures["memory_kib"] = before and (held - before) / load.followers
        sample.latencies = []  # of a burst, 250 000
        return sample

    def _note_refused(self, system: System, load: str, said: Said) -> None:
        if count := len(said.speaker.refused):
            of = len(said.speaker.due)
            self.notes.append(f"!!! {system.name}, {load}: {count} of {of} refused (503)")

    def _memory(self, system: System, crowd: Crowd) -> float:
        """Give what the server has of memory, in KiB, when what it loads late has been loaded."""
        crowd.listen([system.listener(new_room(self.name))])
        crowd.wait(_SETTLE_SECONDS)
        crowd.readers.clear()
        return system.cost.memory_bytes() / 1024

    def _poll(self, system: System, crowd: Crowd, chance: random.Random) -> Sample:
        """Ask a quiet room again and again, and see by one message that it was the right one."""
        options, room = self.options, new_room(self.name)
        readers = crowd.listen(
            self._poller(system.listener(room), (n + chance.random()) / options.pollers)
            for n in range(options.pollers)
        )
        crowd.wait(_SETTLE_SECONDS + options.interval)
        asked = sum(reader.listener.requests for reader in readers)
        used = system.cost.cpu_seconds()
        crowd.wait(options.seconds)
        used = system.cost.cpu_seconds() - used
        asked = sum(reader.listener.requests for reader in readers) - asked
        said = talk(crowd, system.words(room, options.size), [0.0], patience=_PATIENCE_SECONDS)
        sample = said.sample(crowd, audited(system, said))
        sample.measures = {"poll_us": _per(1e6 * used, asked)}
        sample.latencies = []  # they are those of the interval
        return sample

    def _poller(self, one: Listener, phase: float) -> Listener:
        assert isinstance(one, Poll)
        one.interval, one.phase = self.options.interval, phase
        one.head_bytes = self.options.head_bytes
        return one

    # --- all of them -----------------------------------------------------------------------------

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Give every figure as a ratio to ours, of the same runs, and judge the budget."""
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
        """With fewer readers a delivery bears more of its message: other ratios, other limits."""
        given = vars(self.options)
        other = [name for name, _, usual, _ in _NUMBERS if given[_variable(name)] != usual]
        if other:
            self.notes.append(f"!!! the budget is meant for the usual {', '.join(other)}")

    def _ratios(self, cell: Cell, base: Cell) -> dict[str, Any]:
        return {
            name: interval_json(stats.bootstrap(values, self.options.seed))
            for name in self.measures
            if (values := ratios_by_run(cell, base, name))
        }


def _per(total: float, count: int) -> float | None:
    return total / count if count else None


_NUMBERS = (
    ("--followers", positive_int, 500, "of one room, at a pace and in the burst"),
    ("--size", positive_int, 100, "of a text, in bytes"),
    ("--warm-up", positive_int, 30, "messages that are said before and not counted"),
    ("--paced-rate", positive, 40.0, "messages a second"),
    ("--paced-messages", positive_int, 40, "in a run"),
    ("--burst-rate", positive, 500.0, "messages a second"),
    ("--burst-messages", positive_int, 500, "in a run"),
    ("--small-followers", positive_int, 100, "of one room, for the p99"),
    ("--small-messages", positive_int, 80, "in a run"),
    ("--pollers", positive_int, 500, "of the quiet room"),
    ("--interval", positive, 1.0, "from one short poll to the next, in s"),
    ("--seconds", positive, 2.0, "of silence in a run"),
)


def _variable(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _names_of(known: Iterable[str]) -> Any:
    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return found

    return names


if __name__ == "__main__":
    sys.exit(run(Peers))
