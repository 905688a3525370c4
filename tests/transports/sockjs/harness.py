"""A SockJS endpoint in this process, on our router or the package's own, and a client for it."""

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
# Seconds until a read fails.  On our router only a bug reaches it; on the package's router many
# tests do, since the bug that they show is an endless wait.
TIMEOUT = {"hardened": 10.0, "plain": 0.5}
ALL_TRANSPORTS: Mapping[str, Any] = {"disabled_transports": []}


def fixes_upstream_bug(test: Callable[..., Awaitable[None]]) -> Any:
    """Run a test on both routers: it must pass on ours and fail on the package's."""

    @functools.wraps(test)
    async def on_either(kind: str, **arguments: Any) -> None:
        # Any failure counts: an assertion, a timeout, a response that cannot be parsed.
        expected = pytest.raises(Exception) if kind == "plain" else nullcontext()  # noqa: PT011
        with expected:
            await test(kind, **arguments)

    return pytest.mark.parametrize("kind", ["hardened", "plain"])(on_either)


class Echo(SockJSConnection):  # type: ignore[misc]
    def on_message(self, message: Any) -> None:
        self.send(message)


class Endpoint:
    """A connection class served at ``/echo``."""

    def __init__(self, kind: str, port: int, router: Any) -> None:
        self.kind = kind
        self.port = port
        self.router = router

    @property
    def timeout(self) -> float:
        return TIMEOUT[self.kind]

    def connect(self, address: str = "127.0.0.1") -> "Connection":
        return Connection(self, address)

    async def request(
        self, method: str, path: str, body: str = "", *fields: str, address: str = "127.0.0.1"
    ) -> "Response":
        """Send one request on its own connection."""
        async with self.connect(address) as connection:
            connection.request(method, path, body, *fields)
            return await connection.response()

    async def post(self, path: str, body: str = "", *fields: str, **options: Any) -> "Response":
        return await self.request("POST", path, body, *fields, **options)

    async def get(self, path: str, *fields: str, **options: Any) -> "Response":
        return await self.request("GET", path, "", *fields, **options)


@asynccontextmanager
async def serve(
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


class Response:
    """A complete response: its header fields by lower-case name, and its body."""

    def __init__(self, head: bytes, body: bytes = b"") -> None:
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        self.body = body.decode()


class Connection:
    """One TCP connection to an endpoint; an async context manager.  Every read has a timeout."""

    def __init__(self, endpoint: Endpoint, address: str) -> None:
        self._endpoint = endpoint
        self._address = address

    async def __aenter__(self) -> Self:
        self._reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._endpoint.port, local_addr=(self._address, 0)
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    def request(
        self, method: str, path: str, body: str = "", *fields: str, version: str = "1.1"
    ) -> None:
        data = body.encode("utf-8", "surrogatepass")
        host = f"Host: 127.0.0.1:{self._endpoint.port}"
        lines = [f"{method} {path} HTTP/{version}", host, *fields]
        if method == "POST":
            lines.append(f"Content-Length: {len(data)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + data)

    async def head(self) -> Response:
        return Response(await self.read_until(b"\r\n\r\n"))

    async def response(self) -> Response:
        head = await self.read_until(b"\r\n\r\n")
        length = int(Response(head).fields.get("content-length", "0"))
        return Response(head, await self.read_exactly(length))

    async def read_until(self, end: bytes) -> bytes:
        async with asyncio.timeout(self._endpoint.timeout):
            return await self._reader.readuntil(end)

    async def read_exactly(self, count: int) -> bytes:
        async with asyncio.timeout(self._endpoint.timeout):
            return await self._reader.readexactly(count)

    async def wait_closed(self) -> None:
        """Return when the server has closed the connection; discard what comes before."""
        async with asyncio.timeout(self._endpoint.timeout):
            try:
                while await self._reader.read(65_536):
                    pass
            except ConnectionError:
                pass

    async def chunk(self) -> str:
        """Return the next chunk of a response; empty at its end."""
        size = int(await self.read_until(b"\r\n"), 16)
        data = await self.read_exactly(size + 2)
        return data[:-2].decode()

    async def start_stream(self, path: str, method: str = "POST") -> None:
        """Request a stream, and read up to and including its prelude."""
        self.request(method, path)
        await self.head()
        await self.chunk()

    # --- WebSocket

    async def upgrade(self, path: str, *fields: str) -> Response:
        self.request("GET", path, "", *UPGRADE, *fields)
        return await self.head()

    def write(self, message: str, opcode: int = 1) -> None:
        """Send a frame; its masking key is zero, which leaves the payload readable."""
        data = message.encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
        self.writer.write(bytes([0x80 | opcode]) + size + bytes(4) + data)

    async def frame(self) -> str:
        """Return the payload of the next text frame, or the code of a close frame."""
        while True:
            first, second = await self.read_exactly(2)
            size = {126: 2, 127: 8}.get(second, 0)
            length = int.from_bytes(await self.read_exactly(size)) if size else second
            payload = await self.read_exactly(length)
            if first == 0x88:
                return str(int.from_bytes(payload[:2]))
            if first == 0x81:
                return payload.decode()


def messages(frame: str) -> list[str]:
    """Return the messages that an `a` frame carries."""
    assert frame[0] == "a"
    carried: list[str] = json.loads(frame[1:])
    return carried
