"""Ten thousand rooms, opened and left, over each hub: what they cost comes back.

They come in waves of the same kind.  The first ones warm what may stay warm (scripts, pools, the
allocator's arenas, the books of the wire); what every room leaves for ever, every wave leaves.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from benchmarks.clients import get_json, request
from tests.brokers.private_redis import PrivateRedis
from tests.robustness.conftest import Watch
from tests.robustness.frames import HANDSHAKE
from tests.robustness.http_client import abort, check_all, crowd, get
from tests.robustness.monitored_server import WatchedServer
from tests.transports.raw import Raw
from tests.transports.readers import OURS

# Above every delay that is waited for here: a sweep of the rooms takes some seconds.
SECONDS = 25.0
# Rooms of one wave.  Most are polled, many over one connection; a stream costs a connection each.
POLLED, AT_ONCE = 1000, 50
STREAMED = 200
# What is forgotten, soon enough to be waited for.
BRISK = (
    *("--idle-room-seconds", "0.2", "--history-seconds", "0.05", "--rooms", "100000"),
    *("--lease-seconds", "2", "--grace-seconds", "0.2", "--messages-per-second", "0"),
)
# A Channel that was kept costs about 1 KB in memory and 1.4 over Redis (measured by keeping them);
# without any, two equal pairs of waves differ by less than half of that, in what malloc holds back.
MOST_GROWTH = 2 * 720 * (POLLED + STREAMED)
STREAMS = ["sse", "fetch_streaming", "iframe_streaming", "websocket"]


@dataclass(frozen=True)
class Held:
    """What a server holds when nobody is there."""

    memory: int
    files: int
    tasks: int
    rooms: int
    members: int


async def figures(server: WatchedServer) -> dict[str, float]:
    """The gauges of `GET /metrics`, those with the same name added up."""
    sums: dict[str, float] = {}
    for line in (await request(server.url, "GET", "/metrics")).body.decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            name = name.partition("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
    return sums


async def held(server: WatchedServer) -> Held:
    now = await figures(server)
    return Held(
        server.memory(),
        server.open_files(),
        int(now["realtime_tasks"]),
        int(now["realtime_rooms"]),
        int(now["realtime_members"]),
    )


def who(number: int) -> str:
    """Every third reader is a member."""
    return f"?client=c{number % 50}&name=N" if number % 3 == 0 else "?"


async def poll(server: WatchedServer, name: str, numbers: range) -> None:
    """Poll many rooms over one connection, and in some of them say something before."""
    questions = []
    for number in numbers:
        if number % 5 == 0:
            questions.append(post_word(f"{name}-{number}"))
        questions.append(get(f"/rooms/{name}-{number}/short_polling{who(number)}"))
    questions.append(get("/healthz", "Host: 127.0.0.1", "Connection: close"))
    data, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"".join(questions))
    async with asyncio.timeout(SECONDS):
        statuses = check_all(await data.read())
    abort(writer)
    assert len(statuses) == len(questions)
    assert set(statuses) <= {200, 201}


def post_word(room: str) -> bytes:
    head = f"POST /rooms/{room}/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 12\r\n\r\n"
    return head.encode() + b'{"text":"x"}'


async def stream(server: WatchedServer, name: str, number: int) -> None:
    """Begin a stream of a room, and leave it with or without a goodbye."""
    kind = STREAMS[number % len(STREAMS)]
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{name}-{number}/{kind}{who(number)}", *HANDSHAKE)
        assert (await raw.head())[0].split()[1] in ("101", "200")
        if number % 2:
            abort(raw._writer)


async def wave(server: WatchedServer, name: str) -> Held:
    """Open and leave all rooms of a wave; what is held when they are forgotten."""
    polls = [partial(poll, server, name, range(n, n + AT_ONCE)) for n in range(0, POLLED, AT_ONCE)]
    streams = [partial(stream, server, name, n) for n in range(POLLED, POLLED + STREAMED)]
    await crowd([*polls, *streams])
    return await rest(server)


async def rest(server: WatchedServer) -> Held:
    """What is held when all rooms are forgotten."""
    async with asyncio.timeout(SECONDS):
        while (now := await held(server)).rooms or now.members:
            await asyncio.sleep(0.1)
    return now


async def waves(hub: str) -> None:
    with WatchedServer("--hub", hub, *BRISK) as server:
        start = await held(server)
        after = [await wave(server, f"wave{number}") for number in range(6)]
    # Two waves after any one; the allocator may still have taken a step between one such pair.
    growth = min(
        late.memory - early.memory for early, late in zip(after[1:], after[3:], strict=False)
    )
    first, last = after[1], after[-1]
    assert growth < MOST_GROWTH, (start, after)
    assert last.tasks <= first.tasks + 2, (start, after)
    # The pool of commands keeps its connections; nothing else may stay open.
    assert last.files <= first.files + 2, (start, after)
    assert last.files <= start.files + 20, (start, after)


async def test_thousands_of_rooms_leave_nothing_behind() -> None:
    with PrivateRedis() as redis:
        # At once, since most of it is waiting for rooms to be forgotten.
        async with asyncio.TaskGroup() as both:
            both.create_task(waves("memory"))
            both.create_task(waves(redis.url))
        await check_keys(redis)


async def check_keys(redis: PrivateRedis) -> None:
    """What the hub keeps of a room that was left has an end, and of most rooms nothing is kept."""
    async with Redis.from_url(redis.url) as connection:
        # Rooms where nothing was said are gone soon; the others' place in their log outlives it.
        keys = [key async for key in connection.scan_iter(count=1000)]
        assert [key for key in keys if await connection.pttl(key) < 0] == []
        kinds = {key.rpartition(b"}:")[2].partition(b":")[0] for key in keys}
        assert kinds <= {b"seen", b"meta"}, kinds


# --- members -------------------------------------------------------------------------------------


async def test_who_goes_while_it_arrives_is_no_member_for_ever(watch: Watch, room: str) -> None:
    with watch(*BRISK, "--lease-seconds", "1") as server:

        async def arrive_and_go(transport: str, number: int) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            path = f"/rooms/{room}-{transport}/{transport}?client=c{number}&name=N"
            writer.write(get(path, "Host: 127.0.0.1", *HANDSHAKE))
            abort(writer)

        await crowd(partial(arrive_and_go, t, n) for n in range(100) for t in OURS)
        left = dict.fromkeys(OURS, -1)
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while any(left.values()) or (await held(server)).members:
                    for transport in OURS:
                        path = f"/rooms/{room}-{transport}/members"
                        left[transport] = len((await get_json(server.url, path))["members"])
                    await asyncio.sleep(0.1)
        assert left == dict.fromkeys(OURS, 0)
        assert (await held(server)).members == 0
