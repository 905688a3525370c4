"""Lines: messages on a stream of bytes that was cut anywhere."""

from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.lines import LineSplitter


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"))), st.data())
def test_lines_are_the_same_however_they_are_cut(texts: list[str], data: st.DataObject) -> None:
    stream = "".join(f"{text}\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter, lines = LineSplitter(1000), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        lines += splitter.feed(stream[start:end])
    assert lines == [text.encode() for text in texts if text]


def test_a_line_without_an_end_is_not_complete() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"one\ntwo") == [b"one"]
    assert splitter.feed(b"\n") == [b"two"]


def test_of_a_line_that_is_too_long_one_byte_too_many_is_kept() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"x" * 11 + b"yyy\nnext") == [b"x" * 11]
    for _ in range(100):
        assert splitter.feed(b"z" * 1000) == []
    assert len(splitter._start) == 11
    assert splitter.feed(b"\nlast\n") == [b"nextzzzzzzz", b"last"]
