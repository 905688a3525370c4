"""Bad networks to borrow: each page that asks has one for itself, at a port of its own.

The ports are opened once, at the start, and lent in turn; one that nobody uses for a while is lent
to the next.  What is behind each is this very server.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from realtime.errors import Busy, NoNetwork
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy

# What nobody asks about, and nobody is connected through, is given to the next after so long.
UNUSED_SECONDS = 60.0


class LeasedProxy:
    """A bad network while somebody has it; `id` is what only its borrower knows."""

    def __init__(
        self, proxy: Proxy, network: NetworkConditions, clock: Callable[[], float]
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self._proxy = proxy
        self._clock = clock
        self._later: asyncio.TimerHandle | None = None
        self.touch()
        self.change(network)
        self._go_on()

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def network(self) -> NetworkConditions:
        return self._proxy.network

    def change(self, network: NetworkConditions) -> None:
        """Be another network from now on, for what is connected, too."""
        self._proxy.network = network

    def pause(self, seconds: float) -> None:
        """Let nothing pass for a while; then all goes on that was on its way."""
        self._go_on()
        self._proxy.pause()
        self._go_on_in(seconds)

    def unplug(self, seconds: float) -> None:
        """Reset every connection, and let none come to be for a while."""
        self._go_on()
        self._pull()
        self._go_on_in(seconds)

    def end(self) -> None:
        """Be nobody's: whoever is connected is cut off, and nobody else is let in."""
        self._go_on()
        self._pull()

    def touch(self) -> None:
        self._used = self._clock()

    def is_unused(self) -> bool:
        if self._proxy.connected:
            self.touch()
        return self._clock() - self._used > UNUSED_SECONDS

    def _pull(self) -> None:
        self._proxy.plugged = False
        self._proxy.cut()

    def _go_on(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._proxy.plugged = True
        self._proxy.resume()

    def _go_on_in(self, seconds: float) -> None:
        self._later = asyncio.get_running_loop().call_later(seconds, self._go_on)


class ProxyPool:
    """As many bad networks as there are proxies, which are open already; `clock` gives seconds."""

    def __init__(
        self, proxies: Sequence[Proxy], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.ports = [proxy.port for proxy in proxies]
        self._free = list(reversed(proxies))
        self._lent: dict[str, tuple[LeasedProxy, Proxy]] = {}
        for proxy in proxies:
            proxy.plugged = False

    def lend(self, network: NetworkConditions) -> LeasedProxy:
        """Give a network to somebody; raises `Busy` when all are in use."""
        for loan, _ in list(self._lent.values()):
            if loan.is_unused():
                self.take_back(loan.id)
        if not self._free:
            raise Busy("All bad networks are in use; see --networks.", retry_after=10)
        proxy = self._free.pop()
        loan = LeasedProxy(proxy, network, self._clock)
        self._lent[loan.id] = loan, proxy
        return loan

    def find(self, id: str) -> LeasedProxy:
        """Give the network that was lent as `id`; raises `NoNetwork` when it is so no more."""
        if id not in self._lent:
            raise NoNetwork("This network was given back; ask for another.")
        loan, _ = self._lent[id]
        loan.touch()
        return loan

    def take_back(self, id: str) -> None:
        self.find(id).end()
        _, proxy = self._lent.pop(id)
        self._free.append(proxy)
