"""The opening handshake of RFC 6455, most of which Tornado does, and the frames that follow.

A request to upgrade is checked like any other request.  After the handshake it is no longer an HTTP
request, and subclasses handle the messages.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress

from tornado.iostream import IOStream, StreamClosedError
from tornado.util import _websocket_mask
from tornado.websocket import (
    WebSocketHandler,
    WebSocketProtocol,
    WebSocketProtocol13,
    _WebSocketDelegate,
    _WebSocketParams,
)

from realtime import errors
from realtime.protocol import websocket_frames as frames
from realtime.protocol.permessage_deflate import AGREED, inflate
from realtime.protocol.websocket_frames import Violation
from realtime.transports.base import Stream
from realtime.transports.handler import Handler
from realtime.transports.lingering import MAX_LINGER_BYTES, close_lingering, discard

EXTENSIONS_FIELD = "Sec-WebSocket-Extensions"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
# Seconds for a client to answer our close frame; it may have to send the rest of a message first.
_CLOSE_SECONDS = 5
_PIECE_BYTES = 65_536


class StrictWebSocketProtocol(WebSocketProtocol13):
    """Tornado's protocol, with our own reader of frames and our own end of a connection.

    Tornado disconnects at a violation without a close frame.  A client then sees 1006, as after a
    broken cable.  Here each violation gets the close code of RFC 6455 §7.4.1, and the close frame
    arrives: we never close while the client is still sending.
    """

    # Slots, because only a dict of at most 30 keys shares them among instances (CPython): with
    # ours, each connection would pay a kilobyte for a separate table.
    __slots__ = (
        "_discarded_bytes",
        "_message_compressed",
        "_message_opcode",
        "_reading",
        "deflates",
    )

    def __init__(
        self, handler: _WebSocketDelegate, mask_outgoing: bool, params: _WebSocketParams
    ) -> None:
        super().__init__(handler, mask_outgoing, params)
        self.deflates = False  # whether messages may be compressed (RFC 7692)
        self._discarded_bytes = 0
        # Of the message whose fragments are arriving.
        self._message_opcode = frames.CONTINUATION
        self._message_compressed = False
        self._reading: asyncio.Task[None] | None = None  # the loop itself keeps no task alive

    @classmethod
    def replacing(cls, default: WebSocketProtocol | None) -> "StrictWebSocketProtocol | None":
        """Return the protocol to use instead of `default`; None if it is not version 13."""
        if not isinstance(default, WebSocketProtocol13):
            return None
        return cls(default.handler, default.mask_outgoing, default.params)

    # --- in --------------------------------------------------------------------------------------

    async def _receive_frame_loop(self) -> None:
        """Read frames in a separate task, so that the coroutines of the handshake can end.

        They await this one, and hold the request with its header fields: three kilobytes.
        """
        self._reading = asyncio.create_task(self._read_until_closed())

    async def _read_until_closed(self) -> None:
        """Handle frames until the closing handshake is complete, and close the connection."""
        try:
            await self._receive_frames()
        except Violation as violation:
            self.client_terminated = True  # what follows cannot be parsed
            self.close(violation.code, violation.reason)
        except StreamClosedError:
            self._abort()
        except BaseException:  # a cancellation, or a fault of ours: nobody reads here any more
            self._abort()
            raise
        finally:
            self._release_handler()
        await close_lingering(self.stream)
        self._reading = None

    def _release_handler(self) -> None:
        """Report the end to the handler, which then sends nothing more."""
        # Without its protocol the handler cannot close the stream, where we still read.
        self.handler.ws_connection = None  # type: ignore[attr-defined]
        self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    async def _receive_frames(self) -> None:
        while not self.client_terminated:
            # One packet can contain a thousand frames, and a client can have a thousand
            # connections: before each frame, the other connections have their turn.  Not after it:
            # after a close frame, an event of the room must not have a turn (§5.5.1).
            await asyncio.sleep(0)
            await self._receive_one_frame()

    async def _receive_one_frame(self) -> None:
        """Read and handle one frame."""
        read, fragments = self.stream.read_bytes, self._fragmented_message_buffer
        in_message = fragments is not None
        start = frames.parse_frame_start(await read(2), in_message, self.deflates)
        length, key = frames.parse_frame_rest(start, await read(start.rest))
        total = length + (len(fragments) if fragments is not None else 0)
        too_big = total > self.params.max_message_size
        if not start.is_control and (self.server_terminated or too_big):
            await self._discard_data(start, length)
            return
        payload = _websocket_mask(key, await self._read_payload(length))
        if start.is_control:
            handled = self._handle_message(start.opcode, payload)
        else:
            handled = self._add_data(start, payload)
        if handled is not None:
            await handled

    async def _read_payload(self, length: int) -> bytes:
        if length <= _PIECE_BYTES:
            return await self.stream.read_bytes(length)
        payload = bytearray()  # a stream returns no more at once than it buffers
        while missing := length - len(payload):
            payload += await self.stream.read_bytes(min(missing, _PIECE_BYTES), partial=True)
        return bytes(payload)

    def _add_data(self, start: frames.FrameStart, data: bytes) -> "asyncio.Future[None] | None":
        """Handle a message if `data` completes it; otherwise keep the fragment."""
        if self._fragmented_message_buffer is None:
            if start.final:
                return self._handle_data(start.opcode, start.compressed, data)
            self._message_opcode = start.opcode
            self._message_compressed = start.compressed
            self._fragmented_message_buffer = bytearray()
        self._fragmented_message_buffer += data
        if not start.final:
            return None
        message, self._fragmented_message_buffer = self._fragmented_message_buffer, None
        return self._handle_data(self._message_opcode, self._message_compressed, bytes(message))

    def _handle_data(
        self, opcode: int, compressed: bool, data: bytes
    ) -> "asyncio.Future[None] | None":
        """Handle a complete message; its limit is the same after it has been inflated."""
        if compressed:
            data = inflate(data, self.params.max_message_size)
        return self._handle_message(opcode, data)

    async def _discard_data(self, start: frames.FrameStart, length: int) -> None:
        """Report a message that is too big, and read on to the client's close frame.

        After our close frame, a client may complete what it is sending, and we ignore it (§5.5.1).
        """
        if not self.server_terminated:
            self.close(frames.TOO_BIG, "the message is too big")
            self._release_handler()
        self._fragmented_message_buffer = None if start.final else bytearray()
        self._discarded_bytes += length
        if self._discarded_bytes > MAX_LINGER_BYTES:
            raise Violation(frames.TOO_BIG, "the message is too big")
        await discard(self.stream, length)

    def _handle_message(self, opcode: int, data: bytes) -> "asyncio.Future[None] | None":
        if opcode == frames.TEXT:
            return self._run_callback(self.handler.on_message, frames.decode_text(data))
        if opcode == frames.CLOSE:
            self.close_code, self.close_reason = frames.parse_close(data)
            self.client_terminated = True
            self.close(self.close_code)  # §5.5.1: the answer repeats the code
            return None
        if opcode == frames.PING_OPCODE and self.server_terminated:
            return None  # §5.5.1: no frame follows a close frame
        return super()._handle_message(opcode, data)

    # --- the end ---------------------------------------------------------------------------------

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame, once, and wait some seconds for the client's."""
        if not self.server_terminated:
            self.server_terminated = True
            payload = b"" if code is None else code.to_bytes(2) + (reason or "").encode()
            with suppress(StreamClosedError):
                self._write_frame(True, frames.CLOSE, payload)
        loop = self.stream.io_loop
        if not self.client_terminated and self._waiting is None:
            self._waiting = loop.call_later(_CLOSE_SECONDS, self._abort)
        elif self.client_terminated and self._waiting is not None:
            loop.remove_timeout(self._waiting)
            self._waiting = None
        if self._ping_coroutine:
            self._ping_coroutine.cancel()
            self._ping_coroutine = None


