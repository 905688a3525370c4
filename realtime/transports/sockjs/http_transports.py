"""The SockJS transports over HTTP: down by polls or streams, up by one request for each batch.

    PollingReceiver        down, one frame per response    xhr, jsonp
    └─ StreamingReceiver   down, an endless response       xhr_streaming, eventsource, htmlfile
    SendHandler            up                              xhr_send, jsonp_send

They differ only in the envelope of a frame, and in how a browser must be addressed.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from sockjs.tornado.transports import (
    EventSourceTransport,
    HtmlFileTransport,
    JSONPSendHandler,
    JSONPTransport,
    XhrPollingTransport,
    XhrSendHandler,
    XhrStreamingTransport,
)
from sockjs.tornado.transports.pollingbase import PollingTransportBase
from tornado.web import HTTPError, RequestHandler

from realtime.protocol.http1 import CONTINUE
from realtime.transports.sockjs import framing
from realtime.transports.sockjs.handlers import CORSHandler
from realtime.transports.sockjs.interfaces import Receiver, RouterProtocol

_CALLBACK = re.compile(r"[A-Za-z0-9_.]{1,64}")
_FORM_TYPE = "application/x-www-form-urlencoded"


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

    def check_reader(self) -> None:
        if not self._headers_written and self.request.version == "HTTP/1.1":
            self.stream.write(CONTINUE)

    def _attach_session(self, session_id: str, start_heartbeat: bool = False) -> bool:
        attached: bool = super()._attach_session(session_id, start_heartbeat)
        if attached and self.stream.closed():
            # The client disconnected before we asked to be informed: nobody will report it.
            self.on_connection_close()
        return attached

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

    def check_reader(self) -> None:
        self.send_heartbeat()

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
        self.begin("text/event-stream", framing.EVENTSOURCE_PRELUDE)
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
    """Return the name of the function to call; raises `HTTPError` if it could be code.

    500 is the protocol's status for both errors.
    """
    callback = handler.get_argument("c", "", strip=False)
    if not callback:
        raise HTTPError(500, '"callback" parameter required')
    if not _CALLBACK.fullmatch(callback):
        raise HTTPError(500, 'invalid "callback" parameter')
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
