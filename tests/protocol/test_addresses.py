"""Addresses of IPv4 and IPv6 are parsed, and written into URLs."""

import ipaddress

from realtime.protocol.addresses import limited_address, parse_address, url_host
from tests.cases import each


@each(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("0:0::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),  # RFC 4291 §2.5.5.2
    ],
)
def test_an_address_is_parsed_to_its_canonical_form(text: str, address: str) -> None:
    assert parse_address(text) == ipaddress.ip_address(address)


@each("text", ["", "localhost", "192.0.2", "192.0.2.1:80", "[::1]", "::g"])
def test_other_text_is_not_an_address(text: str) -> None:
    assert parse_address(text) is None


@each(
    ("host", "shown"),
    [("192.0.2.1", "192.0.2.1"), ("chat.example", "chat.example"), ("::1", "[::1]")],
)
def test_only_an_ipv6_address_has_brackets_in_a_url(host: str, shown: str) -> None:
    assert url_host(host) == shown


@each(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_limits_count_a_network_of_ipv6_as_one_client(address: str, counted: str) -> None:
    assert limited_address(address) == counted
