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
    disagreeing: list[tuple[str, str]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.misplaced or self.disagreeing)

    def __str__(self) -> str:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(self.gaps.items()))
        words = [
            f"{self.acknowledged} acknowledged, {self.readers} readers, gaps: {told or 'none'}"
        ]
        for name in ("lost", "doubled", "misplaced"):
            found = getattr(self, name)
            words.append(f"{name} {sum(map(len, found.values()))}")
            words += [f"  {reader}: {ids[:5]}" for reader, ids in found.items()]
        words.append(f"disagreeing {len(self.disagreeing)}")
        words += [f"  {one} and {other}" for one, other in self.disagreeing[:5]]
        return "\n".join(words)


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
    shown: dict[str, list[str]] = {}
    places: dict[str, set[int]] = {}
    for reader, events in received.items():
        found = _Reading(events)
        result.gaps.update(found.gaps)
        shown[reader] = list(found.shown)
        for id, number in found.shown.items():
            places.setdefault(id, set()).add(number)
        forgiven = set(excused) if found.gaps else set()
        lost = [id for id in acknowledged if id not in found.shown and id not in forgiven]
        for name, faults in (
            ("lost", lost),
            ("doubled", found.doubled),
            ("misplaced", found.misplaced),
        ):
            if faults:
                getattr(result, name)[reader] = faults
    # One that stands at two places was lost by the hub and said again by its sender.
    moved = {id for id, numbers in places.items() if len(numbers) > 1}
    for one, other in combinations(shown, 2):
        common = set(shown[one]) & set(shown[other]) - moved
        if [id for id in shown[one] if id in common] != [id for id in shown[other] if id in common]:
            result.disagreeing.append((one, other))
    return result


class _Reading:
    """What one reader received: `shown` are the ids in the order of their first coming."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.shown: dict[str, int] = {}
        self.gaps: list[str] = []
        self.doubled: list[str] = []
        self.misplaced: list[str] = []
        self._since_gap: set[str] = set()
        self._last: tuple[str, int] | None = None
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        epoch, _, digits = event["cursor"].rpartition("-")
        number = int(digits)
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
            self.shown.setdefault(event["id"], number)
        self._last = epoch, number
