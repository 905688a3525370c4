"""The values that travel: a Draft from a client, an Event to it, a Cursor for what it has seen.

Bytes from outside become one of these frozen values or a named error, here and nowhere else.
Pure: no I/O, no clock, no asyncio.
"""

import json
import re
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from realtime.errors import (
    BadClient,
    BadCursor,
    BadId,
    BadJSON,
    BadName,
    BadRoom,
    BadSent,
    BadText,
    BadVia,
    TooLong,
)
from realtime.limits import Limits

# RFC 9562 §4: hexadecimal digits of either case, with hyphens in these places.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_CURSOR = re.compile(r"([0-9A-Za-z]{1,32})-(0|[1-9][0-9]{0,14})", re.ASCII)
_CLIENT = re.compile(r"[\w.-]{1,64}", re.ASCII)
_VIA = re.compile(r"[\w.-]{1,32}", re.ASCII)
_ROOM_LENGTH = 64
# A letter and its accent may be two characters, which NFC makes one; none has more than four.
_MAX_DECOMPOSED = 4 * _ROOM_LENGTH
# The phones of a class take seats, vote and report in ``ROOM.seats`` and so on.
_CLASS_ROOMS = {"seats", "votes", "reports"}
_VOTES_SUFFIX = ".votes"
# Rooms whose name ends so direct the pages of a class: only its lecturer publishes there.
_LECTURERS_SUFFIX = ".class"
# What the lecturer sends is marked with this, in place of a transport; no client can send that.
LECTURER = "lecturer"
_PLAIN_ROOM = re.compile(rf"[\w.-]{{1,{_ROOM_LENGTH}}}", re.ASCII)
# JSON can contain half a surrogate pair ("\\ud800"); UTF-8 cannot encode it (RFC 3629 §3).
_SURROGATE = re.compile("[\ud800-\udfff]")
# All of the Unicode category Cc.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Characters that turn the direction of the text around them: Unicode's Bidi_Control, UAX #9 §2.
_BIDI_CONTROL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_JOINERS = "\u200c\u200d"  # ZWNJ and ZWJ: parts of words in Persian or Sinhala, and of emoji
# Other characters that nobody can see: of Unicode's Default_Ignorable_Code_Point, the fillers and
# separators that no word needs.  The second group is part of letters and emoji.
_INVISIBLE = (
    "\u00ad\u115f\u1160\u180e\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
_IGNORABLE = (
    "\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef"
)
_DISGUISE = re.compile(f"[{_BIDI_CONTROL}{_INVISIBLE}]")
# The braille pattern without dots is a symbol that looks like a space.
_UNSEEN = re.compile(f"[{_IGNORABLE}{_JOINERS}\u2800]")
# Where the JSON of an event has its kind, and the kinds that tell who came and went.
_KIND = slice(len(b'{"kind":"'), len(b'{"kind":"join'))
_PRESENCE_KINDS = frozenset((b"join", b"quit"))
# The largest integer that a JavaScript number (an IEEE 754 double) holds exactly.
_SAFE_INTEGER = 2**53


# --- the cursor --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a reader has seen: everything up to `offset`, in the `epoch` of the log.

    A log that was lost or reset has a new epoch, since its offsets mean other events.
    """

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: Any) -> Self:
        match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise BadCursor(
                "A cursor must be the unchanged `cursor` of an earlier response, or `now`."
            )
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


# --- to the client: the event ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """What a reader receives: its position in the log, and its JSON, encoded once for everybody."""

    cursor: Cursor
    json: bytes

    @classmethod
    def numbered(cls, kind: str, cursor: Cursor, rest: bytes) -> Self:
        """Build the event that a broker publishes, with its position in the log.

        A broker stores only the JSON after the cursor (`rest`, which starts with `json_tail`), so
        that the same log can be read under another epoch.
        """
        return cls(cursor, b'{"kind":"%b","cursor":"%b",%b' % (kind.encode(), _text(cursor), rest))

    @property
    def is_presence(self) -> bool:
        """Whether this is a join or a quit, and not a message."""
        return self.json[_KIND] in _PRESENCE_KINDS

    @property
    def published(self) -> int | None:
        """The broker's clock when it accepted the event, in ms; None for a gap."""
        # Quotes inside a text are escaped, so this matches at the end or not at all.
        _, found, rest = self.json.rpartition(b',"published":')
        return int(rest[:-1]) if found else None

    @classmethod
    def gap(cls, cursor: Cursor, reason: str, missed: int | None) -> Self:
        """Build the event that reports: what follows does not continue the reader's cursor.

        `reason` is ``trimmed`` (deleted meanwhile), ``rewound`` (the log ends before the cursor) or
        ``unknown`` (a cursor of another epoch); `missed` is the number of lost events, if known.
        """
        fields = b'{"kind":"gap","cursor":"%b","reason":"%b","missed":%b}'
        return cls(cursor, fields % (_text(cursor), reason.encode(), _json(missed)))


def _text(cursor: Cursor) -> bytes:
    return str(cursor).encode("ascii")


# UTF-8, not escapes: an escaped Chinese character takes 6 bytes, UTF-8 takes 3.  One encoder for
# all values, since `json.dumps` would create one per call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _json(value: Any) -> bytes:
    return _encode(value).encode("utf-8")


# --- from the client: the draft ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draft:
    """What a client wants to publish.  `sent` is the sender's clock in ms, returned unchanged.

    `secret` proves that the client may use its id (see `access`); nobody else receives it.
    """

    room: str
    id: str
    client: str | None
    name: str | None
    text: str
    via: str
    sent: float | None
    secret: Any = field(default=None, repr=False)

    kind = "say"

    @classmethod
    def parse(cls, body: bytes, room: str, limits: Limits, via: str) -> Self:
        """Parse one JSON object; `via` is the transport, unless the object names another.

        Raises one named error: `TooLong` for a size, a `Bad…` for a field.
        """
        fields = parse_object(body, limits)
        return cls(
            room=room,
            id=_parse_id(fields.get("id")),
            client=_optional(parse_client, fields.get("client")),
            name=_optional(lambda value: parse_name(value, limits), fields.get("name")),
            text=_parse_text(fields.get("text"), limits),
            via=_parse_via(fields.get("via", via)),
            sent=_parse_sent(fields.get("sent")),
            secret=fields.get("secret"),
        )

    @property
    def json_tail(self) -> bytes:
        """The JSON of the event after its cursor, up to ``published``, which the broker adds."""
        return self.json_tail_with("")

    def json_tail_with(self, suffix: str) -> bytes:
        """The same, with the number of the name (see `names`)."""
        name = self.name and self.name + suffix
        return b'"id":%b,"client":%b,"name":%b,"text":%b,"via":%b,"sent":%b' % (
            *map(_json, (self.id, self.client, name, self.text, self.via, self.sent)),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """The response to a draft: the message's cursor, and whether this call created it."""

    cursor: Cursor
    id: str
    created: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A client in a room, and the transport it uses."""

    client: str
    name: str
    via: str

    @property
    def json_tail(self) -> bytes:
        """The fields of a join or a quit after its id, up to ``published``."""
        return b'"client":%b,"name":%b,"via":%b,"sent":null' % (
            *map(_json, (self.client, self.name, self.via)),
        )


def parse_object(body: bytes, limits: Limits) -> dict[str, Any]:
    """Parse one JSON object of at most `limits.body_bytes`."""
    if len(body) > limits.body_bytes:
        raise TooLong(f"The JSON of a message must be at most {limits.body_bytes} bytes.")
    try:
        # Given bytes, json.loads also accepts UTF-16; RFC 8259 §8.1 allows only UTF-8.
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadJSON("The body must be one JSON object in UTF-8.") from error
    if not isinstance(value, dict):
        raise BadJSON('The body must be a JSON object, like `{"text":"hello"}`.')
    return value


def _refuse_constant(name: str) -> NoReturn:
    # Python accepts NaN and Infinity, which are not JSON: they would break every reader's parser.
    raise ValueError(name)


def _optional(parse: Callable[[Any], str], value: Any) -> str | None:
    return None if value is None else parse(value)


def _parse_id(value: Any) -> str:
    if value is None:
        return str(uuid.uuid4())
    if not isinstance(value, str) or _UUID.fullmatch(value) is None:
        raise BadId("`id` must be a UUID, like 3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677, or absent.")
    return value


def _parse_text(value: Any, limits: Limits) -> str:
    if not isinstance(value, str) or not value:
        raise BadText("`text` must be a string that is not empty.")
    if _SURROGATE.search(value):
        raise BadText("`text` contains half a surrogate pair, which is not a character.")
    size = len(value.encode("utf-8"))
    if size > limits.text_bytes:
        raise TooLong(
            f"`text` must be at most {limits.text_bytes} bytes of UTF-8; yours has {size}."
        )
    return value


def _parse_via(value: Any) -> str:
    if not isinstance(value, str) or _VIA.fullmatch(value) is None:
        raise BadVia("`via` must be the name of a transport, like `sse`.")
    return value


def _parse_sent(value: Any) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= _SAFE_INTEGER:
        raise BadSent("`sent` must be your clock in milliseconds, as a number, or absent.")
    return value  # type: ignore[no-any-return]  # narrowed above, to a number


# --- names -------------------------------------------------------------------------------------


def parse_room(value: Any) -> str:
    """Return the name of a room in NFC: 1-64 letters, digits, ``_``, ``.`` or ``-``, any script.

    The same name in NFD, as macOS writes file names, is then the same room (UAX #15).
    """
    if isinstance(value, str) and len(value) <= _MAX_DECOMPOSED:
        plain = _PLAIN_ROOM.fullmatch(value)
        room = value if plain else unicodedata.normalize("NFC", value)
        # A browser removes `.` and `..` from a URL, also percent-encoded (URL standard §4.4).
        if (plain or _is_room_name(room)) and room not in (".", ".."):
            return room
    raise BadRoom(
        "A room name must be 1 to 64 letters, digits, `_`, `.` or `-`, of any script; "
        "`.` and `..` alone are no names."
    )


def moderated_room(room: str) -> str:
    """Return the room whose rules hold for this one, which may be one of a class."""
    base, _, purpose = room.rpartition(".")
    return base if base and purpose in _CLASS_ROOMS else room


def is_votes_room(room: str) -> bool:
    """Return whether the phones of a class vote in this room."""
    return room.endswith(_VOTES_SUFFIX)


def is_lecturers_room(room: str) -> bool:
    """Return whether only the holder of the lecturer's key may publish in this room."""
    return room.endswith(_LECTURERS_SUFFIX)


def _is_room_name(text: str) -> bool:
    return (
        1 <= len(text) <= _ROOM_LENGTH
        and not _DISGUISE.search(text)
        and all(_in_room_name(text, index) for index in range(len(text)))
        and _is_visible(text)
    )


def _in_room_name(text: str, index: int) -> bool:
    # In Thai and in most scripts of India, marks are parts of letters: so M, besides L and N.
    character = text[index]
    if character in _JOINERS:
        return _joins(text[:index], text[index + 1 :])
    is_part = unicodedata.category(character)[0] in "LMN" and not _UNSEEN.match(character)
    return character in "_.-" or is_part


def _joins(before: str, after: str) -> bool:
    """Return whether a joiner between these changes a word, as in names of domains (RFC 5892 A.1).

    It does after a virama, as in Sinhala and Malayalam, and between two letters of a cursive
    script, as in Persian.  Elsewhere nobody sees it, and two rooms would look the same.
    """
    if before and unicodedata.combining(before[-1]) == 9:  # the class of a virama
        return True
    neighbours = before[-1:], after[:1]
    return all(one and unicodedata.bidirectional(one) in ("AL", "NSM") for one in neighbours)


def _is_visible(text: str) -> bool:
    """Return whether `text` contains more than spaces, marks and characters that nobody sees."""
    return any(
        unicodedata.category(one)[0] in "LNPS" or _is_new(one) for one in _UNSEEN.sub("", text)
    )


def _is_new(character: str) -> bool:
    # Not in this Python's Unicode, or in no Unicode: shown, perhaps as a box.
    is_noncharacter = ord(character) & 0xFFFE == 0xFFFE or "\ufdd0" <= character <= "\ufdef"
    return unicodedata.category(character) in ("Cn", "Co") and not is_noncharacter


def parse_client(value: Any) -> str:
    """Check the id that a client chose for itself: 1-64 ASCII letters, digits, ``_.-``."""
    if not isinstance(value, str) or _CLIENT.fullmatch(value) is None:
        raise BadClient("`client` must be 1 to 64 ASCII letters, digits, `_`, `.` or `-`.")
    return value


def parse_name(value: Any, limits: Limits) -> str:
    """Check a name that others will see: not empty, not too long, nothing that deceives a reader.

    That is a character that turns the direction of a line, or one that nobody sees: two members
    could look the same, and one like none.
    """
    named = (
        isinstance(value, str)
        and len(value) <= limits.name_length
        and not _CONTROL.search(value)
        and not _SURROGATE.search(value)
        and not _DISGUISE.search(value)
        and _is_visible(value)
    )
    if not named:
        raise BadName(
            f"`name` must be 1 to {limits.name_length} characters that can be seen, without "
            "characters that control the text."
        )
    return str(value)
