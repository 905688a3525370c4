"""Compression: asked for by `?encoding=`, made once for all readers, and every promise holds."""

import asyncio
import base64
import hashlib
import json
import random
import signal
import sys
import zlib
from contextlib import AsyncExitStack

import pytest
import zstandard

from realtime.client import Client, Refused, get_json, request
from realtime.client.websocket import OFFER
from tests.conftest import Servers
from tests.robustness.frames import CLOSE, PING, TEXT, Peer, frame, frames_in
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import number_of, reader, say, say_in, take, texts
from tests.transports.test_promises import HARD, SMALL, ending, words

STREAMS = [
    ("iframe_streaming", "gzip"),
    ("sse", "gzip"),
    ("sse", "zstd"),
    ("fetch_streaming", "zstd"),
    ("websocket", "deflate"),
]
EVERY = [("short_polling", "gzip"), ("long_polling", "zstd"), *STREAMS]
every_variant = pytest.mark.parametrize(("transport", "encoding"), EVERY)
OVER_HTTP = ["short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming"]
FLUSH = b"\0\0\xff\xff"


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("memory", "--messages-per-second", "0")


def raw_deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(FLUSH)


# --- one compressed piece for all ----------------------------------------------------------------


async def test_readers_who_came_at_different_times_receive_the_same_compressed_chunk(
    server: Server, room: str
) -> None:
    async with Raw(server) as early, Raw(server) as late:
        early.ask(f"/rooms/{room}/fetch_streaming?encoding=gzip&after=now")
        await early.head()
        first = await early.chunk()
        assert first[:10] == bytes.fromhex("1f8b08000000000000ff")  # RFC 1952
        await say_in(server, room, "before")
        second = await early.chunk()
        late.ask(f"/rooms/{room}/fetch_streaming?encoding=gzip&after=now")
        await late.head()
        opening = await late.chunk()
        await say_in(server, room, "now")
        third = await early.chunk()
        assert await late.chunk() == third
        assert third.endswith(FLUSH)
    for pieces, expected in (
        (first + second + third, ["before", "now"]),
        (opening + third, ["now"]),
    ):
        lines = zlib.decompressobj(31).decompress(pieces).splitlines()
        assert [json.loads(line)["text"] for line in lines if line] == expected


async def test_readers_receive_the_same_compressed_frame(server: Server, room: str) -> None:
    received = []
    async with Peer(server) as one, Peer(server) as other:
        for peer in (one, other):
            await shake_hands(peer, room)
        await say_in(server, room, "hello " * 10)
        for peer in (one, other):
            async with asyncio.timeout(10):
                received.append(await peer.reader.read(65_536))
    assert received[0] == received[1]
    (only,) = frames_in(received[0])
    assert (only.fin, only.reserved, only.opcode) == (True, 4, TEXT)  # RFC 7692 §6: RSV1
    assert (
        json.loads(zlib.decompressobj(-15).decompress(only.payload + FLUSH))["text"]
        == "hello " * 10
    )


async def test_a_poll_is_a_complete_body_whose_length_is_that_of_the_compressed_one(
    server: Server, room: str
) -> None:
    await say_in(server, room, *words(1, 20))
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling?encoding=gzip")
        head = await raw.head()
        body = await raw.body(head)
        raw.ask(f"/rooms/{room}/short_polling")
        plain = await raw.body(await raw.head())
    assert {"Content-Encoding: gzip", "Vary: Accept-Encoding"} <= {*head}
    assert zlib.decompress(body, 31) == plain
    assert len(body) < len(plain) / 4


async def test_long_polls_of_one_page_are_compressed_in_turns_and_complete(
    server: Server, room: str
) -> None:
    await say_in(server, room, *["\0" * 2500] * 8)  # 120 kB in JSON
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Raw(server)) for _ in range(5)]
        for raw in connections:
            raw.ask(f"/rooms/{room}/long_polling?encoding=gzip")
        for raw in connections:
            body = zlib.decompress(await raw.body(await raw.head()), 31)
            assert [event["text"] for event in json.loads(body)["events"]] == ["\0" * 2500] * 8


