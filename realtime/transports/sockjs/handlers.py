"""The handlers of sockjs-tornado, each with what it lacks; what they lack alike comes first."""

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
from realtime.transports.sockjs.interfaces import Receiver, Router

# A body that is too long is read to its end and dropped, up to here, so that the sender hears why.
_MOST_DROPPED = 1_048_576
_CALLBACK = re.compile(r"[A-Za-z0-9_.]{1,64}")
_COOKIE = re.compile(r"[\w.-]{1,128}", re.ASCII)
_UPGRADE_ONLY = 'Can "Upgrade" only to "WebSocket".'
_WRONG_CONNECTION = '"Connection" must be "Upgrade".'
# Of RFC 6455 before it was one; their frames are the same.
_OLD_VERSIONS = ("7", "8")
# A batch that is too long, as RFC 6455 §7.4.1 has it.
_TOO_BIG = 1009


@stream_request_body
class Guarded(RequestHandler):
    """A request that the router admits, with a body of bounded size.

    What is `for_anybody` tells nothing, so a link may lead to it from anywhere.
    """

    server: Router
    for_anybody: ClassVar = False

    def initialize(self, server: Router) -> None:
        super().initialize(server)
        self.stream: Any = self.request.connection.stream  # type: ignore[union-attr]
        self._read = bytearray()
        self.request.connection.set_max_body_size(_MOST_DROPPED)  # type: ignore[union-attr]

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        self.server.acquire(self)
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._read) <= self.server.settings["body_bytes"]:
            self._read += chunk

    def body(self) -> bytes:
        if len(self._read) > self.server.settings["body_bytes"]:
            raise HTTPError(413, "Too long.")
        return bytes(self._read)

    def check_trusted_origin(self, origin: str) -> bool:
        return True  # `acquire` has decided

    check_origin = check_trusted_origin

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.clear()
        self.server.refuse(self, status_code, kwargs.get("exc_info", (None, None, None))[1])

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not self.server.is_expected(value):
            super().log_exception(typ, value, tb)

    def on_finish(self) -> None:
        self.server.answered(self)


class Crossing(Guarded, PreflightHandler):  # type: ignore[misc]
    """A request that a page at another origin may send, if the router knows it."""

    def preflight(self) -> None:
        self.set_header("Vary", "Origin")
        if allowed := self.server.readable_by(self.request.headers):
            self.set_header("Access-Control-Allow-Origin", allowed)
            self.set_header("Access-Control-Allow-Credentials", "true")
            if asked := self.request.headers.get("Access-Control-Request-Headers"):
                self.set_header("Access-Control-Allow-Headers", asked)

    def verify_origin(self) -> bool:
        return (
            self.request.headers.get("Origin") is None
            or self.server.readable_by(self.request.headers) is not None
        )

    def handle_session_cookie(self) -> None:
        """Give back the cookie by which a load balancer keeps a session with one process."""
        if self.server.settings["jsessionid"]:
            cookie = self.cookies.get("JSESSIONID")
            value = cookie.value if cookie and _COOKIE.fullmatch(cookie.value) else "dummy"
            self.set_header("Set-Cookie", f"JSESSIONID={value}; Path=/; HttpOnly; SameSite=Lax")

    def compute_etag(self) -> None:
        """Spare a hash of every answer: none of these may be kept."""


# --- who receives --------------------------------------------------------------------------------


class Polling(Crossing, Receiver, PollingTransportBase):  # type: ignore[misc]
    """An answer that is one frame."""

    streams = False

    def initialize(self, server: Router) -> None:
        super().initialize(server)
        self.session = None
        self.active = True

    def prepare(self) -> None:
        super().prepare()
        self.server.check_place(self.path_kwargs["session_id"], self.request.remote_ip)

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


class Streaming(Polling):
    """An answer that never ends, or only so that the browser may forget it."""

    streams = True

    def initialize(self, server: Router) -> None:
        super().initialize(server)
        self.amount_limit = server.settings["response_limit"]
        self._chunked = self.request.version != "HTTP/1.0"
        if not self._chunked:
            self.set_header("Connection", "close")

    def begin(self, content_type: str, prelude: bytes) -> None:
        """Send the head and what comes before the first frame."""
        self.preflight()
        self.handle_session_cookie()
        self.disable_cache()
        self.set_header("Content-Type", content_type)
        self.set_header("X-Accel-Buffering", "no")  # nginx would collect 4-8 KB first
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
            self._has_written(written)
        else:
            written.add_done_callback(self._has_written)
        self._count(data)

    def push_frame(self, frame: bytes, events: int) -> bool:
        data = self.wrap(frame)
        if self._finished or not self.stream.push(self._chunk(data), events):
            return False
        self._count(data)
        return True

    def _chunk(self, data: bytes) -> bytes:
        # What is written past Tornado must be as Tornado would have written it.
        return framing.chunk(data) if self._chunked else data

    def _count(self, data: bytes) -> None:
        """End the answer when it has grown long: a browser keeps all of it."""
        self.amount_limit -= len(data)
        if self.amount_limit <= 0 and not self._finished:
            self._detach()
            self.safe_finish()

    def _has_written(self, written: Any) -> None:
        if written.exception() is None and not self.active:
            self.active = True
            if self.session is not None:
                self.session.flush()

    def finish(self, chunk: Any = None) -> None:  # type: ignore[override]
        super().finish(chunk)
        if not self._chunked and not self.stream.closed():
            # RFC 9112 §6.3: without chunks, the end of the connection ends the body.
            self.stream.write(b"").add_done_callback(lambda written: self.stream.close())


