"""IPv4 and IPv6 addresses: parse them, compare them, write them into a URL.  Pure."""

import ipaddress

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


def url_host(host: str) -> str:
    """Return `host` as it is written in a URL: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host
