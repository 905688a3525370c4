"""The response to a poll: one JSON object, encoded once, whole bytes shared by equal headers."""

import json
import zlib

from realtime.core.events import Cursor, Event
from realtime.core.room import Page
from realtime.protocol.encodings import GZIP
from realtime.transports.polling import PollResponse

CURSOR = Cursor("e", 2)
EVENTS = [Event.numbered("say", Cursor("e", number), b'"text":"hi"}') for number in (1, 2)]


def test_the_body_has_the_cursor_and_the_events() -> None:
    response = PollResponse(Page(EVENTS, CURSOR, more=False))
    assert json.loads(response.body) == {
        "cursor": "e-2",
        "events": [json.loads(event.json) for event in EVENTS],
    }
    assert response.events == 2


def test_a_page_without_events_has_an_empty_array() -> None:
    response = PollResponse(Page([], CURSOR, more=False))
    assert response.body == b'{"cursor":"e-2","events":[]}'
    assert response.events == 0


def test_a_page_that_was_cut_says_that_there_is_more() -> None:
    assert json.loads(PollResponse(Page(EVENTS, CURSOR, more=True)).body)["more"] is True


def test_requests_with_the_same_header_share_one_object() -> None:
    response = PollResponse(Page(EVENTS, CURSOR, more=False))
    whole = response.with_head(b"head\r\n\r\n")
    assert whole == b"head\r\n\r\n" + response.body
    assert response.with_head(b"head\r\n\r\n") is whole
    assert response.with_head(b"other\r\n\r\n") == b"other\r\n\r\n" + response.body


def test_a_response_is_compressed_once_for_each_encoding() -> None:
    response = PollResponse(Page(EVENTS * 20, CURSOR, more=False))
    assert response.with_head(b"a") == b"a" + response.body
    compressed = response.encoded(GZIP)
    assert response.encoded(GZIP) is compressed
    assert zlib.decompress(compressed.body, 31) == response.body
    assert (compressed.events, compressed.fields) == (len(EVENTS) * 20, GZIP.fields)
    assert compressed.with_head(b"a") == b"a" + compressed.body
