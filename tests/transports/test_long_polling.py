"""Long polling on the wire: the server delays its response until there is an event."""

import asyncio
import json

import pytest

from realtime.client import get_json, request
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import POLL_HEAD, Raw
from tests.transports.readers import epoch_of, say_in, until_waiting

CUT = ("--answer-events", "5", "--messages-per-second", "0")


def path_of(room: str, wait: str = "60") -> str:
    """The path of a poll by a client with the name of the room, which no other test uses."""
    return f"/rooms/{room}/long_polling?wait={wait}&client={room}"


async def waiting_polls(server: Server, room: str) -> int:
    """How many polls of that client wait, as the server reports."""
    wire = await get_json(server.url, f"/wire?client={room}")
    return int(wire["transports"].get("long_polling", {}).get("open", 0))


async def test_a_poll_waits_until_there_is_an_event(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(path_of(room))
        while not await waiting_polls(server, room):
            await asyncio.sleep(0.01)
        cursors = await say_in(server, room, "news")
        head = await raw.head()
        body = await raw.body(head)
    response = json.loads(body)
    assert head == [*POLL_HEAD, f"Content-Length: {len(body)}"]
    assert response["cursor"] == cursors[0]
    assert [event["text"] for event in response["events"]] == ["news"]


async def test_all_readers_at_the_same_cursor_receive_the_same_bytes(
    server: Server, room: str
) -> None:
    (cursor,) = await say_in(server, room, "before")
    async with Raw(server) as one, Raw(server) as other:
        for raw in (one, other):
            raw.ask(f"{path_of(room)}&after={cursor}")
        while await waiting_polls(server, room) < 2:
            await asyncio.sleep(0.01)
        await say_in(server, room, "news")
        responses = [await raw.body(await raw.head()) for raw in (one, other)]
    assert responses[0] == responses[1]


async def test_a_poll_with_new_events_does_not_wait(server: Server, room: str) -> None:
    await say_in(server, room, "news")
    async with Raw(server) as raw:
        raw.ask(path_of(room))
        response = json.loads(await raw.body(await raw.head()))
    assert [event["text"] for event in response["events"]] == ["news"]


@pytest.mark.parametrize("wait", ["0", "0.05"])
async def test_after_the_wait_the_response_is_only_a_cursor(
    server: Server, room: str, wait: str
) -> None:
    async with Raw(server) as raw:
        raw.ask(path_of(room, wait))
        response = json.loads(await raw.body(await raw.head()))
    assert response == {"cursor": f"{epoch_of(response['cursor'])}-0", "events": []}


@each("wait", ["61", "-1", "nan", "inf", "soon", "1e3"])
async def test_a_wait_out_of_range_is_a_named_error(server: Server, room: str, wait: str) -> None:
    async with Raw(server) as raw:
        raw.ask(path_of(room, wait))
        head = await raw.head()
        response = json.loads(await raw.body(head))
    assert head[0] == "HTTP/1.1 400 Bad Request"
    assert response["error"]["code"] == "bad_wait"


async def test_a_gap_is_sent_at_once(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"{path_of(room)}&after=anotherlife-7")
        response = json.loads(await raw.body(await raw.head()))
    assert [event["kind"] for event in response["events"]] == ["gap"]


async def test_a_long_response_is_cut_and_marked_with_more(servers: Servers, room: str) -> None:
    server = servers.get("memory", *CUT)
    await say_in(server, room, *map(str, range(12)))
    path, responses = path_of(room, "0"), []
    async with Raw(server) as raw:
        raw.ask(path)
        for _ in range(3):
            responses.append(json.loads(await raw.body(await raw.head())))
            raw.ask(f"{path}&after={responses[-1]['cursor']}")
    assert [len(response["events"]) for response in responses] == [5, 5, 2]
    assert [response.get("more") for response in responses] == [True, True, None]


async def test_a_poll_of_a_disconnected_client_no_longer_waits(servers: Servers, room: str) -> None:
    with servers.make("memory") as server:
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/long_polling?wait=60")
            await until_waiting(server, 1)
        await until_waiting(server, 0)


async def test_a_poll_of_a_client_that_disconnected_before_does_not_wait(
    servers: Servers, room: str
) -> None:
    with servers.make("redis") as server:
        for number in range(40):  # each poll reads another room from the hub first
            async with Raw(server) as raw:
                raw.ask(f"/rooms/{room}-{number}/long_polling?wait=60")
        # The server reads this request after those.
        assert (await request(server.url, "GET", "/rooms")).status == 200
        await until_waiting(server, 0)
