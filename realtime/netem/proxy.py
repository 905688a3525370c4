"""A proxy that emulates a network: latency, jitter, bandwidth, losses, buffering, disconnections.

It forwards TCP connections, and datagrams if it has a UDP port to send them to, and applies
`NetworkConditions`, which may change at any time.  Without conditions it forwards data unchanged
and counts it: an independent check of the byte counts of client and server.

What it cannot do, and what to know about what it does:

- It works above TCP.  A lost segment is the delay until TCP has sent it again (`link.py`), and all
  that follows waits; there is neither slow start nor a congestion window.  Of UDP it sees every
  datagram: a lost one is gone, a late one is overtaken.
- The TCP handshake with the proxy completes at once; over a real network it takes a round trip.
  So the first byte of a connection leaves after one `rtt`.
- Each connection and each flow of UDP has a link of its own: they do not share a `rate`.
- It holds at most 256 KiB per connection and direction, then stops reading, so that a slow side
  slows the other (back-pressure).  With a `rate` that is a queue as long as in a bad router.  What
  UDP sends beyond it is dropped.
- Nothing arrives too early, but timers of the event loop have a resolution of a millisecond:
  delayed data arrives up to one millisecond late, each way.
"""

import asyncio
import socket
from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Any, Self

from realtime import metrics
from realtime.netem.conditions import NetworkConditions
from realtime.netem.datagram_proxy import DatagramProxy, Flow
from realtime.netem.tunnel import HELD_BYTES, READ_BYTES, Direction, Tunnel
from realtime.netem.tunnel_registry import SocketAddress, TunnelRegistry
from realtime.tasks import AcceptLoop, Supervisor

# Connections that the kernel queues until they are accepted: a whole class connects at once.
_BACKLOG = 1_024


