"""SockJS in our rooms: joins and messages of a session, and clients that read slowly or not."""

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.client import get_json, request
from realtime.transports.sockjs import HardenedSockJSRouter
from realtime.transports.sockjs.transport import RoomConnection
from tests.cases import each
from tests.conftest import Servers
from tests.robustness.http_client import send_and_reset
from tests.server_process import Server
from tests.transports.fake_services import CALLS_AFTER_DISCONNECT, FakeServices
from tests.transports.readers import numbers, reader, say_in, texts
from tests.transports.sockjs.harness import Connection, Endpoint, messages

# Almost as long as a text may be.
LONG = "x" * 4000


def endpoint_of(server: Server) -> Endpoint:
    return Endpoint("hardened", server.port, None)


def new_session() -> str:
    """Return the path of a new session."""
    return f"/sockjs/000/{uuid.uuid4()}"


def join(room: str, **fields: Any) -> str:
    return json.dumps({"kind": "join", "room": room, **fields})


def batch(*texts: str) -> str:
    return json.dumps(texts)


class RoomSession:
    """A session over WebSocket; `next` returns what the server sends."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._unread: list[dict[str, Any]] = []

    async def open(self) -> None:
        assert (await self.connection.upgrade(f"{new_session()}/websocket")).status == 101
        assert await self.connection.frame() == "o"

    def send(self, message: str) -> None:
        self.connection.write(batch(message))

    def publish(self, **fields: Any) -> None:
        self.send(json.dumps(fields))

    async def next(self, kind: str) -> dict[str, Any]:
        """Return the next message of this kind; discard those before it."""
        while True:
            while self._unread:
                message = self._unread.pop(0)
                if message["kind"] == kind:
                    return message
            frame = await self.connection.frame()
            self._unread = [json.loads(message) for message in messages(frame)]

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.next("say") for _ in range(count)]


@asynccontextmanager
async def open_session(server: Server, *sent: str) -> AsyncIterator[RoomSession]:
    async with endpoint_of(server).connect() as connection:
        session = RoomSession(connection)
        await session.open()
        for message in sent:
            session.send(message)
        yield session


# --- join and publish ----------------------------------------------------------------------------


async def test_a_join_is_followed_by_history_and_messages_are_acknowledged(
    server: Server, room: str
) -> None:
    before = await say_in(server, room, "before")
    id = str(uuid.uuid4())
    async with open_session(server, join(room, id="j", after=None)) as session:
        # A join with an id is acknowledged with its cursor: before the last fifty events.
        assert (await session.next("ack"))["id"] == "j"
        assert (await session.events(1))[0]["cursor"] == before[0]
        session.publish(id=id, text="hello", client="me", name="Me")
        ack = await session.next("ack")
        event = (await session.events(1))[0]
        session.publish(id=id, text="hello")
        repeated = await session.next("ack")
    assert ack == repeated == {"kind": "ack", "id": id, "cursor": event["cursor"]}
    assert (event["text"], event["via"], event["name"]) == ("hello", "sockjs", "Me")


async def test_a_join_without_an_id_is_not_acknowledged(server: Server, room: str) -> None:
    await say_in(server, room, "before")
    async with open_session(server, join(room)) as session:
        assert '"before"' in messages(await session.connection.frame())[0]


MISTAKES = {
    "not json": "bad_json",
    "[]": "bad_json",
    "{}": "bad_request",
    '{"kind":"say","room":"r"}': "bad_request",
    '{"kind":"join"}': "bad_room",
    '{"kind":"join","room":7}': "bad_room",
    '{"kind":"join","room":"a b"}': "bad_room",
    '{"kind":"join","room":"r","after":"x"}': "bad_cursor",
    '{"kind":"join","room":"r","after":{}}': "bad_cursor",
    '{"kind":"join","room":"r","client":"ä"}': "bad_client",
    '{"kind":"join","room":"r","client":"c","name":"\\n"}': "bad_name",
    '{"kind":"join","room":"r","x":"' + "y" * 17_000 + '"}': "too_long",
    "[" * 9000: "bad_json",
    "a lone surrogate: \ud800": "bad_json",
}


@each("mistake", MISTAKES)
async def test_an_invalid_join_gets_an_error_and_can_be_repeated(
    server: Server, room: str, mistake: str
) -> None:
    async with open_session(server, mistake) as session:
        error = await session.next("error")
        assert (error["code"], error["id"]) == (MISTAKES[mistake], None)
        session.send(join(room, id="again"))
        assert (await session.next("ack"))["id"] == "again"


@pytest.mark.parametrize(
    ("message", "code"), [("{}", "bad_text"), ("x", "bad_json"), ('{"text":""}', "bad_text")]
)
async def test_an_invalid_message_gets_an_error_and_the_session_continues(
    server: Server, room: str, message: str, code: str
) -> None:
    async with open_session(server, join(room), message, '{"text":"valid"}') as session:
        assert (await session.next("error"))["code"] == code
        assert (await session.events(1))[0]["text"] == "valid"


async def test_a_client_above_its_rate_is_asked_to_retry_later(servers: Servers, room: str) -> None:
    limited = servers.get("memory", "--messages-per-second", "1", "--message-burst", "2")
    drafts = (f'{{"text":"{number}","client":"{room}"}}' for number in range(3))
    async with open_session(limited, join(room), *drafts) as session:
        error = await session.next("error")
    assert (error["code"], error["retry_after"]) == ("too_fast", 1)


async def test_a_client_is_a_member_until_its_session_ends(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--grace-seconds", "0.1")
    endpoint, path = endpoint_of(server), new_session()
    await endpoint.post(f"{path}/xhr")
    await endpoint.post(f"{path}/xhr_send", batch(join(room, client="c1", name="Ada")))
    members = (await get_json(server.url, f"/rooms/{room}/members"))["members"]
    assert members == [{"client": "c1", "name": "Ada", "via": "sockjs"}]
    async with open_session(server, join(room)) as session:
        async with endpoint.connect() as stream:
            await stream.start_stream(f"{path}/xhr_streaming")
        # The stream has disconnected, which ends the session.
        quit = await session.next("quit")
    assert quit["client"] == "c1"


async def test_a_session_without_a_poll_ends_after_the_five_seconds_of_the_protocol() -> None:
    # tests/transports/sockjs/test_router.py lets one end, after a shorter delay.
    router = HardenedSockJSRouter(RoomConnection)
    router.stop()
    assert router.settings["disconnect_delay"] == 5


@pytest.mark.parametrize("call", CALLS_AFTER_DISCONNECT)
async def test_a_client_that_disconnects_during_its_join_leaves_the_room(call: str) -> None:
    services = FakeServices(held=call)
    session: Any = SimpleNamespace(
        server=SimpleNamespace(services=services), is_closed=False, try_send=None, drained=None
    )
    connection = RoomConnection(session)
    connection.on_open(SimpleNamespace(ip="127.0.0.1", headers={}, arguments={}))
    joining = asyncio.create_task(connection.on_message(join("lobby", client="c1", name="Ada")))
    await services.wait_until_held()
    connection.on_close()
    services.release()
    await joining
    assert services.calls == ["read", *CALLS_AFTER_DISCONNECT[call]]


# --- over HTTP: our errors and our origin policy -------------------------------------------------


async def test_errors_over_http_have_our_codes(server: Server) -> None:
    endpoint, path = endpoint_of(server), new_session()
    await endpoint.post(f"{path}/xhr")
    for body, status, code in (
        ("[", 400, "bad_json"),
        ("", 400, "bad_json"),
        ("[1]", 400, "bad_json"),
        (batch(*["x"] * 1001), 413, "too_long"),
        (batch("x" * 200_000), 413, "too_long"),
    ):
        response = await endpoint.post(f"{path}/xhr_send", body)
        assert (response.status, json.loads(response.body)["error"]["code"]) == (status, code)
    for method, path, status, code in (
        ("POST", f"{new_session()}/xhr_send", 404, "not_found"),
        ("POST", f"{new_session()}/nonsense", 404, "not_found"),
        ("GET", f"{new_session()}/xhr", 405, "bad_method"),
        ("GET", f"{new_session()}/jsonp?c=x", 404, "not_found"),
        ("GET", f"{new_session()}/websocket", 426, "upgrade_required"),
    ):
        response = await endpoint.request(method, path)
        assert (response.status, json.loads(response.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/sockjs/info", "/xhr", "/xhr_streaming", "/eventsource"])
async def test_pages_of_other_sites_get_a_named_error(server: Server, path: str) -> None:
    path = path if path.startswith("/sockjs") else new_session() + path
    method = "POST" if "xhr" in path else "GET"
    evil = "Origin: https://evil.example"
    response = await endpoint_of(server).request(method, path, "", evil)
    assert (response.status, json.loads(response.body)["error"]["code"]) == (403, "foreign_origin")
    rebound = await request(server.url, method, path, b"", {"Host": "evil.example"})
    assert rebound.status == 403
    assert rebound.json()["error"]["code"] == "foreign_host"


async def test_a_page_from_another_of_our_ports_may_read(servers: Servers) -> None:
    server = servers.get("memory", "--lanes", "2")
    endpoint = endpoint_of(server)
    port = (await get_json(server.url, "/lab"))["lanes"][1]
    origin = f"Origin: http://127.0.0.1:{port}"
    response = await endpoint.post(f"{new_session()}/xhr", "", origin)
    assert response.fields["access-control-allow-origin"] == f"http://127.0.0.1:{port}"
    preflight = await endpoint.request("OPTIONS", f"{new_session()}/xhr", "", origin)
    assert preflight.status == 204
    iframe = await endpoint.get("/sockjs/iframe.html")
    assert f"127.0.0.1:{port}" in iframe.fields["content-security-policy"]
    assert iframe.fields["cache-control"] == "no-cache"


@pytest.mark.parametrize("transport", ["jsonp?c=cb", "htmlfile?c=cb"])
async def test_the_legacy_transports_can_be_enabled(servers: Servers, transport: str) -> None:
    also = ("--sockjs-also", "jsonp", "--sockjs-also", "htmlfile")
    server = servers.get("memory", *also)
    async with endpoint_of(server).connect() as connection:
        connection.request("GET", f"{new_session()}/{transport}")
        assert (await connection.head()).status == 200


# --- clients that read slowly or not -------------------------------------------------------------


def method_of(transport: str) -> str:
    return "GET" if transport == "eventsource" else "POST"


@pytest.mark.parametrize("transport", ["websocket", "xhr_streaming", "eventsource"])
async def test_a_client_that_does_not_read_delays_nobody_and_misses_nothing(
    servers: Servers, room: str, transport: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    endpoint, path, count = endpoint_of(server), new_session(), 300
    async with endpoint.connect() as connection:
        if transport == "websocket":
            session = RoomSession(connection)
            await session.open()
            session.send(join(room, after="now", id="j"))
            await session.next("ack")
        else:
            await connection.start_stream(f"{path}/{transport}", method_of(transport))
            assert "o" in await connection.chunk()
            response = await endpoint.post(f"{path}/xhr_send", batch(join(room, after="now")))
            assert response.status == 204
        sent = [f"{number} {LONG}" for number in range(count)]
        before = await lagged(server)
        await say_in(server, room, *sent)  # returns, although the client does not read
        assert await lagged(server) > before
        events: list[dict[str, Any]] = []
        while len(events) < count:
            if transport == "websocket":
                frame = await connection.frame()
            else:
                frame = (await connection.chunk()).removeprefix("data: ").strip()
                if not frame:  # the response is at its size limit; continue with the next one
                    await connection.start_stream(f"{path}/{transport}", method_of(transport))
                    continue
            events += [json.loads(message) for message in messages(frame)]
    assert texts(events) == sent
    assert numbers(events) == sorted(numbers(events))


async def lagged(server: Server) -> float:
    """Return how often a subscriber has refused a push."""
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    return float(metrics.partition("\nrealtime_slow_followers_total ")[2].partition("\n")[0])


async def test_a_client_that_polls_rarely_gets_everything_in_limited_responses(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    endpoint, path = endpoint_of(server), new_session()
    await endpoint.post(f"{path}/xhr")
    await endpoint.post(f"{path}/xhr_send", batch(join(room, after="now")))
    sent = [f"{number} {LONG}" for number in range(50)]
    await say_in(server, room, *sent)
    events: list[dict[str, Any]] = []
    while len(events) < len(sent):
        response = await endpoint.post(f"{path}/xhr")
        assert len(response.body) < 60_000  # one push, and its escapes
        events += [json.loads(message) for message in messages(response.body)]
    assert texts(events) == sent


async def test_a_client_that_returns_after_the_history_window_gets_a_gap(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0", "--history-events", "20")
    endpoint, path = endpoint_of(server), new_session()
    await endpoint.post(f"{path}/xhr")
    await endpoint.post(f"{path}/xhr_send", batch(join(room, after="now")))
    await say_in(server, room, *(str(number) for number in range(50)))
    response = await endpoint.post(f"{path}/xhr")
    gap, *events = [json.loads(message) for message in messages(response.body)]
    assert (gap["kind"], gap["missed"]) == ("gap", 30)
    assert texts(events) == [str(number) for number in range(30, 50)]


# --- the end of a session ------------------------------------------------------------------------


async def test_a_lost_session_is_resumed_by_its_cursor(server: Server, room: str) -> None:
    async with open_session(server, join(room, id="j")) as session:
        await session.next("ack")
        await say_in(server, room, "1", "2")
        (seen,) = await session.events(1)
    await say_in(server, room, "3")
    async with open_session(server, join(room, after=seen["cursor"])) as session:
        assert texts(await session.events(2)) == ["2", "3"]


async def test_a_server_that_stops_closes_every_session_with_a_reason(
    servers: Servers, room: str
) -> None:
    with servers.make("memory", "--drain-seconds", "0.1") as server:
        async with (
            open_session(server, join(room, id="j")) as joined,
            open_session(server) as not_joined,
        ):
            await joined.next("ack")
            server.stop()
            assert await joined.connection.frame() == 'c[1012,"going_away"]'
            assert await joined.connection.frame() == "1000"
            assert await not_joined.connection.frame() == 'c[1001,"The server stops"]'
            assert await not_joined.connection.frame() == "1000"
        await server.ended()


async def test_a_client_that_joins_while_the_server_drains_is_closed(
    servers: Servers, room: str
) -> None:
    with servers.make("memory", "--drain-seconds", "5") as server:
        async with open_session(server) as session:
            server.stop(signal.SIGTERM)
            while (await request(server.url, "GET", "/readyz")).status != 503:
                await asyncio.sleep(0.01)
            session.send(join(room))
            assert await session.connection.frame() == 'c[1012,"going_away"]'
        server.stop(signal.SIGTERM)
        await server.ended()


async def test_a_join_that_finds_too_many_rooms_can_be_repeated(
    servers: Servers, room: str
) -> None:
    with servers.make("memory", "--rooms", "1") as server:
        async with open_session(server) as session:
            async with reader(server, "sse", "full"):
                session.send(join(room, id="j"))
                error = await session.next("error")
            assert (error["code"], error["id"]) == ("busy", "j")
            await asyncio.sleep(0.25)  # an idle room is kept so long
            session.send(join(room, id="again"))
            assert (await session.next("ack"))["id"] == "again"


async def test_a_closed_session_is_not_subscribed_any_more(servers: Servers, room: str) -> None:
    with servers.make("memory", "--idle-seconds", "1") as server:
        async with open_session(server, join(room, id="j")) as session:
            await session.next("ack")
            await until_subscribed(server, 1)
        await until_subscribed(server, 0)
        # An idle connection after a poll is closed.
        async with endpoint_of(server).connect() as connection:
            connection.request("POST", f"{new_session()}/xhr")
            assert (await connection.response()).body == "o\n"
            await connection.wait_closed()


async def until_subscribed(server: Server, count: int) -> None:
    """Return when so many readers follow a room; one that catches up does not yet."""
    line = f'\nrealtime_readers{{as="following"}} {count}.0\n'
    async with asyncio.timeout(10):
        while line not in (await request(server.url, "GET", "/metrics")).body.decode():
            await asyncio.sleep(0.01)


async def test_bytes_requests_and_events_are_counted(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    endpoint, path = endpoint_of(server), new_session()
    client = f"c{uuid.uuid4().hex}"
    await endpoint.post(f"{path}/xhr?client={client}")
    await endpoint.post(f"{path}/xhr_send?client={client}", batch(join(room, after="now")))
    await say_in(server, room, "1", "2")
    response = await endpoint.post(f"{path}/xhr?client={client}")
    counts = (await get_json(server.url, f"/wire?client={client}"))["transports"]["sockjs"]
    assert len(messages(response.body)) == counts["events"] == 2
    assert (counts["requests"], counts["connections"], counts["open"]) == (3, 3, 0)
    assert counts["bytes_out"] > len(response.body)


# --- a poll whose client is already gone ---------------------------------------------------------


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming", "eventsource"])
async def test_a_poll_that_arrives_with_the_reset_of_its_client_ends_the_session(
    server: Server, transport: str
) -> None:
    endpoint = endpoint_of(server)
    for _ in range(10):
        path = new_session()
        assert (await endpoint.post(f"{path}/xhr")).body == "o\n"
        line = f"{method_of(transport)} {path}/{transport} HTTP/1.1"
        fields = [line, f"Host: 127.0.0.1:{server.port}", "Content-Length: 0", "", ""]
        send_and_reset(server.port, "\r\n".join(fields).encode())
        async with asyncio.timeout(10):
            # A second poll, as long as the first is believed to wait.
            while (again := (await endpoint.post(f"{path}/xhr")).body).startswith("c[2010"):
                await asyncio.sleep(0.01)
        assert again == 'c[1002,"Connection interrupted"]\n'
