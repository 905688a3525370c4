"""Which requests a server accepts, by their `Host`, `Origin` and `Sec-Fetch-Site`.  Pure."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from realtime.errors import ForeignHost, ForeignOrigin

# Names are few and short.  One that is too long to cache is checked each time.
_MAX_ALLOWED, _MAX_CACHED_LENGTH = 1000, 300
_PLAIN_NAME = re.compile(r"[a-z0-9._-]+")


class OriginPolicy:
    """The rules of one server: which host names are its own, and whose pages may use it.

    `own_names` are its host names, besides IP addresses and localhost.
    """

    def __init__(self, own_names: Iterable[str]) -> None:
        self._names = {name.lower().rstrip(".") for name in own_names} | {"localhost"}
        self.ports: frozenset[int] = frozenset()  # our pages may send requests between these
        self._allowed_cache: set[tuple[str | None, ...]] = set()

    def check(self, host: str | None, origin: str | None, fetch_site: str | None) -> None:
        """Reject host names that are not ours, and pages of other sites.

        Allowed values are cached: a browser that polls sends the same three each time.
        """
        values = host, origin, fetch_site
        if values not in self._allowed_cache:
            self.check_host(host)
            self.check_origin(origin, host, fetch_site)
            if sum(len(value or "") for value in values) <= _MAX_CACHED_LENGTH:
                self._cache(values)

    def _cache(self, values: tuple[str | None, ...]) -> None:
        if len(self._allowed_cache) >= _MAX_ALLOWED:
            self._allowed_cache.clear()
        self._allowed_cache.add(values)

    def check_host(self, host: str | None) -> None:
        """Reject a name that is not ours: an attacker may have pointed it at this address.

        In DNS rebinding, a page of ``evil.example`` makes that name resolve to 127.0.0.1, and is
        then same-origin with us.  An IP address cannot be rebound.  A request without `Host` does
        not come from a browser.
        """
        if host is None:
            return
        name = (_host_name(host) or "").rstrip(".")
        if not (name in self._names or _is_local(name)):
            raise ForeignHost(
                "This host name is not allowed; start the server with --allow-host NAME."
            )

    def check_origin(self, origin: str | None, host: str | None, fetch_site: str | None) -> None:
        """Reject requests that a page of another site makes from a visitor's browser.

        Browsers send `Origin` (RFC 6454 §7) with every POST, WebSocket and cross-origin fetch, but
        not for an iframe or a script: then `Sec-Fetch-Site` (W3C Fetch Metadata) shows the site.
        """
        if origin is not None:
            foreign = not self._is_ours(origin, host)
        else:
            foreign = fetch_site == "cross-site"
        if foreign:
            raise ForeignOrigin(
                "Pages of other sites may not use this server; open it at its own address."
            )

    def check_joiner(self, host: str | None, fields: Mapping[str, str]) -> None:
        """Reject a GET that joins a room, if a page of another site can have caused it.

        Any page can make a browser send us a GET, by an image, a link, or `fetch` without CORS.
        Such a GET has no `Origin`, and to an http address in a local network no `Sec-Fetch-Site`
        either.  A page cannot change two things: `Referer` never names another page than the one
        that sends, and `User-Agent` names a browser (to change it, `fetch` must use CORS).  So a
        browser must send one of the fields that name our page, and our pages have a
        `Referrer-Policy` that makes it.  `Accept` alone proves nothing: `fetch` may choose it.
        Other programs run no pages, so they need none of these fields.
        """
        if fields.get("Origin") is not None:  # `check` has compared it
            return
        site, referer = fields.get("Sec-Fetch-Site"), fields.get("Referer")
        if site in ("same-origin", "none"):  # none: the user typed the URL
            return
        if referer is not None:
            foreign = not self._is_ours(referer, host)
        else:
            foreign = site is not None or _is_browser(fields)
        if foreign:
            raise ForeignOrigin(
                "Only a page of this server may join a room; open it, or read without `name`."
            )

    def cors_origin(self, origin: str | None, host: str | None) -> str | None:
        """Return the origin of a page that we served at another of our ports; None for all others.

        A browser lets such a page read our response only if the response names its origin (CORS).
        """
        if origin is None or len(self.ports) < 2 or _authority(origin) == (host or "").lower():
            return None
        return origin if self._is_own_origin(origin, host) else None

    def own_origins(self, host: str | None) -> list[str]:
        """List our origins under the host name of `host`, as `name:port`."""
        name = _host_name(host or "")
        # It goes into a Content-Security-Policy, where a space or a semicolon has a meaning.
        if name is None or len(self.ports) < 2 or not _PLAIN_NAME.fullmatch(name):
            return []
        return [f"{name}:{port}" for port in sorted(self.ports)]

    def _is_ours(self, origin: str, host: str | None) -> bool:
        same = _authority(origin) is not None and _authority(origin) == (host or "").lower()
        return same or self._is_own_origin(origin, host)

    def _is_own_origin(self, origin: str, host: str | None) -> bool:
        (name, port), (other, other_port) = (
            _split_authority(_authority(origin)),
            _split_authority(host),
        )
        return name is not None and name == other and {port, other_port} <= self.ports


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _split_authority(authority: str | None) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(f"//{authority or ''}")
        return parts.hostname, parts.port or 80
    except ValueError:
        return None, None


def _is_local(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")  # RFC 6761 §6.3: always the loopback address
    return True


def _authority(origin: str) -> str | None:
    """Return host and port of an origin or URL; ``null`` (a sandboxed or local page) has none."""
    scheme, separator, rest = origin.lower().partition("://")
    return rest.partition("/")[0] if separator and scheme in ("http", "https") else None


def _is_browser(fields: Mapping[str, str]) -> bool:
    """Return whether a browser sends these fields: every one has called itself Mozilla since 1994.

    The types that an image or a style sheet accepts first are a second sign.
    """
    is_element = (fields.get("Accept") or "").startswith(("image/", "text/css"))
    return is_element or (fields.get("User-Agent") or "").startswith(("Mozilla/", "Opera/"))
