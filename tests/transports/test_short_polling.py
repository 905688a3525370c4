"""Short polling on the wire: a poll is answered at once, with or without events."""

import json

from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import POLL_HEAD, Raw
from tests.transports.readers import epoch_of, say_in

CUT = ("--answer-events", "5", "--messages-per-second", "0")


async def test_the_header_fields_are_exactly_these(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        head = await raw.head()
        response = await raw.body(head)
    assert head == [*POLL_HEAD, f"Content-Length: {len(response)}"]


async def test_an_empty_response_is_only_a_cursor(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        response = json.loads(await raw.body(await raw.head()))
    assert response == {"cursor": f"{epoch_of(response['cursor'])}-0", "events": []}


async def test_the_connection_is_kept_for_the_next_request(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        for number in range(3):
            (cursor,) = await say_in(server, room, str(number))
            # Its announcement can still be in transit; a poll with its cursor reads the log first.
            raw.ask(f"/rooms/{room}/short_polling?after={cursor}")
            response = json.loads(await raw.body(await raw.head()))
            assert response == {"cursor": cursor, "events": []}


async def test_the_response_has_the_events_as_they_were_published(
    server: Server, room: str
) -> None:
    cursors = await say_in(server, room, "one", "<聊>")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        body = await raw.body(await raw.head())
    response = json.loads(body)
    assert [event["cursor"] for event in response["events"]] == cursors
    assert response["cursor"] == cursors[-1]
    assert '"text":"<聊>"'.encode() in body  # UTF-8 as it is, not six bytes of escape


async def test_a_long_response_is_cut_and_marked_with_more(servers: Servers, room: str) -> None:
    server = servers.get("memory", *CUT)
    await say_in(server, room, *map(str, range(12)))
    path, responses = f"/rooms/{room}/short_polling", []
    async with Raw(server) as raw:
        raw.ask(path)
        for _ in range(3):
            responses.append(json.loads(await raw.body(await raw.head())))
            raw.ask(f"{path}?after={responses[-1]['cursor']}")
    assert [len(response["events"]) for response in responses] == [5, 5, 2]
    assert [response.get("more") for response in responses] == [True, True, None]
    received = [event["text"] for response in responses for event in response["events"]]
    assert received == [str(n) for n in range(12)]


async def test_a_response_that_is_exactly_full_is_not_marked_with_more(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", *CUT)
    await say_in(server, room, *map(str, range(5)))
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        response = json.loads(await raw.body(await raw.head()))
    assert (len(response["events"]), response.get("more")) == (5, None)
