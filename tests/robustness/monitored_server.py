"""A server that is watched while it is treated badly, and bystanders who must not notice.

The server's complaints are read as they come (a pipe that nobody reads would stop it), and at its
end there must be none: whatever a client does is the client's affair, and no line in our log.
What it holds is read from `/proc`, where no opinion of its own comes between.
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

from benchmarks.clients import CLIENTS, Client, Event
from tests.server_process import Server
from tests.transports.readers import numbers, reader, take_until

# The end of a server takes less, even on a slow machine.
SECONDS = 20
# Between two words of whoever talks to the bystanders.
PAUSE_SECONDS = 0.05


def _is_information(line: str) -> bool:
    """Whether a line of the log is a JSON object of ours, of no higher level (realtime/logs.py)."""
    try:
        return bool(json.loads(line)["level"] == "INFO")
    except (ValueError, LookupError, TypeError):
        return False  # a traceback, say, that nobody caught


class WatchedServer(Server):
    """A server of which nothing bad may be heard, in the end or before."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._heard: list[str] = []
        self._listening = Thread(target=self._listen)
        self._listening.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End it, which must succeed, and look at all that it complained of."""
        self.stop()
        try:
            self.process.wait(SECONDS)
        finally:
            self._clear_away()
        self.complaints = "".join(line for line in self._heard if not _is_information(line))
        assert self.process.returncode == 0, self.complaints
        assert self.complaints == "", self.complaints

    def _clear_away(self) -> None:
        self.process.kill()  # of no effect on one that has ended
        self.process.wait()
        self._listening.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self._heard.extend(lines)

    # --- what it holds ---------------------------------------------------------------------------

    def memory(self) -> int:
        """Bytes that it really occupies (proc_pid_status(5))."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the server has ended")

    def open_files(self) -> int:
        """Sockets and all else that it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


# --- those who only want to listen ---------------------------------------------------------------


@asynccontextmanager
async def bystanders(server: Server, *rooms: str) -> AsyncIterator[None]:
    """Meanwhile a reader of every transport sits in each room, and somebody talks there.

    At the end each of them must have heard every word, in order, without a hole, and over the one
    connection that it opened: whoever is cut or refused raises.
    """
    async with AsyncExitStack() as stack:
        speakers = [_Speaker(server, room) for room in rooms]
        seats = [
            (speaker, await stack.enter_async_context(reader(server, transport, speaker.room)))
            for speaker in speakers
            for transport in CLIENTS
        ]
        async with asyncio.TaskGroup() as group:
            hearing = [group.create_task(speaker.heard_by(client)) for speaker, client in seats]
            for speaker in speakers:
                group.create_task(speaker.talk())
            try:
                yield
            finally:
                for speaker in speakers:
                    speaker.stop()
        for (speaker, client), heard in zip(seats, hearing, strict=True):
            speaker.check(client.transport, heard.result())


class _Speaker:
    """Says one text after the other until it is told to stop, and remembers them."""

    def __init__(self, server: Server, room: str) -> None:
        self.room = room
        self._server = server
        self._last = str(uuid.uuid4())
        self._said: list[str] = []
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def talk(self) -> None:
        voice = reader(self._server, "sse", self.room, client=f"speaker-{self._last}")
        while not self._stopped.is_set():
            await self._say(voice, str(uuid.uuid4()))
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._stopped.wait()
        await self._say(voice, self._last)
        await voice.close()

    async def _say(self, voice: Client, id: str) -> None:
        self._said.append(id)
        async with asyncio.timeout(SECONDS):
            await voice.send(f"word {len(self._said)}", id=id)

    async def heard_by(self, client: Client) -> list[Event]:
        return await take_until(client, self._last)

    def check(self, transport: str, events: list[Event]) -> None:
        words = set(self._said)
        ours = [event["id"] for event in events if event.get("id") in words]
        assert ours == self._said, f"{transport} heard {len(ours)} of {len(self._said)}"
        places = numbers(events)
        assert places == list(range(places[0], places[0] + len(places))), transport
