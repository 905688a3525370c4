"""Random bytes as WebSocket frames: each gets a reply or closes only its own connection.

A text that is no message gets an error frame, and the connection stays open.  A violation of RFC
6455 closes it, with or without a close frame; test_websocket_closes.py has each one.  Nothing
reaches the log, the memory of the server does not grow with what is sent, and other readers are not
affected.
"""

import asyncio
import json
from collections import Counter
from contextlib import suppress

import pytest

from tests.robustness.conftest import MakeServer, SharedServers
from tests.robustness.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    Peer,
    frame,
    frames_in,
)
from tests.robustness.fuzz import FuzzRandom, new_seed
from tests.robustness.http_client import check_all, run_concurrently
from tests.robustness.monitored_server import MonitoredServer, background_readers

CONNECTIONS, HANDSHAKES = 200, 100
# The codes that a close frame can have (RFC 6455 §7.4.1, the IANA registry, and our own).
CLOSE_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


class Frames(FuzzRandom):
    """Generates streams of frames: valid ones, invalid ones, and random bytes."""

    def stream(self) -> bytes:
        chunks = [self._piece() for _ in range(self.randint(1, 12))]
        stream = b"".join(chunks)
        return self.mutated(stream) if self.maybe(0.3) else stream

    def _piece(self) -> bytes:
        # Half of it is valid, or no connection would reach its second frame.
        if self.maybe(0.5):
            return self.choice([self._message, self._in_fragments, self._control])()
        return self.choice([self._wrong, self._many_tiny, self._noise, self._bad_close])()

    def _message(self) -> bytes:
        return frame(self.choice([TEXT, TEXT, TEXT, BINARY]), self.message())

    def _in_fragments(self) -> bytes:
        message = self.message()
        chunks: list[bytes] = []
        while message or not chunks:
            at = self.randint(1, 4000)
            chunks.append(message[:at])
            message = message[at:]
        last = len(chunks) - 1
        return b"".join(
            frame(CONTINUATION if i else TEXT, chunk, fin=i == last) + self._between()
            for i, chunk in enumerate(chunks)
        )

    def _between(self) -> bytes:
        return self._control() if self.maybe(0.3) else b""

    def _control(self) -> bytes:
        return frame(self.choice([PING, PONG]), self.randbytes(self.choice([0, 1, 125])))

    def _wrong(self) -> bytes:
        return self.choice(
            [
                lambda: frame(self.choice([3, 4, 5, 6, 7, 11, 12, 15]), b"reserved opcode"),
                lambda: frame(TEXT, b"{}", reserved=self.randint(1, 7)),
                lambda: frame(self.choice([PING, PONG, CLOSE]), b"", fin=False),
                lambda: frame(self.choice([PING, PONG, CLOSE]), bytes(126)),
                lambda: frame(TEXT, self.message(), masked=False),
                lambda: frame(CONTINUATION, b"of nothing"),
                lambda: frame(TEXT, b"first", fin=False) + frame(TEXT, b"second"),
                lambda: frame(TEXT, b"{}", width=self.choice([16, 64])),
                lambda: frame(TEXT, b"", length=self.choice([2**63, 2**64 - 1, 2**31, 2**20])),
                lambda: frame(TEXT, b'{"text":"\xff\xfe"}'),
                lambda: frame(TEXT, "\ud800".encode("utf-8", "surrogatepass")),
                lambda: frame(TEXT, self.randbytes(40)),
                lambda: frame(TEXT, b'{"text":"' + b"x" * 20_000 + b'"}'),
                lambda: frame(TEXT, b"x" * self.choice([70_000, 300_000])),
                lambda: frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}", masked=False),
                lambda: frame(TEXT, b"{", fin=False, masked=False) + frame(CONTINUATION, b"}"),
                lambda: frame(self.choice([PING, PONG, CLOSE]), masked=False),
            ]
        )()

    def _many_tiny(self) -> bytes:
        opcode = self.choice([TEXT, CONTINUATION, PING, PONG])
        return frame(opcode, self.choice([b"", b"x"])) * self.choice([10, 300])

    def _noise(self) -> bytes:
        return self.randbytes(self.randint(1, 200))

    def _bad_close(self) -> bytes:
        code = self.choice([0, 1, 999, 1000, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
        reason = self.choice([b"", b"bye", b"\xff\xfe", b"x" * 123])
        return frame(CLOSE, self.choice([b"", b"\x03", code.to_bytes(2) + reason]))


def check_frames(data: bytes) -> Counter[str]:
    """Check the frames after the handshake, and count them by kind."""
    kinds = Counter[str]()
    for fin, reserved, opcode, payload in frames_in(data):
        assert (fin, reserved) == (True, 0)
        assert not kinds["close"], "nothing may follow a close frame (RFC 6455 §5.5.1)"
        if opcode == TEXT:
            event = json.loads(payload)
            kinds[event["kind"]] += 1
            if event["kind"] == "error":
                assert event["code"], event
                assert event["code"] != "internal", event
                assert event["message"], event
        elif opcode == CLOSE:
            kinds["close"] += 1
            assert len(payload) != 1
            assert not payload or int.from_bytes(payload[:2]) in CLOSE_CODES, payload
        else:
            assert opcode in (PING, PONG), opcode
            kinds["ping or pong"] += 1
    return kinds


async def exchange_frames(server: MonitoredServer, room: str, data: bytes, half: bool) -> bytes:
    """Send frames; return what arrives until the server is quiet or has closed."""
    answer = b""
    async with Peer(server) as peer:
        await peer.shake_hands(room)
        with suppress(TimeoutError, ConnectionError):
            peer.writer.write(data)
            if not half:  # a regular close, if the server can parse it
                peer.writer.write(frame(CLOSE, (1000).to_bytes(2)))
            async with asyncio.timeout(1):
                while chunk := await peer.reader.read(65_536):
                    answer += chunk
    return answer


async def test_random_frames_get_replies_or_close_their_connection_and_affect_nobody_else(
    make_server: MakeServer, room: str
) -> None:
    seed = new_seed()
    fuzz, kinds = Frames(seed), Counter[str]()

    async def send() -> None:
        data, half = fuzz.stream(), fuzz.maybe(0.3)
        where = fuzz.choice([room, f"{room}-2"])
        try:
            kinds.update(check_frames(await exchange_frames(server, where, data, half)))
        except Exception as error:
            raise AssertionError(f"FUZZ_SEED={seed}: {data[:3000]!r}") from error

    with make_server() as server:
        async with background_readers(server, room, f"{room}-calm"):
            await run_concurrently(send for _ in range(CONNECTIONS))
    # The run is only useful if frames were accepted, rejected and closed, each several times.
    assert all(kinds[kind] > 5 for kind in ("ack", "error", "close", "ping or pong")), (seed, kinds)


async def test_random_handshakes_get_named_errors(make_server: MakeServer, room: str) -> None:
    seed = new_seed()
    fuzz, statuses = FuzzRandom(seed), Counter[int]()
    odd = [
        *("Upgrade: h2c", "Upgrade: WebSocket", "Upgrade: websocket, h2c", "Connection: close"),
        *("Sec-WebSocket-Key: x", "Sec-WebSocket-Key: " + "A" * 24, "Sec-WebSocket-Version: 8"),
        *(
            "Sec-WebSocket-Version: 13, 8",
            "Sec-WebSocket-Version: x",
            "Origin: http://evil.example",
        ),
        *("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: ,", "Sec-WebSocket-Protocol: "),
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
        *("Sec-WebSocket-Extensions: ;;=,", 'Sec-WebSocket-Extensions: a; b="', "Expect: x"),
        *("Content-Length: 0", "Content-Length: 3", "Transfer-Encoding: chunked"),
    ]

    async def shake() -> None:
        fields = [*fuzz.sample(HANDSHAKE, fuzz.choice([2, 3, 4, 4, 4])), *fuzz.sample(odd, 2)]
        fuzz.shuffle(fields)
        answer = b""
        async with Peer(server) as peer:
            peer.ask(f"/rooms/{room}/websocket", *fields)
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.3):
                    while chunk := await peer.reader.read(65_536):
                        answer += chunk
        try:
            statuses.update(check_all(answer))
        except Exception as error:
            raise AssertionError(f"FUZZ_SEED={seed}: {fields}: {answer!r}") from error

    with make_server() as server:
        async with background_readers(server, room):
            await run_concurrently(shake for _ in range(HANDSHAKES))
    assert {101, 426, 403} <= statuses.keys(), (seed, statuses)


# --- one by one ----------------------------------------------------------------------------------


@pytest.fixture
def shared_server(shared_servers: SharedServers) -> MonitoredServer:
    return shared_servers.get()


INVALID_MESSAGES = {
    "nothing": (TEXT, b"", "bad_json"),
    "no JSON": (TEXT, b"hello", "bad_json"),
    "no object": (TEXT, b"[]", "bad_json"),
    "deep JSON": (TEXT, b"[" * 16_000, "bad_json"),
    "a huge integer": (TEXT, b'{"text":"x","sent":' + b"9" * 5000 + b"}", "bad_json"),
    "NaN": (TEXT, b'{"text":"x","sent":NaN}', "bad_json"),
    "half a surrogate pair": (TEXT, b'{"text":"\\ud800"}', "bad_text"),
    "an id in chunks": (TEXT, b'{"text":"x","id":"\\ud800"}', "bad_id"),
    "binary": (BINARY, b'{"text":"x"}', "bad_json"),
    "too long": (TEXT, b'{"text":"' + b"x" * 20_000 + b'"}', "too_long"),
}


@pytest.mark.parametrize("name", INVALID_MESSAGES)
async def test_an_invalid_message_gets_an_error_and_the_connection_stays_open(
    shared_server: MonitoredServer, room: str, name: str
) -> None:
    opcode, payload, code = INVALID_MESSAGES[name]
    async with Peer(shared_server) as peer:
        await peer.shake_hands(room)
        peer.writer.write(frame(opcode, payload) + frame(TEXT, b'{"text":"x"}'))
        peer.writer.write(frame(CLOSE, (1000).to_bytes(2)))
        texts = [json.loads(f.payload) for f in frames_in(await peer.rest()) if f.opcode == TEXT]
    error, *others = texts
    assert (error["kind"], error["code"]) == ("error", code)
    assert "ack" in [event["kind"] for event in others]


# --- floods --------------------------------------------------------------------------------------

# Far more than a server needs for one connection, far less than was sent.
MAX_BYTES = 8 * 2**20
FLOODS = {
    "pings": frame(PING, bytes(125)),
    "pongs": frame(PONG, bytes(125)),
    "empty texts": frame(TEXT),
    "texts that are no messages": frame(TEXT, b"x" * 100),
    "empty fragments": frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 50,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_without_reading_replies_costs_no_memory_and_affects_nobody_else(
    shared_server: MonitoredServer, room: str, flood: str
) -> None:
    block = FLOODS[flood] * (65_536 // len(FLOODS[flood]))
    async with (
        Peer(shared_server, receive_bytes=4096) as peer,
        background_readers(shared_server, f"{room}-calm"),
    ):
        await peer.shake_hands(room)
        before = shared_server.memory()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.8):
                for _ in range(500):
                    peer.writer.write(block)
                    await peer.writer.drain()
        assert shared_server.memory() - before < MAX_BYTES
