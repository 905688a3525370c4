"""A visit ends however it ends."""

import asyncio
from typing import Any

import pytest

from realtime.core.events import Member
from realtime.transports.base import Asking, House, Question

ADA = Member("ada", "Ada", "sse")


class Presence:
    def __init__(self, hinder: BaseException | None = None) -> None:
        self.course: list[str] = []
        self._hinder = hinder

    async def arrive(self, room: str, member: Member) -> None:
        self.course.append("arrive")
        if self._hinder is not None:
            raise self._hinder

    def depart(self, room: str, member: Member, seconds: float) -> None:
        self.course.append(f"depart in {seconds:g}")


def visit(presence: Presence, member: Member | None) -> Any:
    asking = Asking()
    asking.house = House(None, presence, None, None)  # type: ignore[arg-type]
    return asking.visit(Question("lobby", 0, member), 5)


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
