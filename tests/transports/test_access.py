"""Who may do what, with every transport, at the bytes: ids that need the secret of their owner."""

import json
from urllib.parse import quote

import pytest

from benchmarks.clients import CLIENTS, Client, Refused, get_json, post, request
from benchmarks.clients.sansio import client_id
from realtime.errors import WrongSecret
from tests.server_process import Server
from tests.transports.readers import reader, say_in, take, texts

SECRET, OTHER_SECRET = "the-secret-of-ada-1815", "the-secret-of-mallory-"
ADA = client_id(SECRET)
FRAMED = {"websocket", "sockjs", "socketio"}

every_transport = pytest.mark.parametrize("transport", CLIENTS)


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
