"""The request handlers: each subclasses one of sockjs-tornado's and corrects what is wrong in it.

SockJSHandler       admission, body limit, errors
└─ CORSHandler      responses that pages of allowed origins may read
   ├─ PollingReceiver     down, one frame per response:   xhr, jsonp
   │  └─ StreamingReceiver    down, endless response:     xhr_streaming, eventsource, htmlfile
   └─ SendHandler         up:                             xhr_send, jsonp_send
WebSocketReceiver   both ways:                            websocket, raw websocket
Greetings, Info, IFrame                                   the rest of the protocol
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from html import escape
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

from sockjs.tornado.basehandler import PreflightHandler
from sockjs.tornado.static import IFRAME_TEXT, GreetingsHandler, IFrameHandler, InfoHandler
from sockjs.tornado.transports import (
    EventSourceTransport,
    HtmlFileTransport,
    JSONPSendHandler,
    JSONPTransport,
    RawWebSocketTransport,
    WebSocketTransport,
    XhrPollingTransport,
    XhrSendHandler,
    XhrStreamingTransport,
)
from sockjs.tornado.transports.pollingbase import PollingTransportBase
from sockjs.tornado.websocket import SockJSWebSocketHandler
from tornado.web import HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from realtime.protocol.websocket_frames import PING, StrictWebSocketProtocol
from realtime.transports.sockjs import framing
from realtime.transports.sockjs.interfaces import Receiver, RouterProtocol

# A body that is too long is read and discarded up to this size, so that the sender can read the
# error: if we closed at once, it would only see a connection reset.
_MAX_DISCARDED_BODY = 1_048_576
_CALLBACK = re.compile(r"[A-Za-z0-9_.]{1,64}")
_COOKIE_VALUE = re.compile(r"[\w.-]{1,128}", re.ASCII)
_NOT_WEBSOCKET = 'Can "Upgrade" only to "WebSocket".'
_WRONG_CONNECTION = '"Connection" must be "Upgrade".'
# Drafts of RFC 6455 whose frames are the same.
_DRAFT_VERSIONS = ("7", "8")
# The close code for a message that is too big (RFC 6455 §7.4.1).
_TOO_BIG = 1009


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
        self.request.connection.set_max_body_size(_MAX_DISCARDED_BODY)  # type: ignore[union-attr]

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        self.server.acquire(self)
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self.server.settings["body_bytes"]:
            self._body += chunk

    def body(self) -> bytes:
        if len(self._body) > self.server.settings["body_bytes"]:
            raise HTTPError(413, "Too long.")
        return bytes(self._body)

    def check_trusted_origin(self, origin: str) -> bool:
        return True  # checked in `acquire`

    check_origin = check_trusted_origin

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.clear()
        self.server.send_error(self, status_code, kwargs.get("exc_info", (None, None, None))[1])

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not self.server.is_expected(value):
            super().log_exception(typ, value, tb)

    def on_finish(self) -> None:
        self.server.request_finished(self)


class CORSHandler(SockJSHandler, PreflightHandler):  # type: ignore[misc]
    """A request that a page of another origin may send, if the router allows that origin."""

    def preflight(self) -> None:
        self.set_header("Vary", "Origin")
        if allowed := self.server.allowed_origin(self.request.headers):
            self.set_header("Access-Control-Allow-Origin", allowed)
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

    def compute_etag(self) -> None:
        """Do not hash the response: none of these may be cached."""


# --- down: polling and streaming responses -------------------------------------------------------


class PollingReceiver(CORSHandler, Receiver, PollingTransportBase):  # type: ignore[misc]
    """A response that consists of one frame."""

    streams = False

    def initialize(self, server: RouterProtocol) -> None:
        super().initialize(server)
        self.session = None
        self.active = True

    def prepare(self) -> None:
        super().prepare()
        self.server.check_capacity(self.path_kwargs["session_id"], self.request.remote_ip)

    def send_frame(self, frame: bytes) -> None:
        if self._finished:
            return
        self.active = False
        self.set_header("Content-Type", "application/javascript; charset=UTF-8")
        self._detach()
        self.finish(self.wrap(frame))

    def push_frame(self, frame: bytes, events: int) -> bool:
        if self._finished:
            return False
        self.stream.events += events
        self.send_frame(frame)
        return True


class StreamingReceiver(PollingReceiver):
    """An endless response; it ends at a size limit, because the browser keeps all of it."""

    streams = True

    def initialize(self, server: RouterProtocol) -> None:
        super().initialize(server)
        self.amount_limit = server.settings["response_limit"]
        self._chunked = self.request.version != "HTTP/1.0"
        if not self._chunked:
            self.set_header("Connection", "close")

    def begin(self, content_type: str, prelude: bytes) -> None:
        """Send the headers and the bytes before the first frame."""
        self.preflight()
        self.handle_session_cookie()
        self.disable_cache()
        self.set_header("Content-Type", content_type)
        self.set_header("X-Accel-Buffering", "no")  # otherwise nginx buffers 4-8 KB first
        self.write(prelude)
        self.flush()

    def attach(self, session_id: str) -> None:
        if not self._attach_session(session_id, True):
            self.safe_finish()
        elif self.session is not None:
            self.session.flush()

    def send_frame(self, frame: bytes) -> None:
        if self._finished or self.stream.closed():
            return
        data = self.wrap(frame)
        self.active = False
        written = self.stream.write(self._chunk(data))
        if written.done():
            self._frame_written(written)
        else:
            written.add_done_callback(self._frame_written)
        self._count(data)

    def push_frame(self, frame: bytes, events: int) -> bool:
        data = self.wrap(frame)
        if self._finished or not self.stream.push(self._chunk(data), events):
            return False
        self._count(data)
        return True

    def _chunk(self, data: bytes) -> bytes:
        # These bytes bypass Tornado, so they are framed here as Tornado would do it.
        return framing.chunk(data) if self._chunked else data

    def _count(self, data: bytes) -> None:
        """End the response at its size limit: a browser keeps all of it in memory."""
        self.amount_limit -= len(data)
        if self.amount_limit <= 0 and not self._finished:
            self._detach()
            self.safe_finish()

    def _frame_written(self, written: Any) -> None:
        if written.exception() is None and not self.active:
            self.active = True
            if self.session is not None:
                self.session.flush()

    def finish(self, chunk: Any = None) -> None:  # type: ignore[override]
        super().finish(chunk)
        if not self._chunked and not self.stream.closed():
            # RFC 9112 §6.3: without chunks, the close of the connection ends the body.
            self.stream.write(b"").add_done_callback(lambda written: self.stream.close())


class XhrPolling(PollingReceiver, XhrPollingTransport):  # type: ignore[misc]
    def wrap(self, frame: bytes) -> bytes:
        return framing.line(frame)


class JSONP(PollingReceiver, JSONPTransport):  # type: ignore[misc]
    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "GET":
            self._callback = _callback_name(self)

    def wrap(self, frame: bytes) -> bytes:
        return framing.call(self._callback, frame)


class XhrStreaming(StreamingReceiver, XhrStreamingTransport):  # type: ignore[misc]
    async def post(self, session_id: str) -> None:
        self._auto_finish = False
        self.begin("application/javascript; charset=UTF-8", framing.XHR_PRELUDE)
        self.attach(session_id)

    def wrap(self, frame: bytes) -> bytes:
        return framing.line(frame)


class EventSource(StreamingReceiver, EventSourceTransport):  # type: ignore[misc]
    async def get(self, session_id: str) -> None:
        self._auto_finish = False
        self.begin("text/event-stream; charset=UTF-8", framing.EVENTSOURCE_PRELUDE)
        self.attach(session_id)

    def wrap(self, frame: bytes) -> bytes:
        return framing.event(frame)


class HtmlFile(StreamingReceiver, HtmlFileTransport):  # type: ignore[misc]
    async def get(self, session_id: str) -> None:
        page = framing.htmlfile_page(_callback_name(self))
        self._auto_finish = False
        self.begin("text/html; charset=UTF-8", page)
        self.attach(session_id)

    def wrap(self, frame: bytes) -> bytes:
        return framing.script(frame)


def _callback_name(handler: RequestHandler) -> str:
    """Return the name of the function to call; raises `HTTPError` if it could be code."""
    callback = handler.get_argument("c", "")
    if not callback:
        raise HTTPError(500, '"callback" parameter required')
    if not _CALLBACK.fullmatch(callback):
        raise HTTPError(400, 'invalid "callback" parameter')
    return callback


# --- up: requests that carry messages ------------------------------------------------------------


class SendHandler(CORSHandler, PollingTransportBase):  # type: ignore[misc]
    """A request that carries messages for a session."""

    async def receive_messages(self, session_id: str, data: bytes) -> None:
        session = self.server.session_for_sender(session_id, self.request.remote_ip)
        if session is None:
            raise HTTPError(404)
        if not data:
            raise HTTPError(500, "Payload expected.")
        try:
            batch = framing.decode(data)
        except (ValueError, RecursionError):
            raise HTTPError(500, "Broken JSON encoding.") from None
        if not self.server.within_limits(batch):
            raise HTTPError(413, "Too long.")
        # The response waits until they are handled, so a client cannot send faster than that.
        await session.receive(batch)
        self.preflight()
        self.handle_session_cookie()
        self.disable_cache()
        self.set_header("Content-Type", "text/plain; charset=UTF-8")


class XhrSend(SendHandler, XhrSendHandler):  # type: ignore[misc]
    async def post(self, session_id: str) -> None:
        await self.receive_messages(session_id, self.body())
        self.set_status(204)

    def _clear_representation_headers(self) -> None:
        """Keep the content type although there is no body: without it, Firefox parses as XML."""


class JSONPSend(SendHandler, JSONPSendHandler):  # type: ignore[misc]
    async def post(self, session_id: str) -> None:
        data = self.body()
        if self.request.headers.get("Content-Type", "").lower().startswith(_FORM_TYPE):
            name, _, value = data.partition(b"=")
            data = unquote_to_bytes(value.replace(b"+", b" ")) if name == b"d" else b""
        await self.receive_messages(session_id, data)
        self.write("ok")


_FORM_TYPE = "application/x-www-form-urlencoded"


# --- WebSocket -----------------------------------------------------------------------------------


class WebSocketReceiver(SockJSHandler, Receiver, SockJSWebSocketHandler):  # type: ignore[misc]
    """A WebSocket that carries SockJS frames."""

    streams = True

    def initialize(self, server: RouterProtocol) -> None:
        super().initialize(server)
        self.session = None
        self.active = True
        self._peer_alive = True

    def prepare(self) -> None:
        super().prepare()
        self.server.check_capacity(self.path_kwargs.get("session_id", ""), self.request.remote_ip)

    async def _execute(self, transforms: Any, *args: bytes, **kwargs: bytes) -> None:
        # The package rejects some requests here, before `prepare` admits them; `get` does it later.
        await WebSocketHandler._execute(self, transforms, *args, **kwargs)

    async def get(self, session_id: str = "") -> None:
        head = self.request.headers
        if head.get("Upgrade", "").lower() != "websocket":
            raise HTTPError(400, _NOT_WEBSOCKET)
        tokens = {token.strip() for token in head.get("Connection", "").lower().split(",")}
        if "upgrade" not in tokens:
            raise HTTPError(400, _WRONG_CONNECTION)
        if head.get("Sec-WebSocket-Version") in _DRAFT_VERSIONS:
            head["Sec-WebSocket-Version"] = "13"
        await WebSocketHandler.get(self, session_id)

    @property
    def max_message_size(self) -> int:
        return _MAX_DISCARDED_BODY

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        return StrictWebSocketProtocol.replacing(super().get_websocket_protocol())

    def get_compression_options(self) -> None:
        return None

    def open(self, session_id: str) -> None:
        session = self.server.create_session(session_id, register=False)
        self.server.stats.on_conn_opened()
        self.session = session
        session.set_handler(self)
        session.verify_state()
        session.flush()

    def on_close(self) -> None:
        if self.session is not None:
            session, self.session = self.session, None
            session.remove_handler(self)
            session.close(1002, "Connection interrupted")
            self.server.stats.on_conn_closed()

    def session_closed(self) -> None:
        if self.session is not None:
            session, self.session = self.session, None
            session.remove_handler(self)
            self.close(*self.websocket_close(*session.get_close_reason()))
            self.server.stats.on_conn_closed()

    def drop(self) -> None:
        if self.session is not None:
            self.server.stats.on_conn_closed()
        super().drop()

    def on_finish(self) -> None:
        # Tornado finishes the request at the handshake; the bytes after it are counted as well.
        if self.get_status() != 101:
            super().on_finish()

    # --- down

    def websocket_close(self, code: int, reason: str) -> tuple[int, str]:
        """Return code and reason of the WebSocket close frame; SockJS has sent its own already."""
        return 1000, "Normal closure"

    def wrap(self, frame: bytes) -> bytes:
        return framing.socket_frame(frame)

    def send_frame(self, frame: bytes) -> None:
        if self._is_closing():
            return
        self.active = False
        written = self.stream.write(self.wrap(frame))
        if written.done():
            self._frame_written(written)
        else:
            written.add_done_callback(self._frame_written)

    def push_frame(self, frame: bytes, events: int) -> bool:
        return not self._is_closing() and bool(self.stream.push(self.wrap(frame), events))

    def _is_closing(self) -> bool:
        """Whether a close frame was sent: no data may follow it (RFC 6455 §5.5.1)."""
        return self.ws_connection is None or self.ws_connection.is_closing()

    def _frame_written(self, written: Any) -> None:
        if written.exception() is None and not self.active:
            self.active = True
            if self.session is not None:
                self.session.flush()

    def send_heartbeat(self) -> bool:
        alive, self._peer_alive = self._peer_alive, False
        if not alive or not super().send_heartbeat():
            return False
        self.stream.write(PING)  # a client need not answer the frame, but must answer a ping
        return True

    # --- up

    def on_pong(self, data: bytes) -> None:
        self._peer_alive = True

    async def on_message(self, message: str | bytes) -> None:
        self._peer_alive = True
        if not message or self.session is None:
            return
        try:
            batch = self.unpack(message)
        except (ValueError, RecursionError):
            self.stream.close()  # without a close frame, as the protocol requires
            return
        if self.server.within_limits(batch):
            await self.session.receive(batch)
        else:
            self.session.close(_TOO_BIG, "Too long")

    def unpack(self, message: str | bytes) -> list[str]:
        return framing.decode(message.encode() if isinstance(message, str) else message)


class SockJSWebSocket(WebSocketReceiver, WebSocketTransport):  # type: ignore[misc]
    pass


class RawWebSocket(WebSocketReceiver, RawWebSocketTransport):  # type: ignore[misc]
    """A WebSocket without SockJS frames, for programs."""

    def open(self, session_id: str) -> None:
        super().open(secrets.token_urlsafe(8))

    def websocket_close(self, code: int, reason: str) -> tuple[int, str]:
        return code, reason

    def send_frame(self, frame: bytes) -> None:
        """Send nothing: frames such as `o` exist only in SockJS."""

    def send_messages(self, encoded: Sequence[str]) -> None:
        for message in encoded:
            WebSocketReceiver.send_frame(self, json.loads(message).encode())

    def send_heartbeat(self) -> bool:
        alive, self._peer_alive = self._peer_alive, False
        self.stream.write(PING)
        return alive

    def unpack(self, message: str | bytes) -> list[str]:
        if isinstance(message, bytes):
            raise ValueError("a message must be text")
        return [message]


# --- greeting, info and iframe -------------------------------------------------------------------


class Greetings(SockJSHandler, GreetingsHandler):  # type: ignore[misc]
    skips_origin_check = True


class Info(CORSHandler, InfoHandler):  # type: ignore[misc]
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


class IFrame(SockJSHandler, IFrameHandler):  # type: ignore[misc]
    """The page that the client library loads in an iframe, to connect from another origin."""

    skips_origin_check = True

    def get(self) -> None:
        page = (IFRAME_TEXT % escape(self.server.settings["sockjs_url"])).encode()
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
