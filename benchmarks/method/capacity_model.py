"""What many clients take: workers, servers of Redis, and bandwidth, from what was measured here.

    a message    costs the worker that is spoken to, and every worker where somebody reads the room;
                 and Redis once, and once more for each worker that is told
    a delivery   costs the worker of its reader
    a client     costs its worker memory and a heartbeat, and its network some bytes, in silence

Pure: figures come from result files, assumptions from the command line, and nothing is measured.
Not in it: the network's own limits, nginx and TLS, a kernel that is short of memory, machines that
fail, and hours of the day.  Another machine's figures take the place of these: `--figures`.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from tabulate import tabulate

from benchmarks.method.results import find_file
from realtime.limits import Limits

REFERENCE = Path(__file__).parents[1] / "reference"
CLIENTS = (10_000, 1_000_000, 100_000_000)
_MINUTE = 60.0
_MEGABIT = 1e6 / 8  # in bytes; as networks are sold
# Of what may be assumed.  Beyond it nothing means anything, and figures outgrow a float.
_LEAST, _MOST = 1e-6, 1e12


class ModelError(Exception):
    """The figures are not there; the message says which."""


# --- what was measured ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Silence:
    """What a client costs while nothing is said: per minute, and KiB that it holds."""

    cpu_ms: float
    memory_kib: float
    bytes_down: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Of this machine; microseconds of CPU, by straight lines through what was measured.

    A message costs the workers `message_us` and, for each worker that hears it, `hear_us`; Redis
    `redis_us`, and `announce_us` for each worker that hears it.
    """

    message_us: float
    hear_us: float
    delivery_us: float
    redis_us: float
    announce_us: float
    silence: Mapping[str, Silence]
    event_bytes: Mapping[str, float]  # down to a reader, by transport

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Derive the costs from the results of multi_worker, idle_cost and overhead.

        Raises `ModelError`.
        """
        scale, silence, overhead = (
            _cells(folder, name) for name in ("multi_worker", "idle_cost", "overhead")
        )
        few, many = (pick(cell["readers"] for cell in scale) for pick in (min, max))
        least = min(cell["workers"] for cell in scale)
        if few == many:
            raise ModelError("multi_worker.json: it needs few readers of a room and many")
        # Where a room has many readers, there are some at every worker.
        told = [cell for cell in scale if cell["readers"] == many]
        message, hear = _line([(cell["workers"], cell["workers_us"]) for cell in told])
        redis, announce = _line([(cell["workers"], cell["redis_us"]) for cell in told])
        cheap, dear = (
            cell["workers_us"]
            for readers in (few, many)
            for cell in scale
            if (cell["workers"], cell["readers"]) == (least, readers)
        )
        delivery = (dear - cheap) / (many - few)
        return cls(
            message - many * delivery,
            hear,
            delivery,
            redis,
            announce,
            {
                cell["transport"]: Silence(cell["cpu_ms"], cell["memory_kib"], cell["bytes_down"])
                for cell in silence
            },
            {
                cell["transport"]: cell["bytes_down"]
                for cell in sorted(overhead, key=lambda cell: -float(cell["rate"]))
                if cell["size"] == 100
            },
        )


def _cells(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Read the factors and medians of a result file."""
    path = find_file(folder, kind)
    try:
        cells = json.loads(path.read_text())["cells"]
        return [
            {
                **cell["factors"],
                **{name: one["value"] for name, one in cell["summary"].items() if one},
            }
            for cell in cells
        ]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{path.name}: no result of its benchmark") from error


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Give height and slope of the straight line with the least squares."""
    count = len(points)
    x, y = (sum(values) / count for values in zip(*points, strict=True))
    spread = sum((one - x) ** 2 for one, _ in points)
    if not spread:
        raise ModelError("multi_worker.json: it needs more than one number of workers")
    slope = sum((one - x) * (other - y) for one, other in points) / spread
    return y - slope * x, slope


# --- what is assumed -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assumptions:
    """How people use it, and how full a machine may be."""

    room: float = 50.0  # readers of a room
    rate: float = 1.0  # messages that each client says in a minute
    busy: float = 0.5  # of a core: the rest is for the minute that is not like the others
    memory: float = 4.0  # GiB that the clients of one worker may fill
    open: float = float(Limits().connections)  # clients that a worker lets in
    cores: float = 8.0  # of a machine, one for each worker
    transport: str = "websocket"
    together: bool = False  # nginx leads all readers of a room to one worker


MEANING = {
    "room": "readers of a room",
    "rate": "messages that each client says in a minute, of 100 bytes",
    "busy": "share of a core that a worker or a Redis may use on average",
    "memory": "GiB that the clients of one worker may fill",
    "open": "clients that one worker lets in (`realtime --connections`)",
    "cores": "of a machine, each of which has a worker",
    "transport": "by which everybody reads",
    "together": "all readers of a room are led to one worker (a hash of the room)",
}


# --- what it takes -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many clients take; `told` is the number of workers that hear a message."""

    clients: int
    messages: float  # a second
    deliveries: float  # a second
    told: float
    cores: float  # of CPU that all workers use
    workers: int
    limit: str  # what decides how many workers: CPU, memory or connections
    machines: int  # for the workers
    redis: int
    connections: int  # of all workers to all servers of Redis
    megabits: float  # a second, down


