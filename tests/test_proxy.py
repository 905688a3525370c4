"""The fault proxy: transparent where nothing is asked of it, and calibrated where something is.

Delays have a lower bound that nothing can undercut, and an upper one with much room: the machine
may be busy.  What is compared is the median of several.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median

import pytest

from benchmarks.clients import CLIENTS, Closed, get_json
from realtime.network import Network
from realtime.proxy import _HELD_BYTES, Proxy
from tests.conftest import Servers
from tests.server import ROOT, Server
from tests.transports.readers import reader, say, take, texts

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# What a busy machine may add to a delay, in seconds.
ROOM = 0.03


@asynccontextmanager
async def echo(answer: Callable[[bytes], bytes] = bytes) -> AsyncIterator[int]:
    """A server that says what it hears; gives its port."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while data := await reader.read(65_536):
                writer.write(answer(data))
                await writer.drain()
            writer.write(b"the end")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.close()


@asynccontextmanager
async def through(text: str, *, seed: int = 1) -> AsyncIterator[tuple[Proxy, Streams]]:
    """A connection to an echo behind this network."""
    async with echo() as port, Proxy("127.0.0.1", port, Network.parse(text), seed=seed) as proxy:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield proxy, streams
        finally:
            streams[1].close()


async def ask(streams: Streams, data: bytes = b"x") -> float:
    """Send, wait for all of it, and give the seconds that it took."""
    begin = time.perf_counter()
    streams[1].write(data)
    async with asyncio.timeout(10):
        assert await streams[0].readexactly(len(data)) == data
    return time.perf_counter() - begin


# --- nothing asked -------------------------------------------------------------------------------


async def test_without_a_network_every_byte_passes_and_is_counted() -> None:
    data = os.urandom(3_000_000)
    async with through("none") as (proxy, streams):
        await ask(streams, data)
        streams[1].write_eof()
        assert await streams[0].read() == b"the end"
        assert (proxy.bytes_up, proxy.bytes_down) == (len(data), len(data) + 7)
        assert proxy.connections == 1


async def test_a_side_that_has_ended_still_listens() -> None:
    async with through("rtt=20ms") as (_, streams):
        streams[1].write(b"hello")
        streams[1].write_eof()
        assert await streams[0].read() == b"hellothe end"


async def test_where_nobody_listens_the_connection_is_reset() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with Proxy(*closed.getsockname()) as proxy:
            streams = await asyncio.open_connection("127.0.0.1", proxy.port)
            with pytest.raises(ConnectionError):
                await streams[0].readexactly(1)
            streams[1].close()


async def test_many_connections_at_once_are_kept_apart() -> None:
    async with echo() as port, Proxy("127.0.0.1", port, Network.parse("rtt=10ms")) as proxy:
        lines = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(100)]
        await asyncio.gather(*(ask(line, b"%d" % n * 1000) for n, line in enumerate(lines)))
        for _, writer in lines:
            writer.close()


async def test_the_transcript_has_everything_in_order() -> None:
    async with echo() as port, Proxy("127.0.0.1", port, transcript=True) as proxy:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ask(streams, b"one")
        await ask(streams, b"two")
        streams[1].close()
        assert proxy.transcript == [
            ("up", b"one"),
            ("down", b"one"),
            ("up", b"two"),
            ("down", b"two"),
        ]


# --- delay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.01, 0.05, 0.2])
async def test_an_exchange_takes_one_round_trip(rtt: float) -> None:
    async with through(f"rtt={1000 * rtt:g}ms") as (_, streams):
        await ask(streams)
        took = [await ask(streams) for _ in range(9)]
    assert min(took) >= rtt
    assert median(took) < rtt + ROOM


async def test_the_first_exchange_of_a_connection_takes_one_more() -> None:
    async with through("rtt=50ms") as (_, streams):
        assert 0.1 <= await ask(streams) < 0.1 + ROOM


