"""Every input from outside becomes a value or one named error, and nothing else.

Each parser is compared with an oracle, which is written from the documentation and in another way:
no parser's own pattern is used to check it.
"""

import http.client
import json
import math
import string
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.core.events import Cursor, Draft, Event, Member, parse_client, parse_name, parse_room
from realtime.core.room import History, Room
from realtime.errors import RealtimeError
from realtime.limits import Limits
from realtime.transports.base import DEFAULT_HISTORY, NOW, _parse_after
from tests.conftest import Servers
from tests.properties.strategies import FILLERS, JSON_VALUES, NAMES, TEXTS, examples
from tests.server_process import Server

T = TypeVar("T")

LIMITS = Limits()
ASCII_WORD = set(string.ascii_letters + string.digits + "_.-")
# These include half surrogate pairs: a URL cannot contain one, JSON can.
ANY_TEXT = st.text(st.characters(), max_size=70)
SAFE_INTEGER = 2**53


def outcome(parse: Callable[..., T], *arguments: Any) -> T | str:
    """Return the value, or the code of the error; any other exception fails the test."""
    try:
        return parse(*arguments)
    except RealtimeError as error:
        return _code_of(error)


def _code_of(error: RealtimeError) -> str:
    assert 400 <= error.status < 500
    assert json.loads(error.json) == {"error": {"code": error.code, "message": error.message}}
    assert error.message
    return error.code


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def is_utf_8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# --- cursors -------------------------------------------------------------------------------------

CURSORS = st.builds(
    Cursor,
    st.text(string.ascii_letters + string.digits, min_size=1, max_size=32),
    st.integers(0, 10**15 - 1),
)
NEARLY_CURSORS = st.one_of(
    CURSORS.map(str),
    st.from_regex(r"[0-9a-fA-F]{0,40}-?-?0?[0-9]{0,20}\s?", fullmatch=True),
    st.builds(lambda epoch, number: f"{epoch}-{number}", ANY_TEXT, st.integers()),
    ANY_TEXT,
)


@given(CURSORS)
@examples(100)
def test_a_cursor_is_parsed_as_it_was_written(cursor: Cursor) -> None:
    assert outcome(Cursor.parse, str(cursor)) == cursor


@given(NEARLY_CURSORS)
@example("a-0")
@example("a-00")
@example("é-1")
@example("a-1\n")
@example("a-1٣")
@example("a_b-1")
@examples(100)
def test_only_the_exact_spelling_of_a_cursor_is_accepted(text: str) -> None:
    cursor = outcome(Cursor.parse, text)
    if isinstance(cursor, str):
        assert cursor == "bad_cursor"
        assert not _is_cursor(text)
        return
    assert _is_cursor(text)
    assert str(cursor) == text  # otherwise one cursor would have two spellings
    assert quote_from_bytes(text.encode(), safe="") == text  # URL-safe without escapes


def _is_cursor(text: str) -> bool:
    """Return whether it is ``<epoch>-<offset>`` in ASCII, as a broker may have written it."""
    epoch, hyphen, number = text.rpartition("-")
    plain = text.isascii() and hyphen and epoch.isalnum() and number.isdigit()
    return bool(plain) and len(epoch) <= 32 and int(number) < 10**15 and str(int(number)) == number


@given(st.one_of(st.none(), st.just("now"), st.just("NOW"), NEARLY_CURSORS))
@examples(80)
def test_after_is_a_cursor_or_now_or_the_last_fifty(text: str | None) -> None:
    after = outcome(_parse_after, text)
    if text is None:
        assert after == DEFAULT_HISTORY == 50
    elif text == "now":
        assert after == NOW == 0
    else:
        assert after == outcome(Cursor.parse, text)


# --- names ---------------------------------------------------------------------------------------

