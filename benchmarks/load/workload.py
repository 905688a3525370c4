"""Speak in a room and wait until everybody has heard it: what nearly all measurements do."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.clients.protocols import Heard
from benchmarks.load.generator import Crowd, Reader, Speaker, Words, clock
from benchmarks.method.audit import Audit, audit
from benchmarks.method.samples import Sample, percentiles

# Between the plan and its first message, so that the plan itself makes nobody late.
_LEAD_SECONDS = 0.05


@dataclass
class Said:
    """What was said and heard in one measurement, to be read as one wants."""

    speaker: Speaker
    readers: Sequence[Reader]
    counted: set[str]  # ids, without those that only warmed up

    @property
    def audit(self) -> Audit:
        received = {
            str(number): [heard.event for heard in reader.listener.heard]
            for number, reader in enumerate(self.readers)
        }
        return audit(self.speaker.cursors.keys(), received)

    def heard(self) -> Iterable[tuple[float, Heard]]:
        """Give when each counted message was to be said, and how each reader heard it first."""
        for reader in self.readers:
            seen = set()
            for heard in reader.listener.heard:
                id = heard.event.get("id")
                if id in self.counted and id not in seen:
                    seen.add(id)
                    yield self.speaker.due[id], heard

    def latencies(self) -> list[float]:
        """From the intended time to the reader, in ms."""
        return [1000 * (heard.when - due) for due, heard in self.heard()]

    def sample(self, crowd: Crowd, audit: Audit | None = None) -> Sample:
        """Give the figures; `audit` is another than by cursors of ours."""
        latencies = self.latencies()
        return Sample(
            percentiles(latencies),
            latencies,
            audit or self.audit,
            refused=len(self.speaker.refused) + sum(reader.refused for reader in self.readers),
            unacknowledged=(
                len(self.speaker.due) - len(self.speaker.cursors) - len(self.speaker.refused)
            ),
            broken=sum(reader.broken for reader in self.readers),
            late=self.speaker.late,
            max_poll_gap=crowd.deaf,
        )


def talk(
    crowd: Crowd,
    words: Words,
    times: Sequence[float],
    *,
    warm_up: int = 0,
    patience: float = 5.0,
    marks: Sequence[tuple[float, Callable[[], None]]] = (),
    speaker: Speaker | None = None,
) -> Said:
    """Say something at each of `times`, in seconds from now; the first `warm_up` are not counted.

    `marks` are calls to be made at other times of the same clock.  A `speaker` who has spoken to
    these readers before goes on, and what he said before is not counted.
    Returns when every reader has heard all that was acknowledged, or `patience` seconds after the
    last was said: what has not come by then is lost.
    """
    speaker = speaker or crowd.speaker(words)
    before = len(speaker.due)
    crowd.run(lambda: True, 1.0)  # its connection is made before it is needed
    crowd.deaf = 0.0
    start = clock() + _LEAD_SECONDS
    speaker.plan(start + when for when in times)
    for when, call in marks:
        crowd.at(start + when, call)
    crowd.wait(start + max(times[-1], *(when for when, _ in marks), 0.0) - clock())

    def all_heard() -> bool:
        # What was refused may have been said all the same, so their number is not enough.
        said = speaker.cursors.keys()
        return speaker.quiet and all(said <= r.listener.ids for r in crowd.readers)

    crowd.run(lambda: len(speaker.due) == before + len(times) and all_heard(), patience)
    return Said(speaker, crowd.readers, {*list(speaker.due)[before + warm_up :]})


def new_room(benchmark: str) -> str:
    """A room where nothing was ever said."""
    return f"{benchmark}-{secrets.token_hex(6)}"
