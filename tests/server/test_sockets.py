"""Where a server listens: lanes, networks, and the addresses that it tells others."""

import argparse
import asyncio
import socket
from collections.abc import Sequence

import pytest

from benchmarks.clients import get_json
from realtime.server import sockets
from tests.server_process import Server


def options(**values: object) -> argparse.Namespace:
    usual = {"host": "127.0.0.1", "port": 0, "lanes": 1, "networks": 0}
    secured = {"tls_certificate": None, "tls_key": None, "allow_host": []}
    return argparse.Namespace(**{**usual, **secured, **values})


def close(lanes: Sequence[sockets.BoundSockets]) -> None:
    for lane in lanes:
        for one in lane:
            one.close()


def test_lanes_are_the_next_ports_where_these_are_free() -> None:
    lanes = sockets.open_listeners(options(lanes=3))
    first, second, third = map(sockets.port_of, lanes)
    close([lanes[0], lanes[2]])
    again = sockets.open_listeners(options(port=first, lanes=3))
    ports = list(map(sockets.port_of, again))
    close([lanes[1], *again])
    assert len({first, second, third}) == 3
    assert ports[0] == first
    assert second not in ports
    assert len(set(ports)) == 3


def test_lanes_past_the_last_port_are_others() -> None:
    lanes = sockets.open_listeners(options(port=65535, lanes=2))
    ports = list(map(sockets.port_of, lanes))
    close(lanes)
    assert ports[0] == 65535
    assert 0 < ports[1] < 65535


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_who_listens_on_this_machine_alone_is_not_reached_by_others(host: str) -> None:
    assert sockets.reachable(options(host=host), 8000) == ()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("192.0.2.7", "http://192.0.2.7:8000/"),
        ("2001:db8::7", "http://[2001:db8::7]:8000/"),
        ("chat.example", "http://chat.example:8000/"),
    ],
)
def test_others_reach_it_where_it_listens(host: str, url: str) -> None:
    assert sockets.reachable(options(host=host), 8000) == (url,)


def test_who_listens_everywhere_tells_an_address_of_this_machine() -> None:
    for url in sockets.reachable(options(host="0.0.0.0"), 8000):
        host = url.removeprefix("http://").removesuffix(":8000/")
        with socket.socket() as probe:
            probe.bind((host, 0))  # which only an address of ours allows


def test_over_tls_the_address_says_so() -> None:
    secured = options(host="192.0.2.7", tls_certificate="some.pem")
    assert sockets.reachable(secured, 443) == ("https://192.0.2.7:443/",)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("192.0.2.7", "http://192.0.2.7:8000/"),
    ],
)
def test_a_browser_on_this_machine_has_an_address_to_open(host: str, url: str) -> None:
    assert sockets.near(options(host=host), 8000) == url


async def test_every_lane_and_network_leads_to_the_same_server() -> None:
    with Server("--hub", "memory", "--lanes", "3", "--networks", "2") as server:
        about = await get_json(server.url, "/lab")
        assert about["lanes"][0] == server.port
        assert (len(set(about["lanes"])), about["networks"]) == (3, 2)
        hosts = [f"http://127.0.0.1:{port}" for port in about["lanes"]]
        answers = await asyncio.gather(*(get_json(host, "/lab") for host in hosts))
        assert all(answer == about for answer in answers)
