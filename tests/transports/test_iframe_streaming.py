"""Iframe streaming on the wire: script elements with one constant text, which one hash allows."""

import base64
import hashlib
import html
import json
import re

import pytest

from realtime.core.events import Cursor, Event
from realtime.transports.iframe_streaming import SCRIPT, frame
from tests.cases import each
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw, stream_head
from tests.transports.readers import say_in

BLOCK = re.compile(r'<script data-event="([^"]*)">([^<]*)</script>\n')
HEAD = "<!DOCTYPE html><meta charset=utf-8><title>iframe streaming</title>"
OPENING = HEAD + " " * (511 - len(HEAD)) + "\n"  # WebKitGTK holds back the first 512 bytes


def policy_of(head: list[str]) -> str:
    (policy,) = (line for line in head if line.startswith("Content-Security-Policy: "))
    return policy.partition(": ")[2]


def test_a_frame_is_a_constant_script_and_the_event_in_an_attribute() -> None:
    event = Event(Cursor("e", 7), b"""{"text":"<&>'"}""")
    assert frame(event) == (
        b"""<script data-event="{&#34;text&#34;:&#34;&lt;&amp;&gt;'&#34;}">%b</script>\n""" % SCRIPT
    )


@each("text", ["</script><script>alert(1)</script>", '"><img src=x>', "<!--"])
def test_no_text_can_leave_its_attribute(text: str) -> None:
    event = {"text": text}
    block = frame(Event(Cursor("e", 7), json.dumps(event).encode())).decode()
    match = BLOCK.fullmatch(block)
    assert match
    assert json.loads(html.unescape(match[1])) == event
    assert match[2].encode() == SCRIPT


@pytest.mark.parametrize(("query", "removed"), [("", True), ("?keep=0", True), ("?keep=1", False)])
async def test_the_policy_allows_that_script_and_nothing_else(
    server: Server, room: str, query: str, removed: bool
) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/iframe_streaming{query}")
        head = await raw.head()
        await say_in(server, room, "hello")
        assert (await raw.chunk()).decode() == OPENING
        match = BLOCK.fullmatch((await raw.chunk()).decode())
    assert match
    assert ("remove()" in match[2]) == removed
    digest = base64.b64encode(hashlib.sha256(match[2].encode()).digest()).decode()
    policy = policy_of(head)
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert head == stream_head("text/html; charset=utf-8", f"Content-Security-Policy: {policy}")
    assert directives["script-src"] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'self'"
    assert "unsafe" not in policy


async def test_every_chunk_holds_whole_elements(server: Server, room: str) -> None:
    await say_in(server, room, *map(str, range(40)))
    received: list[str] = []
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/iframe_streaming")
        await raw.head()
        await raw.chunk()
        await say_in(server, room, *map(str, range(40, 60)))
        while len(received) < 60:
            chunk = (await raw.chunk()).decode()
            assert BLOCK.sub("", chunk) == ""
            events = [json.loads(html.unescape(match[1])) for match in BLOCK.finditer(chunk)]
            received += [event["text"] for event in events]
    assert received == [str(n) for n in range(60)]


async def test_an_idle_stream_sends_white_space(servers: Servers, room: str) -> None:
    server = servers.get("memory", "--heartbeat-seconds", "0.1")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/iframe_streaming")
        await raw.head()
        assert [await raw.chunk() for _ in range(3)] == [OPENING.encode(), b"\n", b"\n"]


def test_the_opening_is_as_long_as_what_webkit_holds_back() -> None:
    assert len(OPENING) == 512


@pytest.mark.parametrize("pad", [0, 1, 1024])
async def test_padding_has_as_many_bytes_as_requested(server: Server, room: str, pad: int) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/iframe_streaming?pad={pad}")
        await raw.head()
        opening = await raw.chunk()
    assert opening == OPENING.encode() + b" " * pad


@pytest.mark.parametrize("pad", ["-1", "1000000000", "much", "nan"])
async def test_padding_out_of_range_is_a_named_error(server: Server, room: str, pad: str) -> None:
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/iframe_streaming?pad={pad}")
        head = await raw.head()
        response = json.loads(await raw.body(head))
    assert head[0] == "HTTP/1.1 400 Bad Request"
    assert response["error"]["code"] == "bad_pad"


async def test_http_1_0_gets_a_page_without_chunks_that_ends_with_the_connection(
    server: Server, room: str
) -> None:
    await say_in(server, room, "one", "two")
    async with Raw(server) as raw:
        raw.ask(f"/rooms/{room}/iframe_streaming", version="1.0")
        head = await raw.head()
        assert (await raw.until(b"\n")).decode() == OPENING
        blocks = [(await raw.until(b"</script>\n")).decode() for _ in range(2)]
    assert not any(line.startswith("Transfer-Encoding") for line in head)
    assert "Connection: close" in head
    assert all(map(BLOCK.fullmatch, blocks))
