"""A tracked member is untracked, however the request ends."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.core.events import Member
from realtime.core.hub import Reader
from realtime.transports.base import RequestBase, Services, Subscription

ADA = Member("ada", "Ada", "sse")


class Presence:
    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[str] = []
        self._error = error

    def is_tracked(self, room: str, client: str) -> bool:
        return True

    async def track(self, room: str, member: Member, *, stream: bool) -> None:
        self.calls.append(f"track {stream}")
        if self._error is not None:
            raise self._error

    def untrack(self, room: str, member: Member, *, stream: bool) -> None:
        self.calls.append(f"untrack {stream}")


def tracked(presence: Presence, member: Member | None) -> Any:
    request = RequestBase()
    request.stream = SimpleNamespace(address="::1")  # type: ignore[assignment]
    request.services = Services(None, presence, None, None, None)  # type: ignore[arg-type]
    return request.tracked(Subscription("lobby", 0, member), Reader(None, None))  # type: ignore[arg-type]


async def test_a_tracked_member_is_untracked() -> None:
    presence = Presence()
    async with tracked(presence, ADA):
        pass
    assert presence.calls == ["track False", "untrack False"]


async def test_a_member_whose_tracking_is_cancelled_is_untracked() -> None:
    presence = Presence(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        async with tracked(presence, ADA):
            pytest.fail("it is not tracked")
    assert presence.calls == ["track False", "untrack False"]


async def test_a_reader_without_a_name_is_not_tracked() -> None:
    presence = Presence()
    async with tracked(presence, None):
        pass
    assert presence.calls == []
