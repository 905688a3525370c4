"""A bad network to put in front of a server: slow, jittery, narrow, buffering, or cut.

It forwards TCP connections and applies `NetworkConditions`, which may change meanwhile.
With an empty one it forwards what comes as it comes, and counts: what a client says it sent and
what a server says it received are two opinions, and this is the third.

What it cannot do, and what to know of what it does:

- It stands above TCP, so it cannot lose, reorder or double packets, and shows neither slow start
  nor a retransmission.  `stall` is what a loss looks like from above: nothing for one timeout, then
  everything.  For the real thing there is ``tc qdisc add dev … netem`` on a machine that has it.
- TCP's handshake ends here at once, which over a real line takes a round trip: so no byte of a
  connection sets out before one `rtt` has passed.
- Each connection has a line of its own: two do not share a `rate`.
- At most 256 KiB are held per connection and direction; then no more is read, so that a slow side
  slows the other.  With a `rate` that is a queue as long as a bad router's.
- Nothing comes too early, but the event loop's timers have a grain of a millisecond: whatever is
  delayed comes up to one later, each way.
"""

import asyncio
from random import Random
from types import TracebackType
from typing import Self

from realtime.netem.conditions import NetworkConditions
from realtime.netem.tunnel import READ, Direction, Tunnel
from realtime.tasks import Supervisor

# Connections that the kernel keeps until they are accepted: a whole class comes at once.
_BACKLOG = 1_024


class Proxy:
    """Listens on a free port and forwards to `host`:`port`; an async context manager.

    `listen` is the host as a URL has it, so an IPv6 address is in brackets.

    Up is towards the server.  With `transcript` every piece is kept as it came, in order.  With a
    `seed` the jitter is the same each time, as far as the pieces are.
    """

    def __init__(
        self,
        host: str,
        port: int,
        network: NetworkConditions = NetworkConditions(),  # noqa: B008 - it is frozen
        *,
        listen: str = "127.0.0.1",
        listen_port: int = 0,
        transcript: bool = False,
        seed: int | None = None,
    ) -> None:
        self.bytes_up = 0
        self.bytes_down = 0
        self.connections = 0
        self.transcript: list[tuple[Direction, bytes]] | None = [] if transcript else None
        self.target = host, port  # may be changed, for connections to come
        self.paused = False
        self.plugged = True  # while it is not, whoever comes is reset
        self.scratch = memoryview(bytearray(READ))
        self._network = network
        self._listen = listen, listen_port
        self._seed = seed
        self._open: set[Tunnel] = set()
        self._supervisor = Supervisor()
        self._closed = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        host, port = self._listen
        self._server = await loop.create_server(
            lambda: Tunnel(self).near, host.strip("[]"), port, backlog=_BACKLOG
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{host}:{self.port}/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop_listening()
        self._closed = True
        self.cut()
        await self._supervisor.close()
        for connection in list(self._open):
            connection.refuse()
        while self._open:  # the loop tells us in its next round that they are gone
            await asyncio.sleep(0)

    async def _stop_listening(self) -> None:
        # A connection that asyncio has accepted, and not told us of when its server is closed, is
        # left open and forgotten (Python 3.11).  So no more are accepted, and those come first.
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(2):
            await asyncio.sleep(0)
        self._server.close()

    # --- what a network does ---------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._open)

    @property
    def network(self) -> NetworkConditions:
        """May be replaced; a new one holds for what comes from then on.

        What is on its way arrives as it would have.  `idle` and `cut` hold for open connections
        too, and one that is older than `cut` is reset now.
        """
        return self._network

    @network.setter
    def network(self, network: NetworkConditions) -> None:
        self._network = network
        for connection in list(self._open):
            connection.adopt()

    def cut(self) -> None:
        """Reset every connection on both sides; new ones are still accepted."""
        for connection in list(self._open):
            connection.cut()

    def pause(self) -> None:
        """Let nothing pass, not even an end; what comes meanwhile is held, or not read."""
        self.paused = True

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        self.paused = False
        for connection in list(self._open):
            connection.resume()

    # --- what its connections ask ----------------------------------------------------------------

    def begun(self, connection: Tunnel) -> None:
        self.connections += 1
        self._open.add(connection)
        # Not closed either: it may be accepted in the very moment of our end.
        if self._closed or not self.plugged:
            connection.refuse()
        else:
            self._supervisor.spawn("connect to the target", lambda: self._connect(connection))

    async def _connect(self, connection: Tunnel) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection.far, *self.target)
        except OSError:
            connection.refuse()

    def ended(self, connection: Tunnel) -> None:
        self._open.discard(connection)

    def count(self, data: bytes, direction: Direction) -> None:
        if direction == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        if self.transcript is not None:
            self.transcript.append((direction, data))

    def random(self, direction: Direction) -> Random:
        """Jitter that no other connection disturbs: each has a series of its own."""
        if self._seed is None:
            return Random()
        return Random(f"{self._seed} {self.connections} {direction}")
