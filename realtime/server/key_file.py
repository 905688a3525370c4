"""The file with the keys that verify tickets: it is read again when it changes, without a restart.

A key is rotated in three steps: write both keys into the file, sign with the new one, and when the
last old ticket has ended, remove the old key.
"""

import logging
import os

from realtime.protocol.tickets import KeySet, parse_keys

log = logging.getLogger(__name__)

# Seconds between two looks at the file.
CHECK_SECONDS = 1.0
# Sixteen RSA keys have some 12 KB; a larger file is something else.
_MAX_BYTES = 65_536

# What changes when a file is written, or replaced by another: inode, time, size.
_Version = tuple[int, int, int]


class KeyFile:
    """The keys in a file, as they were when it could last be read.

    Raises OSError or ValueError if that is not possible at the start.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._keys, self._version = _read(path)
        self._failed: str | None = None  # why the file as it is now cannot be read
        self._next_check = 0.0

    def keys(self, now: float) -> KeySet:
        """Return the keys; the same object until they change.  `now` is of a monotonic clock."""
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._check()
        return self._keys

    def _check(self) -> None:
        try:
            if _version(os.stat(self._path)) != self._version:
                self._keys, self._version = _read(self._path)
                log.info("the keys of tickets were replaced", extra={"keys": len(self._keys.keys)})
            self._failed = None
        except (OSError, ValueError) as error:
            # Without this, one wrong edit would disconnect everybody.
            if self._failed != str(error):
                self._failed = str(error)
                log.error("the keys of tickets cannot be read: the old ones stay: %s", error)


def read_keys(path: str) -> KeySet:
    """Read the keys once; raises OSError or ValueError."""
    return _read(path)[0]


def _read(path: str) -> tuple[KeySet, _Version]:
    """Read the keys, and the version of the file from before: a later write is then noticed."""
    with open(path, "rb") as file:
        version = _version(os.fstat(file.fileno()))
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"a key file has at most {_MAX_BYTES} bytes")
    return parse_keys(data), version


def _version(status: os.stat_result) -> _Version:
    return status.st_ino, status.st_mtime_ns, status.st_size
