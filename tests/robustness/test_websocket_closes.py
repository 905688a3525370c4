"""Which close code a violation of RFC 6455 gets, over every kind of WebSocket that we offer.

The close frame must arrive, also at a client that is still sending.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.limits import Limits
from tests.cases import each
from tests.conftest import Servers
from tests.nginx_fixture import Fleet
from tests.robustness.conftest import SharedServers
from tests.robustness.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    frame,
    frames_in,
)
from tests.server_process import Server

SECONDS = 20.0
PROTOCOL_ERROR, NOT_UTF_8, TOO_BIG = 1002, 1007, 1009
PATHS = {
    "websocket": "/rooms/{room}/websocket?after=now",
    "sockjs": "/sockjs/000/{room}/websocket",
    "socketio": "/socket.io/?EIO=4&transport=websocket&roomid={room}",
    "tap": "/wire/{room}{room}",
}
FRAGMENT = frame(TEXT, b'{"text":', fin=False)
VIOLATIONS = {
    "reserved bits (§5.2)": (PROTOCOL_ERROR, frame(TEXT, b"{}", reserved=4)),
    "a reserved opcode (§5.2)": (PROTOCOL_ERROR, frame(0x3, b"{}")),
    "a reserved control opcode (§5.2)": (PROTOCOL_ERROR, frame(0xB)),
    "a reserved opcode in fragments (§5.2)": (PROTOCOL_ERROR, frame(0x7, b"{", fin=False)),
    "a length in more bits than needed (§5.2)": (PROTOCOL_ERROR, frame(TEXT, b"{}", width=16)),
    "a length in 64 bits that needs 16 (§5.2)": (PROTOCOL_ERROR, frame(TEXT, b"{}", width=64)),
    "a length with the first bit set (§5.2)": (PROTOCOL_ERROR, frame(TEXT, length=2**63)),
    "a frame without a mask (§5.1)": (PROTOCOL_ERROR, frame(TEXT, b"{}", masked=False)),
    "a fragment without a mask (§5.1)": (
        PROTOCOL_ERROR,
        FRAGMENT + frame(CONTINUATION, b'"x"}', masked=False),
    ),
    "a first fragment without a mask (§5.1)": (
        PROTOCOL_ERROR,
        frame(TEXT, b"{", fin=False, masked=False) + frame(CONTINUATION, b"}"),
    ),
    "a ping without a mask (§5.1)": (PROTOCOL_ERROR, FRAGMENT + frame(PING, masked=False)),
    "a control frame in fragments (§5.5)": (PROTOCOL_ERROR, frame(PING, fin=False)),
    "a long control frame (§5.5)": (PROTOCOL_ERROR, frame(PONG, bytes(126))),
    "a continuation of nothing (§5.4)": (PROTOCOL_ERROR, frame(CONTINUATION, b"{}")),
    "a message inside of another (§5.4)": (PROTOCOL_ERROR, FRAGMENT + frame(BINARY, b"}")),
    "text that is not UTF-8 (§8.1)": (NOT_UTF_8, frame(TEXT, b'{"text":"\xff"}')),
    "a character cut by the end of the text (§8.1)": (NOT_UTF_8, frame(TEXT, b'"\xc3')),
    "half a surrogate pair (§8.1)": (NOT_UTF_8, frame(TEXT, b'{"text":"\xed\xa0\x80"}')),
    "half a surrogate pair in fragments (§8.1)": (
        NOT_UTF_8,
        FRAGMENT + frame(CONTINUATION, b'"\xed\xa0\x80"}'),
    ),
    "a close frame of one byte (§5.5.1)": (PROTOCOL_ERROR, frame(CLOSE, b"\x03")),
    "a close reason that is not UTF-8 (§5.5.1)": (
        NOT_UTF_8,
        frame(CLOSE, (1000).to_bytes(2) + b"\xff"),
    ),
    "a close code that may not be sent (§7.4.1)": (PROTOCOL_ERROR, frame(CLOSE, b"\x03\xed")),
    "a close code that does not exist (§7.4.2)": (PROTOCOL_ERROR, frame(CLOSE, b"\0\0")),
    "a frame of a terabyte": (TOO_BIG, frame(TEXT, length=2**40)),
    "HTTP where frames should be": (PROTOCOL_ERROR, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
}


@asynccontextmanager
async def connect(
    port: int, path: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *HANDSHAKE, "", ""]
    writer.write("\r\n".join(lines).encode())
    try:
        async with asyncio.timeout(SECONDS):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield reader, writer
    finally:
        writer.transport.abort()


async def close_codes(reader: asyncio.StreamReader) -> list[int]:
    """Return the codes of the close frames; the server must end the connection without a reset."""
    async with asyncio.timeout(SECONDS):
        data = await reader.read()
    frames = list(frames_in(data))
    opcodes = [one.opcode for one in frames]
    assert CLOSE not in opcodes[:-1], "nothing may follow a close frame (RFC 6455 §5.5.1)"
    return [int.from_bytes(one.payload[:2]) for one in frames if one.opcode == CLOSE]


@pytest.fixture
def shared(shared_servers: SharedServers) -> Server:
    return shared_servers.get("--messages-per-second", "0")


@each("violation", VIOLATIONS)
async def test_a_violation_is_answered_with_its_close_code(
    shared: Server, room: str, violation: str
) -> None:
    code, data = VIOLATIONS[violation]
    for path in PATHS.values():
        async with connect(shared.port, path.format(room=room)) as (reader, writer):
            writer.write(data + frame(TEXT, b"more that the server does not expect") * 100)
            assert await close_codes(reader) == [code]


async def send_and_read(
    port: int, path: str, data: bytes, tls: ssl.SSLContext | None = None
) -> list[int]:
    """Send all of it, then a close frame, and only then read."""
    async with connect(port, path, tls) as (reader, writer):
        writer.write(data)
        writer.write(frame(CLOSE, (1000).to_bytes(2)))
        async with asyncio.timeout(SECONDS):
            await writer.drain()
        return await close_codes(reader)


LARGE = {
    "70 KB": frame(TEXT, bytes(70_000)),
    "300 KB": frame(TEXT, bytes(300_000)),
    "3 MB": frame(TEXT, bytes(3_000_000)),
    "3 MB in fragments": frame(TEXT, bytes(60_000), fin=False)
    + frame(CONTINUATION, bytes(60_000), fin=False) * 49
    + frame(CONTINUATION, b"x"),
}
CONNECTIONS = 4


@pytest.mark.parametrize("size", LARGE)
async def test_a_client_that_sends_a_large_frame_reads_why_it_was_closed(
    shared: Server, room: str, size: str
) -> None:
    # SockJS accepts a batch of 70 KB.
    paths = [PATHS[kind] for kind in PATHS if (kind, size) != ("sockjs", "70 KB")]
    attempts = [
        send_and_read(shared.port, path.format(room=room), LARGE[size])
        for path in paths
        for _ in range(CONNECTIONS)
    ]
    assert await asyncio.gather(*attempts) == [[TOO_BIG]] * len(attempts)


async def test_also_over_tls(servers: Servers, room: str) -> None:
    server = servers.get("tls", "--messages-per-second", "0")
    tls = ssl.create_default_context(cafile=str(servers.certificate))
    path = PATHS["websocket"].format(room=room)
    for data in (LARGE["70 KB"], LARGE["3 MB"]):
        assert await send_and_read(server.port, path, data, tls) == [TOO_BIG]


async def test_also_behind_nginx(servers: Servers, room: str) -> None:
    with Fleet(servers.redis.url, count=1) as fleet:
        path = PATHS["websocket"].format(room=room)
        for data in (LARGE["70 KB"], LARGE["3 MB"]):
            assert await send_and_read(fleet.port, path, data) == [TOO_BIG]
        code, data = VIOLATIONS["a fragment without a mask (§5.1)"]
        async with connect(fleet.port, path) as (reader, writer):
            writer.write(data)
            assert await close_codes(reader) == [code]


@pytest.mark.parametrize("body_bytes", [Limits().body_bytes, 100_000])
async def test_a_message_at_the_limit_is_read_and_answered(
    servers: Servers, room: str, body_bytes: int
) -> None:
    server = servers.get("memory", "--body-bytes", str(body_bytes))
    limit = 4 * body_bytes
    async with connect(server.port, PATHS["websocket"].format(room=room)) as (reader, writer):
        writer.write(frame(TEXT, b"x" * limit) + frame(CLOSE, (1000).to_bytes(2)))
        async with asyncio.timeout(SECONDS):
            answers = list(frames_in(await reader.read()))
    assert [answer.opcode for answer in answers] == [TEXT, CLOSE]
    assert b'"too_long"' in answers[0].payload or b'"bad_json"' in answers[0].payload


async def test_a_close_frame_is_answered_although_more_data_follows_it(
    shared: Server, room: str
) -> None:
    close = frame(CLOSE, (1001).to_bytes(2) + b"bye")
    async with connect(shared.port, PATHS["websocket"].format(room=room)) as (reader, writer):
        writer.write(close + bytes(1_000_000))
        assert await close_codes(reader) == [1001]
