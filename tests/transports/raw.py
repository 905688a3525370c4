"""A socket, and the bytes of HTTP/1.1 as they stand in RFC 9112: what the wire tests look at.

It knows nothing of the clients, which are tested by other means, nor of the server.
"""

import asyncio
from types import TracebackType
from typing import Self

from tests.server_process import Server

# Reached only when something is wrong.
SECONDS = 10.0


class Raw:
    """One connection to a server; an async context manager.  Every read has an end in time."""

    def __init__(self, server: Server) -> None:
        self._port = server.port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def ask(self, path: str, *fields: str, version: str = "1.1") -> None:
        """Send a GET with the head that must be, and these fields."""
        lines = [f"GET {path} HTTP/{version}", f"Host: 127.0.0.1:{self._port}", *fields, "", ""]
        self.send("\r\n".join(lines).encode())

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self._reader.readexactly(count)

    async def until(self, end: bytes) -> bytes:
        """What comes up to `end`, and `end` itself."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    async def head(self) -> list[str]:
        """The lines of a head, but for the date, which no test can know."""
        lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        dates = [line for line in lines if line.startswith("Date: ")]
        assert len(dates) == 1  # RFC 9110 §6.6.1: whoever has a clock must send one
        return [line for line in lines if line not in dates]

    async def body(self, head: list[str]) -> bytes:
        """The body of a response that says its length."""
        lengths = [line.partition(": ")[2] for line in head if line.startswith("Content-Length")]
        return await self.exactly(int(*lengths))

    async def chunk(self) -> bytes:
        """The content of the next chunk (RFC 9112 §7.1)."""
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
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *more,
        "X-Accel-Buffering: no",
        "Transfer-Encoding: chunked",
    ]
