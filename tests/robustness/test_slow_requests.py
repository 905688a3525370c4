"""Slow requests: a request arrives within `--request-seconds`, or it is rejected.

A Slowloris attack opens many connections and sends a byte at a time on each; without a timeout, an
idle server runs out of connections.  Clients that wait for *us*, long polls and quiet streams, are
not affected.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

import pytest

from realtime.client import CLIENTS, get_json, request
from tests.conftest import Servers
from tests.robustness.http_client import abort, check
from tests.robustness.monitored_server import MonitoredServer, background_readers
from tests.transports.raw import Raw
from tests.transports.readers import OURS, reader, say_in, take, texts

# Above every delay of the server; only a failure reaches it.
SECONDS = 10.0
SHORT = ("--request-seconds", "0.4", "--idle-seconds", "1.2", "--messages-per-second", "0")
# Between two bytes: far less than each timeout, so only a limit for the whole request ends it.
DRIP_SECONDS = 0.05


@pytest.fixture(scope="module")
def short_timeouts(servers: Servers) -> Iterator[MonitoredServer]:
    with MonitoredServer("--hub", "memory", *SHORT) as server:
        yield server


HEAD = b"POST /rooms/slow/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
STREAM = b"GET /rooms/slow/sse HTTP/1.1\r\nHost: 127.0.0.1\r\n"
# What is sent at once, and what is then sent byte by byte.
SLOW = {
    "a request line": (b"", b"GET /" + b"a" * 9000),
    "a head": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 3000),
    "empty lines": (b"", b"\r\n" * 9000),
    "the body of a message": (HEAD + b"Content-Length: 9999\r\n\r\n", b'{"text":"' + b"x" * 9000),
    "the chunks of a message": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 3000),
    "one chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"fff\r\n" + b"x" * 9000),
    "a body that a page does not need": (
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n",
        b"x" * 9000,
    ),
    "a handshake": (
        b"GET /rooms/slow/websocket HTTP/1.1\r\nUpgrade: websocket\r\n",
        b"X: y\r\n" * 3000,
    ),
}


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send byte after byte until the server closes the connection."""
    with suppress(ConnectionError):
        for number in range(len(data)):
            writer.write(data[number : number + 1])
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)


async def response_to_drip(server: MonitoredServer, first: bytes, rest: bytes) -> bytes:
    """Return what arrives until the server closes the connection, which it must."""
    data, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(first)
    dripping = asyncio.create_task(drip(writer, rest))
    answer = b""
    try:
        async with asyncio.timeout(SECONDS):
            with suppress(ConnectionError):
                while chunk := await data.read(65_536):
                    answer += chunk
    finally:
        dripping.cancel()
        abort(writer)
    return answer


async def test_every_slow_request_is_closed(short_timeouts: MonitoredServer) -> None:
    answers = await asyncio.gather(
        *(response_to_drip(short_timeouts, *slow) for slow in SLOW.values())
    )
    for what, answer in zip(SLOW, answers, strict=True):
        assert not answer or answer.startswith(b"HTTP/1.1 4"), (what, answer)


@pytest.mark.parametrize("what", ["a request line", "a head", "the body of a message"])
async def test_a_slow_request_is_rejected_as_too_slow(
    short_timeouts: MonitoredServer, what: str
) -> None:
    head, _, body = (await response_to_drip(short_timeouts, *SLOW[what])).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["error"]["code"] == "too_slow"


async def test_a_connection_without_a_request_is_closed(short_timeouts: MonitoredServer) -> None:
    async with Raw(short_timeouts) as raw:
        assert await raw.rest() == b""


async def test_a_keep_alive_connection_without_another_request_is_closed(
    short_timeouts: MonitoredServer,
) -> None:
    async with Raw(short_timeouts) as raw:
        raw.ask("/healthz")
        await raw.body(await raw.head())
        assert await raw.rest() == b""


@pytest.mark.clocked
async def test_a_keep_alive_connection_can_send_slow_requests_often(
    short_timeouts: MonitoredServer,
) -> None:
    """Each request has its own timeout, not the connection."""
    async with Raw(short_timeouts) as raw:
        for _ in range(4):
            await asyncio.sleep(0.2)  # of the 0.4 for each request
            raw.ask("/healthz")
            assert (await raw.head())[0] == "HTTP/1.1 200 OK"
            await raw.until(b"}")


async def test_many_slow_requests_delay_nobody_else(room: str) -> None:
    with MonitoredServer("--hub", "memory", *SHORT) as server:
        before = server.open_files()
        async with background_readers(server, room), asyncio.TaskGroup() as group:
            for number in range(200):
                what = list(SLOW.values())[number % len(SLOW)]
                group.create_task(response_to_drip(server, *what))
        async with asyncio.timeout(SECONDS):
            while server.open_files() > before:
                await asyncio.sleep(0.02)


# --- readers that wait for the server ------------------------------------------------------------


async def test_quiet_readers_are_not_timed_out(short_timeouts: MonitoredServer, room: str) -> None:
    """Wait longer than the timeouts of a request and of an idle connection; then publish."""
    streams = [reader(short_timeouts, t, room) for t in CLIENTS if not t.endswith("polling")]
    for client in streams:
        await client.open()
    cursor = (await get_json(short_timeouts.url, f"/rooms/{room}/short_polling"))["cursor"]
    path = f"/rooms/{room}/long_polling?wait=9&after={cursor}"
    poll = asyncio.create_task(request(short_timeouts.url, "GET", path))
    await asyncio.sleep(1.8)  # the absence of a timeout needs a real wait
    assert not poll.done()
    await say_in(short_timeouts, room, "later")
    for client in streams:
        assert texts(await take(client, 1)) == ["later"]
        await client.close()
    answer = await poll
    assert texts(answer.json()["events"]) == ["later"]


async def test_a_stream_whose_request_body_never_arrives_does_not_start(
    short_timeouts: MonitoredServer,
) -> None:
    fields = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n"
    heads = [f"GET /rooms/slow/{transport} {fields}".encode() for transport in OURS]
    answers = await asyncio.gather(
        *(response_to_drip(short_timeouts, head, b"x" * 90) for head in heads)
    )
    assert not any(b"200 OK" in answer for answer in answers)


async def test_a_get_with_a_complete_body_is_answered(short_timeouts: MonitoredServer) -> None:
    """RFC 9110 §9.3.1: the body of a GET has no meaning."""
    answer = await request(short_timeouts.url, "GET", "/rooms/slow/short_polling", b"x" * 99)
    check(answer.head, answer.body)
    assert answer.status == 200
