"""Addresses of the three topologies; test_promises.py tests the servers behind them."""

from typing import Any

import pytest

from realtime.brokers.redis.topology import (
    SCHEMES,
    SentinelManaged,
    ShardedCluster,
    Standalone,
    parse_topology,
)
from tests.cases import each


@each("scheme", SCHEMES)
async def test_every_scheme_is_parsed(scheme: str) -> None:
    topology = parse_topology(f"{scheme}://h/name" if "sentinel" in scheme else f"{scheme}://h")
    expected = {"sentinel": SentinelManaged, "cluster": ShardedCluster}.get(
        scheme.partition("+")[2], Standalone
    )
    assert type(topology) is expected
    await topology.close()


SENTINELS = [("a", 26379), ("b", 2), ("::1", 3)]


@each(
    ("address", "hosts", "expected"),
    [
        ("redis+sentinel://a,b:2,[::1]:3/chat", SENTINELS, {}),
        ("redis+sentinel://:pw@a,b:2,[::1]:3/chat/4", SENTINELS, {"password": "pw", "db": 4}),
        ("redis+sentinel://u:p%40w@a/chat", SENTINELS[:1], {"username": "u", "password": "p@w"}),
        ("redis+sentinel://a/chat?health_check_interval=3", SENTINELS[:1], {}),
    ],
)
async def test_credentials_are_for_the_master_and_not_for_the_sentinels(
    address: str, hosts: list[tuple[str, int]], expected: dict[str, Any]
) -> None:
    topology = parse_topology(address)
    assert isinstance(topology, SentinelManaged)
    options = [
        sentinel.connection_pool.connection_kwargs for sentinel in topology.sentinel.sentinels
    ]
    assert [(one["host"], one["port"]) for one in options] == hosts
    assert all(one.get("password") is None for one in options)
    connection: Any = topology.connect("h:1")
    assert {name: getattr(connection, name) for name in expected} == expected
    await topology.close()


async def test_sentinels_may_have_their_own_password() -> None:
    topology = parse_topology("redis+sentinel://:theirs@a/chat?sentinel_password=own")
    assert isinstance(topology, SentinelManaged)
    (sentinel,) = topology.sentinel.sentinels
    assert sentinel.connection_pool.connection_kwargs["password"] == "own"
    assert topology.connect("h:1").password == "theirs"  # type: ignore[attr-defined]
    await topology.close()


async def test_the_options_of_a_cluster_apply_to_each_node() -> None:
    topology = parse_topology("rediss+cluster://u:pw@a,b:2?ssl_cert_reqs=none")
    for host, port in (("a", 6379), ("elsewhere", 7)):
        connection: Any = topology.connect(f"{host}:{port}")
        assert (connection.host, connection.port) == (host, port)
        assert (connection.username, connection.password) == ("u", "pw")
        assert type(connection).__name__ == "SSLConnection"
        assert connection.retry.get_retries() == 0
    await topology.close()


@each(
    "address",
    [
        "redis://h?strange=1",
        "redis://h/database",
        "rediss://h/-1",
        "redis+sentinel://h",
        "redis+sentinel:///chat",
        "redis+sentinel://h:port/chat",
        "redis+sentinel://h/chat/database",
        "redis+sentinel://h/chat?strange=1",
        "redis+sentinel://h/chat?ssl_strange=1",
        "redis+cluster://",
        "redis+cluster://h/1",
        "redis+cluster://h,,i",
        "redis+cluster://h?strange=1",
    ],
)
async def test_an_invalid_address_is_an_error_at_once(address: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_topology(address)
