"""Estimate what many clients need: workers, Redis servers and bandwidth, from measured costs.

    a message    costs the worker that receives the POST, and each worker with readers of the room;
                 it costs Redis once, and once more for each of these workers
    a delivery   costs the worker of its reader
    a client     costs its worker memory and heartbeats, and the network some bytes, while idle

Pure: costs come from result files, assumptions from the command line; the model measures nothing.
It leaves out the limits of the network, nginx and TLS, a kernel that runs out of memory, machines
that fail, and peak hours.  Use the results of another machine with `--figures`.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, Self

from tabulate import tabulate

from benchmarks.method.results import find_file
from benchmarks.method.stats import relative_fit
from realtime.limits import Limits

REFERENCE = Path(__file__).parents[1] / "reference"
CLIENTS = (10_000, 1_000_000, 100_000_000)
_MINUTE = 60.0
_MEGABIT = 1e6 / 8  # in bytes
# The range of an assumption.  Outside of it results are meaningless and overflow a float.
_MIN, _MAX = 1e-6, 1e12
# Bootstrap resamples, and the share of them outside of each end of an interval.
_RESAMPLES, _OUTSIDE = 1000, 0.025
_PARTS = ("factors", "summary")  # of each cell
_FITTED = ("workers_us", "redis_us")


class ModelError(Exception):
    """A result file or an option is missing or invalid; the message says which."""


# --- measured costs ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IdleClientCost:
    """The cost of an idle client: CPU and bytes per minute, and the memory it holds."""

    cpu_ms: float
    memory_kib: float
    bytes_down: float


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs on one machine in microseconds of CPU, from linear fits of the measurements.

    A message costs its first worker `message_us`, each worker that receives it `hear_us`, Redis
    `redis_us`, and Redis again `announce_us` for each worker that receives it.
    """

    message_us: float
    hear_us: float
    delivery_us: float
    redis_us: float
    announce_us: float
    idle: Mapping[str, IdleClientCost]
    event_bytes: Mapping[str, float]  # down to a reader, by transport

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Derive the costs from the results of multi_worker, idle_cost and overhead.

        Raises `ModelError`.
        """
        multi_worker, idle_cost, overhead = (
            _cells(folder, name) for name in ("multi_worker", "idle_cost", "overhead")
        )
        fitted = _fit(multi_worker)
        if min(fitted) <= 0:
            raise ModelError("multi_worker.json: a cost is negative; measure on a quieter machine")
        message, hear, delivery, redis, announce = fitted
        return cls(
            message,
            hear,
            delivery,
            redis,
            announce,
            {
                cell["transport"]: IdleClientCost(
                    cell["cpu_ms"], cell["memory_kib"], cell["bytes_down"]
                )
                for cell in idle_cost
            },
            {
                cell["transport"]: cell["bytes_down"]
                for cell in sorted(overhead, key=lambda cell: -float(cell["rate"]))
                if cell["size"] == 100
            },
        )


def _cells(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the factors and medians of each cell of a result file."""
    return [
        {
            **cell["factors"],
            **{name: one["value"] for name, one in cell["summary"].items() if one},
        }
        for cell in _read(folder, kind)
    ]


