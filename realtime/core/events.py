"""The values that travel: a Draft from a client, an Event to it, a Cursor for what it has seen.

Bytes from outside become one of these frozen values or a named error, here and nowhere else.
Pure: no I/O, no clock, no asyncio.
"""

import json
import re
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass
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
_PLAIN_ROOM = re.compile(rf"[\w.-]{{1,{_ROOM_LENGTH}}}", re.ASCII)
# JSON can contain half a surrogate pair ("\\ud800"); UTF-8 cannot encode it (RFC 3629 §3).
_SURROGATE = re.compile("[\ud800-\udfff]")
# All of the Unicode category Cc.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
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
    """What a client wants to publish.  `sent` is the sender's clock in ms, returned unchanged."""

    room: str
    id: str
    client: str | None
    name: str | None
    text: str
    via: str
    sent: float | None

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
        )

    @property
    def json_tail(self) -> bytes:
        """The JSON of the event after its cursor, up to ``published``, which the broker adds."""
        return b'"id":%b,"client":%b,"name":%b,"text":%b,"via":%b,"sent":%b' % (
            *map(_json, (self.id, self.client, self.name, self.text, self.via, self.sent)),
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
    """Check the name of a room: 1-64 letters, digits, ``_``, ``.`` or ``-``, of any script."""
    if not isinstance(value, str) or not 1 <= len(value) <= _ROOM_LENGTH:
        named = False
    else:
        named = bool(_PLAIN_ROOM.fullmatch(value)) or all(map(_in_room_name, value))
    if not named:
        raise BadRoom(
            "A room name must be 1 to 64 letters, digits, `_`, `.` or `-`, of any script."
        )
    return str(value)


def _in_room_name(character: str) -> bool:
    # In Thai and in most scripts of India, marks are parts of letters: so M, besides L and N.
    return character in "_.-" or unicodedata.category(character)[0] in "LMN"


def parse_client(value: Any) -> str:
    """Check the id that a client chose for itself: 1-64 ASCII letters, digits, ``_.-``."""
    if not isinstance(value, str) or _CLIENT.fullmatch(value) is None:
        raise BadClient("`client` must be 1 to 64 ASCII letters, digits, `_`, `.` or `-`.")
    return value


def parse_name(value: Any, limits: Limits) -> str:
    """Check a name that others will see: not empty, not too long, no control characters."""
    named = (
        isinstance(value, str)
        and len(value) <= limits.name_length
        and value.strip()
        and not _CONTROL.search(value)
        and not _SURROGATE.search(value)
    )
    if not named:
        raise BadName(
            f"`name` must be 1 to {limits.name_length} characters, without control characters."
        )
    return str(value)
