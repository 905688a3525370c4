"""SockJS in our rooms: what is said in the pipe, and what becomes of one who does not listen."""

import asyncio
import json
import signal
import uuid
from typing import Any

import pytest

from benchmarks.clients import get_json, request
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import numbers, reader, say_in, texts
from tests.transports.sockjs.harness import Endpoint, Wire, messages

# One that is as long as a text may be.
LONG = "x" * 4000


def at(server: Server) -> Endpoint:
    return Endpoint("hardened", server.port, None)


def url(session: str = "") -> str:
    return f"/sockjs/000/{session or uuid.uuid4()}"


def join(room: str, **fields: Any) -> str:
    return json.dumps({"kind": "join", "room": room, **fields})


def batch(*texts: str) -> str:
    return json.dumps(texts)


class Talk:
    """What comes out of a session over WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._waiting: list[dict[str, Any]] = []

    async def enter(self, *said: str) -> None:
        assert (await self.wire.upgrade(f"{url()}/websocket")).status == 101
        assert await self.wire.frame() == "o"
        for one in said:
            self.wire.write(batch(one))

    def say(self, **fields: Any) -> None:
        self.wire.write(batch(json.dumps(fields)))

    async def next(self, kind: str) -> dict[str, Any]:
        while True:
            while self._waiting:
                message = self._waiting.pop(0)
                if message["kind"] == kind:
                    return message
            frame = await self.wire.frame()
            self._waiting = [json.loads(message) for message in messages(frame)]

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.next("say") for _ in range(count)]


# --- what is said in the pipe --------------------------------------------------------------------


async def test_a_join_is_followed_by_history_and_what_is_said_is_acknowledged(
    server: Server, room: str
) -> None:
    before = await say_in(server, room, "before")
    id = str(uuid.uuid4())
    async with at(server).connection() as wire:
        talk = Talk(wire)
        await talk.enter(join(room, id="j", after=None))
        # A join with an id is told where it stands: before the last fifty events.
        assert (await talk.next("ack"))["id"] == "j"
        assert (await talk.events(1))[0]["cursor"] == before[0]
        talk.say(id=id, text="hello", client="me", name="Me")
        ack = await talk.next("ack")
        said = (await talk.events(1))[0]
        talk.say(id=id, text="hello")
        again = await talk.next("ack")
    assert ack == again == {"kind": "ack", "id": id, "cursor": said["cursor"]}
    assert (said["text"], said["via"], said["name"]) == ("hello", "sockjs", "Me")


async def test_a_join_without_an_id_is_answered_by_events_alone(server: Server, room: str) -> None:
    await say_in(server, room, "before")
    async with at(server).connection() as wire:
        await Talk(wire).enter(join(room))
        assert '"before"' in messages(await wire.frame())[0]


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
    "half a pair: \ud800": "bad_json",
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_join_that_is_wrong_is_told_so_and_may_be_made_again(
    server: Server, room: str, mistake: str
) -> None:
    async with at(server).connection() as wire:
        talk = Talk(wire)
        await talk.enter(mistake)
        error = await talk.next("error")
        assert (error["code"], error["id"]) == (MISTAKES[mistake], None)
        wire.write(batch(join(room, id="again")))
        assert (await talk.next("ack"))["id"] == "again"


@pytest.mark.parametrize(
    ("message", "code"), [("{}", "bad_text"), ("x", "bad_json"), ('{"text":""}', "bad_text")]
)
async def test_a_message_that_is_wrong_is_told_so_and_the_session_goes_on(
    server: Server, room: str, message: str, code: str
) -> None:
    async with at(server).connection() as wire:
        talk = Talk(wire)
        await talk.enter(join(room), message, '{"text":"right"}')
        assert (await talk.next("error"))["code"] == code
        assert (await talk.events(1))[0]["text"] == "right"


async def test_one_who_is_too_fast_is_told_when_to_come_again(servers: Servers, room: str) -> None:
    slow = servers.get("memory", "--messages-per-second", "0.01", "--message-burst", "1")
    async with at(slow).connection() as wire:
        talk = Talk(wire)
        await talk.enter(join(room), '{"text":"1"}', '{"text":"2"}')
        error = await talk.next("error")
    assert error["code"] == "too_fast"
    assert error["retry_after"] >= 1


async def test_a_member_is_one_while_its_session_lasts(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--lease-seconds", "1", "--grace-seconds", "0.1")
    session = url()
    await at(server).post(f"{session}/xhr")
    await at(server).post(f"{session}/xhr_send", batch(join(room, client="c1", name="Ada")))
    members = (await get_json(server.url, f"/rooms/{room}/members"))["members"]
    assert members == [{"client": "c1", "name": "Ada", "via": "sockjs"}]
    async with at(server).connection() as wire:
        talk = Talk(wire)
        await talk.enter(join(room))
        # Nobody polls any more: after the five seconds of the protocol it is over.
        quit = await talk.next("quit")
    assert quit["client"] == "c1"


# --- over HTTP: our errors, our door -------------------------------------------------------------


async def test_mistakes_over_http_have_the_names_of_the_contract(server: Server) -> None:
    end, session = at(server), url()
    await end.post(f"{session}/xhr")
    for body, status, code in (
        ("[", 400, "bad_json"),
        ("", 400, "bad_json"),
        ("[1]", 400, "bad_json"),
        (batch(*["x"] * 1001), 413, "too_long"),
        (batch("x" * 200_000), 413, "too_long"),
    ):
        answer = await end.post(f"{session}/xhr_send", body)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)
    for method, path, status, code in (
        ("POST", f"{url()}/xhr_send", 404, "not_found"),
        ("POST", f"{url()}/nonsense", 404, "not_found"),
        ("GET", f"{url()}/xhr", 405, "bad_method"),
        ("GET", f"{url()}/jsonp?c=x", 404, "not_found"),
        ("GET", f"{url()}/websocket", 400, "bad_request"),
    ):
        answer = await end.ask(method, path)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/sockjs/info", "/xhr", "/xhr_streaming", "/eventsource"])
async def test_pages_of_other_sites_are_refused_by_name(server: Server, path: str) -> None:
    where = path if path.startswith("/sockjs") else url() + path
    method = "POST" if "xhr" in path else "GET"
    answer = await at(server).ask(method, where, "", "Origin: https://evil.example")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "foreign_origin")
    rebound = await request(server.url, method, where, b"", {"Host": "evil.example"})
    assert rebound.status == 403
    assert rebound.json()["error"]["code"] == "foreign_host"


async def test_a_page_at_another_of_our_ports_may_read(servers: Servers) -> None:
    server = servers.get("memory", "--lanes", "2")
    lane = (await get_json(server.url, "/lab"))["lanes"][1]
    sister = f"Origin: http://127.0.0.1:{lane}"
    answer = await at(server).post(f"{url()}/xhr", "", sister)
    assert answer.fields["access-control-allow-origin"] == f"http://127.0.0.1:{lane}"
    permission = await at(server).ask("OPTIONS", f"{url()}/xhr", "", sister)
    assert permission.status == 204
    frame = await at(server).get("/sockjs/iframe.html")
    assert f"127.0.0.1:{lane}" in frame.fields["content-security-policy"]
    assert frame.fields["cache-control"] == "no-cache"


@pytest.mark.parametrize("way", ["jsonp?c=cb", "htmlfile?c=cb"])
async def test_the_old_ways_are_there_where_they_are_asked_for(servers: Servers, way: str) -> None:
    also = ("--sockjs-also", "jsonp", "--sockjs-also", "htmlfile")
    server = servers.get("memory", *also)
    async with at(server).connection() as wire:
        wire.ask("GET", f"{url()}/{way}")
        assert (await wire.head()).status == 200


# --- one who does not listen ---------------------------------------------------------------------


async def listen_to(wire: Wire, way: str, session: str) -> None:
    """Ask by this way, and read as far as the session has begun."""
    wire.ask("GET" if way == "eventsource" else "POST", f"{session}/{way}")
    await wire.head()
    await wire.chunk()  # the prelude
    assert "o" in await wire.chunk()


@pytest.mark.parametrize("way", ["websocket", "xhr_streaming", "eventsource"])
async def test_one_who_does_not_read_is_not_waited_for_and_misses_nothing(
    servers: Servers, room: str, way: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    session, count = url(), 300
    async with at(server).connection() as wire:
        if way == "websocket":
            talk = Talk(wire)
            await talk.enter(join(room, after="now", id="j"))
            await talk.next("ack")
        else:
            await listen_to(wire, way, session)
            answer = await at(server).post(f"{session}/xhr_send", batch(join(room, after="now")))
            assert answer.status == 204
        said = [f"{number} {LONG}" for number in range(count)]
        before = await fallen_behind(server)
        await say_in(server, room, *said)  # nobody waits for it
        assert await fallen_behind(server) > before
        heard: list[dict[str, Any]] = []
        while len(heard) < count:
            if way == "websocket":
                frame = await wire.frame()
            else:
                frame = (await wire.chunk()).removeprefix("data: ").strip()
                if not frame:  # long enough for a browser: on by the next connection
                    wire.ask("GET" if way == "eventsource" else "POST", f"{session}/{way}")
                    await wire.head()
                    await wire.chunk()
                    continue
            heard += [json.loads(one) for one in messages(frame)]
    assert texts(heard) == said
    assert numbers(heard) == sorted(numbers(heard))


async def fallen_behind(server: Server) -> float:
    """How often a follower has refused a push."""
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    return float(metrics.partition("\nrealtime_slow_followers_total ")[2].partition("\n")[0])


async def test_one_who_polls_seldom_is_told_all_in_pieces_of_bounded_size(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    end, session = at(server), url()
    await end.post(f"{session}/xhr")
    await end.post(f"{session}/xhr_send", batch(join(room, after="now")))
    said = [f"{number} {LONG}" for number in range(50)]
    await say_in(server, room, *said)
    heard: list[dict[str, Any]] = []
    while len(heard) < len(said):
        answer = await end.post(f"{session}/xhr")
        assert len(answer.body) < 60_000  # one push, and its escapes
        heard += [json.loads(one) for one in messages(answer.body)]
    assert texts(heard) == said


async def test_one_who_comes_back_after_the_window_is_told_of_the_gap(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--history-events", "20", "--messages-per-second", "0")
    end, session = at(server), url()
    await end.post(f"{session}/xhr")
    await end.post(f"{session}/xhr_send", batch(join(room, after="now")))
    await say_in(server, room, *(str(number) for number in range(50)))
    first = [json.loads(one) for one in messages((await end.post(f"{session}/xhr")).body)]
    assert (first[0]["kind"], first[0]["missed"]) == ("gap", 30)
    assert texts(first[1:]) == [str(number) for number in range(30, 50)]


# --- the end -------------------------------------------------------------------------------------


async def test_a_session_that_is_lost_is_resumed_by_its_cursor(server: Server, room: str) -> None:
    async with at(server).connection() as wire:
        talk = Talk(wire)
        await talk.enter(join(room, id="j"))
        await talk.next("ack")
        await say_in(server, room, "1", "2")
        (seen,) = await talk.events(1)
    await say_in(server, room, "3")
    async with at(server).connection() as wire:
        talk = Talk(wire)
        await talk.enter(join(room, after=seen["cursor"]))
        assert texts(await talk.events(2)) == ["2", "3"]


@pytest.mark.parametrize("joined", [True, False])
async def test_a_server_that_stops_says_so(servers: Servers, room: str, joined: bool) -> None:
    with servers.make("memory", "--drain-seconds", "0.1") as server:
        async with at(server).connection() as wire:
            talk = Talk(wire)
            await talk.enter(*([join(room, id="j")] if joined else []))
            if joined:
                await talk.next("ack")
            server.stop()
            told = await wire.frame()
            assert told == ('c[1012,"going_away"]' if joined else 'c[1001,"The server stops"]')
            assert await wire.frame() == "1000"
        await server.ended()


async def test_who_joins_while_it_drains_is_sent_elsewhere(servers: Servers, room: str) -> None:
    with servers.make("memory", "--drain-seconds", "5") as server:
        async with at(server).connection() as wire:
            talk = Talk(wire)
            await talk.enter()
            server.stop(signal.SIGTERM)
            while (await request(server.url, "GET", "/readyz")).status != 503:
                await asyncio.sleep(0.01)
            wire.write(batch(join(room)))
            assert await wire.frame() == 'c[1012,"going_away"]'
        server.stop(signal.SIGTERM)
        await server.ended()


async def test_a_join_that_finds_no_place_may_be_made_again(servers: Servers, room: str) -> None:
    with servers.make("memory", "--rooms", "1") as server:
        async with at(server).connection() as wire:
            talk = Talk(wire)
            async with reader(server, "sse", "full"):
                await talk.enter(join(room, id="j"))
                error = await talk.next("error")
            assert (error["code"], error["id"]) == ("busy", "j")
            await asyncio.sleep(0.25)  # a room is spared so long
            wire.write(batch(join(room, id="again")))
            assert (await talk.next("ack"))["id"] == "again"


async def test_a_session_that_has_ended_follows_nothing(servers: Servers, room: str) -> None:
    with servers.make("memory", "--idle-seconds", "0.3") as server:
        async with at(server).connection() as wire:
            talk = Talk(wire)
            await talk.enter(join(room, id="j"))
            await talk.next("ack")
            assert await following(server) == 1
        async with asyncio.timeout(10):
            while await following(server):
                await asyncio.sleep(0.01)
        # A connection that has asked, was answered and asks no more, is let go.
        async with at(server).connection() as wire:
            wire.ask("POST", f"{url()}/xhr")
            assert (await wire.answer()).body == "o\n"
            await wire.ended()


async def following(server: Server) -> float:
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    return float(metrics.partition('\nrealtime_readers{as="following"} ')[2].partition("\n")[0])


async def test_bytes_requests_and_events_are_in_the_books(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    client, session = f"c{uuid.uuid4().hex}", url()
    end = at(server)
    await end.post(f"{session}/xhr?client={client}")
    join_it = batch(join(room, after="now"))
    await end.post(f"{session}/xhr_send?client={client}", join_it)
    await say_in(server, room, "1", "2")
    polled = await end.post(f"{session}/xhr?client={client}")
    books = (await get_json(server.url, f"/wire?client={client}"))["transports"]["sockjs"]
    assert len(messages(polled.body)) == books["events"] == 2
    assert (books["requests"], books["connections"], books["open"]) == (3, 3, 0)
    assert books["bytes_out"] > len(polled.body)