def plan(clients: int, costs: Costs, assumed: Assumptions) -> Plan:
    """Begin with one worker, and take more until they can bear it.

    More workers make it no cheaper: the readers of a room are spread over more of them, and each
    hears what is said there.  But a room of 50 is never at more than 50, so it comes to an end.
    """
    messages = clients * assumed.rate / _MINUTE
    deliveries = messages * assumed.room
    silence = costs.silence[assumed.transport]
    still = deliveries * costs.delivery_us + clients * silence.cpu_ms * 1000 / _MINUTE
    needed = {
        "CPU": 1,
        "memory": math.ceil(clients * silence.memory_kib / (assumed.memory * 1024**2)),
        "connections": math.ceil(clients / assumed.open),
    }
    workers = 1
    while True:
        told = spread(workers, assumed.room, together=assumed.together)
        used = (messages * (costs.message_us + told * costs.hear_us) + still) / 1e6
        needed["CPU"] = max(math.ceil(used / assumed.busy), 1)
        limit = max(needed, key=lambda name: needed[name])
        if needed[limit] <= workers:
            break
        workers = needed[limit]
    redis = messages * (costs.redis_us + told * costs.announce_us) / 1e6
    servers = max(math.ceil(redis / assumed.busy), 1)
    down = deliveries * costs.event_bytes[assumed.transport]
    down += clients * silence.bytes_down / _MINUTE
    connections = 3 * workers * servers
    return Plan(
        clients,
        messages,
        deliveries,
        told,
        used,
        workers,
        limit,
        math.ceil(workers / assumed.cores),
        servers,
        connections,
        down / _MEGABIT,
    )


@dataclass(frozen=True, slots=True)
class Hall:
    """One room with everybody in: what one message costs, and how many there may be a second."""

    clients: int
    workers: int
    worker_ms: float  # of CPU, at each worker that has its share of the readers
    redis_ms: float  # of CPU, at the one server that has the room
    most: float  # messages a second
    limit: str  # who is busy first: workers or Redis


def hall(clients: int, costs: Costs, assumed: Assumptions) -> Hall:
    """All in one room, at as few workers as let them in.

    More workers take it from each other, and give it to Redis: a room is in one slot, so one server
    tells each of them.  No number of machines makes that less.
    """
    workers = math.ceil(clients / assumed.open)
    worker = costs.message_us + costs.hear_us + clients / workers * costs.delivery_us
    redis = costs.redis_us + workers * costs.announce_us
    used, limit = max((worker, "workers"), (redis, "Redis"))
    return Hall(clients, workers, worker / 1000, redis / 1000, assumed.busy * 1e6 / used, limit)


def spread(workers: int, room: float, *, together: bool = False) -> float:
    """At how many workers the readers of a room are, if each goes to any of them.

    A worker has none of them with the chance (1 - 1/w)^r: by its logarithm, since with very many
    workers 1 - 1/w is 1 to a float.
    """
    if together or workers == 1:
        return 1.0
    return -workers * math.expm1(room * math.log1p(-1 / workers))


# --- saying it -----------------------------------------------------------------------------------


def measured(folder: Path) -> str:
    """The table of `multi_worker.json`; raises `ModelError`."""
    names = {
        "workers": "workers",
        "readers": "readers of a room",
        "per_second": "messages/s",
        "deliveries": "deliveries/s",
        "workers_us": "workers' CPU per message, µs",
        "redis_us": "Redis's CPU per message, µs",
        "opened": "connections opened/s",
    }
    cells = _cells(folder, "multi_worker")
    rows = [[_short(cell[name]) for name in names] for cell in cells]
    return _table([*names.values()], rows)


def tables(costs: Costs, assumed: Assumptions, clients: Iterable[int] = CLIENTS) -> dict[str, str]:
    """All tables of docs/scale.md that the model makes, by name."""
    clients = list(clients)
    plans = [plan(number, costs, assumed) for number in clients]
    others = [
        [name, *(f"{_megabits(plan(n, costs, replace(assumed, transport=name)))}" for n in clients)]
        for name in costs.silence
        if name in costs.event_bytes
    ]
    led = replace(assumed, together=not assumed.together)
    return {
        "assumptions": _table(
            ["assumption", "is", "means"],
            [[f"--{name}", _said(getattr(assumed, name)), MEANING[name]] for name in MEANING],
        ),
        "costs": _table(["measured here", "µs of CPU"], _costs(costs)),
        "plan": _table(["clients", *(f"{one:,}" for one in clients)], _plans(plans)),
        "bandwidth": _table(["Mbit/s down, all together", *(f"{n:,}" for n in clients)], others),
        "hall": _table(
            ["one room with", *(f"{one:,}" for one in clients)],
            _halls([hall(number, costs, assumed) for number in clients]),
        ),
        "together": _table(
            ["readers of a room at one worker" if led.together else "anywhere"]
            + [f"{one:,}" for one in clients],
            _plans([plan(number, costs, led) for number in clients]),
        ),
    }


