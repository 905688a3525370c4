"""Who may do what, with every transport: ids that need a secret, and a lecturer who moderates."""

import json
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from urllib.parse import quote, urlencode

import pytest

from realtime.client import ALL_CLIENTS, Client, Closed, Refused, get_json, post, request
from realtime.client.http import Response
from realtime.client.sansio import client_id
from realtime.errors import WrongSecret
from tests.conftest import Servers
from tests.robustness.attacker import UPGRADE, Attacker, SocketIO, SockJS, code_of
from tests.server_process import Server
from tests.transports.readers import reader, say_in, take, texts, until_waiting

SECRET, OTHER_SECRET = "the-secret-of-ada-1815", "the-secret-of-mallory-"
ADA = client_id(SECRET)

every_transport = pytest.mark.parametrize("transport", ALL_CLIENTS)


async def refusal(client: Client) -> Refused:
    """Open a client that must be refused, and return the error."""
    with pytest.raises(Refused) as refused:
        await client.open()
    client.abort()
    return refused.value


@every_transport
async def test_only_the_owner_of_a_secret_is_a_member_and_speaks_under_its_id(
    server: Server, room: str, transport: str
) -> None:
    async with reader(server, transport, room, name="Ada", secret=SECRET) as ada:
        (join,) = await take(ada, 1)
        assert (join["kind"], join["client"]) == ("join", ADA)
        # Its frames need no secret; a POST shows it again.
        await ada.send("hello")
        (said,) = await take(ada, 1)
        assert (said["text"], said["client"]) == ("hello", ADA)
        assert SECRET.encode() not in json.dumps([join, said]).encode()

    for secret in ({}, {"secret": OTHER_SECRET}):
        error = await refusal(reader(server, transport, room, client=ADA, name="Ada", **secret))
        assert error.code == "wrong_secret"
        assert error.status in (403, None)

    async with reader(server, transport, room, secret=OTHER_SECRET) as mallory:
        with pytest.raises(Refused) as refused:
            await mallory.send("I am Ada", client=ADA)
        assert refused.value.code == "wrong_secret"
        # In the message itself, it is accepted everywhere.
        await mallory.send("I am Ada", client=ADA, secret=SECRET)
        await mallory.send("and I am not", client="mallory")


async def test_a_post_shows_the_secret_in_its_body_its_query_or_a_header_field(
    server: Server, room: str
) -> None:
    path = f"/rooms/{quote(room)}/messages"
    body = json.dumps({"client": ADA, "text": "x"}).encode()
    assert (await post(server.url, room, client=ADA, text="x", secret=SECRET)).status == 201
    assert (await request(server.url, "POST", f"{path}?secret={SECRET}", body)).status == 201
    field = {"x-client-secret": SECRET}
    assert (await request(server.url, "POST", path, body, field)).status == 201
    for field in ({}, {"X-Client-Secret": OTHER_SECRET}):
        response = await request(server.url, "POST", path, body, field)
        assert response.status == 403
        assert response.json()["error"]["code"] == WrongSecret.code


async def test_only_the_owner_leaves_and_reads_the_byte_counts_of_its_id(
    server: Server, room: str
) -> None:
    secret = f"of-one-{room}"  # the byte counts are those of the whole server
    client = client_id(secret)
    member, counts = f"/rooms/{quote(room)}/members/{client}", f"/wire?client={client}"
    async with reader(server, "sse", room, name="Ada", secret=secret):
        for method, path in (("DELETE", member), ("GET", counts)):
            assert (await request(server.url, method, path)).status == 403
        assert [m["client"] for m in await members(server, room)] == [client]
        # Nobody's requests count for another client, either.
        await request(server.url, "GET", f"/rooms/{quote(room)}/short_polling?client={client}")
        rows = await get_json(server.url, f"{counts}&secret={secret}")
        assert "short_polling" not in {
            t for t, row in rows["transports"].items() if row["requests"]
        }
        assert rows["transports"]["sse"]["requests"] == 1
    deleted = await request(server.url, "DELETE", member, headers={"X-Client-Secret": secret})
    assert deleted.status == 204


async def test_the_id_of_a_session_is_of_no_use_without_its_secret(
    server: Server, room: str
) -> None:
    """It is in the URLs that a capture shows, and a class behind one NAT has one address."""
    me = {"client": ADA, "name": "Ada", "secret": SECRET}
    async with Attacker(server) as raw, Attacker(server) as thief:
        sockjs, socketio = SockJS(raw, None, "query"), SocketIO(raw, None, "query")
        assert await sockjs.join(room=room, after="now", **me) is None
        assert await socketio.join(room=room, **me) is None
        say = json.dumps({"text": "I am Ada"})
        for path, body in (
            (sockjs.path("xhr_send"), [say]),
            (sockjs.path("xhr"), b""),
            (socketio.path, f'42["say",{say}]'.encode()),
        ):
            for used in ("", f"secret={OTHER_SECRET}"):
                stolen = path.replace(f"secret={SECRET}", used)
                assert stolen != path
                assert code_of(*await thief.post(stolen, body)) == "wrong_secret"
        assert await sockjs.send({"text": "mine"}) is None
        assert await socketio.send({"text": "mine"}) is None


