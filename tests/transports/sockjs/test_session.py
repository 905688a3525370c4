"""How a session opens, hears, tells and ends, whichever way it goes."""

import asyncio
import json
import socket
from typing import Any, ClassVar

import pytest
from tornado.web import HTTPError

from tests.transports.sockjs.harness import Echo, Endpoint, Wire, cures, endpoint, messages

S = "/echo/000/session"


class Listening(Echo):
    """One that remembers what happens to it."""

    happened: ClassVar[list[Any]] = []
    newest: ClassVar[list[Any]] = []

    def on_open(self, request: Any) -> Any:
        self.happened.append("open")
        self.newest[:] = [self.session]

    def on_message(self, message: Any) -> None:
        self.happened.append(message)

    def on_close(self) -> None:
        self.happened.append("close")


@pytest.fixture
def happened() -> list[Any]:
    Listening.happened.clear()
    return Listening.happened


# --- problem 10: a connection that refuses -------------------------------------------------------


class Closing(Listening):
    def on_open(self, request: Any) -> None:
        super().on_open(request)
        self.close()


class Denying(Listening):
    def on_open(self, request: Any) -> bool:
        super().on_open(request)
        return False


class DenyingLater(Listening):
    async def on_open(self, request: Any) -> bool:
        super().on_open(request)
        await asyncio.sleep(0)
        return False


class Forbidding(Listening):
    def on_open(self, request: Any) -> None:
        super().on_open(request)
        raise HTTPError(403, reason="Not you")


class Failing(Listening):
    def on_open(self, request: Any) -> None:
        super().on_open(request)
        raise ZeroDivisionError


REFUSALS = {
    Closing: 'c[3000,"Go away!"]',
    Denying: 'c[4403,"Refused"]',
    DenyingLater: 'c[4403,"Refused"]',
    Forbidding: 'c[4403,"Not you"]',
    Failing: 'c[1011,"The server made a mistake"]',
}


