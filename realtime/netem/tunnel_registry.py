"""All connections through the network emulators of one server: their clients, number and memory.

    client 192.0.2.7 ──▶ emulator, connects from 127.0.0.1:40001 ──▶ server
                                        clients[127.0.0.1:40001] = 192.0.2.7

The server sees each of them come from its own machine, so the emulators tell it the real client.
They share its memory and its open files with everybody, so all of them have common limits.
"""

import resource
from collections import Counter
from collections.abc import Callable

from realtime.limits import Limits

# A host and a port, as `getsockname` returns them first.
SocketAddress = tuple[str, int]
# A direction can always hold so much, however many connections are open: one segment of any link.
_MIN_HELD_BYTES = 4_096
# Each connection has two files here and one in the server; a flow of UDP has one.  Together they
# use at most this part of the files that the process may open.
_PART_OF_OPEN_FILES = 4
_FILES_PER_CONNECTION = 3


class TunnelRegistry:
    """Counts connections per client address, and names the client of each for the server.

    `clients` has the address of a client by the local address of our connection to the server.
    An entry is written before we connect, and the server removes it when it accepts.  So it is
    there even if the client has disconnected in between, and nobody can forge it: the operating
    system gives a local address to one connection at a time.  `datagram_clients` is the same for
    UDP, where an entry stays as long as its flow.  `limited_address` returns what an address counts
    as: several IPv6 addresses can be one client.
    """

    def __init__(self, limits: Limits, limited_address: Callable[[str], str] = str) -> None:
        self.clients: dict[SocketAddress, str] = {}
        self.datagram_clients: dict[SocketAddress, str] = {}
        self.limited_address = limited_address
        self._limits = limits
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_connections = limits.network_connections
        if files != resource.RLIM_INFINITY:
            by_files = files // (_PART_OF_OPEN_FILES * _FILES_PER_CONNECTION)
            self._max_connections = min(self._max_connections, by_files)
        self._addresses: Counter[str] = Counter()
        self._open = 0

    def admits(self, address: str, through_emulator: int) -> bool:
        """Return whether one more connection may open; its emulator has `through_emulator`."""
        limits = self._limits
        return through_emulator < limits.network_connections_per_emulator and limits.admits(
            self._addresses[address],
            limits.network_connections_per_address,
            self._open,
            self._max_connections,
        )

    def admits_flow(self, address: str, through_emulator: int, flows: int) -> bool:
        """Return whether one more flow of UDP may open; its emulator has so many connections.

        Anybody can invent addresses of clients, so all flows together get half of everything, also
        of one emulator, and TCP has the rest.
        """
        most = self._limits.network_connections_per_emulator
        return (
            2 * flows < most
            and 2 * len(self.datagram_clients) < self._max_connections
            and self.admits(address, through_emulator)
        )

    def opened(self, address: str) -> None:
        self._addresses[address] += 1
        self._open += 1

    def closed(self, address: str) -> None:
        self._open -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    @property
    def max_files(self) -> int:
        """How many files the emulators may have open, besides those of the server itself."""
        return (_FILES_PER_CONNECTION - 1) * self._max_connections

    @property
    def max_held_bytes(self) -> int:
        """How much one direction of one connection may hold, if all hold the same."""
        return max(_MIN_HELD_BYTES, self._limits.network_bytes // (2 * max(self._open, 1)))
