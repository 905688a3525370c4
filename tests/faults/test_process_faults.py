"""Processes die and networks cut: readers go on elsewhere by their cursors, and people are missed.

The servers share one Redis.  None of them knows of the others, and nothing tells a client which of
them to use.
"""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from benchmarks.clients import CLIENTS, Client, get_json, request
from realtime.netem.proxy import Proxy
from tests.brokers.private_redis import PrivateRedis
from tests.faults.conftest import Begin
from tests.faults.harness import Scene
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts, until_waiting

POLLS = ["short_polling", "long_polling"]
# So short that a test can see a lease end.
BRISK = ("--lease-seconds", "1.5", "--grace-seconds", "0.3")
SECONDS = 20


async def test_a_process_that_is_killed_costs_its_readers_nothing(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    servers = [await begin(redis.url) for _ in range(3)]
    async with Scene([server.url for server in servers], room) as scene:
        async with scene.load():
            for victim in servers[:2]:
                await scene.more(40)
                victim.kill()
            await scene.more(40)
        audit = await scene.audit()
        returns = [witness.returns for witness in scene.witnesses.values()]
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert sum(map(bool, returns)) >= 2 * len(CLIENTS)  # all who were there had to come again


async def test_every_connection_that_is_cut_again_and_again_costs_nothing(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    one, other = await begin(redis.url), await begin(redis.url)
    async with (
        Proxy("127.0.0.1", one.port) as first,
        Proxy("127.0.0.1", other.port) as second,
        Scene([first.url, second.url], room) as scene,
    ):
        async with scene.load():
            for number in range(8):
                await scene.more(20)
                (first, second)[number % 2].reset_connections()
            await scene.more(20)
        audit = await scene.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


@pytest.mark.parametrize("transport", POLLS)
async def test_an_answer_that_the_network_cut_is_given_again(
    server: Server, room: str, transport: str
) -> None:
    said = await say_in(server, room, *(f"{n} " + "x" * 2000 for n in range(20)))
    path = f"/rooms/{room}/{transport}?after={said[0].rpartition('-')[0]}-0"
    async with Raw(server) as raw:
        raw.ask(path)
        head = await raw.head()
        await raw.exactly(100)  # and then the line is dead
    async with Raw(server) as raw:
        raw.ask(path)
        answer = json.loads(await raw.body(await raw.head()))
    assert [event["cursor"] for event in answer["events"]] == said
    assert head[0] == "HTTP/1.1 200 OK"


async def test_a_long_poll_whose_answer_went_into_a_dead_line_asks_again_and_has_it(
    server: Server, room: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as relay:
        poll = reader(relay, "long_polling", room, after="now")
        await poll.open()
        waiting = asyncio.create_task(poll.receive())
        await until_waiting(server, 1)
        relay.reset_connections()
        await say_in(server, room, "while nobody listened")
        with pytest.raises(ConnectionError):
            await waiting
        assert texts(await take(poll, 1)) == ["while nobody listened"]
        await poll.close()


@pytest.mark.parametrize("transport", POLLS)
async def test_two_who_ask_at_once_with_one_cursor_are_told_the_same(
    server: Server, room: str, transport: str
) -> None:
    (cursor,) = await say_in(server, room, "before")
    two: list[Client] = [reader(server, transport, room, after=cursor) for _ in range(2)]
    for client in two:
        await client.open()
    asking = asyncio.gather(*(take(client, 3) for client in two))
    await say_in(server, room, *"abc")
    one, other = await asking
    assert one == other
    assert texts(one) == [*"abc"]
    for client in two:
        await client.close()


# --- people --------------------------------------------------------------------------------------


def comings_and_goings(events: list[Any]) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for event in events:
        if event["kind"] in ("join", "quit"):
            said.setdefault(event["client"], []).append(event["kind"])
    return said


async def members(server: Server, room: str) -> list[str]:
    rows = (await get_json(server.url, f"/rooms/{room}/members"))["members"]
    return sorted(row["client"] for row in rows)


async def test_the_members_of_a_process_that_is_killed_quit_once_each(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    dies, lives, lives_too = [await begin(redis.url, *BRISK) for _ in range(3)]
    async with (
        reader(lives, "websocket", room, after="now") as watcher,
        reader(lives_too, "sse", room, after="now") as witness,
    ):
        clients = [reader(dies, name, room, client=name, name=name) for name in CLIENTS]
        for client in clients:
            await client.open()
        joined = await take(watcher, len(CLIENTS))
        dies.kill()
        quit = await take(watcher, len(CLIENTS))
        (last,) = await say_in(lives, room, "nobody else quits")
        (after,) = await take(watcher, 1)
        assert await take(witness, 2 * len(CLIENTS) + 1) == [*joined, *quit, after]
        for client in clients:
            client.abort()
    assert comings_and_goings([*joined, *quit]) == {name: ["join", "quit"] for name in CLIENTS}
    assert after["cursor"] == last
    assert await members(lives, room) == []


async def test_who_goes_on_at_another_process_never_left(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    servers = [await begin(redis.url, "--lease-seconds", "4") for _ in range(3)]
    async with reader(servers[2], "websocket", room, after="now") as watcher:
        urls = [server.url for server in servers]
        async with Scene(urls, room, members=True) as scene:
            people = len(scene.witnesses)
            joined = await take(watcher, people)
            for victim in servers[:2]:
                victim.kill()
                async with scene.load():
                    await scene.more(20)
            async with scene.load():  # for longer than a lease
                await asyncio.sleep(6)
            audit = await scene.audit()
            listed = await members(servers[2], room)
            events = next(iter(scene.witnesses.values())).events
    assert audit.clean, audit
    assert Counter(event["kind"] for event in joined) == {"join": people}
    assert all(said == ["join"] for said in comings_and_goings(events).values())
    assert len(listed) == people


async def test_the_list_is_right_after_many_came_and_went_on_two_processes(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    servers = [await begin(redis.url, *BRISK) for _ in range(2)]
    async with reader(servers[0], "sse", room, after="now") as watcher:

        async def visit(number: int) -> None:
            transport = [*CLIENTS][number % len(CLIENTS)]
            who = {"client": f"m{number}", "name": "M"}
            for turn in range(3):
                server = servers[(number + turn) % 2]
                client = reader(server, transport, room, **who)
                await client.open()
                await asyncio.sleep(0.05 * (number % 5))
                client.abort()

        await asyncio.gather(*(visit(number) for number in range(60)))
        stays = [reader(servers[n % 2], "sse", room, client=f"s{n}", name="S") for n in range(4)]
        for client in stays:
            await client.open()
        async with asyncio.timeout(SECONDS):
            for server in servers:
                while await members(server, room) != ["s0", "s1", "s2", "s3"]:
                    await asyncio.sleep(0.05)
        (last,) = await say_in(servers[1], room, "the end")
        events: list[Any] = []
        while not events or events[-1]["cursor"] != last:
            events += await take(watcher, 1)
        for client in stays:
            await client.close()
    # Whoever came in time was never away; whoever did not, quit and joined again: in turn.
    for client, said in comings_and_goings(events).items():
        expected = ["join"] if client[0] == "s" else ["join", "quit"] * (len(said) // 2)
        assert said == expected, client


async def test_many_that_go_with_their_process_quit_once_each_and_are_off_the_list(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    dies, lives = [await begin(redis.url, *BRISK) for _ in range(2)]
    path = f"/rooms/{room}/short_polling"
    for number in range(150):  # more than one sweep takes at once
        await request(dies.url, "GET", f"{path}?client=p{number}&name=P")
    dies.kill()
    async with asyncio.timeout(SECONDS):
        while await members(lives, room):
            await asyncio.sleep(0.05)
    answer = (await request(lives.url, "GET", f"{path}?after=x-0")).json()
    events = answer["events"]
    while answer.get("more"):
        answer = (await request(lives.url, "GET", f"{path}?after={answer['cursor']}")).json()
        events += answer["events"]
    said = comings_and_goings(events[1:])  # the first is a gap: x is no epoch
    assert said == {f"p{number}": ["join", "quit"] for number in range(150)}
