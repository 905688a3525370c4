"""The readers of the wire, in the browser they are for: bytes cut anywhere give the same parts."""

import base64
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Pieces = list[tuple[int, str, bytes]]

# Feed the pieces, cut after each `step` bytes, and tell what came of it: parts that were told in
# several pieces are put together again.
READ = """async ([pieces, step]) => {
  const { Conversation } = await import("/demos/static/wire/conversation.js");
  const parts = [], messages = new Map();
  const conversation = new Conversation({
    onPart({ message, kind, bytes }) {
      const text = String.fromCharCode(...bytes);
      const last = parts.at(-1);
      const goesOn = ["body", "chunk-data", "frame-payload", "unknown"].includes(kind);
      if (goesOn && last && last[0] === message.id && last[1] === kind) last[2] += text;
      else parts.push([message.id, kind, text]);
    },
    onMessage(message) {
      messages.set(message.id, {
        kind: message.kind, line: message.startLine, status: message.status, bytes: message.bytes,
        body: message.bodyBytes, ended: message.ended !== undefined, opcode: message.opcode,
        length: message.length, mask: message.mask && [...message.mask], fin: message.fin,
        to: message.answerTo?.target, via: message.fields?.get("x-via"),
      });
    },
  });
  for (const [connection, direction, data] of pieces) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt());
    if (!bytes.length) conversation.feed({ connection, at: 2, closed: true });
    for (let at = 0; at < bytes.length; at += step) {
      const piece = bytes.subarray(at, at + step);
      conversation.feed({ connection, transport: "sse", direction, at: 1, bytes: piece });
    }
  }
  return [parts, [...messages.values()]];
}"""


async def read(context: BrowserContext, server: Server, pieces: Pieces) -> Any:
    """What the readers make of these pieces, which is the same wherever they are cut."""
    page = await context.new_page()
    await page.goto(f"{server.url}/demos/static/icon.svg")
    told = [(number, way, base64.b64encode(data).decode()) for number, way, data in pieces]
    whole = await page.evaluate(READ, [told, 1_000_000])
    for step in (1, 2, 3, 7):
        assert await page.evaluate(READ, [told, step]) == whole
    await page.close()
    return whole


ASK = b"GET /rooms/a/sse HTTP/1.1\r\nHost: x\r\nX-Via: one\r\nX-Via: two\r\n\r\n"


async def test_a_request_and_an_answer_of_a_length(server: Server, context: BrowserContext) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    parts, messages = await read(context, server, [(1, "up", ASK), (1, "down", answer)])
    assert [part[1:] for part in parts] == [
        ["start-line", "GET /rooms/a/sse HTTP/1.1\r\n"],
        ["field", "Host: x\r\n"],
        ["field", "X-Via: one\r\n"],
        ["field", "X-Via: two\r\n"],
        ["head-end", "\r\n"],
        ["start-line", "HTTP/1.1 200 OK\r\n"],
        ["field", "Content-Length: 5\r\n"],
        ["head-end", "\r\n"],
        ["body", "hello"],
    ]
    request, response = messages
    assert (request["kind"], request["bytes"], request["via"]) == ("request", len(ASK), "one, two")
    assert (response["status"], response["bytes"], response["body"]) == (200, len(answer), 5)
    assert response["to"] == "/rooms/a/sse"
    assert request["ended"]
    assert response["ended"]


async def test_an_endless_answer_comes_in_chunks(server: Server, context: BrowserContext) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3\r\nabc\r\n1a;x=y\r\n" + b"z" * 26 + b"\r\n"
    pieces: Pieces = [(1, "up", ASK), (1, "down", head + body)]
    parts, (_, answer) = await read(context, server, pieces)
    assert [part[1:] for part in parts[-6:]] == [
        ["chunk-size", "3\r\n"],
        ["chunk-data", "abc"],
        ["chunk-end", "\r\n"],
        ["chunk-size", "1a;x=y\r\n"],
        ["chunk-data", "z" * 26],
        ["chunk-end", "\r\n"],
    ]
    assert (answer["body"], answer["ended"]) == (29, False)
    parts, (_, answer) = await read(context, server, [*pieces, (1, "down", b"0\r\n\r\n")])
    assert [part[1:] for part in parts[-2:]] == [["last-chunk", "0\r\n"], ["chunk-end", "\r\n"]]
    assert answer["ended"]