def check_connected(stream: Stream) -> None:
    """Raise `StreamClosedError` if the client has reset the connection with its request.

    Tornado has then already called `on_close`, and will not call it again: what the handler opened
    from now on would stay open.
    """
    if stream.closed():
        raise StreamClosedError


def requests_websocket(fields: Mapping[str, str]) -> bool:
    """Return whether a request wants to upgrade to WebSocket (RFC 9110 §7.8)."""
    tokens = [token.strip() for token in fields.get("Connection", "").lower().split(",")]
    return "upgrade" in tokens and fields.get("Upgrade", "").lower() == "websocket"


def has_handshake_fields(fields: Mapping[str, str]) -> bool:
    """Return whether a handshake has a host, and a key: 16 bytes in base64.

    Tornado answers a handshake without them with a line of text.
    """
    return bool(fields.get("Host") and _KEY.fullmatch(fields.get("Sec-WebSocket-Key", "")))


class Upgrade(Handler, WebSocketHandler):
    """A checked and counted WebSocket; `get` calls `check_upgrade` first, and `upgrade` last.

    `deflates` is set between the two, if the client offers permessage-deflate.
    """

    deflates = False

    def check_upgrade(self) -> None:
        """Raise `UpgradeRequired` unless this is a handshake (RFC 6455 §4.2.1)."""
        check_connected(self.stream)
        request = self.request
        start_line = request.method, request.version, request.headers.get("Sec-WebSocket-Version")
        valid = start_line == ("GET", "HTTP/1.1", "13") and has_handshake_fields(request.headers)
        if not valid or not requests_websocket(request.headers):
            raise errors.UpgradeRequired("Connect with WebSocket here (RFC 6455, version 13).")

    async def upgrade(self) -> None:
        """Answer the handshake, and call `open`; frames are read in another task."""
        if self.deflates:
            self.set_header(EXTENSIONS_FIELD, AGREED)
        await WebSocketHandler.get(self)

    def _check_cross_origin(self, check: Callable[[str], bool]) -> str | None:
        return None  # `check_request_origin` has checked it, as for every transport

    def _detach_stream(self) -> IOStream:
        # Tornado also replaces seven methods of each handler, to catch mistakes.  The dict of the
        # handler then shares its keys with no other, which costs a kilobyte.
        return self.detach()

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        protocol = StrictWebSocketProtocol.replacing(super().get_websocket_protocol())
        if protocol is not None and self.deflates:
            protocol.deflates = True
        return protocol

    def on_finish(self) -> None:
        # Tornado finishes the request at the handshake; we still count what follows.
        if self.get_status() != 101:
            super().on_finish()
