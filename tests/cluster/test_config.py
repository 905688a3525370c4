"""The configuration of a cluster: contradictions are refused, and each worker gets its share."""

from ipaddress import ip_network

import pytest

from realtime.cluster.config import ClusterConfig
from realtime.limits import Limits
from realtime.server.config import ServerConfig
from tests.cases import each


def test_each_worker_gets_all_that_the_workers_share_and_a_port_of_its_own() -> None:
    shared = ServerConfig(hub="redis://x", key="k", limits=Limits(text_bytes=3))
    # Who guesses the lecturer's key may try every worker, and each counts for itself.
    limits = Limits(text_bytes=3, wrong_keys_per_minute=shared.limits.wrong_keys_per_minute / 2)
    workers = ClusterConfig(shared, workers=2).worker_configs([7001, 7002], master="abc")
    assert workers == [
        ServerConfig(port=port, hub="redis://x", key="k", master="abc", limits=limits)
        for port in (7001, 7002)
    ]


@each(
    ("host", "network"),
    [("127.0.0.1", "127.0.0.1/32"), ("0.0.0.0", "127.0.0.1/32"), ("::", "127.0.0.1/32")],
)
def test_workers_trust_the_nginx_of_their_cluster(host: str, network: str) -> None:
    trusted = ip_network("10.0.0.1")
    shared = ServerConfig(host=host, trust_proxy=(trusted,))
    config = ClusterConfig(shared, workers=1, nginx=("127.0.0.1", 0))
    (worker,) = config.worker_configs([7001], master="")
    assert worker.trust_proxy == (trusted, ip_network(network))


def test_without_an_nginx_workers_trust_no_other_proxy() -> None:
    (worker,) = ClusterConfig(ServerConfig(), workers=1).worker_configs([7001], master="")
    assert worker.trust_proxy == ()


@each(
    ("server", "cluster", "message"),
    [
        ({"port_count": 2}, {}, "a worker has one port"),
        ({"network_count": 1}, {}, "a worker has one port"),
        ({"tls_certificate": "a.pem"}, {"nginx": ("", 0)}, "give the certificate to nginx"),
        ({"host": "localhost"}, {"nginx": ("", 0)}, "give --host an IP address"),
        ({}, {"base_port": 65535}, "no port follows 65535"),
    ],
)
def test_a_contradiction_is_refused(
    server: dict[str, object], cluster: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterConfig(ServerConfig(**server), workers=2, **cluster)  # type: ignore[arg-type]
