"""Where a server listens: extra ports, and the URLs that others use."""

import asyncio
import contextlib
import selectors
import socket
import threading
import time
from dataclasses import replace

import pytest

from realtime.server import sockets
from realtime.server.config import ServerConfig
from tests.cases import each
from tests.conftest import missing
from tests.ports import free_port

CONFIG = ServerConfig(port=0)


def test_extra_ports_are_the_next_ones_where_these_are_free() -> None:
    listeners = sockets.open_listeners(replace(CONFIG, port_count=3))
    first, second, third = map(sockets.port_of, listeners)
    sockets.close_listeners([listeners[0], listeners[2]])
    again = sockets.open_listeners(replace(CONFIG, port=first, port_count=3))
    ports = list(map(sockets.port_of, again))
    sockets.close_listeners([listeners[1], *again])
    assert len({first, second, third}) == 3
    assert ports[0] == first
    assert second not in ports
    assert len(set(ports)) == 3


def test_after_the_last_port_extra_ports_are_free_ones() -> None:
    listeners = sockets.open_listeners(replace(CONFIG, port=65535, port_count=2))
    ports = list(map(sockets.port_of, listeners))
    sockets.close_listeners(listeners)
    assert ports[0] == 65535
    assert 0 < ports[1] < 65535


@each("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_other_machines_cannot_reach_a_loopback_address(host: str) -> None:
    assert sockets.lan_urls(replace(CONFIG, host=host), 8000) == ()


@each(
    ("host", "url"),
    [
        ("192.0.2.7", "http://192.0.2.7:8000/"),
        ("2001:db8::7", "http://[2001:db8::7]:8000/"),
        ("chat.example", "http://chat.example:8000/"),
    ],
)
def test_other_machines_reach_it_at_its_own_address(host: str, url: str) -> None:
    assert sockets.lan_urls(replace(CONFIG, host=host), 8000) == (url,)


def test_a_server_on_all_addresses_shows_one_of_this_machine() -> None:
    for url in sockets.lan_urls(replace(CONFIG, host="0.0.0.0"), 8000):
        host = url.removeprefix("http://").removesuffix(":8000/")
        with socket.socket() as probe:
            probe.bind((host, 0))  # only an address of this machine allows this


def test_with_a_certificate_the_url_is_https() -> None:
    config = replace(CONFIG, host="192.0.2.7", tls_certificate="some.pem")
    assert sockets.lan_urls(config, 443) == ("https://192.0.2.7:443/",)


@each(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://127.0.0.1:8000/"),
        ("192.0.2.7", "http://192.0.2.7:8000/"),
    ],
)
def test_a_browser_on_this_machine_gets_an_address_that_it_can_open(host: str, url: str) -> None:
    assert sockets.local_url(replace(CONFIG, host=host), 8000) == url


def test_all_addresses_are_those_of_both_families() -> None:
    if not socket.has_ipv6:
        missing("IPv6")
    listeners = sockets.open_port(0, "::")
    port = sockets.port_of(listeners)
    assert {one.getsockname()[1] for one in listeners} == {port}
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port)).close()
    sockets.close_listeners([listeners])


@each("option", ["--port", "--status-port"])
def test_a_port_in_use_is_named_with_its_option(option: str) -> None:
    taken = sockets.open_port(0, "127.0.0.1")
    port = sockets.port_of(taken)
    with pytest.raises(OSError, match=rf"127.0.0.1:{port} \({option} {port}\): .* in use"):
        sockets.open_port(port, "127.0.0.1", option)
    sockets.close_listeners([taken])


def test_a_host_name_that_no_name_server_knows_is_reported_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "_LOOKUP_SECONDS", 0.01)
    ended = threading.Event()

    def getaddrinfo(*arguments: object, **options: object) -> None:
        ended.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    expected = r"chat.example:1 \(--host chat.example\): no name server answered"
    with pytest.raises(OSError, match=expected):
        sockets.open_port(1, "chat.example")
    ended.set()


@each("host", ["nosuch.invalid", "192.0.2.1", "2001:db8::1"])
def test_a_host_that_is_not_this_machine_is_named_with_its_option(host: str) -> None:
    with pytest.raises(OSError, match=rf"\(--status-host {host}\): "):
        sockets.open_port(0, host, "--status-port")


async def test_the_full_name_of_this_machine_is_found_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "box.example.org")
    names: asyncio.Queue[str] = asyncio.Queue()
    sockets.find_full_name(names.put_nowait)
    async with asyncio.timeout(10):
        assert await names.get() == "box.example.org"


@each(
    ("host", "can"),
    [("127.0.0.1", True), ("::", True), ("localhost", True), ("::1", False), ("fe80::1", False)],
)
def test_a_policy_cannot_name_the_ports_of_an_ipv6_address(host: str, can: bool) -> None:
    assert sockets.can_name_ports(replace(CONFIG, host=host)) is can


# --- TCP and UDP at one port ---------------------------------------------------------------------


def addresses(opened: sockets.BoundSockets) -> set[tuple[str, int]]:
    return {one.getsockname()[:2] for one in opened}


@each("host", ["127.0.0.1", "0.0.0.0", "localhost", "::"])
def test_a_pair_has_the_same_port_in_both_protocols_and_localhost_in_both_families(
    host: str,
) -> None:
    tcp, udp = sockets.open_pair(0, host)
    with contextlib.ExitStack() as stack:
        for one in (*tcp, *udp):
            stack.enter_context(one)
        port = sockets.port_of(tcp)
        assert {one.type for one in udp} == {socket.SOCK_DGRAM}
        assert addresses(tcp) <= addresses(udp)
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            client.sendto(address.encode(), (address, port))
        received = {one.recv(100) for one in readable(udp, 2)}
        assert received == {b"127.0.0.1", b"::1"}


def readable(opened: sockets.BoundSockets, count: int) -> list[socket.socket]:
    """Wait until `count` of the sockets have received something."""
    with selectors.DefaultSelector() as selector:
        for one in opened:
            selector.register(one, selectors.EVENT_READ)
        found: dict[int, socket.socket] = {}
        deadline = time.monotonic() + 10
        while len(found) < count and time.monotonic() < deadline:
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                found[key.fd] = key.fileobj
    return list(found.values())


def test_where_udp_is_taken_a_pair_is_elsewhere() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port()  # in TCP
        taken.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match=rf"127.0.0.1:{port} \(UDP, --port {port}\): .*in use"):
            sockets.open_pair(port, "127.0.0.1")
        tcp, udp = sockets.open_pair_or_free(port, "127.0.0.1")
    assert sockets.port_of(tcp) == sockets.port_of(udp) != port
    sockets.close_listeners([tcp, udp])
