"""How a session opens, receives, sends and closes, over every transport."""

import asyncio
import json
import socket
from typing import Any, ClassVar

import pytest
from tornado.web import HTTPError

from tests.transports.sockjs.harness import (
    Connection,
    Echo,
    Endpoint,
    fixes_upstream_bug,
    messages,
    serve,
)

S = "/echo/000/session"


class Recording(Echo):
    """A connection that records its callbacks."""

    callbacks: ClassVar[list[Any]] = []
    sessions: ClassVar[list[Any]] = []

    def on_open(self, request: Any) -> Any:
        self.callbacks.append("open")
        self.sessions[:] = [self.session]

    def on_message(self, message: Any) -> None:
        self.callbacks.append(message)

    def on_close(self) -> None:
        self.callbacks.append("close")


@pytest.fixture
def callbacks() -> list[Any]:
    Recording.callbacks.clear()
    return Recording.callbacks


# --- problem 10: a connection that refuses -------------------------------------------------------


class Closing(Recording):
    def on_open(self, request: Any) -> None:
        super().on_open(request)
        self.close()


class Refusing(Recording):
    def on_open(self, request: Any) -> bool:
        super().on_open(request)
        return False


class RefusingLater(Recording):
    async def on_open(self, request: Any) -> bool:
        super().on_open(request)
        await asyncio.sleep(0)
        return False


class Forbidding(Recording):
    def on_open(self, request: Any) -> None:
        super().on_open(request)
        raise HTTPError(403, reason="Not you")


class Failing(Recording):
    def on_open(self, request: Any) -> None:
        super().on_open(request)
        raise ZeroDivisionError


REFUSALS = {
    Closing: 'c[3000,"Go away!"]',
    Refusing: 'c[4403,"Refused"]',
    RefusingLater: 'c[4403,"Refused"]',
    Forbidding: 'c[4403,"Not you"]',
    Failing: 'c[1011,"The server made a mistake"]',
}


