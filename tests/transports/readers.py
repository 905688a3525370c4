"""Readers for the tests of what we promise: of any transport, and none of them waits for ever."""

import asyncio
from typing import Any

from benchmarks.clients import CLIENTS, Client, Event, request
from realtime.netem.proxy import Proxy
from tests.server_process import Server

# Above every delay of the server that a test waits for; reached only when something is wrong.
SECONDS = 10.0
# Where the two libraries are; ours are in rooms of the address.
LIBRARIES = {"sockjs": "/sockjs/info", "socketio": "/socket.io/"}
OURS = [transport for transport in CLIENTS if transport not in LIBRARIES]


def reader(server: Server | Proxy, transport: str, room: str, **options: Any) -> Client:
    if transport == "short_polling":
        options = {"interval": 0.02, **options}
    return CLIENTS[transport](server.url, room, **options)


async def take(client: Client, count: int, seconds: float = SECONDS) -> list[Event]:
    """The next `count` events."""
    events: list[Event] = []
    try:
        async with asyncio.timeout(seconds):
            while len(events) < count:
                events.append(await client.receive())
    except TimeoutError:
        raise AssertionError(f"{len(events)} of {count} events came: {events}") from None
    return events


async def take_until(client: Client, id: str) -> list[Event]:
    """The events up to the one with this id: a last one makes a silence before it certain."""
    events: list[Event] = []
    while not events or events[-1].get("id") != id:
        events += await take(client, 1)
    return events


async def until_waiting(server: Server, count: int) -> None:
    """Return when the server keeps so many questions that it has not answered yet."""
    row = f'realtime_readers{{as="waiting"}} {count}.0'.encode()
    async with asyncio.timeout(SECONDS):
        while row not in (await request(server.url, "GET", "/metrics")).body:
            await asyncio.sleep(0.01)


def texts(events: list[Event]) -> list[str]:
    """What was said, and by its kind what was not said by anybody."""
    return [event["text"] if "text" in event else event["kind"] for event in events]


def numbers(events: list[Event]) -> list[int]:
    return [number_of(event["cursor"]) for event in events]


def number_of(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


def epoch_of(cursor: str) -> str:
    return cursor.rpartition("-")[0]


async def say(client: Client, *texts: str) -> list[str]:
    """Say some texts in this order, and give their cursors."""
    return [(await client.send(text))["cursor"] for text in texts]


async def say_in(server: Server, room: str, *texts: str) -> list[str]:
    """The same from somebody who reads nothing and is no member."""
    speaker = CLIENTS["sse"](server.url, room)
    try:
        return await say(speaker, *texts)
    finally:
        await speaker.close()
