"""The rules of a room, and the streams that they end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime.brokers.memory import MemoryBroker
from realtime.core import moderation as module
from realtime.core.moderation import Moderation, Rules
from realtime.errors import Muted, NameNotApproved, NoBroker, RealtimeError, Removed, RoomLocked
from realtime.limits import Limits


class Stream:
    """A stream that records how it was ended."""

    def __init__(self) -> None:
        self.error: asyncio.Future[RealtimeError] = asyncio.get_running_loop().create_future()

    def end(self, error: RealtimeError) -> None:
        self.error.set_result(error)


class BrokerWithoutReply(MemoryBroker):
    down = False

    async def rules(self, room: str) -> dict[str, str]:
        if self.down:
            raise NoBroker
        return dict(await super().rules(room))


@pytest.fixture
async def broker() -> BrokerWithoutReply:
    return BrokerWithoutReply(Limits())


@pytest.fixture
async def moderation(broker: BrokerWithoutReply) -> AsyncIterator[Moderation]:
    made = Moderation(broker)
    yield made
    await made.close()


def test_rules_are_read_from_the_fields_of_a_broker() -> None:
    fields = ["locked", "approval", "muted a", "muted b", "removed c", "inside a", "names Ada L."]
    expected = Rules(
        locked=True,
        approval=True,
        muted=frozenset("ab"),
        removed=frozenset("c"),
        inside=frozenset("a"),
        names=frozenset(["Ada L."]),
    )
    assert Rules.parse(dict.fromkeys(fields, "1")) == expected
    assert Rules.parse({}) == Rules()


def test_who_is_removed_is_no_member_and_does_not_speak() -> None:
    rules = Rules(removed=frozenset(["bad"]))
    for check in (rules.check_member, rules.check_speaker):
        check("good")
        with pytest.raises(Removed):
            check("bad")


def test_a_lock_keeps_those_inside_and_nobody_else() -> None:
    rules = Rules(locked=True, inside=frozenset(["in"]))
    rules.check_member("in")
    rules.check_speaker("in")
    with pytest.raises(RoomLocked):
        rules.check_member("new")
    with pytest.raises(RoomLocked):
        rules.check_speaker(None)


def test_who_is_muted_stays_a_member() -> None:
    rules = Rules(muted=frozenset(["loud"]))
    rules.check_member("loud")
    rules.check_speaker("other")
    with pytest.raises(Muted):  # or leaving out the client would lift the rule
        rules.check_speaker(None)
    with pytest.raises(Muted):
        rules.check_speaker("loud")
    with pytest.raises(Muted):
        Rules(muted=frozenset("*")).check_speaker(None)


async def test_a_name_waits_for_approval_once_and_not_too_many_do(
    moderation: Moderation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_WANTED", 2)
    await moderation.change("lobby", {"approval": "1", "names Ada": "1"})
    for name in ("Ada", "Bo", "Bo", "Cy", "Di", None):
        await moderation.change("lobby", {})  # a fresh copy
        rules = await moderation.rules("lobby")
        if name == "Ada":
            await moderation.check_name("lobby", rules, name)
            continue
        with pytest.raises(NameNotApproved) as waits:
            await moderation.check_name("lobby", rules, name)
        assert waits.value.retry_after
    await moderation.change("lobby", {"names Bo": "1", "wanted Bo": None})
    assert (await moderation.rules("lobby")).wanted == {"Cy"}
    await moderation.check_name("lobby", await moderation.rules("lobby"), "Bo")


async def test_names_that_arrive_together_are_not_too_many(
    moderation: Moderation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_WANTED", 2)
    await moderation.change("lobby", {"approval": "1"})
    rules = await moderation.rules("lobby")
    waiting = [moderation.check_name("lobby", rules, f"name {number}") for number in range(9)]
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len((await moderation.read("lobby")).wanted) == 2


async def test_a_change_ends_the_streams_of_the_removed_client(moderation: Moderation) -> None:
    bad, good, elsewhere, gone = (Stream() for _ in range(4))
    for room, client, stream in (
        *(("lobby", "bad", bad), ("lobby", "good", good)),
        *(("other", "bad", elsewhere), ("lobby", "bad", gone)),
    ):
        moderation.add(room, client, stream)
    moderation.discard("lobby", gone)
    moderation.discard("lobby", gone)
    await moderation.change("lobby", {"removed bad": "1"})
    assert isinstance(bad.error.result(), Removed)
    assert not any(stream.error.done() for stream in (good, elsewhere, gone))


async def test_a_client_that_was_admitted_during_a_change_does_not_stay(
    moderation: Moderation,
) -> None:
    """Its stream is added after its admission, so the change did not end it."""
    early, inside, late, removed = (Stream() for _ in range(4))
    moderation.add("lobby", "early", early)
    await moderation.change("lobby", {"locked": "1", "inside in": "1", "removed bad": "1"})
    for client, stream in (("in", inside), ("late", late), ("bad", removed)):
        moderation.add("lobby", client, stream)
    assert isinstance(early.error.result(), RoomLocked)
    assert isinstance(late.error.result(), RoomLocked)
    assert isinstance(removed.error.result(), Removed)
    assert not inside.error.done()


async def test_an_announcement_of_another_process_ends_them_too(
    broker: BrokerWithoutReply, moderation: Moderation
) -> None:
    stream = Stream()
    moderation.add("lobby", "bad", stream)
    await Moderation(broker).change("lobby", {"removed bad": "1"})
    moderation.on_rules("lobby")
    async with asyncio.timeout(10):
        assert isinstance(await stream.error, Removed)


async def test_an_announcement_that_was_lost_is_found_soon(
    broker: BrokerWithoutReply, moderation: Moderation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COPY_SECONDS", 0.01)
    stream = Stream()
    moderation.add("lobby", "bad", stream)
    assert await moderation.rules("lobby") == Rules()
    moderation.start()
    await broker.change_rules("lobby", {"removed bad": "1"})
    async with asyncio.timeout(10):
        assert isinstance(await stream.error, Removed)
    assert (await moderation.rules("lobby")).removed == {"bad"}


async def test_while_the_broker_is_down_the_last_rules_hold(
    broker: BrokerWithoutReply, moderation: Moderation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moderation.change("lobby", {"muted bad": "1"})
    monkeypatch.setattr(module, "_COPY_SECONDS", 0)
    broker.down = True
    assert (await moderation.rules("lobby")).muted == {"bad"}
    with pytest.raises(NoBroker):
        await moderation.rules("never read")
