"""A proxy on its own thread, because the load generator has its own event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

from realtime.client.http import Endpoint
from realtime.netem.proxy import Proxy
from realtime.server.sockets import open_pair

_START_SECONDS = 10.0


class Relay:
    """Forwards to `url`, and to a UDP port of its host; changes nothing, and counts bytes.

    A context manager.

    The thread shares the generator's time, so only bytes are measured through it, not latency.
    """

    def __init__(self, url: str, udp_port: int | None = None) -> None:
        self._endpoint = Endpoint(url)
        self._udp_port = udp_port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise OSError("the relay did not start")
        return self

    def __exit__(self, *error: object) -> None:
        self.call(self._end.set)
        self._thread.join(_START_SECONDS)

    def call(self, function: Callable[[], object]) -> None:
        """Call something on the thread, such as ``relay.proxy.reset_connections``."""
        self._loop.call_soon_threadsafe(function)

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        host = self._endpoint.host
        options: dict[str, Any] = {}
        if self._udp_port is not None:
            listeners, datagram_sockets = open_pair(0, "127.0.0.1")
            options = {
                **{"listeners": listeners, "datagram_sockets": datagram_sockets},
                "udp_target": (host, self._udp_port),
            }
        async with Proxy(host, self._endpoint.port, **options) as self.proxy:
            self.url = self.proxy.url.rstrip("/")
            self._ready.set()
            await self._end.wait()
