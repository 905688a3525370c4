"""A pool of network emulators: each page that asks for one has it alone, at a port of its own.

The ports are opened once, at the start, and leased one by one; a proxy that nobody uses for a while
is leased to the next page.  All of them forward to this server, TCP and UDP.  One address cannot
have all of them, and does not keep them forever while others wait.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence

from realtime.errors import Busy, NoNetwork
from realtime.limits import Limits
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy

# A proxy without connections, whose lease nobody has asked about for so long, may be leased again.
UNUSED_SECONDS = 60.0


class LeasedProxy:
    """A proxy while somebody has it; `id` is a secret that only its holder knows.

    `address` is the holder's, and `client` its id if it is in a class.
    """

    def __init__(
        self,
        proxy: Proxy,
        network: NetworkConditions,
        address: str,
        client: str | None,
        clock: Callable[[], float],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.address = address
        self.client = client
        self._proxy = proxy
        self._clock = clock
        self._since = clock()
        self._recovery: asyncio.TimerHandle | None = None
        self.touch()
        self.change(network)
        self._recover()

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def udp(self) -> bool:
        """Whether the port forwards UDP too."""
        return self._proxy.udp

    @property
    def network(self) -> NetworkConditions:
        return self._proxy.network

    def change(self, network: NetworkConditions) -> None:
        """Apply other conditions from now on, to open connections too."""
        self._proxy.network = network

    def pause(self, seconds: float) -> None:
        """Let nothing pass for a while; then everything on its way continues."""
        self._recover()
        self._proxy.pause()
        self._recover_in(seconds)

    def disconnect(self, seconds: float) -> None:
        """Reset every connection, and accept none for a while."""
        self._recover()
        self._stop_accepting()
        self._recover_in(seconds)

    def end(self) -> None:
        """End the lease: reset every connection, and accept no more."""
        self._recover()
        self._stop_accepting()

    def touch(self) -> None:
        self._used = self._clock()

    @property
    def age(self) -> float:
        """Seconds since the start of the lease."""
        return self._clock() - self._since

    def is_unused(self) -> bool:
        if self._proxy.connected:
            self.touch()
        return self._clock() - self._used > UNUSED_SECONDS

    def _stop_accepting(self) -> None:
        self._proxy.accepting = False
        self._proxy.reset_connections()

    def _recover(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
        self._proxy.accepting = True
        self._proxy.resume()

    def _recover_in(self, seconds: float) -> None:
        self._recovery = asyncio.get_running_loop().call_later(seconds, self._recover)


class ProxyPool:
    """Leases proxies, which are open already; `clock` returns seconds."""

    def __init__(
        self,
        proxies: Sequence[Proxy],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self.ports = [proxy.port for proxy in proxies]
        self._free = list(reversed(proxies))
        self._leased: dict[str, tuple[LeasedProxy, Proxy]] = {}  # in the order of their start
        self._held: Counter[str] = Counter()  # leases by address
        for proxy in proxies:
            proxy.accepting = False

    def acquire(
        self, network: NetworkConditions, address: str, client: str | None = None
    ) -> LeasedProxy:
        """Lease a proxy to a client at `address`; raises `Busy` if it cannot have one more.

        `client` is one of a class, see `Limits.admits_client`.
        """
        for lease, _ in list(self._leased.values()):
            if lease.is_unused():
                self.release(lease.id)
        self._check_share(address)
        self._check_client(address, client)
        if not self._free:
            self._end_old_lease(address)
        if not self._free:
            raise Busy("All network emulators are in use; see --networks.", retry_after=10)
        proxy = self._free.pop()
        lease = LeasedProxy(proxy, network, address, client, self._clock)
        self._leased[lease.id] = lease, proxy
        self._held[address] += 1
        return lease

    def _check_share(self, address: str) -> None:
        """Raise `Busy` if this address has its share; one that has none may wait for an old one."""
        limits, held = self._limits, self._held[address]
        used, total = len(self._leased), len(self.ports)
        if held and not limits.admits(held, limits.networks_per_address, used, total):
            raise Busy(
                "Your address has its share of the network emulators; release one, or wait.",
                retry_after=10,
            )

    def _check_client(self, address: str, client: str | None) -> None:
        limits, mine = self._limits, (address, client)
        held = sum((lease.address, lease.client) == mine for lease, _ in self._leased.values())
        each = limits.networks_per_client, limits.networks_per_address
        if not limits.admits_client(client, held, *each):
            message = "You have as many network emulators as one client may; release one, or wait."
            raise Busy(message, retry_after=10)

    def _end_old_lease(self, address: str) -> None:
        """End the oldest lease if it is too old, and its holder has more than this address."""
        for lease, _ in self._leased.values():
            if lease.age <= self._limits.network_lease_seconds:
                return
            if self._held[lease.address] > self._held[address]:
                self.release(lease.id)
                return

    def find(self, id: str) -> LeasedProxy:
        """Return the lease with this id; raises `NoNetwork` if it has ended."""
        if id not in self._leased:
            raise NoNetwork("This lease of a network has ended; request another one.")
        lease, _ = self._leased[id]
        lease.touch()
        return lease

    def release(self, id: str) -> None:
        """End a lease; raises `NoNetwork` if it has ended already."""
        self.find(id).end()
        lease, proxy = self._leased.pop(id)
        self._free.append(proxy)
        self._held[lease.address] -= 1
        if not self._held[lease.address]:
            del self._held[lease.address]
