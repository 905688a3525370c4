"""Servers of this folder: watched, and started for one test, since it may leave them tired."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.conftest import Servers
from tests.robustness.monitored_server import WatchedServer

# Makes a server with these options, not started yet.
Watch = Callable[..., WatchedServer]


@pytest.fixture
def watch(servers: Servers, hub: str) -> Watch:
    """Over each hub; nobody here is too fast, unless the test says so."""
    url = servers.redis.url if hub == "redis" else hub

    def make(*options: str) -> WatchedServer:
        return WatchedServer("--hub", url, "--messages-per-second", "0", *options)

    return make


@pytest.fixture(autouse=True)
async def last_words() -> AsyncIterator[None]:
    """An aborted connection is closed by the event loop in its next round, so give it one."""
    yield
    await asyncio.sleep(0.01)
