"""Frames of RFC 6455 §5.2, valid and invalid, with no code of the server."""

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import NamedTuple, Self

from tests.server_process import Server

# Above every delay of the server; only a failure reaches it.
SECONDS = 10.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
HANDSHAKE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """Build a frame; `length` can be wrong, and `width` (7, 16 or 64 bits) larger than needed."""
    size = len(payload) if length is None else length
    width = width or (7 if size <= 125 else 16 if size <= 0xFFFF else 64)
    short = size if width == 7 else 126 if width == 16 else 127
    head = bytes(((0x80 if fin else 0) | reserved << 4 | opcode, (0x80 if masked else 0) | short))
    if width > 7:
        head += size.to_bytes(width // 8)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    # As two large numbers, which takes a hundredth of the time of a loop over the bytes.
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked_payload = int.from_bytes(payload) ^ int.from_bytes(key)
    return head + mask + masked_payload.to_bytes(len(payload))


class Frame(NamedTuple):
    fin: bool
    reserved: int
    opcode: int
    payload: bytes


def frames_in(data: bytes) -> Iterator[Frame]:
    """Parse what a server sent, up to an incomplete frame; it must not mask (§5.1)."""
    while len(data) >= 2:
        assert data[1] < 0x80, data[:20]
        size = {126: 2, 127: 8}.get(data[1], 0)
        start = 2 + size
        length = int.from_bytes(data[2:start]) if size else data[1]
        if len(data) < start + length:
            return
        yield Frame(data[0] >= 0x80, data[0] >> 4 & 7, data[0] & 15, data[start : start + length])
        data = data[start + length :]


class Peer:
    """A connection with a correct handshake; after that, a test can send anything."""

    def __init__(self, server: Server, receive_bytes: int | None = None) -> None:
        self._server = server
        self._receive_bytes = receive_bytes

    async def __aenter__(self) -> Self:
        raw = socket.socket()
        if (
            self._receive_bytes is not None
        ):  # before connecting, because it bounds the window (tcp(7))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        raw.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self._server.port))
            self.reader, self.writer = await asyncio.open_connection(sock=raw)
        except BaseException:
            raw.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.transport.abort()

    def ask(self, path: str, *fields: str) -> None:
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self._server.port}", *fields, "", ""]
        self.writer.write("\r\n".join(lines).encode("latin-1"))

    async def head(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def shake_hands(self, room: str, query: str = "after=now") -> None:
        self.ask(f"/rooms/{room}/websocket?{query}", *HANDSHAKE)
        assert (await self.head()).startswith(b"HTTP/1.1 101 ")

    async def rest(self) -> bytes:
        """Read until the server closes or resets the connection."""
        data = b""
        async with asyncio.timeout(SECONDS):
            try:
                while chunk := await self.reader.read(65_536):
                    data += chunk
            except ConnectionError:
                pass
        return data
