"""A pool of network emulators: each page that asks for one has it alone, at a port of its own.

The ports are opened once, at the start, and leased one by one; a proxy that nobody uses for a while
is leased to the next page.  All of them forward to this server.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from realtime.errors import Busy, NoNetwork
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy

# A proxy without connections, whose lease nobody has asked about for so long, may be leased again.
UNUSED_SECONDS = 60.0


class LeasedProxy:
    """A proxy while somebody has it; `id` is a secret that only its holder knows."""

    def __init__(
        self, proxy: Proxy, network: NetworkConditions, clock: Callable[[], float]
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self._proxy = proxy
        self._clock = clock
        self._recovery: asyncio.TimerHandle | None = None
        self.touch()
        self.change(network)
        self._recover()

    @property
    def port(self) -> int:
        return self._proxy.port

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
        self, proxies: Sequence[Proxy], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.ports = [proxy.port for proxy in proxies]
        self._free = list(reversed(proxies))
        self._leased: dict[str, tuple[LeasedProxy, Proxy]] = {}
        for proxy in proxies:
            proxy.accepting = False

    def acquire(self, network: NetworkConditions) -> LeasedProxy:
        """Lease a proxy; raises `Busy` if all are in use."""
        for lease, _ in list(self._leased.values()):
            if lease.is_unused():
                self.release(lease.id)
        if not self._free:
            raise Busy("All network emulators are in use; see --networks.", retry_after=10)
        proxy = self._free.pop()
        lease = LeasedProxy(proxy, network, self._clock)
        self._leased[lease.id] = lease, proxy
        return lease

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
        _, proxy = self._leased.pop(id)
        self._free.append(proxy)
