"""The other end of a connection: a server whose behaviour a test defines, in the same loop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from realtime.tasks import cancel_and_wait

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeServer:
    """Listens on a free port; `answer` handles each connection, which is then closed.

    `errors` are those of connections that broke.
    """

    def __init__(self, answer: Answer) -> None:
        self.errors: list[OSError] = []
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        # If `close` comes between the `accept` of a connection and its transport, some turns of the
        # loop later, asyncio raises an error that nobody sees and does not close the socket.
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener)
        for _ in range(5):
            await asyncio.sleep(0)
        self._server.close()
        await cancel_and_wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not a coroutine: one that is cancelled before its first step never closes anything."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
            writer.close()
            await writer.wait_closed()
        except OSError as error:
            self.errors.append(error)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what is received."""
    with suppress(asyncio.CancelledError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read, and never respond."""
    with suppress(asyncio.CancelledError):
        while await reader.read(65_536):
            pass


class FakeClient:
    """A client's connection; an async context manager whose reads time out."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def exchange(self, data: bytes = b"ping") -> float:
        """Send data to an echo server, and return the seconds until all of it is back."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.send(data)
        assert await self.exactly(len(data)) == data
        return loop.time() - started

    async def silent(self, seconds: float) -> bool:
        """Return whether nothing arrives for so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return not await self.reader.read(1)
        except TimeoutError:
            return True


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition()` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
