"""Publish messages in a room and wait until every reader has them: what most measurements do."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.load.connections import clock
from benchmarks.load.generator import (
    LoadGenerator,
    OpenLoopSender,
    ReceivedEvent,
    RequestSpec,
    VirtualReader,
)
from benchmarks.method.audit import Audit, audit
from benchmarks.method.samples import Sample, percentiles

# Between the schedule and its first message, so that scheduling itself makes nothing late.
_LEAD_SECONDS = 0.05


@dataclass
class Transcript:
    """What one measurement sent and received."""

    sender: OpenLoopSender
    readers: Sequence[VirtualReader]
    counted: set[str]  # ids, without those of the warm-up

    @property
    def audit(self) -> Audit:
        received = {
            str(number): [received.event for received in reader.received]
            for number, reader in enumerate(self.readers)
        }
        return audit(self.sender.cursors.keys(), received)

    def deliveries(self) -> Iterable[tuple[float, ReceivedEvent]]:
        """Yield the intended time of each counted message, and its first arrival at each reader."""
        for reader in self.readers:
            seen = set()
            for received in reader.received:
                id = received.event.get("id")
                if id in self.counted and id not in seen:
                    seen.add(id)
                    yield self.sender.due[id], received

    def latencies(self) -> list[float]:
        """Return the times from the intended time to the reader, in ms."""
        return [1000 * (received.when - due) for due, received in self.deliveries()]

    def sample(self, load: LoadGenerator, audit: Audit | None = None) -> Sample:
        """Return the figures; `audit` replaces the one by our cursors."""
        latencies, sender = self.latencies(), self.sender
        return Sample(
            percentiles(latencies),
            latencies,
            audit or self.audit,
            refused=len(sender.refused) + sum(reader.refused for reader in self.readers),
            unacknowledged=len(sender.due) - len(sender.cursors) - len(sender.refused),
            broken=sum(reader.broken for reader in self.readers),
            late=sender.late,
            max_poll_gap=load.max_poll_gap,
        )


def run_workload(
    load: LoadGenerator,
    spec: RequestSpec,
    times: Sequence[float],
    *,
    warm_up: int = 0,
    patience: float = 5.0,
    marks: Sequence[tuple[float, Callable[[], None]]] = (),
    sender: OpenLoopSender | None = None,
) -> Transcript:
    """Publish a message at each of `times`, in seconds from now; `warm_up` of them do not count.

    `marks` are calls at other times of the same clock.  A `sender` from an earlier call continues;
    its earlier messages do not count.
    Returns when every reader has received every acknowledged message, or `patience` seconds after
    the last one was sent: what has not arrived by then is lost.
    """
    sender = sender or load.open_loop_sender(spec)
    before = len(sender.due)
    load.run_until(lambda: True, 1.0)  # connects before the first message is due
    load.max_poll_gap = load.max_lag = 0.0
    start = clock() + _LEAD_SECONDS
    sender.schedule(start + when for when in times)
    for when, call in marks:
        load.call_at(start + when, call)
    load.run_for(start + max(times[-1], *(when for when, _ in marks), 0.0) - clock())

    def all_received() -> bool:
        # A rejected message may have been published all the same, so a count is not enough.
        published = sender.cursors.keys()
        return sender.all_answered and all(published <= reader.ids for reader in load.readers)

    load.run_until(lambda: len(sender.due) == before + len(times) and all_received(), patience)
    return Transcript(sender, load.readers, {*list(sender.due)[before + warm_up :]})


def new_room(benchmark: str) -> str:
    """Return the name of a room without history."""
    return f"{benchmark}-{secrets.token_hex(6)}"
