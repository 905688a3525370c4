"""The handshake of RFC 6455, and its rules for frames that come: what is left to Tornado of it.

A request that asks to upgrade is checked like any other before it is; then it is no request any
more, and whoever inherits from here says what is spoken.
"""

import asyncio
import re
from typing import Any

from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from realtime import errors
from realtime.transports.handler import Handler

# RFC 6455 §7.4.1 and the IANA registry: others may not be sent, or do not exist yet.
_CLOSE_CODES = {*range(1000, 1004), *range(1007, 1015)}
_PROTOCOL_ERROR = 1002
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


class Frames(WebSocketProtocol13):
    """Tornado's reading of frames, with two rules of RFC 6455 that it leaves out."""

    _frame_mask: bytes | None = None  # of the frame that was just read

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        # §7.4: Tornado sends back whatever code it was sent, be it allowed or not.
        allowed = code is None or code in _CLOSE_CODES or 3000 <= code <= 4999
        super().close(code if allowed else _PROTOCOL_ERROR, reason)

    def _handle_message(self, opcode: int, data: bytes) -> "asyncio.Future[None] | None":
        # §5.1: a server MUST close the connection upon receiving a frame that is not masked.
        if self._frame_mask is None:
            self.close(_PROTOCOL_ERROR)
            self._abort()  # whatever else it sent is not read
            return None
        self._frame_mask = None
        return super()._handle_message(opcode, data)


class Upgrade(Handler, WebSocketHandler):
    """A guarded and counted WebSocket; `get` calls `check_upgrade`, and `upgrade` as its last."""

    def check_upgrade(self) -> None:
        """Raise `UpgradeRequired` unless this is a handshake (RFC 6455 §4.2.1)."""
        head = self.request.headers
        upgrade, tokens = head.get("Upgrade", "").lower(), head.get("Connection", "").lower()
        asked = (self.request.version, upgrade, head.get("Sec-WebSocket-Version"))
        key = head.get("Sec-WebSocket-Key", "")
        # HTTP/1.1, and a key that is 16 bytes in base64.
        right = asked == ("HTTP/1.1", "websocket", "13") and _KEY.fullmatch(key)
        if not right or "upgrade" not in tokens:
            raise errors.UpgradeRequired("This address speaks WebSocket (RFC 6455, version 13).")

    async def upgrade(self) -> None:
        await WebSocketHandler.get(self)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if isinstance(kwargs.get("exc_info", (None, None, None))[1], errors.UpgradeRequired):
            self.set_header("Upgrade", "websocket")  # RFC 9110 §15.5.22
            self.set_header("Sec-WebSocket-Version", "13")
        super().write_error(status_code, **kwargs)

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        usual = super().get_websocket_protocol()
        assert isinstance(usual, WebSocketProtocol13)  # the version was checked
        return Frames(self, usual.mask_outgoing, usual.params)

    def check_origin(self, origin: str) -> bool:
        return True  # the door has checked it, as for every transport

    def on_finish(self) -> None:
        # Tornado finishes the request at the handshake; what follows is still ours to count.
        if self.get_status() != 101:
            super().on_finish()
