"""Server processes die and networks fail: readers resume elsewhere with their cursors.

The servers share one Redis and nothing else.  A client may use any of them.
"""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from realtime.client import CLIENTS, Client, get_json, request
from realtime.netem.proxy import Proxy
from tests.brokers.private_redis import PrivateRedis
from tests.conftest import Servers
from tests.faults.conftest import Start
from tests.faults.harness import Scenario
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say_in, take, texts, until_waiting

POLLS = ["short_polling", "long_polling"]
# So short that a test can wait until a lease expires.
SHORT_LEASES = ("--lease-seconds", "1.5", "--grace-seconds", "0.3")
SECONDS = 20


async def test_readers_of_a_killed_process_lose_nothing(
    redis: PrivateRedis, start_servers: Start, room: str
) -> None:
    servers = await start_servers(redis.url, 3)
    async with Scenario([server.url for server in servers], room) as scenario:
        async with scenario.load():
            for victim in servers[:2]:
                await scenario.more(40)
                victim.kill()
            await scenario.more(40)
        audit = await scenario.audit()
        reconnects = [reader.reconnects for reader in scenario.readers.values()]
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert sum(map(bool, reconnects)) >= 2 * len(CLIENTS)  # all readers of the two that died


async def test_connections_that_are_cut_repeatedly_lose_nothing(
    servers: Servers, room: str
) -> None:
    one, other = (servers.get("redis", "--messages-per-second", "0", copy=n) for n in (0, 1))
    async with (
        Proxy("127.0.0.1", one.port) as first,
        Proxy("127.0.0.1", other.port) as second,
        Scenario([first.url, second.url], room) as scenario,
    ):
        async with scenario.load():
            for number in range(4):
                await scenario.more(20)
                (first, second)[number % 2].reset_connections()
            await scenario.more(20)
        audit = await scenario.audit()
    assert audit.clean, audit
    assert not audit.gaps, audit


@pytest.mark.parametrize("transport", POLLS)
async def test_a_response_that_the_network_cut_is_sent_again(
    server: Server, room: str, transport: str
) -> None:
    cursors = await say_in(server, room, *(f"{n} " + "x" * 2000 for n in range(20)))
    path = f"/rooms/{room}/{transport}?after={cursors[0].rpartition('-')[0]}-0"
    async with Raw(server) as raw:
        raw.ask(path)
        head = await raw.head()
        await raw.exactly(100)  # then the connection breaks
    async with Raw(server) as raw:
        raw.ask(path)
        response = json.loads(await raw.body(await raw.head()))
    assert [event["cursor"] for event in response["events"]] == cursors
    assert head[0] == "HTTP/1.1 200 OK"


