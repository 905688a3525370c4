"""A visit ends however it ends."""

import asyncio
from typing import Any

import pytest

from realtime.core.events import Member
from realtime.transports.base import RequestBase, Services, Subscription

ADA = Member("ada", "Ada", "sse")


class Presence:
    def __init__(self, hinder: BaseException | None = None) -> None:
        self.course: list[str] = []
        self._hinder = hinder

    async def track(self, room: str, member: Member) -> None:
        self.course.append("arrive")
        if self._hinder is not None:
            raise self._hinder

    def untrack(self, room: str, member: Member, seconds: float) -> None:
        self.course.append(f"depart in {seconds:g}")


def visit(presence: Presence, member: Member | None) -> Any:
    asking = RequestBase()
    asking.services = Services(None, presence, None, None, None)  # type: ignore[arg-type]
    return asking.visit(Subscription("lobby", 0, member), 5)


async def test_who_came_departs() -> None:
    presence = Presence()
    async with visit(presence, ADA):
        pass
    assert presence.course == ["arrive", "depart in 5"]


async def test_who_is_hindered_on_the_way_in_departs() -> None:
    presence = Presence(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        async with visit(presence, ADA):
            pytest.fail("it never came in")
    assert presence.course == ["arrive", "depart in 5"]


async def test_who_has_no_name_is_no_visitor() -> None:
    presence = Presence()
    async with visit(presence, None):
        pass
    assert presence.course == []
