"""UDP sockets in the loop of a test: a server that notes and echoes, and clients."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy
from realtime.netem.tunnel_registry import TunnelRegistry
from realtime.server.sockets import open_pair
from tests.fake_server import until


class Peer(asyncio.DatagramProtocol):
    """A UDP socket: `received` are the datagrams and who sent them; with `echo` they go back."""

    def __init__(self, *, echo: bool = False) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self._echo = echo

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))
        if self._echo:
            self.transport.sendto(data, addr)

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self.transport.sendto(data)

    @property
    def texts(self) -> Sequence[bytes]:
        return [data for data, _ in self.received]

    async def exchange(self, data: bytes = b"ping") -> float:
        """Send a datagram to an echo server, and return the seconds until it is back."""
        loop = asyncio.get_running_loop()
        started, before = loop.time(), len(self.received)
        self.send(data)
        await until(lambda: len(self.received) > before)
        assert self.received[-1][0] == data
        return loop.time() - started


@asynccontextmanager
async def udp_server(port: int = 0, *, echo: bool = True) -> AsyncIterator[Peer]:
    """A UDP server at a port of 127.0.0.1."""
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Peer(echo=echo), local_addr=("127.0.0.1", port)
    )
    try:
        yield peer
    finally:
        transport.close()


@asynccontextmanager
async def udp_client(port: int, address: str = "127.0.0.1") -> AsyncIterator[Peer]:
    """A client of a UDP port of 127.0.0.1; it sends from `address`."""
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        Peer, local_addr=(address, 0), remote_addr=("127.0.0.1", port)
    )
    try:
        yield peer
    finally:
        transport.close()


def udp_proxy(
    server: Peer,
    network: str = "none",
    *,
    seed: int | None = None,
    registry: TunnelRegistry | None = None,
) -> Proxy:
    """Return a proxy that forwards UDP to this server, and TCP to the same number."""
    listeners, datagram_sockets = open_pair(0, "127.0.0.1")
    return Proxy(
        *server.address,
        NetworkConditions.parse(network),
        listeners=listeners,
        udp_target=server.address,
        datagram_sockets=datagram_sockets,
        seed=seed,
        registry=registry,
    )
