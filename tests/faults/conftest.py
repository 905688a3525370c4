"""Servers and a private Redis for tests that break them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest
from redis.asyncio import Redis

from realtime.client import request
from tests.brokers.private_redis import PrivateRedis
from tests.server_process import Server

SECONDS = 20


class ServerPool:
    """Servers that stop with the pool; several start at once, which saves their start-up time."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    async def start(self, hub: str, count: int, *options: str) -> list[Server]:
        """Start `count` servers; in threads, since a relay to their hub may run in this loop."""
        servers = [
            Server("--hub", hub, "--messages-per-second", "0", *options) for _ in range(count)
        ]
        entering = (asyncio.to_thread(server.__enter__) for server in servers)
        results = await asyncio.gather(*entering, return_exceptions=True)
        for server, result in zip(servers, results, strict=True):
            if not isinstance(result, BaseException):
                self._stack.push(server)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return servers


# Starts servers: the address of the hub, how many, and their options.
Start = Callable[..., Awaitable[list[Server]]]


@pytest.fixture
def start_servers() -> Iterator[Start]:
    with ExitStack() as stack:
        yield ServerPool(stack).start


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture
async def admin(redis: PrivateRedis) -> AsyncIterator[Redis]:
    """A client for administration commands."""
    async with Redis.from_url(redis.url) as client:
        yield client


async def until_status(url: str, path: str, status: int) -> None:
    async with asyncio.timeout(SECONDS):
        while (await request(url, "GET", path)).status != status:
            await asyncio.sleep(0.02)
