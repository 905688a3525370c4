"""The response of a handler: how its body ends, and whether another request may follow."""

import socket
from collections.abc import AsyncIterator

import pytest
from tornado.httputil import HTTPHeaders, ResponseStartLine

from realtime.protocol.http1 import parse_head
from realtime.server.response_writer import ResponseWriter
from realtime.server.stream import MeteredStream
from realtime.server.traffic import TrafficStats

Pair = tuple[MeteredStream, socket.socket]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A stream and the other end of its connection."""
    ours, theirs = socket.socketpair()
    stream = MeteredStream(ours, "here", TrafficStats())
    yield stream, theirs
    stream.close()
    theirs.close()


def make_writer(pair: Pair, line: str = "GET / HTTP/1.1", *fields: str) -> ResponseWriter:
    head = parse_head("\r\n".join([line, "Host: a", *fields, "", ""]).encode())
    return ResponseWriter(pair[0], None, head, head.keep_alive)


def respond(writer: ResponseWriter, status: int = 200, body: bytes = b"", **fields: str) -> None:
    headers = HTTPHeaders({name.replace("_", "-"): value for name, value in fields.items()})
    writer.write_headers(ResponseStartLine("", status, "Any"), headers, body)


@pytest.mark.parametrize(
    ("line", "fields", "status", "length", "expected"),
    [
        ("GET / HTTP/1.1", [], 200, "2", ""),
        ("GET / HTTP/1.1", [], 200, None, "Transfer-Encoding: chunked"),
        ("HEAD / HTTP/1.1", [], 200, "2", ""),
        ("GET / HTTP/1.1", [], 204, None, ""),
        ("GET / HTTP/1.1", ["Connection: close"], 200, "2", "Connection: close"),
        ("GET / HTTP/1.0", [], 200, "2", "Connection: close"),
        ("GET / HTTP/1.0", ["Connection: keep-alive"], 200, "2", "Connection: keep-alive"),
        ("GET / HTTP/1.0", ["Connection: keep-alive"], 200, None, "Connection: close"),
    ],
)
async def test_the_header_says_how_the_body_and_the_connection_end(
    pair: Pair, line: str, fields: list[str], status: int, length: str | None, expected: str
) -> None:
    writer = make_writer(pair, line, *fields)
    respond(writer, status, **({"Content_Length": length} if length else {}))
    lines = pair[1].recv(1000).decode().split("\r\n")[1:-2]
    assert [text for text in lines if "Content" not in text] == ([expected] if expected else [])
    assert writer.keep_alive == ("close" not in expected)


async def test_a_chunked_body_ends_with_the_last_chunk(pair: Pair) -> None:
    writer = make_writer(pair)
    respond(writer, body=b"hello")
    writer.write(b"")
    writer.write(b"you")
    writer.finish()
    assert writer.ended
    body = pair[1].recv(1000).partition(b"\r\n\r\n")[2]
    assert body == b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"


async def test_a_body_that_is_shorter_than_its_length_closes_the_connection(pair: Pair) -> None:
    writer = make_writer(pair)
    respond(writer, body=b"hel", Content_Length="5")
    with pytest.raises(ValueError, match="2 bytes less"):
        writer.finish()
    assert pair[0].closed()


async def test_a_line_break_within_a_line_is_not_sent(pair: Pair) -> None:
    start_line = ResponseStartLine("", 200, "OK\r\nX: y")
    with pytest.raises(ValueError, match="line break"):
        make_writer(pair).write_headers(start_line, HTTPHeaders())


async def test_a_client_that_expects_100_and_gets_an_error_instead_is_not_kept(pair: Pair) -> None:
    fields = ("Expect: 100-continue", "Content-Length: 5")
    refused, continued = (make_writer(pair, "POST / HTTP/1.1", *fields) for _ in range(2))
    respond(refused, 404)
    continued.send_continue()
    respond(continued, 201)
    assert (refused.keep_alive, continued.keep_alive) == (False, True)


async def test_the_handler_learns_that_the_client_has_gone(pair: Pair) -> None:
    writer, calls = make_writer(pair), []
    writer.set_close_callback(lambda: calls.append("closed"))
    pair[0].close()
    await writer.wait_ended()
    assert calls == ["closed"]
    assert writer.write(b"late").exception() is not None
