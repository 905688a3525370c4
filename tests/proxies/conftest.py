"""The `servers` of these tests are each a proxy with two workers behind it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Redis
from tests.haproxy_fixture import HAProxy
from tests.nginx_fixture import Fleet, Nginx
from tests.proxy_fixture import ReverseProxy

# The proxies whose configuration we print.
KINDS: dict[str, type[ReverseProxy]] = {"nginx": Nginx, "haproxy": HAProxy}


class Fleets:
    """Where a test asks for a server with some options, it gets a proxy with two such workers.

    Its hub is the name of the proxy; ``buffering`` is nginx with `proxy_buffering on`.
    """

    def __init__(self, stack: ExitStack, redis: Redis) -> None:
        self._stack = stack
        self._redis = redis
        self._running: dict[tuple[object, ...], Fleet] = {}

    def get(self, hub: str, *options: str, copy: int = 0) -> Fleet:
        """Return the fleet for these options; a `copy` is the same, since it has two workers."""
        key = (hub, *options)
        if key not in self._running:
            proxy = {"buffering": True} if hub == "buffering" else {}
            kind = KINDS.get(hub, Nginx)
            fleet = Fleet(self._redis.url, *options, kind=kind, routing="session", **proxy)
            self._running[key] = self._stack.enter_context(fleet)
        return self._running[key]


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


@pytest.fixture(scope="module")
def servers(redis: Redis) -> Iterator[Fleets]:
    with ExitStack() as stack:
        yield Fleets(stack, redis)


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> type[ReverseProxy]:
    """Each proxy whose configuration we print."""
    return KINDS[request.param]
