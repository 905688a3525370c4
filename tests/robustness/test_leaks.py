"""Many rooms, opened and left, over each hub: the server releases what they used.

They come in equal waves.  Scripts, pools, caches and statistics grow in the first ones, by 5000
blocks in all; a leak per room would show in every wave.
"""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, starmap

from redis.asyncio import Redis

from realtime.client import get_json, request
from tests.brokers.private_redis import PrivateRedis
from tests.robustness.conftest import MakeServer
from tests.robustness.frames import HANDSHAKE
from tests.robustness.http_client import abort, check_all, get, run_concurrently
from tests.robustness.monitored_server import MonitoredServer
from tests.transports.raw import Raw
from tests.transports.readers import OURS

# Above every delay that a test here waits for: a sweep of the rooms takes some seconds.
SECONDS = 25.0
# Rooms of one wave.  Most are polled, many over one connection; a stream costs a connection each.
POLLED, PER_CONNECTION = 200, 50
STREAMED = 40
# Short enough for a test to wait until rooms and members are removed.
SHORT = (
    *("--idle-room-seconds", "0.2", "--history-seconds", "0.05", "--rooms", "100000"),
    *("--rooms-per-address", "100000", "--joins-per-second-per-address", "0"),
    *("--lease-seconds", "1", "--grace-seconds", "0.1", "--messages-per-second", "0"),
)
# A leaked RoomReplica has dozens of blocks.  Without a leak there is less than one per room, for
# the ids of the messages, which the broker remembers for some minutes.
MAX_BLOCKS_PER_ROOM = 2
# Of 14 waves, the third or fourth was the first without growth.
MAX_WAVES = 8
STREAMS = ["sse", "fetch_streaming", "iframe_streaming", "websocket"]


class CountingServer(MonitoredServer):
    """A server that counts its allocated blocks of memory."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options, program=("-m", "tests.robustness.counting_server"))

    def allocated_blocks(self) -> int:
        """Collect the garbage of the server, and return how many blocks are left."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")  # the first ones are for lecturers
        return next(int(line) for line in lines if line.strip().isdecimal())


@dataclass(frozen=True)
class Usage:
    """What a server uses without clients."""

    blocks: int
    files: int
    tasks: int
    rooms: int
    members: int


async def gauges(server: MonitoredServer) -> dict[str, float]:
    """The gauges of `GET /metrics`, summed over their labels."""
    sums: dict[str, float] = {}
    for line in (await request(server.url, "GET", "/metrics")).body.decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            name = name.partition("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
    return sums


async def usage(server: CountingServer) -> Usage:
    now = await gauges(server)
    return Usage(
        await asyncio.to_thread(server.allocated_blocks),
        server.open_files(),
        int(now["realtime_tasks"]),
        int(now["realtime_rooms"]),
        int(now["realtime_members"]),
    )


def query(number: int) -> str:
    """Every third reader is a member."""
    return f"?client=c{number % 50}&name=N" if number % 3 == 0 else "?"


async def poll(server: MonitoredServer, name: str, numbers: range) -> None:
    """Poll many rooms over one connection; publish to some of them first."""
    requests = []
    for number in numbers:
        if number % 5 == 0:
            requests.append(post_message(f"{name}-{number}"))
        requests.append(get(f"/rooms/{name}-{number}/short_polling{query(number)}"))
    requests.append(get("/healthz", "Host: 127.0.0.1", "Connection: close"))
    data, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"".join(requests))
    async with asyncio.timeout(SECONDS):
        statuses = check_all(await data.read())
    abort(writer)
    assert len(statuses) == len(requests)
    assert set(statuses) <= {200, 201}


def post_message(room: str) -> bytes:
    head = f"POST /rooms/{room}/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 12\r\n\r\n"
    return head.encode() + b'{"text":"x"}'


async def stream(server: MonitoredServer, name: str, number: int) -> None:
    """Start a stream of a room, and close or reset its connection."""
    kind = STREAMS[number % len(STREAMS)]
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{name}-{number}/{kind}{query(number)}", *HANDSHAKE)
        assert (await raw.head())[0].split()[1] in ("101", "200")
        if number % 2:
            abort(raw._writer)


