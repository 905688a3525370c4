"""The network may split bytes anywhere: ways to split them, and a connection to feed by hand."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pytest

from realtime.client.http import ByteCount, Endpoint, TCPConnection
from realtime.client.websocket import accept_key

T = TypeVar("T")


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """`data` in two pieces, cut at every position, and once in pieces of one byte."""
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]
    yield [data[i : i + 1] for i in range(len(data))]


def collect(feed: Callable[[bytes], Iterable[T]], pieces: list[bytes]) -> list[T]:
    """Everything that a reader returned for these pieces."""
    return [item for piece in pieces for item in feed(piece)]


class FedConnection(TCPConnection):
    """A connection without a socket: `feed` and `end` act as the server, which got `written`."""

    def __init__(self, count: ByteCount) -> None:
        self.written = bytearray()
        self.closed = False
        self._reader = asyncio.StreamReader()
        self._count = count

    def feed(self, data: bytes) -> None:
        self._count.bytes_in += len(data)
        self._reader.feed_data(data)

    def end(self) -> None:
        self._reader.feed_eof()

    def write(self, data: bytes) -> None:
        self._count.bytes_out += len(data)
        self.written += data

    async def drain(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class FedServer:
    """Every connection a client opens is a `FedConnection`, kept in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections: list[FedConnection] = []

        async def connect(endpoint: Endpoint, count: ByteCount) -> TCPConnection:
            self.connections.append(FedConnection(count))
            return self.connections[-1]

        monkeypatch.setattr(Endpoint, "connect", connect)

    @property
    def last(self) -> FedConnection:
        return self.connections[-1]


async def until(condition: Callable[[], Any]) -> None:
    """Let other tasks run until `condition()`, which does not need a socket or a clock."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never became true")


def switching_protocols(request: bytes) -> bytes:
    """The response to a request for an upgrade to WebSocket."""
    (key,) = (
        line[19:]
        for line in request.decode().split("\r\n")
        if line.startswith("Sec-WebSocket-Key: ")
    )
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
    ).encode()


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """The frames that a client wrote: first byte and payload, up to 65 535 bytes."""
    frames = []
    while data:
        length, at = data[1] & 0x7F, 2
        assert data[1] & 0x80
        assert length <= 126
        if length == 126:
            length, at = int.from_bytes(data[2:4]), 4
        key, masked = data[at : at + 4], data[at + 4 : at + 4 + length]
        frames.append((data[0], bytes(b ^ key[i % 4] for i, b in enumerate(masked))))
        data = data[at + 4 + length :]
    return frames
