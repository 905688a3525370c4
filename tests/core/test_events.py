"""Values parsed from outside: each is a frozen value, or one named error."""

import json
import string
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import errors
from realtime.core.events import Cursor, Draft, Event, Member, parse_client, parse_name, parse_room
from realtime.limits import Limits
from tests.cases import each

LIMITS = Limits()
ID = "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677"


def draft(**fields: Any) -> Draft:
    body = json.dumps({"text": "hi", **fields}).encode()
    return Draft.parse(body, "lobby", LIMITS, via="post")


# --- cursors -------------------------------------------------------------------------------------


@given(
    st.text(string.ascii_letters + string.digits, min_size=1, max_size=32),
    st.integers(0, 10**15 - 1),
)
def test_a_cursor_is_parsed_as_it_was_written(epoch: str, number: int) -> None:
    cursor = Cursor(epoch, number)
    assert Cursor.parse(str(cursor)) == cursor


@each(
    "text",
    [
        "",
        "-",
        "e",
        "e-",
        "-1",
        "e--1",
        "e-01",
        "e-1 ",
        " e-1",
        "e-1\n",
        "e-١",
        "e-1١",
        "é-1",
        "a-b-1",
        "e-" + "9" * 16,
        "e" * 33 + "-1",
    ],
)
def test_a_bad_cursor_is_rejected(text: str) -> None:
    with pytest.raises(errors.BadCursor):
        Cursor.parse(text)


# --- events --------------------------------------------------------------------------------------


def test_an_event_has_its_fields_in_the_documented_order() -> None:
    rest = draft(id=ID, client="ada", name="Ada", sent=5).json_tail + b',"published":7}'
    assert Event.numbered("say", Cursor("e", 1), rest).json == (
        b'{"kind":"say","cursor":"e-1","id":"%b","client":"ada","name":"Ada","text":"hi",'
        b'"via":"post","sent":5,"published":7}' % ID.encode()
    )


