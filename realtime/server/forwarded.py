"""The address of the client behind a trusted proxy, from `X-Forwarded-For`.

    client ──▶ nginx ── X-Forwarded-For: address of the client ──▶ worker

A header field is only a claim.  We accept it from trusted proxies alone, and of its addresses only
the last one that is not a trusted proxy: the client itself can have written all those before.
Pure: no I/O.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from realtime.protocol.addresses import IPAddress, parse_address

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

FIELD = "X-Forwarded-For"

# RFC 7239 §6 allows ports and brackets; some proxies write them into this older field, too.
_HOP = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+)(?::\d{1,5})?|(.+)")
# The field of a client is short and repeats with each request.  A longer one is not cached.
_CACHED_CLIENTS, _MAX_CACHED_CHARACTERS = 4096, 100


def parse_network(text: str) -> IPNetwork:
    """Parse an address, or a network such as 10.0.0.0/8; raises ValueError."""
    return ipaddress.ip_network(text)


class TrustedProxies:
    """The networks whose peers can name the client of a request; by default there are none."""

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        self._networks = tuple(networks)
        self._cached_client_address = lru_cache(_CACHED_CLIENTS)(self._client_address)

    def trusts(self, peer: str) -> bool:
        """Return whether this peer can name other clients."""
        address = parse_address(peer)
        return address is not None and self._is_trusted(address)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Return the client of a request that a trusted `peer` sent with this `FIELD`.

        One invalid address makes the field worthless: the client is then `peer`.
        """
        cached = forwarded_for is not None and len(forwarded_for) <= _MAX_CACHED_CHARACTERS
        find = self._cached_client_address if cached else self._client_address
        return find(peer, forwarded_for or "")

    def _client_address(self, peer: str, forwarded_for: str) -> str:
        client = peer
        for hop in reversed(forwarded_for.split(",")):  # each proxy appends its own peer
            if not hop.strip():
                continue  # RFC 9110 §5.6.1.2: ignore empty list elements
            address = parse_address(_strip_port(hop.strip()))
            if address is None:
                return peer
            client = str(address)
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


def _strip_port(hop: str) -> str:
    """Remove the port and the brackets."""
    match = _HOP.fullmatch(hop)
    return next(filter(None, match.groups())) if match else ""
