"""The WebSocket readers give the same messages however the network cuts their bytes (RFC 6455)."""

import pytest

from realtime.client.http import BadResponse, ResponseHead
from realtime.client.websocket import (
    CLOSE,
    PING,
    TEXT,
    Frame,
    FrameReader,
    MessageReader,
    accept_key,
    check_handshake,
    frame,
    mask,
)
from tests.cases import each
from tests.client.pieces import collect, cuts

# RFC 6455 §5.7, "Examples".
HELLO = b"\x81\x05Hello"
HEL, LO = b"\x01\x03Hel", b"\x80\x02lo"
A_PING = b"\x89\x05Hello"


def test_a_single_frame_is_the_same_wherever_it_is_cut() -> None:
    for pieces in cuts(HELLO):
        assert collect(FrameReader().feed, pieces) == [Frame(True, TEXT, b"Hello")]


def test_fragments_are_joined_and_a_ping_between_them_passes_through() -> None:
    for pieces in cuts(HEL + A_PING + LO + HELLO):
        assert collect(MessageReader().feed, pieces) == [
            Frame(True, PING, b"Hello"),
            Frame(True, TEXT, b"Hello"),
            Frame(True, TEXT, b"Hello"),
        ]


def test_an_empty_message_may_come_in_fragments() -> None:
    for pieces in cuts(b"\x01\x00\x00\x00\x80\x00"):
        assert collect(MessageReader().feed, pieces) == [Frame(True, TEXT, b"")]


@each(
    ("length", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_length_is_written_in_7_16_or_64_bits(length: int, head: bytes) -> None:
    data = head + b"x" * length + HELLO
    expected = [Frame(True, TEXT, b"x" * length), Frame(True, TEXT, b"Hello")]
    for at in range(len(head) + 2):
        assert collect(FrameReader().feed, [data[:at], data[at:]]) == expected


@each(
    "data",
    [
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",  # masked
        b"\xc1\x00",  # RSV1
        b"\x83\x00",  # an opcode that means nothing
        b"\x09\x00",  # a ping in fragments
        b"\x89\x7e\x00\x7e" + bytes(126),  # a long ping
        b"\x81\x7e\x00\x7d" + bytes(125),  # 125 in 16 bits
        b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff",  # 65535 in 64 bits
        b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00",  # the highest bit
        LO,  # continues nothing
        HEL + HELLO,  # a message inside another
    ],
)
def test_what_a_server_must_not_send_is_said_so(data: bytes) -> None:
    with pytest.raises(BadResponse):
        list(MessageReader().feed(data))


# --- what the client writes ----------------------------------------------------------------------


def test_a_masked_frame_is_that_of_the_rfc() -> None:
    # RFC 6455 §5.7: "A single-frame masked text message".
    assert frame(TEXT, b"Hello", key=b"\x37\xfa\x21\x3d") == (
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    )


@each("length", [0, 1, 3, 4, 5, 125, 126, 65_535, 65_536])
def test_a_mask_is_undone_by_the_same_mask(length: int) -> None:
    data = bytes(i % 251 for i in range(length))
    assert mask(b"\x00\xff\x10\x01", mask(b"\x00\xff\x10\x01", data)) == data


@each(
    ("length", "head"),
    [(125, b"\x81\xfd"), (126, b"\x81\xfe\x00\x7e"), (65_536, b"\x81\xff" + (65_536).to_bytes(8))],
)
def test_a_masked_length_is_written_like_a_plain_one(length: int, head: bytes) -> None:
    assert frame(TEXT, bytes(length), key=bytes(4)) == head + bytes(4) + bytes(length)


def test_every_frame_has_a_key_of_its_own() -> None:
    assert len({frame(CLOSE, b"")[2:6] for _ in range(8)}) == 8


# --- the handshake -------------------------------------------------------------------------------

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "upgrade": "WebSocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
}


def test_the_answer_to_the_key_is_that_of_the_rfc() -> None:
    assert accept_key(KEY) == GOOD["sec-websocket-accept"]  # RFC 6455 §1.3


def test_a_good_handshake_is_taken() -> None:
    check_handshake(ResponseHead("1.1", 101, "", GOOD), KEY)


@each(
    "wrong",
    [
        {"upgrade": "h2c"},
        {"connection": "close"},
        {"sec-websocket-accept": accept_key("another key")},
        {"sec-websocket-extensions": "permessage-deflate"},
    ],
)
def test_a_bad_handshake_is_not(wrong: dict[str, str]) -> None:
    with pytest.raises(BadResponse):
        check_handshake(ResponseHead("1.1", 101, "", GOOD | wrong), KEY)