class XhrPolling(Polling, XhrPollingTransport):  # type: ignore[misc]
    def wrap(self, frame: bytes) -> bytes:
        return framing.line(frame)


class JSONP(Polling, JSONPTransport):  # type: ignore[misc]
    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "GET":
            self._callback = _callback(self)

    def wrap(self, frame: bytes) -> bytes:
        return framing.call(self._callback, frame)


class XhrStreaming(Streaming, XhrStreamingTransport):  # type: ignore[misc]
    async def post(self, session_id: str) -> None:
        self._auto_finish = False
        self.begin("application/javascript; charset=UTF-8", framing.XHR_PRELUDE)
        self.attach(session_id)

    def wrap(self, frame: bytes) -> bytes:
        return framing.line(frame)


class EventSource(Streaming, EventSourceTransport):  # type: ignore[misc]
    async def get(self, session_id: str) -> None:
        self._auto_finish = False
        self.begin("text/event-stream; charset=UTF-8", framing.EVENTSOURCE_PRELUDE)
        self.attach(session_id)

    def wrap(self, frame: bytes) -> bytes:
        return framing.event(frame)


class HtmlFile(Streaming, HtmlFileTransport):  # type: ignore[misc]
    async def get(self, session_id: str) -> None:
        page = framing.htmlfile_page(_callback(self))
        self._auto_finish = False
        self.begin("text/html; charset=UTF-8", page)
        self.attach(session_id)

    def wrap(self, frame: bytes) -> bytes:
        return framing.script(frame)


def _callback(handler: RequestHandler) -> str:
    """The name of the function that is to be called: a name, and nothing that could be code."""
    callback = handler.get_argument("c", "")
    if not callback:
        raise HTTPError(500, '"callback" parameter required')
    if not _CALLBACK.fullmatch(callback):
        raise HTTPError(400, 'invalid "callback" parameter')
    return callback


# --- who sends -----------------------------------------------------------------------------------


class Sending(Crossing, PollingTransportBase):  # type: ignore[misc]
    """A request that brings messages for a session."""

    async def bring(self, session_id: str, data: bytes) -> None:
        session = self.server.session_for(session_id, self.request.remote_ip)
        if session is None:
            raise HTTPError(404)
        if not data:
            raise HTTPError(500, "Payload expected.")
        try:
            batch = framing.decode(data)
        except (ValueError, RecursionError):
            raise HTTPError(500, "Broken JSON encoding.") from None
        if not self.server.is_bearable(batch):
            raise HTTPError(413, "Too long.")
        # Answered when they have been heard: who sends faster than that waits.
        await session.receive(batch)
        self.preflight()
        self.handle_session_cookie()
        self.disable_cache()
        self.set_header("Content-Type", "text/plain; charset=UTF-8")


class XhrSend(Sending, XhrSendHandler):  # type: ignore[misc]
    async def post(self, session_id: str) -> None:
        await self.bring(session_id, self.body())
        self.set_status(204)

    def _clear_representation_headers(self) -> None:
        """Keep the type of an answer without a body: Firefox takes what has none for XML."""


class JSONPSend(Sending, JSONPSendHandler):  # type: ignore[misc]
    async def post(self, session_id: str) -> None:
        data = self.body()
        if self.request.headers.get("Content-Type", "").lower().startswith(_FORM):
            name, _, value = data.partition(b"=")
            data = unquote_to_bytes(value.replace(b"+", b" ")) if name == b"d" else b""
        await self.bring(session_id, data)
        self.write("ok")


_FORM = "application/x-www-form-urlencoded"


# --- WebSocket -----------------------------------------------------------------------------------


