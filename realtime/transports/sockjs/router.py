"""The SockJS router: it maps URLs to handlers, checks origins, and limits sessions and messages.

It subclasses the package's `SockJSRouter`; one object owns all sessions below one URL prefix.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, ClassVar

from sockjs.tornado.router import SockJSRouter
from sockjs.tornado.session import OPEN
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError

from realtime.errors import UpgradeRequired
from realtime.protocol.http1 import allowed_methods
from realtime.transports.sockjs import framing, handlers, http_transports, websocket_transports
from realtime.transports.sockjs.session import HardenedSession

log = logging.getLogger(__name__)

# The client library's ids have eight characters; a long one only costs memory.
_MAX_SESSION_ID = 128
# Our handlers, by the names that `disabled_transports` uses.
_HANDLERS: Mapping[str, type[RequestHandler]] = {
    "websocket": websocket_transports.SockJSWebSocket,
    "xhr": http_transports.XhrPolling,
    "xhr_streaming": http_transports.XhrStreaming,
    "jsonp": http_transports.JSONP,
    "eventsource": http_transports.EventSource,
    "htmlfile": http_transports.HtmlFile,
}

Url = tuple[str, type[RequestHandler], dict[str, Any]]


class HardenedSockJSRouter(SockJSRouter):  # type: ignore[misc]
    """A `SockJSRouter` that is safe on a public address; create it in a running event loop.

    `options` are those of the package and the following; an unknown one raises `TypeError`.

    ``origins``: other origins whose pages may connect, as ``https://example.org``; ``"*"`` allows
    all, which the protocol's own tests need.  ``queue_bytes``: the limit of a session's queue.
    ``body_bytes``, ``message_bytes``, ``batch_messages``: limits of one request or frame; over
    HTTP, a client sends all messages since its last request in one batch.  ``sessions``,
    ``sessions_per_address``: how many sessions may be open.

    ``disabled_transports`` contains by default ``jsonp`` and ``htmlfile``, since a script tag sends
    no `Origin`, and ``rawwebsocket``, which SockJS clients do not use.  `verify_ip` also applies to
    requests that send messages.
    """

    # True if the allowed frame ancestors never change: browsers may cache the iframe for a year.
    cacheable_iframe = True
    defaults: ClassVar[Mapping[str, Any]] = {
        "disabled_transports": ["jsonp", "htmlfile", "rawwebsocket"],
        "jsessionid": False,
        "sockjs_url": "/sockjs.min.js",
        "origins": (),
        "queue_bytes": 65_536,
        "body_bytes": 131_072,
        "message_bytes": 16_384,
        "batch_messages": 1_000,
        "sessions": 10_000,
        "sessions_per_address": 1_000,
    }

    def __init__(
        self, connection: type, prefix: str = "", options: Mapping[str, Any] | None = None
    ) -> None:
        asyncio.get_running_loop()  # raises outside a loop: the timers would never run
        super().__init__(connection, prefix, {**self.defaults, **(options or {})})
        known = set(self.defaults) | set(_PACKAGE_OPTIONS)
        if unknown := set(self.settings) - known:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        self._session_kls = HardenedSession
        self._open: dict[HardenedSession, None] = {}
        self._addresses: Counter[str | None] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._transport_urls = list(self._routes(prefix))

    def _routes(self, prefix: str) -> Iterable[Url]:
        kwargs = {"server": self}
        session = rf"{prefix}/[^/.]+/(?P<session_id>[^/.]+)"
        disabled = set(self.settings["disabled_transports"])
        enabled: dict[str, type[RequestHandler]] = {"xhr_send": http_transports.XhrSend}
        if "jsonp" not in disabled:
            enabled["jsonp_send"] = http_transports.JSONPSend
        enabled |= {name: kind for name, kind in _HANDLERS.items() if name not in disabled}
        for name, kind in enabled.items():
            yield f"{session}/{name}$", kind, kwargs
        yield f"{prefix}/info$", handlers.Info, kwargs
        yield rf"{prefix}/iframe[0-9-.a-z_]*\.html$", handlers.IFrame, kwargs
        yield f"{prefix}/?$", handlers.Greetings, kwargs
        if not {"websocket", "rawwebsocket"} & disabled:
            yield f"{prefix}/websocket$", websocket_transports.RawWebSocket, kwargs

    # --- admission -------------------------------------------------------------------------------

    def acquire(self, handler: handlers.SockJSHandler) -> None:
        """Raise `HTTPError` for a request from a page of an origin that is not allowed."""
        head = handler.request.headers
        origin = head.get("Origin") or head.get("Sec-WebSocket-Origin")
        if self.settings["origins"] == "*" or handler.skips_origin_check:
            return
        if origin is None:
            foreign = head.get("Sec-Fetch-Site") == "cross-site"
        else:
            own = f"{handler.request.protocol}://{handler.request.host}"
            foreign = origin != own and origin not in self._origins
        if foreign:
            raise HTTPError(403, "Pages of other sites may not use this server.")

    def allowed_origin(self, head: Mapping[str, str]) -> str | None:
        """Return the value of `Access-Control-Allow-Origin`: whose pages may read the response."""
        origin = head.get("Origin")
        if self.settings["origins"] == "*":
            return origin or "*"
        return origin if origin is not None and origin in self._origins else None

    def frame_ancestors(self, head: Mapping[str, str]) -> str:
        """Return the value of `frame-ancestors`: which pages may embed the iframe."""
        any_origin = self.settings["origins"] == "*"
        return "*" if any_origin else " ".join(("'self'", *self._origins))

    @property
    def _origins(self) -> Iterable[str]:
        origins: Iterable[str] = self.settings["origins"]
        # `in` on a string finds parts of it: "example.com" is in "https://example.com.evil".
        return (origins,) if isinstance(origins, str) else origins

    def request_finished(self, handler: handlers.SockJSHandler) -> None:
        """Called when a request is finished."""

    def send_error(
        self, handler: handlers.SockJSHandler, status: int, error: BaseException | None
    ) -> None:
        """Send an error as plain text, as the protocol requires."""
        if status == 405:
            handler.clear_header("Content-Type")
            handler.set_header("Allow", ", ".join(allowed_methods(type(handler))))
            handler.set_status(405)
            handler.finish()
            return
        handler.set_status(status)
        if status == UpgradeRequired.status:
            for name, value in UpgradeRequired.headers:
                handler.set_header(name, value)
        handler.set_header("Content-Type", "text/plain; charset=UTF-8")
        handler.finish((error.log_message if isinstance(error, HTTPError) else None) or "")

    def is_expected(self, error: BaseException | None) -> bool:
        """Whether a client caused this error, so that it is not logged."""
        return isinstance(error, HTTPError | StreamClosedError | WebSocketClosedError)

    # --- sessions --------------------------------------------------------------------------------

    def check_capacity(self, session_id: str, address: str | None) -> None:
        """Raise `HTTPError` for a new session above the limits."""
        if len(session_id) > _MAX_SESSION_ID:
            raise HTTPError(404)
        total, held = len(self._open), self._addresses[address]
        if not self.admits(held, total) and self.get_session(session_id) is None:
            raise HTTPError(503, "Too many sessions are open.")

    def admits(self, held: int, total: int) -> bool:
        """Return whether an address with `held` of `total` sessions may open one more."""
        settings = self.settings
        return bool(total < settings["sessions"] and held < settings["sessions_per_address"])

    def session_for_sender(self, session_id: str, address: str | None) -> HardenedSession | None:
        """Return the open session if `address` may send to it, otherwise None."""
        session: HardenedSession | None = self.get_session(session_id)
        if session is None or session.is_closed:
            return None
        if self.settings["verify_ip"] and session.conn_info.ip != address:
            return None
        return session

    def within_limits(self, batch: list[str]) -> bool:
        limit = self.settings["message_bytes"]
        return len(batch) <= self.settings["batch_messages"] and all(
            len(message.encode("utf-8", "surrogatepass")) <= limit for message in batch
        )

    def session_opened(self, session: HardenedSession, address: str) -> None:
        self._open[session] = None
        self._addresses[address] += 1

    def session_closed(self, session: HardenedSession, address: str) -> None:
        if session in self._open:
            del self._open[session]
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def broadcast(self, clients: Iterable[Any], msg: Any) -> None:
        """Send one message to many clients; a closed connection does not stop the others."""
        encoded = framing.encode(msg)
        sent = 0
        for client in list(clients):
            session = client.session
            if session is not None and session.state == OPEN:
                try:
                    session.send_jsonified(encoded, False)
                    sent += 1
                except (StreamClosedError, WebSocketClosedError):
                    session.close(1002, "Connection interrupted")
        self.stats.on_pack_sent(sent)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Close every session, and stop the router's timers and tasks."""
        self._sessions_cleanup.stop()
        self.stats._callback.stop()
        for session in list(self._open):
            session.close(1001, "The server stops")
        for task in self._tasks:
            task.cancel()


_PACKAGE_OPTIONS = (
    *("session_check_interval", "disconnect_delay", "heartbeat_delay", "disabled_transports"),
    *("sockjs_url", "response_limit", "jsessionid", "immediate_flush", "disable_nagle"),
    *("verify_ip", "websocket_allow_origin"),
)
