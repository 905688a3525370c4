"""Checks for lost, duplicate and reordered messages of a system without cursors.  Pure."""

from collections.abc import Sequence

from benchmarks.competitors.ours import Ours
from benchmarks.competitors.system import System
from benchmarks.load.generator import VirtualReader
from benchmarks.load.workload import Transcript
from benchmarks.method.audit import Audit, Event, audit


def audit_transcript(system: System, transcript: Transcript) -> Audit:
    """Find what was lost, duplicated or reordered."""
    if isinstance(system, Ours):
        return transcript.audit
    return audit(transcript.sender.cursors.keys(), in_one_order(transcript.readers))


def in_one_order(readers: Sequence[VirtualReader]) -> dict[str, list[Event]]:
    """Number the messages that the readers received, in the order in which one of them did.

    The other systems have no cursors, and of two messages in flight either may be first.  But the
    first must be the same for every reader.
    """
    received = [[one.event["id"] for one in reader.received] for reader in readers]
    longest = max(received, key=len)
    order = dict.fromkeys(id for ids in [longest, *received] for id in ids)
    events: dict[str, Event] = {
        id: {"kind": "say", "id": id, "cursor": f"peer-{number}"} for number, id in enumerate(order)
    }
    return {str(number): [events[id] for id in ids] for number, ids in enumerate(received)}
