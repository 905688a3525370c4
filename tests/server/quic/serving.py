"""A QUIC listener in this process, and raw clients for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from realtime.brokers.memory import MemoryBroker
from realtime.client.http import ByteCount
from realtime.client.quic import SessionProtocol
from realtime.client.quic_socket import WebTransportSession
from realtime.core.admission import Admission
from realtime.core.hub import Hub
from realtime.core.presence import Presence
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server.quic.listener import QuicListener
from realtime.server.sockets import open_udp_port, port_of
from realtime.server.tap import TapRegistry
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services

SECONDS = 10.0
PATH = "/rooms/lobby/webtransport?after=now"


@dataclass
class Listening:
    """A listener, its port, its services and what it has counted."""

    listener: QuicListener
    port: int
    services: Services
    traffic: TrafficStats
    clients: list[WebTransportSession] = field(default_factory=list)
    stopped: bool = False

    async def open(
        self, path: str = PATH, host: str = "127.0.0.1", source: str | None = None, **fields: str
    ) -> WebTransportSession:
        """Open a session; raises what `WebTransportSession.open` raises."""
        protocol = SessionProtocol(f"localhost:{self.port}", path, fields, self.listener.hashes())
        session = await WebTransportSession.open((host, self.port), protocol, ByteCount(), source)
        self.clients.append(session)
        return session

    async def stop(self) -> None:
        """Stop the listener, once."""
        if not self.stopped:
            self.stopped = True
            await self.listener.close()

    async def until(self, done: Callable[[], Any]) -> None:
        """Return when `done()` is true of this process."""
        async with asyncio.timeout(SECONDS):
            while not done():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    emulated: Mapping[tuple[str, int], str] | None = None,
) -> AsyncIterator[Listening]:
    limits = limits or Limits()
    broker, traffic = MemoryBroker(limits), TrafficStats()
    hub, presence = Hub(broker, limits), Presence(broker, limits, node_id="one")
    await hub.start()
    services = Services(hub, presence, OriginPolicy(["localhost"]), Admission(limits), limits)
    sockets = open_udp_port(0, host)
    taps = TapRegistry(limits)
    listener = QuicListener(sockets, services, traffic=traffic, taps=taps, emulated=emulated)
    listener.start()
    running = Listening(listener, port_of(sockets), services, traffic)
    try:
        yield running
    finally:
        for client in running.clients:
            client.abort()
        await running.stop()
        await hub.close()


async def line_of(session: WebTransportSession) -> bytes:
    """Wait for bytes of the stream that are more than empty lines."""
    data = b""
    async with asyncio.timeout(SECONDS):
        while not (data := data + session.read()).strip(b"\n"):
            if session.closed is not None:
                raise session.closed
            await session.changed()
    return data
