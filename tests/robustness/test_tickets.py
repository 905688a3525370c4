"""Attacks on a server with ``--access tickets``, by every transport, at the bytes.

The drivers in `attacker` open one transport with any ticket, in any place that the transport has
for one, and return the code of the error that they receive.
"""

import asyncio
import base64
import json
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest

from benchmarks.clients import CLIENTS
from benchmarks.clients.sansio import client_id
from tests.cases import each
from tests.conftest import Servers
from tests.robustness.attacker import UPGRADE, Attacker, SocketIO, SockJS, code_of, placed
from tests.server_process import Server
from tests.ticket_keys import SECRET, claims, forged, jwks, public_pem, rsa_key, ticket

# The first publishes by POST, like all transports of one way.
SPEAKING = ("sse", "websocket", "sockjs", "socketio")
KEY = "the-key-of-the-lecturer"
PLACES = ("header", "query", "cookie", "message")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key file of the server: a secret, and the public part of an RSA key."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_bytes(jwks(secret=SECRET, public=rsa_key()))
    return path


@pytest.fixture(scope="module")
def server(servers: Servers, keys: Path) -> Server:
    """A server with these keys, and without leeway: a ticket can end soon."""
    return servers.get(
        *("memory", "--access", "tickets", "--ticket-keys", str(keys)),
        *("--ticket-leeway-seconds", "0", "--grace-seconds", "0.2", "--key", KEY),
    )


# --- the transports ------------------------------------------------------------------------------


def places_of(transport: str) -> tuple[str, ...]:
    return PLACES if transport in ("sockjs", "socketio") else PLACES[:3]


async def read(
    server: Server, transport: str, place: str, token: str | None, room: str, **fields: str
) -> str | None:
    """Open a transport as a reader; return the code of the refusal, None if it is admitted."""
    async with Attacker(server) as raw:
        if transport in ("sockjs", "socketio"):
            session = SockJS if transport == "sockjs" else SocketIO
            return await session(raw, token, place).join(room=room, **fields)
        query, header = placed(token, place)
        if transport == "websocket":
            header += UPGRADE
        path = f"/rooms/{quote(room)}/{transport}"
        return code_of(*await raw.get(path, {"wait": "0", **query, **fields}, *header))


async def speak(
    server: Server, transport: str, place: str, token: str | None, room: str, **fields: str
) -> str | None:
    """Publish a message in the way that this transport has; return the code of the refusal."""
    message = {"text": "hello", **fields}
    async with Attacker(server) as raw:
        if transport in ("sockjs", "socketio"):
            session = (SockJS if transport == "sockjs" else SocketIO)(raw, token, place)
            return await session.join(room=room) or await session.send(message)
        query, header = placed(token, place)
        path = f"/rooms/{quote(room)}"
        if transport != "websocket":
            target = f"{path}/messages?{urlencode(query)}"
            return code_of(*await raw.post(target, message, *header))
        query |= {"after": "now"}
        code = code_of(*await raw.get(f"{path}/websocket", query, *header, *UPGRADE))
        if code is not None:
            return code
        raw.frame(message)
        while True:
            reply = json.loads((await raw.unframe())[1])
            if reply["kind"] in ("ack", "error"):
                return str(reply["code"]) if reply["kind"] == "error" else None


# --- tickets that are not valid ------------------------------------------------------------------

Attack = tuple[Callable[[], str | None], str]

INVALID: dict[str, Attack] = {
    "no ticket": (lambda: None, "no_ticket"),
    "no JSON Web Token": (lambda: "letmein", "bad_ticket"),
    "a forged signature": (lambda: jwt.encode(claims(), b"x" * 32, "HS256"), "bad_ticket"),
    "changed claims": (
        lambda: ".".join([ticket().split(".")[0], *forged({}, claims(), b"").split(".")[1:]]),
        "bad_ticket",
    ),
    "no algorithm": (lambda: forged({"alg": "none"}, claims(), None), "bad_ticket"),
    "our public key as a secret": (
        lambda: forged({"alg": "HS256"}, claims(), public_pem(rsa_key())),
        "bad_ticket",
    ),
    "our public key as a secret, by its name": (
        lambda: forged({"alg": "HS256", "kid": "public"}, claims(), public_pem(rsa_key())),
        "bad_ticket",
    ),
    "an unknown key": (
        lambda: jwt.encode(claims(), SECRET, "HS256", headers={"kid": "mine"}),
        "bad_ticket",
    ),
    "an oversized ticket": (lambda: ticket(padding="x" * 5000), "bad_ticket"),
    "a ticket that has ended": (lambda: ticket(exp=int(time.time()) - 1), "ticket_expired"),
    "a ticket for later": (lambda: ticket(nbf=int(time.time()) + 60), "bad_ticket"),
    "a ticket without an end": (lambda: ticket(exp=None), "bad_ticket"),
}

