"""Measure the cost of a delivery with more followers, and with more server processes.

Each message reaches all followers before the next one is sent, so no write is shared: we measure
the cost of one message to one follower.  The baseline, measured in the same run, is a process that
only sends the same bytes to the same number of sockets.

A message has a fixed cost, and a cost for each follower: `growth` in the result
is that line, fitted to all numbers of followers, and how far each of them is from it.

With several processes each has a share of the followers, and all of them receive every message
from their common hub.  The cost of receiving is measured with one follower per process.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, ClassVar

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
from benchmarks.method.samples import (
    Cell,
    Factors,
    Measure,
    Sample,
    interval_json,
    ratios_by_run,
    short,
)
from benchmarks.method.testbed import (
    Cost,
    MeasuredProcess,
    ProcessCost,
    ServerUnderTest,
    TestbedError,
    max_open_files,
    raise_open_file_limit,
    start_shared_hub,
)
from benchmarks.method.thresholds import Threshold, median_over_runs
from realtime.cli import stdio
from realtime.client.http import BadResponse, Endpoint, Response, encode
from realtime.client.protocols import make_protocol
from realtime.client.sansio import Update
from realtime.client.websocket import WebSocketProtocol
from realtime.protocol.websocket_frames import frame_header

BASELINE = "raw send"
# Open files besides the followers' connections.
_SPARE_FILES = 200
# Messages per cell: enough for the precision of the clock, few enough for 10,000 followers.
_MIN_MESSAGES, _MAX_MESSAGES = 4, 30
# Messages for measuring the cost of receiving, with one follower in each process.
_RECEIVED = 20
# Messages before that for warming up; they do not count.
_WARM_UP = 5
_PATIENCE_SECONDS = 10.0
_BYTES = 100
# Linear growth: with many followers a delivery costs what it costs with a thousand.
_THOUSAND, _MAX_GROWTH = 1000, 1.25
# A line through two points fits always.
_MIN_POINTS = 3
_FOLLOWERS_PER_ADDRESS = 10_000


class FanoutCost(Benchmark):
    name = "fanout_cost"
    question = "How does the cost of a delivery change with the number of followers and processes?"
    examples = """\
  python -m benchmarks.fanout_cost --quick
  python -m benchmarks.fanout_cost --followers 100,1000,3000 -t websocket,sse --processes 2,3

