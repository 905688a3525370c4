"""What a capture does not show: secrets of client ids, and tickets.

A capture is shown to a class, but anybody who has a ticket can use it.  Each secret becomes as many
asterisks, so that the page still counts the right bytes.  Secrets are found by their names:

    ?secret=…  ?ticket=…  ?key=…  in a URL, also in one inside another URL
    Authorization: Bearer …       and `X-Client-Secret`
    Cookie: …                     all: a browser sends those of other programs on the host, too
    "secret":"…"  "ticket":"…"    in JSON, also in JSON inside a string of JSON, percent-encoded in
                                  a form, and in frames

A compressed message cannot keep its length without its secret: one with a secret is all asterisks.
"""

import re
from collections.abc import Callable
from typing import Protocol

from realtime.errors import RealtimeError
from realtime.protocol.http1 import parse_head
from realtime.protocol.permessage_deflate import inflate
from realtime.protocol.websocket_frames import Violation

# The names, up to the value.  Those in a URL can be percent-encoded as parts of another.
_NAMES = re.compile(
    rb"""
        (?P<url> [?&] (?:secret|ticket|key) = )
      | (?P<encoded> (?:%26|%3F) (?:secret|ticket|key) (?:=|%3D) )
      | (?P<field> \n (?:Authorization|X-Client-Secret|Cookie) :
          [ \t]* (?:(?:Bearer|Basic) [ \t]+)? )
      | (?P<nested> \\" (?:secret|ticket) \\" [ \t\r\n]* : [ \t\r\n]* \\" )
      | (?P<deep> \\+" (?:secret|ticket) \\+" [ \t\r\n]* : [ \t\r\n]* \\+" )
      | (?P<json> " (?:secret|ticket) " [ \t\r\n]* : [ \t\r\n]* " )
      | (?P<form> (?:%5C)*%22 (?:secret|ticket) (?:%5C)*%22
          (?:%20|\+)* (?::|%3A) (?:%20|\+)* (?:%5C)*%22 )
    """,
    re.IGNORECASE | re.VERBOSE,
)


def _value(characters: bytes, incomplete: bytes = b"(?!)") -> tuple[re.Pattern[bytes], ...]:
    flags = re.IGNORECASE | re.VERBOSE | re.DOTALL
    return re.compile(b"(?:%b)*" % characters, flags), re.compile(incomplete, flags)


# By name: the value, and the first bytes of one of its characters.
_VALUES = {
    "url": _value(rb'[^&\s"\#;,\\]'),
    "encoded": _value(rb'[^&%\s"\#;,\\] | %(?!26|23|22)[^&%\s"]{2}', rb'%[^&%\s"]?'),
    "field": _value(rb"[^\r\n]"),
    "json": _value(rb'[^"\\] | \\.', rb"\\"),
    # JSON in a string of JSON: `\"` ends it, and `\\` starts an escape of the inner one.
    "nested": _value(rb'[^"\\] | \\\\ (?: \\. | [^"\\] )', rb"\\{1,3}"),
    "deep": _value(rb'[^"\\]'),
    "form": _value(rb'[^&%\s"] | %(?!22|5C)[^&%\s"]{2}', rb'%[^&%\s"]?'),
}
# The end of a piece can be the start of a name, which is no longer, apart from spaces.
_CONTEXT_BYTES = 64
_SPACES = re.compile(rb"[ \t\r\n]+(?=[ \t\r\n])|(?:%20|\+)+(?=%20|\+)")
_HEAD_END = re.compile(rb"\n\r?\n")
_DIGIT = re.compile(rb"[^%\\]")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,16}", re.IGNORECASE)
# A compressed message is held until it is complete, and is shown if it inflates to no more.
_MAX_HELD_BYTES = 65_536
_FIN, _RSV1, _OPCODE, _CONTROL = 0x80, 0x40, 0x0F, 0x08


class _Bytes(Protocol):
    """What follows a header section; `redact` returns a piece of it without its secrets."""

    def redact(self, data: bytes) -> bytes: ...


class Redactor:
    """Replaces secrets in the bytes of one request, and of the frames that follow a handshake.

    What follows the request is not part of it, and not returned.
    """

    def __init__(self) -> None:
        self._text = _Text()
        self._rest: _Bytes = self._text

    def redact_head(self, data: bytes) -> bytes:
        """Replace the secrets in the first piece: the header section, and what follows it."""
        end = _HEAD_END.search(data)
        if end is None:  # the request is refused
            return self._text.redact(data)
        head, rest = data[: end.end()], data[end.end() :]
        shown = self._text.redact(head)
        self._rest = self._find_framing(head)
        return shown + self._rest.redact(rest)

    def redact(self, data: bytes) -> bytes:
        """Replace the secrets in the next piece, wherever it was cut."""
        return self._rest.redact(data)

    def _find_framing(self, head: bytes) -> _Bytes:
        """Return how the bytes after this header section must be read."""
        try:
            request = parse_head(head)
        except RealtimeError:  # it is refused as well
            return self._text
        if request.length is None:
            return _Chunks(self._text)
        if request.method == "GET" and request.fields.get("Upgrade", "").lower() == "websocket":
            return _Frames(self._text)
        return _Sized(self._text, request.length)


