"""What one client sends at once is handled one by one, and others have their turn in between."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

from tornado.iostream import StreamClosedError

from realtime.transports.sockjs import session as sockjs
from realtime.transports.upgrade import StrictWebSocketProtocol

COUNT = 5


async def run_beside(work: Callable[[list[str]], object]) -> list[str]:
    """Run `work`, which appends to a list, beside another task that does so, too."""
    order: list[str] = []

    async def other() -> None:
        for _ in range(COUNT):
            order.append("other")
            await asyncio.sleep(0)

    await asyncio.gather(work(order), other())  # type: ignore[call-overload]
    return order


async def test_before_each_frame_of_a_websocket_others_have_their_turn() -> None:
    class Frames(StrictWebSocketProtocol):
        def __init__(self, order: list[str]) -> None:
            self.order, self.client_terminated = order, False

        async def _receive_one_frame(self) -> None:
            self.order.append("frame")
            self.client_terminated = self.order.count("frame") == COUNT

    order = await run_beside(lambda order: Frames(order)._receive_frames())
    assert order == ["other", "frame"] * COUNT


async def test_after_each_message_of_a_sockjs_batch_others_have_their_turn() -> None:
    def receive(order: list[str]) -> object:
        session = sockjs.HardenedSession.__new__(sockjs.HardenedSession)
        session._receive_lock, session.state = asyncio.Lock(), sockjs.OPEN
        session.stats = SimpleNamespace(on_pack_recv=lambda count: None)
        session.conn = SimpleNamespace(on_message=order.append)
        return session.receive(["message"] * COUNT)

    assert await run_beside(receive) == ["message", "other"] * COUNT


async def test_a_heartbeat_to_a_connection_that_has_just_closed_ends_the_session() -> None:
    def fail() -> bool:
        raise StreamClosedError

    reasons: list[tuple[int, str]] = []
    session = sockjs.HardenedSession.__new__(sockjs.HardenedSession)
    session.handler = SimpleNamespace(send_heartbeat=fail)
    session.abort = lambda *reason: reasons.append(reason)
    session._heartbeat()
    assert reasons == [(sockjs.TOO_SLOW, "The client does not read heartbeats")]
