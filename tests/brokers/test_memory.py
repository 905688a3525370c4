"""What only the memory broker has: a clock that can be set, and nothing left of made-up rooms."""

import uuid

from realtime.brokers.memory import SEEN_SECONDS, MemoryBroker
from realtime.events import Cursor, Draft
from realtime.limits import Limits


class Silent:
    def announced(self, room: str, event: object) -> None: ...
    def confirmed(self, room: str) -> None: ...


async def test_an_id_is_forgotten_after_a_while() -> None:
    now = 1000.0
    broker = MemoryBroker(Limits(), lambda: now)
    await broker.start(Silent())
    draft = Draft("r", str(uuid.uuid4()), None, None, "hi", "post", None)
    assert (await broker.publish(draft)).fresh
    now += SEEN_SECONDS - 1
    assert not (await broker.publish(draft)).fresh
    now += 2
    assert (await broker.publish(draft)).fresh


async def test_a_room_that_was_only_looked_at_leaves_no_trace() -> None:
    broker = MemoryBroker(Limits())
    await broker.start(Silent())
    for number in range(100):
        broker.listen(f"room-{number}")
        await broker.history(f"room-{number}", Cursor("", 0))
        broker.unlisten(f"room-{number}")
    assert not broker._logs
