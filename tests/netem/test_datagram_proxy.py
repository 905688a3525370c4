"""UDP through the proxy, with real sockets: whose datagrams arrive where, in which order."""

import asyncio
import statistics
from contextlib import AsyncExitStack
from random import Random

import pytest

from realtime.limits import Limits
from realtime.netem import datagram_proxy
from realtime.netem.conditions import NetworkConditions
from realtime.netem.link import SEGMENT_OVERHEAD
from realtime.netem.tunnel_registry import TunnelRegistry
from tests.cases import each
from tests.fake_server import FakeClient, FakeServer, until
from tests.fake_server import echo as send_back
from tests.netem.datagrams import udp_client, udp_proxy, udp_server
from tests.netem.test_link import Script


async def test_each_datagram_arrives_as_it_was_and_is_counted() -> None:
    datagrams = [Random(size).randbytes(size) for size in (1, 100, 1_200, 1_500, 9_000)]
    async with udp_server() as server, udp_proxy(server) as proxy, udp_client(proxy.port) as client:
        for data in datagrams:
            await client.exchange(data)
        assert server.texts == client.texts == datagrams
        assert proxy.bytes_up == proxy.bytes_down == sum(map(len, datagrams))


async def test_clients_stay_separate() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(udp_server())
        proxy = await stack.enter_async_context(udp_proxy(server))
        clients = [await stack.enter_async_context(udp_client(proxy.port)) for _ in range(5)]
        for number, client in enumerate(clients * 2):
            client.send(b"%d" % (number % 5))
        await until(lambda: all(len(client.received) == 2 for client in clients))
        assert [client.texts for client in clients] == [[b"%d" % n] * 2 for n in range(5)]
        assert len({sender for _, sender in server.received}) == 5


async def test_tcp_and_udp_share_the_number_of_the_port() -> None:
    async with (
        udp_server() as server,
        FakeServer(send_back) as tcp_server,
        udp_proxy(server) as proxy,
        udp_client(proxy.port) as client,
    ):
        proxy.target = "127.0.0.1", tcp_server.port
        async with FakeClient(proxy.port) as caller:
            await caller.exchange()
            await client.exchange()


async def test_both_loopback_addresses_reach_it() -> None:
    loop = asyncio.get_running_loop()
    async with udp_server() as server, udp_proxy(server) as proxy:
        for host in ("127.0.0.1", "::1"):
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=(host, proxy.port)
            )
            transport.sendto(host.encode())
            await until(lambda: server.received)
            assert server.received.pop()[0] == host.encode()
            transport.close()


# --- conditions ----------------------------------------------------------------------------------


@pytest.mark.clocked
async def test_an_exchange_takes_a_round_trip_from_the_first_one_on() -> None:
    async with (
        udp_server() as server,
        udp_proxy(server, "rtt=40ms") as proxy,
        udp_client(proxy.port) as client,
    ):
        seconds = [await client.exchange() for _ in range(10)]
    assert min(seconds) >= 0.040
    assert statistics.median(seconds) < 0.055


async def test_lost_datagrams_never_arrive_and_the_others_do_not_wait() -> None:
    texts = [b"%d" % number for number in range(200)]
    async with (
        udp_server(echo=False) as server,
        udp_proxy(server, "loss=30%", seed=4) as proxy,
        udp_client(proxy.port) as client,
    ):
        client.send(*texts)
        await until(lambda: proxy.bytes_up == sum(map(len, texts)))
        proxy.network = NetworkConditions()
        client.send(b"last")
        await until(lambda: b"last" in server.texts)
    lost = set(texts) - set(server.texts)
    assert 30 < len(lost) < 90
    assert server.texts == [text for text in [*texts, b"last"] if text not in lost]


async def test_late_datagrams_are_overtaken() -> None:
    texts = [b"%d" % number for number in range(100)]
    async with (
        udp_server(echo=False) as server,
        udp_proxy(server, "rtt=400ms,reorder=20%") as proxy,
        udp_client(proxy.port) as client,
    ):
        client.send(*texts)  # all at once, so those in time are there before any late one
        await until(lambda: len(server.received) == 100)
    order = [int(text) for text in server.texts]
    overtaken = [at for at in range(1, 100) if order[at] < order[at - 1]]
    assert len(overtaken) == 1  # in order until there, and from there on
    assert 5 < 100 - overtaken[0] < 40


async def test_a_datagram_that_overtakes_does_not_wait_for_the_late_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        udp_server(echo=False) as server,
        udp_proxy(server, "rtt=1s,reorder=10%") as proxy,
        udp_client(proxy.port) as client,
    ):
        # By its jitter, loss and lateness the first one is late; the others are not.
        monkeypatch.setattr(proxy, "random", lambda _: Script(0, 0.99, 0.05))
        client.send(b"late", b"in time")
        await until(lambda: server.received)
        assert server.texts == [b"in time"]
        await until(lambda: server.texts == [b"in time", b"late"])


async def test_a_pause_holds_datagrams_until_resume() -> None:
    async with udp_server() as server, udp_proxy(server) as proxy, udp_client(proxy.port) as client:
        await client.exchange()
        proxy.pause()
        client.send(b"one", b"two")
        await until(lambda: proxy.bytes_up == 10)
        assert len(server.received) == 1
        proxy.resume()
        await until(lambda: client.texts == [b"ping", b"one", b"two"])


async def test_a_full_queue_drops_datagrams() -> None:
    registry = TunnelRegistry(Limits(network_bytes=20_000))
    async with (
        udp_server(echo=False) as server,
        udp_proxy(server, registry=registry) as proxy,
        udp_client(proxy.port) as client,
    ):
        proxy.pause()
        client.send(*[b"x" * 1_000] * 50)
        await until(lambda: proxy.bytes_up == 50_000)
        (flow,) = proxy._flows
        assert flow.up.held <= 10_000 + 1_000 + SEGMENT_OVERHEAD
        proxy.resume()
        client.send(b"last")
        await until(lambda: b"last" in server.texts)
        assert len(server.received) == 1 + 9


