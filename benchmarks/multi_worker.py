"""Measure what one, two and four workers deliver over one Redis, and what each costs Redis.

There are many rooms.  In each a sender sends its next message when the last one is acknowledged: so
the server is busy, and this shows how much it delivers.  Then the senders send at a constant rate,
and this shows what a message costs.  It would cost a busy server less, because a process that finds
several messages waiting handles them together; how many depends on what else runs on the machine.

The readers of a room are spread over all workers.  A room with one reader has it at one worker, a
room with many has readers at every worker: the difference is the cost of one more worker, and of a
delivery.

From these results and those of `idle_cost` and `overhead`, `--model` estimates what ten thousand, a
million and a hundred million clients need: see method/capacity_model.py.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from redis import Redis

from benchmarks.load.closed_loop import PostSender, SendLog, message_encoder
from benchmarks.load.connections import clock
from benchmarks.load.generator import LoadGenerator, VirtualReader, gc_paused
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
from realtime.cli import stdio
from realtime.client.http import Endpoint
from realtime.client.protocols import make_protocol

# Warm-up before the measurement: the first messages load modules and grow buffers.
_WARM_SECONDS = 0.3
# A message that was acknowledged and has not arrived within this time is lost.
_PATIENCE_SECONDS = 20.0
_SPARE_FILES = 200
_UNLIMITED = "1000000000000"
# With a lower share of --rate, the costs are not those of that rate.
_MIN_RATE_SHARE = 0.9
# Occurs once in every delivered message; our texts contain no quotes.
_MARK = b'"kind":"say"'


class CountingReader(DiscardReader):
    """Counts the messages that it receives and parses nothing."""

    counted = 0
    _tail = b""

    def scan(self, data: bytes, when: float) -> None:
        data = self._tail + data
        self.counted += data.count(_MARK)
        self._tail = data[1 - len(_MARK) :]


class _Room:
    """One room: a reader at each of `servers`, and a sender at the first of them."""

    def __init__(self, load: LoadGenerator, servers: Sequence[Endpoint], transport: str) -> None:
        self.name, self.log = new_room("multi_worker"), SendLog()
        self.readers = [
            CountingReader(make_protocol(transport, server, self.name)) for server in servers
        ]
        self._load, self._server = load, servers[0]
        load.add_readers(self.readers)

    def add_sender(self, draft: Callable[[str], bytes]) -> VirtualReader:
        self.sender = PostSender(self._server, self.name, self.log, draft)
        (reader,) = self._load.add_readers([self.sender])
        return reader

    @property
    def complete(self) -> bool:
        """Whether all messages are acknowledged and every reader has received them."""
        return self.log.all_answered and not self.miscounted

    @property
    def miscounted(self) -> int:
        """The number of readers that received more or fewer messages than were acknowledged."""
        return sum(one.counted != len(self.log.acks) for one in self.readers)


class MultiWorker(Benchmark):
    name = "multi_worker"
    question = "How much do several workers deliver over one Redis, and what does each cost Redis?"
    examples = """\
  python -m benchmarks.multi_worker --quick
  python -m benchmarks.multi_worker --workers 1,2,4,8 --readers 1,50 --rooms 64
  python -m benchmarks.multi_worker --model --help

