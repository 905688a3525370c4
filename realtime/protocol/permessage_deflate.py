"""permessage-deflate: the compression of WebSocket messages, without history (RFC 7692).

Both sides forget what they have sent: `server_no_context_takeover` makes one compressed frame
valid for all readers, and `client_no_context_takeover` saves 44 KB for each client.  Pure: no I/O.
"""

import re
import zlib

from realtime.protocol.encodings import SYNC_MARK, deflate
from realtime.protocol.websocket_frames import (
    NOT_UTF_8,
    TOO_BIG,
    Violation,
    compressed_frame,
    text_frame,
)

_NAME = "permessage-deflate"
# What we answer to an offer; RFC 7692 §7.1.1.2 permits the second one also if nobody offered it.
AGREED = f"{_NAME}; server_no_context_takeover; client_no_context_takeover"
_FLAGS = {"server_no_context_takeover", "client_no_context_takeover"}
_WINDOW_BITS = re.compile(r'"?(8|9|1[0-5])"?', re.ASCII)


def accepts_offer(field: str) -> bool:
    """Return whether one of the offers in `Sec-WebSocket-Extensions` is one that we can agree to.

    RFC 7692 §7.1: an offer with an unknown, repeated or invalid parameter must be declined.
    """
    return any(_is_acceptable(offer) for offer in field.split(","))


def _is_acceptable(offer: str) -> bool:
    name, *parameters = (part.strip(" \t") for part in offer.split(";"))
    names = [parameter.partition("=")[0].rstrip(" \t") for parameter in parameters]
    return name == _NAME and len({*names}) == len(names) and all(map(_is_known, parameters))


def _is_known(parameter: str) -> bool:
    name, equals, value = (part.strip(" \t") for part in parameter.partition("="))
    if name in _FLAGS:
        return not equals
    # Not `server_max_window_bits`: shared frames have the window of everybody.
    return name == "client_max_window_bits" and bool(not equals or _WINDOW_BITS.fullmatch(value))


def deflated_text_frame(text: bytes) -> bytes:
    """Frame a text, compressed if that makes it shorter: RFC 7692 §6 lets each message choose."""
    # §7.2.1: the end of the flush is left out.
    payload = deflate(text).removesuffix(SYNC_MARK)
    return compressed_frame(payload) if len(payload) < len(text) else text_frame(text)


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """Return a message that a client has compressed; raises `Violation`.

    It never inflates more than `max_bytes` and one: a few bytes can stand for thousands.
    """
    decompressor = zlib.decompressobj(-15)
    try:
        text = decompressor.decompress(payload + SYNC_MARK, max_bytes + 1)
    except zlib.error as error:
        raise Violation(NOT_UTF_8, "the compressed data is not valid") from error
    if len(text) > max_bytes:
        raise Violation(TOO_BIG, "the message is too big")
    return text
