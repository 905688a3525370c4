"""A bad line to the hub: a relay that knows as much of Redis' protocol as its misdeeds need.

It can cut, lead elsewhere, keep announcements to itself, swallow one reply, and stop reading.
Redis' protocol is RESP: each value says its kind in a byte, and its length where it has one.
"""

import asyncio
from contextlib import suppress
from typing import Self

from realtime.tasks import cancel_and_wait


def end_of(data: bytes, at: int = 0) -> int:
    """Where the value that begins at `at` ends; raises IndexError if it is not all here."""
    stop = data.find(b"\r\n", at)
    if stop < 0:
        raise IndexError
    kind, count = data[at : at + 1], data[at + 1 : stop]
    at = stop + 2
    if kind in b"$=!" and int(count) >= 0:
        at += int(count) + 2
        if at > len(data):
            raise IndexError
    elif kind in b"*>~":
        for _ in range(int(count)):
            at = end_of(data, at)
    elif kind == b"%":
        for _ in range(2 * int(count)):
            at = end_of(data, at)
    return at


class RedisRelay:
    """Listens on a free port and forwards to the Unix socket `target`, which may be changed."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.dropped = self.swallowed = 0
        self._drop = False
        self._swallow: bytes | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for _ in range(3):  # one that was just accepted, and what the cut leaves to the loop
            await self.cut()
            await asyncio.sleep(0.01)

    # --- the misdeeds ----------------------------------------------------------------------------

    async def cut(self) -> None:
        """End every connection; new ones are accepted."""
        await cancel_and_wait(self._tasks)

    def drop_announcements(self, drop: bool = True) -> None:
        """Keep what is published in rooms from whoever is subscribed."""
        self._drop = drop

    def swallow_reply(self, to: bytes) -> None:
        """Forward the next command that holds `to`, and cut instead of its reply."""
        self._swallow = to

    def stall(self) -> None:
        """Read no more of what subscribers are told, so that it piles up at the hub."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    # --- forwarding ------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        line = _Line()
        there_writer = None
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self.target)
            up = asyncio.create_task(self._up(line, reader, there_writer))
            down = asyncio.create_task(self._down(line, there_reader, writer))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_and_wait([up, down])
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens there, or it is cut
        finally:
            # Without waiting, since we may be cancelled while we wait for the first of them.
            for one in filter(None, (writer, there_writer)):
                one.transport.abort()

    async def _up(
        self, line: "_Line", source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                line.subscriber = line.subscriber or b"SUBSCRIBE" in data
                if self._swallow is not None and self._swallow in data:
                    self._swallow, line.swallow = None, True
                target.write(data)
                await target.drain()

    async def _down(
        self, line: "_Line", source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        unread = b""
        with suppress(OSError):
            while data := await source.read(65_536):
                if line.swallow:
                    self.swallowed += 1
                    return
                if line.subscriber:
                    await self._flowing.wait()
                    data, unread = self._sift(unread + data)
                target.write(data)
                await target.drain()

    def _sift(self, data: bytes) -> tuple[bytes, bytes]:
        """The values that may pass, and the part of one that is not all here."""
        passing, at = b"", 0
        with suppress(IndexError):
            while at < len(data):
                value = data[at : end_of(data, at)]
                at += len(value)
                if self._drop and b"message\r\n" in value and b"rt:{" in value:
                    self.dropped += 1
                else:
                    passing += value
        return passing, data[at:]


class _Line:
    """What is known of one connection."""

    subscriber = False
    swallow = False
