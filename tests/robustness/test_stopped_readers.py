"""Readers that stop reading: what they cost is bounded, and only they pay for it.

A reader that takes no more is given no queue: its cursor stays where it was, the kernel and one
push hold what was on its way, and when it reads again it goes on from the log.  One that takes
nothing for `--write-deadline-seconds` is closed, whatever its connection carries.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.clients import CLIENTS, Event, get_json, request
from tests.robustness.frames import HANDSHAKE, TEXT, Peer, frame
from tests.robustness.http_client import get
from tests.robustness.monitored_server import WatchedServer
from tests.server_process import ROOT
from tests.transports.readers import OURS, number_of, numbers, reader, say, take, texts

# Above every delay of the server; reached only when something is wrong.
SECONDS = 15.0
STREAMS = [transport for transport in CLIENTS if not transport.endswith("polling")]
# One that is as long as a text may be: 4 KiB of history, and more on the wire.
LONG = "x" * 4000
UNHURRIED = ("--messages-per-second", "0", "--write-deadline-seconds", "60")


def asking(room: str, transport: str) -> bytes:
    """What begins to read from now on: a request, and what a session wants to hear after it."""
    path, words = f"/rooms/{room}/{transport}?after=now", b""
    if transport == "sockjs":
        path = f"/sockjs/000/{uuid.uuid4()}/websocket"
        join = {"kind": "join", "room": room, "after": "now"}
        words = frame(TEXT, json.dumps([json.dumps(join)]).encode())
    if transport == "socketio":
        path = f"/socket.io/?EIO=4&transport=websocket&roomid={room}&after=now"
        words = frame(TEXT, b"40")
    return get(path, "Host: 127.0.0.1", *HANDSHAKE) + words


class Stopped:
    """A stream whose reader asks, and then takes nothing; its own kernel holds a few KB for it."""

    def __init__(self, server: WatchedServer, request: bytes) -> None:
        self._server = server
        self._request = request

    async def __aenter__(self) -> "Stopped":
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self._server.port))
        await loop.sock_sendall(self.socket, self._request)
        return self

    async def begun(self) -> "Stopped":
        """Read as far as the first bytes of the answer: then it is a follower, or soon will be."""
        async with asyncio.timeout(SECONDS):
            assert await asyncio.get_running_loop().sock_recv(self.socket, 9) == b"HTTP/1.1 "
        return self

    async def __aexit__(self, *error: object) -> None:
        self.socket.close()


@asynccontextmanager
async def stopped(server: WatchedServer, requests: list[bytes]) -> AsyncIterator[list[Stopped]]:
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(Stopped(server, one)) for one in requests]
        for one in readers:
            await one.begun()
        yield readers


async def talk(server: WatchedServer, room: str, count: int, text: str = LONG) -> list[str]:
    """Say so much, over one connection, and give the cursors."""
    voice = reader(server, "sse", room)
    try:
        return await say(voice, *[text] * count)
    finally:
        await voice.close()


async def open_now(server: WatchedServer, transport: str) -> int:
    rows = (await get_json(f"http://127.0.0.1:{server.port}", "/wire"))["transports"]
    return int(rows.get(transport, {"open": 0})["open"])


async def until_open(server: WatchedServer, transport: str, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while await open_now(server, transport) != count:
            await asyncio.sleep(0.05)


# --- what they cost ------------------------------------------------------------------------------


def kernel_queues(port: int) -> list[int]:
    """Bytes that the kernel holds to be sent or acknowledged, per connection from `port`."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].partition(":")[0], 16) for row in rows if int(row[1][-4:], 16) == port]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells what it holds")
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_reader_that_stops_costs_less_than_256_kib(room: str, transport: str) -> None:
    count, most = 100, 262_144
    with WatchedServer("--hub", "memory", "--history-events", "300", *UNHURRIED) as server:
        await talk(server, room, 300)  # the room's own memory is not theirs
        async with stopped(server, [asking(room, transport)] * count):
            await until_open(server, transport, count)
            before = server.memory()
            await talk(server, room, 300)
            growth = (server.memory() - before) / count
            queues = sorted(kernel_queues(server.port))[-count:]
            assert queues[0] > 10_000, "none of them was stopped"
            assert queues[-1] + growth < most, (queues[-1], growth)


# --- reading on ----------------------------------------------------------------------------------


async def lagged(server: WatchedServer) -> bool:
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    return re.search(r"^realtime_slow_followers_total [1-9]", metrics, re.M) is not None


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_reader_that_stopped_reads_on_without_a_hole_or_a_double(
    room: str, transport: str
) -> None:
    with WatchedServer("--hub", "memory", *UNHURRIED) as server:
        async with reader(server, transport, room) as client:
            cursors = await talk(server, room, 900)
            assert await lagged(server)
            events = await take(client, 900, SECONDS)
            assert [event["cursor"] for event in events] == cursors
            await talk(server, room, 1, "and it is live again")
            assert texts(await take(client, 1)) == ["and it is live again"]


def check_gaps(events: list[Event]) -> int:
    """Each gap says exactly how much it stands for; how many there were."""
    gaps, last = 0, 0
    for event in events:
        number = number_of(event["cursor"])
        if event["kind"] == "gap":
            gaps += 1
            assert event["reason"] == "trimmed"
            assert number == last + event["missed"]
        else:
            assert number == last + 1
        last = number
    return gaps


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_reader_that_stopped_for_too_long_is_told_what_it_missed(
    room: str, transport: str
) -> None:
    with WatchedServer("--hub", "memory", "--history-events", "20", *UNHURRIED) as server:
        async with reader(server, transport, room) as client:
            cursors = await talk(server, room, 900)
            events: list[Event] = []
            while not events or events[-1]["cursor"] != cursors[-1]:
                events += await take(client, 1)
    assert check_gaps(events) >= 1
    assert numbers(events[-20:]) == list(range(881, 901))