@cures
@pytest.mark.parametrize("refusing", [kind for kind in REFUSALS if kind is not DenyingLater])
async def test_a_connection_that_refuses_is_closed_and_hears_nothing(
    kind: str, refusing: type, happened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with endpoint(kind, refusing) as at:
        assert (await at.post(f"{S}/xhr")).body == "o\n"
        assert (await at.post(f"{S}/xhr_send", '["x"]')).status == 404
        for _ in range(2):  # until it is forgotten
            assert (await at.post(f"{S}/xhr")).body == REFUSALS[refusing] + "\n"
    assert happened == ["open", "close"]
    assert ("ZeroDivisionError" in caplog.text) == (refusing is Failing)


async def test_a_coroutine_may_refuse_as_well(happened: list[Any]) -> None:
    async with endpoint("hardened", DenyingLater) as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr")).body == REFUSALS[DenyingLater] + "\n"
    assert happened == ["open", "close"]


@cures
@pytest.mark.parametrize("refusing", [Failing, Forbidding])
async def test_a_stream_that_is_refused_ends_and_leaves_no_session(
    kind: str, refusing: type, happened: list[Any]
) -> None:
    options = {"disconnect_delay": 0.05, "session_check_interval": 0.02}
    async with endpoint(kind, refusing, **options) as at, at.connection() as wire:
        wire.ask("POST", f"{S}/xhr_streaming")
        await wire.head()
        await wire.chunk()
        assert await wire.chunk() == "o\n"
        assert await wire.chunk() == REFUSALS[refusing] + "\n"
        assert await wire.chunk() == ""
        await forgotten(at)
    assert happened == ["open", "close"]


@pytest.mark.parametrize("refusing", REFUSALS)
async def test_a_websocket_that_is_refused_is_told_why(refusing: type, happened: list[Any]) -> None:
    async with endpoint("hardened", refusing) as at, at.connection() as wire:
        await wire.upgrade(f"{S}/websocket")
        assert await wire.frame() == "o"
        assert await wire.frame() == REFUSALS[refusing]
        assert await wire.frame() == "1000"
    assert happened == ["open", "close"]


async def forgotten(at: Endpoint) -> None:
    async with asyncio.timeout(at.seconds):
        while at.router.get_session("session") is not None:
            await asyncio.sleep(0.01)


# --- problem 11: the last words ------------------------------------------------------------------


class Parting(Echo):
    def on_message(self, message: Any) -> None:
        for number in range(3):
            self.send(f"m{number}")
        self.session.close(4002, 'say "hé"')


LAST = ["m0", "m1", "m2"]
FAREWELL = 'c[4002,"say \\"hé\\""]'


async def until_closed(wire: Wire, streams: bool) -> tuple[list[str], str]:
    said: list[str] = []
    while True:
        frame = (await wire.chunk()).removesuffix("\n") if streams else await wire.frame()
        if not frame.startswith("a"):
            return said, frame
        said += messages(frame)


@cures
async def test_what_was_said_before_a_close_comes_before_it_on_a_stream(kind: str) -> None:
    async with endpoint(kind, Parting) as at, at.connection() as wire:
        wire.ask("POST", f"{S}/xhr_streaming")
        await wire.head()
        await wire.chunk()
        await wire.chunk()
        assert (await at.post(f"{S}/xhr_send", '["x"]')).status == 204
        assert await until_closed(wire, True) == (LAST, FAREWELL)
        assert await wire.chunk() == ""


@cures
async def test_what_was_said_before_a_close_comes_before_it_on_a_websocket(kind: str) -> None:
    async with endpoint(kind, Parting) as at, at.connection() as wire:
        await wire.upgrade(f"{S}/websocket")
        assert await wire.frame() == "o"
        wire.write('["x"]')
        assert await until_closed(wire, False) == (LAST, FAREWELL)


@cures
@pytest.mark.parametrize("waiting", [True, False])
async def test_what_was_said_before_a_close_comes_before_it_by_polls(
    kind: str, waiting: bool
) -> None:
    async with endpoint(kind, Parting) as at, at.connection() as wire:
        await at.post(f"{S}/xhr")
        if waiting:
            wire.ask("POST", f"{S}/xhr")
            await waited_for(at)
        assert (await at.post(f"{S}/xhr_send", '["x"]')).status == 204
        said, answer = [], (await wire.answer() if waiting else await at.post(f"{S}/xhr")).body
        while answer.startswith("a"):
            said += messages(answer)
            answer = (await at.post(f"{S}/xhr")).body
    assert (said, answer) == (LAST, FAREWELL + "\n")


async def waited_for(at: Endpoint) -> None:
    """Return when somebody waits to receive in the session."""
    async with asyncio.timeout(at.seconds):
        while at.router.get_session("session").handler is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", ["websocket", "xhr_streaming"])
async def test_what_still_waits_for_a_slow_reader_comes_before_the_close(way: str) -> None:
    options = {"response_limit": 2 * MUCH, "queue_bytes": MUCH}
    async with endpoint("hardened", Listening, **options) as at, at.connection() as wire:
        if way == "websocket":
            await wire.upgrade(f"{S}/websocket")
            assert await wire.frame() == "o"
        else:
            wire.ask("POST", f"{S}/xhr_streaming")
            await wire.head()
            await wire.chunk()
            await wire.chunk()
        session = Listening.newest[0]
        said = 0
        while not session.send_queue:  # it does not read, and the kernel is full
            session.send_message(f"{said} {ONE}")
            said += 1
        session.close(4002, "done")
        heard, farewell = await until_closed(wire, way != "websocket")
    assert heard == [f"{number} {ONE}" for number in range(said)]
    assert farewell == 'c[4002,"done"]'


async def test_a_stream_that_comes_after_the_end_is_told_all_that_is_left() -> None:
    async with endpoint("hardened", Parting) as at, at.connection() as wire:
        await at.post(f"{S}/xhr")
        await at.post(f"{S}/xhr_send", '["x"]')
        wire.ask("POST", f"{S}/xhr_streaming")
        await wire.head()
        await wire.chunk()
        assert await until_closed(wire, True) == (LAST, FAREWELL)
        assert await wire.chunk() == ""


# --- problem 12: silence -------------------------------------------------------------------------

WAYS = {"xhr_streaming": "h\n", "eventsource": "data: h\r\n\r\n"}


@cures
@pytest.mark.parametrize("way", WAYS)
async def test_a_silent_stream_has_heartbeats(kind: str, way: str) -> None:
    async with endpoint(kind, heartbeat_delay=0.05) as at, at.connection() as wire:
        wire.ask("GET" if way == "eventsource" else "POST", f"{S}/{way}")
        await wire.head()
        await wire.chunk()
        await wire.chunk()
        for _ in range(3):
            assert await wire.chunk() == WAYS[way]


async def test_polls_and_websockets_have_heartbeats() -> None:
    async with endpoint(heartbeat_delay=0.05) as at, at.connection() as wire:
        await at.post(f"{S}/xhr")
        for _ in range(2):
            assert (await at.post(f"{S}/xhr")).body == "h\n"
        await wire.upgrade(f"{S}/websocket")
        assert await wire.frame() == "o"
        assert await wire.frame() == "h"
        wire.write("", opcode=10)  # a pong, which a browser sends by itself
        assert await wire.frame() == "h"


@cures
async def test_a_websocket_that_answers_no_ping_is_gone(kind: str, happened: list[Any]) -> None:
    async with endpoint(kind, Listening, heartbeat_delay=0.05) as at, at.connection() as wire:
        await wire.upgrade(f"{S}/websocket")
        await wire.ended()
    assert happened == ["open", "close"]


@cures
async def test_polls_leave_no_timers_behind(kind: str) -> None:
    async with endpoint(kind, heartbeat_delay=30) as at:
        await at.post(f"{S}/xhr")
        for _ in range(20):
            asking = asyncio.create_task(at.post(f"{S}/xhr"))
            await waited_for(at)
            assert (await at.post(f"{S}/xhr_send", '["x"]')).status == 204
            await asking
        loop: Any = asyncio.get_running_loop()
        alive = [timer for timer in loop._scheduled if not timer.cancelled()]
    assert len(alive) < 10


# --- problems 14, 15: one who does not read ------------------------------------------------------

MUCH, ONE = 4_000_000, "x" * 2000


@cures
async def test_a_websocket_that_does_not_read_is_ended_before_much_waits(
    kind: str, happened: list[Any]
) -> None:
    async with endpoint(kind, Listening) as at, at.connection() as wire:
        await wire.upgrade(f"{S}/websocket")
        assert await wire.frame() == "o"
        await fill(Listening.newest[0])
        assert happened == ["open", "close"]
        await wire.ended()


@cures
@pytest.mark.parametrize("way", ["xhr_streaming", "eventsource", "xhr"])
async def test_who_does_not_read_over_http_is_ended_before_much_waits(
    kind: str, way: str, happened: list[Any]
) -> None:
    options = {"response_limit": 2 * MUCH}
    async with endpoint(kind, Listening, **options) as at, at.connection() as wire:
        wire.ask("GET" if way == "eventsource" else "POST", f"{S}/{way}")
        await wire.head()
        await fill(at.router.get_session("session"))
        assert happened == ["open", "close"]
        if way != "xhr":
            await wire.ended()


async def fill(session: Any) -> None:
    """Say much to one who does not read, until it is said that it has closed."""
    if session.handler is not None:
        handler = session.handler
        connection = getattr(handler, "ws_connection", None) or handler.request.connection
        connection.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    for _ in range(MUCH // len(ONE)):
        if session.is_closed:
            return
        session.send_message(ONE)
        await asyncio.sleep(0)
    raise AssertionError("all of it was taken")


async def test_what_waits_goes_as_one_frame_when_there_is_room() -> None:
    async with endpoint() as at:
        await at.post(f"{S}/xhr")
        session = at.router.get_session("session")
        for number in range(100):
            session.send_message(str(number))
        answer = await at.post(f"{S}/xhr")
    assert messages(answer.body) == [str(number) for number in range(100)]


# --- what is heard -------------------------------------------------------------------------------


class Slow(Echo):
    async def on_message(self, message: str) -> None:
        await asyncio.sleep(0.02 if message == "slow" else 0)
        self.send(message)


async def test_a_coroutine_is_waited_for_and_the_order_stays() -> None:
    async with endpoint("hardened", Slow) as at:
        await at.post(f"{S}/xhr")
        sends = [at.post(f"{S}/xhr_send", json.dumps([text])) for text in ("slow", "a", "b")]
        first = asyncio.create_task(sends[0])
        await asyncio.sleep(0.01)
        answers = await asyncio.gather(first, *sends[1:])
        assert [answer.status for answer in answers] == [204, 204, 204]
        # A poll that comes after the 204 finds the answer: it was heard before.
        heard = messages((await at.post(f"{S}/xhr")).body)
    assert heard[0] == "slow"
    assert sorted(heard) == ["a", "b", "slow"]


class Breaking(Listening):
    def on_message(self, message: str) -> None:
        raise ZeroDivisionError(message)


async def test_a_connection_that_fails_is_closed_and_its_client_told(
    happened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with endpoint("hardened", Breaking) as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr_send", '["x","y"]')).status == 204
        assert (await at.post(f"{S}/xhr")).body == 'c[1011,"The server made a mistake"]\n'
    assert happened == ["open", "close"]
    assert caplog.text.count("ZeroDivisionError: x") == 1
    assert caplog.text.count("a connection failed") == 1  # what comes after is not heard


async def test_a_second_receiver_is_refused_and_the_first_goes_on() -> None:
    async with endpoint() as at, at.connection() as wire:
        await at.post(f"{S}/xhr")
        wire.ask("POST", f"{S}/xhr")
        await waited_for(at)
        second = await at.post(f"{S}/xhr")
        assert second.body == 'c[2010,"Another connection still open"]\n'
        await at.post(f"{S}/xhr_send", '["x"]')
        assert (await wire.answer()).body == 'a["x"]\n'


async def test_a_poll_that_is_broken_off_ends_the_session(happened: list[Any]) -> None:
    async with endpoint("hardened", Listening) as at:
        await at.post(f"{S}/xhr")
        async with at.connection() as wire:
            wire.ask("POST", f"{S}/xhr")
            await waited_for(at)
        async with asyncio.timeout(at.seconds):
            while "close" not in happened:
                await asyncio.sleep(0.01)
        assert (await at.post(f"{S}/xhr")).body == 'c[1002,"Connection interrupted"]\n'


@cures
async def test_the_books_are_right_after_a_websocket_was_closed_by_us(kind: str) -> None:
    async with endpoint(kind, Closing) as at:
        for _ in range(3):
            async with at.connection() as wire:
                await wire.upgrade(f"{S}/websocket")
                assert await wire.frame() == "o"
                await wire.frame()
                assert await wire.frame() == "1000"
        assert at.router.stats.conn_active == 0
