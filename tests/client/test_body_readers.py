"""The readers of event streams, script blocks and lines, cut at every position."""

import base64
import hashlib
import json

import pytest

from realtime.client.fetch_streaming import LineReader
from realtime.client.http import BadResponse
from realtime.client.iframe_streaming import ScriptBlockReader
from realtime.client.sse import EventStreamMessage, EventStreamParser
from tests.cases import each
from tests.client.pieces import collect, cuts

# --- event streams: the examples of the HTML standard §9.2.6 and its corners ---------------------


@each(
    ("stream", "messages"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
            b"data:  third event\n\n",
            [
                ("message", "first event", "1"),
                ("message", "second event", ""),
                ("message", " third event", ""),
            ],
        ),
        # The last block is not dispatched: no empty line follows it.
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        (b"data:test\n\ndata: test\n\n", [("message", "test", "")] * 2),
        (b"event: join\rdata: a\r\rdata: b\r\n\r\n", [("join", "a", ""), ("message", "b", "")]),
        # A byte order mark is one at the very start only.
        (
            b"\xef\xbb\xbfdata: a\n\ndata: \xef\xbb\xbfb\n\n",
            [("message", "a", ""), ("message", "\ufeffb", "")],
        ),
        (b"id: 7\n\ndata: x\n\n", [("message", None, "7"), ("message", "x", "7")]),
        (
            b"id: 7\ndata: x\n\nid: a\0b\ndata: y\n\n",
            [("message", "x", "7"), ("message", "y", "7")],
        ),
        (b"\n\n:\n\nunknown: x\n\nevent: nothing\n\n", []),
        ("data: 聊天 \u2028 室\n\n".encode(), [("message", "聊天 \u2028 室", "")]),
    ],
)
def test_an_event_stream_is_read_as_the_standard_says(
    stream: bytes, messages: list[tuple[str, str | None, str]]
) -> None:
    for pieces in cuts(stream):
        assert collect(EventStreamParser().feed, pieces) == [
            EventStreamMessage(*m) for m in messages
        ]


def test_the_last_event_id_is_that_of_the_last_whole_block() -> None:
    stream = EventStreamParser()
    list(stream.feed(b"id: 1\ndata: x\n\nid: 2\n"))
    assert stream.last_event_id == "1"


@each(("line", "retry"), [(b"retry: 250\n", 250), (b"retry: soon\n", None)])
def test_a_retry_is_a_number_of_milliseconds(line: bytes, retry: int | None) -> None:
    stream = EventStreamParser()
    list(stream.feed(line))
    assert stream.retry == retry


# --- script blocks -------------------------------------------------------------------------------

SCRIPT = b"parent.receive(document.currentScript.dataset.event)"
POLICY = f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT).digest()).decode()}'"
PREAMBLE = b"<!DOCTYPE html><title>a page</title>\n"


def block(attribute: bytes, script: bytes = SCRIPT) -> bytes:
    return b'<script data-event="%b">%b</script>\n' % (attribute, script)


def test_script_blocks_are_the_same_wherever_they_are_cut() -> None:
    texts = ["a", '"&lt;</script><script>alert(1)</script>', "聊天 \u2028"]
    page = PREAMBLE + b"  \n"
    for text in texts:
        escaped = json.dumps({"text": text}).replace("&", "&amp;").replace('"', "&quot;")
        page += block(escaped.encode()) + b"\n"
    for pieces in cuts(page):
        assert [
            e["text"] for e in collect(ScriptBlockReader(POLICY, json.loads).feed, pieces)
        ] == texts


def test_a_block_runs_when_its_end_tag_has_come_and_not_before() -> None:
    blocks = ScriptBlockReader(POLICY, json.loads)
    data = block(b"{}").rstrip()
    assert not list(blocks.feed(data[:-1]))
    assert list(blocks.feed(data[-1:])) == [{}]


@each(
    "page",
    [
        block(b"{}", b"alert(1)"),  # forbidden by the policy
        block(b"{}") + block(b"{}", SCRIPT + b";"),  # not the same text
        block(b"{}") + b"<p>hello</p>" + block(b"{}"),  # something to see
        b"<script>alert(1)</script>" + block(b"{}"),  # a script of another kind
    ],
)
def test_a_page_that_a_browser_would_not_run_like_this_is_said_so(page: bytes) -> None:
    with pytest.raises(BadResponse):
        list(ScriptBlockReader(POLICY, json.loads).feed(page))


# --- lines ---------------------------------------------------------------------------------------


def test_lines_are_the_same_wherever_they_are_cut() -> None:
    data = b'\n{"a":1}\n\n{"b":"\\n"}\n{"c":'
    for pieces in cuts(data):
        assert collect(LineReader(json.loads).feed, pieces) == [{"a": 1}, {"b": "\n"}]
