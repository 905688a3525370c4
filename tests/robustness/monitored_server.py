"""A server that is monitored during an attack, and readers that must not be affected.

Its log is read while it runs (a full pipe would block it), and must have no warning at the end: an
invalid client is no reason for a line in our log.  Its memory and open files are read from `/proc`,
which does not depend on the server.
"""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Self

from realtime.client import CLIENTS, Client, Event
from tests.server_process import Server
from tests.transports.readers import numbers, reader, take_until

# A stop takes less, even on a slow machine.
SECONDS = 20
# Between two messages to the background readers.
PAUSE_SECONDS = 0.05


def _is_information(line: str) -> bool:
    """Return whether a log line is one of our JSON objects, of level INFO (realtime/logs.py).

    A wrong key is a warning, but also what random requests send.
    """
    try:
        entry = json.loads(line)
        return bool(entry["level"] == "INFO" or entry["message"] == "a wrong key was sent")
    except (ValueError, LookupError, TypeError):
        return False  # for example an uncaught traceback


class MonitoredServer(Server):
    """A server that must neither fail nor log a warning."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._log: list[str] = []
        self._log_reader = Thread(target=self._read_log)
        self._log_reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server, which must succeed, and check its log."""
        self.stop()
        try:
            self.process.wait(SECONDS)
        finally:
            self._clean_up()
        self.check_log()
        assert self.process.returncode == 0, self.complaints

    def check_log(self) -> None:
        """Check that there is no warning so far."""
        self.complaints = "".join(line for line in self._log if not _is_information(line))
        assert self.complaints == "", self.complaints

    def _clean_up(self) -> None:
        self.process.kill()  # no effect after the process has exited
        self.process.wait()
        self._log_reader.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self._log.extend(lines)

    # --- resources -------------------------------------------------------------------------------

    def memory(self) -> int:
        """Return the bytes of resident memory (proc_pid_status(5))."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the server has ended")

    def open_files(self) -> int:
        """Return the number of open sockets and files."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


# --- other readers -------------------------------------------------------------------------------


@asynccontextmanager
async def background_readers(server: Server, *rooms: str) -> AsyncIterator[None]:
    """Keep a reader of every transport in each room, and publish there, during the context.

    At the end each of them must have received every message, in order, without a gap, over the one
    connection that it opened: a reader that is closed or rejected raises.
    """
    async with AsyncExitStack() as stack:
        publishers = [_Publisher(server, room) for room in rooms]
        readers = [
            (publisher, await stack.enter_async_context(reader(server, transport, publisher.room)))
            for publisher in publishers
            for transport in CLIENTS
        ]
        async with asyncio.TaskGroup() as group:
            receiving = [
                group.create_task(publisher.received_by(client)) for publisher, client in readers
            ]
            for publisher in publishers:
                group.create_task(publisher.publish())
            try:
                yield
            finally:
                for publisher in publishers:
                    publisher.stop()
        for (publisher, client), received in zip(readers, receiving, strict=True):
            publisher.check(client.transport, received.result())


class _Publisher:
    """Publishes one text after the other until `stop`, and keeps their ids."""

    def __init__(self, server: Server, room: str) -> None:
        self.room = room
        self._server = server
        self._last = str(uuid.uuid4())
        self._ids: list[str] = []
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def publish(self) -> None:
        client = reader(self._server, "sse", self.room, client=f"publisher-{self._last}")
        while not self._stopped.is_set():
            await self._send(client, str(uuid.uuid4()))
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._stopped.wait()
        await self._send(client, self._last)
        await client.close()

    async def _send(self, client: Client, id: str) -> None:
        self._ids.append(id)
        async with asyncio.timeout(SECONDS):
            await client.send(f"message {len(self._ids)}", id=id)

    async def received_by(self, client: Client) -> list[Event]:
        return await take_until(client, self._last)

    def check(self, transport: str, events: list[Event]) -> None:
        ids = set(self._ids)
        ours = [event["id"] for event in events if event.get("id") in ids]
        assert ours == self._ids, f"{transport} received {len(ours)} of {len(self._ids)}"
        positions = numbers(events)
        assert positions == list(range(positions[0], positions[0] + len(positions))), transport
