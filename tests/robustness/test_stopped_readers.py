"""Readers that stop reading: their cost is bounded, and nobody else is affected.

A reader that stops has no queue.  Its cursor stays, the kernel and one push hold what was sent, and
when it reads again it continues from the log.  One that accepts nothing for
`--write-deadline-seconds` is closed, whichever transport it uses.
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

from realtime.client import CLIENTS, Event, get_json, request
from realtime.client.webtransport import WebTransportClient
from tests.robustness.conftest import SharedServers
from tests.robustness.frames import HANDSHAKE, TEXT, Peer, frame
from tests.robustness.http_client import get
from tests.robustness.monitored_server import MonitoredServer
from tests.server_process import ROOT
from tests.transports.readers import OURS, number_of, numbers, reader, say, take, texts

# Above every delay of the server; only a failure reaches it.
SECONDS = 15.0
STREAMS = [transport for transport in CLIENTS if not transport.endswith("polling")]
# The socket of a WebTransport client is read at any time; it stops by the flow control of QUIC.
ALL_STREAMS = [*STREAMS, WebTransportClient.transport]
# Almost the longest text: 4 KiB of history, and more on the wire.
LONG = "x" * 4000
# So many of them are more than all buffers between the room and a reader that stops.
MANY = 300
LONG_DEADLINE = ("--messages-per-second", "0", "--write-deadline-seconds", "60")


def open_request(room: str, transport: str) -> bytes:
    """The bytes that start a reader from now: a request, and the first messages of a session."""
    path, frames = f"/rooms/{room}/{transport}?after=now", b""
    if transport == "sockjs":
        path = f"/sockjs/000/{uuid.uuid4()}/websocket"
        join = {"kind": "join", "room": room, "after": "now"}
        frames = frame(TEXT, json.dumps([json.dumps(join)]).encode())
    if transport == "socketio":
        path = f"/socket.io/?EIO=4&transport=websocket&roomid={room}&after=now"
        frames = frame(TEXT, b"40")
    return get(path, "Host: 127.0.0.1", *HANDSHAKE) + frames


class StoppedReader:
    """A client that sends a request and then reads nothing; its kernel buffers a few KB."""

    def __init__(self, server: MonitoredServer, request: bytes) -> None:
        self._server = server
        self._request = request

    async def __aenter__(self) -> "StoppedReader":
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self._server.port))
        await loop.sock_sendall(self.socket, self._request)
        return self

    async def started(self) -> "StoppedReader":
        """Read the first bytes of the response: the reader is subscribed, or will be soon."""
        async with asyncio.timeout(SECONDS):
            assert await asyncio.get_running_loop().sock_recv(self.socket, 9) == b"HTTP/1.1 "
        return self

    async def __aexit__(self, *error: object) -> None:
        self.socket.close()


@asynccontextmanager
async def stopped(
    server: MonitoredServer, requests: list[bytes]
) -> AsyncIterator[list[StoppedReader]]:
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(StoppedReader(server, one)) for one in requests]
        for one in readers:
            await one.started()
        yield readers


async def publish(server: MonitoredServer, room: str, count: int, text: str = LONG) -> list[str]:
    """Publish `count` texts over one connection; return their cursors."""
    client = reader(server, "sse", room)
    try:
        return await say(client, *[text] * count)
    finally:
        await client.close()


async def open_connections(server: MonitoredServer, transport: str) -> int:
    rows = (await get_json(f"http://127.0.0.1:{server.port}", "/wire"))["transports"]
    return int(rows.get(transport, {"open": 0})["open"])


async def until_open(server: MonitoredServer, transport: str, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while await open_connections(server, transport) != count:
            await asyncio.sleep(0.05)


# --- cost ----------------------------------------------------------------------------------------


def kernel_queues(port: int) -> list[int]:
    """Bytes that the kernel buffers to send, per connection from `port`."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].partition(":")[0], 16) for row in rows if int(row[1][-4:], 16) == port]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux reports its buffers")
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_reader_that_stops_costs_less_than_256_kib(
    shared_servers: SharedServers, room: str, transport: str
) -> None:
    count, maximum = 100, 262_144
    server = shared_servers.get("--history-events", "150", *LONG_DEADLINE)
    await publish(server, room, 150)  # the memory of the room is not theirs
    async with stopped(server, [open_request(room, transport)] * count):
        await until_open(server, transport, count)
        before = server.memory()
        await publish(server, room, 150)
        growth = (server.memory() - before) / count
        queues = sorted(kernel_queues(server.port))[-count:]
        assert queues[0] > 10_000, "no reader has stopped"
        assert queues[-1] + growth < maximum, (queues[-1], growth)


