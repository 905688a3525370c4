"""What the tap shows of a QUIC connection: the sizes of its packets, and the bytes of its streams.

Packets are encrypted, headers too, so their bytes would show nothing.  The header sections of
HTTP/3 are compressed by Huffman codes (RFC 9204), in which no secret can be found: they are shown
as text instead.
"""

import time
from collections.abc import Iterable

from realtime.server.redaction import Redactor
from realtime.server.tap import Direction, Tap

# Packets that are remembered until the request says whether it is traced; a handshake has about 8.
_MAX_EARLY_PACKETS = 32


class Capture:
    """Copies what crosses one connection to a tap, once its request has named one."""

    __slots__ = ("_connection", "_early", "_redactor", "_tap", "_transport")

    def __init__(self, connection: int, transport: str) -> None:
        self._connection = connection
        self._transport = transport
        self._tap: Tap | None = None
        self._early: list[tuple[float, Direction, int]] | None = []
        self._redactor: Redactor | None = None

    def start(self, tap: Tap | None) -> None:
        """Show the packets up to now, and all that follows; nothing if `tap` is None."""
        early, self._early, self._tap = self._early or [], None, tap
        if tap is not None:
            self._redactor = Redactor()
            for at, direction, size in early:
                tap.packet(self._connection, self._transport, direction, size, at)

    def show_packet(self, direction: Direction, size: int) -> None:
        """Show a UDP datagram of `size` bytes."""
        if self._tap is not None:
            self._tap.packet(self._connection, self._transport, direction, size, time.time())
        elif self._early is not None and len(self._early) < _MAX_EARLY_PACKETS:
            self._early.append((time.time(), direction, size))

    def show_fields(
        self, direction: Direction, fields: Iterable[tuple[bytes, bytes]], stream: int
    ) -> None:
        """Show a header section as text."""
        if self._tap is not None:
            text = b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
            self._copy(direction, Redactor().redact(text), stream=stream)

    def show_data(self, direction: Direction, data: bytes, stream: int) -> None:
        """Show bytes of a stream."""
        if self._tap is not None:
            assert self._redactor is not None
            shown = self._redactor.redact(data) if direction == "up" else data
            self._copy(direction, shown, stream=stream)

    def show_datagram(self, direction: Direction, data: bytes) -> None:
        """Show the payload of a WebTransport datagram."""
        self._copy(direction, data, datagram=True)

    def close(self) -> None:
        """Show the end of the connection."""
        if self._tap is not None:
            self._tap.closed(self._connection)
            self._tap = None

    def _copy(self, direction: Direction, data: bytes, **more: int) -> None:
        if self._tap is not None:
            self._tap.copy(self._connection, self._transport, direction, data, **more)
