"""Short polling on the wire: a question is answered at once, whether there is anything or not."""

import json

from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import POLL_HEAD, Raw
from tests.transports.readers import epoch_of, say_in

CUT = ("--answer-events", "5", "--messages-per-second", "0")


async def test_the_head_says_what_it_must_and_how_long_the_answer_is(
    server: Server, room: str
) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        head = await raw.head()
        answer = await raw.body(head)
    assert head == [*POLL_HEAD, f"Content-Length: {len(answer)}"]


async def test_silence_is_answered_with_a_cursor_and_nothing_else(
    server: Server, room: str
) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        answer = json.loads(await raw.body(await raw.head()))
    assert answer == {"cursor": f"{epoch_of(answer['cursor'])}-0", "events": []}


async def test_the_connection_is_kept_for_the_next_question(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        for number in range(3):
            (cursor,) = await say_in(server, room, str(number))
            # Its announcement may still be on its way; asked with its cursor, we have read it.
            raw.ask(f"/rooms/{room}/short_polling?after={cursor}")
            answer = json.loads(await raw.body(await raw.head()))
            assert answer == {"cursor": cursor, "events": []}


async def test_the_answer_is_the_events_as_they_were_announced(server: Server, room: str) -> None:
    cursors = await say_in(server, room, "one", "<聊>")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        body = await raw.body(await raw.head())
    answer = json.loads(body)
    assert [event["cursor"] for event in answer["events"]] == cursors
    assert answer["cursor"] == cursors[-1]
    assert '"text":"<聊>"'.encode() in body  # UTF-8 as it is, not six bytes of escape


async def test_a_long_answer_is_cut_and_says_that_there_is_more(
    servers: Servers, hub: str, room: str
) -> None:
    server = servers.get(hub, *CUT)
    await say_in(server, room, *map(str, range(12)))
    path, answers = f"/rooms/{room}/short_polling", []
    async with Raw(server) as raw:
        raw.ask(path)
        for _ in range(3):
            answers.append(json.loads(await raw.body(await raw.head())))
            raw.ask(f"{path}?after={answers[-1]['cursor']}")
    assert [len(answer["events"]) for answer in answers] == [5, 5, 2]
    assert [answer.get("more") for answer in answers] == [True, True, None]
    said = [event["text"] for answer in answers for event in answer["events"]]
    assert said == [str(n) for n in range(12)]


async def test_an_answer_that_is_exactly_full_says_nothing_of_more(
    servers: Servers, hub: str, room: str
) -> None:
    server = servers.get(hub, *CUT)
    await say_in(server, room, *map(str, range(5)))
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling")
        answer = json.loads(await raw.body(await raw.head()))
    assert (len(answer["events"]), answer.get("more")) == (5, None)