async def test_jitter_is_within_its_bounds_and_keeps_the_order() -> None:
    async with through("rtt=10ms,jitter=40ms") as (_, streams):
        await ask(streams)
        took = [await ask(streams) for _ in range(20)]
        assert min(took) >= 0.01
        assert 0.02 < median(took) < 0.09 + ROOM
        assert max(took) - min(took) > 0.02
        lines = b"".join(b"%d\n" % number for number in range(300))
        for line in lines.splitlines(keepends=True):
            streams[1].write(line)
            await asyncio.sleep(0)
        assert await streams[0].readexactly(len(lines)) == lines


async def test_the_same_seed_gives_the_same_jitter() -> None:
    takes = []
    for _ in range(2):
        async with through("jitter=200ms", seed=7) as (_, streams):
            takes.append([await ask(streams) for _ in range(4)])
    assert takes[0] == pytest.approx(takes[1], abs=ROOM)


async def test_a_rate_is_kept() -> None:
    data = bytes(30_000)
    async with through("rate=100kB") as (_, streams):
        # Both ways are paced, and at the same time.
        took = await ask(streams, data)
    assert 0.3 <= took < 0.6


async def test_with_a_rate_bytes_come_bit_by_bit() -> None:
    async with through("rate=100kB") as (_, (incoming, outgoing)):
        outgoing.write(bytes(20_000))
        pieces = []
        while sum(pieces) < 20_000:
            pieces.append(len(await incoming.read(65_536)))
    assert max(pieces) <= 3 * 1460


async def test_a_stall_holds_everything_and_loses_nothing() -> None:
    async with through("stall=150ms/300ms") as (_, streams):
        took = [await ask(streams) for _ in range(2)]
        begin = time.perf_counter()
        while time.perf_counter() < begin + 0.7:
            took.append(await ask(streams))
            await asyncio.sleep(0.005)
    # The moments at which it asked lay evenly over two periods and more.
    assert 0.1 < max(took) < 0.15 + ROOM
    assert sum(one > 0.05 for one in took) <= 6


# --- how much is held ----------------------------------------------------------------------------


