"""SockJS over a WebSocket: messages both ways on one connection, with SockJS frames or without.

Tornado implements RFC 6455.  Each heartbeat comes with a ping, which the peer must answer: this
detects a peer that is gone although TCP has not noticed.
"""

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from sockjs.tornado.transports import RawWebSocketTransport, WebSocketTransport
from sockjs.tornado.websocket import SockJSWebSocketHandler
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from realtime.protocol.websocket_frames import PING
from realtime.transports.sockjs import framing
from realtime.transports.sockjs.handlers import SockJSHandler
from realtime.transports.sockjs.interfaces import Receiver, RouterProtocol
from realtime.transports.upgrade import (
    StrictWebSocketProtocol,
    check_connected,
    has_handshake_fields,
)

_NOT_WEBSOCKET = 'Can "Upgrade" only to "WebSocket".'
_WRONG_CONNECTION = '"Connection" must be "Upgrade".'
_NO_HANDSHAKE = "This is not a handshake of RFC 6455, version 13."
# Drafts of RFC 6455 whose frames are the same.
_DRAFT_VERSIONS = ("7", "8")
# The close code for a message that is too big (RFC 6455 §7.4.1).
_TOO_BIG = 1009


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
        check_connected(self.stream)
        if head.get("Sec-WebSocket-Version") in _DRAFT_VERSIONS:
            head["Sec-WebSocket-Version"] = "13"
        valid = head.get("Sec-WebSocket-Version") == "13" and has_handshake_fields(head)
        if not valid or self.request.version != "HTTP/1.1":
            raise HTTPError(426, _NO_HANDSHAKE)
        await WebSocketHandler.get(self, session_id)

    @property
    def max_message_size(self) -> int:
        return int(self.server.settings["body_bytes"])

    def _check_cross_origin(self, check: Callable[[str], bool]) -> str | None:
        return None  # checked in `acquire`

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
