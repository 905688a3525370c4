"""A connection serves one request after the other, however its bytes are split."""

import asyncio
import json
import re
from urllib.parse import quote, unquote

import pytest

from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import say_in


def get(path: str, *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode()


def publish(room: str, text: str, *fields: str) -> bytes:
    body = json.dumps({"text": text}).encode()
    length = f"Content-Length: {len(body)}"
    return get(f"/rooms/{room}/messages", length, *fields, method="POST") + body


async def responses(raw: Raw, count: int) -> list[tuple[int, bytes]]:
    """The status and the body of the next `count` responses."""
    found = []
    for _ in range(count):
        head = await raw.head()
        found.append((int(head[0].split()[1]), await raw.body(head)))
    return found


@pytest.mark.parametrize("size", [1, 7, 60, 200])
async def test_a_request_in_several_packets_is_answered_like_one(
    server: Server, room: str, size: int
) -> None:
    request = publish(room, "hello") + get(f"/rooms/{room}/short_polling")
    async with Raw(server) as raw:
        for start in range(0, len(request), size):
            raw.send(request[start : start + size])
            await asyncio.sleep(0)
        published, polled = await responses(raw, 2)
    assert (published[0], polled[0]) == (201, 200)
    assert [event["text"] for event in json.loads(polled[1])["events"]] == ["hello"]


async def test_a_body_can_arrive_after_its_header_section(server: Server, room: str) -> None:
    head, _, body = publish(room, "hello").partition(b"\r\n\r\n")
    async with Raw(server) as raw:
        raw.send(head + b"\r\n\r\n" + body[:3])
        await say_in(server, room, "meanwhile")
        raw.send(body[3:])
        assert (await responses(raw, 1))[0][0] == 201


async def test_responses_leave_in_the_order_of_their_requests(server: Server, room: str) -> None:
    """The first waits, and so do the others; the fast path does not overtake Tornado."""
    async with Raw(server) as raw:
        raw.send(get(f"/rooms/{room}/long_polling?wait=0.3"))
        await asyncio.sleep(0.1)
        raw.send(get("/healthz") + get(f"/rooms/{room}/short_polling") + publish(room, "late"))
        raw.send(get(f"/rooms/{room}/long_polling"))
        found = [json.loads(body) for _, body in await responses(raw, 5)]
    assert found[0]["events"] == []
    assert found[1]["status"] == "ok"
    assert found[2]["events"] == []
    assert found[3]["id"] == found[4]["events"][0]["id"]


@pytest.mark.parametrize(
    ("version", "fields", "expected", "kept"),
    [
        ("1.1", [], None, True),
        ("1.1", ["Connection: close"], "Connection: close", False),
        ("1.0", [], "Connection: close", False),
        ("1.0", ["Connection: keep-alive"], "Connection: keep-alive", True),
    ],
)
async def test_a_connection_is_kept_alive_as_requested(
    server: Server, room: str, version: str, fields: list[str], expected: str | None, kept: bool
) -> None:
    async with Raw(server) as raw:
        raw.send(get(f"/rooms/{room}/short_polling", *fields, version=version))
        head = await raw.head()
        await raw.body(head)
        assert [line for line in head if line.startswith("Connection")] == (
            [expected] if expected else []
        )
        if kept:
            raw.send(get("/healthz", "Connection: close"))
        rest = await raw.rest()
        assert rest.startswith(b"HTTP/1.1 200") if kept else rest == b""


@pytest.mark.parametrize(
    ("request_line", "fields"),
    [
        ("POST /rooms/x/messages HTTP/1.0", []),
        ("GET /rooms/x/short_polling HTTP/1.5", []),
        ("POST /rooms/x/messages HTTP/1.1", ["Content-Length: 2000000"]),
    ],
)
async def test_a_closed_connection_was_announced(
    server: Server, request_line: str, fields: list[str]
) -> None:
    async with Raw(server) as raw:
        raw.send("\r\n".join([request_line, "Host: localhost", *fields, "", ""]).encode())
        assert b"\r\nConnection: close\r\n" in await raw.rest()


@pytest.mark.parametrize("path", ["/healthz", "/rooms/x/messages", "/rooms/x/short_polling"])
async def test_a_content_length_with_too_many_digits_is_a_bad_request(
    server: Server, path: str
) -> None:
    async with Raw(server) as raw:
        raw.send(get(path, "Content-Length: " + "0" * 5000))
        response = await raw.rest()
    assert response == b"" or response.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("cut", [0, 3])
async def test_a_header_section_ends_at_the_same_place_however_it_is_split(
    server: Server, cut: int
) -> None:
    """A bare LF ends it, which only Tornado parses; in one packet and in two."""
    inner = get("/rooms/x/short_polling")
    head = "POST /rooms/x/messages HTTP/1.1\r\nHost: localhost\n\r\n"
    data = head.encode() + b"Content-Length: %d\r\n\r\n" % len(inner) + inner
    async with Raw(server) as raw:
        raw.send(data[:cut])
        await asyncio.sleep(0.05 if cut else 0)
        raw.send(data[cut:])
        found = re.findall(rb"HTTP/1\.1 (\d+)", await raw.rest())
    assert found == [b"400", b"400"]


async def test_raw_utf_8_in_a_target_is_accepted(server: Server, room: str) -> None:
    target = f"/rooms/{room}é/short_polling?after=x".encode()
    async with Raw(server) as raw:
        raw.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        [(status, body)] = await responses(raw, 1)
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_cursor")


async def test_a_chunked_body_is_read(server: Server, room: str) -> None:
    head = get(f"/rooms/{room}/messages", "Transfer-Encoding: chunked", method="POST")
    async with Raw(server) as raw:
        raw.send(head + b'9\r\n{"text":"\r\n7\r\nhello"}\r\n0\r\n\r\n' + get("/healthz"))
        assert [status for status, _ in await responses(raw, 2)] == [201, 200]


async def test_expect_100_continue_is_answered(server: Server, room: str) -> None:
    head, _, body = publish(room, "hello", "Expect: 100-continue").partition(b"\r\n\r\n")
    async with Raw(server) as raw:
        raw.send(head + b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 100 ", await raw.until(b"\r\n\r\n"))
        raw.send(body)
        assert (await responses(raw, 1))[0][0] == 201


async def test_a_response_to_head_has_no_body(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.send(get(f"/rooms/{room}/short_polling", method="HEAD") + get("/healthz"))
        head = await raw.head()
        assert head[0] == "HTTP/1.1 200 OK"
        assert [status for status, _ in await responses(raw, 1)] == [200]


async def test_a_stream_after_a_poll_on_the_same_connection(server: Server, room: str) -> None:
    async with Raw(server) as raw:
        raw.send(get(f"/rooms/{room}/short_polling"))
        await responses(raw, 1)
        raw.send(get(f"/rooms/{room}/sse"))
        await raw.head()
        assert await raw.chunk() == b":\n\n"
        await say_in(server, room, "hello")
        assert b'"text":"hello"' in await raw.until(b"\n\n")


# --- a target that is not ASCII ------------------------------------------------------------------

HANDSHAKE = [
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]
READERS = ["short_polling", "long_polling", "sse", "fetch_streaming", "iframe_streaming"]


@pytest.mark.parametrize("target", ["%s-ü", "%s-%%C3%%BC", "%s-聊天室"])
async def test_a_room_in_raw_utf_8_is_the_same_room_for_every_request(
    server: Server, room: str, target: str
) -> None:
    raw_room, text = target % room, "said in the room with a raw name"
    encoded = quote(unquote(raw_room))
    member = "client=c1&name=Zo%C3%AB"
    async with Raw(server) as raw:
        raw.send(publish(raw_room, text))
        assert (await responses(raw, 1))[0][0] == 201
    for reader in READERS:
        for name in (raw_room, encoded):
            async with Raw(server) as raw:
                raw.ask(f"/rooms/{name}/{reader}?{member}&via={reader}")
                assert await raw.until(text.encode())
    for name in (raw_room, encoded):
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{name}/websocket", *HANDSHAKE)
            assert await raw.until(text.encode())
        async with Raw(server) as raw:
            raw.send(get(f"/rooms/{name}/members"))
            ((status, body),) = await responses(raw, 1)
        assert (status, [one["name"] for one in json.loads(body)["members"]]) == (200, ["Zoë"])
    async with Raw(server) as raw:
        raw.send(get(f"/rooms/{raw_room}/members/c1", method="DELETE"))
        assert (await raw.head())[0].startswith("HTTP/1.1 20")


async def test_a_name_in_raw_utf_8_is_the_same_name_for_every_request(
    server: Server, room: str
) -> None:
    # A second client with the same name is shown as the second.
    expected = [{"Zoë"}, {"Zoë", "Zoë (2)"}]
    for number, path in enumerate(["short_polling", "websocket"]):
        fields = HANDSHAKE if path == "websocket" else []
        async with Raw(server) as raw:
            raw.ask(f"/rooms/{room}/{path}?client=c{number}&name=Zoë", *fields)
            await raw.head()
            async with Raw(server) as other:
                other.send(get(f"/rooms/{room}/members"))
                ((_, body),) = await responses(other, 1)
        assert {one["name"] for one in json.loads(body)["members"]} == expected[number]


@pytest.mark.parametrize("path", ["short_polling", "messages", "members", "websocket"])
async def test_a_room_that_is_not_utf_8_is_a_named_error(server: Server, path: str) -> None:
    for name in (b"\xfc", b"%fc"):
        method = b"POST" if path == "messages" else b"GET"
        fields = HANDSHAKE if path == "websocket" else ["Content-Length: 0"]
        head = "\r\n".join(["Host: localhost", *fields, "", ""]).encode()
        async with Raw(server) as raw:
            raw.send(method + b" /rooms/" + name + f"/{path} HTTP/1.1\r\n".encode() + head)
            ((status, body),) = await responses(raw, 1)
        assert (status, json.loads(body)["error"]["code"]) == (400, "bad_room")
