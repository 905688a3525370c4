"""Two servers on one Redis of our own, for a test that will do all of them harm."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest
from redis.asyncio import Redis

from benchmarks.clients import request
from tests.brokers.private_redis import PrivateRedis
from tests.server_process import Server

SECONDS = 20

# Begins a server on a hub, and more of them.
Begin = Callable[..., Awaitable[Server]]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    # In a thread, since a relay of ours may be between the server and its hub.
    with ExitStack() as stack:

        async def begin(hub: str, *options: str) -> Server:
            server = Server("--hub", hub, "--messages-per-second", "0", *options)
            return await asyncio.to_thread(stack.enter_context, server)

        yield begin


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture
async def admin(redis: PrivateRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        yield client


async def until_status(server: Server, path: str, status: int) -> None:
    async with asyncio.timeout(SECONDS):
        while (await request(server.url, "GET", path)).status != status:
            await asyncio.sleep(0.02)
