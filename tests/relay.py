"""A relay that counts: it stands between a client and a server, and knows both sides' bytes.

What a client says it sent and what a server says it received are two opinions; this is the third,
written without a line of either.  It can also cut every connection, as a network does.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

Direction = Literal["up", "down"]


class Relay:
    """Listens on a free port and forwards to `host`:`port`; an async context manager.

    Up is towards the server.  With `transcript=True` every piece is kept as it came, in order.
    """

    def __init__(self, host: str, port: int, *, transcript: bool = False) -> None:
        self.bytes_up = 0
        self.bytes_down = 0
        self.connections = 0
        self.transcript: list[tuple[Direction, bytes]] | None = [] if transcript else None
        self.target = host, port  # may be changed, for connections to come
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection on both sides, with RST; new ones are still accepted."""
        for writer in list(self._writers):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() != -1:
                # SO_LINGER of 0 s turns the close into a reset (socket(7)).
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    # --- forwarding ------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection(*self.target)
            self._writers.add(there_writer)
            try:
                await asyncio.gather(
                    self._forward(reader, there_writer, "up"),
                    self._forward(there_reader, writer, "down"),
                )
            finally:
                await self._drop(there_writer)
        except OSError:
            pass  # nobody listens there, or the connection was cut
        finally:
            await self._drop(writer)

    async def _forward(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: Direction
    ) -> None:
        while data := await source.read(65_536):
            self._count(data, direction)
            target.write(data)
            await target.drain()
        # A side that ends may still listen: its end is forwarded as what it is.
        target.write_eof()

    def _count(self, data: bytes, direction: Direction) -> None:
        if direction == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        if self.transcript is not None:
            self.transcript.append((direction, data))

    async def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
        with suppress(OSError):  # cut, or faster
            await writer.wait_closed()