async def test_one_connection_carries_one_request_after_the_other(
    server: Server, context: BrowserContext
) -> None:
    head = b"HEAD / HTTP/1.1\r\n\r\n"
    none = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    post = b"POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    last = b"HTTP/1.1 200 OK\r\n\r\nuntil it is closed"
    pieces: Pieces = [
        *((1, "up", head), (1, "up", post), (1, "down", none), (1, "down", interim)),
        *((1, "up", ASK), (1, "down", last), (1, "", b"")),
    ]
    _, messages = await read(context, server, pieces)
    answers = [one for one in messages if one["kind"] == "answer"]
    assert [(a["status"], a["to"], a["body"]) for a in answers] == [
        *((200, "/", 0), (100, "/b", 0), (204, "/b", 0), (200, "/rooms/a/sse", 18)),
    ]
    assert all(one["ended"] for one in messages)


async def test_after_a_101_there_are_frames(server: Server, context: BrowserContext) -> None:
    upgrade = b"GET /rooms/a/websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    text, ping = b"\x81\x05hello", b"\x89\x00"
    masked = b"\x81\x82\x01\x02\x03\x04" + bytes((ord("h") ^ 1, ord("i") ^ 2))
    longer = b"\x01\x7e\x01\x00" + b"x" * 256 + b"\x80\x7f" + (65536).to_bytes(8) + b"y" * 65536
    pieces: Pieces = [
        *((1, "up", upgrade), (1, "down", switch + text + ping)),
        *((1, "up", masked), (1, "down", longer)),
    ]
    page = await context.new_page()
    await page.goto(f"{server.url}/demos/static/icon.svg")
    told = [(number, way, base64.b64encode(data).decode()) for number, way, data in pieces]
    parts, messages = await page.evaluate(READ, [told, 5])
    frames = [one for one in messages if one["kind"] == "frame"]
    assert [(f["opcode"], f["fin"], f["length"]) for f in frames] == [
        *((1, True, 5), (9, True, 0), (1, True, 2), (1, False, 256), (0, True, 65536)),
    ]
    assert frames[2]["mask"] == [1, 2, 3, 4]
    assert all(one["ended"] for one in messages)
    assert [kind for id, kind, _ in parts if id == parts[-1][0]] == [
        *("frame-head", "frame-length", "frame-payload"),
    ]
    assert (
        await page.evaluate(
            """async () => {
          const { unmask } = await import("/demos/static/wire/frames.js");
          const hidden = Uint8Array.from([104 ^ 3, 105 ^ 4, 106 ^ 1]);
          return String.fromCharCode(...unmask(hidden, [1, 2, 3, 4], 2));
        }"""
        )
        == "hij"
    )


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01 this is TLS\r\nand more",
        b"GET /a HTTP/1.1\r\nno field at all\r\nand more",
        b"POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\nand more",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nand more",
        b"x" * 70_000,
    ],
)
async def test_what_is_no_http_is_unknown_and_all_of_it_is_shown(
    server: Server, context: BrowserContext, garbage: bytes
) -> None:
    page = await context.new_page()
    await page.goto(f"{server.url}/demos/static/icon.svg")
    told = [(1, "up", base64.b64encode(garbage).decode())]
    for step in (1_000_000, 1000, 3):
        parts, _ = await page.evaluate(READ, [told, step])
        assert "".join(text for _, _, text in parts).encode("latin1") == garbage
        assert parts[-1][1] == "unknown"