async def pour(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


@pytest.mark.parametrize("network", ["none", "rtt=10s", "rate=1kB"])
async def test_whoever_sends_much_has_to_wait(network: str) -> None:
    """Nobody accepts there, or it takes long: the sender must notice, and not our memory."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with Proxy("127.0.0.1", port, Network.parse(network)) as proxy:
            _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pour(writer), 0.5)
            # What the kernel of the server holds besides is its own: some MB.
            assert proxy.bytes_up < (16 * 2**20 if network == "none" else 3 * _HELD_BYTES)
            writer.transport.abort()


# --- pausing and cutting -------------------------------------------------------------------------


async def test_a_pause_holds_and_resuming_gives_all() -> None:
    async with through("none") as (proxy, streams):
        await ask(streams)
        proxy.pause()
        streams[1].write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await streams[0].read(1)
        proxy.resume()
        assert await streams[0].readexactly(5) == b"hello"


async def test_a_cut_resets_both_sides_and_others_may_come() -> None:
    async with through("none") as (proxy, streams):
        await ask(streams)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await streams[0].readexactly(1)
        another = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ask(another)
        another[1].close()
        assert len(proxy.lines) == 1


async def test_connections_are_cut_at_their_age() -> None:
    async with through("cut=200ms") as (_, streams):
        begin = time.perf_counter()
        await ask(streams)
        with pytest.raises(ConnectionResetError):
            await streams[0].readexactly(1)
        assert time.perf_counter() - begin > 0.15


async def test_a_connection_that_is_idle_is_ended_and_one_that_is_not_is_kept() -> None:
    async with through("idle=150ms") as (_, streams):
        for _ in range(6):
            await ask(streams)
            await asyncio.sleep(0.05)
        begin = time.perf_counter()
        assert await streams[0].read() == b""  # in order, not by a reset
        assert time.perf_counter() - begin > 0.05


async def test_a_network_may_change_while_it_is_used() -> None:
    async with through("none") as (proxy, streams):
        await ask(streams)
        proxy.network = Network.parse("rtt=100ms")
        assert await ask(streams) >= 0.1
        proxy.network = Network()
        assert await ask(streams) < 0.1


async def test_a_target_may_change_for_connections_to_come() -> None:
    async with echo() as one, echo(bytes.upper) as other, Proxy("127.0.0.1", one) as proxy:
        first = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ask(first, b"x")
        proxy.target = "127.0.0.1", other
        second = await asyncio.open_connection("127.0.0.1", proxy.port)
        second[1].write(b"x")
        assert await second[0].readexactly(1) == b"X"
        await ask(first, b"x")
        for _, writer in (first, second):
            writer.close()


# --- a proxy that collects -----------------------------------------------------------------------


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


@pytest.mark.parametrize("transport", ["short_polling", "long_polling", "websocket"])
async def test_answers_that_end_and_frames_pass_a_collecting_proxy(
    transport: str, server: Server, room: str
) -> None:
    network = Network.parse("buffer=1MB")
    async with (
        Proxy("127.0.0.1", server.port, network) as proxy,
        reader(server, transport, room) as here,
        reader(proxy, transport, room) as behind,
    ):
        await say(here, "one", "two")
        assert texts(await take(behind, 2)) == ["one", "two"]


@pytest.mark.parametrize("transport", ["iframe_streaming", "sse", "fetch_streaming"])
async def test_streams_go_silent_behind_a_collecting_proxy_until_there_is_enough(
    transport: str, server: Server, room: str
) -> None:
    network = Network.parse("buffer=8kB")
    async with Proxy("127.0.0.1", server.port, network) as proxy:
        behind = reader(proxy, transport, room)
        opening = asyncio.create_task(behind.open())
        speaker = CLIENTS["websocket"](server.url, room)
        async with speaker:
            await say(speaker, "one", "two")
            assert not opening.done()  # not even the head has come
            await say(speaker, *["x" * 2000] * 4)
            await opening
            assert texts(await take(behind, 2)) == ["one", "two"]
        await behind.close()


async def test_what_was_collected_goes_on_after_a_silence(server: Server, room: str) -> None:
    network = Network.parse("buffer=1MB,flush=100ms")
    async with (
        Proxy("127.0.0.1", server.port, network) as proxy,
        reader(proxy, "sse", room) as behind,
    ):
        await say(behind, "one")
        assert texts(await take(behind, 1)) == ["one"]


async def test_the_end_of_a_connection_ends_what_is_collected() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nhello"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    there = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = there.sockets[0].getsockname()[1]
    async with there, Proxy("127.0.0.1", port, Network.parse("buffer=1MB")) as proxy:
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", proxy.port)
        outgoing.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await incoming.read() == answer
        outgoing.close()


# --- real readers --------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", CLIENTS)
async def test_every_transport_works_through_a_bad_network(
    transport: str, server: Server, room: str
) -> None:
    network = Network.parse("rtt=20ms,jitter=20ms,rate=200kB,stall=30ms/200ms")
    sent = [f"message {number}" for number in range(10)]
    async with (
        Proxy("127.0.0.1", server.port, network, seed=1) as proxy,
        reader(proxy, transport, room) as one,
    ):
        await say(one, *sent)
        assert texts(await take(one, 10)) == sent


async def test_a_reader_that_is_cut_is_told(server: Server, room: str) -> None:
    async with (
        Proxy("127.0.0.1", server.port) as proxy,
        reader(proxy, "sse", room) as one,
    ):
        proxy.cut()
        with pytest.raises(Closed):
            await one.receive()


# --- the command line ----------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "realtime", "proxy", "--port", "0", *arguments]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_serves_a_server_and_ends_well(
    server: Server, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        command("--target", server.url, "--network", "rtt=10ms"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(
        rf"realtime: proxy on (http://127.0.0.1:\d+)/ to {server.url}/ \(network: rtt=10ms\)\n",
        line,
    )
    assert match, line
    assert (await get_json(match[1], "/healthz"))["status"] == "ok"
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network", "lag=1s"],
        ["--target", "somewhere"],
        ["--target", "https://127.0.0.1"],
        ["--target", "http://127.0.0.1:99999"],
        ["--host", "203.0.113.1"],
    ],
)
def test_what_cannot_be_is_one_line_and_exit_1(arguments: list[str]) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