Workers, Redis and the load generator share this machine.  With two cores, more than two workers
show what a message costs, not what they would deliver with one core each."""
    over_udp = False
    factors = ("workers", "readers")
    measures: ClassVar = {
        "per_second": Measure("1/s", "messages acknowledged"),
        "deliveries": Measure("1/s", "messages delivered to readers"),
        "workers_us": Measure("µs", "CPU of all workers, per message at a constant rate"),
        "redis_us": Measure("µs", "CPU of Redis, per message at a constant rate"),
        "opened": Measure("1/s", "connections opened"),
    }
    quick: ClassVar = {"workers": [1, 2], "readers": [1, 8], "seconds": 0.5, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=["websocket"])
        parser.add_argument(
            "--workers",
            type=ints,
            default=[1, 2, 4],
            metavar="N,…",
            help="worker processes (1,2,4)",
        )
        parser.add_argument(
            "--readers",
            type=ints,
            default=[1, 16],
            metavar="N,…",
            help="readers of each room (1,16)",
        )
        parser.add_argument("--rooms", type=positive_int, default=32, help="rooms (%(default)s)")
        parser.add_argument(
            "--seconds",
            type=positive,
            default=2.0,
            help="of a run at full speed, and then at --rate (%(default)s)",
        )
        parser.add_argument(
            "--rate",
            type=positive,
            default=640.0,
            help="messages per second in all rooms together, for the costs (%(default)s)",
        )
        parser.add_argument(
            "--size", type=positive_int, default=100, help="bytes of a text (%(default)s)"
        )

    def start(self) -> ServerUnderTest:
        """Start as many workers as any cell needs; each cell uses the first of them."""
        if self.options.url:
            raise TestbedError("--url: this benchmark starts its own servers")
        if self.options.hub == "memory":
            raise TestbedError("--hub memory: processes share nothing over it; use Redis")
        max_files = self.options.rooms * (max(self.options.readers) + 1) + _SPARE_FILES
        raise_open_file_limit(max_files)
        hub, self._hub_name = start_shared_hub(self.options.hub, self.stack)
        self._redis = self.stack.enter_context(Redis.from_url(hub))
        # All clients have one address, and a worker keeps the rooms of the last cells for a minute.
        limits = (
            *("--connections", str(max_files), "--connections-per-address", str(max_files)),
            *("--rooms", _UNLIMITED, "--rooms-per-address", _UNLIMITED),
            *("--history-bytes", _UNLIMITED, "--history-bytes-per-address", _UNLIMITED),
        )
        self._workers = [
            self.stack.enter_context(ServerUnderTest(None, hub, *limits))
            for _ in range(max(self.options.workers))
        ]
        return self._workers[0]

    def cells(self) -> list[Factors]:
        return self.grid(workers=self.options.workers, readers=self.options.readers)

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        workers = self._workers[: factors["workers"]]
        servers = [Endpoint(self.url(sut=worker)) for worker in workers]
        transport = self.options.transports[0]
        with ExitStack() as stack:
            load = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            start = clock()
            rooms = [
                _Room(load, round_robin(servers, n, factors["readers"]), transport)
                for n in range(self.options.rooms)
            ]
            opened = len(load.readers) / (clock() - start)
            audited = rooms[0]
            # Two readers parse every event of one room; in all other rooms we only count.
            auditors = load.add_readers(
                make_protocol(transport, server, audited.name)
                for server in (servers[0], servers[-1])
            )
            draft = message_encoder("benchmark", self.options.size, "post")
            senders = [room.add_sender(draft) for room in rooms]
            for sender in senders:
                sender.send()
            load.run_for(_WARM_SECONDS)
            load.max_poll_gap = 0.0
            measures = self._measure_throughput(load, rooms)
            interval = len(rooms) / self.options.rate
            for room in rooms:
                room.sender.interval = interval
                room.sender.next_due = clock() + rng.random() * interval
            load.run_for(interval)  # until all have the new rate
            measures |= self._measure_costs(load, workers, rooms)
            for room in rooms:
                room.log.open = False
            load.run_until(
                lambda: _have_received(auditors, audited) and all(room.complete for room in rooms),
                _PATIENCE_SECONDS,
            )
            logs = [room.log for room in rooms]
            return Sample(
                {**measures, "opened": opened},
                audit=compare(audited.log, auditors),
                unacknowledged=sum(
                    len(one.sent) - len(one.acks) - len(one.refused) for one in logs
                ),
                refused=sum(len(one.refused) for one in logs),
                broken=sum(reader.broken for reader in load.readers),
                miscounted=sum(room.miscounted for room in rooms),
                late=[late for one in logs for late in one.late],
                max_poll_gap=load.max_poll_gap,
            )

    def _measure_throughput(
        self, load: LoadGenerator, rooms: Sequence["_Room"]
    ) -> dict[str, float | None]:
        begin, received = clock(), -_received(rooms)
        load.run_for(self.options.seconds)
        end = clock()
        received += _received(rooms)
        return {
            "per_second": _acknowledged(rooms, begin, end) / (end - begin),
            "deliveries": received / (end - begin),
        }

    def _measure_costs(
        self, load: LoadGenerator, workers: Sequence[ServerUnderTest], rooms: Sequence["_Room"]
    ) -> dict[str, float | None]:
        begin, used, redis = clock(), -_used(workers), -self._redis_used()
        load.run_for(self.options.seconds)
        used, redis, end = used + _used(workers), redis + self._redis_used(), clock()
        load.run_until(lambda: True, 1.0)  # process what has arrived
        sent = _acknowledged(rooms, begin, end)
        if sent < _MIN_RATE_SHARE * self.options.rate * (end - begin):
            self.notes.append(
                f"!!! {len(workers)} workers: {sent / (end - begin):.0f} of {self.options.rate:g} "
                "messages per second: use a lower --rate, or a quieter machine"
            )
        return {
            "workers_us": 1e6 * used / sent if sent else None,
            "redis_us": 1e6 * redis / sent if sent else None,
        }

    def _redis_used(self) -> float:
        cpu = self._redis.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        about = {**self.sut.describe(), "hub": self._hub_name}
        return {"server": about, "notes": self.notes}


def round_robin(servers: Sequence[Endpoint], first: int, count: int) -> list[Endpoint]:
    """Return `count` servers in round-robin order, starting with number `first`."""
    return [servers[(first + number) % len(servers)] for number in range(count)]


def _used(workers: Sequence[ServerUnderTest]) -> float:
    return sum(worker.cost.cpu_seconds() for worker in workers)


def _acknowledged(rooms: Sequence["_Room"], begin: float, end: float) -> int:
    return sum(len(room.log.between(begin, end)) for room in rooms)


def _received(rooms: Sequence["_Room"]) -> int:
    return sum(one.counted for room in rooms for one in room.readers)


def _have_received(auditors: Sequence[VirtualReader], room: "_Room") -> bool:
    return all(len(one.ids) >= len(room.log.acks) for one in auditors)


if __name__ == "__main__":
    sys.exit(
        stdio.run(
            lambda: capacity_model.main(sys.argv[1:]) if "--model" in sys.argv else run(MultiWorker)
        )
    )
