"""Clients that take their time to ask: a request is here within `--request-seconds`, or refused.

Slowloris opens many connections and keeps each just alive, a byte at a time; a server without a
bound runs out of connections while it does nothing.  Those that wait for *us*, long polls and quiet
streams, are no such thing and are left alone.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

import pytest

from benchmarks.clients import CLIENTS, get_json, request
from tests.conftest import Servers
from tests.robustness.http_client import abort, check
from tests.robustness.monitored_server import WatchedServer, bystanders
from tests.transports.raw import Raw
from tests.transports.readers import OURS, reader, say_in, take, texts

# Above every delay of the server; reached only when something is wrong.
SECONDS = 10.0
IMPATIENT = ("--request-seconds", "0.4", "--idle-seconds", "1.2", "--messages-per-second", "0")
# Half of what a request may take: a drip that never makes a pause that long by itself.
DRIP_SECONDS = 0.05


@pytest.fixture(scope="module")
def impatient(servers: Servers) -> Iterator[WatchedServer]:
    with WatchedServer("--hub", "memory", *IMPATIENT) as server:
        yield server


HEAD = b"POST /rooms/slow/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
STREAM = b"GET /rooms/slow/sse HTTP/1.1\r\nHost: 127.0.0.1\r\n"
# What is sent at once, and what is then dripped for ever.
SLOW = {
    "a request line": (b"", b"GET /" + b"a" * 9000),
    "a head": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 3000),
    "empty lines": (b"", b"\r\n" * 9000),
    "the body of a message": (HEAD + b"Content-Length: 9999\r\n\r\n", b'{"text":"' + b"x" * 9000),
    "the chunks of a message": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 3000),
    "one chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"fff\r\n" + b"x" * 9000),
    "a body that a page has no use for": (
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n",
        b"x" * 9000,
    ),
    "a handshake": (
        b"GET /rooms/slow/websocket HTTP/1.1\r\nUpgrade: websocket\r\n",
        b"X: y\r\n" * 3000,
    ),
}


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send byte after byte until the other side has enough of it."""
    with suppress(ConnectionError):
        for number in range(len(data)):
            writer.write(data[number : number + 1])
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)


async def answer_to_drip(server: WatchedServer, first: bytes, rest: bytes) -> bytes:
    """Whatever is said until the server ends the connection, which it must."""
    data, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(first)
    dripping = asyncio.create_task(drip(writer, rest))
    answer = b""
    try:
        async with asyncio.timeout(SECONDS):
            with suppress(ConnectionError):
                while piece := await data.read(65_536):
                    answer += piece
    finally:
        dripping.cancel()
        abort(writer)
    return answer


async def test_who_drips_is_closed_whatever_it_is(impatient: WatchedServer) -> None:
    answers = await asyncio.gather(*(answer_to_drip(impatient, *slow) for slow in SLOW.values()))
    for what, answer in zip(SLOW, answers, strict=True):
        assert not answer or answer.startswith(b"HTTP/1.1 4"), (what, answer)


@pytest.mark.parametrize("what", ["a request line", "a head", "the body of a message"])
async def test_who_drips_is_told_too_slow(impatient: WatchedServer, what: str) -> None:
    head, _, body = (await answer_to_drip(impatient, *SLOW[what])).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["error"]["code"] == "too_slow"


async def test_who_says_nothing_is_closed(impatient: WatchedServer) -> None:
    async with Raw(impatient) as raw:
        assert await raw.rest() == b""


async def test_a_kept_connection_that_asks_nothing_more_is_closed(impatient: WatchedServer) -> None:
    async with Raw(impatient) as raw:
        raw.ask("/healthz")
        await raw.body(await raw.head())
        assert await raw.rest() == b""


@pytest.mark.clocked
async def test_a_kept_connection_may_ask_slowly_and_often(impatient: WatchedServer) -> None:
    """The time is each request's own, not that of their connection."""
    async with Raw(impatient) as raw:
        for _ in range(4):
            await asyncio.sleep(0.2)  # of the 0.4 that one may take
            raw.ask("/healthz")
            assert (await raw.head())[0] == "HTTP/1.1 200 OK"
            await raw.until(b"}")


async def test_a_crowd_that_drips_keeps_nobody_waiting(room: str) -> None:
    with WatchedServer("--hub", "memory", *IMPATIENT) as server:
        before = server.open_files()
        async with bystanders(server, room), asyncio.TaskGroup() as crowd:
            for number in range(200):
                what = list(SLOW.values())[number % len(SLOW)]
                crowd.create_task(answer_to_drip(server, *what))
        async with asyncio.timeout(SECONDS):
            while server.open_files() > before:
                await asyncio.sleep(0.02)


# --- those who wait for us -----------------------------------------------------------------------


async def test_quiet_readers_are_left_alone(impatient: WatchedServer, room: str) -> None:
    """Five times as long as a request or an idle connection may take, and then a word."""
    streams = [reader(impatient, t, room) for t in CLIENTS if not t.endswith("polling")]
    for client in streams:
        await client.open()
    cursor = (await get_json(impatient.url, f"/rooms/{room}/short_polling"))["cursor"]
    path = f"/rooms/{room}/long_polling?wait=9&after={cursor}"
    poll = asyncio.create_task(request(impatient.url, "GET", path))
    await asyncio.sleep(2.5)  # that nothing happens can only be seen by waiting
    assert not poll.done()
    await say_in(impatient, room, "at last")
    for client in streams:
        assert texts(await take(client, 1)) == ["at last"]
        await client.close()
    answer = await poll
    assert texts(answer.json()["events"]) == ["at last"]


async def test_a_stream_whose_question_has_a_body_that_never_comes_does_not_begin(
    impatient: WatchedServer,
) -> None:
    fields = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n"
    heads = [f"GET /rooms/slow/{transport} {fields}".encode() for transport in OURS]
    answers = await asyncio.gather(*(answer_to_drip(impatient, head, b"x" * 90) for head in heads))
    assert not any(b"200 OK" in answer for answer in answers)


async def test_a_question_with_a_whole_body_is_a_question(impatient: WatchedServer) -> None:
    """RFC 9110 §9.3.1: the body of a GET means nothing, and does no harm."""
    answer = await request(impatient.url, "GET", "/rooms/slow/short_polling", b"x" * 99)
    check(answer.head, answer.body)
    assert answer.status == 200
