"""What one, two and four workers deliver over one Redis, and what Redis does for each of them.

Many rooms, and in each somebody who says the next message when the last is acknowledged: so all is
busy, and yet each message is told alone, as in a chat.  The readers of a room are spread over all
workers.  With one reader a room is read at one worker, with many at each: what differs is the price
of telling a worker, and of a delivery.

From what was measured, and from what silence and bytes cost, `--model` says what ten thousand, a
million and a hundred million clients take: see scaling.py, where each assumption has a name.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from redis import Redis

from benchmarks.clients.http import Endpoint
from benchmarks.clients.protocols import make_protocol
from benchmarks.load.closed_loop import PostSender, SendLog, message_encoder
from benchmarks.load.generator import LoadGenerator, VirtualReader, clock, gc_paused
from benchmarks.load.light_readers import DiscardReader
from benchmarks.load.workload import new_room
from benchmarks.method import capacity_model
from benchmarks.method.options import ints, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample
from benchmarks.method.testbed import (
    ServerUnderTest,
    TestbedError,
    raise_open_file_limit,
    start_shared_hub,
)
from benchmarks.publish import compare

# Before anything is counted: the first messages make the workers load and grow.
_WARM_SECONDS = 0.3
# All that was acknowledged has been heard within this time, or is lost.
_PATIENCE_SECONDS = 20.0
_SPARE_FILES = 200
# In every message that is told, once; the text of ours has no quotes.
_MARK = b'"kind":"say"'


class CountingReader(DiscardReader):
    """Counts the messages that it is told, and looks at nothing else."""

    counted = 0
    _tail = b""

    def scan(self, data: bytes, when: float) -> None:
        data = self._tail + data
        self.counted += data.count(_MARK)
        self._tail = data[1 - len(_MARK) :]


class _Room:
    """One room: a reader at each of `places`, and what was said in it, at the first of them."""

    def __init__(self, crowd: LoadGenerator, places: Sequence[Endpoint], transport: str) -> None:
        self.name, self.tally = new_room("multi_worker"), SendLog()
        self.readers = [
            CountingReader(make_protocol(transport, server, self.name)) for server in places
        ]
        self._crowd, self._server = crowd, places[0]
        crowd.add_readers(self.readers)

    def speak(self, draft: Callable[[str], bytes]) -> VirtualReader:
        (sender,) = self._crowd.add_readers(
            [PostSender(self._server, self.name, self.tally, draft)]
        )
        return sender

    @property
    def quiet(self) -> bool:
        """Whether all was answered, and heard by all."""
        return self.tally.all_answered and not self.miscounted

    @property
    def miscounted(self) -> int:
        """How many readers were not told just as many messages as were acknowledged."""
        return sum(one.counted != len(self.tally.acks) for one in self.readers)


class MultiWorker(Benchmark):
    name = "multi_worker"
    question = "What do several workers deliver over one Redis, and what does Redis do for each?"
    examples = """\
  python -m benchmarks.multi_worker --quick
  python -m benchmarks.multi_worker --workers 1,2,4,8 --readers 1,50 --rooms 64
  python -m benchmarks.multi_worker --model --help

