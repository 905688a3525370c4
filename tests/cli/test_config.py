"""Options and environment become one `ServerConfig`; wrong ones are refused, with exit status 2."""

import dataclasses
import re
from ipaddress import ip_network

import pytest

from realtime.cli.config import CommandError
from realtime.cli.main import parse
from realtime.limits import Limits
from realtime.server.config import ServerConfig
from tests.cases import each
from tests.cli.command_line import run


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REALTIME_HUB", "REALTIME_KEY"):
        monkeypatch.delenv(name, raising=False)


def config_of(*arguments: str) -> ServerConfig:
    config: ServerConfig = parse(arguments).config
    return config


def test_without_options_every_field_has_its_default() -> None:
    config = config_of()
    assert config == ServerConfig(key=config.key)


@each(
    ("words", "mode"),
    [
        ("", "open"),
        ("--host localhost", "open"),
        ("--host ::1", "open"),
        ("--host 0.0.0.0", "class"),
        ("--host ::", "class"),
        ("--host 192.168.1.7", "class"),
        ("--host lab.example.org", "class"),
        ("--trust-proxy 10.0.0.1", "class"),
        ("--allow-host chat.example.org", "class"),
        ("--host 0.0.0.0 --access open", "open"),
        ("--access class", "class"),
    ],
)
def test_the_access_mode_is_by_default_that_of_who_can_connect(words: str, mode: str) -> None:
    assert config_of(*words.split()).access == mode


def test_each_option_sets_its_field() -> None:
    options = {
        "--host": "::1",
        "--port": "0",
        "--lanes": "6",
        "--tls-certificate": "cert.pem",
        "--tls-key": "key.pem",
        "--hub": "memory",
        "--prefix": "lab-2",
        "--allow-host": "chat.example",
        "--trust-proxy": "10.0.0.0/8",
        "--key": "secret",
        "--access": "tickets",
        "--ticket-keys": "/keys.json",
        "--networks": "8",
        "--sockjs-also": "jsonp",
        "--root-path": "/school/chat/",
        "--loop": "asyncio",
        "--text-bytes": "3",
        "--drain-seconds": "0.5",
    }
    arguments = [word for pair in options.items() for word in pair]
    assert config_of(*arguments, "--allow-host", "other.example") == ServerConfig(
        host="::1",
        port=0,
        port_count=6,
        tls_certificate="cert.pem",
        tls_key="key.pem",
        hub="memory",
        prefix="lab-2",
        allow_host=("chat.example", "other.example"),
        trust_proxy=(ip_network("10.0.0.0/8"),),
        root_path="/school/chat",
        key="secret",
        access="tickets",
        ticket_keys="/keys.json",
        network_count=8,
        sockjs_also=("jsonp",),
        loop="asyncio",
        limits=Limits(text_bytes=3, drain_seconds=0.5),
    )


def test_every_limit_is_an_option() -> None:
    for limit in Limits.named():
        option = "--" + limit.name.replace("_", "-")
        limits = config_of(option, str(limit.default + 1)).limits
        assert limits == dataclasses.replace(Limits(), **{limit.name: limit.default + 1})


def test_each_server_makes_a_key_of_its_own() -> None:
    assert len({config_of().key for _ in range(10)}) == 10


def test_hub_and_key_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_HUB", "memory")
    monkeypatch.setenv("REALTIME_KEY", "secret")
    config = config_of()
    assert (config.hub, config.key) == ("memory", "secret")


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="at least 6 characters"):
        config_of("--key", "1234")
    monkeypatch.setenv("REALTIME_KEY", "12345")
    with pytest.raises(CommandError, match="REALTIME_KEY"):
        config_of()


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_HUB", "memory")
    monkeypatch.setenv("REALTIME_KEY", "secret")
    config = config_of("--hub", "spawn", "--key", "another")
    assert (config.hub, config.key) == ("spawn", "another")


@each(
    ("arguments", "message"),
    [
        (["--port", "70000"], "argument --port: a port is a number from 0 to 65535"),
        (["--port", "x"], "argument --port: a port is a number from 0 to 65535"),
        (["--lanes", "0"], "argument --lanes: must be a whole number above 0"),
        (["--networks", "-1"], "argument --networks: must be a whole number above 0"),
        (["--networks", "70000"], "argument --networks: must be at most 1000: each needs a port"),
        (["--text-bytes", "0"], "argument --text-bytes: must be a whole number above 0"),
        (["--text-bytes", "1.5"], "argument --text-bytes: must be a whole number above 0"),
        (["--messages-per-second", "-1"], "argument --messages-per-second: must be a number from"),
        (["--lease-seconds", "nan"], "argument --lease-seconds: must be a number from"),
        (["--heartbeat-seconds", "0"], "argument --heartbeat-seconds: must be a number, at least"),
        (["--trust-proxy", "nginx"], "argument --trust-proxy: 'nginx' does not appear to be"),
        (["--prefix", "a:b"], "argument --prefix: a prefix has 1 to 32 letters"),
        (["--loop", "trio"], "argument --loop: invalid choice: 'trio'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["serve"], "invalid choice: 'serve'"),
    ],
)
def test_a_wrong_option_is_named_with_exit_status_2(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]


@each("command", [[], ["cluster"]])
def test_every_option_stands_in_a_named_group_of_the_help(command: list[str]) -> None:
    shown = run(*command, "--help").stdout
    groups: dict[str, set[str]] = {}
    for line in shown.splitlines():
        if title := re.fullmatch(r"(\w.*):", line):
            options = groups.setdefault(title[1], set())
        elif option := re.match(r"  (?:-h, )?(--[\w-]+)", line):
            options.add(option[1])
    assert groups["options"] == {"--help"}
    in_groups = set().union(*groups.values())
    limits = {"--" + limit.name.replace("_", "-") for limit in Limits.named()}
    assert limits | {"--host", "--hub", "--key", "--trust-proxy", "--help"} <= in_groups
    assert len(groups) >= 8
