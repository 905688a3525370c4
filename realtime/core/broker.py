"""A broker numbers, remembers and announces; the hub asks for nothing else.

Two keep the same promises, and pass the same tests: `memory`, for one process and nothing
installed, and `redis`, for many.  Everything here raises `NoBroker` while it cannot be reached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.room import History

# How long a repeated publish is known as such: far longer than a client goes on repeating it.
SEEN_SECONDS = 300
# A room's epoch and top outlive its words so many times: with a memory of an hour, a day.  One that
# was quiet for longer begins a new life.
META_TTL_FACTOR = 24


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """One line of the list of rooms; `top` is the number of its newest event."""

    room: str
    members: int
    top: int


class Listener(Protocol):
    """Who is told what happens in the rooms listened to: the hub."""

    def on_publication(self, room: str, event: Event) -> None:
        """An event was published; it may come twice, out of turn, or not at all."""

    def on_subscribed(self, room: str) -> None:
        """Listening to `room` begins, or began anew: what came before may have been missed."""


class Broker(Protocol):
    """The numbers, the memory and the voice of all rooms."""

    async def start(self, listener: Listener) -> None:
        """Connect; raises `NoBroker` if that fails."""

    async def close(self) -> None:
        """Stop everything that `start` began."""

    async def ping(self) -> None:
        """Return if the broker answers and is being heard."""

    # --- words -----------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        """Number, remember and announce a message, once per `draft.id`, in one step."""

    async def history(self, room: str, after: Cursor) -> History:
        """Read a page of what is kept after `after`; from the start, if its epoch is another."""

    async def reset(self, room: str) -> None:
        """Forget what was said, under a new epoch, and announce who is there as if they came."""

    def listen(self, room: str) -> None:
        """Begin to listen to a room; `Listener.on_subscribed` says when it is so."""

    def unlisten(self, room: str) -> None:
        """Stop listening to a room."""

    # --- people ----------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str) -> None:
        """Take or renew the lease of a member at `node_id`; publish the join of a new member."""

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        """Let a lease run out in `seconds`, or all of the client's, without a `node_id`."""

    async def sweep(self, room: str) -> None:
        """Say quit for every member whose last lease ran out, exactly once among all processes."""

    async def members(self, room: str) -> Sequence[Member]:
        """Who is in a room."""

    async def rooms(self) -> Sequence[RoomSummary]:
        """All rooms that remember something or hold somebody."""

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        """Keep what a process says of itself for so long; 0 takes it back."""

    async def reports(self) -> Mapping[str, bytes]:
        """What each process said last, if its time is not up."""