class _Text:
    """Bytes in which secrets are found as they are, or in the payloads of frames."""

    def __init__(self) -> None:
        # The end of what came before: perhaps the start of a name, or of a character of a secret.
        self._context = b""
        self._name: str | None = None  # of the secret that is being replaced

    def redact(self, data: bytes) -> bytes:
        shown = bytearray()
        while data:
            known, find = len(self._context), self._find_name if self._name is None else self._hide
            seen = find(self._context + data)
            shown += seen[known:]
            data = data[len(seen) - known :]
        return bytes(shown)

    def _find_name(self, text: bytes) -> bytes:
        """Return `text` up to where a name ends, and so its secret starts."""
        if match := _NAMES.search(text):
            self._name, self._context = match.lastgroup, b""
            return text[: match.end()]
        self._context = _SPACES.sub(b"", text)[-_CONTEXT_BYTES:]
        return text

    def _hide(self, text: bytes) -> bytes:
        """Return `text` up to the end of the secret that it starts with, as asterisks."""
        assert self._name is not None
        value, incomplete = _VALUES[self._name]
        match = value.match(text)
        assert match is not None  # it can be empty
        hidden, rest = b"*" * len(match[0]), text[match.end() :]
        if incomplete.fullmatch(rest):  # a secret that goes on, or its end
            self._context = rest
            return hidden + _DIGIT.sub(b"*", rest)
        if rest:
            self._name = None
        # What was seen before, and is no part of the secret, can start a name.
        self._context, seen = (self._context, self._context) if not hidden else (b"", hidden)
        return seen


class _Sized:
    """A body with a length."""

    def __init__(self, text: _Text, length: int) -> None:
        self._text = text
        self._left = length

    def redact(self, data: bytes) -> bytes:
        part = data[: self._left]
        self._left -= len(part)
        return self._text.redact(part)


class _Chunks:
    """A chunked body (RFC 9112 §7.1): a secret can be in several chunks."""

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._line = b""  # the start of the line of a size, until it is complete
        self._left = 0  # of the chunk
        self._in_trailer = self._ended = False

    def redact(self, data: bytes) -> bytes:
        shown = bytearray()
        while data and not self._ended:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                shown += self._text.redact(part)
            else:
                line, end, data = data.partition(b"\n")
                shown += line + end
                self._line += line
                if end:
                    self._end_line()
        return bytes(shown)

    def _end_line(self) -> None:
        line, self._line = self._line.strip(), b""
        if self._in_trailer:
            self._ended = not line
        elif size := _CHUNK_SIZE.match(line):  # else the end of a chunk
            self._left = int(size[0], 16)
            self._in_trailer = not self._left


class _Frames:
    """Frames of a client, whose payloads are masked (RFC 6455 §5.3)."""

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._head = b""  # the start of a frame, until it is complete
        self._key = b""  # the mask of the next bytes of the payload
        self._payload_left = 0
        self._in_compressed = False  # the last message, some of whose fragments may follow
        self._show: Callable[[bytes], bytes] = self._show_text
        self._held = bytearray()  # the start of a compressed message

    def redact(self, data: bytes) -> bytes:
        shown = bytearray()
        while data:
            if self._payload_left:
                payload, data = data[: self._payload_left], data[self._payload_left :]
                self._payload_left -= len(payload)
                shown += self._show(payload)
            else:
                byte, data = data[:1], data[1:]
                self._head += byte
                shown += byte
                self._start_payload()
        return bytes(shown)

    def _start_payload(self) -> None:
        """Parse the header of a frame, if it is complete."""
        head = self._head
        if len(head) < 2:
            return
        extended, is_masked = {126: 2, 127: 8}.get(head[1] & 0x7F, 0), head[1] >= 0x80
        if len(head) < 2 + extended + 4 * is_masked:
            return
        self._payload_left = int.from_bytes(head[2 : 2 + extended]) if extended else head[1] & 0x7F
        self._key = head[-4:] if is_masked else bytes(4)
        self._head = b""
        self._show = self._choose_show(head[0])

    def _choose_show(self, first: int) -> Callable[[bytes], bytes]:
        """Choose how the payload of a frame is shown, by its first byte (RFC 7692 §6)."""
        opcode = first & _OPCODE
        if opcode & _CONTROL:  # it can be between the fragments of a message (§5.4)
            return bytes
        if opcode:
            self._in_compressed = bool(first & _RSV1)
        if not self._in_compressed:
            return self._show_text
        is_whole = first & _FIN and opcode
        return self._hold if is_whole and self._payload_left <= _MAX_HELD_BYTES else self._hide

    def _show_text(self, payload: bytes) -> bytes:
        shown = self._mask(self._text.redact(self._mask(payload)))
        self._turn_key(len(payload))
        return shown

    def _hold(self, payload: bytes) -> bytes:
        """Hold a compressed message until it is complete, and show it if it has no secret."""
        self._held += payload
        if self._payload_left:
            return b""
        held = bytes(self._held)
        self._held.clear()
        return self._hide(held) if _has_secret(self._mask(held)) else held

    def _hide(self, payload: bytes) -> bytes:
        hidden = self._mask(b"*" * len(payload))
        self._turn_key(len(payload))
        return hidden

    def _turn_key(self, count: int) -> None:
        turned = count % 4
        self._key = self._key[turned:] + self._key[:turned]

    def _mask(self, payload: bytes) -> bytes:
        """Put the mask on, or take it off."""
        key = (self._key * (len(payload) // 4 + 1))[: len(payload)]
        return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))


def _has_secret(message: bytes) -> bool:
    """Return whether a compressed message has a secret, or cannot be searched."""
    try:
        text = inflate(message, _MAX_HELD_BYTES)
    except Violation:
        return True
    return _Text().redact(text) != text