# --- the end of a flow ---------------------------------------------------------------------------


@each("network", ["idle=200ms", "cut=200ms"])
async def test_a_flow_ends_in_silence_and_the_next_datagram_starts_another(network: str) -> None:
    async with (
        udp_server() as server,
        udp_proxy(server, network) as proxy,
        udp_client(proxy.port) as client,
    ):
        await client.exchange()
        (flow,) = proxy._flows
        await until(lambda: not proxy.connected)
        await client.exchange()
        (_, before), (_, after) = server.received
        assert before != after
        assert flow not in proxy._flows


async def test_a_flow_ends_by_itself_when_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_proxy, "_IDLE_SECONDS", 0.2)
    async with udp_server() as server, udp_proxy(server) as proxy, udp_client(proxy.port) as client:
        await client.exchange()
        assert proxy.connected
        await until(lambda: not proxy.connected)


async def test_a_paused_flow_is_not_idle() -> None:
    async with udp_server() as server, udp_proxy(server) as proxy, udp_client(proxy.port) as client:
        await client.exchange()
        proxy.pause()
        proxy.network = NetworkConditions.parse("idle=20ms")
        await asyncio.sleep(0.1)
        assert proxy.connected
        proxy.resume()
        await until(lambda: not proxy.connected)


async def test_a_reset_ends_flows_and_drops_what_is_on_its_way() -> None:
    async with (
        udp_server() as server,
        udp_proxy(server, "rtt=10s") as proxy,
        udp_client(proxy.port) as client,
    ):
        client.send(b"lost")
        await until(lambda: proxy.connected)
        proxy.reset_connections()
        assert not proxy.connected
        proxy.network = NetworkConditions()
        await client.exchange()
        assert server.texts == [b"ping"]


async def test_a_proxy_that_accepts_nobody_drops_datagrams() -> None:
    async with udp_server() as server, udp_proxy(server) as proxy, udp_client(proxy.port) as client:
        await client.exchange()
        proxy.accepting = False
        client.send(b"lost")
        async with udp_client(proxy.port) as stranger:
            stranger.send(b"lost")
        await asyncio.sleep(0.05)
        proxy.accepting = True
        await client.exchange(b"again")
        assert server.texts == [b"ping", b"again"]


async def test_a_server_that_is_closed_for_a_while_ends_no_flow() -> None:
    async with AsyncExitStack() as stack:
        async with udp_server() as server:
            port = server.address[1]
            proxy = await stack.enter_async_context(udp_proxy(server))
            client = await stack.enter_async_context(udp_client(proxy.port))
            await client.exchange()
        for _ in range(3):  # the kernel reports a closed port at the next operation
            client.send(b"lost")
            await asyncio.sleep(0.01)
        async with udp_server(port):
            await client.exchange()
        assert proxy.connections == 1


# --- limits --------------------------------------------------------------------------------------


async def test_the_server_can_ask_whose_flow_it_is() -> None:
    registry = TunnelRegistry(Limits())
    async with (
        udp_server() as server,
        udp_proxy(server, registry=registry) as proxy,
        udp_client(proxy.port, "127.0.0.2") as client,
    ):
        await client.exchange()
        ((_, sender),) = server.received
        assert registry.datagram_clients == {sender: "127.0.0.2"}
        proxy.reset_connections()
        assert registry.datagram_clients == {}


async def test_flows_and_connections_of_an_address_are_limited_together() -> None:
    registry = TunnelRegistry(Limits(network_connections_per_address=2))
    async with (
        udp_server() as server,
        udp_proxy(server, registry=registry) as proxy,
        FakeServer(send_back) as tcp_server,
        udp_client(proxy.port) as one,
        udp_client(proxy.port) as other,
        udp_client(proxy.port, "127.0.0.2") as neighbour,
    ):
        proxy.target = "127.0.0.1", tcp_server.port
        async with FakeClient(proxy.port) as caller:
            await caller.exchange()
            await one.exchange()
            other.send(b"too many")
            await neighbour.exchange()
            assert b"too many" not in server.texts
        await until(lambda: len(proxy._registered) == 2)
        await other.exchange()


@each(
    "limits",
    [Limits(network_connections_per_emulator=4), Limits(network_connections=4)],
)
async def test_flows_with_false_addresses_leave_half_to_tcp(limits: Limits) -> None:
    registry = TunnelRegistry(limits)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(udp_server())
        proxy = await stack.enter_async_context(udp_proxy(server, registry=registry))
        tcp_server = await stack.enter_async_context(FakeServer(send_back))
        proxy.target = "127.0.0.1", tcp_server.port
        for number in range(2, 7):
            address = f"127.0.0.{number}"
            flow = await stack.enter_async_context(udp_client(proxy.port, address))
            if number < 4:
                await flow.exchange()
            else:
                flow.send(b"too many")
        async with FakeClient(proxy.port) as caller:
            await caller.exchange()
        assert len(registry.datagram_clients) == 2
        assert b"too many" not in server.texts


async def test_a_proxy_has_a_maximum_of_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_proxy, "MAX_FLOWS", 1)
    async with (
        udp_server() as server,
        udp_proxy(server) as proxy,
        udp_client(proxy.port) as one,
        udp_client(proxy.port) as other,
    ):
        await one.exchange()
        other.send(b"too many")
        await one.exchange()
        assert server.texts == [b"ping", b"ping"]
        proxy.reset_connections()
        await other.exchange()