async def test_a_long_poll_whose_response_was_lost_receives_it_at_the_next_request(
    server: Server, room: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as proxy:
        poll = reader(proxy, "long_polling", room, after="now")
        await poll.open()
        waiting = asyncio.create_task(poll.receive())
        await until_waiting(server, 1)
        proxy.reset_connections()
        await say_in(server, room, "published while nobody was connected")
        with pytest.raises(ConnectionError):
            await waiting
        assert texts(await take(poll, 1)) == ["published while nobody was connected"]
        await poll.close()


@pytest.mark.parametrize("transport", POLLS)
async def test_two_concurrent_polls_with_one_cursor_receive_the_same(
    server: Server, room: str, transport: str
) -> None:
    (cursor,) = await say_in(server, room, "before")
    clients: list[Client] = [reader(server, transport, room, after=cursor) for _ in range(2)]
    for client in clients:
        await client.open()
    polling = asyncio.gather(*(take(client, 3) for client in clients))
    await say_in(server, room, *"abc")
    one, other = await polling
    assert one == other
    assert texts(one) == [*"abc"]
    for client in clients:
        await client.close()


# --- members -------------------------------------------------------------------------------------


def joins_and_quits(events: list[Any]) -> dict[str, list[str]]:
    """Return the kinds of the presence events of each client, in their order."""
    kinds: dict[str, list[str]] = {}
    for event in events:
        if event["kind"] in ("join", "quit"):
            kinds.setdefault(event["client"], []).append(event["kind"])
    return kinds


async def members(server: Server, room: str) -> list[str]:
    rows = (await get_json(server.url, f"/rooms/{room}/members"))["members"]
    return sorted(row["client"] for row in rows)


async def test_the_members_of_a_process_that_is_killed_quit_once_each(
    redis: PrivateRedis, start_servers: Start, room: str
) -> None:
    dies, lives, lives_too = await start_servers(redis.url, 3, *SHORT_LEASES)
    async with (
        reader(lives, "websocket", room, after="now") as watcher,
        reader(lives_too, "sse", room, after="now") as other_watcher,
    ):
        clients = [reader(dies, name, room, client=name, name=name) for name in CLIENTS]
        for client in clients:
            await client.open()
        joined = await take(watcher, len(CLIENTS))
        dies.kill()
        quit = await take(watcher, len(CLIENTS))
        (last,) = await say_in(lives, room, "nobody else quits")
        (after,) = await take(watcher, 1)
        assert await take(other_watcher, 2 * len(CLIENTS) + 1) == [*joined, *quit, after]
        for client in clients:
            client.abort()
    assert joins_and_quits([*joined, *quit]) == {name: ["join", "quit"] for name in CLIENTS}
    assert after["cursor"] == last
    assert await members(lives, room) == []


async def test_members_that_resume_at_another_process_never_quit(
    redis: PrivateRedis, admin: Redis, start_servers: Start, room: str
) -> None:
    lease_seconds = 3
    servers = await start_servers(redis.url, 3, "--lease-seconds", f"{lease_seconds}")
    async with reader(servers[2], "websocket", room, after="now") as watcher:
        urls = [server.url for server in servers]
        async with Scenario(urls, room, members=True) as scenario:
            people = len(scenario.readers)
            joined = await take(watcher, people)
            for victim in servers[:2]:
                victim.kill()
                async with scenario.load():
                    await scenario.more(20)
            async with scenario.load():
                await until_renewed(admin, room, lease_seconds)
            audit = await scenario.audit()
            listed = await members(servers[2], room)
            events = next(iter(scenario.readers.values())).events
    assert audit.clean, audit
    assert Counter(event["kind"] for event in joined) == {"join": people}
    assert all(kinds == ["join"] for kinds in joins_and_quits(events).values())
    assert len(listed) == people


async def until_renewed(admin: Redis, room: str, lease_seconds: float) -> None:
    """Return when the leases of dead processes are gone, and all others renewed since the call."""
    seconds, microseconds = await admin.time()
    renewed_now = 1000 * (seconds + lease_seconds) + microseconds // 1000
    async with asyncio.timeout(SECONDS):
        while True:
            (_, earliest_expiry), *_ = await admin.zrange(
                f"rt:{{{room}}}:members", 0, 0, withscores=True
            )
            if earliest_expiry > renewed_now:
                return
            await asyncio.sleep(0.05)


async def test_the_list_is_correct_after_many_visits_to_two_processes(
    redis: PrivateRedis, start_servers: Start, room: str
) -> None:
    servers = await start_servers(redis.url, 2, *SHORT_LEASES)
    async with reader(servers[0], "sse", room, after="now") as watcher:

        async def visit(number: int) -> None:
            transport = [*CLIENTS][number % len(CLIENTS)]
            identity = {"client": f"m{number}", "name": "M"}
            for repeat in range(3):
                server = servers[(number + repeat) % 2]
                client = reader(server, transport, room, **identity)
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
    # A member that returned in time never quit; one that did not has quit and joined alternately.
    for client, kinds in joins_and_quits(events).items():
        expected = ["join"] if client[0] == "s" else ["join", "quit"] * (len(kinds) // 2)
        assert kinds == expected, client


async def test_many_members_of_a_killed_process_quit_once_each_and_are_not_listed(
    redis: PrivateRedis, start_servers: Start, room: str
) -> None:
    # A room remembers that many joins and quits, apart from its messages.
    options = (*SHORT_LEASES, "--presence-events", "400")
    dies, lives = await start_servers(redis.url, 2, *options)
    path = f"/rooms/{room}/short_polling"
    for start in range(0, 150, 25):  # 150 are more than one call of the sweep script takes
        numbers = range(start, start + 25)
        polls = [request(dies.url, "GET", f"{path}?client=p{n}&name=P") for n in numbers]
        await asyncio.gather(*polls)
    dies.kill()
    async with asyncio.timeout(SECONDS):
        while await members(lives, room):
            await asyncio.sleep(0.05)
    response = (await request(lives.url, "GET", f"{path}?after=x-0")).json()
    events = response["events"]
    while response.get("more"):
        response = (await request(lives.url, "GET", f"{path}?after={response['cursor']}")).json()
        events += response["events"]
    kinds = joins_and_quits(events[1:])  # the first event is a gap: there is no epoch x
    assert kinds == {f"p{number}": ["join", "quit"] for number in range(150)}
