"""A proxy on its own thread, because the load generator has its own event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Self

from realtime.client.http import Endpoint
from realtime.netem.proxy import Proxy

_START_SECONDS = 10.0


class Relay:
    """Forwards to `url`, changes nothing, and counts bytes; a context manager.

    The thread shares the generator's time, so only bytes are measured through it, not latency.
    """

    def __init__(self, url: str) -> None:
        self._endpoint = Endpoint(url)
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
        async with Proxy(self._endpoint.host, self._endpoint.port) as self.proxy:
            self.url = self.proxy.url.rstrip("/")
            self._ready.set()
            await self._end.wait()
