"""What a capture does not show: secrets of client ids, and tickets.

A capture is shown to a class, but anybody who has a ticket can use it.  Each secret becomes as many
asterisks, so that the page still counts the right bytes.  Secrets are found by their names:

    ?secret=…  ?ticket=…  ?key=…  in a URL, also in one inside another URL
    Authorization: Bearer …       and `X-Client-Secret`
    Cookie: realtime_ticket=…
    "secret":"…"  "ticket":"…"    in JSON, also in JSON inside a string of JSON, percent-encoded in
                                  a form, and in frames

A compressed message cannot keep its length without its secret: one with a secret is all asterisks.
"""

import re
from collections.abc import Callable

from realtime.protocol.permessage_deflate import inflate
from realtime.protocol.websocket_frames import Violation

# A name, and its value behind it.  The names in a URL can be percent-encoded as parts of another.
_SECRETS = re.compile(
    rb"""
        ( [?&] (?:secret|ticket|key) = ) ( [^&\s"\#;,\\]+ )
      | ( (?:%26|%3F) (?:secret|ticket|key) (?:=|%3D) ) ( (?: [^&%\s"\#;,\\] | %(?!26|23|22) )+ )
      | ( \n (?:Authorization|X-Client-Secret) : [ \t]* (?:(?:Bearer|Basic) [ \t]+)? ) ( [^\r\n]+ )
      | ( realtime_ticket = ) ( [^\s";,]+ )
      | ( " (?:secret|ticket) " [ \t\r\n]* : [ \t\r\n]* " ) ( (?: [^"\\] | \\. )+ )
      | ( \\+" (?:secret|ticket) \\+" [ \t\r\n]* : [ \t\r\n]* \\+" ) ( [^"\\]+ )
      | ( (?:%5C)*%22 (?:secret|ticket) (?:%5C)*%22 (?:%20|\+)* (?::|%3A) (?:%20|\+)* (?:%5C)*%22 )
        ( [^&%\s"]+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)
# The end of a piece can be the start of a name.
_CONTEXT_BYTES = 64
# A compressed message is held until it is complete, and is shown if it inflates to no more.
_MAX_HELD_BYTES = 65_536
_FIN, _RSV1, _OPCODE, _CONTROL = 0x80, 0x40, 0x0F, 0x08
_UPGRADE = re.compile(rb"\nUpgrade:[ \t]*websocket[ \t]*\r?\n", re.IGNORECASE)


class Redactor:
    """Replaces secrets in the bytes of one request, and of the frames that follow a handshake."""

    def __init__(self) -> None:
        self._text = _Text()
        self._redact = self._text.redact

    def redact_head(self, data: bytes) -> bytes:
        """Replace the secrets in the first piece: the header section, and what follows it."""
        if not _UPGRADE.search(data):
            return self._redact(data)
        head, end, frames = data.partition(b"\r\n\r\n")
        shown = self._redact(head + end)
        self._redact = _Frames(self._text).redact
        return shown + self._redact(frames)

    def redact(self, data: bytes) -> bytes:
        """Replace the secrets in the next piece, wherever it was cut."""
        return self._redact(data)


class _Text:
    """Bytes in which secrets are found as they are, or in the payloads of frames."""

    def __init__(self) -> None:
        self._context = b""  # the end of what came before, as far as it matters

    def redact(self, data: bytes) -> bytes:
        text, start = self._context + data, len(self._context)
        shown = bytearray(text)
        self._context = text[-_CONTEXT_BYTES:]
        for match in _SECRETS.finditer(text):
            value = match.lastindex or 0  # a group of the name, and one of its value
            shown[match.start(value) : match.end()] = b"*" * len(match[value])
            if match.end() == len(text):  # it may continue in the next piece
                self._context = match[value - 1] + b"*"
        return bytes(shown[start:])


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
        if opcode & _CONTROL:
            return self._show_text
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
        return bool(_SECRETS.search(inflate(message, _MAX_HELD_BYTES)))
    except Violation:
        return True