class Proxy:
    """Listens on a free port and forwards to `host`:`port`; an async context manager.

    `listeners` are sockets that listen already, at the port of the first one; the proxy closes
    them.  `listen` is their host as a URL has it, so an IPv6 address is in brackets.  With a
    `udp_target`, an IP address and a port, it forwards datagrams too: those of `datagram_sockets`,
    which are bound, and which it closes as well.
    "up" is the direction to the server.  With `transcript` every read is recorded, in order.  With
    a `seed` jitter and losses are reproducible, as far as the reads are.  A `registry` limits
    connections, which are reset above its limits, and names their clients; `host` is then an IP
    address.
    """

    def __init__(
        self,
        host: str,
        port: int,
        network: NetworkConditions = NetworkConditions(),  # noqa: B008 - it is frozen
        *,
        listen: str = "127.0.0.1",
        listeners: Sequence[socket.socket] = (),
        udp_target: SocketAddress | None = None,
        datagram_sockets: Sequence[socket.socket] = (),
        transcript: bool = False,
        seed: int | None = None,
        registry: TunnelRegistry | None = None,
    ) -> None:
        self.bytes_up = 0
        self.bytes_down = 0
        self.connections = 0
        self.transcript: list[tuple[Direction, bytes]] | None = [] if transcript else None
        self.target = host, port  # a change applies to new connections
        self.paused = False
        self.accepting = True  # while False, new connections are reset
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self._network = network
        self._listen = listen
        self._listeners = list(listeners)
        self._udp_target = udp_target
        self._datagram_sockets = datagram_sockets
        self._datagrams: DatagramProxy | None = None
        self._accepting: list[AcceptLoop] = []
        self._arriving: set[socket.socket] = set()  # accepted, and not reported by asyncio yet
        self._seed = seed
        self._open: set[Tunnel] = set()
        self._registry = registry
        self._registered: dict[Tunnel | Flow, str] = {}  # the address of the client of each
        self._supervisor = Supervisor()
        self._closed = False

    async def __aenter__(self) -> Self:
        if not self._listeners:
            self._listeners = [socket.create_server((self._listen, 0), backlog=_BACKLOG)]
        self._accepting = [AcceptLoop(one, self._accepted) for one in self._listeners]
        if self._udp_target is not None:
            self._datagrams = DatagramProxy(self, self._udp_target, self._datagram_sockets)
        self.port: int = self._listeners[0].getsockname()[1]
        self.url = f"http://{self._listen}:{self.port}/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for accepting, listener in zip(self._accepting, self._listeners, strict=True):
            accepting.close()
            listener.close()
        if self._datagrams is not None:
            self._datagrams.close()
        self._closed = True
        while self._arriving:  # asyncio reports them in its next iterations
            await asyncio.sleep(0)
        self.reset_connections()
        await self._supervisor.close()
        for tunnel in list(self._open):
            tunnel.refuse()
        while self._open:  # asyncio reports closed connections in its next iteration
            await asyncio.sleep(0)

    def _accepted(self, connection: socket.socket, address: Any) -> None:
        self._arriving.add(connection)
        self._supervisor.spawn("accept", lambda: self._report(connection, str(address[0])))

    async def _report(self, connection: socket.socket, address: str) -> None:
        """Make a tunnel for a connection; asyncio then reports what happens on it."""
        loop = asyncio.get_running_loop()
        try:
            # asyncio does this only for a socket that was created with IPPROTO_TCP.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: Tunnel(self, address).client_side, connection
            )
        except OSError:  # the client disconnected before we accepted it
            connection.close()
        finally:
            self._arriving.discard(connection)

    # --- conditions and faults -------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a connection is open, or a flow of UDP."""
        return bool(self._open or self._flows)

    @property
    def udp(self) -> bool:
        """Whether it forwards UDP."""
        return self._udp_target is not None

    @property
    def _flows(self) -> Sequence[Flow]:
        return () if self._datagrams is None else self._datagrams.flows

    @property
    def network(self) -> NetworkConditions:
        """The current conditions; new ones apply to data that is read from then on.

        Data on its way arrives as before.  `idle_timeout` and `reset_after` apply to open
        connections too: one that is older than `reset_after` is reset at once.
        """
        return self._network

    @network.setter
    def network(self, network: NetworkConditions) -> None:
        self._network = network
        for tunnel in list(self._open):
            tunnel.conditions_changed()
        for flow in self._flows:
            flow.check_deadlines()

    def reset_connections(self) -> None:
        """Reset every connection on both sides, and end every flow; new ones are still accepted."""
        for tunnel in list(self._open):
            tunnel.reset()
        if self._datagrams is not None:
            self._datagrams.reset()

    def pause(self) -> None:
        """Let nothing pass, not even a FIN; incoming data is held, or not read."""
        self.paused = True

    def resume(self) -> None:
        """Continue where `pause` stopped."""
        self.paused = False
        for tunnel in list(self._open):
            tunnel.resume()
        for flow in self._flows:
            flow.resume()

    # --- called by tunnels -----------------------------------------------------------------------

    def opened(self, tunnel: Tunnel) -> None:
        self.connections += 1
        self._open.add(tunnel)
        # A connection may be accepted at the very moment when the proxy closes.
        if self._closed or not self.accepting or not self._register(tunnel):
            tunnel.refuse()
        else:
            self._supervisor.spawn("connect to the target", lambda: self._connect(tunnel))

    def _register(self, connection: Tunnel | Flow) -> bool:
        """Count a connection for the address of its client; return False above a limit."""
        if self._registry is None:
            return True
        address = self._registry.limited_address(connection.client_address)
        if not self._admits(self._registry, connection, address):
            # Below HTTP, and maybe below TLS, there is no error response.
            metrics.REFUSED.labels("busy").inc()
            return False
        self._registry.opened(address)
        self._registered[connection] = address
        return True

    def _admits(self, registry: TunnelRegistry, connection: Tunnel | Flow, address: str) -> bool:
        if isinstance(connection, Flow) and self._datagrams is not None:
            flows = self._datagrams.flow_count
            return registry.admits_flow(address, len(self._registered), flows)
        return registry.admits(address, len(self._registered))

    def _unregister(self, connection: Tunnel | Flow) -> None:
        address = self._registered.pop(connection, None)
        if self._registry is not None and address is not None:
            self._registry.closed(address)

    async def _connect(self, tunnel: Tunnel) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._registry is None:
                await loop.create_connection(lambda: tunnel.server_side, *self.target)
            else:
                connection = await self._connect_registered(tunnel, self._registry)
                await loop.create_connection(lambda: tunnel.server_side, sock=connection)
        except OSError:
            tunnel.refuse()

    async def _connect_registered(self, tunnel: Tunnel, registry: TunnelRegistry) -> socket.socket:
        """Connect from a local address that the registry has as this client's already."""
        host, _ = self.target
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio switches Nagle's algorithm off only if the protocol is named.
        connection = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        ours = None
        try:
            connection.setblocking(False)
            connection.bind((host, 0))
            local = connection.getsockname()[:2]
            if local in registry.clients:
                raise OSError("the server has not accepted the last connection from this port")
            registry.clients[local] = self._registered[tunnel]
            ours = local
            await asyncio.get_running_loop().sock_connect(connection, self.target)
        except BaseException:
            if ours is not None:
                registry.clients.pop(ours, None)
            connection.close()
            raise
        return connection

    def closed(self, tunnel: Tunnel) -> None:
        self._open.discard(tunnel)
        self._unregister(tunnel)

    # --- called by flows -------------------------------------------------------------------------

    def flow_opened(self, flow: Flow) -> bool:
        if not self._register(flow):
            return False
        self.connections += 1
        return True

    def flow_connected(self, flow: Flow) -> None:
        if self._registry is not None:
            self._registry.datagram_clients[flow.local_address] = self._registered[flow]

    def flow_closed(self, flow: Flow) -> None:
        if self._registry is not None:
            self._registry.datagram_clients.pop(flow.local_address, None)
        self._unregister(flow)

    # --- called by both --------------------------------------------------------------------------

    @property
    def max_held_bytes(self) -> int:
        if self._registry is None:
            return HELD_BYTES
        return min(HELD_BYTES, self._registry.max_held_bytes)

    def count(self, data: bytes, direction: Direction) -> None:
        if direction == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        if self.transcript is not None:
            self.transcript.append((direction, data))

    def random(self, direction: Direction) -> Random:
        """Return a source of jitter that no other connection influences."""
        if self._seed is None:
            return Random()
        return Random(f"{self._seed} {self.connections} {direction}")
