"""The HTTP reader gives the same response however the network cuts its bytes (RFC 9112)."""

import asyncio
import json

import pytest

from realtime.client.http import (
    BadResponse,
    ByteCount,
    Closed,
    Endpoint,
    HTTPConnection,
    Refused,
    Response,
    ResponseHead,
    ResponseReader,
    encode,
)
from tests.cases import each
from tests.client.pieces import cuts
from tests.fake_server import FakeServer, until

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Two: a\r\nX-Two: b\r\n\r\nhello\r\n0\r\n\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;name="value"\r\nhello\r\nA\r\n\r\n0\r\n\r\n234\r\n0\r\nTrailer: x\r\n\r\n'
)
CLOSED = b"HTTP/1.0 200 OK\r\n\r\nall that comes\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + LENGTH


def read(reader: ResponseReader, pieces: list[bytes]) -> bytes:
    return b"".join(map(reader.feed, pieces))


@each(
    ("data", "body"),
    [
        (LENGTH, b"hello\r\n0\r\n\n"),
        (CHUNKED, b"hello\r\n0\r\n\r\n234"),
        (INTERIM, b"hello\r\n0\r\n\n"),
    ],
    ids=["length", "chunked", "interim"],
)
def test_a_body_is_the_same_wherever_it_is_cut(data: bytes, body: bytes) -> None:
    for pieces in cuts(data):
        reader = ResponseReader()
        assert read(reader, pieces) == body
        assert reader.complete
        assert reader.rest == b""
        assert reader.head is not None
        assert reader.head.status == 200


@each("data", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_a_body_is_complete_with_its_last_byte_and_not_before(data: bytes) -> None:
    reader = ResponseReader()
    for at in range(len(data)):
        assert not reader.complete
        reader.feed(data[at : at + 1])
    assert reader.complete


@each("data", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_what_follows_a_response_is_kept_apart(data: bytes) -> None:
    for pieces in cuts(data + b"HTTP/1.1 204"):
        reader = ResponseReader()
        read(reader, pieces)
        assert reader.rest == b"HTTP/1.1 204"


def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_body() -> None:
    for pieces in cuts(CLOSED):
        reader = ResponseReader()
        assert read(reader, pieces) == b"all that comes\r\n\r\n"
        assert not reader.complete
        reader.end()
        assert reader.complete


@each("data", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_an_end_in_the_middle_is_told_from_an_end(data: bytes) -> None:
    for at in range(len(data)):
        reader = ResponseReader()
        reader.feed(data[:at])
        with pytest.raises(Closed):
            reader.end()


def test_bytes_after_a_101_belong_to_the_next_protocol() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    for pieces in cuts(head + b"\x81\x02hi"):
        reader = ResponseReader()
        assert read(reader, pieces) == b""
        assert reader.complete
        assert reader.rest == b"\x81\x02hi"


def test_repeated_fields_are_joined_and_names_have_no_case() -> None:
    head = ResponseHead.parse(b"HTTP/1.1 200 OK\r\nX-Two: a\r\nx-two:\t b \r\nEmpty:")
    assert head.fields == {"x-two": "a, b", "empty": ""}


@each(
    "data",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 100_000,
    ],
)
def test_what_is_not_http_is_said_so(data: bytes) -> None:
    with pytest.raises(BadResponse):
        ResponseReader().feed(data)


# --- responses and requests ----------------------------------------------------------------------


def response(status: int, body: bytes, **fields: str) -> Response:
    return Response(ResponseHead("1.1", status, "", fields), body)


def test_a_named_error_becomes_an_exception_with_its_name() -> None:
    body = json.dumps({"error": {"code": "too_fast", "message": "Wait."}}).encode()
    with pytest.raises(Refused) as refused:
        response(429, body, **{"retry-after": "3"}).check(200, 201)
    error = refused.value
    assert (error.status, error.code, error.message) == (429, "too_fast", "Wait.")
    assert error.retry_after == 3


@each("body", [b"<h1>500</h1>", b"{}", b"[]", b'{"error":"text"}'])
def test_an_error_without_a_name_breaks_the_contract(body: bytes) -> None:
    with pytest.raises(BadResponse):
        response(500, body).check(200)


def test_a_request_says_what_it_must_and_nothing_else() -> None:
    assert Endpoint("http://127.0.0.1:80/").build_request("GET", "/rooms", {}) == (
        b"GET /rooms HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"
    )


def test_a_request_with_a_body_says_its_length_in_bytes() -> None:
    assert Endpoint("http://h/", host="other").build_request(
        "POST", "/x", {"A": "b"}, "é".encode()
    ) == (
        b"POST /x HTTP/1.1\r\nHost: other\r\nA: b\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n\xc3\xa9"
    )


def test_half_a_surrogate_pair_is_escaped_as_a_browser_does() -> None:
    assert encode({"text": "\ud800 聊天"}) == b'{"text":"\\ud800 ' + "聊天".encode() + b'"}'


# --- connections ---------------------------------------------------------------------------------


async def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    connections = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(LENGTH)

    async with FakeServer(answer_once) as server:
        endpoint = Endpoint(f"http://127.0.0.1:{server.port}")
        connection = HTTPConnection(endpoint, ByteCount(), {})
        for number in (1, 2, 3):
            assert (await connection.request("GET", "/")).status == 200
            assert connections == number
            assert connection._connection is not None
            await until(lambda: connection._connection.ended)
        await connection.close()