every_transport = pytest.mark.parametrize("transport", CLIENTS)


@every_transport
@each("attack", INVALID)
async def test_an_invalid_ticket_opens_nothing(
    server: Server, room: str, transport: str, attack: str
) -> None:
    make, code = INVALID[attack]
    for place in places_of(transport):
        assert await read(server, transport, place, make(), room) == code, place
    if transport in SPEAKING:
        assert await speak(server, transport, place, make(), room) == code


@every_transport
async def test_a_valid_ticket_opens_every_transport_from_every_place(
    server: Server, room: str, transport: str
) -> None:
    for place in places_of(transport):
        assert await read(server, transport, place, ticket(), room) is None, place
        if transport in SPEAKING:
            assert await speak(server, transport, place, ticket(), room) is None, place


async def test_keys_are_rotated_without_a_restart(server: Server, keys: Path, room: str) -> None:
    before, new = keys.read_bytes(), b"the secret of tomorrow, with more than 32 bytes"
    token = jwt.encode(claims(), new, "HS256", headers={"kid": "new"})

    async def until(code: str | None) -> None:
        async with Attacker(server) as raw, asyncio.timeout(10):
            path = f"/rooms/{room}/short_polling"
            while code_of(*await raw.get(path, {"ticket": token})) != code:
                await asyncio.sleep(0.05)
            assert code_of(*await raw.get(path, {"ticket": ticket()})) is None

    await until("bad_ticket")
    keys.write_bytes(jwks(secret=SECRET, public=rsa_key(), new=new))
    await until(None)
    keys.write_bytes(b"damaged")  # the old keys stay: `until` would see it otherwise
    keys.write_bytes(before)
    await until("bad_ticket")


# --- valid tickets for something else ------------------------------------------------------------


@every_transport
async def test_a_ticket_is_for_its_rooms_its_actions_its_client_and_its_name(
    server: Server, room: str, transport: str
) -> None:
    async def reading(token: str, **fields: str) -> str | None:
        return await read(server, transport, "query", token, room, **fields)

    async def speaking(token: str, **fields: str) -> str | None:
        return await speak(server, transport, "query", token, room, **fields)

    elsewhere = ticket(rooms=["another", f"{room}-*", f"*{room}2"])
    assert await reading(elsewhere) == await speaking(elsewhere) == "not_allowed"
    assert await reading(ticket(actions=["speak"])) == "not_allowed"
    assert await speaking(ticket(actions=["read"])) == "not_allowed"
    ada = ticket(rooms=[f"{room[:-3]}*"], sub="ada", name="Ada")
    for fields in ({"client": "bob"}, {"client": "ada", "name": "Bob"}):
        assert await reading(ada, **fields) == await speaking(ada, **fields) == "not_allowed"
    assert await reading(ada, client="ada") is await speaking(ada, client="ada") is None


async def test_a_message_has_the_client_and_the_name_of_the_ticket(
    server: Server, room: str
) -> None:
    """Its sender need not repeat them, and cannot leave them out to be somebody else."""
    for transport in SPEAKING:
        assert await speak(server, transport, "query", ticket(sub="ada", name="Ada"), room) is None
    async with Attacker(server) as raw:
        query = {"ticket": ticket()}
        _, body = await raw.get(f"/rooms/{room}/short_polling", query)
    said = [event for event in json.loads(body)["events"] if event["kind"] == "say"]
    assert [(event["client"], event["name"]) for event in said] == 4 * [("ada", "Ada")]


