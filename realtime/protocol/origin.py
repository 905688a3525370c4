"""Which requests a server accepts, by their `Host`, `Origin` and `Sec-Fetch-Site`.  Pure."""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from realtime.errors import ForeignHost, ForeignOrigin

# Names are few and short.  One that is too long to cache is checked each time.
_MAX_ALLOWED, _MAX_CACHED_LENGTH = 1000, 300
_PLAIN_NAME = re.compile(r"[a-z0-9._-]+")
# A name or an address, and a port (RFC 3986 §3.2), without user information.
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@/?#\[\]\\]+)(?::(\d{0,5}))?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}

Authority = tuple[str, int]
# One label of a host name.  DNS allows any octet, and some networks use `_` (RFC 2181 §11).
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# The dots of UTS 46 §2.3: browsers accept all of them.
_DOTS = re.compile("[.\u3002\uff0e\uff61]")


def parse_host_name(text: str) -> str:
    """Return the host name in `text` as browsers send it, in ``Host``.

    `text` may also be ``host:port`` or a URL.  ``*.example.org`` stands for all names below
    example.org.  An international name becomes ASCII.  Raises ValueError, which says what is wrong.
    """
    authority = text.strip().rpartition("://")[2].partition("/")[0]
    wildcard, name = authority.startswith("*."), authority.removeprefix("*.")
    with suppress(ValueError):
        return str(ipaddress.ip_address(name))  # without brackets
    try:
        parts = urlsplit(f"//{name}")
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a host name: {error}") from None
    if "*" in host:
        raise ValueError(f"{text!r}: a * stands only before a name, as in *.example.org")
    if not host or "@" in name or re.search(r"[\s,;?#]", name):
        raise ValueError(f"{text!r} is not a host name; write one name, like chat.example.org")
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    labels = [_ascii_label(label) for label in _DOTS.split(host.rstrip("."))]
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{text!r} is not a host name: a label is empty, too long or not letters")
    return ("*." if wildcard else "") + ".".join(labels)


def _ascii_label(label: str) -> str:
    """Encode a label as Punycode (RFC 3492), after the mapping of UTS 46 as browsers do it."""
    label = unicodedata.normalize("NFKC", label.lower()).lower()
    # Not the codec `idna`: it follows the standard of 2003, in which `ß` is `ss`.
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


class OriginPolicy:
    """The rules of one server: which host names are its own, and whose pages may use it.

    `own_names` are its host names, besides IP addresses and localhost; ``*.example.org`` stands for
    all names below that one.
    """

    def __init__(self, own_names: Iterable[str]) -> None:
        self._names = {"localhost"}
        self._suffixes: tuple[str, ...] = ()
        for name in own_names:
            self.allow_name(name)
        self.ports: frozenset[int] = frozenset()  # our pages may send requests between these
        self._allowed_cache: set[tuple[str | None, ...]] = set()

    def allow_name(self, name: str) -> None:
        """Accept one more host name from now on."""
        name = name.lower().rstrip(".")
        if name.startswith("*."):
            self._suffixes += (name[1:],)
        else:
            self._names.add(name)

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
        if not (name in self._names or name.endswith(self._suffixes) or _is_local(name)):
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
            foreign = not self._is_ours(origin_of(referer), host)
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
        if origin is None or len(self.ports) < 2 or _is_same(origin, host):
            return None
        return origin if self._is_own_origin(origin, host) else None

    def own_origins(self, host: str | None) -> list[str]:
        """List our origins under the host name of `host`, as `name:port`."""
        name = _host_name(host or "")
        # It goes into a Content-Security-Policy, where a space or a semicolon has a meaning.
        if name is None or len(self.ports) < 2 or not _PLAIN_NAME.fullmatch(name):
            return []
        return [f"{name}:{port}" for port in sorted(self.ports)]

    def may_use_port(self, origin: str, port: int) -> bool:
        """Return whether a page of `origin` may use our `port`, under its own host name."""
        page, _ = _authorities(origin, None)
        return page is not None and self._is_ours(origin, f"{page[0]}:{port}")

    def _is_ours(self, origin: str, host: str | None) -> bool:
        return _is_same(origin, host) or self._is_own_origin(origin, host)

    def _is_own_origin(self, origin: str, host: str | None) -> bool:
        page, own = _authorities(origin, host)
        if page is None or own is None or page[0] != own[0]:
            return False
        return {page[1], own[1]} <= self.ports


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_local(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")  # RFC 6761 §6.3: always the loopback address
    return True


def _is_same(origin: str, host: str | None) -> bool:
    """Return whether a page of `origin` sends to its own server."""
    page, own = _authorities(origin, host)
    return page is not None and page == own


def _authorities(origin: str, host: str | None) -> tuple[Authority | None, Authority | None]:
    """Return name and port of an origin and of the `Host` of its request; None if not valid.

    Without a port, both mean the default port of the scheme: the page and its request share it, and
    a proxy that ends TLS for us sends only the name.  ``null`` (a sandboxed or local page) is none.
    """
    scheme, separator, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme) if separator else None
    if port is None:
        return None, None
    return _split(authority, port), _split((host or "").lower(), port)


def _split(authority: str, default_port: int) -> Authority | None:
    match = _AUTHORITY.fullmatch(authority)
    return (match[1], int(match[2] or default_port)) if match else None


def origin_of(url: str) -> str:
    """Return the origin of a page, as `Origin` has it."""
    return "/".join(url.split("/", 3)[:3])


def _is_browser(fields: Mapping[str, str]) -> bool:
    """Return whether a browser sends these fields: every one has called itself Mozilla since 1994.

    The types that an image or a style sheet accepts first are a second sign.
    """
    is_element = (fields.get("Accept") or "").startswith(("image/", "text/css"))
    return is_element or (fields.get("User-Agent") or "").startswith(("Mozilla/", "Opera/"))
