"""Where WebTransport cannot be had, the server starts without it and says why."""

import socket
import sys

import pytest

from realtime.client import ALL_CLIENTS, Refused, get_json
from realtime.server import sockets
from realtime.server.config import ServerConfig
from realtime.server.quic import start
from realtime.server.sockets import BoundSockets, close_listeners, port_of
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.readers import reader, say, take, texts


def test_it_has_the_number_of_the_tcp_port_or_another_one() -> None:
    for config in (ServerConfig(), ServerConfig(webtransport_port=0)):
        udp = start.open_udp_port(config, 0)
        assert udp.reason == ""
        assert port_of(udp.sockets) > 0
        close_listeners([udp.sockets])


def test_it_can_be_switched_off() -> None:
    assert start.open_udp_port(ServerConfig(webtransport=False), 0) == start.UDPPort(
        reason="disabled"
    )


def test_a_port_in_use_is_the_reason(servers: Servers) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        udp = start.open_udp_port(ServerConfig(), taken.getsockname()[1])
    assert (udp.sockets, udp.reason) == ((), "port_in_use")
    assert "in use" in udp.text


def test_a_free_port_is_free_in_tcp_and_in_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = []

    def open_listeners(config: ServerConfig) -> list[BoundSockets]:
        """Open a port, which another program is faster to use in UDP, the first time."""
        listeners = sockets.open_listeners(config)
        ports.append(port_of(listeners[0]))
        if len(ports) == 1:
            taken.bind(("127.0.0.1", ports[0]))
        return listeners

    monkeypatch.setattr(start, "open_listeners", open_listeners)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        listeners, udp = start.open_ports(ServerConfig(port=0))
        in_use, port = ports
        assert port_of(listeners[0]) == port_of(udp.sockets) == port
        close_listeners([*listeners, udp.sockets])
        with socket.socket() as free:  # nothing is left of the first try
            free.bind(("127.0.0.1", in_use))
        # A port that was chosen stays, and the reason is known.
        listeners, udp = start.open_ports(ServerConfig(port=in_use))
        assert (port_of(listeners[0]), udp.reason) == (in_use, "port_in_use")
        close_listeners(listeners)


def test_a_missing_package_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "realtime.server.quic.listener", raising=False)
    monkeypatch.setitem(sys.modules, "aioquic.buffer", None)  # as if it were not there
    udp = start.open_udp_port(ServerConfig(), 0)
    assert udp.reason == "not_installed"
    assert "realtime-transports[webtransport]" in udp.text
    assert start.make_listener(udp) is None
    assert start.make_offer(udp, None).describe() == {"reason": "not_installed"}


async def test_a_server_without_it_serves_all_others_and_says_why(
    servers: Servers, room: str
) -> None:
    with Server("--hub", "memory", "--no-webtransport") as server:
        assert (await get_json(server.url, "/lab"))["webtransport"] == {"reason": "disabled"}
        async with reader(server, "sse", room) as client:
            await say(client, "hello")
            assert texts(await take(client, 1)) == ["hello"]
        with pytest.raises(Refused, match="disabled") as refused:
            await ALL_CLIENTS["webtransport"](server.url, room).open()
        assert refused.value.code == "no_webtransport"


async def test_the_lab_lists_the_port_and_the_hash_of_the_certificate(server: Server) -> None:
    offer = (await get_json(server.url, "/lab"))["webtransport"]
    assert offer["port"] == server.port
    (digest,) = offer["hashes"]
    assert len(digest) == 44  # 32 bytes in base64