async def test_a_webtransport_connection_that_stops_costs_less_than_256_kib(
    shared_servers: SharedServers, room: str
) -> None:
    """All of it: QUIC keeps the state in our process that TCP keeps in the kernel."""
    count, maximum = 40, 262_144
    server = shared_servers.get("--history-events", "150", *LONG_DEADLINE)
    await publish(server, room, 150)  # the memory of the room is not theirs
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(WebTransportClient(server.url, room, after="now"))
        before, lagged_before = server.memory(), await lagged(server)
        for _ in range(count):
            client = WebTransportClient(server.url, room, after="now")
            await stack.enter_async_context(client)
        await publish(server, room, 150)
        assert await lagged(server) - lagged_before > count, "no reader has stopped"
        assert (server.memory() - before) / count < maximum


# --- resuming ------------------------------------------------------------------------------------


async def lagged(server: MonitoredServer) -> float:
    """Return how often a stream could not take more."""
    metrics = (await request(server.url, "GET", "/metrics")).body.decode()
    return float(metrics.partition("\nrealtime_slow_followers_total ")[2].partition("\n")[0])


@pytest.mark.parametrize("transport", ALL_STREAMS)
async def test_a_reader_that_stopped_continues_without_loss_or_duplicates(
    shared_servers: SharedServers, room: str, transport: str
) -> None:
    server = shared_servers.get(*LONG_DEADLINE)
    before = await lagged(server)
    async with reader(server, transport, room) as client:
        cursors = await publish(server, room, MANY)
        assert await lagged(server) > before
        events = await take(client, MANY, SECONDS)
        assert [event["cursor"] for event in events] == cursors
        await publish(server, room, 1, "and it is live again")
        assert texts(await take(client, 1)) == ["and it is live again"]


def check_gaps(events: list[Event]) -> int:
    """Check that each gap has the exact number of missed events; return the number of gaps."""
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


@pytest.mark.parametrize("transport", ALL_STREAMS)
async def test_a_reader_that_stopped_for_too_long_receives_the_exact_gap(
    shared_servers: SharedServers, room: str, transport: str
) -> None:
    server = shared_servers.get("--history-events", "20", *LONG_DEADLINE)
    async with reader(server, transport, room) as client:
        cursors = await publish(server, room, MANY)
        events: list[Event] = []
        while not events or events[-1]["cursor"] != cursors[-1]:
            events += await take(client, 1)
    assert check_gaps(events) >= 1
    assert numbers(events[-20:]) == list(range(MANY - 19, MANY + 1))


# --- the deadline --------------------------------------------------------------------------------

SHORT_DEADLINE = ("--messages-per-second", "0", "--write-deadline-seconds", "0.5")
NEVER_IDLE = ("--idle-seconds", "600")


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_stream_that_accepts_nothing_is_closed(
    shared_servers: SharedServers, room: str, transport: str
) -> None:
    server = shared_servers.get(*SHORT_DEADLINE)
    async with stopped(server, [open_request(room, transport)] * 3):
        await until_open(server, transport, 3)
        await publish(server, room, 100)
        await until_open(server, transport, 0)


async def test_a_stream_that_reads_slowly_is_not_closed(room: str) -> None:
    """For two deadlines it reads some KB at a time."""
    options, transport = ("--messages-per-second", "0", "--write-deadline-seconds", "1"), "sse"
    with MonitoredServer("--hub", "memory", *options) as server:
        async with stopped(server, [open_request(room, transport)]) as (one,):

            async def read_slowly(size: int) -> None:
                await asyncio.sleep(0.04)
                assert await asyncio.get_running_loop().sock_recv(one.socket, size)

            await until_open(server, transport, 1)
            publishing = asyncio.create_task(publish(server, room, MANY))
            while not publishing.done():  # on a busy machine, this alone exceeds the deadline
                await read_slowly(2000)
            for _ in range(60):
                await read_slowly(20_000)
            assert await open_connections(server, transport) == 1


