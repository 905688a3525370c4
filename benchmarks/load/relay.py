"""A proxy on a thread of its own, beside a load generator that has a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from typing import Self

from benchmarks.clients.http import Server
from realtime.netem.proxy import Proxy

_START_SECONDS = 10.0


class Relay:
    """Stands before `url`, adds nothing, and counts; a context manager.

    The thread takes its share of the generator's time, so what is measured through it is bytes.
    """

    def __init__(self, url: str) -> None:
        self._server = Server(url)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._stand()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise OSError("the relay did not begin")
        return self

    def __exit__(self, *error: object) -> None:
        self.call(self._end.set)
        self._thread.join(_START_SECONDS)

    def call(self, function: Callable[[], object]) -> None:
        """Let the thread call something, say ``relay.proxy.cut``, as soon as it can."""
        self._loop.call_soon_threadsafe(function)

    async def _stand(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with Proxy(self._server.host, self._server.port) as self.proxy:
            self.url = self.proxy.url.rstrip("/")
            self._ready.set()
            await self._end.wait()
