"""A configuration survives its way to a worker, whatever is in it."""

import dataclasses
from ipaddress import ip_network

import pytest

from realtime.limits import Limits
from realtime.server.config import ServerConfig
from tests.cases import each

# Every field has another value than its default.
OTHER = ServerConfig(
    host="::1",
    port=6001,
    port_count=6,
    tls_certificate="/etc/chain.pem",
    tls_key="/etc/key.pem",
    prefix="lab",
    hub="redis+sentinel://:sécret@[fd00::1]/NAME",
    allow_host=("chat.example", "聊天室.example"),
    trust_proxy=(ip_network("10.0.0.0/8"), ip_network("fd00::1/128")),
    root_path="/chat",
    webtransport=False,
    webtransport_port=8443,
    key='"\\\n',
    plan='{"steps": []}',
    access="tickets",
    ticket_keys="/etc/tickets.jwks",
    network_count=8,
    sockjs_also=("htmlfile", "jsonp"),
    loop="asyncio",
    master="abc",
    fault_controls=True,
    page_ports=(6100, 8080),
    limits=Limits(**{limit.name: limit.default + 1 for limit in Limits.named()}),
)


def test_the_example_changes_every_field_from_its_default() -> None:
    default = ServerConfig()
    for field in dataclasses.fields(ServerConfig):
        assert getattr(OTHER, field.name) != getattr(default, field.name), field.name
    for limit in Limits.named():
        assert getattr(OTHER.limits, limit.name) != limit.default, limit.name


@each("config", [ServerConfig(), OTHER])
def test_what_was_written_as_json_is_read_back_equal(config: ServerConfig) -> None:
    again = ServerConfig.from_json(config.to_json())
    assert again == config
    assert [type(value) for value in dataclasses.astuple(again)] == [
        type(value) for value in dataclasses.astuple(config)
    ]


def test_a_configuration_can_be_compared_and_kept_as_a_key() -> None:
    assert len({OTHER, ServerConfig.from_json(OTHER.to_json())}) == 1


@each("text", ["", "null", "[]", "{}", '{"limits": {"text_bytes": 1}}', "\x00"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of json, or ours
        ServerConfig.from_json(text)
