"""Where HTTP messages end, in whatever pieces they come (RFC 9112 §6.3)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.boundaries import Boundaries, Requests, Responses

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_POST = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length:  5 \r\n\r\nhello"
NOTHING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;name=value\r\nhello\r\nA\r\n\r\n0\r\n\r\n   \r\n0\r\nTrailer: yes\r\n\r\n"
)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def ends(boundaries: Boundaries, data: bytes, cuts: list[int] | None = None) -> list[int]:
    """Feed `data` in pieces; where, in bytes from its beginning, do messages end?"""
    places, at = [], 0
    borders = [0, *sorted({cut % (len(data) + 1) for cut in cuts or []}), len(data)]
    whole = b""
    for begin, end in pairwise(borders):
        for piece, ended in boundaries.feed(data[begin:end]):
            at += len(piece)
            whole += piece
            if ended:
                places.append(at)
    assert whole == data
    return places


def after(*requests: bytes) -> Responses:
    up = Requests()
    for request in requests:
        list(up.feed(request))
    return Responses(up)


@pytest.mark.parametrize("request_", [GET, HEAD, POST, CHUNKED_POST])
def test_a_request_ends_with_its_body(request_: bytes) -> None:
    assert ends(Requests(), request_) == [len(request_)]


@pytest.mark.parametrize("response", [LENGTH, NOTHING, CHUNKS, NO_CONTENT, NOT_MODIFIED])
def test_a_response_ends_with_its_body(response: bytes) -> None:
    assert ends(after(GET), response) == [len(response)]


def test_the_answer_to_head_has_no_body_whatever_it_says() -> None:
    head = LENGTH.removesuffix(b"hello")
    assert ends(after(HEAD, GET), head + LENGTH) == [len(head), len(head + LENGTH)]


def test_an_interim_answer_answers_nothing_yet() -> None:
    head = LENGTH.removesuffix(b"hello")
    assert ends(after(HEAD), INTERIM + head) == [len(INTERIM), len(INTERIM + head)]


def test_a_body_without_length_ends_with_the_connection() -> None:
    assert ends(after(GET), ENDLESS + b"hello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n") == []


def test_after_an_upgrade_everything_passes() -> None:
    responses = after(GET)
    assert ends(responses, SWITCHING) == [len(SWITCHING)]
    assert ends(responses, b"\x81\x02hi") == [4]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01 no HTTP at all \r\n\r\n more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello",
        b"HTTP/2 200\r\n\r\n",
    ],
)
def test_what_cannot_be_read_passes_from_there_on(garbage: bytes) -> None:
    responses = after(GET)
    list(responses.feed(garbage))
    assert ends(responses, b"anything") == [8]


def test_a_head_without_end_is_no_head_and_is_not_kept() -> None:
    responses = after(GET)
    for _ in range(100):
        list(responses.feed(b"x" * 1000))
    assert ends(responses, b"anything") == [8]


@given(
    st.lists(st.sampled_from([LENGTH, NOTHING, CHUNKS, NO_CONTENT, NOT_MODIFIED]), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=30),
)
def test_the_pieces_do_not_matter(responses: list[bytes], cuts: list[int]) -> None:
    expected = [sum(map(len, responses[: n + 1])) for n in range(len(responses))]
    assert ends(after(*[GET] * len(responses)), b"".join(responses), cuts) == expected


@given(
    st.lists(st.sampled_from([GET, HEAD, POST, CHUNKED_POST]), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=30),
)
def test_the_pieces_of_requests_do_not_matter(requests: list[bytes], cuts: list[int]) -> None:
    up = Requests()
    expected = [sum(map(len, requests[: n + 1])) for n in range(len(requests))]
    assert ends(up, b"".join(requests), cuts) == expected
    assert [*up.methods] == [one.partition(b" ")[0] for one in requests]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_nothing_is_lost_of_anything(data: bytes, cuts: list[int]) -> None:
    ends(after(GET), data, cuts)
