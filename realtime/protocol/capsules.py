"""Capsules of WebTransport over HTTP/3: messages about a session, in the body of its request.

    type (varint)   length (varint)   value             RFC 9297 §3.2

A session needs only one of them, which closes it: CLOSE_WEBTRANSPORT_SESSION has a code of 32 bits
and a reason (draft-ietf-webtrans-http3 §6).
"""

from typing import NamedTuple

_CLOSE_SESSION = 0x2843
_CODE_BYTES, _MAX_REASON_BYTES = 4, 1024
# RFC 9000 §16: the first two bits of a varint say how many bytes it has.
_VARINT_SIZES = (1, 2, 4, 8)


def encode_varint(value: int) -> bytes:
    """Encode an integer below 2^62 in as few bytes as possible."""
    for bits, size in enumerate(_VARINT_SIZES):
        if value < 1 << (8 * size - 2):
            return (value | bits << (8 * size - 2)).to_bytes(size)
    raise ValueError(f"{value} has more than 62 bits")


def _parse_varint(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return the integer at `at` and where it ends; None if it is incomplete."""
    if at >= len(data):
        return None
    size = _VARINT_SIZES[data[at] >> 6]
    if at + size > len(data):
        return None
    return int.from_bytes(data[at : at + size]) & ((1 << (8 * size - 2)) - 1), at + size


class SessionClose(NamedTuple):
    """Why a session was closed."""

    code: int
    reason: str


def close_session(code: int, reason: str) -> bytes:
    """Return the capsule that closes a session; `reason` has at most 1024 bytes."""
    value = code.to_bytes(_CODE_BYTES) + reason.encode()
    return encode_varint(_CLOSE_SESSION) + encode_varint(len(value)) + value


class CapsuleReader:
    """Finds the capsule that closes the session in bytes that were cut anywhere."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._skipped = 0  # bytes left of a capsule of another type: we keep none of them

    def feed(self, data: bytes) -> SessionClose | None:
        """Return the close of the session if it is complete; raises ValueError if it is malformed.

        RFC 9297 §3.2: capsules of unknown types are ignored.
        """
        self._unread += data
        while True:
            skipped = min(self._skipped, len(self._unread))
            del self._unread[:skipped]
            self._skipped -= skipped
            if (kind := _parse_varint(self._unread, 0)) is None:
                return None
            if (length := _parse_varint(self._unread, kind[1])) is None:
                return None
            if kind[0] == _CLOSE_SESSION:
                return self._parse_close(*length)
            del self._unread[: length[1]]
            self._skipped = length[0]

    def _parse_close(self, length: int, start: int) -> SessionClose | None:
        if not _CODE_BYTES <= length <= _CODE_BYTES + _MAX_REASON_BYTES:
            raise ValueError(f"a close of a session with {length} bytes")
        value = bytes(self._unread[start : start + length])
        if len(value) < length:
            return None
        return SessionClose(
            int.from_bytes(value[:_CODE_BYTES]), value[_CODE_BYTES:].decode("utf-8", "replace")
        )
