"""Servers for this folder: monitored, and started for one test, which can exhaust them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.conftest import Servers
from tests.robustness.monitored_server import MonitoredServer

# Makes a server with these options, not started yet.
MakeServer = Callable[..., MonitoredServer]


@pytest.fixture
def make_server(servers: Servers, hub: str) -> MakeServer:
    """Make servers over each hub, without a rate limit unless the test sets one."""
    url = servers.redis.url if hub == "redis" else hub

    def make(*options: str) -> MonitoredServer:
        return MonitoredServer("--hub", url, "--messages-per-second", "0", *options)

    return make


@pytest.fixture(autouse=True)
async def let_connections_close() -> AsyncIterator[None]:
    """Run the event loop once more: it closes an aborted connection in its next iteration."""
    yield
    await asyncio.sleep(0.01)
