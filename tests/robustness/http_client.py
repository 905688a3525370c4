"""HTTP as bytes: build requests, check responses, end connections."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from realtime.client.http import BadResponse, ResponseHead, ResponseReader

# Above every delay of the server; only a failure reaches it.
SECONDS = 10.0
# Concurrent connections of `run_concurrently`.
CONCURRENCY = 80
STREAMS = ("text/event-stream", "application/x-ndjson", "text/html; charset=utf-8")


def get(target: str, *fields: str, version: str = "HTTP/1.1") -> bytes:
    head = [f"GET {target} {version}", *(fields or ["Host: 127.0.0.1"]), "", ""]
    return "\r\n".join(head).encode("latin-1")


# --- responses -----------------------------------------------------------------------------------


def check(head: ResponseHead, body: bytes) -> None:
    """Check one response: never a failure of the server, and an error has a code."""
    fields = head.fields
    assert head.status < 500 or head.status == 503, (head, body)
    if head.status < 400:
        return
    assert fields["content-type"].startswith("application/json"), (head, body)
    error = json.loads(body)["error"]
    assert error.keys() == {"code", "message"}, body
    assert error["code"], body
    assert error["message"], body
    assert ("allow" in fields) == (head.status == 405), head
    assert ("retry-after" in fields) == (head.status in (429, 503)), head


def check_all(data: bytes) -> list[int]:
    """Check every response in `data`, up to a streaming or incomplete one; return the statuses."""
    statuses = []
    while data:
        response = ResponseReader()
        body = response.feed(data)
        head = response.head
        if head is None:
            break
        statuses.append(head.status)
        if head.status == 101 or head.fields.get("content-type") in STREAMS:
            break
        with suppress(BadResponse):
            response.end()
        if not response.complete:
            break
        check(head, body)
        data = response.rest
    return statuses


# --- connections ---------------------------------------------------------------------------------


def abort(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, as a client on a bad network does."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() != -1:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def send_and_reset(port: int, data: bytes) -> None:
    """Send `data` and reset the connection, so that both arrive together."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(data)


async def run_concurrently(work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run all of `work`, some at a time; the first failure cancels the rest."""
    jobs = iter(work)

    async def run_next() -> None:
        for job in jobs:
            await job()

    async with asyncio.timeout(3 * SECONDS), asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(run_next())
