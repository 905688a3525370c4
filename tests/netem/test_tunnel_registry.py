"""Connections through the emulators of a server: who is behind each, and how much they may use."""

import asyncio
import resource
import socket
from contextlib import AsyncExitStack

import pytest

from realtime.limits import Limits
from realtime.netem import tunnel
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy
from realtime.netem.tunnel_registry import TunnelRegistry
from tests.fake_server import FakeClient, FakeServer, echo, listen, until
from tests.robustness.http_client import abort


async def test_the_client_is_known_before_the_server_accepts_even_if_it_has_left() -> None:
    registry = TunnelRegistry(Limits())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        async with Proxy(*server.getsockname(), registry=registry) as proxy:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", proxy.port, local_addr=("127.0.0.2", 0)
            )
            writer.write(b"hello")
            await until(lambda: proxy.bytes_up == 5)
            abort(writer)
            await until(lambda: not proxy.connected)
            connection, peer = server.accept()
            connection.close()
            assert registry.clients == {peer: "127.0.0.2"}


async def test_a_server_that_cannot_be_reached_leaves_no_client_behind() -> None:
    registry = TunnelRegistry(Limits())
    with socket.create_server(("127.0.0.1", 0)) as unused:
        target = unused.getsockname()
    async with Proxy(*target, registry=registry) as proxy, FakeClient(proxy.port) as client:
        with pytest.raises(ConnectionError):
            await client.rest()
        await until(lambda: not proxy.connected)
    assert registry.clients == {}


async def test_a_closed_connection_makes_room_for_another() -> None:
    # The addresses in one network count as one client.
    registry = TunnelRegistry(Limits(network_connections_per_address=2), lambda address: "client")
    async with (
        FakeServer(echo) as server,
        Proxy("127.0.0.1", server.port, registry=registry) as proxy,
        Proxy("127.0.0.1", server.port, registry=registry) as other,
    ):
        async with FakeClient(proxy.port) as one, FakeClient(other.port) as two:
            await one.exchange()
            await two.exchange()
            async with FakeClient(other.port) as three:
                with pytest.raises(ConnectionError):
                    await three.rest()
        await until(lambda: not (proxy.connected or other.connected))
        async with FakeClient(other.port) as next_one:
            await next_one.exchange()


async def test_many_connections_hold_little_each() -> None:
    limits = Limits(network_bytes=400_000)
    registry = TunnelRegistry(limits)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeServer(listen))
        proxy = Proxy("127.0.0.1", server.port, registry=registry)
        await stack.enter_async_context(proxy)
        clients = [await stack.enter_async_context(FakeClient(proxy.port)) for _ in range(20)]
        await until(lambda: len(proxy._registered) == 20)
        proxy.pause()
        for client in clients:
            client.send(b"x" * 1_000_000)
        share = limits.network_bytes // (2 * len(clients))
        await until(lambda: all(one.up.held >= share for one in proxy._registered))
        await asyncio.sleep(0.05)
        assert all(one.up.held <= share + tunnel._MIN_READ_BYTES for one in proxy._registered)


async def test_a_small_share_does_not_stop_a_buffering_network() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)

    registry = TunnelRegistry(Limits(network_bytes=20_000))
    network = NetworkConditions.parse("buffer=128kB")
    async with (
        FakeServer(answer) as server,
        Proxy("127.0.0.1", server.port, network, registry=registry) as proxy,
        FakeClient(proxy.port) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.rest()).endswith(b"x" * 100_000)


async def test_a_client_that_ignores_the_end_of_its_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel, "_HALF_CLOSED_SECONDS", 0.05)

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async with (
        FakeServer(leave) as server,
        Proxy("127.0.0.1", server.port) as proxy,
        FakeClient(proxy.port) as client,
    ):
        assert await client.exactly(3) == b"bye"
        await until(lambda: not proxy.connected)


def test_connections_are_also_limited_by_the_number_of_open_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (120, 120))
    registry = TunnelRegistry(Limits(network_connections_per_address=1))
    opened = [address for address in map(str, range(100)) if open_one(registry, address)]
    assert len(opened) == 10  # three files each: a quarter of all
    assert registry.max_files == 20


def open_one(registry: TunnelRegistry, address: str) -> bool:
    admitted = registry.admits(address, 0)
    if admitted:
        registry.opened(address)
    return admitted
