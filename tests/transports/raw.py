"""A plain HTTP/1.1 connection, which shows the bytes of RFC 9112 as they are on the wire.

It shares no code with the clients of the benchmarks, nor with the server.
"""

import asyncio
from types import TracebackType
from typing import Protocol, Self

# A timeout that only a failure reaches.
SECONDS = 10.0


class HasPort(Protocol):
    @property
    def port(self) -> int: ...


class Raw:
    """One connection to a server; an async context manager.  Every read has a timeout."""

    def __init__(self, server: HasPort, source: str | None = None) -> None:
        self._port = server.port
        self._source = source  # the address to connect from; by default the server's

    async def __aenter__(self) -> Self:
        source = (self._source, 0) if self._source else None
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=source
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._writer.close()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def ask(self, path: str, *fields: str, version: str = "1.1") -> None:
        """Send a GET with `Host` and these header fields."""
        lines = [f"GET {path} HTTP/{version}", f"Host: 127.0.0.1:{self._port}", *fields, "", ""]
        self.send("\r\n".join(lines).encode())

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self._reader.readexactly(count)

    async def until(self, end: bytes) -> bytes:
        """Read up to `end`, and `end` itself."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    async def head(self) -> list[str]:
        """Read the lines of a header section, without the date, which no test can predict."""
        lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        dates = [line for line in lines if line.startswith("Date: ")]
        assert len(dates) == 1  # RFC 9110 §6.6.1: a server with a clock must send it
        return [line for line in lines if line not in dates]

    async def body(self, head: list[str]) -> bytes:
        """Read the body of a response with a length."""
        lengths = [line.partition(": ")[2] for line in head if line.startswith("Content-Length")]
        return await self.exactly(int(*lengths))

    async def chunk(self) -> bytes:
        """Read the content of the next chunk (RFC 9112 §7.1)."""
        size = int((await self.until(b"\r\n")).removesuffix(b"\r\n"), 16)
        content = await self.exactly(size)
        assert await self.exactly(2) == b"\r\n"
        return content


POLL_HEAD = [
    "HTTP/1.1 200 OK",
    "Content-Type: application/json",
    "Cache-Control: no-store",
    "X-Content-Type-Options: nosniff",
]


def stream_head(content_type: str, *more: str) -> list[str]:
    return [
        "HTTP/1.1 200 OK",
        f"Content-Type: {content_type}",
        "Cache-Control: no-store, no-transform",
        "X-Content-Type-Options: nosniff",
        *more,
        "X-Accel-Buffering: no",
        "Transfer-Encoding: chunked",
    ]
