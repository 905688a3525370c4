"""The opening handshake of RFC 6455, most of which Tornado does.

A request to upgrade is checked like any other request.  After the handshake it is no longer an HTTP
request, and subclasses handle the messages.
"""

import re

from tornado.websocket import WebSocketHandler, WebSocketProtocol

from realtime import errors
from realtime.protocol.websocket_frames import StrictWebSocketProtocol
from realtime.transports.handler import Handler

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


class Upgrade(Handler, WebSocketHandler):
    """A checked and counted WebSocket; `get` calls `check_upgrade` first, and `upgrade` last."""

    def check_upgrade(self) -> None:
        """Raise `UpgradeRequired` unless this is a handshake (RFC 6455 §4.2.1)."""
        head = self.request.headers
        upgrade, tokens = head.get("Upgrade", "").lower(), head.get("Connection", "").lower()
        requested = (
            self.request.method,
            self.request.version,
            upgrade,
            head.get("Sec-WebSocket-Version"),
        )
        key = head.get("Sec-WebSocket-Key", "")
        # HTTP/1.1, and a key that is 16 bytes in base64.
        valid = requested == ("GET", "HTTP/1.1", "websocket", "13") and _KEY.fullmatch(key)
        if not valid or "upgrade" not in tokens:
            raise errors.UpgradeRequired("Connect with WebSocket here (RFC 6455, version 13).")

    async def upgrade(self) -> None:
        await WebSocketHandler.get(self)

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        return StrictWebSocketProtocol.replacing(super().get_websocket_protocol())

    def check_origin(self, origin: str) -> bool:
        return True  # `check_request_origin` has checked it, as for every transport

    def on_finish(self) -> None:
        # Tornado finishes the request at the handshake; we still count what follows.
        if self.get_status() != 101:
            super().on_finish()
