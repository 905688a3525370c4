"""The network may cut bytes anywhere: ways to cut them, and a connection to feed by hand."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pytest

from benchmarks.clients.http import Connection, Count, Server

T = TypeVar("T")


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """`data` in two pieces, cut at every position, and once in pieces of one byte."""
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]
    yield [data[i : i + 1] for i in range(len(data))]


def collect(feed: Callable[[bytes], Iterable[T]], pieces: list[bytes]) -> list[T]:
    """All that a reader gave for these pieces."""
    return [item for piece in pieces for item in feed(piece)]


class FedConnection(Connection):
    """A connection without a socket: `feed` and `end` are the other side, `written` what it got."""

    def __init__(self, count: Count) -> None:
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

        async def connect(server: Server, count: Count) -> Connection:
            self.connections.append(FedConnection(count))
            return self.connections[-1]

        monkeypatch.setattr(Server, "connect", connect)

    @property
    def last(self) -> FedConnection:
        return self.connections[-1]


async def until(condition: Callable[[], Any]) -> None:
    """Let other tasks run until `condition()`, which does not need a socket or a clock."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")
