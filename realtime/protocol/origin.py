"""Which requests a server accepts, by their `Host`, `Origin` and `Sec-Fetch-Site`.  Pure."""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from realtime.errors import ForeignHost, ForeignOrigin

# Names are few and short; one that is not may be asked about each time.
_WELCOME_KEPT, _MOST_REMEMBERED = 1000, 300
_PLAIN_NAME = re.compile(r"[a-z0-9._-]+")


class OriginPolicy:
    """The rules at the door of one server.

    `own_names` are the host names, besides IP addresses and localhost, under which we are known.
    """

    def __init__(self, own_names: Iterable[str]) -> None:
        self._names = {name.lower().rstrip(".") for name in own_names} | {"localhost"}
        self.ports: frozenset[int] = frozenset()  # under which our pages may ask one another
        self._welcome: set[tuple[str | None, ...]] = set()

    def check(self, host: str | None, origin: str | None, fetch_site: str | None) -> None:
        """Refuse names that are not ours, and pages of other sites.

        Who was welcome before is so again: a browser that polls comes with the same three words.
        """
        words = host, origin, fetch_site
        if words not in self._welcome:
            self.check_host(host)
            self.check_origin(origin, host, fetch_site)
            if sum(len(word or "") for word in words) <= _MOST_REMEMBERED:
                self._remember(words)

    def _remember(self, words: tuple[str | None, ...]) -> None:
        if len(self._welcome) >= _WELCOME_KEPT:
            self._welcome.clear()
        self._welcome.add(words)

    def check_host(self, host: str | None) -> None:
        """Refuse a name that is not ours: it may be an attacker's, pointed at this address.

        In DNS rebinding a page of ``evil.example`` lets that name resolve to 127.0.0.1 and is
        then same-origin with us.  An IP address cannot be rebound; no `Host` is no browser.
        """
        if host is None:
            return
        name = (_host_name(host) or "").rstrip(".")
        if not (name in self._names or _is_local(name)):
            raise ForeignHost("This server does not go by that name; see --allow-host.")

    def check_origin(self, origin: str | None, host: str | None, fetch_site: str | None) -> None:
        """Refuse what a page of another site asks with the visitor's browser.

        Browsers send `Origin` (RFC 6454 §7) with every POST, WebSocket and cross-origin fetch,
        but not with an iframe or a script: there `Sec-Fetch-Site` (W3C Fetch Metadata) tells.
        """
        if origin is not None:
            same = _authority(origin) is not None and _authority(origin) == (host or "").lower()
            foreign = not same and not self._is_own_origin(origin, host)
        else:
            foreign = fetch_site == "cross-site"
        if foreign:
            raise ForeignOrigin("Pages of other sites may not use this server.")

    def cors_origin(self, origin: str | None, host: str | None) -> str | None:
        """Give the origin of a page that we served at another of our ports; None for all others.

        A browser lets such a page read our answer only when the answer names it (CORS).
        """
        if origin is None or len(self.ports) < 2 or _authority(origin) == (host or "").lower():
            return None
        return origin if self._is_own_origin(origin, host) else None

    def own_origins(self, host: str | None) -> list[str]:
        """List all origins that are ours under the name of `host`, as `name:port`."""
        name = _host_name(host or "")
        # It goes into a policy, where a space or a semicolon would say something else.
        if name is None or len(self.ports) < 2 or not _PLAIN_NAME.fullmatch(name):
            return []
        return [f"{name}:{port}" for port in sorted(self.ports)]

    def _is_own_origin(self, origin: str, host: str | None) -> bool:
        (name, port), (other, other_port) = _place(_authority(origin)), _place(host)
        return name is not None and name == other and {port, other_port} <= self.ports


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _place(authority: str | None) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(f"//{authority or ''}")
        return parts.hostname, parts.port or 80
    except ValueError:
        return None, None


def _is_local(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")  # RFC 6761 §6.3: never leaves the machine
    return True


def _authority(origin: str) -> str | None:
    """The host and port of an origin; ``null`` (a sandboxed or local page) has none."""
    scheme, separator, authority = origin.lower().partition("://")
    return authority if separator and scheme in ("http", "https") else None
