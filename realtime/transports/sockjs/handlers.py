"""What all SockJS requests have in common, and those that carry no messages.

    SockJSHandler        admission, body limit, errors
    ├─ CORSHandler       responses that pages of allowed origins may read
    │  ├─ Info           which transports the client may try
    │  └─ …              the transports over HTTP: `http_transports`
    ├─ Greetings         a line of text, to see that the server is there
    ├─ IFrame            the page by which the client connects from another origin
    └─ …                 WebSocket: `websocket_transports`

Each handler subclasses one of sockjs-tornado's and corrects what is wrong in it.
"""

import base64
import hashlib
import re
import secrets
from html import escape
from typing import Any, ClassVar

from sockjs.tornado.basehandler import PreflightHandler
from sockjs.tornado.static import GreetingsHandler, IFrameHandler, InfoHandler
from tornado.web import HTTPError, RequestHandler, stream_request_body

from realtime.transports.handler import log_failure
from realtime.transports.sockjs.interfaces import RouterProtocol

# A body that is too long is read and discarded up to this size, so that the sender can read the
# error: if we closed at once, it would only see a connection reset.
MAX_DISCARDED_BODY = 1_048_576
# `no-transform`: a proxy that compresses a stream holds it back until it has enough of it.
_NOT_CACHED = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
# The page of the protocol; the package's is that of an older version.
_IFRAME_PAGE = """<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="%s"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"""
_COOKIE_VALUE = re.compile(r"[\w.-]{1,128}", re.ASCII)


@stream_request_body
class SockJSHandler(RequestHandler):
    """A request that the router must admit, with a limited body.

    `skips_origin_check` is true for pages that reveal nothing: any site may link to them.
    """

    server: RouterProtocol
    skips_origin_check: ClassVar = False

    def initialize(self, server: RouterProtocol) -> None:
        super().initialize(server)
        self.stream: Any = self.request.connection.stream  # type: ignore[union-attr]
        self._body = bytearray()

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        self.server.acquire(self)
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self.server.settings["body_bytes"]:
            self._body += chunk

    def on_connection_close(self) -> None:
        # The package does not call it, and a request would wait for its body forever.
        RequestHandler.on_connection_close(self)
        super().on_connection_close()

    def body(self) -> bytes:
        if len(self._body) > self.server.settings["body_bytes"]:
            raise HTTPError(413, "Too long.")
        return bytes(self._body)

    def check_reader(self) -> None:
        """Send what a client ignores: it has ended its side, and may have gone.

        A receiver that has gone must end its session at once, as the protocol says.
        """

    def check_trusted_origin(self, origin: str) -> bool:
        return True  # checked in `acquire`

    check_origin = check_trusted_origin

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.clear()
        self.server.send_error(self, status_code, kwargs.get("exc_info", (None, None, None))[1])

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not self.server.is_expected(value):
            log_failure(self, value)

    def on_finish(self) -> None:
        self.server.request_finished(self)


class CORSHandler(SockJSHandler, PreflightHandler):  # type: ignore[misc]
    """A request that a page of another origin may send, if the router allows that origin."""

    def preflight(self) -> None:
        self.set_header("Vary", "Origin")
        if allowed := self.server.allowed_origin(self.request.headers):
            self.set_header("Access-Control-Allow-Origin", allowed)
            if allowed != "*":  # with it, credentials are not allowed (Fetch standard §3.2.5)
                self.set_header("Access-Control-Allow-Credentials", "true")
            if requested := self.request.headers.get("Access-Control-Request-Headers"):
                self.set_header("Access-Control-Allow-Headers", requested)

    def verify_origin(self) -> bool:
        return (
            self.request.headers.get("Origin") is None
            or self.server.allowed_origin(self.request.headers) is not None
        )

    def handle_session_cookie(self) -> None:
        """Return the cookie that a load balancer uses for session affinity."""
        if self.server.settings["jsessionid"]:
            cookie = self.cookies.get("JSESSIONID")
            value = cookie.value if cookie and _COOKIE_VALUE.fullmatch(cookie.value) else "dummy"
            self.set_header("Set-Cookie", f"JSESSIONID={value}; Path=/; HttpOnly; SameSite=Lax")

    def disable_cache(self) -> None:
        self.set_header("Cache-Control", _NOT_CACHED)

    def compute_etag(self) -> None:
        """Do not hash the response: none of these may be cached."""


# --- greeting, info and iframe -------------------------------------------------------------------


class _Headable(RequestHandler):
    """Answers HEAD as GET; Tornado leaves out the body (RFC 9110 §9.3.2)."""

    def head(self, *args: str, **kwargs: str) -> Any:
        return self.get(*args, **kwargs)


class Greetings(_Headable, SockJSHandler, GreetingsHandler):  # type: ignore[misc]
    skips_origin_check = True


class Info(_Headable, CORSHandler, InfoHandler):  # type: ignore[misc]
    def initialize(self, server: RouterProtocol) -> None:
        super().initialize(server)
        self.logged = False

    def get(self) -> None:
        self.preflight()
        self.disable_cache()
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.write(
            {
                "websocket": self.server.websockets_enabled,
                "cookie_needed": self.server.cookie_needed,
                "origins": ["*:*"],  # as the protocol requires; other origins get 403
                "entropy": secrets.randbits(32),
            }
        )


class IFrame(_Headable, SockJSHandler, IFrameHandler):  # type: ignore[misc]
    """The page that the client library loads in an iframe, to connect from another origin."""

    skips_origin_check = True

    def get(self) -> None:
        page = (_IFRAME_PAGE % escape(self.server.settings["sockjs_url"])).encode()
        script = page.partition(b"<script>")[2].partition(b"</script>")[0]
        digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
        library = self.server.settings["sockjs_url"].partition("?")[0]
        source = "'self'" if library.startswith("/") else library
        if self.server.cacheable_iframe:
            self.enable_cache()
        else:
            self.set_header("Cache-Control", "no-cache")  # revalidate each time, with a 304
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; base-uri 'none'; connect-src 'self'; frame-src 'self'; "
            f"script-src 'sha256-{digest}' {source}; "
            f"frame-ancestors {self.server.frame_ancestors(self.request.headers)}",
        )
        self.write(page)