class Socket(Guarded, Receiver, SockJSWebSocketHandler):  # type: ignore[misc]
    """A WebSocket with SockJS frames in it."""

    streams = True

    def initialize(self, server: Router) -> None:
        super().initialize(server)
        self.session = None
        self.active = True
        self._heard = True

    def prepare(self) -> None:
        super().prepare()
        self.server.check_place(self.path_kwargs.get("session_id", ""), self.request.remote_ip)

    async def _execute(self, transforms: Any, *args: bytes, **kwargs: bytes) -> None:
        # The package answers some mistakes before anybody was asked; `get` does so in its turn.
        await WebSocketHandler._execute(self, transforms, *args, **kwargs)

    async def get(self, session_id: str = "") -> None:
        head = self.request.headers
        if head.get("Upgrade", "").lower() != "websocket":
            raise HTTPError(400, _UPGRADE_ONLY)
        tokens = {token.strip() for token in head.get("Connection", "").lower().split(",")}
        if "upgrade" not in tokens:
            raise HTTPError(400, _WRONG_CONNECTION)
        if head.get("Sec-WebSocket-Version") in _OLD_VERSIONS:
            head["Sec-WebSocket-Version"] = "13"
        await WebSocketHandler.get(self, session_id)

    @property
    def max_message_size(self) -> int:
        return _MOST_DROPPED

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
            self.close(*self.parting(*session.get_close_reason()))
            self.server.stats.on_conn_closed()

    def abandon(self) -> None:
        if self.session is not None:
            self.server.stats.on_conn_closed()
        super().abandon()

    def on_finish(self) -> None:
        # Tornado finishes the request at the handshake; what follows is still to be counted.
        if self.get_status() != 101:
            super().on_finish()

    # --- down

    def parting(self, code: int, reason: str) -> tuple[int, str]:
        """How the WebSocket itself is closed, once SockJS has said why in a frame of its own."""
        return 1000, "Normal closure"

    def wrap(self, frame: bytes) -> bytes:
        return framing.socket_frame(frame)

    def send_frame(self, frame: bytes) -> None:
        if self._ending():
            return
        self.active = False
        written = self.stream.write(self.wrap(frame))
        if written.done():
            self._has_written(written)
        else:
            written.add_done_callback(self._has_written)

    def push_frame(self, frame: bytes, events: int) -> bool:
        return not self._ending() and bool(self.stream.push(self.wrap(frame), events))

    def _ending(self) -> bool:
        """Whether a close frame was sent: no data may come after it (RFC 6455 §5.5.1)."""
        return self.ws_connection is None or self.ws_connection.is_closing()

    def _has_written(self, written: Any) -> None:
        if written.exception() is None and not self.active:
            self.active = True
            if self.session is not None:
                self.session.flush()

    def beat(self) -> bool:
        heard, self._heard = self._heard, False
        if not heard or not super().beat():
            return False
        self.stream.write(PING)  # the frame needs no answer, and this does
        return True

    # --- up

    def on_pong(self, data: bytes) -> None:
        self._heard = True

    async def on_message(self, message: str | bytes) -> None:
        self._heard = True
        if not message or self.session is None:
            return
        try:
            batch = self.unpack(message)
        except (ValueError, RecursionError):
            self.stream.close()  # as the protocol wants it: abruptly
            return
        if self.server.is_bearable(batch):
            await self.session.receive(batch)
        else:
            self.session.close(_TOO_BIG, "Too long")

    def unpack(self, message: str | bytes) -> list[str]:
        return framing.decode(message.encode() if isinstance(message, str) else message)


class WebSocket(Socket, WebSocketTransport):  # type: ignore[misc]
    pass


class RawWebSocket(Socket, RawWebSocketTransport):  # type: ignore[misc]
    """A WebSocket without SockJS in it, for programs."""

    def open(self, session_id: str) -> None:
        super().open(secrets.token_urlsafe(8))

    def parting(self, code: int, reason: str) -> tuple[int, str]:
        return code, reason

    def send_frame(self, frame: bytes) -> None:
        """Keep what only SockJS needs to itself."""

    def send_messages(self, encoded: Sequence[str]) -> None:
        for message in encoded:
            Socket.send_frame(self, json.loads(message).encode())

    def beat(self) -> bool:
        heard, self._heard = self._heard, False
        self.stream.write(PING)
        return heard

    def unpack(self, message: str | bytes) -> list[str]:
        if isinstance(message, bytes):
            raise ValueError("a message is text")
        return [message]


# --- what stands beside --------------------------------------------------------------------------


class Greetings(Guarded, GreetingsHandler):  # type: ignore[misc]
    for_anybody = True


class Info(Crossing, InfoHandler):  # type: ignore[misc]
    def initialize(self, server: Router) -> None:
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
                "origins": ["*:*"],  # by the protocol; whoever may not is told so with a 403
                "entropy": secrets.randbits(32),
            }
        )


class IFrame(Guarded, IFrameHandler):  # type: ignore[misc]
    """The page by which a client speaks with us from a page at another origin."""

    for_anybody = True

    def get(self) -> None:
        page = (IFRAME_TEXT % escape(self.server.settings["sockjs_url"])).encode()
        script = page.partition(b"<script>")[2].partition(b"</script>")[0]
        digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
        library = self.server.settings["sockjs_url"].partition("?")[0]
        place = "'self'" if library.startswith("/") else library
        if self.server.lasting:
            self.enable_cache()
        else:
            self.set_header("Cache-Control", "no-cache")  # ask each time, and be told 304
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; base-uri 'none'; connect-src 'self'; frame-src 'self'; "
            f"script-src 'sha256-{digest}' {place}; "
            f"frame-ancestors {self.server.framed_by(self.request.headers)}",
        )
        self.write(page)