async def members(server: Server, room: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = (await get_json(server.url, f"/rooms/{quote(room)}/members"))[
        "members"
    ]
    return rows


@every_transport
async def test_plain_ids_work_as_they_always_did(server: Server, room: str, transport: str) -> None:
    async with reader(server, transport, room, client="ada") as ada:
        await ada.send("one")
        await say_in(server, room, "two")
        assert texts(await take(ada, 2)) == ["one", "two"]


# --- class: the lecturer's key moderates ---------------------------------------------------------

KEY = "the lecturer knows"
CLASS = ("--access", "class", "--key", KEY, "--grace-seconds", "0.2")


@pytest.fixture(scope="module", params=["memory", "redis"])
def classroom(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers.get(request.param, *CLASS)


async def moderate(server: Server, method: str, room: str, rule: str, key: str = KEY) -> Response:
    path = f"/rooms/{quote(room)}/rules{rule}?{urlencode({'key': key})}"
    return await request(server.url, method, path)


async def set_rule(server: Server, room: str, rule: str) -> None:
    assert (await moderate(server, "PUT", room, rule)).status == 204


async def lift_rule(server: Server, room: str, rule: str) -> None:
    assert (await moderate(server, "DELETE", room, rule)).status == 204


async def refused(action: Awaitable[object], code: str) -> None:
    with pytest.raises(Refused) as error:
        await action
    assert (error.value.code, error.value.status in (403, None)) == (code, True)


@every_transport
async def test_a_removed_client_loses_its_stream_and_may_not_return_until_it_is_readmitted(
    classroom: Server, room: str, transport: str
) -> None:
    async with reader(classroom, "sse", room) as witness:
        bad = reader(classroom, transport, room, client="bad", name="Bad")
        async with bad:
            await take(bad, 1)
            await set_rule(classroom, room, "/removed/bad")
            assert await members(classroom, room) == []
            await refused(post_as(classroom, room, "bad"), "removed")
            with pytest.raises((Refused, Closed)) as ended:
                await take(bad, 1)
            if isinstance(ended.value, Closed) and ended.value.code is not None:
                assert (ended.value.code, ended.value.reason) == (4403, "removed")
        # Somebody reads on, and receives the quit.
        assert texts(await take(witness, 2)) == ["join", "quit"]
    again = reader(classroom, transport, room, client="bad", name="Bad")
    with pytest.raises((Refused, Closed)) as error:
        async with again:
            await take(again, 1)
    assert "removed" in (getattr(error.value, "code", ""), getattr(error.value, "reason", ""))
    await lift_rule(classroom, room, "/removed/bad")
    async with reader(classroom, transport, room, client="bad", name="Bad") as back:
        await back.send("sorry")


async def test_a_poll_that_waits_ends_when_its_client_is_removed(
    classroom: Server, room: str
) -> None:
    """It must not receive the next message, which may be about its removal."""
    me = {"client": "bad", "name": "Bad"}
    async with Attacker(classroom) as raw, Attacker(classroom) as other:
        await say_in(classroom, room, "first")
        await raw.get(f"/rooms/{quote(room)}/short_polling", me)
        async with reader(classroom, "long_polling", room) as observer:
            while (await observer.receive())["kind"] != "join":
                pass
        # After the join nothing more comes, so this poll waits.
        query = urlencode({"after": str(observer.cursor), **me})
        raw.ask(f"/rooms/{quote(room)}/long_polling?{query}")
        await until_waiting(classroom, 1)
        sockjs, socketio = SockJS(other, None, "query"), SocketIO(other, None, "query")
        assert await sockjs.join(room=room, after="now", **me) is None
        assert await socketio.join(room=room, **me) is None
        await set_rule(classroom, room, "/removed/bad")
        await post_as(classroom, room, "good", "he is gone")
        assert code_of(*await raw.response()) == "removed"
        assert await sockjs.poll() == b'c[4403,"removed"]\n'
        # A session of Socket.IO is gone at once, if no poll of it waits.
        other.ask(socketio.path)
        assert code_of(*await other.response()) == "bad_request"


async def post_as(server: Server, room: str, client: str | None, text: str = "x") -> None:
    (await post(server.url, room, client=client, text=text)).check(200, 201)


@every_transport
async def test_a_muted_client_reads_on_and_may_not_speak(
    classroom: Server, room: str, transport: str
) -> None:
    async with reader(classroom, transport, room, client="loud", name="Loud") as loud:
        await take(loud, 1)
        await set_rule(classroom, room, "/muted/loud")
        await refused(loud.send("hey"), "muted")
        # Without a client, the one of the connection counts; and a POST has none.
        await refused(loud.send("hey", client=None), "muted")
        await refused(post_as(classroom, room, None), "muted")
        await post_as(classroom, room, "other", "quiet now")
        assert texts(await take(loud, 1)) == ["quiet now"]
        await lift_rule(classroom, room, "/muted/loud")
        await set_rule(classroom, room, "/muted/*")
        await refused(loud.send("hey"), "muted")
        await lift_rule(classroom, room, "/muted/*")
        await loud.send("hey")


async def test_the_rules_of_a_class_hold_for_its_votes(classroom: Server, room: str) -> None:
    await set_rule(classroom, room, "/removed/bad")
    await set_rule(classroom, room, "/approval")
    for purpose in ("seats", "votes", "reports"):
        await refused(post_as(classroom, f"{room}.{purpose}", "bad"), "removed")
        await post_as(classroom, f"{room}.{purpose}", "good")
        for client, code in (("bad", "removed"), ("good", "name_not_approved")):
            member = reader(classroom, "sse", f"{room}.{purpose}", client=client, name="Rude")
            assert (await refusal(member)).code == code


@every_transport
async def test_a_locked_room_keeps_its_members_and_takes_no_others(
    classroom: Server, room: str, transport: str
) -> None:
    async with reader(classroom, transport, room, client="in", name="In") as inside:
        await take(inside, 1)
        await set_rule(classroom, room, "/locked")
        await inside.send("still here")
        for client in ("new", None):
            await refused(post_as(classroom, room, client), "room_locked")
        late = reader(classroom, transport, room, client="late", name="Late")
        with pytest.raises((Refused, Closed)) as error:
            async with late:
                await take(late, 1)
        assert "room_locked" in (
            getattr(error.value, "code", ""),
            getattr(error.value, "reason", ""),
        )
    async with reader(classroom, transport, room, client="in", name="In") as returned:
        await returned.send("back")
    await lift_rule(classroom, room, "/locked")
    async with reader(classroom, transport, room, client="late", name="Late") as admitted:
        await admitted.send("at last")


@every_transport
async def test_where_names_are_approved_others_wait_and_then_join(
    classroom: Server, room: str, transport: str
) -> None:
    async with reader(classroom, transport, room, client="ada", name="Ada") as ada:
        await take(ada, 1)
        await set_rule(classroom, room, "/approval")
        await ada.send("my name is in use, so it stays")
        await refused(ada.send("mine is worse", name="Rude"), "name_not_approved")
    late = reader(classroom, transport, room, client="bo", name="Bo L.")
    with pytest.raises((Refused, Closed)) as error:
        async with late:
            await take(late, 1)
    codes = getattr(error.value, "code", ""), getattr(error.value, "reason", "")
    assert "name_not_approved" in codes
    rules = (await moderate(classroom, "GET", room, "")).check(200).json()
    assert (rules["names"], rules["wanted"]) == (["Ada"], ["Bo L.", "Rude"])
    await lift_rule(classroom, room, "/names/Rude")
    await set_rule(classroom, room, "/names/Bo%20L.")
    async with reader(classroom, transport, room, client="bo", name="Bo L.") as admitted:
        await admitted.send("hello")
    await lift_rule(classroom, room, "/approval")
    rules = (await moderate(classroom, "GET", room, "")).check(200).json()
    assert not any(rules.values())


async def test_a_name_with_a_number_is_in_use_as_its_client_sends_it(
    classroom: Server, room: str
) -> None:
    first = reader(classroom, "sse", room, client="first", name="Ada")
    await first.open()
    await take(first, 1)
    async with reader(classroom, "sse", room, client="second", name="Ada") as second:
        await take(second, 2)
        await first.close()
        (gone,) = await take(second, 1)
        assert (gone["kind"], gone["name"]) == ("quit", "Ada")
        await set_rule(classroom, room, "/approval")
        await second.send("I am Ada (2)")
        (said,) = await take(second, 1)
        assert said["name"] == "Ada (2)"


async def test_one_client_of_a_class_cannot_use_up_what_all_share(
    servers: Servers, room: str
) -> None:
    limits = ("--streams-per-client", "2", "--joins-per-second-per-client", "0.1")
    server = servers.get("memory", *CLASS, *limits)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            client = reader(server, "sse", room, client="greedy", name="Greedy")
            await stack.enter_async_context(client)
        third = reader(server, "fetch_streaming", room, client="greedy", name="Greedy")
        await busy(third, "busy")
        other = reader(server, "fetch_streaming", room, client="other", name="Other")
        await stack.enter_async_context(other)
    flapping = reader(server, "short_polling", f"{room}.1", client="greedy", name="Greedy")
    async with flapping:
        pass
    again = reader(server, "short_polling", f"{room}.2", client="greedy", name="Greedy")
    await busy(again, "too_fast")
    left = [await leave(server, room, client) for client in ("greedy", "greedy", "greedy", "other")]
    assert left == [204, 204, 429, 204]


async def test_a_client_of_a_class_has_its_share_of_rooms_networks_and_captures(
    servers: Servers, room: str
) -> None:
    shares = ("--networks-per-client", "1", "--taps-per-client", "1", "--networks", "3")
    rooms = ("--rooms-per-client", "2", "--kept-rooms-per-client", "2")
    server = servers.get("memory", *CLASS, *shares, *rooms)
    networks, path = "/networks?network=none", f"/rooms/{quote(room)}"

    async def code(method: str, target: str, body: bytes = b"") -> str | None:
        response = await request(server.url, method, target, body)
        return response.json()["error"]["code"] if response.status >= 400 else None

    async with AsyncExitStack() as stack:
        # Networks, and captures; an id that needs a secret is used by its owner alone.
        for target in (f"{networks}&client={ADA}&secret={SECRET}", f"{networks}&client=bo"):
            lease = (await request(server.url, "POST", target)).check(201).json()
            assert await code("POST", target) == "busy"
            stack.push_async_callback(request, server.url, "DELETE", f"/networks/{lease['id']}")
        assert await code("POST", f"{networks}&client={ADA}") == "wrong_secret"
        one, two, other = [await stack.enter_async_context(Attacker(server)) for _ in range(3)]
        for raw, query, expected in (
            (one, {"client": "greedy"}, None),
            (two, {"client": "greedy"}, "busy"),
            (other, {"client": "other"}, None),
        ):
            assert code_of(*await raw.get(f"/wire/{'x' * 20}", query, *UPGRADE)) == expected
        # Rooms that it writes to, and rooms that it opens.
        for number, client, expected in (
            *((1, "greedy", None), (2, "greedy", None), (3, "greedy", "busy"), (3, "bo", None)),
            *((3, "greedy", None), (4, None, None)),
        ):
            body = json.dumps({"client": client, "text": "x"}).encode()
            assert await code("POST", f"{path}.{number}/messages", body) == expected
        for number in range(2):
            me = {"client": "reader", "name": "R", "after": "now"}
            stream = reader(server, "sse", f"{room}.{number}", **me)
            await stack.enter_async_context(stream)
        assert await code("GET", f"{path}.new/short_polling?{urlencode(me)}") == "busy"
        assert await code("GET", f"{path}.new/short_polling?client=other&name=O") is None


async def busy(client: Client, code: str) -> None:
    error = await refusal(client)
    assert error.code == code
    assert error.retry_after


async def leave(server: Server, room: str, client: str) -> int:
    path = f"/rooms/{quote(room)}/members/{client}"
    return (await request(server.url, "DELETE", path)).status


async def test_a_rule_holds_at_every_process_and_after_a_restart(
    servers: Servers, room: str
) -> None:
    one, other = (servers.get("redis", *CLASS, copy=copy) for copy in (0, 1))
    async with reader(other, "websocket", room, client="bad", name="Bad") as bad:
        await take(bad, 1)
        await set_rule(one, room, "/removed/bad")
        with pytest.raises(Closed, match="removed"):
            await take(bad, 1)
    with servers.make("redis", *CLASS) as fresh:
        await refused(post_as(fresh, room, "bad"), "removed")
        rules = (await moderate(fresh, "GET", room, "")).check(200).json()
    assert rules["removed"] == ["bad"]
    assert not any(rules[other] for other in rules.keys() - {"removed"})


async def test_only_the_key_moderates_and_only_in_a_class(
    servers: Servers, classroom: Server, room: str
) -> None:
    for method, rule in (("GET", ""), ("PUT", "/locked"), ("DELETE", "/muted/x")):
        assert (await moderate(classroom, method, room, rule, key="wrong")).status in (403, 429)
    assert (await get_json(classroom.url, "/lab"))["access"] == "class"
    without = servers.get("memory")
    assert (await get_json(without.url, "/lab"))["access"] == "open"
    for wrong in ("/muted/a%20b", "/removed/*", "/removed/" + "x" * 65):
        assert (await moderate(classroom, "PUT", room, wrong)).status == 400
