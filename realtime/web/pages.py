"""The pages: files of the `demos` folder, under a policy that allows no other code."""

import gzip
import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tornado.web import StaticFileHandler

from realtime.errors import BadTicket
from realtime.protocol.dictionary import DICTIONARY
from realtime.protocol.encodings import accepts
from realtime.server.ticket_access import TICKET_COOKIE
from realtime.transports.base import Services
from realtime.transports.handler import Handler

# A page that embeds a stream of another port, and is itself embedded in one of our pages.
_BRIDGE_PAGE = "frame.html"
# A source without a scheme means that of the page; WebSocket has another (CSP 3 §6.7.2.8).
_CONNECT_SCHEMES = ("http", "https", "ws", "wss")
# Text, which gzip makes three times smaller: a phone on a slow network opens the first page sooner.
_COMPRESSIBLE = (".html", ".js", ".css", ".json", ".svg")
# What a page consists of, besides its HTML.
_PARTS = ("static", "i18n", "vendor")
# How a page names its scripts and styles.  They request all others relative to their own URL.
_FILES = b'"../demos/static/'
# A browser uses its copy for a year, and revalidates it not even at a reload (RFC 8246).
_UNCHANGING = "max-age=31536000, immutable"
# RFC 6265bis §5.6.1: a browser keeps a cookie for 400 days at most.
_LONGEST_COOKIE_SECONDS = 400 * 24 * 3600


def content_security_policy(
    own_origins: Sequence[str] = (), framed: bool = False, forms: bool = False
) -> str:
    """Return a policy that allows our own scripts, styles and connections, and no inline code.

    A message can then never become code, even if a page inserts it wrongly.
    `own_origins` are our other ports, ``name:port``, which a page may request; a page that is
    `framed` may be embedded by theirs, every other page only by ours of the same port: the
    projector shows them.
    `forms` allows forms to be sent to us: JSONP can only send that way.
    """
    connect = "".join(
        f" {scheme}://{origin}" for origin in own_origins for scheme in _CONNECT_SCHEMES
    )
    frames = "".join(f" {origin}" for origin in own_origins)
    ancestors = f"'self'{frames}" if framed else "'self'"
    action = "'self'" if forms else "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'{connect}; frame-src 'self'{frames}; base-uri 'none'; "
        f"form-action {action}; frame-ancestors {ancestors}"
    )


CONTENT_SECURITY_POLICY = content_security_policy()


def folder() -> Path:
    """Return the folder of the pages: in the installed package, or beside it in a checkout."""
    try:
        return Path(str(files("realtime.demos")))
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "demos"


@cache
def _versioned() -> str:
    """Return the folder of our scripts, styles and texts in URLs, with a hash of all of them.

    All workers agree on it.  It is read once, as ETags are: changed files need a restart.
    """
    digest = hashlib.sha256()
    for path in sorted(path for part in _PARTS for path in (folder() / part).rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder())}\0".encode() + path.read_bytes())
    return f"demos.{digest.hexdigest()[:16]}"


@lru_cache(maxsize=64)
def _page(path: str, modified: datetime) -> bytes:
    """Return a page that requests its scripts and styles below the path of their version.

    A browser has each of these files once; else every page load waits while it revalidates tens of
    them, one after the other.
    """
    return Path(path).read_bytes().replace(_FILES, _FILES.replace(b"demos", _versioned().encode()))


@lru_cache(maxsize=512)
def _gzipped(path: str, modified: datetime) -> bytes:
    """Return a compressed file: once for each version of it, since compression takes 2–5 ms."""
    is_page = path.endswith(".html")
    return gzip.compress(_page(path, modified) if is_page else Path(path).read_bytes(), mtime=0)


