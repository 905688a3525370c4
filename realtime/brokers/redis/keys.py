"""The names of all keys and channels in Redis; those of one room are in one hash slot.

PREFIX:{ROOM}:log       what a room consists of; the braces are a hash tag
{PREFIX}:workers        what concerns all rooms, in one slot, too
PREFIX:{ROOM}           the channel of a room in database 0
PREFIX:3:{ROOM}         ... in database 3: pub/sub ignores databases, keys do not
"""

import re
from collections.abc import Sequence

DEFAULT_PREFIX = "rt"
# No colon, no brace: two deployments must never build the same name.  No wildcard of SCAN or ACL.
_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,32}")


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is valid; raises `ValueError` otherwise."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("a prefix has 1 to 32 letters, digits, '_', '.' or '-'")
    return prefix


class Keys:
    """The names that one deployment uses."""

    def __init__(self, prefix: str, database: int) -> None:
        self.prefix = check_prefix(prefix)
        self._start = b"%b:{" % prefix.encode()
        self._channel_start = self._start
        if database:
            self._channel_start = b"%b:%d:{" % (prefix.encode(), database)
        self.workers, self.reports, self.clock = map(self._shared, ("workers", "reports", "clock"))
        # In the slot of the three above; named like a key of a room, for the rights of an ACL.
        self.check = self.room(prefix, b"check")[0]
        self.check_channel = self.channel(prefix) + b":check"
        self.probe_channel = b"%b:probe:" % prefix.encode()
        self.all_meta = self._start + b"*}:meta"

    def _shared(self, what: str) -> bytes:
        return f"{{{self.prefix}}}:{what}".encode()

    def room(self, room: str, *what: bytes) -> Sequence[bytes]:
        """Return keys of a room, in the order of `what`."""
        start = b"%b%b}:" % (self._start, room.encode())
        return [start + one for one in what]

    def room_of_meta(self, key: bytes) -> str:
        """Return the room of a key that matches `all_meta`; raises `UnicodeDecodeError`."""
        return key[len(self._start) : -len(b"}:meta")].decode()

    def channel(self, room: str) -> bytes:
        return b"%b%b}" % (self._channel_start, room.encode())

    def room_of_channel(self, channel: bytes) -> str:
        return channel[len(self._channel_start) : -1].decode()
