"""A proxy forwards everything unchanged: bytes, FIN, RST, and the pace of the slower side.

Both ends run in the event loop of the test, and every socket is real.
"""

import asyncio
import random
import socket
import struct
from contextlib import AsyncExitStack

import pytest

from realtime.netem.conditions import NetworkConditions
from realtime.netem.link import SEGMENT_BYTES, SEGMENT_OVERHEAD
from realtime.netem.proxy import Proxy
from realtime.netem.tunnel import HELD_BYTES, READ_BYTES
from tests.fake_server import FakeClient, FakeServer, echo, listen, until

# The overhead of the segments of one read, when a rate splits it.
OVERHEAD = SEGMENT_OVERHEAD * (READ_BYTES // SEGMENT_BYTES + 1)

NOTHING = NetworkConditions()
NETWORKS = [NOTHING, NetworkConditions.parse("rtt=10ms,jitter=5ms,rate=10MB,buffer=4096,flush=5ms")]

every_network = pytest.mark.parametrize("network", NETWORKS, ids=str)


def noise(count: int) -> bytes:
    return random.Random(count).randbytes(count)


@every_network
async def test_every_byte_arrives_unchanged(network: NetworkConditions) -> None:
    data = noise(1_000_000)
    async with FakeServer(echo) as peer, Proxy("127.0.0.1", peer.port, network) as proxy:
        async with FakeClient(proxy.port) as caller:
            caller.send(data)
            assert await caller.exactly(len(data)) == data
        assert (proxy.bytes_up, proxy.bytes_down) == (len(data), len(data))


async def test_a_transcript_records_every_read_in_order() -> None:
    async with FakeServer(echo) as peer, Proxy("127.0.0.1", peer.port, transcript=True) as proxy:
        async with FakeClient(proxy.port) as caller:
            await caller.exchange(b"one")
            await caller.exchange(b"two")
        assert proxy.transcript == [
            *(("up", b"one"), ("down", b"one")),
            *(("up", b"two"), ("down", b"two")),
        ]


async def test_a_hundred_connections_stay_separate() -> None:
    network = NetworkConditions.parse("rtt=10ms,jitter=10ms")
    async with (
        AsyncExitStack() as stack,
        FakeServer(echo) as peer,
        Proxy("127.0.0.1", peer.port, network) as proxy,
    ):
        callers = [await stack.enter_async_context(FakeClient(proxy.port)) for _ in range(100)]
        for number, caller in enumerate(callers):
            caller.send(noise(number + 1))
        for number, caller in enumerate(callers):
            assert await caller.exactly(number + 1) == noise(number + 1)
        assert proxy.connections == 100


async def test_small_segments_do_not_wait_for_acknowledgements() -> None:
    async with (
        FakeServer(echo) as peer,
        Proxy("127.0.0.1", peer.port) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        await caller.exchange()
        (connection,) = proxy._open
        for side in (connection.client_side, connection.server_side):
            assert side.transport is not None
            raw = side.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- ends ----------------------------------------------------------------------------------------


@every_network
async def test_a_client_that_sent_fin_still_receives(network: NetworkConditions) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d bytes, and then your end" % len(await reader.read()))

    async with (
        FakeServer(count) as peer,
        Proxy("127.0.0.1", peer.port, network) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        caller.send(b"x" * 100_000)
        caller.writer.write_eof()
        assert await caller.rest() == b"100000 bytes, and then your end"
        await until(lambda: not proxy._open)  # and nothing is left


@every_network
async def test_a_server_that_sent_fin_still_receives(network: NetworkConditions) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def speak_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"my last words")
        writer.write_eof()
        heard.set_result(await reader.read())

    async with (
        FakeServer(speak_first) as peer,
        Proxy("127.0.0.1", peer.port, network) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        assert await caller.rest() == b"my last words"
        caller.send(b"and mine")
        caller.writer.write_eof()
        assert await asyncio.wait_for(heard, 10) == b"and mine"
        await until(lambda: not proxy._open)


def reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@every_network
async def test_a_client_that_resets_is_a_reset_for_the_server(network: NetworkConditions) -> None:
    async with FakeServer(echo) as peer, Proxy("127.0.0.1", peer.port, network) as proxy:
        async with FakeClient(proxy.port) as caller:
            await caller.exchange()
            reset(caller.writer)
            await until(lambda: peer.errors)
        assert isinstance(peer.errors[0], ConnectionResetError)
        await until(lambda: not proxy._open)


@every_network
async def test_a_server_that_resets_is_a_reset_for_the_client(network: NetworkConditions) -> None:
    async def answer_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        # On a reset the kernel discards data that it has not delivered.
        await reader.read(1)
        reset(writer)

    async with (
        FakeServer(answer_and_reset) as peer,
        Proxy("127.0.0.1", peer.port, network) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        assert await caller.exactly(10) == b"last words"
        caller.send(b"x")
        with pytest.raises(ConnectionResetError):
            await caller.rest()


async def test_data_before_a_reset_arrives_before_it() -> None:
    async def speak_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        await until(lambda: proxy.bytes_down == 10)
        reset(writer)

    async with (
        FakeServer(speak_and_reset) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions(rtt=0.2)) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        assert await caller.exactly(10) == b"last words"
        with pytest.raises(ConnectionResetError):
            await caller.rest()


async def test_a_reset_reaches_a_peer_that_has_stopped_reading() -> None:
    async def speak_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with (
        FakeServer(speak_without_end) as peer,
        Proxy("127.0.0.1", peer.port) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        caller.writer.transport.pause_reading()
        await until(lambda: any(tunnel.client_side.blocked for tunnel in proxy._open))
        (connection,) = proxy._open
        connection.server_side.reset()
        await until(lambda: not proxy._open)


async def test_a_server_that_cannot_be_reached_is_a_reset() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but not listening
        async with Proxy(*nobody.getsockname()) as proxy, FakeClient(proxy.port) as caller:
            with pytest.raises(ConnectionResetError):
                await caller.rest()
            await until(lambda: not proxy._open)


async def test_a_client_that_left_before_the_server_was_reached_leaves_nothing() -> None:
    async with (
        FakeServer(listen) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions(rtt=0.05)) as proxy,
    ):
        async with FakeClient(proxy.port) as caller:
            reset(caller.writer)
        await until(lambda: proxy.connections and not proxy._open)


@pytest.mark.parametrize("rounds", range(8))
async def test_a_reset_reaches_a_connection_that_is_being_opened(rounds: int) -> None:
    async with FakeServer(listen) as peer, Proxy("127.0.0.1", peer.port) as proxy:
        proxy.pause()  # else the client's FIN would end it too
        with socket.create_connection(("127.0.0.1", proxy.port)):
            while not proxy.connections:
                await asyncio.sleep(0)
            for _ in range(rounds):
                await asyncio.sleep(0)
            proxy.reset_connections()
            await until(lambda: not proxy._open)


# --- how much is held ----------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["rtt=1min", "rtt=1min,buffer=128kB", "rate=1", "none"])
@pytest.mark.parametrize("size", [1, 50_000])
async def test_blocked_data_is_held_up_to_a_limit(network: str, size: int) -> None:
    async with (
        FakeServer(listen) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse(network)) as proxy,
    ):
        proxy.pause()
        async with FakeClient(proxy.port) as caller:
            # Far more than the kernel buffers, or enough segments to fill the link.
            for _ in range(4_000 if size == 1 else 400):
                caller.send(b"x" * size)
                if size == 1:
                    await asyncio.sleep(0)
            (connection,) = await connections(proxy)
            await until(lambda: connection.up.held >= HELD_BYTES)
            await asyncio.sleep(0.05)
            assert connection.up.held <= HELD_BYTES + READ_BYTES + OVERHEAD
            assert proxy.bytes_up <= HELD_BYTES + READ_BYTES


async def test_data_in_the_buffer_counts_too() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 50_000)
            await writer.drain()
            await asyncio.sleep(0.001)

    async with (
        FakeServer(pour) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse("rtt=1min,buffer=128kB")) as proxy,
        FakeClient(proxy.port),
    ):
        (connection,) = await connections(proxy)
        await until(lambda: connection.down.held >= HELD_BYTES)
        await asyncio.sleep(0.05)
        assert proxy.bytes_down <= HELD_BYTES + READ_BYTES


async def connections(proxy: Proxy) -> list:
    await until(lambda: proxy._open)
    return list(proxy._open)


@pytest.mark.parametrize("network", ["none", "rtt=2ms", "buffer=128kB"])
async def test_a_slow_reader_slows_the_server_and_misses_nothing(network: str) -> None:
    data = noise(20_000_000)

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    async with (
        FakeServer(pour) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse(network)) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        caller.writer.transport.pause_reading()
        (connection,) = await connections(proxy)
        await until(lambda: connection.client_side.blocked and connection.down.held >= HELD_BYTES)
        assert connection.down.held <= HELD_BYTES + READ_BYTES + OVERHEAD
        assert connection.client_side.unwritten_bytes <= READ_BYTES  # we hold the rest
        assert proxy.bytes_down < len(data)
        caller.writer.transport.resume_reading()
        assert await caller.rest() == data


# --- closing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["none", "rtt=1min,idle=2min,buffer=4096,flush=1min"])
async def test_closing_ends_every_open_connection(network: str) -> None:
    async with FakeServer(listen) as peer:
        async with Proxy("127.0.0.1", peer.port, NetworkConditions.parse(network)) as proxy:
            callers = [await FakeClient(proxy.port).__aenter__() for _ in range(10)]
            for caller in callers:
                caller.send(b"hello")
            await until(lambda: proxy.bytes_up == 50)
        for caller in callers:
            with pytest.raises(ConnectionResetError):
                await caller.rest()
        assert not proxy._open


@pytest.mark.parametrize("rounds", range(8))
async def test_closing_ends_connections_that_are_being_opened(rounds: int) -> None:
    async with FakeServer(echo) as peer, AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy("127.0.0.1", peer.port))
        with socket.create_connection(("127.0.0.1", proxy.port)) as caller:
            caller.setblocking(False)
            for _ in range(rounds):  # accepted, created, connecting to the server, connected ...
                await asyncio.sleep(0)
            await stack.aclose()
            assert not proxy._open
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(caller, 1), 10)
