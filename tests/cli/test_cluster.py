"""The options of `realtime cluster`: for the master, for the workers, and what is refused."""

import re
import socket
from ipaddress import ip_network

import pytest

from realtime.cli.main import parse
from realtime.cluster.config import ClusterConfig
from realtime.limits import Limits
from tests.cli.command_line import run
from tests.conftest import Servers
from tests.server_process import ROOT

DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def config_of(*arguments: str) -> ClusterConfig:
    config: ClusterConfig = parse(["cluster", *arguments]).config
    return config


def test_its_own_options_are_for_the_master_and_the_others_for_the_workers() -> None:
    own = ["--workers", "3", "--base-port", "7001", "--status-host", "::1", "--status-port", "0"]
    own += ["--nginx", "[::1]:8080", "--routing", "address"]
    shared = [
        "--host",
        "127.0.0.2",
        "--hub",
        "redis://x",
        "--key",
        "lecturer",
        "--trust-proxy",
        "10.0.0.1",
    ]
    shared += ["--allow-host", "chat.example", "--text-bytes", "3", "--loop", "asyncio"]
    config = config_of(*own, *shared)
    server = config.server
    assert config == ClusterConfig(
        server, 3, 7001, "::1", 0, nginx=("::1", 8080), routing="address"
    )
    assert (server.host, server.hub, server.key) == ("127.0.0.2", "redis://x", "lecturer")
    assert (server.allow_host, server.loop) == (("chat.example",), "asyncio")
    assert server.trust_proxy == (ip_network("10.0.0.1"),)
    assert server.limits == Limits(text_bytes=3)


def test_a_cluster_starts_a_redis_of_its_own_unless_there_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REALTIME_HUB", raising=False)
    assert config_of().server.hub == "spawn"
    monkeypatch.setenv("REALTIME_HUB", "redis://x")
    assert config_of().server.hub == "redis://x"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--text-bytes", "0"], 2, "--text-bytes: must be a whole number above 0"),
        (["--nonsense", "7"], 2, "unrecognized arguments: --nonsense 7"),
        (["--workers", "0"], 2, "--workers: must be a whole number above 0"),
        (["--lanes", "6"], 2, "a worker has one port"),
        (["--networks", "6"], 2, "a worker has one port"),
        (["--port", "8000"], 2, "use --base-port"),
        (["talk"], 2, "unrecognized arguments: talk"),
        (["--tls-certificate", "a.pem", "--nginx", "0"], 2, "give the certificate to nginx"),
        (["--host", "localhost", "--nginx", "0"], 2, "give --host an IP address"),
        (["--nginx", "localhost:x"], 2, "--nginx: a port is a number"),
        (["--base-port", "65530", "--workers", "8"], 2, "no port follows 65535"),
        (["--hub", "memory"], 1, "each worker would have a chat of its own"),
        (["--hub", "http://:secret@x"], 1, "--hub must be "),
        (["--host", "nosuch.invalid"], 1, "(--host nosuch.invalid)"),
        (["--access", "tickets", "--ticket-keys", "nowhere"], 1, "--ticket-keys: [Errno 2]"),
        (["--tls-certificate", "nowhere.pem"], 1, "--tls-certificate, --tls-key: [Errno 2]"),
    ],
)
def test_what_would_stop_every_worker_is_reported_once(
    options: list[str], status: int, message: str
) -> None:
    result = run("cluster", "--status-port", "0", *options)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr.splitlines()[-1]
    assert "secret" not in result.stderr


def test_options_before_the_command_are_not_ignored() -> None:
    result = run("--hub", "spawn", "cluster", "--status-port", "0")
    assert result.returncode == 2
    assert "after the word `cluster`" in result.stderr


@pytest.mark.parametrize("option", ["--status-port", "--nginx"])
def test_a_port_in_use_is_one_line_and_exit_1(servers: Servers, option: str) -> None:
    others = ["--hub", servers.redis.url, "--base-port", "0", "--status-port", "0"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("cluster", *others, option, port)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"({option} {port}): Address already in use" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        *re.findall(r"^    realtime (cluster .+)", DEPLOY, re.M),
        *re.findall(r"realtime (cluster (?:[^`\n]|\\\n)+\S)$", DEPLOY.replace("\\\n", ""), re.M),
    ],
)
def test_the_commands_in_the_docs_are_understood(command: str) -> None:
    parse(command.split())
