"""What is plain is understood as Tornado understands it; what is not is left alone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from realtime.protocol.http1 import parse_fast_path, parse_query, response_header

HOST = b"Host: localhost:8000"


def request(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((*lines, b"", body))


def test_a_plain_request_is_taken_apart() -> None:
    data = request(b"POST /rooms/a%20b/x?after=1&client= HTTP/1.1", HOST, b"Content-Length: 2")
    head = parse_fast_path(data + b"{}")
    assert head is not None
    assert (head.size, head.cached.length, head.total_size) == (len(data), 2, len(data) + 2)
    asked = head.request(data + b"{}")
    assert (asked.method, asked.target, asked.version) == (
        *("POST", "/rooms/a%20b/x?after=1&client="),
        "HTTP/1.1",
    )
    assert parse_query(asked.target) == {"after": [b"1"], "client": [b""]}
    assert asked.fields["host"] == "localhost:8000"
    assert asked.body == b"{}"
    assert asked.keep_alive


GET = b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request(GET, HOST)[:-1],  # not all of it is here
        request(b"GET / HTTP/1.0", HOST),
        request(b"HEAD / HTTP/1.1", HOST),
        request(b"GET  / HTTP/1.1", HOST),
        request(b"GET http://localhost/ HTTP/1.1", HOST),
        request(b"GET /\xc3\xa4 HTTP/1.1", HOST),
        b"\r\n" + request(GET, HOST),
        request(GET),  # a host must be told (RFC 9112 §3.2)
        request(GET, HOST, HOST),
        request(GET, b"Host: a b"),
        request(GET, HOST, b"Connection: close"),
        request(GET, HOST, b"Connection: Upgrade", b"Upgrade: websocket"),
        request(GET, HOST, b"Transfer-Encoding: chunked"),
        request(GET, HOST, b"Expect: 100-continue"),
        request(GET, HOST, b"Content-Length: 1, 1"),
        request(GET, HOST, b"Content-Length: +1"),
        request(GET, HOST, b"Content-Length: 1", b"Content-Length: 2"),
        request(GET, HOST, b"Folded: a", b" b"),
        request(GET, HOST, b"No colon"),
        request(GET, HOST, b"Bad name: x"),
        request(GET, HOST, b"X: " + b"x" * 5000),
        request(b"GET /?" + b"a&" * 100 + b" HTTP/1.1", HOST),
        request(GET, HOST).replace(b"\r\n", b"\n"),
        request(GET, HOST + b"\n", b"Content-Length: 57"),
        request(GET, HOST + b"\n\nX: y"),
        request(GET, HOST, b"Content-Length: " + b"9" * 5000),
        request(GET, HOST, *[b"X:"] * 100),
    ],
)
def test_what_is_not_plain_is_left_alone(data: bytes) -> None:
    assert parse_fast_path(data) is None


TOKEN = st.text("abcXYZ-_09", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=12)
NAMES = st.sampled_from(["Host", "Connection", "Content-Length", "Origin", "Last-Event-ID"]) | TOKEN
FIELDS = st.lists(st.tuples(NAMES, VALUE | st.sampled_from(["localhost", "keep-alive", "7"])))
TARGET = st.text("/rom%20?&=+;a#.", max_size=20)


@given(TARGET, FIELDS)
def test_what_is_plain_is_understood_as_tornado_understands_it(
    target: str, fields: list[tuple[str, str]]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in [("Host", "x"), *fields[:4]])
    data = f"GET /{target} HTTP/1.1\r\n{lines}\r\n".encode("latin1")
    head = parse_fast_path(data)
    if head is None:
        return
    theirs = HTTPServerRequest(
        start_line=RequestStartLine("GET", f"/{target}", "HTTP/1.1"),
        headers=HTTPHeaders.parse(lines),
    )
    ours = head.request(data)
    assert parse_query(ours.target) == theirs.query_arguments
    assert list(ours.fields.get_all()) == list(theirs.headers.get_all())


def test_the_head_of_an_answer_tells_the_time_and_the_length() -> None:
    head = response_header(201, b"Content-Type: application/json", length=12)
    assert re.fullmatch(
        rb"HTTP/1\.1 201 Created\r\nContent-Type: application/json\r\n"
        rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nContent-Length: 12\r\n\r\n",
        head,
    )


def test_an_answer_without_an_end_tells_no_length() -> None:
    assert b"Content-Length" not in response_header(200, length=None)
