"""The pages: files of the `demos` folder, under a policy that lets nothing else run."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from realtime.transports.base import Services
from realtime.transports.handler import Handler

# A page that stands between one of ours and a stream at another port.
_BETWEEN = "frame.html"
# A source without a scheme is of the page's own, and WebSockets are of another (CSP 3 §6.7.2.8).
_ASKED = ("http", "https", "ws", "wss")


def content_security_policy(
    own_origins: Sequence[str] = (), framed: bool = False, forms: bool = False
) -> str:
    """Scripts, styles and connections of our own, and not a word of inline code.

    What others said can then not become code, even if a page once showed it wrongly.
    `own_origins` are our other ports, ``name:port``, which a page may request; a page that is
    `framed` may be embedded by theirs.
    `forms` may be sent to us: JSONP has no other way up.
    """
    asked = "".join(f" {scheme}://{place}" for place in own_origins for scheme in _ASKED)
    shown = "".join(f" {place}" for place in own_origins)
    ancestors = f"'self'{shown}" if framed else "'none'"
    action = "'self'" if forms else "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'{asked}; frame-src 'self'{shown}; base-uri 'none'; "
        f"form-action {action}; frame-ancestors {ancestors}"
    )


CONTENT_SECURITY_POLICY = content_security_policy()


def folder() -> Path:
    """Where the pages are: inside the installed package, or beside it in a bare checkout."""
    try:
        return Path(str(files("realtime.demos")))
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "demos"


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
        # A page is small: it is sent whole, whatever part of it is asked for (RFC 9110 §14.2).
        self.request.headers.pop("Range", None)

    def check_request_origin(self) -> None:
        # A link on a page of another site may lead here, so only the name is checked.
        self.services.origin_policy.check_host(self.request.headers.get("Host"))

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")  # ask each time, and be told 304
        own_origins = self.services.origin_policy.own_origins(self.request.headers.get("Host"))
        policy = content_security_policy(own_origins, path == _BETWEEN, self._forms)
        self.set_header("Content-Security-Policy", policy)
        # Without a referrer the `Origin` of a form is `null` (W3C Referrer Policy §8.5).
        self.set_header("Referrer-Policy", "same-origin" if self._forms else "no-referrer")

    def compute_etag(self) -> Any:
        return StaticFileHandler.compute_etag(self)
