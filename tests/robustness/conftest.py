"""Servers for this folder: monitored, and started for one test or for the tests of a module."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

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


class SharedServers:
    """Servers over memory that the tests of one module share: one for each set of options.

    If a test breaks its server, the next one fails.  The logs are checked after each test, and at
    the end of the module.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[tuple[str, ...], MonitoredServer] = {}

    def get(self, *options: str) -> MonitoredServer:
        if options not in self._running:
            server = MonitoredServer("--hub", "memory", *options)
            self._running[options] = self._stack.enter_context(server)
        return self._running[options]

    def check_logs(self) -> None:
        for server in self._running.values():
            server.check_log()


@pytest.fixture(scope="module")
def shared_servers() -> Iterator[SharedServers]:
    with ExitStack() as stack:
        yield SharedServers(stack)


@pytest.fixture(autouse=True)
async def let_connections_close(shared_servers: SharedServers) -> AsyncIterator[None]:
    """Run the event loop once more: it closes an aborted connection in its next iteration."""
    yield
    await asyncio.sleep(0.01)
    shared_servers.check_logs()
