"""A room with readers of every transport on every server, people who speak, and an audit.

A witness does what a good page does: when its stream ends, it comes again with its cursor, to
whichever server answers.  A speaker repeats a message, under the same id, until it is acknowledged.
"""

import asyncio
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from benchmarks.clients import CLIENTS, Client, Event, Refused, get_json
from benchmarks.method.audit import Audit, audit
from realtime.tasks import cancel_and_wait

# Reached only when something is wrong: all of it heals within a few seconds.
SECONDS = 45
# Before one comes again, at most; real pages take longer, and a test has no time.
PAUSE = 0.2
# A stream that is silent for so long is given up; only a server that hangs is.
OPEN_SECONDS = 5
# Words of the contract that mean: later, or elsewhere.
PASSING = {"too_fast", "too_slow", "busy", "no_broker", "going_away"}


async def pause() -> None:
    await asyncio.sleep(random.uniform(0, PAUSE))


class Turn:
    """One address after the other, and again; the list may grow meanwhile."""

    def __init__(self, urls: Sequence[str], start: int) -> None:
        self._urls = urls
        self._next = start

    def __next__(self) -> str:
        self._next += 1
        return self._urls[(self._next - 1) % len(self._urls)]


class Witness:
    """A reader that comes back; `events` is all that it received, as it came."""

    def __init__(self, urls: Turn, transport: str, room: str, after: str, **options: Any) -> None:
        self.transport = transport
        self.events: list[Event] = []
        self.news = asyncio.Event()
        self.opened = asyncio.Event()
        self.returns = -1
        self._urls = urls
        self._room = room
        self._cursor = after
        self._options = options | ({"interval": 0.05} if transport == "short_polling" else {})

    async def run(self) -> None:
        while True:
            client = CLIENTS[self.transport](
                next(self._urls), self._room, after=self._cursor, **self._options
            )
            try:
                await self._live(client)
            except Refused as refused:
                if refused.code not in PASSING:
                    raise
            except OSError:
                pass
            finally:
                client.abort()
            self._cursor = client.cursor or self._cursor
            await pause()

    async def _live(self, client: Client) -> None:
        self.returns += 1
        async with asyncio.timeout(OPEN_SECONDS):
            await client.open()
        self.opened.set()
        while True:
            self.events.append(await client.receive())
            self.news.set()

    async def has(self, id: str) -> None:
        """Return when this message was received."""
        while not any(event.get("id") == id for event in self.events[-300:]):
            self.news.clear()
            await self.news.wait()


class Speaker:
    """Says texts, each until it is acknowledged; `acknowledged` are the cursors by id."""

    def __init__(self, urls: Turn, transport: str, room: str) -> None:
        self.acknowledged: dict[str, str] = {}
        self.repeated = 0
        self._urls = urls
        self._transport = transport
        self._room = room
        self._client: Client | None = None

    async def say(self, text: str) -> str:
        id = str(uuid.uuid4())
        while True:
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    receipt = await (await self._voice()).send(text, id=id)
                self.acknowledged[id] = receipt["cursor"]
                return id
            except Refused as refused:
                if refused.code not in PASSING:
                    raise
            except OSError:
                self.abort()
            self.repeated += 1
            await pause()

    async def _voice(self) -> Client:
        if self._client is None:
            client = CLIENTS[self._transport](next(self._urls), self._room, after="now")
            if self._transport == "websocket":
                try:
                    await client.open()
                except BaseException:
                    client.abort()  # one that died while it shook hands
                    raise
            self._client = client
        return self._client

    def abort(self) -> None:
        if self._client is not None:
            self._client.abort()
            self._client = None


class Scene:
    """One room on several servers; an async context manager."""

    def __init__(self, urls: Sequence[str], room: str, *, members: bool = False) -> None:
        self.urls = list(urls)
        self.room = room
        self.witnesses: dict[str, Witness] = {}
        self.speakers: list[Speaker] = []
        self._members = members
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            for number in range(len(self.urls)):
                for transport in CLIENTS:
                    await self.attach(f"{transport} {number}", transport, number)
            self.speakers = [
                Speaker(Turn(self.urls, number), transport, self.room)
                for number in range(len(self.urls))
                for transport in ("websocket", "sse")
            ]
        except BaseException:
            await cancel_and_wait(self._tasks)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await cancel_and_wait(self._tasks)
        for speaker in self.speakers:
            speaker.abort()

    async def attach(self, name: str, transport: str, server: int) -> Witness:
        """Let one more witness come, and return when it is there."""
        path = f"/rooms/{self.room}/short_polling?after=now"
        where = (await get_json(self.urls[server], path))["cursor"]
        member = name.replace(" ", "-")
        who = {"client": member, "name": member} if self._members else {}
        witness = Witness(Turn(self.urls, server), transport, self.room, where, **who)
        self.witnesses[name] = witness
        self._tasks.append(asyncio.create_task(witness.run(), name=name))
        async with asyncio.timeout(SECONDS):
            await witness.opened.wait()
        return witness

    # --- speaking --------------------------------------------------------------------------------

    @property
    def acknowledged(self) -> set[str]:
        return {id for speaker in self.speakers for id in speaker.acknowledged}

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Let all speakers speak meanwhile, and end what they are saying."""
        stop = asyncio.Event()

        async def speak(speaker: Speaker) -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                await speaker.say(f"{number}")
                await asyncio.sleep(0.01)

        speaking = [asyncio.create_task(speak(speaker)) for speaker in self.speakers]
        try:
            yield
            stop.set()
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*speaking)
        finally:
            await cancel_and_wait(speaking)

    async def more(self, count: int) -> None:
        """Return when so many more messages were acknowledged."""
        enough = len(self.acknowledged) + count
        async with asyncio.timeout(SECONDS):
            while len(self.acknowledged) < enough:
                await asyncio.sleep(0.01)

    async def acknowledged_until(self, fault: Callable[[], None]) -> set[str]:
        """Do what keeps the hub from answering, and give all that it acknowledged before that."""
        fault()
        before = {speaker: speaker.repeated for speaker in self.speakers}
        async with asyncio.timeout(SECONDS):
            # One who was refused has heard every answer that was still on its way.
            while any(speaker.repeated == before[speaker] for speaker in self.speakers):
                await asyncio.sleep(0.01)
        return self.acknowledged

    # --- the end ---------------------------------------------------------------------------------

    async def heard_by_all(self, id: str) -> None:
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(witness.has(id) for witness in self.witnesses.values()))

    async def audit(self, excused: set[str] | None = None) -> Audit:
        """Say last words, wait until everybody has heard them, and look at what each was shown."""
        await self.heard_by_all(await self.speakers[0].say("last words"))
        for task in self._tasks:
            assert not task.done(), task.exception()
        received = {name: witness.events for name, witness in self.witnesses.items()}
        return audit(self.acknowledged, received, excused or ())
