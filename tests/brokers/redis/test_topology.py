"""Addresses of one server and of several; what is behind them is in test_promises.py."""

from typing import Any

import pytest

from realtime.brokers.redis.topology import SCHEMES, One, Sharded, Watched, servers_at


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_scheme_is_read(scheme: str) -> None:
    servers = servers_at(
        f"{scheme}://localhost/name".replace("cluster://localhost/name", "cluster://h")
    )
    kind = {"sentinel": Watched, "cluster": Sharded}.get(scheme.partition("+")[2], One)
    assert type(servers) is kind
    await servers.close()


SENTINELS = [("a", 26379), ("b", 2), ("::1", 3)]


@pytest.mark.parametrize(
    ("address", "hosts", "expected"),
    [
        ("redis+sentinel://a,b:2,[::1]:3/chat", SENTINELS, {}),
        ("redis+sentinel://:pw@a,b:2,[::1]:3/chat/4", SENTINELS, {"password": "pw", "db": 4}),
        ("redis+sentinel://u:p%40w@a/chat", SENTINELS[:1], {"username": "u", "password": "p@w"}),
        ("redis+sentinel://a/chat?health_check_interval=3", SENTINELS[:1], {}),
    ],
)
async def test_sentinels_and_what_is_said_to_the_server_they_name(
    address: str, hosts: list[tuple[str, int]], expected: dict[str, Any]
) -> None:
    servers = servers_at(address)
    assert isinstance(servers, Watched)
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in servers.sentinel.sentinels]
    assert [(one["host"], one["port"]) for one in asked] == hosts
    assert all(one.get("password") is None for one in asked)
    connection: Any = servers.connect("h:1")
    assert {name: getattr(connection, name) for name in expected} == expected
    await servers.close()


async def test_sentinels_have_a_password_of_their_own() -> None:
    servers = servers_at("redis+sentinel://:theirs@a/chat?sentinel_password=own")
    assert isinstance(servers, Watched)
    (sentinel,) = servers.sentinel.sentinels
    assert sentinel.connection_pool.connection_kwargs["password"] == "own"
    assert servers.connect("h:1").password == "theirs"  # type: ignore[attr-defined]
    await servers.close()


async def test_what_is_said_of_a_cluster_is_said_to_each_of_it() -> None:
    servers = servers_at("rediss+cluster://u:pw@a,b:2?ssl_cert_reqs=none")
    for host, port in (("a", 6379), ("elsewhere", 7)):
        connection: Any = servers.connect(f"{host}:{port}")
        assert (connection.host, connection.port) == (host, port)
        assert (connection.username, connection.password) == ("u", "pw")
        assert type(connection).__name__ == "SSLConnection"
        assert connection.retry.get_retries() == 0
    await servers.close()


@pytest.mark.parametrize(
    "address",
    [
        "redis://h?strange=1",
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
async def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        servers_at(address)
