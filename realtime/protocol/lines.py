"""Messages on a stream of bytes: one per line, as in NDJSON."""


class LineSplitter:
    """Splits bytes, cut anywhere, into lines; it keeps at most one byte more than `max_bytes`.

    The rest of a longer line is dropped: what remains is still too long, which is then the error.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_kept = max_bytes + 1
        self._start = b""  # of the line that is not complete

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends; empty lines are left out."""
        first, *others = data.split(b"\n")
        parts = [self._start + first[: self._max_kept - len(self._start)], *others]
        self._start = parts.pop()[: self._max_kept]
        return [part[: self._max_kept] for part in parts if part]
