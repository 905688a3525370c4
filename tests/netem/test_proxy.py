"""The proxy applies the conditions as written: its timing is checked here, and its command.

Nothing may arrive too early.  How late it arrives depends on how busy the machine is, so the tests
check the median of many, with a generous tolerance.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from realtime.client import CLIENTS, post
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy
from tests.conftest import Servers
from tests.fake_server import FakeClient, FakeServer, echo, until
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, say, take, texts

pytestmark = pytest.mark.clocked

# What the timers of a busy machine may add to a median, in seconds.
LATE = 0.015

Scene = tuple[Proxy, FakeClient]


@asynccontextmanager
async def echo_through(network: str, seed: int | None = None) -> AsyncIterator[Scene]:
    """An echo server behind a proxy, and a connection to the proxy."""
    async with (
        FakeServer(echo) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse(network), seed=seed) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        yield proxy, caller


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


# --- delay ---------------------------------------------------------------------------------------


async def test_an_exchange_takes_a_round_trip() -> None:
    async with echo_through("rtt=40ms") as (_, caller):
        await caller.exchange()
        seconds = [await caller.exchange() for _ in range(20)]
    assert min(seconds) >= 0.040
    assert statistics.median(seconds) < 0.040 + LATE


async def test_the_first_exchange_of_a_connection_takes_one_more_round_trip() -> None:
    seconds = []
    async with echo_through("rtt=40ms") as (proxy, _):
        for _ in range(10):
            async with FakeClient(proxy.port) as caller:
                seconds.append(await caller.exchange())
    # The client is connected shortly before the proxy accepts and starts its clock.
    assert min(seconds) >= 0.080 - 0.005
    assert statistics.median(seconds) < 0.080 + LATE


async def test_without_conditions_there_is_no_delay() -> None:
    async with echo_through("none") as (_, caller):
        seconds = [await caller.exchange() for _ in range(20)]
    assert statistics.median(seconds) < LATE


async def arrivals(network: str, count: int, seed: int | None = None) -> list[float]:
    """Return the delays of `count` bytes to a server, one sent every two milliseconds."""
    loop = asyncio.get_running_loop()
    sent: list[float] = []
    came: list[tuple[int, float]] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            came.extend((byte, loop.time()) for byte in data)

    async with (
        FakeServer(note) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse(network), seed=seed) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        caller.send(b"\xff")  # the first byte waits for the handshake
        await until(lambda: came)
        came.clear()
        for number in range(count):
            sent.append(loop.time())
            caller.send(bytes([number]))
            await asyncio.sleep(0.002)
        await until(lambda: len(came) == count)
    assert [byte for byte, _ in came] == list(range(count))
    return [at - started for (_, at), started in zip(came, sent, strict=True)]


async def test_jitter_keeps_the_order_and_its_range() -> None:
    seconds = await arrivals("rtt=20ms,jitter=20ms", 100)
    assert min(seconds) >= 0.010
    assert statistics.median(seconds) < 0.030 + LATE
    assert max(seconds) - min(seconds) > 0.005


def test_the_same_seed_gives_the_same_jitter() -> None:
    def series(seed: int) -> list[float]:
        jitter = Proxy("127.0.0.1", 1, seed=seed).random("up")
        return [jitter.random() for _ in range(5)]

    assert series(1) == series(1)
    assert series(1) != series(2)
    assert Proxy("127.0.0.1", 1).random("up").random() != series(1)[0]


async def test_each_direction_and_each_connection_has_its_own_jitter() -> None:
    proxy = Proxy("127.0.0.1", 1, seed=1)
    up, down = proxy.random("up").random(), proxy.random("down").random()
    proxy.connections += 1
    assert len({up, down, proxy.random("up").random()}) == 3


# --- rate ----------------------------------------------------------------------------------------


@asynccontextmanager
async def narrow(network: str) -> AsyncIterator[Scene]:
    """A server that sends 30 kB after it has received 30 kB."""

    async def trade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await reader.readexactly(30_000)
            except asyncio.IncompleteReadError:
                return
            writer.write(b"y" * 30_000)

    async with (
        FakeServer(trade) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse(network)) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        yield proxy, caller


async def test_a_rate_is_kept_in_each_direction() -> None:
    loop = asyncio.get_running_loop()
    async with narrow("rate=100kB") as (_, caller):
        started = loop.time()
        caller.send(b"x" * 30_000)
        await caller.exactly(1)
        first = loop.time()
        await caller.exactly(29_999)
        last = loop.time()
    assert 0.3 <= first - started < 0.6
    assert 0.6 <= last - started < 1.2


async def test_a_rate_is_smooth() -> None:
    async with narrow("rate=100kB") as (_, caller):
        caller.send(b"x" * 30_000)
        sizes = [len(await caller.reader.read(65_536)) for _ in range(10)]
    assert statistics.median(sizes) <= 1_460


# --- buffering -----------------------------------------------------------------------------------

STREAMS = ["iframe_streaming", "sse", "fetch_streaming"]


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_stream_goes_silent_until_the_buffer_is_full(
    server: Server, room: str, transport: str
) -> None:
    network = NetworkConditions.parse("buffer=4096")
    async with Proxy("127.0.0.1", server.port, network) as proxy, Raw(proxy) as raw:
        raw.ask(f"/rooms/{room}/{transport}?after=now")
        await until(lambda: proxy.bytes_down)
        before = proxy.bytes_down
        for text in ("one", "two"):
            await post(server.url, room, text=text)
        await until(lambda: proxy.bytes_down >= before + 200)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.until(b"one"), 0.2)
        await post(server.url, room, text="x" * 4000)
        await raw.until(b"one")
        await raw.until(b"two")


@pytest.mark.parametrize("transport", [name for name in CLIENTS if name not in STREAMS])
async def test_complete_responses_and_other_protocols_pass_a_buffer_at_once(
    server: Server, room: str, transport: str
) -> None:
    async with (
        Proxy("127.0.0.1", server.port, NetworkConditions.parse("buffer=128kB")) as proxy,
        reader(proxy, transport, room) as client,
    ):
        await say(client, "one", "two")
        assert texts(await take(client, 2)) == ["one", "two"]


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_flush_forwards_data_after_an_idle_time(
    server: Server, room: str, transport: str
) -> None:
    async with (
        Proxy("127.0.0.1", server.port, NetworkConditions.parse("buffer=4096,flush=50ms")) as proxy,
        reader(proxy, transport, room) as client,
    ):
        await say(client, "one", "two")
        assert texts(await take(client, 2)) == ["one", "two"]


async def test_a_response_to_head_passes_a_buffer_without_its_declared_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    async def heads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)

    async with (
        FakeServer(heads) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse("buffer=4096")) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        for _ in range(2):
            caller.send(b"HEAD / HTTP/1.1\r\n\r\n")
            assert await caller.exactly(len(answer)) == answer


async def stream_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond without a length: ten bytes, one every 30 ms, until the client closes."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(10):
        await asyncio.sleep(0.03)
        writer.write(b"x")
    await reader.read()


async def test_a_flush_waits_while_data_arrives() -> None:
    network = NetworkConditions.parse("buffer=4096,flush=100ms")
    async with (
        FakeServer(stream_slowly) as peer,
        Proxy("127.0.0.1", peer.port, network) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        caller.send(b"GET / HTTP/1.1\r\n\r\n")
        data = await caller.reader.read(65_536)
    assert data == b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10


async def test_a_response_that_lasts_until_the_close_ends_with_it() -> None:
    async with (
        FakeServer(stream_slowly) as peer,
        Proxy("127.0.0.1", peer.port, NetworkConditions.parse("buffer=4096")) as proxy,
        FakeClient(proxy.port) as caller,
    ):
        caller.send(b"GET / HTTP/1.1\r\n\r\n")
        caller.writer.write_eof()
        assert await caller.rest() == b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10


async def test_switching_the_buffer_off_forwards_what_it_held(server: Server, room: str) -> None:
    network = NetworkConditions.parse("buffer=4096")
    async with Proxy("127.0.0.1", server.port, network) as proxy, Raw(proxy) as raw:
        raw.ask(f"/rooms/{room}/sse?after=now")
        await until(lambda: proxy.bytes_down)
        proxy.network = NetworkConditions()
        await raw.head()
        proxy.network = network  # in the middle of the stream
        before = proxy.bytes_down
        await post(server.url, room, text="one")
        await until(lambda: proxy.bytes_down > before)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.until(b"one"), 0.2)


# --- time limits ---------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed() -> None:
    loop = asyncio.get_running_loop()
    async with echo_through("idle=200ms") as (proxy, caller):
        await caller.exchange()
        started = loop.time()
        assert await caller.rest() == b""
        assert 0.19 < loop.time() - started < 0.6
        await until(lambda: not proxy._open)


async def test_a_connection_with_traffic_is_not_idle() -> None:
    async with echo_through("idle=200ms") as (_, caller):
        for _ in range(10):
            await asyncio.sleep(0.05)
            await caller.exchange()


async def test_each_connection_is_reset_at_its_maximum_age() -> None:
    loop = asyncio.get_running_loop()
    async with echo_through("cut=200ms") as (_, caller):
        started = loop.time()
        for _ in range(5):
            await caller.exchange()
        with pytest.raises(ConnectionResetError):
            await caller.rest()
        assert 0.19 < loop.time() - started < 0.6


async def test_a_stall_delays_everything_to_its_end() -> None:
    async with echo_through("stall=100ms/300ms") as (_, caller):
        end = (
            asyncio.get_running_loop().time() + 0.65
        )  # at least two stalls, the first one complete
        seconds = []
        while asyncio.get_running_loop().time() < end:
            seconds.append(await caller.exchange())
    assert 0.08 < max(seconds) < 0.2
    assert statistics.median(seconds) < LATE


# --- methods -------------------------------------------------------------------------------------


async def test_a_reset_closes_both_sides_and_new_connections_are_accepted() -> None:
    async with FakeServer(echo) as peer, Proxy("127.0.0.1", peer.port) as proxy:
        async with FakeClient(proxy.port) as one, FakeClient(proxy.port) as other:
            await one.exchange()
            await other.exchange()
            proxy.reset_connections()
            for caller in (one, other):
                with pytest.raises(ConnectionResetError):
                    await caller.rest()
            await until(lambda: len(peer.errors) == 2)
            assert {type(error) for error in peer.errors} == {ConnectionResetError}
        async with FakeClient(proxy.port) as caller:
            await caller.exchange()


async def test_a_pause_holds_everything_until_resume() -> None:
    async with echo_through("none") as (proxy, caller):
        await caller.exchange()
        proxy.pause()
        proxy.network = NetworkConditions.parse("idle=100ms")
        for word in (b"one ", b"two ", b"three"):
            caller.send(word)
        caller.writer.write_eof()
        assert await caller.silent(0.3)  # longer than the idle timeout
        proxy.resume()
        assert await caller.rest() == b"one two three"


async def test_a_client_that_connects_during_a_pause_is_served_after_it() -> None:
    async with echo_through("none") as (proxy, _):
        proxy.pause()
        async with FakeClient(proxy.port) as caller:
            caller.send(b"hello")
            await until(lambda: proxy.bytes_up == 5)
            proxy.resume()
            assert await caller.exactly(5) == b"hello"


async def test_a_resumed_connection_may_be_idle_again() -> None:
    async with echo_through("idle=100ms") as (proxy, caller):
        proxy.pause()
        proxy.resume()
        assert await caller.rest() == b""


async def test_new_conditions_apply_from_then_on() -> None:
    async with echo_through("none") as (proxy, caller):
        assert await caller.exchange() < 0.04
        proxy.network = NetworkConditions.parse("rtt=40ms")
        assert await caller.exchange() >= 0.04
        assert str(proxy.network) == "rtt=40ms"
        proxy.network = NetworkConditions.parse("idle=50ms")
        assert await caller.rest() == b""


async def test_a_connection_older_than_a_new_maximum_age_is_reset_at_once() -> None:
    async with echo_through("none") as (proxy, caller):
        await caller.exchange()
        proxy.network = NetworkConditions.parse("cut=1ms")
        with pytest.raises(ConnectionResetError):
            await caller.rest()


async def test_a_new_target_applies_to_new_connections() -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    async with echo_through("none") as (proxy, caller), FakeServer(hello) as other:
        await caller.exchange()
        proxy.target = "127.0.0.1", other.port
        await caller.exchange()
        async with FakeClient(proxy.port) as late:
            assert await late.rest() == b"hello"