async def test_a_body_that_would_become_longer_is_sent_as_it_is(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/short_polling?encoding=gzip")
        head = await raw.head()
        assert json.loads(await raw.body(head))["events"] == []
    assert "Vary: Accept-Encoding" in head
    assert not [line for line in head if line.startswith("Content-Encoding")]


async def test_a_heartbeat_is_compressed_as_well(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.1")
    inflate = zlib.decompressobj(31).decompress
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?encoding=gzip")
        assert "Content-Encoding: gzip" in await raw.head()
        assert [inflate(await raw.chunk()) for _ in range(3)] == [b":\n\n"] * 3
    async with Peer(server) as peer:
        await shake_hands(peer, room)
        async with asyncio.timeout(10):
            assert await peer.reader.readexactly(2) == bytes((0x80 | PING, 0))


async def test_a_client_that_offers_our_dictionary_gets_what_refers_to_it(
    server: Server, room: str
) -> None:
    dictionary = await request(server.url, "GET", "/dictionary")
    assert dictionary.head.fields["use-as-dictionary"] == 'match="rooms/*"'
    digest = hashlib.sha256(dictionary.body).digest()
    offer = f"Available-Dictionary: :{base64.b64encode(digest).decode()}:"
    used = zstandard.ZstdCompressionDict(dictionary.body, zstandard.DICT_TYPE_RAWCONTENT)
    decoder = zstandard.ZstdDecompressor(dict_data=used)
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?encoding=dcz", "Accept-Encoding: dcz, zstd", offer)
        head = await raw.head()
        assert "Content-Encoding: dcz" in head
        assert "Vary: Accept-Encoding, Available-Dictionary" in head
        opening = await raw.chunk()
        assert opening[:40] == bytes.fromhex("5e2a4d1820000000") + digest  # RFC 9842 §5
        await say_in(server, room, "hello")
        assert b'"text":"hello"' in decoder.decompressobj().decompress(await raw.chunk())
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse?encoding=dcz", "Accept-Encoding: dcz, zstd")
        assert "Content-Encoding: zstd" in await raw.head()


async def test_without_the_parameter_nothing_is_compressed(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/sse", "Accept-Encoding: gzip, zstd")
        assert not [line for line in await raw.head() if "ncoding" in line and "zip" in line]
    async with Peer(server) as peer:
        peer.ask(f"/rooms/{room}/websocket", *HANDSHAKE)
        assert b"Extensions" not in await peer.head()


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", OVER_HTTP)
async def test_an_encoding_that_is_unknown_or_not_acceptable_is_a_named_error(
    server: Server, room: str, transport: str
) -> None:
    path = f"/rooms/{room}/{transport}?encoding="
    requests = [
        (path + "br", "br", "400 Bad Request", "bad_encoding"),
        (path + "deflate", "deflate", "400 Bad Request", "bad_encoding"),
        (path + "%ff", "gzip", "400 Bad Request", "bad_encoding"),
        (path + "gzip", "identity", "406 Not Acceptable", "not_acceptable"),
        (path + "zstd", "gzip, zstd;q=0.0", "406 Not Acceptable", "not_acceptable"),
    ]
    async with Raw(server) as raw:
        for target, accepted, status, code in requests:
            raw.ask(target, f"Accept-Encoding: {accepted}")
            head = await raw.head()
            assert head[0] == f"HTTP/1.1 {status}"
            assert json.loads(await raw.body(head))["error"]["code"] == code


@pytest.mark.parametrize(
    ("encoding", "offer", "code"),
    [
        ("gzip", OFFER, "bad_encoding"),
        ("deflate", "", "not_acceptable"),
        ("deflate", "permessage-deflate; server_max_window_bits=10", "not_acceptable"),
    ],
)
async def test_a_websocket_is_compressed_only_as_deflate_and_only_if_the_client_offers_it(
    server: Server, room: str, encoding: str, offer: str, code: str
) -> None:
    headers = {"Sec-WebSocket-Extensions": offer} if offer else {}
    path = f"/rooms/{room}/websocket?encoding={encoding}"
    async with Raw(server) as raw:
        raw.ask(path, *HANDSHAKE, *(f"{name}: {value}" for name, value in headers.items()))
        assert json.loads(await raw.body(await raw.head()))["error"]["code"] == code


def test_without_its_library_zstd_is_refused_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from realtime.errors import BadEncoding
    from realtime.protocol import encodings

    encodings._zstd.cache_clear()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(BadEncoding, match=r"realtime-transports\[zstd\]"):
        encodings.find_encoding("zstd", None)


# --- what a client sends -------------------------------------------------------------------------

HANDSHAKE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]


async def shake_hands(peer: Peer, room: str) -> None:
    offer = f"Sec-WebSocket-Extensions: {OFFER}"
    peer.ask(f"/rooms/{room}/websocket?after=now&encoding=deflate", *HANDSHAKE, offer)
    head = (await peer.head()).decode()
    agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    assert f"Sec-Websocket-Extensions: {agreed}\r\n".lower() in head.lower()


# Of one frame, and of one message after it has been inflated.
LIMIT = 4 * 16_384
BOMB = raw_deflate(b'{"text":"' + b"x" * 10_000_000)
ENDS = {
    "a bomb": (1009, [frame(TEXT, BOMB, reserved=4)]),
    "a bomb in fragments": (
        1009,
        [
            frame(TEXT, BOMB[:5000], reserved=4, fin=False),
            frame(PING),
            frame(0, BOMB[5000:]),
        ],
    ),
    "a text of one byte more than the limit": (
        1009,
        [frame(TEXT, raw_deflate(b" " * (LIMIT + 1)), reserved=4)],
    ),
    "data that is not compressed": (1007, [frame(TEXT, b"\xff\xff", reserved=4)]),
    "a compressed control frame": (1002, [frame(PING, reserved=4)]),
    "a compressed continuation": (
        1002,
        [frame(TEXT, b"", reserved=4, fin=False), frame(0, b"", reserved=4)],
    ),
    "another reserved bit": (1002, [frame(TEXT, b"", reserved=6)]),
    "text that is not UTF-8": (1007, [frame(TEXT, raw_deflate(b"\xff"), reserved=4)]),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_decompression_bomb_or_a_bad_frame_closes_its_own_connection(
    server: Server, room: str, name: str
) -> None:
    code, sent = ENDS[name]
    assert len(BOMB) < LIMIT
    async with Peer(server) as peer, reader(server, "websocket", room) as neighbour:
        await shake_hands(peer, room)
        peer.writer.write(b"".join(sent))
        *_, last = frames_in(await peer.rest())
        assert (last.opcode, int.from_bytes(last.payload[:2])) == (CLOSE, code)
        await neighbour.send("hello")
        assert texts(await take(neighbour, 1)) == ["hello"]


async def test_a_compressed_message_may_be_as_long_as_any_other(server: Server, room: str) -> None:
    async with reader(server, "websocket", room, encoding="deflate") as client:
        receipt = await client.send("\0" * 2500)  # 15 kB in JSON, and some bytes on the wire
        (event,) = await take(client, 1)
        assert (event["cursor"], event["text"]) == (receipt["cursor"], "\0" * 2500)
        with pytest.raises(Refused, match="bad_text"):
            await client.send("")  # an error is a frame, and the connection stays open
        await client.send("still here")


async def test_without_the_agreement_a_compressed_frame_is_a_violation(
    server: Server, room: str
) -> None:
    async with Peer(server) as peer:
        await peer.shake_hands(room)
        peer.writer.write(frame(TEXT, raw_deflate(b"{}"), reserved=4))
        (close,) = frames_in(await peer.rest())
    assert int.from_bytes(close.payload[:2]) == 1002


# --- the promises --------------------------------------------------------------------------------


async def test_compressed_and_plain_readers_receive_every_message_once_in_one_order(
    server: Server, room: str
) -> None:
    async with AsyncExitStack() as stack:
        clients: list[Client] = [
            await stack.enter_async_context(reader(server, transport, room, encoding=encoding))
            for transport, encoding in [*EVERY, ("sse", None), ("websocket", None)]
        ]
        sending = [say(c, *(f"{n} {i}" for i in range(10))) for n, c in enumerate(clients)]
        publishing = asyncio.gather(*sending)
        one, *others = await asyncio.gather(*(take(c, 10 * len(clients)) for c in clients))
        await publishing
    assert all(other == one for other in others)


@every_variant
async def test_hard_texts_arrive_unchanged_and_a_cursor_resumes_in_any_encoding(
    server: Server, room: str, transport: str, encoding: str
) -> None:
    async with reader(server, transport, room, encoding=encoding) as client:
        await say_in(server, room, *HARD)
        assert texts(await take(client, len(HARD))) == HARD
    await say_in(server, room, *words(1, 2))
    async with reader(server, transport, room, after=client.cursor) as plain:
        assert texts(await take(plain, 1)) == ["1"]
    async with reader(server, transport, room, after=plain.cursor, encoding=encoding) as resumed:
        assert texts(await take(resumed, 1)) == ["2"]


@every_variant
async def test_a_cursor_outside_of_the_window_receives_the_gap(
    servers: Servers, room: str, transport: str, encoding: str
) -> None:
    server = servers.get("memory", *SMALL)
    cursors = await say_in(server, room, *words(1, 30))
    async with reader(server, transport, room, after=cursors[2], encoding=encoding) as client:
        gap, *events = await take(client, 21)
    assert gap | {"reason": "trimmed", "missed": 7, "kind": "gap"} == gap
    assert texts(events) == words(11, 30)


async def test_compressed_streams_that_stop_reading_for_a_while_miss_nothing(
    server: Server, room: str
) -> None:
    one_of_each = [("sse", "gzip"), ("fetch_streaming", "zstd"), ("websocket", "deflate")]
    count, rng = 300, random.Random(2026)
    # Random letters of all of Unicode: more than the sockets hold, also when they are compressed.
    long = ["".join(map(chr, rng.choices(range(0x4E00, 0x9FFF), k=1300))) for _ in range(count)]
    async with AsyncExitStack() as stack:
        slow = [
            await stack.enter_async_context(
                reader(server, transport, room, client=f"{n}-{room}", encoding=encoding)
            )
            for n, (transport, encoding) in enumerate(one_of_each)
        ]
        await say_in(server, room, *long)
        for client in slow:
            wire = await get_json(server.url, f"/wire?client={client.client}")
            assert wire["transports"][client.transport]["events"] < count
        late = await asyncio.gather(*(take(client, count, seconds=30) for client in slow))
    for events in late:
        assert texts(events) == long
        assert [number_of(event["cursor"]) for event in events] == list(range(1, count + 1))


async def test_a_server_that_drains_ends_compressed_streams_as_their_transport_can(
    servers: Servers, room: str
) -> None:
    with servers.make("memory", "--drain-seconds", "0.3") as server:
        clients = [reader(server, t, room, encoding=e) for t, e in STREAMS]
        for client in clients:
            await client.open()
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/sse?encoding=gzip&after=now")
            await raw.head()
            inflate = zlib.decompressobj(31).decompress
            assert inflate(await raw.chunk()).startswith(b"id: ")
            server.stop(signal.SIGTERM)
            assert inflate(await raw.chunk()).startswith(b"retry: ")
        endings = [await ending(client) for client in clients]
        for client in clients:
            await client.close()
    assert endings == [*[(None, "the server ended the stream")] * 4, (1012, "going_away")]
