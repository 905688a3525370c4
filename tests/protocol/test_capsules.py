"""Capsules: the close of a session, found however its bytes were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.capsules import CapsuleReader, SessionClose, close_session, encode_varint
from tests.cases import each

# A capsule of a type that nobody knows (RFC 9297 §3.2: 41 * N + 23), and one that asks to close.
UNKNOWN, DRAIN = b"\x17\x05hello", b"\x80\x00\x78\xae\x00"


@each(
    ("value", "encoded"),
    [  # RFC 9000 §A.1
        (37, "25"),
        (15_293, "7bbd"),
        (494_878_333, "9d7f3e7d"),
        (151_288_809_941_952_652, "c2197c5eff14e88c"),
        (0, "00"),
        (63, "3f"),
        (64, "4040"),
    ],
)
def test_a_varint_is_as_in_the_examples_of_the_rfc(value: int, encoded: str) -> None:
    assert encode_varint(value).hex() == encoded


def test_a_varint_has_at_most_62_bits() -> None:
    with pytest.raises(ValueError, match="62 bits"):
        encode_varint(1 << 62)


def test_a_close_is_written_as_the_draft_says() -> None:
    head = bytes.fromhex("68430e000003f4")  # type, length, code
    assert close_session(1012, "going_away") == head + b"going_away"


@given(st.data())
def test_a_close_is_found_behind_other_capsules_however_it_is_cut(data: st.DataObject) -> None:
    others = data.draw(st.lists(st.sampled_from([UNKNOWN, DRAIN])))
    stream = b"".join(others) + close_session(4408, "too_slow")
    reader, found = CapsuleReader(), []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream) - 1))))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found.append(reader.feed(stream[start:end]))
    assert found[-1] == SessionClose(4408, "too_slow")
    assert not any(found[:-1])


def test_of_an_unknown_capsule_nothing_is_kept() -> None:
    reader = CapsuleReader()
    assert reader.feed(b"\x17" + encode_varint(1 << 40)) is None
    for _ in range(10):
        assert reader.feed(bytes(10_000)) is None
    assert len(reader._unread) == 0


@each("length", [0, 3, 1029, 1 << 40])
def test_a_close_of_another_length_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match="close of a session"):
        CapsuleReader().feed(b"\x68\x43" + encode_varint(length))


def test_a_reason_that_is_no_text_closes_as_well() -> None:
    assert CapsuleReader().feed(b"\x68\x43\x05\x00\x00\x00\x07\xff") == SessionClose(7, "\ufffd")
