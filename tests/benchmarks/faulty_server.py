"""A server with the part of the contract that the load generator needs, and known faults.

It delays by a known time, stalls for a known time, and loses, duplicates or swaps known messages: a
measurement must find each.  It runs on its own thread, because the load generator has its own loop.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.fake_server import FakeServer

# It reports no CPU time and no memory.
METRICS = b"process_cpu_seconds_total 0\nprocess_resident_memory_bytes 0\n"

Event = dict[str, Any]
# Turns a numbered message into the events that the readers receive at this moment.
Tamper = Callable[[int, Event], list[Event]]


def unchanged(number: int, event: Event) -> list[Event]:
    return [event]


class FaultyServer:
    """SSE and POST; `delay` in seconds for every message, `stalls` by the number of a message.

    Messages with the numbers in `refused` are rejected with `status`; those in `lags` reach the
    readers so many seconds after their acknowledgement.
    """

    def __init__(
        self,
        *,
        delay: float = 0.0,
        stalls: dict[int, float] | None = None,
        tamper: Tamper = unchanged,
        refused: frozenset[int] = frozenset(),
        status: int = 503,
        lags: dict[int, float] | None = None,
    ) -> None:
        self._lags = lags or {}
        self._refused = refused
        self._status = status
        self._delay = delay
        self._stalls = stalls or {}
        self._tamper = tamper
        self._number = 0
        self._streams: list[asyncio.StreamWriter] = []
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with FakeServer(self._talk) as server:
            self.url = f"http://127.0.0.1:{server.port}"
            self._ready.set()
            await self._end.wait()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        line, *fields = head.lower().split("\r\n")
        if line.startswith("post"):
            length = next(int(f.split(":")[1]) for f in fields if f.startswith("content-length"))
            message = json.loads(await reader.readexactly(length))
            if self._number + 1 in self._refused:
                self._number += 1
                error = {"error": {"code": "busy", "message": "Try again later."}}
                writer.write(_response(self._status, error))
            else:
                writer.write(_response(201, await self._publish(message)))
        elif "/healthz" in line:
            writer.write(_response(200, {"hub": "none", "version": "faulty"}))
        elif "/short_polling" in line:
            writer.write(_response(200, {"cursor": f"faulty-{self._number}", "events": []}))
        elif "/metrics" in line:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(METRICS) + METRICS)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            self._streams.append(writer)

    async def _publish(self, message: Event) -> Event:
        self._number += 1
        number = self._number
        if number in self._stalls:
            time.sleep(self._stalls[number])  # every client waits
        if self._delay:
            await asyncio.sleep(self._delay)
        event = {"kind": "say", "cursor": f"faulty-{number}", "id": message["id"]}
        events = self._tamper(number, event)
        if number in self._lags:
            self._loop.call_later(self._lags[number], self._deliver, events)
        else:
            self._deliver(events)
        return {"cursor": event["cursor"], "id": event["id"]}

    def _deliver(self, events: list[Event]) -> None:
        for one in events:
            for stream in self._streams:
                stream.write(f"id: {one['cursor']}\ndata: {json.dumps(one)}\n\n".encode())


def _response(status: int, body: Event) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text)


def losing(lost: int) -> Tamper:
    return lambda number, event: [] if number == lost else [event]


def duplicating(duplicated: int) -> Tamper:
    return lambda number, event: [event, event] if number == duplicated else [event]


def swapping(first: int) -> Tamper:
    """Send this message after the next one."""
    held: list[Event] = []

    def tamper(number: int, event: Event) -> list[Event]:
        if number == first:
            held.append(event)
            return []
        return [event, *held] if number == first + 1 else [event]

    return tamper
