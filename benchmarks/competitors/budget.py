"""What ours may cost: ratios to other systems in the same run, each with its maximum.

Both figures of a ratio come from the same run on the same machine, so the ratio is more stable than
either, and applies on any machine.  Pure: cells go in, verdicts come out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.competitors.system import BURST, IDLE, PACED, SMALL
from benchmarks.method import stats
from benchmarks.method.samples import Cell, interval_json, ratios_by_run

AGAINST = "realtime websocket"


@dataclass(frozen=True, slots=True)
class CostLimit:
    """`peer` may need at most `most` times what `against` needs; without `against`, `most`."""

    load: str
    measure: str
    peer: str
    against: str | None
    most: float

    def __str__(self) -> str:
        of = f" / {self.against}" if self.against else ""
        return f"{self.peer}{of}, {self.measure}, {self.load}"


def _both(peer: str, against: str, paced: float, burst: float) -> tuple[CostLimit, ...]:
    """Return the limits of the server's CPU per delivery."""
    return (
        CostLimit(PACED, "cpu_us", peer, against, paced),
        CostLimit(BURST, "cpu_us", peer, against, burst),
    )


BUDGET = (
    *_both(AGAINST, "tornado write_message", 0.30, 0.07),
    *_both(AGAINST, "socket.io websocket", 0.75, 0.30),
    *_both(AGAINST, "nchan websocket", 1.25, 0.60),
    *_both("realtime sse", AGAINST, 1.3, 1.3),
    *_both("realtime fetch_streaming", AGAINST, 1.3, 1.3),
    *_both("realtime iframe_streaming", AGAINST, 1.3, 1.3),
    *_both("realtime long_polling", "socket.io polling", 0.70, 0.60),
    *_both("realtime long_polling", "nchan longpoll", 2.5, 2.5),
    CostLimit(IDLE, "poll_us", "realtime short_polling", "tornado short polling", 0.25),
    CostLimit(PACED, "memory_kib", AGAINST, "socket.io websocket", 0.45),
    CostLimit(PACED, "memory_kib", AGAINST, None, 12),
    *(
        CostLimit(PACED, "memory_kib", f"realtime {stream}", None, 7)
        for stream in ("sse", "fetch_streaming", "iframe_streaming")
    ),
    CostLimit(SMALL, "p99", AGAINST, "socket.io websocket", 1.0),
    CostLimit(SMALL, "p99", AGAINST, "nchan websocket", 1.0),
)


def judge(limits: Iterable[CostLimit], cells: Sequence[Cell], seed: int) -> list[dict[str, Any]]:
    """Return each limit with the measured value, and whether it holds (None: not measured)."""
    known = {(cell.factors["load"], cell.factors["peer"]): cell for cell in cells}
    return [_judge(limit, known, seed) for limit in limits]


def _judge(limit: CostLimit, known: Mapping[tuple[str, str], Cell], seed: int) -> dict[str, Any]:
    values = _values(limit, known)
    found = stats.bootstrap(values, seed) if values else None
    holds = None if found is None else found.value <= limit.most
    return {**asdict(limit), "measured": interval_json(found), "holds": holds}


def _values(limit: CostLimit, known: Mapping[tuple[str, str], Cell]) -> list[float]:
    """Return one value for each run."""
    cell = known.get((limit.load, limit.peer))
    if cell is None:
        return []
    if limit.against is None:
        found = (sample.measures.get(limit.measure) for sample in cell.samples)
        return [value for value in found if value is not None]
    base = known.get((limit.load, limit.against))
    return [] if base is None else ratios_by_run(cell, base, limit.measure)
