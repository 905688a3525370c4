"""A broker assigns offsets, stores the log, and publishes events; the hub needs nothing else.

Two implementations keep the same promises and pass the same tests: `memory`, for one process with
nothing to install, and `redis`, for many.  Every method raises `NoBroker` while the broker cannot
be reached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from realtime.core.events import Cursor, Draft, Event, Member, Receipt
from realtime.core.room import History

# How long a repeated publish is recognized: far longer than a client keeps retrying.
SEEN_SECONDS = 300
# A room's epoch and top are kept this many times longer than its events: a day for an hour of
# history.  A room that was idle for longer starts a new epoch.
META_TTL_FACTOR = 24


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """One line of the list of rooms; `top` is the offset of its newest event."""

    room: str
    members: int
    top: int


class Listener(Protocol):
    """The receiver of a broker's callbacks: the hub."""

    def on_publication(self, room: str, event: Event) -> None:
        """Called for each published event; it may come twice, out of order, or not at all."""

    def on_rules(self, room: str) -> None:
        """Called when the rules of a room have changed; it may be missed."""

    def on_subscribed(self, room: str) -> None:
        """Called when a subscription starts or is renewed: earlier events may have been missed."""


class Broker(Protocol):
    """The log, the members and the pub/sub of all rooms."""

    async def start(self, listener: Listener) -> None:
        """Connect; raises `NoBroker` if that fails."""

    async def close(self) -> None:
        """Stop everything that `start` started."""

    async def ping(self) -> None:
        """Return if the broker answers and its pub/sub delivers."""

    # --- messages --------------------------------------------------------------------------------

    async def publish(self, draft: Draft) -> Receipt:
        """Assign an offset to a message, store it and publish it, atomically, once per `draft.id`.

        A repeated call returns the first receipt, with `created` false.
        """

    async def history(self, room: str, after: Cursor) -> History:
        """Read a page of what is kept after `after`; from the start if its epoch differs."""

    async def reset(self, room: str) -> None:
        """Delete the log, start a new epoch, and publish a join for each current member."""

    def listen(self, room: str) -> None:
        """Subscribe to a room; `Listener.on_subscribed` confirms it."""

    def unlisten(self, room: str) -> None:
        """Unsubscribe from a room."""

    # --- members ---------------------------------------------------------------------------------

    async def enter(self, room: str, member: Member, node_id: str, *, stream: bool = False) -> None:
        """Take or renew the lease of a member at `node_id`; publish a join if it is new.

        `stream` is whether the client has an open stream at `node_id`.  With one, the member is on
        the list, and only the first such node can change its name.  Without one, a member that is
        present keeps its name.
        """

    async def leave(self, room: str, client: str, node_id: str | None, seconds: float) -> None:
        """Let the lease at `node_id` expire in `seconds`; its streams of the client have ended.

        Without a node, take the client off the list, unless a stream of it is open, and let its
        leases expire at the nodes where none is.
        """

    async def sweep(self, room: str) -> None:
        """Publish a quit for each member whose last lease expired, once among all processes."""

    async def members(
        self, room: str, after: str = "", limit: int | None = None
    ) -> Sequence[Member]:
        """List members by client id: those after `after`, `limits.list_rows` without a limit."""

    async def count_members(self, room: str) -> int:
        """Return how many members `members` lists in all."""

    async def rooms(self, after: str = "", limit: int | None = None) -> Sequence[RoomSummary]:
        """List rooms that have a log or a member by name: those after `after`, as `members`."""

    # --- rules -----------------------------------------------------------------------------------

    async def rules(self, room: str) -> Mapping[str, str]:
        """Return the rules of a room, as fields with values (see `moderation`)."""

    async def change_rules(self, room: str, changes: Mapping[str, str | None]) -> None:
        """Set these fields, delete those that are None, and announce it to all processes."""

    # --- processes -------------------------------------------------------------------------------

    async def report(self, worker: str, text: bytes, seconds: float) -> None:
        """Keep the status report of a process for `seconds`; 0 deletes it."""

    async def reports(self) -> Mapping[str, bytes]:
        """Return the latest report of each process that has not expired."""