By WebSocket, unless you use --transports.  `raw send` is the baseline: a bare loop that sends the
same bytes to the same number of sockets."""
    over_udp = False
    factors = ("transport", "followers", "processes")
    measures: ClassVar = {
        "cpu_us": Measure("µs", "CPU of all server processes, per delivery"),
        "publish_us": Measure("µs", "CPU per message, in the process that receives the POST"),
        "hear_us": Measure("µs", "CPU per message, in each other process"),
    }
    quick: ClassVar = {"followers": [10, 100, 300], "processes": [2], "share": 100, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(transports=["websocket"])
        parser.add_argument(
            "--followers",
            type=ints,
            default=[10, 100, 1000, 10_000, 20_000],
            metavar="N,…",
            help="followers of one process (10,100,1000,10000,20000), at most as many as a process "
            "may have open files (`ulimit -Hn`)",
        )
        parser.add_argument(
            "--processes",
            type=ints,
            default=[2, 4],
            metavar="N,…",
            help="numbers of processes, besides one (2,4)",
        )
        parser.add_argument(
            "--share",
            type=positive_int,
            default=1000,
            metavar="N",
            help="followers of several processes together (%(default)s)",
        )
        parser.add_argument(
            "--rate", type=positive, default=40.0, help="maximum messages per second (%(default)s)"
        )
        parser.add_argument(
            "--deliveries",
            type=positive_int,
            default=20_000,
            help="maximum deliveries, per second and in total (%(default)s)",
        )

    # --- servers and cells -----------------------------------------------------------------------

    def start(self) -> ServerUnderTest:
        """Start as many processes as any cell needs; each cell uses the first of them."""
        if self.options.url:
            raise TestbedError("--url: this benchmark starts its own servers")
        if self.options.hub == "memory" and max(self.options.processes) > 1:
            raise TestbedError("--hub memory: processes share nothing over it; use --processes 1")
        self.followers = self._allowed_followers()
        max_files = max(*self.followers, self.options.share) + _SPARE_FILES
        raise_open_file_limit(max_files)
        hub, self.hub_name = start_shared_hub(self.options.hub, self.stack)
        limits = ("--connections", str(max_files), "--connections-per-address", str(max_files))
        self.suts = [
            self.stack.enter_context(ServerUnderTest(None, hub, *limits))
            for _ in range(max(1, *self.options.processes))
        ]
        return self.suts[0]

    def _allowed_followers(self) -> list[int]:
        """Return the numbers of followers; the largest that is possible instead of larger ones."""
        most = max_open_files() - _SPARE_FILES
        allowed = [int(min(number, most)) for number in self.options.followers]
        if allowed != self.options.followers:
            self.notes.append(
                f"!!! {max(allowed):,} followers, not {max(self.options.followers):,}: "
                f"a process may have {max_open_files():,} open files (ulimit -Hn)"
            )
        return [*dict.fromkeys(allowed)]

    def cells(self) -> list[Factors]:
        options = self.options
        several = [number for number in options.processes if number > 1]
        return [
            *self.grid(transport=options.transports, followers=self.followers, processes=[1]),
            *self.grid(transport=[BASELINE], followers=self.followers, processes=[1]),
            *self.grid(transport=options.transports, followers=[options.share], processes=several),
        ]

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        with ExitStack() as stack:
            load = stack.enter_context(LoadGenerator())
            stack.enter_context(gc_paused())
            if factors["transport"] == BASELINE:
                return self._measure_baseline(stack, load, factors["followers"], rng)
            suts = self.suts[: factors["processes"]]
            receive_cost = self._measure_receive(load, suts, factors["transport"], rng)
            sample = self._measure_deliveries(load, suts, factors, rng)
            sample.measures |= receive_cost
            return sample

    # --- our server ------------------------------------------------------------------------------

    def _measure_receive(
        self,
        load: LoadGenerator,
        suts: Sequence[ServerUnderTest],
        transport: str,
        rng: random.Random,
    ) -> dict[str, float | None]:
        """Return the CPU of a message in each process, with one follower per process."""
        room = new_room(self.name)
        load.add_readers(
            make_protocol(transport, Endpoint(self.url(sut=sut)), room) for sut in suts
        )
        spec = post_message(suts[0].url, room, _BYTES)
        times = constant_arrivals(0.0, self.options.rate, _RECEIVED, rng)
        run_workload(load, spec, times[:_WARM_UP], patience=_PATIENCE_SECONDS)
        used = [-sut.cost.cpu_seconds() for sut in suts]
        run_workload(load, spec, times, patience=_PATIENCE_SECONDS)
        used = [
            1e6 * (before + sut.cost.cpu_seconds()) / _RECEIVED
            for before, sut in zip(used, suts, strict=True)
        ]
        _close_readers(load)
        others = used[1:]
        return {
            "publish_us": used[0],
            "hear_us": sum(others) / len(others) if others else None,
        }

    def _measure_deliveries(
        self,
        load: LoadGenerator,
        suts: Sequence[ServerUnderTest],
        factors: Factors,
        rng: random.Random,
    ) -> Sample:
        room, transport = new_room(self.name), factors["transport"]
        urls = [self.url(sut=sut) for sut in suts]
        load.add_readers(
            make_protocol(transport, server, room)
            for server in endpoints(urls, factors["followers"])
        )
        spec = post_message(suts[0].url, room, _BYTES)
        costs = [sut.cost for sut in suts]
        return self._publish(load, spec, costs, factors["followers"], rng)

    def _publish(
        self,
        load: LoadGenerator,
        spec: RequestSpec,
        costs: Sequence[Cost],
        followers: int,
        rng: random.Random,
    ) -> Sample:
        used = -sum(cost.cpu_seconds() for cost in costs)
        transcript = run_workload(
            load, spec, self._times(followers, rng), patience=_PATIENCE_SECONDS
        )
        used += sum(cost.cpu_seconds() for cost in costs)
        return _sample(load, transcript, used)

    def _times(self, followers: int, rng: random.Random) -> list[float]:
        options = self.options
        count = min(_MAX_MESSAGES, max(_MIN_MESSAGES, options.deliveries // followers))
        return constant_arrivals(0.0, min(options.rate, options.deliveries / followers), count, rng)

    # --- the baseline ----------------------------------------------------------------------------

    def _measure_baseline(
        self, stack: ExitStack, load: LoadGenerator, followers: int, rng: random.Random
    ) -> Sample:
        process = MeasuredProcess([sys.executable, "-m", "benchmarks.method.baseline"])
        stack.callback(process.close)
        server = Endpoint(process.url)
        load.add_readers(BaselineProtocol(one) for one in endpoints([process.url], followers))
        cost = ProcessCost(process.pid)
        return self._publish(load, baseline_request(server), [cost], followers, rng)

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Return the cost of a delivery as a ratio to the baseline, from the same runs."""
        baselines = {c.factors["followers"]: c for c in cells if c.factors["transport"] == BASELINE}
        ratios = {
            _label(cell): {"cpu_us": interval_json(stats.bootstrap(values, self.options.seed))}
            for cell in cells
            if cell.factors["transport"] != BASELINE
            if (baseline := baselines.get(cell.factors["followers"]))
            if (values := ratios_by_run(cell, baseline, "cpu_us"))
        }
        growth = {
            transport: fitted
            for transport in [*self.options.transports, BASELINE]
            if (fitted := fit_growth(_costs_by_followers(cells, transport)))
        }
        self.notes += [f"{transport}: {_sentence(one)}" for transport, one in growth.items()]
        about = {**self.sut.describe(), "hub": self.hub_name}
        return {
            **{"against": BASELINE, "ratios": ratios, "growth": growth},
            **{"server": about, "notes": self.notes},
        }

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        return [
            Threshold(
                "a delivery to the most followers, of one to a thousand",
                _ratio_of_most(cells, transport),
                _MAX_GROWTH,
                of=transport,
            )
            for transport in self.options.transports
            if max(self.followers) > _THOUSAND in self.followers
        ]


