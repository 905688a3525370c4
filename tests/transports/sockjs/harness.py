"""Endpoints in this process, on our router or on the one of the package, and who talks to them."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Self

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from realtime.transports.sockjs import HardenedSockJSRouter, SockJSConnection

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
# Reached only when something is wrong, which on the package's router is expected.
SECONDS = {"hardened": 10.0, "plain": 1.0}
EVERYTHING: Mapping[str, Any] = {"disabled_transports": []}


def cures(test: Callable[..., Awaitable[None]]) -> Any:
    """A test that passes on our router, and must fail on the package's: a problem and its cure."""

    @functools.wraps(test)
    async def on_either(kind: str, **arguments: Any) -> None:
        # Whatever: an assertion, a time that ran out, an answer that cannot be read.
        expected = pytest.raises(Exception) if kind == "plain" else nullcontext()  # noqa: PT011
        with expected:
            await test(kind, **arguments)

    return pytest.mark.parametrize("kind", ["hardened", "plain"])(on_either)


class Echo(SockJSConnection):  # type: ignore[misc]
    def on_message(self, message: Any) -> None:
        self.send(message)


class Endpoint:
    """A connection class at ``/echo``."""

    def __init__(self, kind: str, port: int, router: Any) -> None:
        self.kind = kind
        self.port = port
        self.router = router

    @property
    def seconds(self) -> float:
        return SECONDS[self.kind]

    def connection(self, address: str = "127.0.0.1") -> "Wire":
        return Wire(self, address)

    async def ask(
        self, method: str, path: str, body: str = "", *fields: str, address: str = "127.0.0.1"
    ) -> "Answer":
        """Ask once, on a connection of its own."""
        async with self.connection(address) as wire:
            wire.ask(method, path, body, *fields)
            return await wire.answer()

    async def post(self, path: str, body: str = "", *fields: str, **options: Any) -> "Answer":
        return await self.ask("POST", path, body, *fields, **options)

    async def get(self, path: str, *fields: str, **options: Any) -> "Answer":
        return await self.ask("GET", path, "", *fields, **options)


@asynccontextmanager
async def endpoint(
    kind: str = "hardened", connection: type = Echo, **options: Any
) -> AsyncIterator[Endpoint]:
    make = HardenedSockJSRouter if kind == "hardened" else HardenedSockJSRouter.__base__
    router = make(connection, "/echo", options)
    server = HTTPServer(Application(router.urls, log_function=lambda handler: None))
    (socket,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([socket])
    try:
        yield Endpoint(kind, socket.getsockname()[1], router)
    finally:
        server.stop()
        router._sessions_cleanup.stop()
        router.stats._callback.stop()
        if kind == "hardened":
            router.stop()
        await server.close_all_connections()


class Answer:
    """A whole answer: the fields of its head by lower-case name, and its body."""

    def __init__(self, head: bytes, body: bytes = b"") -> None:
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        self.body = body.decode()


class Wire:
    """One connection; an async context manager.  Every read has an end in time."""

    def __init__(self, at: Endpoint, address: str) -> None:
        self._at = at
        self._address = address

    async def __aenter__(self) -> Self:
        self._reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._at.port, local_addr=(self._address, 0)
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    def ask(
        self, method: str, path: str, body: str = "", *fields: str, version: str = "1.1"
    ) -> None:
        data = body.encode("utf-8", "surrogatepass")
        lines = [f"{method} {path} HTTP/{version}", f"Host: 127.0.0.1:{self._at.port}", *fields]
        if method == "POST":
            lines.append(f"Content-Length: {len(data)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + data)

    async def head(self) -> Answer:
        return Answer(await self.until(b"\r\n\r\n"))

    async def answer(self) -> Answer:
        head = await self.until(b"\r\n\r\n")
        length = int(Answer(head).fields.get("content-length", "0"))
        return Answer(head, await self.exactly(length))

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(self._at.seconds):
            return await self._reader.readuntil(end)

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(self._at.seconds):
            return await self._reader.readexactly(count)

    async def ended(self) -> None:
        """Return when the server has ended the connection; what comes before does not count."""
        async with asyncio.timeout(self._at.seconds):
            try:
                while await self._reader.read(65_536):
                    pass
            except ConnectionError:
                pass

    async def chunk(self) -> str:
        """The next chunk of an answer; empty when that has come to its end."""
        size = int(await self.until(b"\r\n"), 16)
        data = await self.exactly(size + 2)
        return data[:-2].decode()

    # --- WebSocket

    async def upgrade(self, path: str, *fields: str) -> Answer:
        self.ask("GET", path, "", *UPGRADE, *fields)
        return await self.head()

    def write(self, message: str, opcode: int = 1) -> None:
        """Send a frame; a key of zeros leaves the payload readable."""
        data = message.encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
        self.writer.write(bytes([0x80 | opcode]) + size + bytes(4) + data)

    async def frame(self) -> str:
        """The payload of the next text frame; a close frame is its code."""
        while True:
            first, second = await self.exactly(2)
            size = {126: 2, 127: 8}.get(second, 0)
            length = int.from_bytes(await self.exactly(size)) if size else second
            payload = await self.exactly(length)
            if first == 0x88:
                return str(int.from_bytes(payload[:2]))
            if first == 0x81:
                return payload.decode()


def messages(frame: str) -> list[str]:
    """What an `a` frame carries."""
    assert frame[0] == "a"
    carried: list[str] = json.loads(frame[1:])
    return carried
