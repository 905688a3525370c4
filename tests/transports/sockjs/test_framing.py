"""Frames and envelopes, for any text."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.transports.sockjs import framing
from tests.cases import each

# With lone surrogates: a browser can send one as an escape, and UTF-8 cannot encode it.
anything = st.text(st.characters(codec=None)) | st.text("<>&/\u2028\u200c\ufeff\ud800é你😀\\\"'\n")


UNSAFE = re.compile("[\x00-\x1f\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff]")


@given(anything)
def test_a_message_is_unchanged_and_characters_that_browsers_change_are_escaped(text: str) -> None:
    encoded = framing.encode(text)
    assert json.loads(encoded) == text
    assert not UNSAFE.search(encoded)
    assert encoded.encode()  # it is UTF-8


@given(st.lists(anything, min_size=1))
def test_messages_are_sent_in_one_frame(texts: list[str]) -> None:
    frame = framing.messages(map(framing.encode, texts))
    assert json.loads(frame[1:]) == texts
    assert framing.decode(frame[1:]) == texts


@given(anything)
def test_a_script_contains_no_markup_from_a_message(text: str) -> None:
    script = framing.script(framing.messages([framing.encode(text)])).decode()
    literal = script.removeprefix("<script>\np(").removesuffix(");\n</script>\r\n")
    assert not set("<>&") & set(literal)
    assert json.loads(json.loads(literal)[1:]) == [text]


@given(anything, st.integers(1000, 4999))
def test_a_close_reason_is_valid_json(reason: str, code: int) -> None:
    assert json.loads(framing.close(code, reason)[1:]) == [code, reason]


@each("bad", [b"", b"[", b"null", b"1", b"[1]", b"[NaN]", b"{}", b"[[]]", b"\xff"])
def test_invalid_messages_raise_value_error(bad: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # which parser raises it does not matter
        framing.decode(bad)


def test_ascii_takes_one_byte_and_chinese_three() -> None:
    assert framing.messages([framing.encode("plain")]) == b'a["plain"]'
    assert len(framing.encode("聊天室").encode()) == 2 + 9
