"""One client in one room: a tracked member and a subscriber to the room's events, ended once.

Starting takes two steps, and both wait for the broker.  The connection can close during either, so
every transport with a live connection leaves the room through the same object:

    track(member) ─▶ follow(cursor, subscriber) ─▶ …events… ─▶ leave()
         └── waits        └── waits                              at any time, from anywhere, once
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from realtime.core.broadcaster import Broadcaster, Framing, Subscriber
from realtime.core.events import Cursor, Member
from realtime.errors import RealtimeError, TicketExpired
from realtime.transports.base import Services


class Drainable(Protocol):
    """A connection or session that calls `drained` when everything it was given has been sent."""

    drained: Callable[[], None] | None


class AttachableSubscriber(Subscriber, Protocol):
    """A subscriber that can be connected to the broadcaster of a room, and disconnected."""

    def attach(self, broadcaster: Broadcaster) -> None: ...
    def detach(self) -> None: ...


class DrainingSubscriber:
    """The subscriber on a `Drainable`: asks the broadcaster for more when that has drained.

    `push` is the connection's own, so that a push costs one call.  `close` ends the stream in the
    way of the transport, with the error that ended it.
    """

    # Slots keep the object small and together in memory: with a thousand subscribers, none is still
    # in the processor's cache at the next push.
    __slots__ = ("_drainable", "broadcaster", "close", "framing", "push")

    broadcaster: Broadcaster

    def __init__(
        self,
        drainable: Drainable,
        framing: Framing,
        push: Callable[[bytes, int], bool],
        close: Callable[[RealtimeError], None],
    ) -> None:
        self.framing = framing
        self.close = close
        self.push = push
        self._drainable = drainable

    def attach(self, broadcaster: Broadcaster) -> None:
        """Report from now on when the connection has drained.  Before, nobody could be informed."""
        self.broadcaster = broadcaster
        self._drainable.drained = self._on_drained

    def detach(self) -> None:
        """Receive nothing more.  A second call has no effect."""
        self._drainable.drained = None
        self.broadcaster.remove(self)

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        return self.push(heartbeat, 0)

    def _on_drained(self) -> None:
        self.broadcaster.resume(self)


class Membership:
    """One client in one room: tracked as a member, subscribed to its events; ended exactly once."""

    __slots__ = (
        *("_address", "_error", "_expiry", "_member", "_room", "_services", "_subscriber"),
        "left",
    )

    def __init__(self, services: Services, room: str, address: str) -> None:
        self.left = False
        self._address = address
        self._services = services
        self._room = room
        self._member: Member | None = None
        self._subscriber: AttachableSubscriber | None = None
        self._error: RealtimeError | None = None  # which ended it
        self._expiry: asyncio.TimerHandle | None = None

    async def track(self, member: Member | None) -> None:
        """Make `member` a member of the room; None, or a call after `leave`, does nothing."""
        if member is None or self.left:
            return
        services = self._services
        try:
            if not await self._is_admitted(member):
                return
            self._member = member
            await services.presence.track(self._room, member, stream=True)
        except BaseException:  # also a cancellation: the member must not stay forever
            self.leave()
            raise
        if (moderation := services.moderation) is not None and not self.left:
            moderation.add(self._room, member.client, self)

    async def _is_admitted(self, member: Member) -> bool:
        """Return whether the client is still here when its admission is decided."""
        await self._services.admit_member(self._room, member, self._address, stream=True)
        return not self.left

    async def follow(
        self, cursor: Cursor, subscriber: AttachableSubscriber, expires: float = math.inf
    ) -> None:
        """Push to `subscriber` what came after `cursor` until `leave`.

        At `expires`, a time of the system clock, the subscriber is closed: its ticket has ended.
        Raises what `Hub.follow` raises; the client has then left the room.
        """
        try:
            broadcaster = await self._services.hub.follow(
                self._room, cursor, subscriber, self._address
            )
        except BaseException:
            self.leave()
            raise
        subscriber.attach(broadcaster)
        if self.left:  # while we waited: `leave` found no subscriber to detach
            subscriber.detach()
            if self._error is not None:
                subscriber.close(self._error)
            return
        self._subscriber = subscriber
        if expires < math.inf:
            error = TicketExpired("The ticket has ended; resume with a new one.")
            seconds = max(0.0, expires - time.time())
            self._expiry = asyncio.get_running_loop().call_later(seconds, self.end, error)

    def end(self, error: RealtimeError) -> None:
        """Leave the room, and close the connection or session with this error."""
        subscriber, self._error = self._subscriber, error
        self.leave()
        if subscriber is not None:
            subscriber.close(error)

    def unsubscribe(self) -> None:
        """Receive no more events, but stay a member: the connection is about to close."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._subscriber is not None:
            self._subscriber.detach()
            self._subscriber = None

    def leave(self) -> None:
        """Receive no more events and stop being a member, after the grace period of a reload."""
        if self.left:
            return
        self.left = True
        self.unsubscribe()
        if self._services.moderation is not None:
            self._services.moderation.discard(self._room, self)
        if self._member is not None:
            self._services.presence.untrack(self._room, self._member, stream=True)