# --- growth --------------------------------------------------------------------------------------


def endpoints(urls: Sequence[str], count: int) -> Iterator[Endpoint]:
    """Yield `count` endpoints, evenly spread over `urls`, from enough addresses of this machine.

    One address has 28 232 ports by default (ip_local_port_range), of which others are in use.  The
    whole of 127.0.0.0/8 is this machine.
    """
    known: dict[tuple[str, str], Endpoint] = {}
    for number in range(count):
        key = urls[number % len(urls)], f"127.0.0.{2 + number // _FOLLOWERS_PER_ADDRESS}"
        if key not in known:
            known[key] = Endpoint(key[0], source=key[1])
        yield known[key]


def fit_growth(costs: Mapping[int, float]) -> dict[str, Any]:
    """Fit `message + followers · follower` to the cost of a message, by its number of followers.

    Also return how much each number differs from that, as a share.  Empty if there are too few.
    """
    if len(costs) < _MIN_POINTS:
        return {}
    totals = {followers: followers * cost for followers, cost in costs.items()}
    message, follower = stats.relative_fit([(1, n) for n in totals], [*totals.values()])
    return {
        "message_us": short(message),
        "follower_us": short(follower),
        "residuals": {
            str(n): short(total / (message + n * follower) - 1) for n, total in totals.items()
        },
    }


def _costs_by_followers(cells: Sequence[Cell], transport: str) -> dict[int, float]:
    """Return the median cost of a delivery on one process, by the number of followers."""
    return {
        cell.factors["followers"]: cost
        for cell in cells
        if cell.factors["transport"] == transport and cell.factors["processes"] == 1
        if (cost := median_over_runs([cell], "cpu_us"))
    }


def _sentence(growth: Mapping[str, Any]) -> str:
    worst = max(growth["residuals"].items(), key=lambda one: abs(one[1]))
    return (
        f"a message costs {growth['message_us']:.3g} µs, and {growth['follower_us']:.3g} µs per "
        f"follower; the measured cost differs most with {int(worst[0]):,} followers: "
        f"{100 * worst[1]:+.0f} %"
    )


def _ratio_of_most(cells: Sequence[Cell], transport: str) -> float | None:
    """Return the median over runs of the cost with the most followers, divided by a thousand's."""
    by_number = {
        cell.factors["followers"]: cell
        for cell in cells
        if cell.factors["transport"] == transport and cell.factors["processes"] == 1
    }
    if _THOUSAND not in by_number:
        return None
    ratios = ratios_by_run(by_number[max(by_number)], by_number[_THOUSAND], "cpu_us")
    return median(ratios) if ratios else None


def _close_readers(load: LoadGenerator) -> None:
    for reader in load.readers:
        reader.close()
    load.readers.clear()


def _label(cell: Cell) -> str:
    factors = cell.factors
    processes = f", {factors['processes']} processes" if factors["processes"] > 1 else ""
    return f"{factors['transport']}, {factors['followers']:,}{processes}"


def _sample(load: LoadGenerator, transcript: Transcript, used: float) -> Sample:
    sample = transcript.sample(load)
    deliveries = len(sample.latencies)
    sample.latencies = []
    sample.measures = {"cpu_us": 1e6 * used / deliveries if deliveries else None}
    return sample


class BaselineProtocol(WebSocketProtocol):
    """Reads frames as a WebSocket client does, without a handshake."""

    def __init__(self, server: Endpoint) -> None:
        super().__init__(server, lambda cursor: "")

    def request(self) -> bytes:
        self._reset()
        return FOLLOW

    def receive_data(self, data: bytes, now: float) -> list[Update]:
        if not self.ready:
            if not data.startswith(READY):
                raise BadResponse(f"not the baseline server: {data[:20]!r}")
            self.ready, data = True, data.removeprefix(READY)
        updates: list[Update] = []
        for message in self._messages.feed(data):
            updates += self._receive_message(message)
        return updates


def baseline_request(server: Endpoint) -> RequestSpec:
    """Send the complete frame that the followers receive, with the same fields as ours."""
    fields = {
        **{"client": "benchmark", "name": "Ada", "text": filler_text(_BYTES), "via": "post"},
        **{"sent": None, "published": 1_795_439_365_420},
    }

    def request(id: str, number: int) -> bytes:
        event = encode(
            {"kind": "say", "cursor": f"f-{OFFSET_PLACEHOLDER.decode()}", "id": id, **fields}
        )
        return frame_header(len(event)) + event

    def ack(response: Response, id: str, number: int) -> str:
        return f"f-{response.check(200).body.decode()}"

    return RequestSpec(server, request, ack)


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(FanoutCost)))