def _said(value: float | bool | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _costs(costs: Costs) -> list[list[str]]:
    rows = [
        ("a message, at the worker that is spoken to", costs.message_us),
        ("a message, at each worker that hears it", costs.hear_us),
        ("a delivery", costs.delivery_us),
        ("a message, in Redis", costs.redis_us),
        ("a message, in Redis, for each worker that hears it", costs.announce_us),
    ]
    return [[name, f"{value:.3g}"] for name, value in rows]


def _plans(plans: Sequence[Plan]) -> list[list[str]]:
    rows: dict[str, list[str]] = {
        "messages a second": [_short(one.messages) for one in plans],
        "deliveries a second": [_short(one.deliveries) for one in plans],
        "workers that hear a message": [f"{one.told:.1f}" for one in plans],
        "cores that the workers keep busy": [_short(one.cores) for one in plans],
        "workers, a core each": [f"{one.workers:,} ({one.limit})" for one in plans],
        "machines for the workers": [f"{one.machines:,}" for one in plans],
        "servers of Redis, a core each": [f"{one.redis:,}" for one in plans],
        "connections to Redis": [f"{one.connections:,}" for one in plans],
        "Mbit/s down": [_megabits(one) for one in plans],
    }
    return [[name, *values] for name, values in rows.items()]


def _halls(halls: Sequence[Hall]) -> list[list[str]]:
    rows: dict[str, list[str]] = {
        "workers that let them in": [f"{one.workers:,}" for one in halls],
        "ms of CPU for a message, at each worker": [_short(one.worker_ms) for one in halls],
        "ms of CPU for a message, in Redis": [_short(one.redis_ms) for one in halls],
        "messages a second, at most": [f"{_short(one.most)} ({one.limit})" for one in halls],
    }
    return [[name, *values] for name, values in rows.items()]


def _megabits(one: Plan) -> str:
    return _short(one.megabits)


def _short(value: float) -> str:
    """Three digits: nobody knows more."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def rewrite(text: str, found: Mapping[str, str]) -> str:
    """Put each table in its place in a document: between ``<!-- name -->`` and ``<!-- / -->``."""
    for name, table in found.items():
        begin, end = f"<!-- {name} -->\n", "<!-- / -->"
        before, _, rest = text.partition(begin)
        if rest:
            text = f"{before}{begin}\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


def main(arguments: Sequence[str]) -> int:
    """``python -m benchmarks.multi_worker --model``; the result is its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.multi_worker --model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--figures", type=Path, default=REFERENCE, metavar="FOLDER", help="with the result files"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, metavar="N")
    for one in fields(Assumptions):
        kind: dict[str, Any] = {"type": type(one.default), "metavar": one.name.upper()}
        if one.default is False:
            kind = {"action": "store_true"}
        parser.add_argument(f"--{one.name}", **kind, default=one.default, help=MEANING[one.name])
    parser.add_argument("--write", type=Path, metavar="FILE", help="renew the tables in it")
    parser.add_argument("--json", action="store_true", help="the plans, for a program")
    options = parser.parse_args(arguments)
    assumed = Assumptions(**{one.name: getattr(options, one.name) for one in fields(Assumptions)})
    try:
        _check(options)
        costs = Costs.read(options.figures)
        _tell(options, costs, assumed)
    except ModelError as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"scale: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _tell(options: argparse.Namespace, costs: Costs, assumed: Assumptions) -> None:
    _check_transport(costs, assumed.transport)
    if options.json:
        print(json.dumps(_data(options.clients, costs, assumed)))
        return
    found = {"measured": measured(options.figures), **tables(costs, assumed, options.clients)}
    if options.write:
        options.write.write_text(rewrite(options.write.read_text(), found))
    else:
        print("\n\n".join(found.values()))


def _data(clients: Sequence[int], costs: Costs, assumed: Assumptions) -> dict[str, Any]:
    """All that the tables say, for a program."""
    return {
        "assumptions": asdict(assumed),
        "costs": asdict(costs),
        "plans": [asdict(plan(number, costs, assumed)) for number in clients],
        "halls": [asdict(hall(number, costs, assumed)) for number in clients],
    }


def _check(options: argparse.Namespace) -> None:
    ranges = {
        "room": (1, _MOST),
        "rate": (0, _MOST),
        "busy": (_LEAST, 1),
        "memory": (_LEAST, _MOST),
        "open": (1, _MOST),
        "cores": (1, _MOST),
        "clients": (1, _MOST),
    }
    for name, (least, most) in ranges.items():
        said = getattr(options, name)
        values = said if name == "clients" else [said]
        if not all(least <= value <= most for value in values):
            raise ModelError(f"--{name}: from {least:g} to {most:g}")


def _check_transport(costs: Costs, transport: str) -> None:
    known = sorted(costs.silence.keys() & costs.event_bytes.keys())
    if transport not in known:
        raise ModelError(f"--transport: say one of {', '.join(known)}")
