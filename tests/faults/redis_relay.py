"""A relay between the servers and their hub that causes network faults.

It can cut connections, change the target, drop announcements, drop one reply, and stop reading.
It parses RESP, the protocol of Redis, only as far as its faults need: the first byte of each value
is its type, and its length follows where it has one.
"""

import asyncio
from contextlib import suppress
from typing import Self

from realtime.tasks import cancel_and_wait


def end_of(data: bytes, at: int = 0) -> int:
    """Return where the value that starts at `at` ends; raises IndexError if it is incomplete."""
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
    """Listens on a Unix socket and forwards to another one, `target`, which may change."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.path = target + ".relay"
        self.url = f"unix://{self.path}"
        self.dropped_announcements = self.dropped_replies = 0
        self._drop_announcements = False
        self._drop_reply_to: bytes | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self.path)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for _ in range(3):  # also connections accepted a moment ago
            await self.cut()
            await asyncio.sleep(0.01)

    # --- the faults ------------------------------------------------------------------------------

    async def cut(self) -> None:
        """Close every connection; new ones are accepted."""
        await cancel_and_wait(self._tasks)

    def drop_announcements(self, drop: bool = True) -> None:
        """Drop what is published in rooms instead of delivering it to subscribers."""
        self._drop_announcements = drop

    def drop_reply(self, to: bytes) -> None:
        """Forward the next command that contains `to`, and close instead of its reply."""
        self._drop_reply_to = to

    def stall(self) -> None:
        """Stop reading what subscribers receive, so that it piles up in the hub."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    # --- forwarding ------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        state = _ConnectionState()
        target_writer = None
        try:
            target_reader, target_writer = await asyncio.open_unix_connection(self.target)
            up = asyncio.create_task(self._up(state, reader, target_writer))
            down = asyncio.create_task(self._down(state, target_reader, writer))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_and_wait([up, down])
        except (OSError, asyncio.CancelledError):
            pass  # the target is down, or the connection is cut
        finally:
            # Without waiting: a cancellation during the first wait would skip the second.
            for one in filter(None, (writer, target_writer)):
                one.transport.abort()

    async def _up(
        self, state: "_ConnectionState", source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                state.subscriber = state.subscriber or b"SUBSCRIBE" in data
                if self._drop_reply_to is not None and self._drop_reply_to in data:
                    self._drop_reply_to, state.drop_reply = None, True
                target.write(data)
                await target.drain()

    async def _down(
        self, state: "_ConnectionState", source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        unread = b""
        with suppress(OSError):
            while data := await source.read(65_536):
                if state.drop_reply:
                    self.dropped_replies += 1
                    return
                if state.subscriber:
                    await self._reading.wait()
                    data, unread = self._filter(unread + data)
                target.write(data)
                await target.drain()

    def _filter(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the values that pass, and the incomplete last value."""
        passing, at = b"", 0
        with suppress(IndexError):
            while at < len(data):
                value = data[at : end_of(data, at)]
                at += len(value)
                if self._drop_announcements and b"message\r\n" in value and b"rt:{" in value:
                    self.dropped_announcements += 1
                else:
                    passing += value
        return passing, data[at:]


class _ConnectionState:
    """The state of one connection."""

    subscriber = False
    drop_reply = False
