"""Leased network emulators: each has one holder, and is leased again when nobody uses it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from realtime.errors import Busy, NoNetwork
from realtime.limits import Limits
from realtime.netem import proxy_pool
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy
from realtime.netem.proxy_pool import ProxyPool
from tests.fake_server import FakeServer
from tests.fake_server import echo as send_back
from tests.netem.datagrams import udp_client, udp_proxy, udp_server
from tests.transports.readers import SECONDS

SLOW = NetworkConditions(rtt=0.01)
ADA, BEN = "192.0.2.1", "192.0.2.2"


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of an echo server."""
    async with FakeServer(send_back) as server:
        yield server.port


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.asynccontextmanager
async def pool(size: int, echo: int, clock: Clock) -> AsyncIterator[ProxyPool]:
    async with AsyncExitStack() as stack:
        proxies = [Proxy("127.0.0.1", echo) for _ in range(size)]
        opened = [await stack.enter_async_context(proxy) for proxy in proxies]
        yield ProxyPool(opened, Limits(), clock)


@pytest.fixture
async def two(echo: int, clock: Clock) -> AsyncIterator[ProxyPool]:
    async with pool(2, echo, clock) as proxies:
        yield proxies


async def ask(port: int, word: bytes) -> bytes:
    """Send data to this port, and return the response; nothing if the connection is reset."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(word)
        try:
            return await reader.read(100)
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def test_each_lease_has_its_own_port(two: ProxyPool) -> None:
    one, other = two.acquire(SLOW, ADA), two.acquire(NetworkConditions(), ADA)
    assert {one.port, other.port} == set(two.ports)
    assert (one.network, other.network) == (SLOW, NetworkConditions())
    assert await ask(one.port, b"hello") == b"hello"


async def test_an_empty_pool_is_busy(two: ProxyPool) -> None:
    two.acquire(SLOW, ADA)
    lease = two.acquire(SLOW, ADA)
    with pytest.raises(Busy):
        two.acquire(SLOW, ADA)
    two.release(lease.id)
    assert two.acquire(NetworkConditions(), ADA).port == lease.port


async def test_a_port_without_a_lease_accepts_nobody(two: ProxyPool) -> None:
    assert await ask(two.ports[0], b"hello") == b""
    lease = two.acquire(SLOW, ADA)
    two.release(lease.id)
    assert await ask(lease.port, b"hello") == b""
    with pytest.raises(NoNetwork):
        two.find(lease.id)


async def test_an_unused_proxy_is_leased_again(two: ProxyPool, clock: Clock) -> None:
    used, unused = two.acquire(NetworkConditions(), ADA), two.acquire(NetworkConditions(), ADA)
    _, writer = await asyncio.open_connection("127.0.0.1", used.port)
    assert await ask(used.port, b"hello") == b"hello"  # so the connection before is accepted too
    clock.now += proxy_pool.UNUSED_SECONDS - 1
    with pytest.raises(Busy):
        two.acquire(SLOW, ADA)
    clock.now += 2
    assert two.acquire(SLOW, ADA).port == unused.port
    assert two.find(used.id) is used
    with pytest.raises(NoNetwork):
        two.find(unused.id)
    writer.close()


async def test_a_request_about_a_lease_keeps_it(two: ProxyPool, clock: Clock) -> None:
    asked, unused = two.acquire(NetworkConditions(), ADA), two.acquire(NetworkConditions(), ADA)
    clock.now += proxy_pool.UNUSED_SECONDS - 1
    two.find(asked.id)
    clock.now += 2
    assert two.acquire(SLOW, ADA).port == unused.port
    with pytest.raises(Busy):
        two.acquire(SLOW, ADA)


async def test_a_pause_ends(two: ProxyPool) -> None:
    lease = two.acquire(NetworkConditions(), ADA)
    lease.pause(0.05)
    assert await ask(lease.port, b"hello") == b"hello"


async def test_a_disconnection_resets_refuses_and_ends(two: ProxyPool) -> None:
    lease = two.acquire(NetworkConditions(), ADA)
    reader, writer = await asyncio.open_connection("127.0.0.1", lease.port)
    writer.write(b"hello")
    assert await reader.read(100) == b"hello"
    lease.disconnect(0.05)
    with pytest.raises(ConnectionError):
        await reader.readexactly(1)
    writer.close()
    assert await ask(lease.port, b"hello") == b""
    async with asyncio.timeout(SECONDS):
        while await ask(lease.port, b"hello") != b"hello":
            await asyncio.sleep(0.01)


async def test_a_disconnection_during_a_pause_lasts_its_full_time(two: ProxyPool) -> None:
    lease = two.acquire(NetworkConditions(), ADA)
    lease.pause(0.01)
    lease.disconnect(30)
    await asyncio.sleep(0.02)
    assert await ask(lease.port, b"hello") == b""


async def test_a_pause_during_a_disconnection_ends_it(two: ProxyPool) -> None:
    lease = two.acquire(NetworkConditions(), ADA)
    lease.disconnect(30)
    lease.pause(0.01)
    assert await ask(lease.port, b"hello") == b"hello"


async def test_a_lease_includes_the_datagrams_of_its_port(two: ProxyPool, clock: Clock) -> None:
    assert not two.acquire(NetworkConditions(), ADA).udp
    async with udp_server() as server, udp_proxy(server) as proxy, udp_client(proxy.port) as client:
        one = ProxyPool([proxy], Limits(), clock)
        client.send(b"before the lease")
        lease = one.acquire(NetworkConditions(), ADA)
        assert lease.udp
        await client.exchange()
        lease.disconnect(30)
        client.send(b"lost")
        lease.pause(0.05)
        await client.exchange()
        clock.now += proxy_pool.UNUSED_SECONDS + 1
        assert not lease.is_unused()
        lease.end()
        clock.now += proxy_pool.UNUSED_SECONDS + 1
        assert lease.is_unused()


# --- shares --------------------------------------------------------------------------------------


async def test_one_address_cannot_lease_every_proxy(echo: int, clock: Clock) -> None:
    async with pool(8, echo, clock) as eight:
        for _ in range(6):
            eight.acquire(SLOW, ADA)
        with pytest.raises(Busy, match="share"):
            eight.acquire(SLOW, ADA)
        mine = eight.acquire(SLOW, BEN)
        eight.release(mine.id)
        assert eight.acquire(SLOW, BEN).port == mine.port


async def test_an_old_lease_goes_to_an_address_that_has_fewer(two: ProxyPool, clock: Clock) -> None:
    oldest, other = two.acquire(SLOW, ADA), two.acquire(SLOW, ADA)
    clock.now += Limits().network_lease_seconds
    for lease in (oldest, other):
        two.find(lease.id)  # in use
    with pytest.raises(Busy):
        two.acquire(SLOW, BEN)
    clock.now += 1
    with pytest.raises(Busy):
        two.acquire(SLOW, ADA)
    mine = two.acquire(SLOW, BEN)
    assert mine.port == oldest.port
    assert two.find(other.id) is other
    clock.now += Limits().network_lease_seconds + 1
    for lease in (other, mine):
        two.find(lease.id)
    with pytest.raises(Busy):  # each has one
        two.acquire(SLOW, BEN)