# --- the deadline --------------------------------------------------------------------------------

IMPATIENT = ("--messages-per-second", "0", "--write-deadline-seconds", "0.5")


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_stream_that_takes_nothing_is_closed(room: str, transport: str) -> None:
    with WatchedServer("--hub", "memory", *IMPATIENT) as server:
        async with stopped(server, [asking(room, transport)] * 3):
            await until_open(server, transport, 3)
            await talk(server, room, 200)
            await until_open(server, transport, 0)


async def test_a_stream_that_takes_a_little_is_not_closed(room: str) -> None:
    """Two deadlines long, some KB now and then: slow, and not dead."""
    options, transport = ("--messages-per-second", "0", "--write-deadline-seconds", "1"), "sse"
    with WatchedServer("--hub", "memory", *options) as server:
        async with stopped(server, [asking(room, transport)]) as (one,):
            await until_open(server, transport, 1)
            await talk(server, room, 900)
            for _ in range(60):
                await asyncio.sleep(0.04)
                assert await asyncio.get_running_loop().sock_recv(one.socket, 20_000)
            assert await open_now(server, transport) == 1


# In the server's own buffer, and wholly in the kernel's, where only TCP itself can tell.
@pytest.mark.parametrize("buffer", ["4096", "4000000"])
@pytest.mark.parametrize("transport", ["short_polling", "long_polling"])
async def test_a_poll_that_does_not_take_its_answer_is_closed(
    room: str, transport: str, buffer: str
) -> None:
    with WatchedServer(
        "--hub", "memory", *IMPATIENT, "--send-buffer-bytes", buffer, "--idle-seconds", "600"
    ) as server:
        await talk(server, room, 50)
        async with stopped(server, [get(f"/rooms/{room}/{transport}", "Host: 127.0.0.1")] * 3):
            await until_open(server, transport, 3)
            await until_open(server, transport, 0)


async def test_a_page_that_is_not_taken_is_closed() -> None:
    with WatchedServer("--hub", "memory", *IMPATIENT, "--send-buffer-bytes", "2048") as server:
        # Many questions on one connection, since one page fits into what the kernel holds.
        async with Stopped(server, get("/")) as one:
            with suppress(BlockingIOError):
                one.socket.send(get("/demos/sse.html") * 200)
            await until_open(server, "pages", 1)
            await until_open(server, "pages", 0)


# --- the others ----------------------------------------------------------------------------------


class Listener(asyncio.Protocol):
    """One of a thousand: it looks for the numbered words in what comes, and keeps nothing else."""

    WORD = re.compile(rb"w(\d+)w")

    def __init__(self, path: str, done: asyncio.Semaphore, count: int) -> None:
        self._path = path
        self._done = done
        self._count = count
        self._tail = b""
        self.heard: list[int] = []
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(get(self._path, "Host: 127.0.0.1", *HANDSHAKE))

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            self.begun.set_result(data[:13])
        data, end = self._tail + data, 0
        for match in self.WORD.finditer(data):
            self.heard.append(int(match[1]))
            end = match.end()
            if len(self.heard) == self._count:
                self._done.release()
        self._tail = data[end:][-20:]


async def test_a_thousand_others_hear_every_word_meanwhile(room: str) -> None:
    others, words = 1000, 100
    options = ("--connections-per-address", "2000", *UNHURRIED)
    with WatchedServer("--hub", "memory", *options) as server:
        loop, done = asyncio.get_running_loop(), asyncio.Semaphore(0)
        paths = [f"/rooms/{room}/{name}?after=now" for name in STREAMS if name in OURS]
        async with stopped(server, [asking(room, transport) for transport in STREAMS] * 5):
            crowd = []
            for number in range(others):
                listener = Listener(paths[number % len(paths)], done, words)
                crowd.append(
                    await loop.create_connection(lambda one=listener: one, "127.0.0.1", server.port)  # type: ignore[misc]
                )
            async with asyncio.timeout(2 * SECONDS):
                await asyncio.gather(*(listener.begun for _, listener in crowd))
                voice = reader(server, "sse", room)
                await say(voice, *(f"w{number}w" + "x" * 2000 for number in range(words)))
                await voice.close()
                for _ in crowd:
                    await done.acquire()
            assert await lagged(server)
            wrong = [one.heard for _, one in crowd if one.heard != list(range(words))]
            assert wrong == []
            for transport, _ in crowd:
                transport.abort()


# --- those who vanished --------------------------------------------------------------------------


async def test_a_websocket_that_answers_no_ping_is_closed_even_amid_a_frame(room: str) -> None:
    half = frame(TEXT, b'{"text":"hel', length=100)
    with WatchedServer("--hub", "memory", "--heartbeat-seconds", "0.5") as server:
        async with Peer(server) as silent, Peer(server) as halfway:
            await silent.shake_hands(room)
            await halfway.shake_hands(room)
            halfway.writer.write(half)
            # That there is an end is all we ask; Tornado waits 5 s for a close frame in return.
            await asyncio.gather(silent.rest(), halfway.rest())


async def test_a_machine_that_vanished_is_found_by_the_heartbeats() -> None:
    """No FIN, no RST, and nothing is said: only an acknowledgement that never comes can tell."""
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-m"]
    try:
        subprocess.run([*command[:3], "ip", "link"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a network of our own cannot be had here: {error}")
    module = [*command, "tests.robustness.dead_peer"]
    told = await asyncio.to_thread(
        subprocess.run, module, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
