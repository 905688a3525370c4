"""A client leaves a room exactly once, also while it is still joining."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.core.events import Cursor, Member
from realtime.errors import Busy, RealtimeError, Removed
from realtime.transports.membership import DrainingSubscriber, Membership

ADA = Member("ada", "Ada", "sse")
CURSOR = Cursor("epoch", 7)


class FakeRoom:
    """Presence, hub and broadcaster in one, which log what a membership calls.

    `track` and `follow` wait while `hold` is set, and then raise `error` if there is one.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.error: BaseException | None = None
        self.refusal: RealtimeError | None = None
        self.services: Any = SimpleNamespace(
            hub=self, presence=self, moderation=None, admit_member=self.admit_member
        )

    async def _wait(self) -> None:
        await self.hold.wait()
        if self.error is not None:
            raise self.error

    async def admit_member(self, room: str, member: Member, address: str, *, stream: bool) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def track(self, room: str, member: Member, *, stream: bool) -> None:
        assert stream
        self.calls.append(f"track {member.client} in {room}")
        await self._wait()

    def untrack(self, room: str, member: Member, *, stream: bool) -> None:
        assert stream
        self.calls.append(f"untrack {member.client} in {room}")

    async def follow(self, room: str, cursor: Cursor, subscriber: Any, address: str) -> "FakeRoom":
        await self._wait()
        self.calls.append(f"follow {room} from {cursor}")
        return self


class FakeSubscriber:
    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def attach(self, broadcaster: FakeRoom) -> None:
        self._calls.append("attach")

    def detach(self) -> None:
        self._calls.append("detach")

    def close(self, error: RealtimeError) -> None:
        self._calls.append(f"close {error.code}")


TRACK, UNTRACK = "track ada in lobby", "untrack ada in lobby"
FOLLOW = "follow lobby from epoch-7"


@pytest.fixture
def room() -> FakeRoom:
    return FakeRoom()


@pytest.fixture
def membership(room: FakeRoom) -> Membership:
    return Membership(room.services, "lobby", "::1")


@pytest.fixture
def subscriber(room: FakeRoom) -> Any:
    return FakeSubscriber(room.calls)


async def leave_during(room: FakeRoom, membership: Membership, step: Any) -> None:
    """Leave while `step` waits for the broker, then let it continue."""
    room.hold.clear()
    task = asyncio.create_task(step)
    await asyncio.sleep(0)
    membership.leave()
    room.hold.set()
    await task


async def test_a_member_is_tracked_and_subscribed_until_it_leaves(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(ADA)
    await membership.follow(CURSOR, subscriber)
    assert not membership.left
    membership.leave()
    assert membership.left
    assert room.calls == [TRACK, FOLLOW, "attach", "detach", UNTRACK]


async def test_a_second_leave_does_nothing(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(ADA)
    await membership.follow(CURSOR, subscriber)
    membership.leave()
    membership.leave()
    assert room.calls.count("detach") == room.calls.count(UNTRACK) == 1


async def test_a_client_without_a_name_is_subscribed_but_not_tracked(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(None)
    await membership.follow(CURSOR, subscriber)
    membership.leave()
    assert room.calls == [FOLLOW, "attach", "detach"]


async def test_a_client_that_leaves_during_track_is_untracked(
    room: FakeRoom, membership: Membership
) -> None:
    await leave_during(room, membership, membership.track(ADA))
    assert room.calls == [TRACK, UNTRACK]


async def test_a_client_that_left_during_track_stays_unsubscribed(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await leave_during(room, membership, membership.track(ADA))
    await membership.follow(CURSOR, subscriber)
    assert room.calls[-2:] == ["attach", "detach"]


async def test_a_client_that_left_is_not_tracked_again(
    room: FakeRoom, membership: Membership
) -> None:
    membership.leave()
    await membership.track(ADA)
    assert room.calls == []


async def test_a_client_that_leaves_during_follow_is_detached_and_untracked(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(ADA)
    await leave_during(room, membership, membership.follow(CURSOR, subscriber))
    assert room.calls == [TRACK, UNTRACK, FOLLOW, "attach", "detach"]


@pytest.mark.parametrize("error", [Busy("Too many rooms."), asyncio.CancelledError()])
async def test_a_client_that_cannot_follow_has_left(
    room: FakeRoom, membership: Membership, subscriber: Any, error: BaseException
) -> None:
    await membership.track(ADA)
    room.error = error
    with pytest.raises(type(error)):
        await membership.follow(CURSOR, subscriber)
    assert membership.left
    assert room.calls == [TRACK, UNTRACK]


async def test_a_client_whose_track_is_cancelled_has_left(
    room: FakeRoom, membership: Membership
) -> None:
    room.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await membership.track(ADA)
    assert room.calls == [TRACK, UNTRACK]


async def test_a_client_can_unsubscribe_and_stay_a_member(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(ADA)
    await membership.follow(CURSOR, subscriber)
    membership.unsubscribe()
    assert room.calls[-1] == "detach"
    assert not membership.left
    membership.leave()
    assert room.calls[-2:] == ["detach", UNTRACK]


class FakeConnection:
    """A connection and a broadcaster in one."""

    def __init__(self) -> None:
        self.drained: Any = None
        self.calls: list[str] = []

    def resume(self, subscriber: Any) -> None:
        self.calls.append("resume")

    def remove(self, subscriber: Any) -> None:
        self.calls.append("remove")


def attached() -> tuple[Any, FakeConnection]:
    connection = FakeConnection()
    subscriber: Any = DrainingSubscriber(
        connection, framing=None, push=lambda data, events: True, close=lambda error: None
    )  # type: ignore[arg-type]
    subscriber.attach(connection)
    return subscriber, connection


def test_a_subscriber_asks_for_more_when_its_connection_has_drained() -> None:
    _, connection = attached()
    connection.drained()
    assert connection.calls == ["resume"]


def test_a_detached_subscriber_is_not_called_again() -> None:
    subscriber, connection = attached()
    subscriber.detach()
    assert connection.drained is None
    assert connection.calls == ["remove"]


async def test_a_member_who_is_refused_is_not_untracked(
    room: FakeRoom, membership: Membership
) -> None:
    """Its id may be that of a member who is there."""
    room.refusal = Removed("removed")
    with pytest.raises(Removed):
        await membership.track(ADA)
    assert membership.left
    assert room.calls == []


async def test_the_end_closes_the_stream_with_the_error(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(ADA)
    await membership.follow(CURSOR, subscriber)
    membership.end(Removed("removed"))
    assert room.calls == [TRACK, FOLLOW, "attach", "detach", UNTRACK, "close removed"]


async def test_an_end_before_the_subscription_closes_it_as_well(
    room: FakeRoom, membership: Membership, subscriber: Any
) -> None:
    await membership.track(ADA)
    membership.end(Removed("removed"))
    await membership.follow(CURSOR, subscriber)
    assert room.calls == [TRACK, UNTRACK, FOLLOW, "attach", "detach", "close removed"]