# In the server's own buffer, and completely in the kernel's, where only TCP knows.
@pytest.mark.parametrize("buffer", ["4096", "4000000"])
@pytest.mark.parametrize("transport", ["short_polling", "long_polling"])
async def test_a_poll_that_does_not_read_its_response_is_closed(
    shared_servers: SharedServers, room: str, transport: str, buffer: str
) -> None:
    server = shared_servers.get(*SHORT_DEADLINE, *NEVER_IDLE, "--send-buffer-bytes", buffer)
    await publish(server, room, 50)
    async with stopped(server, [get(f"/rooms/{room}/{transport}", "Host: 127.0.0.1")] * 3):
        await until_open(server, transport, 3)
        await until_open(server, transport, 0)


async def test_a_client_that_does_not_read_a_page_is_closed(shared_servers: SharedServers) -> None:
    server = shared_servers.get(*SHORT_DEADLINE, *NEVER_IDLE, "--send-buffer-bytes", "4096")
    # Many requests on one connection, because one page fits into the kernel's buffer.
    async with StoppedReader(server, get("/")) as one:
        with suppress(BlockingIOError):
            one.socket.send(get("/demos/sse.html") * 200)
        await until_open(server, "pages", 1)
        await until_open(server, "pages", 0)


# --- other readers -------------------------------------------------------------------------------


class NumberReader(asyncio.Protocol):
    """One of hundreds of readers: it keeps only the numbers of the messages."""

    NUMBER = re.compile(rb"w(\d+)w")

    def __init__(self, path: str, done: asyncio.Semaphore, count: int) -> None:
        self._path = path
        self._done = done
        self._count = count
        self._tail = b""
        self.numbers: list[int] = []
        self.started = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(get(self._path, "Host: 127.0.0.1", *HANDSHAKE))

    def data_received(self, data: bytes) -> None:
        if not self.started.done():
            self.started.set_result(data[:13])
        data, end = self._tail + data, 0
        for match in self.NUMBER.finditer(data):
            self.numbers.append(int(match[1]))
            end = match.end()
            if len(self.numbers) == self._count:
                self._done.release()
        self._tail = data[end:][-20:]


async def test_hundreds_of_other_readers_receive_every_message(
    shared_servers: SharedServers, room: str
) -> None:
    others, count = 300, 100
    server = shared_servers.get(*LONG_DEADLINE)
    before = await lagged(server)
    loop, done = asyncio.get_running_loop(), asyncio.Semaphore(0)
    paths = [f"/rooms/{room}/{name}?after=now" for name in STREAMS if name in OURS]
    async with stopped(server, [open_request(room, transport) for transport in STREAMS] * 5):
        connections = []
        for number in range(others):
            reader_protocol = NumberReader(paths[number % len(paths)], done, count)
            connections.append(
                await loop.create_connection(
                    lambda one=reader_protocol: one, "127.0.0.1", server.port
                )  # type: ignore[misc]
            )
        async with asyncio.timeout(2 * SECONDS):
            await asyncio.gather(*(reader_protocol.started for _, reader_protocol in connections))
            client = reader(server, "sse", room)
            await say(client, *(f"w{number}w" + "x" * 2000 for number in range(count)))
            await client.close()
            for _ in connections:
                await done.acquire()
        assert await lagged(server) > before
        wrong = [one.numbers for _, one in connections if one.numbers != list(range(count))]
        assert wrong == []
        for transport, _ in connections:
            transport.abort()


# --- dead peers ----------------------------------------------------------------------------------


async def test_a_websocket_that_answers_no_ping_is_closed_even_within_a_frame(room: str) -> None:
    half = frame(TEXT, b'{"text":"hel', length=100)
    with MonitoredServer("--hub", "memory", "--heartbeat-seconds", "0.5") as server:
        async with Peer(server) as silent, Peer(server) as halfway:
            await silent.shake_hands(room)
            await halfway.shake_hands(room)
            halfway.writer.write(half)
            # Tornado waits 5 s for a close frame in return before it closes.
            await asyncio.gather(silent.rest(), halfway.rest())
            await until_open(server, "websocket", 0)


async def test_a_client_machine_that_disappears_is_noticed_by_heartbeats() -> None:
    """No FIN, no RST, no data: only the missing acknowledgement shows it."""
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-m"]
    try:
        subprocess.run([*command[:3], "ip", "link"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine does not allow a private network: {error}")
    module = [*command, "tests.robustness.dead_peer"]
    result = await asyncio.to_thread(
        subprocess.run, module, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
