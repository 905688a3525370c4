"""The router: which address is whose, who is admitted, and how much one may have of it."""

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

from realtime.protocol.http1 import allowed_methods
from realtime.transports.sockjs import framing, handlers
from realtime.transports.sockjs.session import HardenedSession

log = logging.getLogger(__name__)

# The client's own ids are eight characters; whoever makes a long one only fills our memory.
_MOST_SESSION_ID = 128
# Ours, by the name of what is switched off by `disabled_transports`.
_HANDLERS: Mapping[str, type[RequestHandler]] = {
    "websocket": handlers.WebSocket,
    "xhr": handlers.XhrPolling,
    "xhr_streaming": handlers.XhrStreaming,
    "jsonp": handlers.JSONP,
    "eventsource": handlers.EventSource,
    "htmlfile": handlers.HtmlFile,
}

Url = tuple[str, type[RequestHandler], dict[str, Any]]


class HardenedSockJSRouter(SockJSRouter):  # type: ignore[misc]
    """A `SockJSRouter` that can be exposed; made inside of a running event loop.

    `options` are those of the package, and these; an unknown one is a `TypeError`.

    ``origins``: which pages of other origins are admitted, as ``https://example.org``; ``"*"`` is
    all, and what the protocol's own tests want.  ``queue_bytes``: what may wait for one who does
    not read.  ``body_bytes``, ``message_bytes``, ``batch_messages``: what one request or frame may
    bring; a client that sends over HTTP brings all that it has said since the last.  ``sessions``,
    ``sessions_per_address``: how many may be open.

    Switched off by default, in ``disabled_transports``: ``jsonp`` and ``htmlfile``, since a script
    tag sends no `Origin`, and ``rawwebsocket``, which SockJS clients do not use.  `verify_ip` also
    holds for those who send.
    """

    # Whether who may frame the iframe stays so: then browsers may keep it for a year.
    lasting = True
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
        asyncio.get_running_loop()  # made outside, its timers would run on a loop that never does
        super().__init__(connection, prefix, {**self.defaults, **(options or {})})
        known = set(self.defaults) | set(_PACKAGE_OPTIONS)
        if unknown := set(self.settings) - known:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        self._session_kls = HardenedSession
        self._open: dict[HardenedSession, None] = {}
        self._addresses: Counter[str | None] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._transport_urls = list(self._build(prefix))

    def _build(self, prefix: str) -> Iterable[Url]:
        mine = {"server": self}
        session = rf"{prefix}/[^/.]+/(?P<session_id>[^/.]+)"
        off = set(self.settings["disabled_transports"])
        sends: dict[str, type[RequestHandler]] = {"xhr_send": handlers.XhrSend}
        if "jsonp" not in off:
            sends["jsonp_send"] = handlers.JSONPSend
        on = {name: kind for name, kind in _HANDLERS.items() if name not in off}
        for name, kind in {**sends, **on}.items():
            yield f"{session}/{name}$", kind, mine
        yield f"{prefix}/info$", handlers.Info, mine
        yield rf"{prefix}/iframe[0-9-.a-z_]*\.html$", handlers.IFrame, mine
        yield f"{prefix}/?$", handlers.Greetings, mine
        if not {"websocket", "rawwebsocket"} & off:
            yield f"{prefix}/websocket$", handlers.RawWebSocket, mine

    # --- the door --------------------------------------------------------------------------------

    def acquire(self, handler: handlers.Guarded) -> None:
        """Refuse a request of a page that may not use this, with an `HTTPError`."""
        head = handler.request.headers
        origin = head.get("Origin") or head.get("Sec-WebSocket-Origin")
        if self.settings["origins"] == "*" or handler.for_anybody:
            return
        if origin is None:
            foreign = head.get("Sec-Fetch-Site") == "cross-site"
        else:
            own = f"{handler.request.protocol}://{handler.request.host}"
            foreign = origin != own and origin not in self._origins
        if foreign:
            raise HTTPError(403, "Pages of other sites may not use this server.")

    def readable_by(self, head: Mapping[str, str]) -> str | None:
        """Say whose pages may read the answer, for `Access-Control-Allow-Origin`."""
        origin = head.get("Origin")
        if self.settings["origins"] == "*":
            return "*" if origin in (None, "null") else origin
        return origin if origin is not None and origin in self._origins else None

    def framed_by(self, head: Mapping[str, str]) -> str:
        """Say in whose pages the iframe may stand, for `frame-ancestors`."""
        everybody = self.settings["origins"] == "*"
        return "*" if everybody else " ".join(("'self'", *self._origins))

    @property
    def _origins(self) -> Iterable[str]:
        origins: Iterable[str] = self.settings["origins"]
        # A string would be searched for parts of it: "example.com" is in "https://example.com.evil".
        return (origins,) if isinstance(origins, str) else origins

    def answered(self, handler: handlers.Guarded) -> None:
        """Take note that a request has come to its end."""

    def refuse(self, handler: handlers.Guarded, status: int, error: BaseException | None) -> None:
        """Answer a mistake in plain text, as the protocol has it."""
        if status == 405:
            handler.clear_header("Content-Type")
            handler.set_header("Allow", ", ".join(allowed_methods(type(handler))))
            handler.set_status(405)
            handler.finish()
            return
        handler.set_status(status)
        handler.set_header("Content-Type", "text/plain; charset=UTF-8")
        handler.finish((error.log_message if isinstance(error, HTTPError) else None) or "")

    def is_expected(self, error: BaseException | None) -> bool:
        """Whether an error is a client's, and so nothing to log."""
        return isinstance(error, HTTPError | StreamClosedError | WebSocketClosedError)

    # --- sessions --------------------------------------------------------------------------------

    def check_place(self, session_id: str, address: str | None) -> None:
        """Refuse a session that would be one too many, with an `HTTPError`."""
        if len(session_id) > _MOST_SESSION_ID:
            raise HTTPError(404)
        full = (
            len(self._open) >= self.settings["sessions"]
            or self._addresses[address] >= self.settings["sessions_per_address"]
        )
        if full and self.get_session(session_id) is None:
            raise HTTPError(503, "Too many sessions are open.")

    def session_for(self, session_id: str, address: str | None) -> HardenedSession | None:
        """Give the open session to which `address` may send; None for all others."""
        session: HardenedSession | None = self.get_session(session_id)
        if session is None or session.is_closed:
            return None
        if self.settings["verify_ip"] and session.conn_info.ip != address:
            return None
        return session

    def is_bearable(self, batch: list[str]) -> bool:
        most = self.settings["message_bytes"]
        return len(batch) <= self.settings["batch_messages"] and all(
            len(message.encode("utf-8", "surrogatepass")) <= most for message in batch
        )

    def opened(self, session: HardenedSession, address: str) -> None:
        self._open[session] = None
        self._addresses[address] += 1

    def closed(self, session: HardenedSession, address: str) -> None:
        if session in self._open:
            del self._open[session]
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def broadcast(self, clients: Iterable[Any], msg: Any) -> None:
        """Say one thing to many; one who is gone does not keep it from the others."""
        encoded = framing.encode(msg)
        told = 0
        for client in list(clients):
            session = client.session
            if session is not None and session.state == OPEN:
                try:
                    session.send_jsonified(encoded, False)
                    told += 1
                except (StreamClosedError, WebSocketClosedError):
                    session.close(1002, "Connection interrupted")
        self.stats.on_pack_sent(told)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Close every session, and end what runs for the router itself."""
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