async def test_rooms_members_figures_and_metrics_need_a_ticket_too(
    server: Server, room: str
) -> None:
    assert await speak(server, "sse", "header", ticket(), room) is None
    members = f"/rooms/{room}/members"
    other, all_rooms = ticket(rooms=["another"]), ticket()
    cases = [
        # path, the code without a ticket, with one for another room, and with one for all rooms
        ("/rooms", "no_ticket", None, None),
        (members, "no_ticket", "not_allowed", None),
        ("/wire", "no_ticket", "not_allowed", None),
        ("/metrics", "no_ticket", "not_allowed", None),
    ]
    async with Attacker(server) as raw:
        for path, *codes in cases:
            for query, code in zip(
                ({}, {"ticket": other}, {"ticket": all_rooms}), codes, strict=True
            ):
                assert code_of(*await raw.get(path, query)) == code, (path, query)
        _, shown = await raw.get("/rooms", {"ticket": other, "limit": "500"})
        assert json.loads(shown)["rooms"] == []
        # Not even the cursor of the list names a room that the ticket may not read.
        later = f"{room}-later"
        assert await speak(server, "sse", "header", ticket(), later) is None
        page = {"limit": "1", "after": room[:-1], "ticket": ticket(rooms=[later])}
        _, shown = await raw.get("/rooms", page)
        assert json.loads(shown) == {"rooms": [{"room": later, "members": 0, "top": 1}]}
        # The counts of a client are of all rooms: they need its ticket, its secret, or all rooms.
        mine = client_id("the secret of a client")
        for query, code in (
            ({"client": "x", "ticket": other}, "not_allowed"),
            ({"client": "x", "ticket": all_rooms}, None),
            ({"client": "x", "ticket": ticket(rooms=["another"], sub="x")}, None),
            ({"client": mine, "ticket": other}, "wrong_secret"),
            ({"client": mine, "ticket": other, "secret": "the secret of a client"}, None),
        ):
            assert code_of(*await raw.get("/wire", query)) == code, query
        for public in ("/healthz", "/readyz", "/lab", "/demos/"):
            status, _ = await raw.get(public, {})
            assert status == 200, public