# Letters, marks and digits of any script, and their neighbours in the tables of Unicode.
OF_ANY_SCRIPT = st.text(st.characters(categories=["L", "M", "N"]), max_size=66)
NEARLY_ROOMS = st.one_of(
    OF_ANY_SCRIPT,
    st.text("ab_.-", max_size=66),
    st.builds(lambda a, b, c: a + b + c, OF_ANY_SCRIPT, st.characters(), st.text("a.", max_size=3)),
    ANY_TEXT,
)


@given(NEARLY_ROOMS)
@example("a" * 64)
@example("a" * 65)
@example("हिन्दी")
@example("½²٣Ⅷ")
@example("")
@examples(100)
def test_a_room_is_1_to_64_letters_and_digits_of_any_script(text: str) -> None:
    room, composed = outcome(parse_room, text), unicodedata.normalize("NFC", text)
    if room != "bad_room":
        assert room == composed == parse_room(room)
        assert 1 <= len(room) <= 64
        assert all(map(_is_of_a_word, room.replace("\u200c", "").replace("\u200d", "")))
    elif composed not in (".", "..") and not any(map(_is_mark_or_filler, composed)):
        assert not (1 <= len(composed) <= 64 and all(map(_is_of_a_word, composed)))


def _is_of_a_word(character: str) -> bool:
    # `isalnum` uses the properties Alphabetic and Numeric_Type, not the categories.
    return character in "_-." or character.isalnum() or unicodedata.category(character)[0] == "M"


def _is_mark_or_filler(character: str) -> bool:
    return character in FILLERS or unicodedata.category(character)[0] == "M"


def _is_room(text: str) -> bool:
    return outcome(parse_room, text) != "bad_room"


@given(st.one_of(st.text(sorted(ASCII_WORD), max_size=66), ANY_TEXT, JSON_VALUES))
@example("a" * 64)
@example("a" * 65)
@example("a\n")
@example("٣")
@examples(100)
def test_a_client_is_1_to_64_ascii_letters_and_digits(value: Any) -> None:
    good = isinstance(value, str) and 1 <= len(value) <= 64 and set(value) <= ASCII_WORD
    assert outcome(parse_client, value) == (value if good else "bad_client")


@given(st.one_of(NAMES, ANY_TEXT, JSON_VALUES), st.integers(1, 40))
@example("\ud800", 32)
@example("\u3000", 32)
@example("a\x85", 32)
@example("אדה 😀", 32)
@examples(100)
def test_a_name_is_visible_and_not_too_long(value: Any, maximum: int) -> None:
    name = outcome(parse_name, value, Limits(name_length=maximum))
    if name != "bad_name":
        assert name == value
        assert 1 <= len(value) <= maximum
        assert is_utf_8(value)
        assert not value.isspace()
        assert not {unicodedata.bidirectional(one) for one in value} & _BIDI_CLASSES
        # C0, DEL and C1 control terminals.
        assert not {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))} & set(value)


# The classes of the characters that turn the direction of a line (UAX #9 table 4).
_BIDI_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B"}


@given(NAMES)
@examples(100)
def test_a_name_of_letters_symbols_and_digits_is_valid(name: str) -> None:
    assert parse_name(name, LIMITS) == name


# --- drafts --------------------------------------------------------------------------------------

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.one_of(TEXTS, JSON_VALUES, st.sampled_from(["聊" * 1365, "聊" * 1366, "x" * 4097])),
    "id": st.one_of(st.uuids().map(str), st.uuids().map(lambda id: str(id).upper()), JSON_VALUES),
    "client": st.one_of(st.text(sorted(ASCII_WORD), max_size=66), JSON_VALUES),
    "name": st.one_of(NAMES, JSON_VALUES),
    "via": st.one_of(st.text(sorted(ASCII_WORD), max_size=34), JSON_VALUES),
    "sent": st.one_of(
        st.integers(-SAFE_INTEGER - 1, SAFE_INTEGER + 1),
        st.floats(-1e17, 1e17),
        JSON_VALUES,
    ),
    "more": JSON_VALUES,
}
OPTIONAL_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.uuids().map(str),
    "client": st.text(sorted(ASCII_WORD), min_size=1, max_size=64),
    "name": NAMES,
    "via": st.text(sorted(ASCII_WORD), min_size=1, max_size=32),
    "sent": st.one_of(
        st.none(),
        st.integers(-SAFE_INTEGER, SAFE_INTEGER),
        st.floats(-SAFE_INTEGER, SAFE_INTEGER),
    ),
}
GOOD_OBJECTS = st.fixed_dictionaries({"text": TEXTS}, optional=OPTIONAL_FIELDS)


