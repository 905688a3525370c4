"""The `servers` of these tests are each an nginx with two workers behind it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Redis
from tests.nginx_fixture import Fleet


class Fleets:
    """Where a test asks for a server with some options, it gets an nginx with two such workers."""

    def __init__(self, stack: ExitStack, redis: Redis) -> None:
        self._stack = stack
        self._redis = redis
        self._running: dict[tuple[object, ...], Fleet] = {}

    def get(self, hub: str, *options: str, copy: int = 0) -> Fleet:
        """Return the fleet for these options; a `copy` is the same, since it has two workers."""
        key = (hub == "buffering", *options)
        if key not in self._running:
            fleet = Fleet(
                self._redis.url, *options, routing="session", buffering=hub == "buffering"
            )
            self._running[key] = self._stack.enter_context(fleet)
        return self._running[key]


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


@pytest.fixture(scope="session")
def servers(redis: Redis) -> Iterator[Fleets]:
    with ExitStack() as stack:
        yield Fleets(stack, redis)