@fixes_upstream_bug
@pytest.mark.parametrize("refusing", [kind for kind in REFUSALS if kind is not RefusingLater])
async def test_a_connection_that_refuses_is_closed_and_receives_nothing(
    kind: str, refusing: type, callbacks: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(kind, refusing) as endpoint:
        assert (await endpoint.post(f"{S}/xhr")).body == "o\n"
        assert (await endpoint.post(f"{S}/xhr_send", '["x"]')).status == 404
        for _ in range(2):  # until the session is removed
            assert (await endpoint.post(f"{S}/xhr")).body == REFUSALS[refusing] + "\n"
    assert callbacks == ["open", "close"]
    assert ("ZeroDivisionError" in caplog.text) == (refusing is Failing)


async def test_a_coroutine_can_refuse_as_well(callbacks: list[Any]) -> None:
    async with serve("hardened", RefusingLater) as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (await endpoint.post(f"{S}/xhr")).body == REFUSALS[RefusingLater] + "\n"
    assert callbacks == ["open", "close"]


@fixes_upstream_bug
@pytest.mark.parametrize("refusing", [Failing, Forbidding])
async def test_a_refused_stream_ends_and_its_session_is_removed(
    kind: str, refusing: type, callbacks: list[Any]
) -> None:
    options = {"disconnect_delay": 0.05, "session_check_interval": 0.02}
    async with serve(kind, refusing, **options) as endpoint, endpoint.connect() as connection:
        await connection.start_stream(f"{S}/xhr_streaming")
        assert await connection.chunk() == "o\n"
        assert await connection.chunk() == REFUSALS[refusing] + "\n"
        assert await connection.chunk() == ""
        await session_removed(endpoint)
    assert callbacks == ["open", "close"]


@pytest.mark.parametrize("refusing", REFUSALS)
async def test_a_refused_websocket_gets_the_reason(refusing: type, callbacks: list[Any]) -> None:
    async with serve("hardened", refusing) as endpoint, endpoint.connect() as connection:
        await connection.upgrade(f"{S}/websocket")
        assert await connection.frame() == "o"
        assert await connection.frame() == REFUSALS[refusing]
        assert await connection.frame() == "1000"
    assert callbacks == ["open", "close"]


async def session_removed(endpoint: Endpoint) -> None:
    async with asyncio.timeout(endpoint.timeout):
        while endpoint.router.get_session("session") is not None:
            await asyncio.sleep(0.01)


# --- problem 11: messages before a close ---------------------------------------------------------


class ClosingAfterMessages(Echo):
    def on_message(self, message: Any) -> None:
        for number in range(3):
            self.send(f"m{number}")
        self.session.close(4002, 'say "hé"')


LAST_MESSAGES = ["m0", "m1", "m2"]
CLOSE_FRAME = 'c[4002,"say \\"hé\\""]'


async def read_until_closed(connection: Connection, streams: bool) -> tuple[list[str], str]:
    received: list[str] = []
    while True:
        frame = await (connection.chunk() if streams else connection.frame())
        frame = frame.removesuffix("\n")
        if not frame.startswith("a"):
            return received, frame
        received += messages(frame)


@fixes_upstream_bug
async def test_messages_before_a_close_arrive_before_it_on_a_stream(kind: str) -> None:
    async with serve(kind, ClosingAfterMessages) as endpoint, endpoint.connect() as connection:
        await connection.start_stream(f"{S}/xhr_streaming")
        await connection.chunk()
        assert (await endpoint.post(f"{S}/xhr_send", '["x"]')).status == 204
        assert await read_until_closed(connection, True) == (LAST_MESSAGES, CLOSE_FRAME)
        assert await connection.chunk() == ""


@fixes_upstream_bug
async def test_messages_before_a_close_arrive_before_it_on_a_websocket(kind: str) -> None:
    async with serve(kind, ClosingAfterMessages) as endpoint, endpoint.connect() as connection:
        await connection.upgrade(f"{S}/websocket")
        assert await connection.frame() == "o"
        connection.write('["x"]')
        assert await read_until_closed(connection, False) == (LAST_MESSAGES, CLOSE_FRAME)


@fixes_upstream_bug
@pytest.mark.parametrize("waiting", [True, False])
async def test_messages_before_a_close_arrive_before_it_by_polling(
    kind: str, waiting: bool
) -> None:
    async with serve(kind, ClosingAfterMessages) as endpoint, endpoint.connect() as connection:
        await endpoint.post(f"{S}/xhr")
        if waiting:
            connection.request("POST", f"{S}/xhr")
            await receiver_attached(endpoint)
        assert (await endpoint.post(f"{S}/xhr_send", '["x"]')).status == 204
        received: list[str] = []
        response = await connection.response() if waiting else await endpoint.post(f"{S}/xhr")
        body = response.body
        while body.startswith("a"):
            received += messages(body)
            body = (await endpoint.post(f"{S}/xhr")).body
    assert (received, body) == (LAST_MESSAGES, CLOSE_FRAME + "\n")


async def receiver_attached(endpoint: Endpoint) -> None:
    """Return when a connection waits for messages of the session."""
    async with asyncio.timeout(endpoint.timeout):
        while endpoint.router.get_session("session").handler is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", ["websocket", "xhr_streaming"])
async def test_messages_queued_for_a_slow_reader_arrive_before_the_close(transport: str) -> None:
    # The kernel's buffers grow to several megabytes, and none of these limits may be reached first.
    options = {"response_limit": 20_000_000, "queue_bytes": 10_000_000}
    async with (
        serve("hardened", Recording, **options) as endpoint,
        endpoint.connect() as connection,
    ):
        if transport == "websocket":
            await connection.upgrade(f"{S}/websocket")
            assert await connection.frame() == "o"
        else:
            await connection.start_stream(f"{S}/xhr_streaming")
            await connection.chunk()
        session = Recording.sessions[0]
        sent = 0
        while not session.send_queue:  # the client does not read: the kernel's buffers fill up
            session.send_message(f"{sent} {MESSAGE}")
            sent += 1
        session.close(4002, "done")
        received, close_frame = await read_until_closed(connection, transport != "websocket")
    assert received == [f"{number} {MESSAGE}" for number in range(sent)]
    assert close_frame == 'c[4002,"done"]'


async def test_a_stream_that_connects_after_the_close_gets_the_queued_messages() -> None:
    async with (
        serve("hardened", ClosingAfterMessages) as endpoint,
        endpoint.connect() as connection,
    ):
        await endpoint.post(f"{S}/xhr")
        await endpoint.post(f"{S}/xhr_send", '["x"]')
        await connection.start_stream(f"{S}/xhr_streaming")
        assert await read_until_closed(connection, True) == (LAST_MESSAGES, CLOSE_FRAME)
        assert await connection.chunk() == ""


# --- problem 12: heartbeats ----------------------------------------------------------------------

HEARTBEATS = {"xhr_streaming": "h\n", "eventsource": "data: h\r\n\r\n"}


@fixes_upstream_bug
@pytest.mark.parametrize("transport", HEARTBEATS)
async def test_an_idle_stream_gets_heartbeats(kind: str, transport: str) -> None:
    async with serve(kind, heartbeat_delay=0.05) as endpoint, endpoint.connect() as connection:
        connection.request("GET" if transport == "eventsource" else "POST", f"{S}/{transport}")
        await connection.head()
        await connection.chunk()
        await connection.chunk()
        for _ in range(3):
            assert await connection.chunk() == HEARTBEATS[transport]


async def test_polls_and_websockets_get_heartbeats() -> None:
    async with serve(heartbeat_delay=0.05) as endpoint, endpoint.connect() as connection:
        await endpoint.post(f"{S}/xhr")
        for _ in range(2):
            assert (await endpoint.post(f"{S}/xhr")).body == "h\n"
        await connection.upgrade(f"{S}/websocket")
        assert await connection.frame() == "o"
        assert await connection.frame() == "h"
        connection.write("", opcode=10)  # a pong, which a browser sends without its page
        assert await connection.frame() == "h"


@fixes_upstream_bug
async def test_a_websocket_that_answers_no_ping_is_closed(kind: str, callbacks: list[Any]) -> None:
    async with (
        serve(kind, Recording, heartbeat_delay=0.05) as endpoint,
        endpoint.connect() as connection,
    ):
        await connection.upgrade(f"{S}/websocket")
        await connection.wait_closed()
    assert callbacks == ["open", "close"]


@fixes_upstream_bug
async def test_polls_leave_no_timers(kind: str) -> None:
    async with serve(kind, heartbeat_delay=30) as endpoint:
        await endpoint.post(f"{S}/xhr")
        for _ in range(20):
            polling = asyncio.create_task(endpoint.post(f"{S}/xhr"))
            await receiver_attached(endpoint)
            assert (await endpoint.post(f"{S}/xhr_send", '["x"]')).status == 204
            await polling
        loop: Any = asyncio.get_running_loop()
        alive = [timer for timer in loop._scheduled if not timer.cancelled()]
    assert len(alive) < 10


# --- problems 14 and 15: clients that do not read ------------------------------------------------

# Far above `queue_bytes` and the kernel's buffers, of which `flood` makes one small.
FLOOD, MESSAGE = 1_500_000, "x" * 2000


@fixes_upstream_bug
async def test_a_websocket_that_does_not_read_is_closed_at_the_queue_limit(
    kind: str, callbacks: list[Any]
) -> None:
    async with serve(kind, Recording) as endpoint, endpoint.connect() as connection:
        await connection.upgrade(f"{S}/websocket")
        assert await connection.frame() == "o"
        await flood(Recording.sessions[0])
        assert callbacks == ["open", "close"]
        await connection.wait_closed()


@fixes_upstream_bug
@pytest.mark.parametrize("transport", ["xhr_streaming", "eventsource", "xhr"])
async def test_an_http_client_that_does_not_read_is_closed_at_the_queue_limit(
    kind: str, transport: str, callbacks: list[Any]
) -> None:
    options = {"response_limit": 2 * FLOOD}
    async with serve(kind, Recording, **options) as endpoint, endpoint.connect() as connection:
        connection.request("GET" if transport == "eventsource" else "POST", f"{S}/{transport}")
        await connection.head()
        await flood(endpoint.router.get_session("session"))
        assert callbacks == ["open", "close"]
        if transport != "xhr":
            await connection.wait_closed()


async def flood(session: Any) -> None:
    """Send to a client that does not read, until its session is closed."""
    if session.handler is not None:
        handler = session.handler
        connection = getattr(handler, "ws_connection", None) or handler.request.connection
        connection.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    for _ in range(FLOOD // len(MESSAGE)):
        if session.is_closed:
            return
        session.send_message(MESSAGE)
        await asyncio.sleep(0)
    raise AssertionError("the session queued everything")


async def test_queued_messages_are_sent_as_one_frame() -> None:
    async with serve() as endpoint:
        await endpoint.post(f"{S}/xhr")
        session = endpoint.router.get_session("session")
        for number in range(100):
            session.send_message(str(number))
        response = await endpoint.post(f"{S}/xhr")
    assert messages(response.body) == [str(number) for number in range(100)]


# --- receiving -----------------------------------------------------------------------------------


class Slow(Echo):
    async def on_message(self, message: str) -> None:
        await asyncio.sleep(0.02 if message == "slow" else 0)
        self.send(message)


async def test_messages_wait_for_a_coroutine_and_keep_their_order() -> None:
    async with serve("hardened", Slow) as endpoint:
        await endpoint.post(f"{S}/xhr")
        sends = [endpoint.post(f"{S}/xhr_send", json.dumps([text])) for text in ("slow", "a", "b")]
        first = asyncio.create_task(sends[0])
        await asyncio.sleep(0.01)
        responses = await asyncio.gather(first, *sends[1:])
        assert [response.status for response in responses] == [204, 204, 204]
        # A poll after the 204 gets the echo: the message was handled before the 204.
        received = messages((await endpoint.post(f"{S}/xhr")).body)
    assert received[0] == "slow"
    assert sorted(received) == ["a", "b", "slow"]


class FailingOnMessage(Recording):
    def on_message(self, message: str) -> None:
        raise ZeroDivisionError(message)


async def test_a_connection_that_fails_is_closed_with_a_reason(
    callbacks: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve("hardened", FailingOnMessage) as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (await endpoint.post(f"{S}/xhr_send", '["x","y"]')).status == 204
        assert (await endpoint.post(f"{S}/xhr")).body == 'c[1011,"The server made a mistake"]\n'
    assert callbacks == ["open", "close"]
    assert caplog.text.count("ZeroDivisionError: x") == 1
    assert caplog.text.count("a connection failed") == 1  # the second message is not handled


@fixes_upstream_bug
async def test_a_session_that_changed_its_transport_is_closed(kind: str) -> None:
    async with serve(kind) as endpoint, endpoint.connect() as connection:
        await endpoint.post(f"{S}/xhr")
        await connection.start_stream(f"{S}/xhr_streaming")
        endpoint.router.get_session("session").close()
        assert await connection.chunk() == 'c[3000,"Go away!"]\n'
        assert await connection.chunk() == ""
        assert endpoint.router.stats.sess_active == 0


async def test_a_second_receiver_is_refused_and_the_first_continues() -> None:
    async with serve() as endpoint, endpoint.connect() as connection:
        await endpoint.post(f"{S}/xhr")
        connection.request("POST", f"{S}/xhr")
        await receiver_attached(endpoint)
        second = await endpoint.post(f"{S}/xhr")
        assert second.body == 'c[2010,"Another connection still open"]\n'
        await endpoint.post(f"{S}/xhr_send", '["x"]')
        assert (await connection.response()).body == 'a["x"]\n'


async def test_a_poll_that_disconnects_ends_the_session(callbacks: list[Any]) -> None:
    async with serve("hardened", Recording) as endpoint:
        await endpoint.post(f"{S}/xhr")
        async with endpoint.connect() as connection:
            connection.request("POST", f"{S}/xhr")
            await receiver_attached(endpoint)
        async with asyncio.timeout(endpoint.timeout):
            while "close" not in callbacks:
                await asyncio.sleep(0.01)
        assert (await endpoint.post(f"{S}/xhr")).body == 'c[1002,"Connection interrupted"]\n'


@fixes_upstream_bug
async def test_no_connection_is_counted_after_we_close_its_websocket(kind: str) -> None:
    async with serve(kind, Closing) as endpoint:
        for _ in range(3):
            async with endpoint.connect() as connection:
                await connection.upgrade(f"{S}/websocket")
                assert await connection.frame() == "o"
                await connection.frame()
                assert await connection.frame() == "1000"
        assert endpoint.router.stats.conn_active == 0
