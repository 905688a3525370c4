"""A plain request is parsed as Tornado parses it; any other request is left to Tornado."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from realtime.errors import BadRequest, HeaderTooLong, TargetTooLong, TooLong
from realtime.protocol.http1 import (
    ChunkedBody,
    encode_target,
    find_head_end,
    parse_fast_path,
    parse_head,
    parse_query,
    response_header,
)
from tests.cases import each

HOST = b"Host: localhost:8000"


def request(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((*lines, b"", body))


def test_a_plain_request_is_parsed() -> None:
    data = request(b"POST /rooms/a%20b/x?after=1&client= HTTP/1.1", HOST, b"Content-Length: 2")
    header = parse_fast_path(data + b"{}")
    assert header is not None
    assert (header.size, header.cached.length, header.total_size) == (len(data), 2, len(data) + 2)
    parsed = header.request(data + b"{}")
    assert (parsed.method, parsed.target, parsed.version) == (
        *("POST", "/rooms/a%20b/x?after=1&client="),
        "HTTP/1.1",
    )
    assert parse_query(parsed.target) == {"after": [b"1"], "client": [b""]}
    assert parsed.fields["host"] == "localhost:8000"
    assert parsed.body == b"{}"
    assert parsed.keep_alive


GET = b"GET / HTTP/1.1"


@each(
    "data",
    [
        b"",
        request(GET, HOST)[:-1],  # incomplete
        request(b"GET / HTTP/1.0", HOST),
        request(b"HEAD / HTTP/1.1", HOST),
        request(b"GET  / HTTP/1.1", HOST),
        request(b"GET http://localhost/ HTTP/1.1", HOST),
        request(b"GET /\xc3\xa4 HTTP/1.1", HOST),
        b"\r\n" + request(GET, HOST),
        request(GET),  # Host is required (RFC 9112 §3.2)
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
def test_a_request_that_is_not_plain_is_left_to_tornado(data: bytes) -> None:
    assert parse_fast_path(data) is None


TOKEN = st.text("abcXYZ-_09", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=12)
NAMES = st.sampled_from(["Host", "Connection", "Content-Length", "Origin", "Last-Event-ID"]) | TOKEN
FIELDS = st.lists(st.tuples(NAMES, VALUE | st.sampled_from(["localhost", "keep-alive", "7"])))
TARGET = st.text("/rom%20?&=+;a#.", max_size=20)


@given(TARGET, FIELDS)
def test_a_plain_request_is_parsed_as_tornado_parses_it(
    target: str, fields: list[tuple[str, str]]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in [("Host", "x"), *fields[:4]])
    data = f"GET /{target} HTTP/1.1\r\n{lines}\r\n".encode("latin1")
    header = parse_fast_path(data)
    if header is None:
        return
    theirs = HTTPServerRequest(
        start_line=RequestStartLine("GET", f"/{target}", "HTTP/1.1"),
        headers=HTTPHeaders.parse(lines),
    )
    ours = header.request(data)
    assert parse_query(ours.target) == theirs.query_arguments
    assert list(ours.fields.get_all()) == list(theirs.headers.get_all())


def test_the_header_of_a_response_has_the_date_and_the_length() -> None:
    header = response_header(201, b"Content-Type: application/json", length=12)
    assert re.fullmatch(
        rb"HTTP/1\.1 201 Created\r\nContent-Type: application/json\r\n"
        rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nContent-Length: 12\r\n\r\n",
        header,
    )


def test_a_response_of_unknown_length_has_no_content_length() -> None:
    assert b"Content-Length" not in response_header(200, length=None)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f")))
def test_an_encoded_target_is_ascii_and_means_the_same(target: str) -> None:
    encoded = encode_target(target)
    assert encoded.isascii()
    assert encode_target(encoded) == encoded
    assert unquote_to_bytes(encoded) == unquote_to_bytes(target.encode("latin1"))
    assert parse_query(encoded) == parse_query(target)


# --- the general path ----------------------------------------------------------------------------


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *(fields or ["Host: a"]), "", ""]).encode()


@each(
    ("line", "fields", "target", "host"),
    [
        ("GET /a?b HTTP/1.1", ["Host: a"], "/a?b", "a"),
        ("GET http://b:80/a?b HTTP/1.1", ["Host: a"], "/a?b", "b:80"),
        ("GET HTTPS://b HTTP/1.1", ["Host: a"], "/", "b"),
        ("GET http://b?c HTTP/1.1", ["Host: a"], "/?c", "b"),
        ("OPTIONS * HTTP/1.1", ["Host: a"], "*", "a"),
        ("OPTIONS http://b HTTP/1.1", ["Host: a"], "*", "b"),
        ("GET http://b/ HTTP/1.1", ["X: a"], "/", None),
        ("GET http://b/ HTTP/1.1", ["Host: a", "Host: b"], "/", "a,b"),
    ],
)
def test_every_form_of_a_target_becomes_a_path(
    line: str, fields: list[str], target: str, host: str | None
) -> None:
    found = parse_head(head(line, *fields))
    assert (found.target, found.fields.get("Host")) == (target, host)


@each("target", ["*", "a", "?a", "ftp://a/", "http://", "http:///a", "a:443"])
def test_other_targets_are_refused(target: str) -> None:
    with pytest.raises(BadRequest):
        parse_head(head(f"GET {target} HTTP/1.1"))


@each(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "TE, close", False),
        ("1.1", "foo,\tCLOSE", False),
        ("1.1", "closed", True),
        ("1.0", "", False),
        ("1.0", "foo, Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
        ("1.5", "keep-alive", False),
    ],
)
def test_connection_is_a_list(version: str, connection: str, kept: bool) -> None:
    found = parse_head(head(f"GET / HTTP/{version}", "Host: a", f"Connection: {connection}"))
    assert found.keep_alive == kept


@each(
    ("data", "error"),
    [
        (b"GET /" + b"a" * 100, TargetTooLong),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100, HeaderTooLong),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100 + b"\r\n\r\n", HeaderTooLong),
    ],
)
def test_a_header_section_that_is_too_long_says_which_part(
    data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        find_head_end(data, 64)


def test_the_end_of_a_header_section_is_found_however_it_is_split() -> None:
    data = head("GET / HTTP/1.1")
    for size in range(len(data)):
        assert find_head_end(data[:size], 1000) is None
        assert find_head_end(data + b"body", 1000, searched=size) == len(data)


CHUNKS = b'3;a="b"\r\nhel\r\n2\r\nlo\r\n0;c\r\nX: y\r\n\r\n'


@each("size", [1, 2, 3, 7, 100])
def test_a_chunked_body_is_the_same_however_it_is_split(size: int) -> None:
    body, found, data = ChunkedBody(5, 1000), b"", CHUNKS + b"GET /"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    while body.rest is None:
        found += body.feed(pieces.pop(0))
    assert (found, body.rest + b"".join(pieces)) == (b"hello", b"GET /")


@each(
    ("data", "error"),
    [
        (b"5\r\nhello!", BadRequest),
        (b"5\r\nhello\n", BadRequest),
        (b"5\nhello", BadRequest),
        (b"0x5\r\n", BadRequest),
        (b"\r\n", BadRequest),
        (b"0\r\n: a\r\n", BadRequest),
        (b"0\r\nGET / HTTP/1.1\r\n", BadRequest),
        (b"6\r\n", TooLong),
        (b"F" * 16 + b"\r\n", BadRequest),
        (b"1;" + b"a" * 200, HeaderTooLong),
        (b"1;aaaaaaaaaa\r\nx\r\n" * 5 + b"0\r\n\r\n", HeaderTooLong),
        (b"0\r\n" + b"X: y\r\n" * 20, HeaderTooLong),
    ],
)
def test_a_chunked_body_that_is_ambiguous_or_too_long_is_refused(
    data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ChunkedBody(5, 50).feed(data)
