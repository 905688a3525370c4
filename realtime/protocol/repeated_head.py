"""A request that repeats the last one of its connection in every byte but those of its cursor.

A client that polls sends the same header section again and again; only ``after=`` moves on.  If all
bytes before and after the cursor are those of a request that was parsed, then its fields, its other
arguments and its end are what they were, and nothing needs to be parsed again.  Pure: no I/O.

    GET /rooms/lobby/long_polling?wait=25&after=┊4f-17┊ HTTP/1.1 ... CRLF CRLF
    ◀──────────────── the same ───────────────▶┊     ┊◀────── the same ──────▶
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Self

from realtime.core.events import Cursor
from realtime.errors import BadCursor

# In the query, which the first `?` starts; the value ends there, or at the next argument.
_AFTER = re.compile(rb"[^?\r]*\?(?:[^ \r]*&)?after=([0-9A-Za-z-]+)[& ]")
# Cursors that are kept: those of all readers of some busy rooms, which have the same few.
_KEPT_CURSORS = 256


class RepeatedHead:
    """The bytes around the cursor in the header section of a request without a body."""

    __slots__ = ("_prefix", "_suffix")

    def __init__(self, prefix: bytes, suffix: bytes) -> None:
        self._prefix = prefix
        self._suffix = suffix

    @classmethod
    def of(cls, data: bytes, after: Sequence[bytes]) -> Self | None:
        """Return what `data` shares with its repetitions; None if its cursor cannot be found.

        `data` is one whole request that `parse_fast_path` has parsed, without a body, and `after`
        are the values of that argument.
        """
        end = data.index(b"\r\n")
        match = _AFTER.match(data, 0, end)
        # `%61fter` is the same name: the cursor must be the only `after`, as bytes and as parsed.
        if match is None or [match[1]] != after or data.count(b"after=", 0, end) != 1:
            return None
        return cls(data[: match.start(1)], data[match.end(1) :])

    def match(self, data: bytes) -> Cursor | None:
        """Return the cursor of `data` if that is a repetition, and nothing follows it."""
        if not (data.startswith(self._prefix) and data.endswith(self._suffix)):
            return None
        return _parse_cursor(data[len(self._prefix) : len(data) - len(self._suffix)])


@lru_cache(_KEPT_CURSORS)
def _parse_cursor(text: bytes) -> Cursor | None:
    try:
        return Cursor.parse(text.decode("latin1"))
    except BadCursor:
        return None
