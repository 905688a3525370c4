"""IPv4 and IPv6 addresses: parse them, compare them, write them into a URL.  Pure."""

import ipaddress
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> IPAddress | None:
    """Parse an address and ignore its zone; return None if it is not an address.

    An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) becomes the IPv4 address: it is the same host.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(4096)
def limited_address(address: str) -> str:
    """Return what counts as one client for the limits per address.

    That is an IPv4 address, but the /64 network of an IPv6 address: every subscriber has at least
    one (RFC 6177), and a device uses as many addresses in it as it likes (RFC 8981).
    """
    parsed = parse_address(address)
    if parsed is None or parsed.version == 4 or parsed.is_loopback:
        return address if parsed is None else str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to a server that listens at `host`."""
    address = parse_address(host)
    return host == "localhost" if address is None else address.is_loopback


def url_host(host: str) -> str:
    """Return `host` as it is written in a URL: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host
