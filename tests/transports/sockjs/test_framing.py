"""Frames and envelopes, for every text there is."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.transports.sockjs import framing

# Half a surrogate pair too: a browser can send it, escaped, and UTF-8 cannot carry it.
anything = st.text(st.characters(codec=None)) | st.text("<>&/\u2028\u200c\ufeff\ud800é你😀\\\"'\n")


MANGLED = re.compile("[\x00-\x1f\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff]")


@given(anything)
def test_a_message_comes_back_and_nothing_that_browsers_mangle_is_sent(text: str) -> None:
    encoded = framing.encode(text)
    assert json.loads(encoded) == text
    assert not MANGLED.search(encoded)
    assert encoded.encode()  # it is UTF-8


@given(st.lists(anything, min_size=1))
def test_messages_are_one_frame(texts: list[str]) -> None:
    frame = framing.messages(map(framing.encode, texts))
    assert json.loads(frame[1:]) == texts
    assert framing.decode(frame[1:]) == texts


@given(anything)
def test_nothing_is_markup_in_a_script(text: str) -> None:
    script = framing.script(framing.messages([framing.encode(text)])).decode()
    literal = script.removeprefix("<script>\np(").removesuffix(");\n</script>\r\n")
    assert not set("<>&") & set(literal)
    assert json.loads(json.loads(literal)[1:]) == [text]


@given(anything, st.integers(1000, 4999))
def test_a_reason_is_json(reason: str, code: int) -> None:
    assert json.loads(framing.close(code, reason)[1:]) == [code, reason]


@pytest.mark.parametrize(
    "bad", [b"", b"[", b"null", b"1", b"[1]", b"[NaN]", b"{}", b"[[]]", b"\xff"]
)
def test_what_is_no_message_is_a_value_error(bad: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of whichever reader
        framing.decode(bad)


def test_ascii_costs_nothing_and_chinese_three_bytes() -> None:
    assert framing.messages([framing.encode("plain")]) == b'a["plain"]'
    assert len(framing.encode("聊天室").encode()) == 2 + 9
