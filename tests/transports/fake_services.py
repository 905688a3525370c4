"""Services in which one call waits, to test a connection that closes while it joins a room."""

import asyncio
from types import SimpleNamespace
from typing import Any

from realtime.core.access import FreeAccess
from realtime.core.events import Cursor
from realtime.limits import Limits


class FakeServices:
    """Hub, presence and broadcaster in one, which record their calls.

    The call named `held` waits until `release`.
    """

    def __init__(self, held: str) -> None:
        self.hub = self.presence = self
        self.limits = Limits()
        self.moderation, self.access = None, FreeAccess()
        self.calls: list[str] = []
        self._held = held
        self._waiting, self._released = asyncio.Event(), asyncio.Event()

    async def wait_until_held(self) -> None:
        async with asyncio.timeout(10):
            await self._waiting.wait()

    def release(self) -> None:
        self._released.set()

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._held:
            self._waiting.set()
            await self._released.wait()

    def check_open(self) -> None:
        pass

    async def read(self, subscription: Any, address: str) -> Any:
        await self._call("read")
        return SimpleNamespace(cursor=Cursor("epoch", 7))

    async def admit_member(self, room: str, member: Any, address: str, *, stream: bool) -> None:
        """Admit everybody."""

    async def track(self, room: str, member: Any, *, stream: bool = False) -> None:
        await self._call("track")

    def untrack(self, room: str, member: Any, *, stream: bool = False) -> None:
        self.calls.append("untrack")

    async def follow(self, room: str, after: Any, subscriber: Any, address: str) -> "FakeServices":
        await self._call("follow")
        self.calls.append("add")
        return self

    def remove(self, subscriber: Any) -> None:
        self.calls.append("remove")


# What must have been called in the end, by the call during which the client disconnects.
CALLS_AFTER_DISCONNECT = {
    "track": ["track", "untrack", "follow", "add", "remove"],
    "follow": ["track", "follow", "untrack", "add", "remove"],
}
