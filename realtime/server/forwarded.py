"""Behind a proxy: whose request it is, and at which of the workers a session lives.

    client ──▶ nginx ── X-Forwarded-For: the client ──▶ worker
                 ▲                                        │
                 └── sid: label of the worker, chance ────┘

Pure.  A field of a head is a claim: only who is trusted may make it, and only the last hop that is
not trusted itself is believed, since what stands before it was written by whoever sent it.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from realtime.protocol.addresses import IPAddress, parse_address

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

FIELD = "X-Forwarded-For"

# RFC 7239 §6 has ports and brackets; some proxies write them into this older field, too.
_HOP = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+)(?::\d{1,5})?|(.+)")
# Clients are many and their fields short; one that is not may be read each time.
_CLIENTS_REMEMBERED, _MOST_REMEMBERED = 4096, 100


def parse_network(text: str) -> IPNetwork:
    """Read an address, or a network as 10.0.0.0/8; raises ValueError."""
    return ipaddress.ip_network(text)


class TrustedProxies:
    """The networks whose peers may say whose request it is; nobody's by default."""

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        self._networks = tuple(networks)
        self._remembered = lru_cache(_CLIENTS_REMEMBERED)(self._client)

    def trusts(self, peer: str) -> bool:
        """Whether this peer may speak for others."""
        address = parse_address(peer)
        return address is not None and self._is_ours(address)

    def client(self, peer: str, said: str | None) -> str:
        """Give the address of who asks, where a trusted `peer` said `said` in `FIELD`.

        What is no address makes the field worthless, and the peer answers for it.
        """
        known = said is not None and len(said) <= _MOST_REMEMBERED
        return (self._remembered if known else self._client)(peer, said or "")

    def _client(self, peer: str, said: str) -> str:
        client = peer
        for hop in reversed(said.split(",")):  # each proxy adds the one it was asked by
            if not hop.strip():
                continue  # RFC 9110 §5.6.1.2: empty elements are no elements
            address = parse_address(_bare(hop.strip()))
            if address is None:
                return peer
            client = str(address)
            if not self._is_ours(address):
                break
        return client

    def _is_ours(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


def _bare(hop: str) -> str:
    """Take the port from a hop, and the brackets."""
    match = _HOP.fullmatch(hop)
    return next(filter(None, match.groups())) if match else ""