async def wave(server: CountingServer, name: str) -> Usage:
    """Open and leave all rooms of a wave; return the usage after their removal."""
    polls = [
        partial(poll, server, name, range(n, n + PER_CONNECTION))
        for n in range(0, POLLED, PER_CONNECTION)
    ]
    streams = [partial(stream, server, name, n) for n in range(POLLED, POLLED + STREAMED)]
    await run_concurrently([*polls, *streams])
    return await idle_usage(server)


async def idle_usage(server: CountingServer) -> Usage:
    """Return the usage when all rooms and members have been removed."""
    async with asyncio.timeout(SECONDS):
        while (now := await gauges(server))["realtime_rooms"] or now["realtime_members"]:
            await asyncio.sleep(0.2)
    return await usage(server)


def has_grown(early: Usage, late: Usage) -> bool:
    return late.blocks - early.blocks >= MAX_BLOCKS_PER_ROOM * (POLLED + STREAMED)


async def waves(hub: str) -> None:
    with CountingServer("--hub", hub, *SHORT) as server:
        start = await usage(server)
        after = [await wave(server, f"wave{number}") for number in range(4)]
        while has_grown(*after[-2:]) and len(after) < MAX_WAVES:
            after.append(await wave(server, f"wave{len(after)}"))
    first, last = after[0], after[-1]
    assert not all(starmap(has_grown, pairwise(after))), (start, after)
    assert last.tasks <= first.tasks + 2, (start, after)
    # The connection pool keeps its connections; nothing else can stay open.
    assert last.files <= first.files + 2, (start, after)
    assert last.files <= start.files + 20, (start, after)


async def test_many_rooms_leave_nothing_behind() -> None:
    with PrivateRedis() as redis:
        # Concurrently, because most of the time is waiting for the removal of rooms.
        async with asyncio.TaskGroup() as both:
            both.create_task(waves("memory"))
            both.create_task(waves(redis.url))
        await check_keys(redis)


async def check_keys(redis: PrivateRedis) -> None:
    """Check that every key of an unused room expires, and that no members are left."""
    async with Redis.from_url(redis.url) as connection:
        # The logs outlive their content by some hours, in case the clock of Redis steps; then they
        # expire as well.
        keys = [key async for key in connection.scan_iter(count=1000)]
        assert [key for key in keys if await connection.pttl(key) == -1] == []
        kinds = {key.rpartition(b"}:")[2].partition(b":")[0] for key in keys}
        assert kinds <= {b"seen", b"meta", b"log", b"presence", b"clock"}, kinds


# --- members -------------------------------------------------------------------------------------


async def test_a_client_that_disconnects_while_it_joins_does_not_stay_a_member(
    make_server: MakeServer, room: str
) -> None:
    with make_server(*SHORT, "--lease-seconds", "1") as server:

        async def join_and_disconnect(transport: str, number: int) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            path = f"/rooms/{room}-{transport}/{transport}?client=c{number}&name=N"
            writer.write(get(path, "Host: 127.0.0.1", *HANDSHAKE))
            abort(writer)

        await run_concurrently(partial(join_and_disconnect, t, n) for n in range(40) for t in OURS)
        left = dict.fromkeys(OURS, -1)
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while any(left.values()) or (await gauges(server))["realtime_members"]:
                    for transport in OURS:
                        path = f"/rooms/{room}-{transport}/members"
                        left[transport] = len((await get_json(server.url, path))["members"])
                    await asyncio.sleep(0.1)
        assert left == dict.fromkeys(OURS, 0)
        assert (await gauges(server))["realtime_members"] == 0


# --- requests ------------------------------------------------------------------------------------


async def test_a_client_that_disconnects_within_a_body_leaves_no_task(
    make_server: MakeServer, room: str
) -> None:
    paths = [
        *("/", "/healthz", f"/rooms/{room}/messages", f"/rooms/{room}/websocket"),
        *("/socket.io/?EIO=4&transport=polling", "/sockjs/info", "/sockjs/0/session/xhr"),
        *("/sockjs/0/session/xhr_send", "/sockjs/0/session/websocket", "/networks"),
    ]
    with make_server(*SHORT) as server:

        async def disconnect_within_a_body(path: str) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
            writer.write(head.encode() + b"half of it")
            await writer.drain()
            abort(writer)

        before = (await gauges(server))["realtime_tasks"]
        await run_concurrently(partial(disconnect_within_a_body, path) for path in paths * 5)
        async with asyncio.timeout(SECONDS):
            while (await gauges(server))["realtime_tasks"] > before + 2:
                await asyncio.sleep(0.1)