@st.composite
def nearly_drafts(draw: st.DrawFn) -> dict[str, Any]:
    """A valid object in which up to two fields may have any value."""
    fields = draw(GOOD_OBJECTS)
    for field in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=2)):
        fields[field] = draw(FIELDS[field])
    return dict(fields)


BODIES = st.one_of(
    st.binary(max_size=60),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    nearly_drafts().map(lambda fields: json.dumps(fields).encode()),
    st.builds(
        lambda body, place, junk: body[: place % (len(body) + 1)] + junk + body[place % 9 :],
        nearly_drafts().map(lambda fields: json.dumps(fields, ensure_ascii=True).encode()),
        st.integers(0, 200),
        st.binary(max_size=3),
    ),
    st.sampled_from([b"[" * 16000, b'{"text":' * 1800, b'{"text":1' + b"0" * 6000 + b"}"]),
)


def parse_draft(body: bytes) -> Draft | str:
    return outcome(Draft.parse, body, "lobby", LIMITS, "post")


@given(BODIES)
@examples(150)
def test_any_bytes_are_a_draft_or_a_named_error(body: bytes) -> None:
    draft = parse_draft(body)
    assert isinstance(draft, Draft) or draft in _CODES


_CODES = {"bad_json", "too_long"} | {
    f"bad_{field}" for field in ("id", "client", "name", "text", "via", "sent")
}


