"""Was anything lost, doubled or shown out of turn?  Asked by message id, of what readers received.

The promise: one total order per room; every acknowledged message reaches every reader, and is shown
once; outside of what is remembered a reader is told `gap`, never nothing.  Pure: a list of events
per reader goes in, and whatever breaks the promise comes out.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

Event = Mapping[str, Any]


@dataclass
class Audit:
    """What was found; the names are those of the readers, the rest are ids or cursors."""

    readers: int
    acknowledged: int
    gaps: Counter[str] = field(default_factory=Counter)  # reason: how many readers were told
    lost: dict[str, list[str]] = field(default_factory=dict)
    doubled: dict[str, list[str]] = field(default_factory=dict)
    misplaced: dict[str, list[str]] = field(default_factory=dict)
    disagreeing: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.misplaced or self.disagreeing)

    def __str__(self) -> str:
        """One line, and one more for each fault."""
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(self.gaps.items()))
        faults = {name: getattr(self, name) for name in ("lost", "doubled", "misplaced")}
        counts = [f"{sum(map(len, ones.values()))} {name}" for name, ones in faults.items()]
        lines = [
            f"{self.acknowledged} acknowledged, {self.readers} readers: {', '.join(counts)}, "
            f"{len(self.disagreeing)} disagreeing; gaps: {told or 'none'}"
        ]
        for name, ones in faults.items():
            lines += [f"  {name} by {reader}: {ids[:5]}" for reader, ids in ones.items()]
        lines += [f"  disagreeing at {place}" for place in self.disagreeing[:5]]
        return "\n".join(lines)


def place(cursor: str) -> tuple[str, int]:
    """Give the life of the log that a cursor belongs to, and the number in it."""
    epoch, _, digits = cursor.rpartition("-")
    return epoch, int(digits)


def audit(
    acknowledged: Collection[str],
    received: Mapping[str, Sequence[Event]],
    excused: Collection[str] = (),
) -> Audit:
    """Compare what was acknowledged, by id, with what each reader received, in its order.

    `excused` were acknowledged before the hub itself lost its memory: who misses one of them must
    have been told of a gap.  Everything else nobody may miss, gap or no gap.
    """
    result = Audit(len(received), len(acknowledged))
    readings = {reader: _Reading(events) for reader, events in received.items()}
    for reader, found in readings.items():
        result.gaps.update(found.gaps)
        forgiven = set(excused) if found.gaps else set()
        lost = [id for id in acknowledged if id not in found.shown and id not in forgiven]
        faults = {"lost": lost, "doubled": found.doubled, "misplaced": found.misplaced}
        for name, ones in faults.items():
            if ones:
                getattr(result, name)[reader] = ones
    result.disagreeing = _disagreements([*readings.values()])
    return result


def _disagreements(readings: Sequence["_Reading"]) -> list[str]:
    """The places where not everybody saw the same, and the lives of the log not in the same turn.

    Each reader saw the numbers of a life one after the other, which was looked at before; so one
    message per place, and one turn of the lives, is one order for all.
    """
    held: dict[str, str] = {}
    wrong = [
        cursor
        for reading in readings
        for cursor, id in reading.places.items()
        if held.setdefault(cursor, id) != id
    ]
    # A thousand readers of one life are all alike.
    for one, other in combinations({tuple(reading.epochs) for reading in readings}, 2):
        common = set(one) & set(other)
        turns = [[epoch for epoch in epochs if epoch in common] for epochs in (one, other)]
        if turns[0] != turns[1]:
            wrong.append(" or ".join(map(str, turns)))
    return wrong


class _Reading:
    """What one reader received: which ids, at which places, in which lives of the log."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.shown: set[str] = set()
        self.places: dict[str, str] = {}  # cursor: id
        self.epochs: list[str] = []
        self.gaps: list[str] = []
        self.doubled: list[str] = []
        self.misplaced: list[str] = []
        self._since_gap: set[str] = set()
        self._last: tuple[str, int] | None = None
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        epoch, number = place(event["cursor"])
        if event["kind"] == "gap":
            self.gaps.append(event["reason"])
            self._since_gap.clear()
        else:
            # After a gap what is still kept comes again, and a page drops the ids it has shown.
            if event["id"] in self._since_gap:
                self.doubled.append(event["id"])
            if self._last is not None and (epoch, number) != (self._last[0], self._last[1] + 1):
                self.misplaced.append(event["cursor"])
            self._since_gap.add(event["id"])
            self.shown.add(event["id"])
            self.places[event["cursor"]] = event["id"]
        if epoch not in self.epochs[-1:]:
            self.epochs.append(epoch)
        self._last = epoch, number
