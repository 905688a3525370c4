"""WebSocket frames (RFC 6455): how we encode ours, and what we accept from a client.  Pure.

first byte   FIN, three reserved bits (RSV1: compressed, RFC 7692), four bits of opcode
second byte  MASK, seven bits of length: 126 and 127 announce 16 and 64 more bits
then         the longer length, the masking key, the payload
"""

from typing import NamedTuple

# RFC 6455 §5.2: FIN and the opcode of a text frame.
_FIN_TEXT = 0x81
# RFC 7692 §6: the message is compressed.
_RSV1 = 0x40
# FIN and the opcode of a ping, without payload.
PING = bytes((0x89, 0))

CONTINUATION, TEXT, BINARY, CLOSE, PING_OPCODE, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = {CONTINUATION, TEXT, BINARY, CLOSE, PING_OPCODE, PONG}
_FIN, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_CONTROL = 0x08
_MAX_CONTROL_LENGTH = 125
# Bytes of the longer length, by what the seven bits announce; and the least that needs it.
_EXTENDED = {126: (2, 126), 127: (8, 0x10000)}
_KEY_LENGTH = 4

# RFC 6455 §7.4.1 and the IANA registry: all others must not be sent, or are not defined yet.
_CLOSE_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
PROTOCOL_ERROR, NOT_UTF_8, TOO_BIG = 1002, 1007, 1009


class Violation(Exception):
    """A frame for which RFC 6455 closes the connection, with the code and the reason to send."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameStart(NamedTuple):
    """The first two bytes of a frame; `rest` is how many bytes follow before the payload."""

    final: bool
    opcode: int
    length: int
    rest: int
    compressed: bool = False

    @property
    def is_control(self) -> bool:
        return bool(self.opcode & _CONTROL)


# --- out -----------------------------------------------------------------------------------------


def text_frame(text: bytes) -> bytes:
    return frame_header(len(text)) + text


def compressed_frame(payload: bytes) -> bytes:
    """Frame a text that is compressed already."""
    return frame_header(len(payload), _FIN_TEXT | _RSV1) + payload


def frame_header(length: int, first: int = _FIN_TEXT) -> bytes:
    """Return the header of a text frame: its length in 7, 7+16 or 7+64 bits (RFC 6455 §5.2)."""
    if length <= 125:
        return bytes((first, length))
    if length <= 0xFFFF:
        return bytes((first, 126)) + length.to_bytes(2)
    return bytes((first, 127)) + length.to_bytes(8)


# --- in ------------------------------------------------------------------------------------------


def parse_frame_start(data: bytes, in_message: bool, deflates: bool = False) -> FrameStart:
    """Parse the first two bytes of a client's frame; raises `Violation`.

    `in_message` is true after a fragment that was not the last one.  `deflates` is whether both
    sides have agreed on permessage-deflate.
    """
    first, second = data
    final, opcode, length = bool(first & _FIN), first & _OPCODE, second & _LENGTH
    reserved = first & _RESERVED
    # RFC 7692 §6: RSV1 is set in the first frame of a message of data, and nowhere else.
    if reserved and not (deflates and reserved == _RSV1 and opcode in (TEXT, BINARY)):
        raise Violation(PROTOCOL_ERROR, "a reserved bit is set")  # §5.2
    if opcode not in _OPCODES:
        raise Violation(PROTOCOL_ERROR, "the opcode is not defined")  # §5.2
    if not second & _MASKED:
        raise Violation(PROTOCOL_ERROR, "the frame is not masked")  # §5.1
    if opcode & _CONTROL:
        if not final or length > _MAX_CONTROL_LENGTH:
            raise Violation(PROTOCOL_ERROR, "a control frame is fragmented or too long")  # §5.5
    elif in_message != (opcode == CONTINUATION):
        raise Violation(PROTOCOL_ERROR, "the fragments are out of order")  # §5.4
    extended, _ = _EXTENDED.get(length, (0, 0))
    return FrameStart(final, opcode, length, extended + _KEY_LENGTH, bool(reserved))


def parse_frame_rest(start: FrameStart, data: bytes) -> tuple[int, bytes]:
    """Parse the bytes before the payload: its length and its masking key; raises `Violation`."""
    extended, minimum = _EXTENDED.get(start.length, (0, 0))
    length = int.from_bytes(data[:extended]) if extended else start.length
    if length < minimum or length >= 1 << 63:
        raise Violation(PROTOCOL_ERROR, "the length is not minimal or not positive")  # §5.2
    return length, data[extended:]


def decode_text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Violation(NOT_UTF_8, "the text is not UTF-8") from error  # §8.1


def parse_close(payload: bytes) -> tuple[int | None, str | None]:
    """Parse the code and the reason of a close frame, None if absent; raises `Violation`."""
    if not payload:
        return None, None
    code = int.from_bytes(payload[:2])
    # §5.5.1 and §7.4: a code has two bytes, and not every number may be sent.
    if len(payload) == 1 or code not in _CLOSE_CODES:
        raise Violation(PROTOCOL_ERROR, "the close code is not valid")
    return code, decode_text(payload[2:]) or None
