"""Invented result files in the format of the benchmarks: plausible values and all special cases."""

import json
import math
import random
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.method.results import TRANSPORTS, Result, parse

Json = dict[str, Any]

HOSTILE = '</script><b onclick="x">&amp;\x00\x1b[31m\u202e\ud800<!--'
ONE_WAY = {"none": 0.3, "100 ms": 100.0}


def result(kind: str, **changes: Any) -> Json:
    """A result file of `kind`; `changes` replace what is at its top."""
    return {**_frame(kind), **KINDS[kind](), **changes}


def parsed(kind: str, **changes: Any) -> Result:
    return parse(result(kind, **changes), f"{kind}.json")


def save(folder: Path, *results: Json) -> list[Path]:
    """Write them as files, named by number and kind."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for place, one in enumerate(results):
        path = folder / f"{place}-{one['benchmark']}.json"
        path.write_text(json.dumps(one, indent=1), "utf-8")
        paths.append(path)
    return paths


def cell(
    factors: Json, middle: Mapping[str, float | None], theory: Json | None = None, runs: int = 5
) -> Json:
    """A cell with runs around `middle`; the same factors always give the same runs."""
    rng = random.Random(str(sorted(factors.items())))
    noisy = [
        {n: None if m is None else m * rng.uniform(0.93, 1.08) for n, m in middle.items()}
        for _ in range(runs)
    ]
    summary = {name: _summary([run[name] for run in noisy]) for name in middle}
    return {"factors": factors, "runs": noisy, "summary": summary, "theory": theory or {}}


def _summary(values: Iterable[float | None]) -> Json | None:
    found = [value for value in values if value is not None]
    if not found:
        return None
    return {"value": statistics.median(found), "low": min(found), "high": max(found)}


def _frame(kind: str) -> Json:
    return {
        "benchmark": kind,
        "realtime": "0.1.0",
        "started": "2026-11-23T08:20:00+00:00",
        "seconds": 123.4,
        "complete": True,
        "seed": 7,
        "settings": {"transports": list(TRANSPORTS), "runs": 5, "rate": 10.0},
        "machine": {
            "cpu": "Example 9000 @ 3.0 GHz",
            "cores": 4,
            "memory_bytes": 16e9,
            "system": "Linux 6.1",
            "python": "3.11.7",
        },
        "versions": {"tornado": "6.6.1", "redis": "8.1.0"},
        "server": {"hub": "redis, spawned", "version": "0.1.0"},
        "correctness": {
            "acknowledged": 1200,
            "deliveries": 7200,
            "lost": 0,
            "doubled": 0,
            "misplaced": 0,
            "gaps": 0,
        },
        "generator": {
            "late_p99_ms": 0.3,
            "late_max_ms": 2.1,
            "deaf_max_ms": 1.7,
            "cpu_share": 0.21,
        },
        "notes": ["Loopback: the network costs nothing unless a delay is added."],
    }


def _units(**units: str) -> Json:
    return {name: {"unit": unit, "label": f"label of {name}"} for name, unit in units.items()}


def _latency() -> Json:
    return {
        "measures": _units(p50="ms", p90="ms", p99="ms", max="ms"),
        "factors": ["transport", "network", "rate"],
        "cells": [_delays(t, network) for network in ONE_WAY for t in TRANSPORTS],
    }


def _delays(transport: str, network: str) -> Json:
    """Short polling waits half an interval of 500 ms; long polling sometimes misses a request."""
    base = ONE_WAY[network] + 1 + 0.2 * TRANSPORTS.index(transport)
    spread = {"short_polling": 500.0, "long_polling": 2 * ONE_WAY[network] + 1}.get(transport, 0.8)
    points = [(n / 60, base + spread * (n / 60) ** (1 if spread > 100 else 3)) for n in range(61)]
    points.append((1.0, points[-1][1] * 1.6))
    at = dict(points[:-1])
    middle = {"p50": at[0.5], "p90": at[0.9], "p99": points[59][1], "max": points[-1][1]}
    factors = {"transport": transport, "network": network, "rate": "10/s"}
    found = cell(factors, middle, {"p50": ONE_WAY[network] + spread / 2})
    found["ecdf"] = [[ms, share] for share, ms in points]
    if transport == "short_polling":
        found["theory_ecdf"] = [[ONE_WAY[network], 0.0], [ONE_WAY[network] + 500, 1.0]]
    return found


def _poll_gap() -> Json:
    cells = []
    for network, one_way in ONE_WAY.items():
        for connection, trips in [("kept", 2), ("fresh", 4)]:
            for rate in (0.5, 2.0, 10.0, 50.0):
                blind = trips * one_way / 1000
                at_once = 1 / (1 + rate * blind)
                mean = one_way + 1000 * blind * (1 - math.exp(-rate * blind)) / 2
                factors = {"network": network, "connection": connection, "rate": rate}
                theory = {"mean": mean, "at_once": at_once}
                cells.append(cell(factors, {"mean": mean * 1.05, "at_once": at_once * 0.9}, theory))
    return {
        "measures": _units(mean="ms", at_once="share"),
        "factors": ["network", "connection", "rate"],
        "cells": cells,
    }


def _overhead() -> Json:
    down = dict(zip(TRANSPORTS, (620, 410, 310, 70, 6, 4, 40, 16, 34), strict=True))
    up = dict(zip(TRANSPORTS, (900, 350, 0, 0, 0, 0, 0, 0, 33), strict=True))
    cells = []
    for size in (20, 200, 2000):
        for t in TRANSPORTS:
            middle: dict[str, float | None] = {
                "bytes_up": up[t],
                "bytes_down": down[t] + size + 200,
                "requests": 2.5 if t == "short_polling" else float(up[t] > 0),
                "segments": 2.2,
            }
            theory = {"bytes_up": up[t] * 0.98, "bytes_down": down[t] + size + 199, "requests": 1}
            cells.append(cell({"transport": t, "size": size, "rate": 1.0}, middle, theory))
    units = _units(bytes_up="bytes", bytes_down="bytes", requests="requests", segments="segments")
    return {"measures": units, "factors": ["transport", "size", "rate"], "cells": cells}


def _compression() -> Json:
    cells = []
    for peer, down in (("realtime websocket", 295), ("realtime websocket deflate", 213)):
        for followers in (1, 100):
            middle = {"bytes_down": down, "cpu_us": 1600 / followers}
            cells.append(cell({"peer": peer, "followers": followers}, middle))
    units = _units(bytes_down="B", cpu_us="µs")
    return {"measures": units, "factors": ["peer", "followers"], "cells": cells}


def _idle_cost() -> Json:
    up = (110_000, 850, 0, 0, 0, 24, 24, 28, 132)
    down = (90_000, 700, 40, 12, 4, 8, 20, 12, 132)
    requests = (120, 2.4, 0, 0, 0, 0, 0, 0, 0)
    cells = []
    for place, t in enumerate(TRANSPORTS):
        middle: dict[str, float | None] = {
            "bytes_up": up[place],
            "bytes_down": down[place],
            "requests": requests[place],
            "cpu_ms": 30 / (1 + 4 * place),
            "memory_kib": None if t == "short_polling" else 20 + place,
        }
        theory = {"bytes_up": up[place], "bytes_down": down[place], "requests": requests[place]}
        cells.append(cell({"transport": t}, middle, theory))
    units = _units(
        bytes_up="bytes", bytes_down="bytes", requests="requests", cpu_ms="ms", memory_kib="KiB"
    )
    return {"measures": units, "factors": ["transport"], "cells": cells}


def _fanout() -> Json:
    cells = []
    for place, t in enumerate(TRANSPORTS):
        for n in (1, 100, 1000):
            cost = 45 - 5 * place
            middle = {
                "first_ms": 0.8 + 0.1 * place,
                "last_ms": 1 + 0.1 * place + n * cost / 1000,
                "cpu_us": cost + 200 / n,
            }
            cells.append(cell({"transport": t, "followers": n}, middle))
    return {
        "measures": _units(first_ms="ms", last_ms="ms", cpu_us="µs"),
        "factors": ["transport", "followers"],
        "cells": cells,
    }


def _capacity() -> Json:
    most = dict(zip(TRANSPORTS, (400, 1200, 2500, 3100, 3200, 4000, 3900, 3800, 300), strict=True))
    cells = [
        cell({"transport": t, "clients": n}, {"p99": 5 + 95 * (n / most[t]) ** 3})
        for t in TRANSPORTS
        for n in (100, 500, 1000, 2000, 4000)
    ]
    capacity = {
        t: {"value": n, "low": n * 0.9, "high": n * 1.1, "reached": t != "websocket"}
        for t, n in most.items()
    }
    return {
        "measures": _units(p99="ms"),
        "factors": ["transport", "clients"],
        "cells": cells,
        "bound_ms": 100,
        "capacity": capacity,
    }


def _slow_reader() -> Json:
    cells = []
    for place, t in enumerate(TRANSPORTS):
        streams = place > 1
        middle = {
            "server_kib": 64 + 8.0 * place,
            "kernel_kib": 2500.0 if streams else None,
            "others_p99": 3 + 0.2 * place,
            "closed_s": 10.1 if streams else None,
        }
        cells.append(cell({"transport": t}, middle))
    units = _units(server_kib="KiB", kernel_kib="KiB", others_p99="ms", closed_s="s")
    return {"measures": units, "factors": ["transport"], "cells": cells}


def _recovery() -> Json:
    cells = []
    for network, one_way in ONE_WAY.items():
        for place, t in enumerate(TRANSPORTS):
            half = 250 + 4 * one_way + 6 * place
            middle = {"p50": half, "p99": half * 2.1, "max": half * 2.6}
            cells.append(cell({"transport": t, "network": network}, middle, {"p50": half * 0.96}))
    return {
        "measures": _units(p50="ms", p99="ms", max="ms"),
        "factors": ["transport", "network"],
        "cells": cells,
        "correctness": {"lost": 0, "doubled": 0},
    }


def _session() -> Json:
    cells = []
    for network, one_way in ONE_WAY.items():
        for place, way in enumerate((*TRANSPORTS, "sockjs, polling")):
            middle: dict[str, float | None] = {
                "arrival_ms": 1 + 4 * one_way + place,
                "requests": 1.0 + place,
                "bytes_up": 90 + 120 * place,
                "bytes_down": 380 + 90 * place,
            }
            theory = {"arrival_ms": 4.0 * one_way}
            cells.append(cell({"way": way, "network": network}, middle, theory))
    units = _units(arrival_ms="ms", requests="", bytes_up="B", bytes_down="B")
    return {"measures": units, "factors": ["way", "network"], "cells": cells}


def _sticky() -> Json:
    cells = [
        cell({"way": way, "routing": routing, "people": people}, {"held": held, "busiest": busiest})
        for routing, held in (("any", 0.0), ("address", 100.0), ("session", 100.0))
        for people, busiest in (("one address", 100.0), ("many", 31.0))
        for way in ("long_polling", "socketio", "sockjs, polling")
    ]
    return {
        "measures": _units(held="%", busiest="%"),
        "factors": ["way", "routing", "people"],
        "cells": cells,
    }


def _publish() -> Json:
    cells = [
        cell({"via": way}, {"per_second": 3100 / f, "message_us": 190 * f, "ack_p50": 15 * f})
        for way, f in [("websocket", 1.0), ("post", 1.9)]
    ]
    for one in cells:
        one["summary"]["ack_p99"] = {"value": 39.5, "low": 31.2, "high": 44.0}
    return {
        "measures": _units(per_second="1/s", message_us="µs", ack_p50="ms", ack_p99="ms"),
        "factors": ["via"],
        "cells": cells,
        "bounds": [_bound("messages acknowledged in one room", 3100, 3000, "1/s", at_least=True)],
    }


def _bound(
    name: str, value: float | None, bound: float, unit: str, at_least: bool = False, of: str = ""
) -> Json:
    fields = {"name": name, "value": value, "bound": bound, "unit": unit}
    holds = value is not None and (value >= bound if at_least else value <= bound)
    return {**fields, "at_least": at_least, "of": of, "holds": holds}


def _burst() -> Json:
    names = ("health_p50", "health_p99", "poll_p50", "poll_p99")
    cells = []
    for place, t in enumerate(TRANSPORTS[2:]):
        waits = {name: 3.0 * (number + 1) + place for number, name in enumerate(names)}
        middle = {"cpu_us": 3.2, "per_push": 2.0 + place, "p50": 4.5, "p99": 31.0, **waits}
        cells.append(cell({"transport": t}, {**middle, "spread_ms": 2.1 + place}))
    units = _units(cpu_us="µs", per_push="", p50="ms", p99="ms", spread_ms="ms")
    asked = [("/healthz during the burst, p99", 61.0), ("a short poll during the burst, p99", None)]
    return {
        "measures": {**units, **_units(**dict.fromkeys(names, "ms"))},
        "factors": ["transport"],
        "cells": cells,
        "bounds": [_bound(name, value, 50, "ms", of="sse") for name, value in asked],
    }


def _fanout_cost() -> Json:
    cells = []
    for n in (10, 100, 1000, 10_000):
        for t, cost in [("websocket", 9), ("raw send", 4)]:
            middle: dict[str, float | None] = {"cpu_us": cost + 20.0 * cost / n}
            middle |= {"publish_us": 1200.0 if t == "websocket" else None, "hear_us": None}
            cells.append(cell({"transport": t, "followers": n, "processes": 1}, middle))
    for processes in (2, 4):
        middle = {"cpu_us": 10.0 + processes, "publish_us": 1200.0, "hear_us": 330.0}
        factors = {"transport": "websocket", "followers": 1000, "processes": processes}
        cells.append(cell(factors, middle))
    return {
        "measures": _units(cpu_us="µs", publish_us="µs", hear_us="µs"),
        "factors": ["transport", "followers", "processes"],
        "cells": cells,
        "against": "raw send",
        "ratios": {"websocket, 1,000": {"cpu_us": {"value": 2.3, "low": 2.1, "high": 2.6}}},
    }


def _c10k() -> Json:
    all_followers = "all together"
    cells = []
    for place, t in enumerate((*TRANSPORTS[1:], all_followers)):
        middle = {"p50": 60.0, "p99": 90.0 + place, "last_ms": 230.0, "memory_kib": 15.0 + place}
        whole = {"memory_mib": 190.0, "health_p99": 900.0, "poll_p99": 910.0}
        found = whole if t == all_followers else dict.fromkeys(whole)
        cells.append(cell({"transport": t}, {**middle, **found}))
    units = _units(p50="ms", p99="ms", last_ms="ms", memory_kib="KiB")
    return {
        "measures": {**units, **_units(memory_mib="MiB", health_p99="ms", poll_p99="ms")},
        "factors": ["transport"],
        "cells": cells,
        "bounds": [
            _bound("one message to the last of all followers", 230.0, 1000, "ms", of="10,000")
        ],
    }


def _multi_worker() -> Json:
    cells = [
        cell(
            {"workers": workers, "readers": readers},
            {
                "per_second": 8000.0 / workers,
                "deliveries": 8000.0 / workers * readers,
                "workers_us": 60.0 + 40 * min(workers, readers) + 3 * readers,
                "redis_us": 25.0 + 5 * min(workers, readers),
                "opened": 900.0,
            },
        )
        for workers in (1, 2, 4)
        for readers in (1, 16)
    ]
    rates = _units(per_second="1/s", deliveries="1/s", opened="1/s")
    units = {**rates, **_units(workers_us="µs", redis_us="µs")}
    return {"measures": units, "factors": ["workers", "readers"], "cells": cells}


def _peers() -> Json:
    against = "realtime websocket"
    factor = {
        "realtime sse": 1.04,
        against: 1.0,
        "socket.io websocket": 2.4,
        "nchan eventsource": 0.8,
        "tornado write_message": 1.3,
    }
    loads = {"paced": 1.0, "burst": 0.3}
    cells = [
        cell({"load": load, "peer": peer}, _peer(f, much))
        for load, much in loads.items()
        for peer, f in factor.items()
    ]
    ratios = {
        f"{peer}, {load}": {
            name: {"value": f**power, "low": f**power * 0.93, "high": f**power * 1.08}
            for name, power in [("p50", 1), ("p99", 1), ("cpu_us", 2), ("memory_kib", -1)]
            if load == "paced" or name != "memory_kib"
        }
        for load in loads
        for peer, f in factor.items()
        if peer != against
    }
    return {
        "measures": _units(p50="ms", p99="ms", cpu_us="µs", memory_kib="KiB"),
        "factors": ["load", "peer"],
        "cells": cells,
        "ratios": ratios,
        "against": against,
        "budget": [
            _limit("paced", "socket.io websocket", 0.75, 0.42),
            _limit("burst", "tornado write_message", 0.08, 0.59),
            _limit("burst", "nchan websocket", 0.9, None),
            {**_limit("paced", None, 16, 19.4), "measure": "memory_kib"},
        ],
    }


def _peer(factor: float, much: float) -> dict[str, float | None]:
    memory = 30 / factor if much == 1 else None
    cpu = 12 * factor**2 * much
    return {"p50": factor, "p99": 2 * factor, "cpu_us": cpu, "memory_kib": memory}


def _limit(load: str, against: str | None, most: float, value: float | None) -> Json:
    return {
        "load": load,
        "measure": "cpu_us",
        "peer": "realtime websocket",
        "against": against,
        "most": most,
        "measured": value and {"value": value, "low": value * 0.95, "high": value * 1.1},
        "holds": value and value <= most,
    }


def _cost_breakdown() -> Json:
    steps = [
        ("poll", "kernel"),
        ("poll", "end_to_end"),
        ("delivery", "kernel"),
        ("message", "draft"),
    ]
    cells = [
        cell({"path": path, "step": step}, {"cpu_us": 2.0 + place})
        for place, (path, step) in enumerate(steps)
    ]
    return {"measures": _units(cpu_us="µs"), "factors": ["path", "step"], "cells": cells}


def _tls() -> Json:
    peers, ways = ("realtime websocket", "nchan websocket"), {"none": 1.0, "TLS": 1.4}
    measures = {"paced": {"cpu_us": 9.0, "memory_kib": 14.0}, "connect": {"connect_us": 300.0}}
    cells = [
        cell({"load": load, "peer": peer, "tls": way}, {n: f * v for n, v in middle.items()})
        for load, middle in measures.items()
        for peer in peers
        for way, f in ways.items()
    ]
    ratios = {
        f"{peer}, TLS, {load}": {name: {"value": 1.4, "low": 1.3, "high": 1.5} for name in middle}
        for load, middle in measures.items()
        for peer in peers
    }
    return {
        "measures": _units(cpu_us="µs", memory_kib="KiB", connect_us="µs"),
        "factors": ["load", "peer", "tls"],
        "cells": cells,
        "against": "the same without TLS",
        "ratios": ratios,
    }


def _webtransport() -> Json:
    middle = {"cpu_us": 300.0, "connect_us": 4000.0, "memory_kib": 110.0, "arrival_ms": 3.0}
    middle |= {"bytes_up": 40.0, "bytes_down": 350.0}
    ways = {"websocket": 0.1, "websocket, TLS": 0.15, "webtransport": 1.0}
    cells = [cell({"way": way}, {n: f * v for n, v in middle.items()}) for way, f in ways.items()]
    units = _units(cpu_us="µs", connect_us="µs", memory_kib="KiB", arrival_ms="ms")
    units |= _units(bytes_up="B", bytes_down="B")
    return {"measures": units, "factors": ["way"], "cells": cells}


KINDS = {
    "latency": _latency,
    "poll_gap": _poll_gap,
    "overhead": _overhead,
    "compression": _compression,
    "idle_cost": _idle_cost,
    "fanout": _fanout,
    "capacity": _capacity,
    "slow_reader": _slow_reader,
    "recovery": _recovery,
    "session": _session,
    "sticky": _sticky,
    "publish": _publish,
    "burst": _burst,
    "fanout_cost": _fanout_cost,
    "c10k": _c10k,
    "multi_worker": _multi_worker,
    "cost_breakdown": _cost_breakdown,
    "peers": _peers,
    "tls": _tls,
    "webtransport": _webtransport,
}
