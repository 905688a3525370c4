"""Was a message lost, duplicated or reordered?  Compare what readers received, by message id.

The guarantee: one total order per room; every acknowledged message reaches every reader and is
shown once; outside the history window a reader receives `gap`: no loss is hidden.  Pure: a list of
events per reader goes in, and every violation comes out.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

Event = Mapping[str, Any]


@dataclass
class Audit:
    """The violations found: reader names as keys, message ids or cursors as values."""

    readers: int
    acknowledged: int
    gaps: Counter[str] = field(default_factory=Counter)  # reason: number of gap events
    lost: dict[str, list[str]] = field(default_factory=dict)
    duplicated: dict[str, list[str]] = field(default_factory=dict)
    reordered: dict[str, list[str]] = field(default_factory=dict)
    conflicting: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.reordered or self.conflicting)

    def __str__(self) -> str:
        """One line of counts, and one more line for each violation."""
        gaps = ", ".join(f"{count} {reason}" for reason, count in sorted(self.gaps.items()))
        faults = {"lost": self.lost, "duplicated": self.duplicated, "reordered": self.reordered}
        counts = [f"{sum(map(len, found.values()))} {name}" for name, found in faults.items()]
        lines = [
            f"{self.acknowledged} acknowledged, {self.readers} readers: {', '.join(counts)}, "
            f"{len(self.conflicting)} conflicting; gaps: {gaps or 'none'}"
        ]
        for name, found in faults.items():
            lines += [f"  {name} for {reader}: {ids[:5]}" for reader, ids in found.items()]
        lines += [f"  conflicting at {position}" for position in self.conflicting[:5]]
        return "\n".join(lines)


def parse_cursor(cursor: str) -> tuple[str, int]:
    """Split a cursor into the epoch of the log and the offset in it."""
    epoch, _, digits = cursor.rpartition("-")
    return epoch, int(digits)


def audit(
    acknowledged: Collection[str],
    received: Mapping[str, Sequence[Event]],
    excused: Collection[str] = (),
) -> Audit:
    """Compare the acknowledged ids with what each reader received, in the order of arrival.

    `excused` ids were acknowledged before the hub itself lost its memory: a reader may miss them
    only if it received a `gap`.  All other ids must arrive, gap or no gap.
    """
    result = Audit(len(received), len(acknowledged))
    histories = {reader: _ReaderHistory(events) for reader, events in received.items()}
    for reader, history in histories.items():
        result.gaps.update(history.gaps)
        allowed = set(excused) if history.gaps else set()
        lost = [id for id in acknowledged if id not in history.shown and id not in allowed]
        for found, ids in (
            (result.lost, lost),
            (result.duplicated, history.duplicated),
            (result.reordered, history.reordered),
        ):
            if ids:
                found[reader] = ids
    result.conflicting = _conflicts([*histories.values()])
    return result


def _conflicts(histories: Sequence["_ReaderHistory"]) -> list[str]:
    """Return cursors where readers saw different messages, and epochs seen in different orders.

    `_ReaderHistory` has already checked that offsets follow each other within an epoch.  So one
    message per cursor and one order of the epochs together mean one total order for all readers.
    """
    first_seen: dict[str, str] = {}
    conflicts = [
        cursor
        for history in histories
        for cursor, id in history.ids.items()
        if first_seen.setdefault(cursor, id) != id
    ]
    # The set keeps this cheap: a thousand readers of the same epochs are one entry.
    for one, other in combinations({tuple(history.epochs) for history in histories}, 2):
        common = set(one) & set(other)
        orders = [[epoch for epoch in epochs if epoch in common] for epochs in (one, other)]
        if orders[0] != orders[1]:
            conflicts.append(" or ".join(map(str, orders)))
    return conflicts


class _ReaderHistory:
    """What one reader received: which ids, at which cursors, in which epochs of the log."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.shown: set[str] = set()
        self.ids: dict[str, str] = {}  # by cursor
        self.epochs: list[str] = []
        self.gaps: list[str] = []
        self.duplicated: list[str] = []
        self.reordered: list[str] = []
        self._since_gap: set[str] = set()
        self._last: tuple[str, int] | None = None
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        epoch, offset = parse_cursor(event["cursor"])
        if event["kind"] == "gap":
            self.gaps.append(event["reason"])
            self._since_gap.clear()
        else:
            # After a gap the kept history arrives again, and a page drops the ids it has shown.
            if event["id"] in self._since_gap:
                self.duplicated.append(event["id"])
            if self._last is not None and (epoch, offset) != (self._last[0], self._last[1] + 1):
                self.reordered.append(event["cursor"])
            self._since_gap.add(event["id"])
            self.shown.add(event["id"])
            self.ids[event["cursor"]] = event["id"]
        if epoch not in self.epochs[-1:]:
            self.epochs.append(epoch)
        self._last = epoch, offset
