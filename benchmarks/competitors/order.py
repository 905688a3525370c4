"""Was anything lost, doubled or out of turn, at a system that numbers nothing?  Pure."""

from collections.abc import Sequence

from benchmarks.competitors.ours import Ours
from benchmarks.competitors.system import System
from benchmarks.load.generator import Reader
from benchmarks.load.workload import Said
from benchmarks.method.audit import Audit, Event, audit


def audited(system: System, said: Said) -> Audit:
    """Look for what was lost, doubled or out of turn."""
    if isinstance(system, Ours):
        return said.audit
    return audit(said.speaker.cursors.keys(), in_one_order(said.readers))


def in_one_order(readers: Sequence[Reader]) -> dict[str, list[Event]]:
    """Number what readers of a peer heard, as one of them heard it.

    A peer numbers nothing, and of two messages on their way at once either may be first.  But it is
    to be the first for everybody.
    """
    heard = [[heard.event["id"] for heard in reader.listener.heard] for reader in readers]
    most = max(heard, key=len)
    order = dict.fromkeys(id for ids in [most, *heard] for id in ids)
    events: dict[str, Event] = {
        id: {"kind": "say", "id": id, "cursor": f"peer-{number}"} for number, id in enumerate(order)
    }
    return {str(number): [events[id] for id in ids] for number, ids in enumerate(heard)}
