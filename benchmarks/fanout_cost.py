"""What a delivery costs as followers become more, and processes: beside the least it could cost.

Each message is told to everybody before the next is said, so nothing is told together: what is
measured is the price of one message to one follower.  Beside it suts the floor, a process that
only sends the same bytes to as many sockets, in the same run.

With more processes each has its share of the followers, and all hear every message from the one
hub they share: what hearing costs is measured with one follower each.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from benchmarks.clients.http import BadResponse, Endpoint, Response, encode
from benchmarks.clients.protocols import make_protocol
from benchmarks.clients.sansio import Update
from benchmarks.clients.websocket import WebSocketProtocol
from benchmarks.load.generator import (
    LoadGenerator,
    RequestSpec,
    constant_arrivals,
    filler_text,
    gc_paused,
    post_message,
)
from benchmarks.load.workload import Transcript, new_room, run_workload
from benchmarks.method import stats
from benchmarks.method.baseline import FOLLOW, OFFSET_PLACEHOLDER, READY
from benchmarks.method.options import ints, positive, positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Cell, Factors, Measure, Sample, interval_json, ratios_by_run
from benchmarks.method.testbed import (
    Cost,
    MeasuredProcess,
    ProcessCost,
    ServerUnderTest,
    TestbedError,
    raise_open_file_limit,
    start_shared_hub,
)
from realtime.protocol.websocket_frames import frame_header

FLOOR = "raw send"
# Files that are open besides the followers' connections.
_SPARE_FILES = 200
# Messages of a cell: enough to be seen by a clock, and few enough for ten thousand followers.
_LEAST, _MOST = 4, 30
# Messages with which the price of hearing is found, one follower in each process.
_HEARD = 20
# And before that, without being counted: what is loaded late is loaded now.
_WARM = 5
_PATIENCE_SECONDS = 10.0
_BYTES = 100


class FanoutCost(Benchmark):
    name = "fanout_cost"
    question = "What does a delivery cost as followers become more, and server processes?"
    examples = """\
  python -m benchmarks.fanout_cost --quick
  python -m benchmarks.fanout_cost --followers 100,1000,3000 -t websocket,sse --processes 2,3

