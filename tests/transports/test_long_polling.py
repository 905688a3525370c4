"""Long polling on the wire: the server keeps the question until there is something to say."""

import asyncio
import json

import pytest

from benchmarks.clients import get_json, request
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import POLL_HEAD, Raw
from tests.transports.readers import epoch_of, say_in, until_waiting

CUT = ("--answer-events", "5", "--messages-per-second", "0")


def path_of(room: str, wait: str = "60") -> str:
    """A question of a client that is called like the room, and so like no other."""
    return f"/rooms/{room}/long_polling?wait={wait}&client={room}"


async def kept(server: Server, room: str) -> int:
    """How many questions of that client the server keeps: its own word is all there is."""
    wire = await get_json(server.url, f"/wire?client={room}")
    return int(wire["transports"].get("long_polling", {}).get("open", 0))


async def test_a_question_without_an_answer_yet_is_kept_until_there_is_one(
    server: Server, room: str
) -> None:
    async with Raw(server) as raw:
        raw.ask(path_of(room))
        while not await kept(server, room):
            await asyncio.sleep(0.01)
        cursors = await say_in(server, room, "news")
        head = await raw.head()
        body = await raw.body(head)
    answer = json.loads(body)
    assert head == [*POLL_HEAD, f"Content-Length: {len(body)}"]
    assert answer["cursor"] == cursors[0]
    assert [event["text"] for event in answer["events"]] == ["news"]


async def test_all_who_wait_at_the_same_place_get_the_same_bytes(server: Server, room: str) -> None:
    (cursor,) = await say_in(server, room, "before")
    async with Raw(server) as one, Raw(server) as other:
        for raw in (one, other):
            raw.ask(f"{path_of(room)}&after={cursor}")
        while await kept(server, room) < 2:
            await asyncio.sleep(0.01)
        await say_in(server, room, "news")
        answers = [await raw.body(await raw.head()) for raw in (one, other)]
    assert answers[0] == answers[1]


async def test_a_question_with_an_answer_is_not_kept(server: Server, room: str) -> None:
    await say_in(server, room, "news")
    async with Raw(server) as raw:
        raw.ask(path_of(room))
        answer = json.loads(await raw.body(await raw.head()))
    assert [event["text"] for event in answer["events"]] == ["news"]


@pytest.mark.parametrize("wait", ["0", "0.05"])
async def test_after_the_wait_the_answer_is_a_cursor_and_nothing_else(
    server: Server, room: str, wait: str
) -> None:
    async with Raw(server) as raw:
        raw.ask(path_of(room, wait))
        answer = json.loads(await raw.body(await raw.head()))
    assert answer == {"cursor": f"{epoch_of(answer['cursor'])}-0", "events": []}


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "inf", "soon", "1e3"])
async def test_a_wait_out_of_range_is_refused_by_name(server: Server, room: str, wait: str) -> None:
    async with Raw(server) as raw:
        raw.ask(path_of(room, wait))
        head = await raw.head()
        answer = json.loads(await raw.body(head))
    assert head[0] == "HTTP/1.1 400 Bad Request"
    assert answer["error"]["code"] == "bad_wait"


async def test_a_gap_is_an_answer_and_nobody_waits_with_it(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"{path_of(room)}&after=anotherlife-7")
        answer = json.loads(await raw.body(await raw.head()))
    assert [event["kind"] for event in answer["events"]] == ["gap"]


async def test_a_long_answer_is_cut_and_says_that_there_is_more(
    servers: Servers, hub: str, room: str
) -> None:
    server = servers.get(hub, *CUT)
    await say_in(server, room, *map(str, range(12)))
    path, answers = path_of(room, "0"), []
    async with Raw(server) as raw:
        raw.ask(path)
        for _ in range(3):
            answers.append(json.loads(await raw.body(await raw.head())))
            raw.ask(f"{path}&after={answers[-1]['cursor']}")
    assert [len(answer["events"]) for answer in answers] == [5, 5, 2]
    assert [answer.get("more") for answer in answers] == [True, True, None]


async def test_a_question_whose_asker_is_gone_is_no_longer_waited_with(
    servers: Servers, room: str
) -> None:
    with servers.make("memory") as server:
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/long_polling?wait=60")
            await until_waiting(server, 1)
        await until_waiting(server, 0)


async def test_a_question_whose_asker_is_gone_before_it_was_read_is_not_waited_with(
    servers: Servers, room: str
) -> None:
    with servers.make("redis") as server:
        for number in range(40):  # the hub is asked meanwhile, each time for another room
            async with Raw(server) as raw:
                raw.ask(f"/rooms/{room}-{number}/long_polling?wait=60")
        # Whoever asks after them is read after them.
        assert (await request(server.url, "GET", "/rooms")).status == 200
        await until_waiting(server, 0)