@given(nearly_drafts(), st.booleans())
@example({"text": "x" * 4096}, False)
@example({"text": "x" * 4097}, False)
@example({"text": "\ud800"}, True)
@example({"text": ""}, False)
@example({"text": "x", "more": "y" * 16_384}, False)
@example({"text": "x", "more": math.nan}, False)
@example({"text": "x", "sent": 2.0**53}, False)
@example({"text": "x", "sent": 2**53 + 1}, False)
@example({"text": "x", "sent": -(2**53) - 1}, False)
@example({"text": "x", "sent": True}, False)
@example({"text": "x", "id": "3f0c9a528f0e4c2b9d3e0a4be1d2c677"}, False)
@example({"text": "x", "id": "{3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677}"}, False)
@examples(150)
def test_an_object_is_accepted_exactly_if_every_field_is_valid(
    fields: dict[str, Any], escaped: bool
) -> None:
    body = json.dumps(fields, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    draft = parse_draft(body)
    wrong = _error_codes_of(fields, body)
    if wrong:
        assert draft in wrong
        return
    assert isinstance(draft, Draft)
    for field in ("text", "client", "name", "sent"):
        assert getattr(draft, field) == fields.get(field)
    assert (draft.room, draft.via) == ("lobby", fields.get("via", "post"))
    assert draft.id == fields["id"] if fields.get("id") else uuid.UUID(draft.id)


def _error_codes_of(fields: dict[str, Any], body: bytes) -> set[str]:
    """Return the codes of all errors; the parser must raise one of them."""
    # NaN and Infinity are not JSON at any depth, and a body is UTF-8 (RFC 8259).
    if len(body) > LIMITS.body_bytes:
        return {"too_long"}
    if not _is_strict_json(body):
        return {"bad_json"}
    wrong = {f"bad_{field}" for field, good in _GOOD.items() if not good(fields)}
    text = fields.get("text")
    if isinstance(text, str) and is_utf_8(text) and len(text.encode()) > 4096:
        wrong.add("too_long")
    return wrong


def _is_strict_json(body: bytes) -> bool:
    try:
        value = json.loads(body.decode())
    except (UnicodeDecodeError, ValueError):
        return False
    return _is_finite(value)


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _is_uuid(value: Any) -> bool:
    try:
        # `UUID` also accepts braces and other spellings; on the wire there is one (RFC 9562 §4).
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def _is_word(value: Any, maximum: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= maximum and set(value) <= ASCII_WORD


def _is_name(value: Any) -> bool:
    return outcome(parse_name, value, LIMITS) != "bad_name"


def _is_clock(value: Any) -> bool:
    return type(value) in (int, float) and -SAFE_INTEGER <= value <= SAFE_INTEGER


_GOOD: dict[str, Callable[[dict[str, Any]], bool]] = {
    "text": lambda f: isinstance(f["text"], str) and f["text"] != "" and is_utf_8(f["text"]),
    "id": lambda f: f.get("id") is None or _is_uuid(f["id"]),
    "client": lambda f: f.get("client") is None or _is_word(f["client"], 64),
    "name": lambda f: f.get("name") is None or _is_name(f["name"]),
    "via": lambda f: "via" not in f or _is_word(f["via"], 32),
    "sent": lambda f: f.get("sent") is None or _is_clock(f["sent"]),
}


# --- from the draft to the wire ------------------------------------------------------------------


@given(GOOD_OBJECTS)
@examples(100)
def test_what_was_published_is_delivered_field_by_field(fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    draft = Draft.parse(body, "lobby", LIMITS, "post")
    event = Event.numbered("say", Cursor("e", 7), draft.json_tail + b',"published":9}')
    delivered = json.loads(event.json.decode())
    assert delivered == {
        **{"kind": "say", "cursor": "e-7", "id": draft.id, "client": None, "name": None},
        **{"via": "post", "sent": None, "published": 9},
        **fields,
    }
    # A JSON number keeps its type: 1 does not become 1.0, which another parser would show.
    assert type(delivered["sent"]) is type(fields.get("sent"))


@given(GOOD_OBJECTS, st.booleans())
@example({"text": "\x01" * 1000}, True)
@example({"text": '"\\' * 2000}, True)
@example({"text": "聊" * 1365}, False)
@example({"text": "x", "sent": 9e15}, False)
@examples(80)
def test_an_event_is_hardly_longer_than_its_message(fields: dict[str, Any], escaped: bool) -> None:
    """Otherwise a sender could amplify its traffic, multiplied by the number of readers."""
    body = json.dumps(fields, ensure_ascii=escaped, separators=(",", ":")).encode()
    draft = Draft.parse(body, "lobby", LIMITS, "post")
    cursor = Cursor("e" * 32, 10**15 - 1)
    event = Event.numbered("say", cursor, draft.json_tail + b',"published":%d}' % 10**13)
    # The size of an event without text: cursor, id, nulls, clocks and field names.
    assert len(event.json) <= len(body) + 256
    assert b"\n" not in event.json
    assert b"\r" not in event.json


@given(NAMES, st.text(sorted(ASCII_WORD), min_size=1, max_size=64))
@examples(100)
def test_a_member_is_delivered_as_it_joined(name: str, client: str) -> None:
    member = Member(parse_client(client), parse_name(name, LIMITS), "sse")
    rest = b'"id":"x",%b,"published":1}' % member.json_tail
    join = json.loads(Event.numbered("join", Cursor("e", 1), rest).json)
    assert (join["client"], join["name"], join["via"]) == (client, name, "sse")
    assert "text" not in join


@given(
    st.lists(TEXTS, min_size=1, max_size=10),
    st.integers(1, 12),
    st.integers(0, 2000),
)
@examples(100)
def test_a_page_exceeds_its_size_by_at_most_one_event(
    texts: list[str], limit: int, size: int
) -> None:
    drafts = [
        Draft.parse(json.dumps({"text": text}).encode(), "r", LIMITS, "post") for text in texts
    ]
    events = [
        Event.numbered("say", Cursor("e", number), draft.json_tail + b',"published":1}')
        for number, draft in enumerate(drafts, 1)
    ]
    room = Room(100)
    room.merge(History("e", len(events), 1, events))
    page = room.since(Cursor("e", 0), limit, size)
    assert 1 <= len(page.events) <= limit
    assert sum(len(event.json) for event in page.events[:-1]) <= size


# --- over HTTP -----------------------------------------------------------------------------------

# Valid query arguments, if not empty; `wait` and `pad` belong to one transport each.
_VALID_IN_A_QUERY: dict[str, Callable[[str], bool]] = {
    "after": lambda text: text == "now" or _is_cursor(text),
    "client": lambda text: _is_word(text, 64),
    "name": _is_name,
    "wait": lambda text: _is_number(text, 60),
    "pad": lambda text: _is_number(text, 16_384),
}
_READ_BY = {"wait": ["long_polling"], "pad": ["iframe_streaming"]}


def _is_number(text: str, maximum: float) -> bool:
    try:
        return 0 <= float(text) <= maximum
    except ValueError:
        return False


def get(server: Server, path: str) -> tuple[int, Any]:
    """Return the status, and the JSON of the body if it is finite."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        whole = "Content-Length" in response.headers
        return response.status, json.loads(response.read()) if whole else None
    finally:
        connection.close()


def is_valid(value: bytes, good: Callable[[str], bool]) -> bool:
    try:
        return good(value.decode())
    except UnicodeDecodeError:
        return False


VALUES = st.one_of(
    st.binary(max_size=40),
    NEARLY_CURSORS.map(bytes_of),
    st.floats().map(lambda number: str(number).encode()),
    st.sampled_from([b"", b"now", b"nan", b"-1", b"60", b"1e999", b"\xff", b"%00", b"&&", b"=;"]),
)


@pytest.mark.parametrize("name", _VALID_IN_A_QUERY)
@given(
    value=VALUES,
    transport=st.sampled_from(
        ["short_polling", "long_polling", "sse", "iframe_streaming", "fetch_streaming"]
    ),
)
@example(value=b"nan", transport="long_polling")
@example(value=b"nan", transport="iframe_streaming")
@example(value=b"\xff", transport="sse")
@examples(20)
def test_any_query_is_answered_or_rejected_with_the_right_code(
    servers: Servers, name: str, value: bytes, transport: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    # A cursor of an unknown epoch is answered at once, with a gap: no long poll has to wait.
    rest = "wait=0" if name == "after" else "after=e-1"
    status, answer = get(server, f"/rooms/r/{transport}?{rest}&{name}={quote_from_bytes(value)}")
    is_used = transport in _READ_BY.get(name, [transport])
    if value == b"" or not is_used or is_valid(value, _VALID_IN_A_QUERY[name]):
        assert status == 200
    else:
        assert status == 400
        assert answer["error"]["code"] == ("bad_cursor" if name == "after" else f"bad_{name}")


@given(name=st.one_of(st.binary(min_size=1, max_size=30), NEARLY_ROOMS.map(bytes_of)))
@example(name=b"\xff")
@example(name="聊天室".encode())
@example(name=b"%")
@example(name=b"a/b")
@examples(50)
def test_any_room_name_in_a_path_is_read_or_bad_room(servers: Servers, name: bytes) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    status, answer = get(
        server, f"/rooms/{quote_from_bytes(name, safe='')}/short_polling?after=now"
    )
    if is_valid(name, _is_room):
        assert status == 200
    elif name:
        assert (status, answer["error"]["code"]) == (400, "bad_room")