By WebSocket, unless --transports says more.  `raw send` is a bare loop over as many sockets with
the same bytes: the floor of all servers."""
    factors = ("transport", "followers", "processes")
    measures: ClassVar = {
        "cpu_us": Measure("µs", "of all server processes' CPU, per delivery"),
        "publish_us": Measure("µs", "of CPU per message, in the process that was spoken to"),
        "hear_us": Measure("µs", "of CPU per message, in each of the others"),
    }
    quick: ClassVar = {"followers": [10, 100, 300], "processes": [2], "share": 100, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=["websocket"])
        parser.add_argument(
            "--followers",
            type=ints,
            default=[10, 100, 1000, 10_000],
            metavar="N,…",
            help="of one process (10,100,1000,10000)",
        )
        parser.add_argument(
            "--processes", type=ints, default=[2, 4], metavar="N,…", help="besides one (2,4)"
        )
        parser.add_argument(
            "--share",
            type=positive_int,
            default=1000,
            metavar="N",
            help="followers in all of more than one process (%(default)s)",
        )
        parser.add_argument(
            "--rate", type=positive, default=40.0, help="messages a second at most (%(default)s)"
        )
        parser.add_argument(
            "--deliveries",
            type=positive_int,
            default=20_000,
            help="a second at most, and in all (%(default)s)",
        )

    # --- what is measured ------------------------------------------------------------------------

    def start(self) -> ServerUnderTest:
        """Start as many processes as any cell needs; each cell uses the first of them."""
        if self.options.url:
            raise TestbedError("--url: here every server is started anew")
        if self.options.hub == "memory" and max(self.options.processes) > 1:
            raise TestbedError("--hub memory: its processes share nothing; ask for --processes 1")
        most = max(*self.options.followers, self.options.share) + _SPARE_FILES
        raise_open_file_limit(most)
        hub, self.hub_name = start_shared_hub(self.options.hub, self.stack)
        limits = ("--connections", str(most), "--connections-per-address", str(most))
        self.suts = [
            self.stack.enter_context(ServerUnderTest(None, hub, *limits))
            for _ in range(max(1, *self.options.processes))
        ]
        return self.suts[0]

    def cells(self) -> list[Factors]:
        options = self.options
        several = [number for number in options.processes if number > 1]
        return [
            *self.grid(transport=options.transports, followers=options.followers, processes=[1]),
            *self.grid(transport=[FLOOR], followers=options.followers, processes=[1]),
            *self.grid(transport=options.transports, followers=[options.share], processes=several),
        ]

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        with ExitStack() as stack:
            crowd = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            if factors["transport"] == FLOOR:
                return self._floor(stack, crowd, factors["followers"], chance)
            suts = self.suts[: factors["processes"]]
            first = self._hear(crowd, suts, factors["transport"], chance)
            rest = self._tell(crowd, suts, factors, chance)
            rest.measures |= first
            return rest

    # --- ours ------------------------------------------------------------------------------------

    def _hear(
        self,
        crowd: LoadGenerator,
        suts: Sequence[ServerUnderTest],
        transport: str,
        chance: random.Random,
    ) -> dict[str, float | None]:
        """With one follower in each process, give what a message costs each of them."""
        room = new_room(self.name)
        crowd.add_readers(
            make_protocol(transport, Endpoint(self.url(sut=sut)), room) for sut in suts
        )
        words = post_message(suts[0].url, room, _BYTES)
        times = constant_arrivals(0.0, self.options.rate, _HEARD, chance)
        run_workload(crowd, words, times[:_WARM], patience=_PATIENCE_SECONDS)
        used = [-sut.cost.cpu_seconds() for sut in suts]
        run_workload(crowd, words, times, patience=_PATIENCE_SECONDS)
        used = [
            1e6 * (before + sut.cost.cpu_seconds()) / _HEARD
            for before, sut in zip(used, suts, strict=True)
        ]
        _leave(crowd)
        others = used[1:]
        return {
            "publish_us": used[0],
            "hear_us": sum(others) / len(others) if others else None,
        }

    def _tell(
        self,
        crowd: LoadGenerator,
        suts: Sequence[ServerUnderTest],
        factors: Factors,
        chance: random.Random,
    ) -> Sample:
        room, transport = new_room(self.name), factors["transport"]
        servers = [Endpoint(self.url(sut=sut)) for sut in suts]
        crowd.add_readers(
            make_protocol(transport, servers[number % len(servers)], room)
            for number in range(factors["followers"])
        )
        words = post_message(suts[0].url, room, _BYTES)
        costs = [sut.cost for sut in suts]
        return self._talk(crowd, words, costs, factors["followers"], chance)

    def _talk(
        self,
        crowd: LoadGenerator,
        words: RequestSpec,
        costs: Sequence[Cost],
        followers: int,
        chance: random.Random,
    ) -> Sample:
        used = -sum(cost.cpu_seconds() for cost in costs)
        said = run_workload(
            crowd, words, self._times(followers, chance), patience=_PATIENCE_SECONDS
        )
        used += sum(cost.cpu_seconds() for cost in costs)
        return _sample(crowd, said, used)

    def _times(self, followers: int, chance: random.Random) -> list[float]:
        options = self.options
        count = min(_MOST, max(_LEAST, options.deliveries // followers))
        return constant_arrivals(
            0.0, min(options.rate, options.deliveries / followers), count, chance
        )

    # --- the floor -------------------------------------------------------------------------------

    def _floor(
        self, stack: ExitStack, crowd: LoadGenerator, followers: int, chance: random.Random
    ) -> Sample:
        process = MeasuredProcess([sys.executable, "-m", "benchmarks.method.baseline"])
        stack.callback(process.close)
        server = Endpoint(process.url)
        crowd.add_readers(FloorProtocol(server) for _ in range(followers))
        cost = ProcessCost(process.pid)
        return self._talk(crowd, floor_request(server), [cost], followers, chance)

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Give what a delivery costs as so many times the floor, of the same runs."""
        floors = {c.factors["followers"]: c for c in cells if c.factors["transport"] == FLOOR}
        ratios = {
            _named(cell): {"cpu_us": interval_json(stats.bootstrap(values, self.options.seed))}
            for cell in cells
            if cell.factors["transport"] != FLOOR
            if (floor := floors.get(cell.factors["followers"]))
            if (values := ratios_by_run(cell, floor, "cpu_us"))
        }
        about = {**self.sut.describe(), "hub": self.hub_name}
        return {"against": FLOOR, "ratios": ratios, "server": about}


def _leave(crowd: LoadGenerator) -> None:
    for reader in crowd.readers:
        reader.close()
    crowd.readers.clear()


def _named(cell: Cell) -> str:
    factors = cell.factors
    processes = f", {factors['processes']} processes" if factors["processes"] > 1 else ""
    return f"{factors['transport']}, {factors['followers']:,}{processes}"


def _sample(crowd: LoadGenerator, said: Transcript, used: float) -> Sample:
    sample = said.sample(crowd)
    deliveries = len(sample.latencies)
    sample.latencies = []
    sample.measures = {"cpu_us": 1e6 * used / deliveries if deliveries else None}
    return sample


class FloorProtocol(WebSocketProtocol):
    """Reads frames as a WebSocket does, where nobody shakes hands."""

    def __init__(self, server: Endpoint) -> None:
        super().__init__(server, lambda cursor: "")

    def request(self) -> bytes:
        self._reset()
        return FOLLOW

    def receive_data(self, data: bytes, now: float) -> list[Update]:
        if not self.ready:
            if not data.startswith(READY):
                raise BadResponse(f"not the floor: {data[:20]!r}")
            self.ready, data = True, data.removeprefix(READY)
        updates: list[Update] = []
        for message in self._messages.feed(data):
            updates += self._receive_message(message)
        return updates


def floor_request(server: Endpoint) -> RequestSpec:
    """Say the very frame that everybody is to be sent, with all that one of ours has in it."""
    fields = {
        **{"client": "benchmark", "name": "Ada", "text": filler_text(_BYTES), "via": "post"},
        **{"sent": None, "published": 1_795_439_365_420},
    }

    def request(id: str, number: int) -> bytes:
        event = encode(
            {"kind": "say", "cursor": f"f-{OFFSET_PLACEHOLDER.decode()}", "id": id, **fields}
        )
        return frame_header(len(event)) + event

    def receipt(response: Response, id: str, number: int) -> str:
        return f"f-{response.check(200).body.decode()}"

    return RequestSpec(server, request, receipt)


if __name__ == "__main__":
    sys.exit(run(FanoutCost))