async def test_the_name_of_a_ticket_makes_a_member_only_of_who_joins(
    server: Server, room: str
) -> None:
    ada = ticket(sub="ada", name="Ada")
    path = f"/rooms/{room}/short_polling"

    async def members(raw: Attacker) -> list[str]:
        _, body = await raw.get(f"/rooms/{room}/members", {"ticket": ada})
        return [member["name"] for member in json.loads(body)["members"]]

    async with Attacker(server) as raw:
        assert code_of(*await raw.get(path, {"ticket": ada})) is None
        head = f"HEAD {path}?client=ada&ticket={ada} HTTP/1.1"
        raw.send(f"{head}\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        await raw.head()
        assert await members(raw) == []
        assert code_of(*await raw.get(path, {"client": "ada", "ticket": ada})) is None
        assert await members(raw) == ["Ada"]


async def test_nobody_removes_counts_or_resets_in_the_name_of_another(
    server: Server, room: str
) -> None:
    ada, moderator = ticket(sub="ada"), ticket(actions=["moderate"], rooms=[room])
    async with Attacker(server) as raw:

        async def delete(path: str, token: str) -> str | None:
            line, host = f"DELETE {path}?ticket={token} HTTP/1.1", f"127.0.0.1:{server.port}"
            raw.send(f"{line}\r\nHost: {host}\r\n\r\n".encode())
            return code_of(*await raw.response())

        assert await delete(f"/rooms/{room}/members/bob", ada) == "not_allowed"
        assert await delete(f"/rooms/{room}/members/ada", ada) is None
        assert code_of(*await raw.get("/wire", {"client": "bob", "ticket": ada})) == "not_allowed"
        assert code_of(*await raw.get("/wire", {"client": "ada", "ticket": ada})) is None
        assert await delete(f"/rooms/{room}", ada) == "not_allowed"
        assert await delete(f"/rooms/{room}2", moderator) == "not_allowed"
        assert await delete(f"/rooms/{room}", moderator) is None
        assert code_of(*await raw.get(f"/rooms/{room}/rules", {"ticket": ada})) == "not_allowed"
        for moderates in ({"ticket": moderator}, {"key": KEY}):  # the lecturer needs no ticket
            assert code_of(*await raw.get(f"/rooms/{room}/rules", moderates)) is None


async def test_a_capture_shows_every_byte_but_no_ticket(server: Server, room: str) -> None:
    tap, token = secrets.token_hex(16), ticket(sub="ada")
    async with opened(server, f"/wire/{tap}", *UPGRADE) as subscriber:
        for transport in CLIENTS:
            for place in places_of(transport):
                assert await read(server, transport, place, token, room, trace=tap) is None
        captured = b""
        while b'40{"ticket": "' not in captured:  # the last: `auth` of Socket.IO
            record = json.loads((await subscriber.unframe())[1])
            if record.get("direction") == "up":
                captured += base64.b64decode(record["data"])
    assert token.encode() not in captured
    assert captured.count(b"*" * len(token)) >= 3 * len(CLIENTS) + 2


# --- the cookie ----------------------------------------------------------------------------------


async def test_a_link_with_a_ticket_puts_it_into_a_cookie_that_only_our_pages_use(
    server: Server, room: str
) -> None:
    token = ticket(rooms=[room])
    async with Attacker(server) as raw:
        raw.ask(f"/demos/sse.html?room={room}&ticket={token}&name=%C3%84")
        head = await raw.head()
        await raw.body(head)
        fields = dict(line.split(": ", 1) for line in head[1:])
        assert head[0] == "HTTP/1.1 302 Found"
        assert fields["Location"] == f"sse.html?room={room}&name=%C3%84"
        cookie, *attributes = fields["Set-Cookie"].split("; ")
        assert cookie == f"realtime_ticket={token}"
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(attributes)
        path = f"/rooms/{room}/short_polling"
        assert code_of(*await raw.get(path, {}, f"Cookie: {cookie}")) is None
        assert code_of(*await raw.get("/demos/sse.html", {"ticket": "forged"})) == "bad_ticket"


@every_transport
async def test_a_page_of_another_site_cannot_use_the_cookie(
    server: Server, room: str, transport: str
) -> None:
    """A browser sends it with an image of such a page, to an http address without `Origin`."""
    browser = "User-Agent: Mozilla/5.0"
    cookie = f"Cookie: realtime_ticket={ticket()}"
    paths = {
        "sockjs": f"/sockjs/000/{secrets.token_hex(8)}/eventsource?",
        "socketio": f"/socket.io/?EIO=4&transport=polling&roomid={room}&after=now&",
    }
    path = paths.get(transport, f"/rooms/{room}/{transport}?wait=0&")
    upgrade = UPGRADE if transport == "websocket" else ()
    for evil in (
        [browser],
        [browser, "Referer: http://evil.example/"],
        ["Origin: http://evil.example"],
    ):
        async with Attacker(server) as raw:
            raw.ask(path, *evil, cookie, *upgrade)
            if transport == "sockjs" and not evil[-1].startswith("Origin"):
                assert (await raw.response())[0] == 200  # a session, which has joined nothing
            else:
                assert code_of(*await raw.response()) == "foreign_origin"


async def test_a_session_without_a_ticket_does_not_last(servers: Servers, keys: Path) -> None:
    impatient = servers.get(
        *("memory", "--access", "tickets", "--ticket-keys", str(keys), "--request-seconds", "1")
    )
    async with Attacker(impatient) as raw:
        sockjs = SockJS(raw, None, "message")
        await sockjs.open()
        assert await sockjs.poll() == b'c[4401,"no_ticket"]\n'
    async with Attacker(impatient) as raw:
        socketio = SocketIO(raw, None, "message")
        assert await socketio.open(room="lobby") is None
        assert json.loads((await socketio.next())[2:])[1]["code"] == "no_ticket"
        assert await socketio.next() == "1"


# --- a stream that outlives its ticket -----------------------------------------------------------


@asynccontextmanager
async def opened(server: Server, path: str, *fields: str) -> AsyncIterator[Attacker]:
    async with Attacker(server) as raw:
        raw.ask(path, *fields)
        head = await raw.head()
        assert head[0].split()[1] in ("101", "200"), head
        yield raw


async def open_briefly(attempt: Callable[[str], Awaitable[str | None]]) -> None:
    """Open something with a ticket that ends in a moment.

    On a busy machine the moment can be over before the ticket arrives: then with a longer one.
    """
    for seconds in (0.5, 2.0, 8.0):
        code = await attempt(ticket(exp=time.time() + seconds))
        if code is None:
            return
        assert code == "ticket_expired"
    raise AssertionError("nothing opened")


EXPIRED_TEXT = b"ticket_expired"
STREAM_ENDS = {
    "iframe_streaming": b"0\r\n\r\n",
    "sse": b"retry: 0\n: ticket_expired\n\n\r\n0\r\n\r\n",
    "fetch_streaming": b"0\r\n\r\n",
    # A close frame: the code, and the reason.
    "websocket": b"\x88\x10" + (4498).to_bytes(2) + EXPIRED_TEXT,
}


@pytest.mark.parametrize("transport", STREAM_ENDS)
async def test_a_stream_ends_with_its_ticket(server: Server, room: str, transport: str) -> None:
    upgrade = UPGRADE if transport == "websocket" else ()
    async with Attacker(server) as raw:

        async def stream(token: str) -> str | None:
            query = {"after": "now", "ticket": token}
            return code_of(*await raw.get(f"/rooms/{room}/{transport}", query, *upgrade))

        await open_briefly(stream)
        assert (await raw.until(STREAM_ENDS[transport])).endswith(STREAM_ENDS[transport])


async def test_a_compressed_stream_ends_with_its_ticket(server: Server, room: str) -> None:
    async with Attacker(server) as raw:

        async def stream(token: str) -> str | None:
            query = {"after": "now", "ticket": token, "encoding": "gzip"}
            return code_of(*await raw.get(f"/rooms/{room}/sse", query, "Accept-Encoding: gzip"))

        await open_briefly(stream)
        inflate = zlib.decompressobj(31).decompress
        assert inflate(await raw.chunk()).startswith(b"id: ")
        assert inflate(await raw.chunk()) == b"retry: 0\n: ticket_expired\n\n"
        assert await raw.until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_a_long_poll_ends_with_its_ticket_and_the_next_one_is_refused(
    server: Server, room: str
) -> None:
    async with Attacker(server) as raw:

        async def poll(token: str) -> str | None:
            query = {"after": "now", "wait": "60", "ticket": token}
            status, body = await raw.get(f"/rooms/{room}/long_polling", query)
            if status == 200:
                assert json.loads(body)["events"] == []
                for transport in ("long_polling", "short_polling"):
                    refused = await raw.get(f"/rooms/{room}/{transport}", query)
                    assert code_of(*refused) == "ticket_expired"
            return code_of(status, body)

        await open_briefly(poll)


async def test_a_sockjs_session_ends_with_its_ticket(server: Server, room: str) -> None:
    async with Attacker(server) as raw:

        async def join(token: str) -> str | None:
            session = SockJS(raw, token, "message")
            code = await session.join(room=room)
            if code is None:
                assert await session.poll() == b'c[4498,"ticket_expired"]\n'
            return code

        await open_briefly(join)


async def test_a_socketio_session_ends_with_its_ticket(server: Server, room: str) -> None:
    async with Attacker(server) as raw:

        async def join(token: str) -> str | None:
            session = SocketIO(raw, token, "message")
            code = await session.join(room=room)
            if code is None:
                event, trouble = json.loads((await session.next())[2:])
                assert (event, trouble["code"]) == ("trouble", "ticket_expired")
                assert await session.next() == "1"  # CLOSE of Engine.IO
            return code

        await open_briefly(join)


async def test_a_client_of_socketio_may_show_another_ticket_after_a_refusal(
    server: Server, room: str
) -> None:
    async with Attacker(server) as raw:
        session = SocketIO(raw, "forged", "message")
        assert await session.join(room=room) == "bad_ticket"
        assert await session.connect(None) == "no_ticket"
        assert await session.connect({"ticket": ticket()}) is None
        assert await session.send({"text": "hello"}) is None


async def test_a_client_of_the_tutorial_is_the_one_of_its_ticket(server: Server, room: str) -> None:
    """It knows nothing of tickets; the page that creates it puts one into the URL."""
    async with Attacker(server) as raw:
        session = SocketIO(raw, ticket(sub="ada", name="Ada", rooms=[room]), "query")
        assert await session.join(after=None, room=room) is None
        assert await session.send({"username": "Bob"}, "join") == "not_allowed"
        assert await session.send({"username": "Ada"}, "join") is None
        assert await session.send({"text": "hello"}) is None
        _, body = await raw.get(f"/rooms/{room}/short_polling", {"ticket": ticket()})
    events = [(e["kind"], e["client"], e["name"]) for e in json.loads(body)["events"]]
    assert events == [("join", "ada", "Ada"), ("say", "ada", "Ada")]


@every_transport
async def test_a_reader_resumes_with_a_new_ticket_and_its_cursor(
    server: Server, room: str, transport: str
) -> None:
    def client(after: str | None, token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return CLIENTS[transport](server.url, room, after=after, headers=headers)

    for text in ("one", "two", "three"):
        async with client("now", ticket()) as speaker:
            await speaker.send(text)
    async with client(None, ticket()) as reader:
        assert (await reader.receive())["text"] == "one"
        cursor = (await reader.receive())["cursor"]
    async with client(cursor, ticket(sub="later")) as reader:
        assert (await reader.receive())["text"] == "three"
