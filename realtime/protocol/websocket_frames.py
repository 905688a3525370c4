"""WebSocket frames (RFC 6455): how we encode ours, and two rules that Tornado does not enforce."""

import asyncio

from tornado.websocket import WebSocketProtocol, WebSocketProtocol13

# RFC 6455 §5.2: FIN and the opcode of a text frame.
_FIN_TEXT = 0x81
# FIN and the opcode of a ping, without payload.
PING = bytes((0x89, 0))
# RFC 6455 §7.4.1 and the IANA registry: all others must not be sent, or are not defined yet.
_CLOSE_CODES = {*range(1000, 1004), *range(1007, 1015)}
_PROTOCOL_ERROR = 1002


def text_frame(text: bytes) -> bytes:
    return frame_header(len(text)) + text


def frame_header(length: int) -> bytes:
    """Return the header of a text frame: its length in 7, 7+16 or 7+64 bits (RFC 6455 §5.2)."""
    if length <= 125:
        return bytes((_FIN_TEXT, length))
    if length <= 0xFFFF:
        return bytes((_FIN_TEXT, 126)) + length.to_bytes(2)
    return bytes((_FIN_TEXT, 127)) + length.to_bytes(8)


class StrictWebSocketProtocol(WebSocketProtocol13):
    """Tornado's protocol, with two rules of RFC 6455 that it does not enforce."""

    _frame_mask: bytes | None = None  # of the frame that was read last

    @classmethod
    def replacing(cls, default: WebSocketProtocol | None) -> "StrictWebSocketProtocol | None":
        """Return the protocol to use instead of `default`; None if it is not version 13."""
        if not isinstance(default, WebSocketProtocol13):
            return None
        return cls(default.handler, default.mask_outgoing, default.params)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        # §7.4: Tornado echoes every code that it receives, even one that must not be sent.
        allowed = code is None or code in _CLOSE_CODES or 3000 <= code <= 4999
        super().close(code if allowed else _PROTOCOL_ERROR, reason)

    def _handle_message(self, opcode: int, data: bytes) -> "asyncio.Future[None] | None":
        # §5.1: a server MUST close the connection upon receiving a frame that is not masked.
        if self._frame_mask is None:
            self.close(_PROTOCOL_ERROR)
            self._abort()  # anything else it sent is not read
            return None
        self._frame_mask = None
        return super()._handle_message(opcode, data)
