"""Where responses end, however the bytes are split, and what a buffering proxy holds back."""

import itertools
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from realtime.netem.http_framing import BufferingProxy, MessageFraming
from tests.cases import each
from tests.properties.strategies import CUTS, examples, pieces

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n.."
)
CHUNKED_POST = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1c;x=y\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\nX: y\r\n\r\n"
)
CONNECT = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\nhello\r\nA ; a="b"\r\n\r\n0\r\n\r\nxyz\r\n0\r\nSome: trailer\r\nMore: of it\r\n\r\n'
)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
TO_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
TO_HEAD_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\n"
NOT_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"


class Exchange(NamedTuple):
    request: bytes
    responses: tuple[bytes, ...]  # the last one is final, those before are interim


EXCHANGES = [
    Exchange(GET, (OK,)),
    Exchange(GET, (EMPTY,)),
    Exchange(GET, (CHUNKED,)),
    Exchange(b"\r\n" + GET, (NO_CONTENT,)),
    Exchange(GET, (NOT_MODIFIED,)),
    Exchange(GET, (HINTS, HINTS, OK)),
    Exchange(POST, (CONTINUE, OK)),
    Exchange(CHUNKED_POST, (CHUNKED,)),
    Exchange(HEAD, (TO_HEAD,)),
    Exchange(HEAD, (CONTINUE, TO_HEAD_CHUNKED)),
    Exchange(CONNECT, (b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno",)),
    Exchange(GET, (OK.replace(b"\r\n", b"\n"),)),
    Exchange(GET, (OK.replace(b"h: 5", b"h: 5, 5"),)),
    Exchange(GET, (OK.replace(b"Content-Length: 5", b"CONTENT-LENGTH:5 \r\nContent-Length: 5"),)),
    Exchange(GET, (CHUNKED.replace(b"chunked", b"gzip, Chunked\r\nContent-Length: 3"),)),
]


def ends_of(framing: MessageFraming, parts: list[bytes]) -> list[int]:
    """Return where responses end, as offsets from the first byte."""
    found, at = [], 0
    for part in parts:
        found += [at + end for end in framing.response_data(part)]
        at += len(part)
    return found


def after(request: bytes) -> MessageFraming:
    framing = MessageFraming()
    framing.request_data(request)
    return framing


@given(st.lists(st.sampled_from(EXCHANGES), max_size=6), CUTS, CUTS)
@examples(300)
def test_the_ends_do_not_depend_on_how_the_bytes_are_split(
    exchanges: list[Exchange], up_cuts: list[int], down_cuts: list[int]
) -> None:
    framing = MessageFraming()
    for part in pieces(b"".join(exchange.request for exchange in exchanges), up_cuts):
        framing.request_data(part)
    responses = [response for exchange in exchanges for response in exchange.responses]
    parts = list(pieces(b"".join(responses), down_cuts))
    assert ends_of(framing, parts) == list(itertools.accumulate(map(len, responses)))
    assert not framing.opaque


@each("exchange", EXCHANGES)
def test_single_bytes_give_the_same_ends(exchange: Exchange) -> None:
    framing = MessageFraming()
    for byte in exchange.request:
        framing.request_data(bytes([byte]))
    stream = b"".join(exchange.responses)
    ends = ends_of(framing, [bytes([byte]) for byte in stream])
    assert ends == list(itertools.accumulate(map(len, exchange.responses)))


def test_the_body_of_a_request_is_not_parsed_as_a_request() -> None:
    framing = after(POST + GET)
    assert ends_of(framing, [OK + OK]) == [len(OK), 2 * len(OK)]


@each("head", [UNTIL_CLOSE, NOT_CHUNKED])
def test_a_response_without_a_length_never_ends(head: bytes) -> None:
    framing = after(GET + GET)
    assert framing.response_data(head + OK) == []
    assert framing.response_data(OK) == []
    assert not framing.opaque


@each(
    ("request_bytes", "response"),
    [(GET, SWITCHING), (CONNECT, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")],
)
def test_a_tunnel_starts_after_the_header_section(request_bytes: bytes, response: bytes) -> None:
    framing = after(request_bytes)
    assert framing.response_data(response + OK + b"\x81\x05hello") == [len(response)]
    assert framing.opaque
    assert framing.response_data(OK) == []


def test_a_stream_may_have_any_number_of_chunks() -> None:
    framing = after(GET)
    assert framing.response_data(TO_HEAD_CHUNKED + b"1\r\nx\r\n" * 100_000) == []
    assert framing.response_data(b"0\r\n\r\n") == [5]


def test_a_server_may_send_a_response_without_a_request() -> None:
    assert MessageFraming().response_data(OK) == [len(OK)]


@each(
    "response",
    [
        b"SSH-2.0-hello\r\n",
        b"\r\n",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/1.1 99 OK\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n",
        b"HTTP/1.1 200 OK\r\nName : space\r\n",
        b"HTTP/1.1 200 OK\r\nName: a\r\n folded\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 12_000,
    ],
)
def test_a_malformed_response_makes_the_connection_opaque(response: bytes) -> None:
    framing = after(GET + GET)
    assert ends_of(framing, [OK, response, OK]) == [len(OK)]
    assert framing.opaque


@each(
    "request_bytes",
    [
        b"hello\r\n",
        b"GET /\r\n",
        b"GET / HTTP/3.0\r\n",
        b"GET /a b HTTP/1.1\r\n",
        GET * 1001,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_a_malformed_request_makes_the_connection_opaque(request_bytes: bytes) -> None:
    framing = after(request_bytes)
    assert framing.opaque
    assert framing.response_data(OK) == []


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), max_size=20))
@examples(200)
def test_arbitrary_bytes_never_raise(parts: list[tuple[bool, bytes]]) -> None:
    framing = after(GET)
    for up, data in parts:
        if up:
            framing.request_data(data)
        else:
            assert all(0 < end <= len(data) for end in framing.response_data(data))


# --- the buffer ----------------------------------------------------------------------------------


def buffer_after(request: bytes) -> BufferingProxy:
    return BufferingProxy(after(request))


def test_a_complete_response_passes_at_once() -> None:
    assert buffer_after(GET).receive(OK, 4096) == OK


def test_a_streaming_response_waits_until_the_buffer_is_full() -> None:
    buffer = buffer_after(GET)
    assert buffer.receive(UNTIL_CLOSE, 100) == b""
    assert buffer.receive(b"x" * 80, 100) == b""
    assert buffer.receive(b"y", 100) == UNTIL_CLOSE + b"x" * 80 + b"y"
    assert buffer.receive(b"z", 100) == b""
    assert len(buffer) == 1


def test_only_the_start_of_the_next_response_waits() -> None:
    buffer = buffer_after(GET + GET + GET)
    assert buffer.receive(OK[:10], 4096) == b""
    assert buffer.receive(OK[10:] + EMPTY + CHUNKED[:60], 4096) == OK + EMPTY
    assert buffer.receive(CHUNKED[60:], 4096) == CHUNKED


def test_a_flush_returns_everything_that_is_held() -> None:
    buffer = buffer_after(GET)
    buffer.receive(UNTIL_CLOSE + b"data: x\n\n", 4096)
    assert buffer.flush() == UNTIL_CLOSE + b"data: x\n\n"
    assert buffer.flush() == b""


def test_without_a_size_everything_passes_and_later_ends_are_still_found() -> None:
    buffer = buffer_after(GET + GET)
    assert buffer.receive(OK[:-1], None) == OK[:-1]
    assert buffer.receive(OK[-1:] + OK[:-1], 4096) == OK[-1:]
    assert buffer.receive(OK[-1:], 4096) == OK


@each("opaque", [SWITCHING, b"SSH-2.0-hello\r\n"])
def test_data_that_is_not_http_passes_at_once(opaque: bytes) -> None:
    buffer = buffer_after(GET)
    assert buffer.receive(opaque[:5], 4096) == b""
    assert buffer.receive(opaque[5:] + b"\x81", 4096) == opaque + b"\x81"
    assert buffer.receive(b"\x00", 4096) == b"\x00"


@given(st.lists(st.sampled_from(EXCHANGES), max_size=4), CUTS, st.integers(1, 200))
@examples(200)
def test_every_byte_comes_out_once_and_in_order(
    exchanges: list[Exchange], cuts: list[int], size: int
) -> None:
    buffer = buffer_after(b"".join(exchange.request for exchange in exchanges))
    stream = b"".join(response for exchange in exchanges for response in exchange.responses)
    passed = b""
    for part in pieces(stream, cuts):
        passed += buffer.receive(part, size)
        assert len(buffer) < size
    assert passed + buffer.flush() == stream
    assert not buffer