class PageHandler(Handler, StaticFileHandler):
    transport = "pages"

    def initialize(  # type: ignore[override]
        self, services: Services, path: str, forms: bool = False
    ) -> None:
        Handler.initialize(self, services)
        self._forms = forms
        StaticFileHandler.initialize(self, path, default_filename="index.html")

    def prepare(self) -> None:
        super().prepare()
        # A page is small: we send all of it and ignore `Range`, as a server may (RFC 9110 §14.2).
        self.request.headers.pop("Range", None)

    def check_request_origin(self) -> None:
        # Other sites may link to our pages, so only the host name is checked.
        self.services.origin_policy.check_host(self.request.headers.get("Host"))

    async def get(self, path: str, include_body: bool = True) -> None:
        ticket = self.argument("ticket", BadTicket)
        if ticket is not None and self.services.access.mode == "tickets":
            self._keep_ticket(ticket)
        else:
            await StaticFileHandler.get(self, path, include_body)

    def _keep_ticket(self, ticket: str) -> None:
        """Put a ticket into a cookie, and send the browser to the same page without it.

        The browser then sends it with every request of the page, and no URL shows it to a class.
        A script of the page cannot read the cookie, and other sites cannot cause its use.
        """
        expires = self.services.access.admit(self, ticket).expires
        self.set_cookie(
            TICKET_COOKIE,
            ticket,
            expires=min(expires, time.time() + _LONGEST_COOKIE_SECONDS),
            httponly=True,
            secure=self.request.protocol == "https",
            samesite="Strict",
        )
        query = [(k, v) for k, vs in self.arguments.items() if k != "ticket" for v in vs]
        # Relative, since a proxy may have us below a path.
        page = self.request.path.rpartition("/")[2] or "./"
        self.redirect(page + (f"?{urlencode(query)}" if query else ""))

    def set_extra_headers(self, path: str) -> None:
        # Else the browser revalidates each time; mostly 304.  So it does with a file of another
        # version, which a page may request while the workers behind a proxy are updated.
        is_unchanging = f"/{_versioned()}/" in self.request.path
        self.set_header("Cache-Control", _UNCHANGING if is_unchanging else "no-cache")
        if self._is_compressible:
            self.set_header("Vary", "Accept-Encoding")
        if self._is_compressed:
            self.set_header("Content-Encoding", "gzip")
        own_origins = self.services.origin_policy.own_origins(self.request.headers.get("Host"))
        policy = content_security_policy(own_origins, path == _BRIDGE_PAGE, self._forms)
        self.set_header("Content-Security-Policy", policy)
        # `Referer` shows that a request comes from our page, see `OriginPolicy.check_joiner`, and
        # is sent to no other site.  (With no-referrer a form would also send `Origin: null`.)
        self.set_header("Referrer-Policy", "same-origin")

    def head(self, *args: str, **kwargs: str) -> Any:
        return StaticFileHandler.head(self, *args, **kwargs)

    def compute_etag(self) -> Any:
        # RFC 9110 §8.8.3.3: each encoding of a file has its own ETag.
        tag = StaticFileHandler.compute_etag(self)
        if not tag:
            return tag
        version = f"-{_versioned()}" if self._is_page else ""
        return f'{tag[:-1]}{version}{"-gzip" if self._is_compressed else ""}"'

    # --- what is sent of a file ------------------------------------------------------------------

    @property
    def _is_page(self) -> bool:
        return (self.absolute_path or "").endswith(".html")

    @property
    def _is_compressible(self) -> bool:
        return (self.absolute_path or "").endswith(_COMPRESSIBLE)

    @property
    def _is_compressed(self) -> bool:
        accepted = self.request.headers.get("Accept-Encoding", "")
        return self._is_compressible and accepts(accepted, "gzip")

    def get_content_size(self) -> int:
        changed = self._changed()
        return super().get_content_size() if changed is None else len(changed)

    @classmethod
    def get_content_version(cls, abspath: str) -> str:
        # Tornado calls the class's `get_content`, which here needs a request.
        return StaticFileHandler.get_content_version(abspath)

    def get_content(  # type: ignore[override]
        self, abspath: str, start: int | None = None, end: int | None = None
    ) -> Iterator[bytes]:
        changed = self._changed()
        if changed is None:
            yield from StaticFileHandler.get_content(abspath, start, end)
        else:
            yield changed

    def _changed(self) -> bytes | None:
        """Return what we send instead of the bytes of the file, or None if we send these."""
        assert self.absolute_path is not None
        assert self.modified is not None
        if self._is_compressed:
            return _gzipped(self.absolute_path, self.modified)
        return _page(self.absolute_path, self.modified) if self._is_page else None


class DictionaryHandler(Handler):
    """The shared dictionary, which a browser keeps, and offers for our rooms (RFC 9842 §2.1)."""

    transport = "pages"

    def get(self) -> None:
        # Relative to this address, since a proxy may have us below a path.
        self.set_header("Use-As-Dictionary", 'match="rooms/*"')
        self.set_header("Cache-Control", "max-age=86400")  # only what is cached can be used
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(DICTIONARY)


class RedirectHandler(Handler):
    """Sends a browser to another path of this server, with the same query."""

    transport = "pages"

    def initialize(self, services: Services, path: str) -> None:  # type: ignore[override]
        super().initialize(services)
        self._path = path

    def check_request_origin(self) -> None:
        self.services.origin_policy.check_host(self.request.headers.get("Host"))

    def get(self) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(self._path + query)


class IconHandler(PageHandler):
    """``/favicon.ico``: browsers request it for every page that names no icon."""

    async def get(self, path: str, include_body: bool = True) -> None:
        await super().get("static/icon.svg", include_body)