def test_a_join_has_no_text() -> None:
    assert Member("ada", "Ada", "sse").json_tail == (
        b'"client":"ada","name":"Ada","via":"sse","sent":null'
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_a_text_is_delivered_as_it_was_published(text: str) -> None:
    event = json.loads(b"{%b}" % draft(text=text).json_tail)
    assert event["text"] == text


@each(("reason", "missed", "encoded"), [("trimmed", 7, b"7"), ("unknown", None, b"null")])
def test_a_gap_has_the_documented_fields(reason: str, missed: int | None, encoded: bytes) -> None:
    assert Event.gap(Cursor("e", 3), reason, missed).json == (
        b'{"kind":"gap","cursor":"e-3","reason":"%b","missed":%b}' % (reason.encode(), encoded)
    )


def test_a_text_is_never_interpreted() -> None:
    assert b'"text":"</script><b>&amp;",' in draft(text="</script><b>&amp;").json_tail


def test_json_is_one_line_of_utf_8() -> None:
    rest = draft(text="聊\r\n\u2028\x00😀").json_tail
    assert "聊\\r\\n\u2028\\u0000😀".encode() in rest
    assert b"\n" not in rest


# --- drafts --------------------------------------------------------------------------------------


@each(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"text":"\xff"}',
        '{"text":"x"}'.encode("utf-16"),
        b'{"text":"x","sent":NaN}',
        b'{"text":"x","sent":-Infinity}',
        b"[" * 16000,
        b'\xef\xbb\xbf{"text":"x"}',
        b'{"text":"x","sent":' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_a_json_object_is_bad_json(body: bytes) -> None:
    with pytest.raises(errors.BadJSON):
        Draft.parse(body, "lobby", LIMITS, via="post")


@each(
    ("fields", "error"),
    [
        ({"text": None}, errors.BadText),
        ({"text": ""}, errors.BadText),
        ({"text": ["x"]}, errors.BadText),
        ({"text": "\ud800"}, errors.BadText),
        ({"text": "x" * 4097}, errors.TooLong),
        ({"text": "聊" * 1366}, errors.TooLong),
        ({"name": ""}, errors.BadName),
        ({"name": " "}, errors.BadName),
        ({"name": "x" * 33}, errors.BadName),
        ({"name": "a\nb"}, errors.BadName),
        ({"name": "\udfff"}, errors.BadName),
        ({"name": 5}, errors.BadName),
        ({"client": ""}, errors.BadClient),
        ({"client": "é"}, errors.BadClient),
        ({"client": "x" * 65}, errors.BadClient),
        ({"id": "x"}, errors.BadId),
        ({"id": ID + "\n"}, errors.BadId),
        ({"id": 5}, errors.BadId),
        ({"via": "a b"}, errors.BadVia),
        ({"via": None}, errors.BadVia),
        ({"sent": "5"}, errors.BadSent),
        ({"sent": True}, errors.BadSent),
        ({"sent": 2**53 + 1}, errors.BadSent),
    ],
)
def test_a_bad_field_has_its_own_error(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        draft(**fields)


@each("number", [b"1e999", b"1" + b"0" * 400])
def test_a_sent_too_large_for_a_double_is_bad_sent(number: bytes) -> None:
    with pytest.raises(errors.BadSent):
        Draft.parse(b'{"text":"x","sent":%b}' % number, "lobby", LIMITS, via="post")


def test_a_text_of_exactly_4096_bytes_is_accepted() -> None:
    assert draft(text="聊" * 1365 + "x").text == "聊" * 1365 + "x"


def test_the_size_of_a_body_is_checked_before_it_is_parsed() -> None:
    with pytest.raises(errors.TooLong):
        Draft.parse(b"[" * (LIMITS.body_bytes + 1), "lobby", LIMITS, via="post")


def test_an_id_is_returned_unchanged_in_upper_or_lower_case() -> None:
    assert draft(id=ID.upper()).id == ID.upper()


def test_a_draft_without_an_id_gets_one() -> None:
    assert uuid.UUID(draft().id)


def test_via_is_the_transport_unless_the_draft_names_one() -> None:
    assert (draft().via, draft(via="sse").via) == ("post", "sse")


# --- names ---------------------------------------------------------------------------------------


@each("name", ["lobby", "聊天室", "a.b-c_d", "हिन्दी", "ไทย", "é", "x" * 64, "٣"])
def test_a_room_name_can_be_of_any_script(name: str) -> None:
    assert parse_room(name) == name


@each(
    "name",
    [
        *("", "x" * 65, "a b", "a/b", "{a}", "😀", "a\n", "\ud800", "a\u200b", ".", ".."),
        # Joiners outside of a word, or in one that they do not change.
        *("\u200c", "a\u200cb", "聊\u200d天", "می\u200c", "\u200cمی", "می\u200c\u200cخواهم"),
        *("\u3164", "\u1160", "\u0301", "a\ufe0f", "e\u0301" * 65, "é" * 65),  # fillers, marks
    ],
)
def test_a_bad_room_name_is_rejected(name: str) -> None:
    with pytest.raises(errors.BadRoom):
        parse_room(name)


@each("name", ["می\u200cخواهم", "ශ්\u200dරී", "അവന്\u200d", "न्\u200cय"])
def test_a_joiner_inside_a_word_is_part_of_a_room_name(name: str) -> None:
    assert parse_room(name) == name


def test_composed_and_decomposed_letters_are_one_room() -> None:
    assert parse_room("cafe\u0301") == parse_room("café") == "café"
    assert parse_room("é" * 64) == parse_room("e\u0301" * 64)
    assert parse_room("\u1112\u1161\u11ab") == "한"
    assert parse_room("a" * 61 + "...") != "..."


@each(
    "name",
    [
        *("\u202eadA", "A\u2066da", "\u200f", "Ada\u061c"),  # turn the direction of a line
        *(
            "\u200b",
            "\u200d\u200d",
            "\u3164",
            "\uffa0",
            "\u115f\u1160",
            "\ufe0f",
            "\u2800",
            "\u00ad",
        ),
        *("\U000e0041", "\U000e0100", "\u0301", "\u2003 \u00a0", "\u17b4", "\ufffe", "\ufdd0"),
        *("Ada\u200b", "A\ufeffda", "A\u2028da", "A\u00adda"),  # look like another name
    ],
)
def test_a_name_that_cannot_be_seen_or_turns_a_line_is_rejected(name: str) -> None:
    with pytest.raises(errors.BadName):
        parse_name(name, LIMITS)


@each(
    "name",
    [
        "אדה",
        "علي",
        "می\u200cخواهم",
        "👩\u200d💻",
        "❤\ufe0f",
        "Zoë",
        "Zoe\u0308",
        "O’Neil",
        "\U0001fae8",
    ],
)
def test_a_name_can_be_of_any_script_or_an_emoji(name: str) -> None:
    assert parse_name(name, LIMITS) == name


def test_valid_names_and_clients_are_returned_unchanged() -> None:
    assert parse_name("אדה 😀", LIMITS) == "אדה 😀"
    assert parse_client("a-b_c.9") == "a-b_c.9"
