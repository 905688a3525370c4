"""Readers of any transport for the tests, each with a timeout."""

import asyncio
from typing import Any

from realtime.client import ALL_CLIENTS, CLIENTS, Client, Event, request
from realtime.client.webtransport import WebTransportClient
from realtime.netem.proxy import Proxy
from tests.server_process import Server

# Above every delay of the server that a test waits for; only a failure reaches it.
SECONDS = 10.0
# The paths of the two libraries; our own transports are below rooms.
LIBRARIES = {"sockjs": "/sockjs/info", "socketio": "/socket.io/"}
OURS = [transport for transport in CLIENTS if transport not in LIBRARIES]


def reader(server: Server | Proxy, transport: str, room: str, **options: Any) -> Client:
    if transport == "short_polling":
        options = {"interval": 0.02, **options}
    return ALL_CLIENTS[transport](server.url, room, **options)


async def take(client: Client, count: int, seconds: float = SECONDS) -> list[Event]:
    """Receive the next `count` events."""
    events: list[Event] = []
    try:
        async with asyncio.timeout(seconds):
            while len(events) < count:
                events.append(await client.receive())
    except TimeoutError:
        raise AssertionError(f"{len(events)} of {count} events arrived: {events}") from None
    return events


async def take_until(client: Client, id: str) -> list[Event]:
    """Receive the events up to the one with this id, which proves that no other came before it."""
    events: list[Event] = []
    while not events or events[-1].get("id") != id:
        events += await take(client, 1)
    return events


async def take_datagrams(client: WebTransportClient, count: int) -> list[bytes]:
    """Wait for the first `count` datagrams."""
    assert client._session is not None
    async with asyncio.timeout(SECONDS):
        while len(client.datagrams) < count:
            await client._session.changed()
    return client.datagrams


async def until_waiting(server: Server, count: int) -> None:
    """Return when `count` polls wait at the server."""
    row = f'realtime_readers{{as="waiting"}} {count}.0'.encode()
    async with asyncio.timeout(SECONDS):
        while row not in (await request(server.url, "GET", "/metrics")).body:
            await asyncio.sleep(0.01)


def texts(events: list[Event]) -> list[str]:
    """The texts of the events; the kind of those without a text."""
    return [event["text"] if "text" in event else event["kind"] for event in events]


def numbers(events: list[Event]) -> list[int]:
    return [number_of(event["cursor"]) for event in events]


def number_of(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


def epoch_of(cursor: str) -> str:
    return cursor.rpartition("-")[0]


async def say(client: Client, *texts: str) -> list[str]:
    """Publish some texts in this order; return their cursors."""
    return [(await client.send(text))["cursor"] for text in texts]


async def say_in(server: Server, room: str, *texts: str) -> list[str]:
    """Publish from a client that reads nothing and is no member."""
    speaker = CLIENTS["sse"](server.url, room)
    try:
        return await say(speaker, *texts)
    finally:
        await speaker.close()