Workers, Redis and the generator share this machine: with two cores, more workers than two show
what a message costs, and not what they could deliver if each had a core."""
    factors = ("workers", "readers")
    measures: ClassVar = {
        "per_second": Measure("1/s", "messages acknowledged"),
        "deliveries": Measure("1/s", "messages that readers were told"),
        "workers_us": Measure("µs", "of all workers' CPU, per message"),
        "redis_us": Measure("µs", "of Redis's CPU, per message"),
        "opened": Measure("1/s", "connections opened"),
    }
    quick: ClassVar = {"workers": [1, 2], "readers": [1, 8], "seconds": 0.5, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=["websocket"])
        parser.add_argument(
            "--workers", type=ints, default=[1, 2, 4], metavar="N,…", help="processes (1,2,4)"
        )
        parser.add_argument(
            "--readers", type=ints, default=[1, 16], metavar="N,…", help="of each room (1,16)"
        )
        parser.add_argument("--rooms", type=positive_int, default=32, help="(%(default)s)")
        parser.add_argument("--seconds", type=positive, default=3.0, help="(%(default)s)")
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a text (%(default)s)"
        )

    def start(self) -> ServerUnderTest:
        """Start as many workers as any cell needs; each cell uses the first of them."""
        if self.options.url:
            raise TestbedError("--url: here every server is started anew")
        if self.options.hub == "memory":
            raise TestbedError("--hub memory: its processes share nothing, and it is no Redis")
        most = self.options.rooms * (max(self.options.readers) + 1) + _SPARE_FILES
        raise_open_file_limit(most)
        hub, self._hub_name = start_shared_hub(self.options.hub, self.stack)
        self._redis = self.stack.enter_context(Redis.from_url(hub))
        limits = ("--connections", str(most), "--connections-per-address", str(most))
        self._workers = [
            self.stack.enter_context(ServerUnderTest(None, hub, *limits))
            for _ in range(max(self.options.workers))
        ]
        return self._workers[0]

    def cells(self) -> list[Factors]:
        return self.grid(workers=self.options.workers, readers=self.options.readers)

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        workers = self._workers[: factors["workers"]]
        servers = [Endpoint(self.url(sut=worker)) for worker in workers]
        transport = self.options.transports[0]
        with ExitStack() as stack:
            crowd = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            begun = clock()
            rooms = [
                _Room(crowd, in_turn(servers, n, factors["readers"]), transport)
                for n in range(self.options.rooms)
            ]
            opened = len(crowd.readers) / (clock() - begun)
            audited = rooms[0]
            # Two who understand everything; of the other rooms all that was said is counted.
            witnesses = crowd.add_readers(
                make_protocol(transport, server, audited.name)
                for server in (servers[0], servers[-1])
            )
            draft = message_encoder("benchmark", self.options.size, "post")
            senders = [room.speak(draft) for room in rooms]
            measures = self._speak(crowd, workers, senders, rooms)
            crowd.run_until(
                lambda: _have_heard(witnesses, audited) and all(room.quiet for room in rooms),
                _PATIENCE_SECONDS,
            )
            tallies = [room.tally for room in rooms]
            return Sample(
                {**measures, "opened": opened},
                audit=compare(audited.tally, witnesses),
                unacknowledged=sum(
                    len(one.sent) - len(one.acks) - len(one.refused) for one in tallies
                ),
                refused=sum(len(one.refused) for one in tallies),
                broken=sum(reader.broken for reader in crowd.readers),
                miscounted=sum(room.miscounted for room in rooms),
                late=[late for one in tallies for late in one.late],
                max_poll_gap=crowd.max_poll_gap,
            )

    def _speak(
        self,
        crowd: LoadGenerator,
        workers: Sequence[ServerUnderTest],
        senders: Sequence[VirtualReader],
        rooms: Sequence["_Room"],
    ) -> dict[str, float | None]:
        for sender in senders:
            sender.send()
        crowd.run_for(_WARM_SECONDS)
        crowd.max_poll_gap, begin, heard = 0.0, clock(), -_heard(rooms)
        used, redis = -_used(workers), -self._redis_used()
        crowd.run_for(self.options.seconds)
        used, redis, end = used + _used(workers), redis + self._redis_used(), clock()
        heard += _heard(rooms)
        for room in rooms:
            room.tally.open = False
        crowd.run_until(lambda: True, 1.0)  # what came until now is understood
        said = sum(len(room.tally.between(begin, end)) for room in rooms)
        return {
            "per_second": said / (end - begin),
            "deliveries": heard / (end - begin),
            "workers_us": 1e6 * used / said if said else None,
            "redis_us": 1e6 * redis / said if said else None,
        }

    def _redis_used(self) -> float:
        cpu = self._redis.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        about = {**self.sut.describe(), "hub": self._hub_name}
        return {"server": about, "notes": self.notes}


def in_turn(servers: Sequence[Endpoint], first: int, count: int) -> list[Endpoint]:
    """So many of them, one after the other and round again, beginning with any."""
    return [servers[(first + number) % len(servers)] for number in range(count)]


def _used(workers: Sequence[ServerUnderTest]) -> float:
    return sum(worker.cost.cpu_seconds() for worker in workers)


def _heard(rooms: Sequence["_Room"]) -> int:
    return sum(one.counted for room in rooms for one in room.readers)


def _have_heard(witnesses: Sequence[VirtualReader], room: "_Room") -> bool:
    return all(len(one.ids) >= len(room.tally.acks) for one in witnesses)


if __name__ == "__main__":
    sys.exit(capacity_model.main(sys.argv[1:]) if "--model" in sys.argv else run(MultiWorker))
