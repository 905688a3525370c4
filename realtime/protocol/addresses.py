"""Addresses of IPv4 and IPv6: read, compared, and written into a URL.  Pure."""

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> IPAddress | None:
    """Parse an address without its zone; None if it is not one.

    An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) becomes the IPv4 address: it is the same host.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def url_host(host: str) -> str:
    """Return `host` as a URL has it: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host