def _read(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the cells of a result file."""
    path = find_file(folder, kind)
    try:
        cells: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
        if not all(isinstance(cell[part], dict) for cell in cells for part in _PARTS):
            raise TypeError("a cell is an object")
        return cells
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{path.name}: missing, or not a result of this benchmark") from error


# --- the fit -------------------------------------------------------------------------------------


def _fit(multi_worker: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the first five costs: what all cells of multi_worker fit best, by relative error."""
    workers = [_worker_terms(cell) for cell in multi_worker]
    redis = [_redis_terms(cell) for cell in multi_worker]
    try:
        return [
            *relative_fit(workers, [cell["workers_us"] for cell in multi_worker]),
            *relative_fit(redis, [cell["redis_us"] for cell in multi_worker]),
        ]
    except (ValueError, ZeroDivisionError) as error:
        raise ModelError(
            "multi_worker.json: it needs two different numbers of workers, and of readers per room"
        ) from error


def _worker_terms(cell: Mapping[str, float]) -> tuple[float, float, float]:
    """Return how often a message costs `message_us`, `hear_us` and `delivery_us`."""
    return 1, _receiving(cell), cell["readers"]


def _redis_terms(cell: Mapping[str, float]) -> tuple[float, float]:
    return 1, _receiving(cell)


def _receiving(cell: Mapping[str, float]) -> float:
    """Return the number of workers that receive a message: the readers are spread evenly."""
    return min(cell["workers"], cell["readers"])


def residuals(folder: Path, costs: Costs) -> str:
    """Return the table of what was measured and what the fit says.  Raises `ModelError`."""
    rows = []
    for cell in _cells(folder, "multi_worker"):
        message, hear, delivery = _worker_terms(cell)
        fitted = message * costs.message_us + hear * costs.hear_us + delivery * costs.delivery_us
        redis = costs.redis_us + hear * costs.announce_us
        rows.append(
            [
                *(_short(cell[name]) for name in ("workers", "readers")),
                *_compared(cell["workers_us"], fitted),
                *_compared(cell["redis_us"], redis),
            ]
        )
    names = ["measured, µs", "fitted, µs", "difference"]
    heads = [f"{who}: {name}" for who in ("workers", "Redis") for name in names]
    return _table(["workers", "readers per room", *heads], rows)


def _compared(measured: float, fitted: float) -> list[str]:
    return [_short(measured), _short(fitted), f"{100 * (measured / fitted - 1):+.0f} %"]


def intervals(folder: Path, seed: int = 1) -> list[tuple[float, float]]:
    """Return the 95 % intervals of the fitted costs; none if the file has fewer than two runs.

    A bootstrap: runs are drawn again, for each cell, and their medians are fitted.
    """
    cells = [
        (cell["factors"], [run for run in cell.get("runs", []) if run["workers_us"]])
        for cell in _read(folder, "multi_worker")
    ]
    if min(len(runs) for _, runs in cells) < 2:
        return []
    rng = random.Random(seed)
    fits = []
    for _ in range(_RESAMPLES):
        drawn = [(factors, rng.choices(runs, k=len(runs))) for factors, runs in cells]
        fits.append(
            _fit(
                [
                    {**factors, **{n: median(run[n] for run in runs) for n in _FITTED}}
                    for factors, runs in drawn
                ]
            )
        )
    outside = round(_RESAMPLES * _OUTSIDE)
    return [
        (ordered[outside], ordered[-1 - outside])
        for ordered in map(sorted, zip(*fits, strict=True))
    ]


# --- assumptions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assumptions:
    """How people use the chat, and how much of a machine may be in use."""

    room: float = 50.0  # readers per room
    rate: float = 1.0  # messages per client and minute
    busy: float = 0.5  # share of a core; the rest is reserved for peaks
    memory: float = 4.0  # GiB for the clients of one worker
    open: float = float(Limits().connections)  # connections that a worker accepts
    cores: float = 8.0  # per machine, one worker each
    transport: str = "websocket"
    together: bool = False  # nginx routes all readers of a room to one worker


MEANING = {
    "room": "readers per room",
    "rate": "messages per client and minute, of 100 bytes",
    "busy": "share of a core that a worker or a Redis server may use on average",
    "memory": "GiB for the clients of one worker",
    "open": "connections that one worker accepts (`realtime --connections`)",
    "cores": "cores per machine, one worker each",
    "transport": "the transport of all readers",
    "together": "route all readers of a room to one worker (by a hash of the room)",
}


# --- the model -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What a number of clients needs."""

    clients: int
    messages: float  # a second
    deliveries: float  # a second
    receiving_workers: float  # per message: workers that receive it from Redis
    cores: float  # of CPU that all workers use
    workers: int
    limit: str  # what determines the number of workers: CPU, memory or connections
    machines: int  # for the workers
    redis: int
    connections: int  # of all workers to all Redis servers
    megabits: float  # a second, down


def plan(clients: int, costs: Costs, assumed: Assumptions) -> Plan:
    """Start with one worker, and add workers until their CPU, memory and connections suffice.

    More workers raise the total CPU: the readers of a room are spread over more workers, and each
    of them receives all messages of the room.  A room of 50 readers is at 50 workers at most, so
    the loop ends.
    """
    messages = clients * assumed.rate / _MINUTE
    deliveries = messages * assumed.room
    idle = costs.idle[assumed.transport]
    fixed = deliveries * costs.delivery_us + clients * idle.cpu_ms * 1000 / _MINUTE
    needed = {
        "CPU": 1,
        "memory": math.ceil(clients * idle.memory_kib / (assumed.memory * 1024**2)),
        "connections": math.ceil(clients / assumed.open),
    }
    workers = 1
    while True:
        receiving = spread(workers, assumed.room, together=assumed.together)
        used = (messages * (costs.message_us + receiving * costs.hear_us) + fixed) / 1e6
        needed["CPU"] = max(math.ceil(used / assumed.busy), 1)
        limit = max(needed, key=lambda name: needed[name])
        if needed[limit] <= workers:
            break
        workers = needed[limit]
    redis = messages * (costs.redis_us + receiving * costs.announce_us) / 1e6
    servers = max(math.ceil(redis / assumed.busy), 1)
    down = deliveries * costs.event_bytes[assumed.transport]
    down += clients * idle.bytes_down / _MINUTE
    connections = 3 * workers * servers
    return Plan(
        clients,
        messages,
        deliveries,
        receiving,
        used,
        workers,
        limit,
        math.ceil(workers / assumed.cores),
        servers,
        connections,
        down / _MEGABIT,
    )


@dataclass(frozen=True, slots=True)
class SingleRoom:
    """All clients in one room: the cost of one message, and the maximum rate of messages."""

    clients: int
    workers: int
    worker_ms: float  # of CPU per message, at each worker
    redis_ms: float  # of CPU per message, at the Redis server of this room
    max_rate: float  # messages per second
    limit: str  # what saturates first: workers or Redis


def single_room(clients: int, costs: Costs, assumed: Assumptions) -> SingleRoom:
    """Put all clients in one room, at the fewest workers that accept them.

    More workers reduce the work of each worker and increase that of Redis: a room is in one slot,
    so one Redis server sends each message to all workers.  More machines do not reduce that.
    """
    workers = math.ceil(clients / assumed.open)
    worker = costs.message_us + costs.hear_us + clients / workers * costs.delivery_us
    redis = costs.redis_us + workers * costs.announce_us
    used, limit = max((worker, "workers"), (redis, "Redis"))
    return SingleRoom(
        clients, workers, worker / 1000, redis / 1000, assumed.busy * 1e6 / used, limit
    )


def spread(workers: int, room: float, *, together: bool = False) -> float:
    """Return the expected number of workers with readers of a room of `room` readers.

    Each reader connects to a random worker.  A worker has none of them with probability
    (1 - 1/w)^r.  Use logarithms: with very many workers 1 - 1/w rounds to 1.
    """
    if together or workers == 1:
        return 1.0
    return -workers * math.expm1(room * math.log1p(-1 / workers))


# --- tables and command line ---------------------------------------------------------------------


def measured(folder: Path) -> str:
    """Return the table of `multi_worker.json`.  Raises `ModelError`."""
    names = {
        "workers": "workers",
        "readers": "readers per room",
        "per_second": "messages/s",
        "deliveries": "deliveries/s",
        "workers_us": "workers' CPU per message, µs",
        "redis_us": "Redis's CPU per message, µs",
        "opened": "connections opened/s",
    }
    cells = _cells(folder, "multi_worker")
    rows = [[_short(cell[name]) for name in names] for cell in cells]
    return _table([*names.values()], rows)


def figure_tables(folder: Path, costs: Costs) -> dict[str, str]:
    """Return the tables of docs/scale.md about the measurement and the fit, by name."""
    return {
        "measured": measured(folder),
        "costs": _table(["measured cost", "µs of CPU"], _costs(costs, intervals(folder))),
        "residuals": residuals(folder, costs),
    }


def tables(costs: Costs, assumed: Assumptions, clients: Iterable[int] = CLIENTS) -> dict[str, str]:
    """Return the tables of docs/scale.md that the model makes, by name."""
    clients = list(clients)
    plans = [plan(number, costs, assumed) for number in clients]
    bandwidths = [
        [name, *(f"{_megabits(plan(n, costs, replace(assumed, transport=name)))}" for n in clients)]
        for name in costs.idle
        if name in costs.event_bytes
    ]
    other_routing = replace(assumed, together=not assumed.together)
    return {
        "assumptions": _table(
            ["assumption", "value", "meaning"],
            [[f"--{name}", _format(getattr(assumed, name)), MEANING[name]] for name in MEANING],
        ),
        "plan": _table(["clients", *(f"{one:,}" for one in clients)], _plans(plans)),
        "bandwidth": _table(["Mbit/s down, in total", *(f"{n:,}" for n in clients)], bandwidths),
        "single_room": _table(
            ["clients in one room", *(f"{one:,}" for one in clients)],
            _single_rooms([single_room(number, costs, assumed) for number in clients]),
        ),
        "together": _table(
            [
                "all readers of a room at one worker"
                if other_routing.together
                else "readers at any worker"
            ]
            + [f"{one:,}" for one in clients],
            _plans([plan(number, costs, other_routing) for number in clients]),
        ),
    }


def _format(value: float | bool | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _costs(costs: Costs, ends: Sequence[tuple[float, float]]) -> list[list[str]]:
    rows = [
        ("a message, at the worker that receives the POST", costs.message_us),
        ("a message, at each worker that receives it from Redis", costs.hear_us),
        ("a delivery", costs.delivery_us),
        ("a message, in Redis", costs.redis_us),
        ("a message, in Redis, for each worker that receives it", costs.announce_us),
    ]
    written = [f" [{low:.3g}–{high:.3g}]" for low, high in ends] or [""] * len(rows)
    return [
        [name, f"{value:.3g}{interval}"]
        for (name, value), interval in zip(rows, written, strict=True)
    ]


def _plans(plans: Sequence[Plan]) -> list[list[str]]:
    rows: dict[str, list[str]] = {
        "messages per second": [_short(one.messages) for one in plans],
        "deliveries per second": [_short(one.deliveries) for one in plans],
        "workers that receive a message": [f"{one.receiving_workers:.1f}" for one in plans],
        "CPU of all workers, in cores": [_short(one.cores) for one in plans],
        "workers, one core each": [f"{one.workers:,} ({one.limit})" for one in plans],
        "machines for the workers": [f"{one.machines:,}" for one in plans],
        "Redis servers, one core each": [f"{one.redis:,}" for one in plans],
        "connections to Redis": [f"{one.connections:,}" for one in plans],
        "Mbit/s down": [_megabits(one) for one in plans],
    }
    return [[name, *values] for name, values in rows.items()]


def _single_rooms(rooms: Sequence[SingleRoom]) -> list[list[str]]:
    rows: dict[str, list[str]] = {
        "workers that accept them": [f"{one.workers:,}" for one in rooms],
        "ms of CPU per message, at each worker": [_short(one.worker_ms) for one in rooms],
        "ms of CPU per message, in Redis": [_short(one.redis_ms) for one in rooms],
        "maximum messages per second": [f"{_short(one.max_rate)} ({one.limit})" for one in rooms],
    }
    return [[name, *values] for name, values in rows.items()]


def _megabits(one: Plan) -> str:
    return _short(one.megabits)


def _short(value: float) -> str:
    """Round to three significant digits; the model is not more precise."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def rewrite(text: str, found: Mapping[str, str]) -> str:
    """Replace each table of a document, between ``<!-- name -->`` and ``<!-- / -->``."""
    for name, table in found.items():
        begin, end = f"<!-- {name} -->\n", "<!-- / -->"
        before, _, rest = text.partition(begin)
        if rest:
            text = f"{before}{begin}\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


def main(arguments: Sequence[str]) -> int:
    """Run ``python -m benchmarks.multi_worker --model``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.multi_worker --model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--figures", type=Path, default=REFERENCE, metavar="FOLDER", help="folder of result files"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, metavar="N")
    for one in fields(Assumptions):
        kind: dict[str, Any] = {"type": type(one.default), "metavar": one.name.upper()}
        if one.default is False:
            kind = {"action": "store_true"}
        parser.add_argument(f"--{one.name}", **kind, default=one.default, help=MEANING[one.name])
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="update the tables in this document"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    assumed = Assumptions(**{one.name: getattr(options, one.name) for one in fields(Assumptions)})
    try:
        _check(options)
        costs = Costs.read(options.figures)
        _output(options, costs, assumed)
    except ModelError as error:
        print(f"capacity model: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"capacity model: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _output(options: argparse.Namespace, costs: Costs, assumed: Assumptions) -> None:
    _check_transport(costs, assumed.transport)
    if options.json:
        print(json.dumps(_data(options.clients, costs, assumed)))
        return
    found = {
        **figure_tables(options.figures, costs),
        **tables(costs, assumed, options.clients),
    }
    if options.write:
        options.write.write_text(rewrite(options.write.read_text(), found))
    else:
        print("\n\n".join(found.values()))


def _data(clients: Sequence[int], costs: Costs, assumed: Assumptions) -> dict[str, Any]:
    """Return the content of the tables; the field names are public."""
    rooms = [asdict(single_room(number, costs, assumed)) for number in clients]
    plans = [asdict(plan(number, costs, assumed)) for number in clients]
    return {
        "assumptions": asdict(assumed),
        "costs": _rename(asdict(costs), idle="silence"),
        "plans": [_rename(one, receiving_workers="told") for one in plans],
        "halls": [_rename(one, max_rate="most") for one in rooms],
    }


def _rename(data: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in data.items()}


def _check(options: argparse.Namespace) -> None:
    ranges = {
        "room": (1, _MAX),
        "rate": (0, _MAX),
        "busy": (_MIN, 1),
        "memory": (_MIN, _MAX),
        "open": (1, _MAX),
        "cores": (1, _MAX),
        "clients": (1, _MAX),
    }
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        values = value if name == "clients" else [value]
        if not all(low <= one <= high for one in values):
            raise ModelError(f"--{name}: must be from {low:g} to {high:g}")


def _check_transport(costs: Costs, transport: str) -> None:
    known = sorted(costs.idle.keys() & costs.event_bytes.keys())
    if transport not in known:
        raise ModelError(f"--transport: use one of {', '.join(known)}")
