"""The log of the server: one JSON object per line, for rare and important events.

Nothing is logged per message or per request: frequent events are counted instead (`metrics`).  So
no client can flood the log, and it stays short enough to be read.  A failure that repeats is
limited to some lines a minute, wherever it comes from.
"""

import logging
import time

from pythonjsonlogger.json import JsonFormatter

# Lines a minute from one place in the code: a dozen workers that die again and again still fit.
_MAX_PER_MINUTE = 60


class RepeatFilter(logging.Filter):
    """Drops what one place in the code logs more often than `_MAX_PER_MINUTE`.

    `extra={"per_minute": n}` sets another limit.  The next line that passes has the number of lines
    that were dropped in between, as `suppressed`.
    """

    def __init__(self) -> None:
        super().__init__()
        # The minute's start, the lines in it and those that were dropped, by the place.
        self._counts: dict[tuple[str, int], tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        limit: int = record.__dict__.pop("per_minute", _MAX_PER_MINUTE)
        place, now = (record.pathname, record.lineno), time.monotonic()
        started, lines, dropped = self._counts.get(place, (now, 0, 0))
        if now - started >= 60:
            started, lines = now, 0
        passes = lines < limit
        if passes and dropped:
            record.suppressed, dropped = dropped, 0
        self._counts[place] = (started, lines + 1, dropped + (not passes))
        return passes


def configure() -> None:
    """Write to stderr: the time, level, logger and message, and the fields of `extra`."""
    handler = logging.StreamHandler()
    handler.addFilter(RepeatFilter())
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level", "name": "by"},
            json_ensure_ascii=False,
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Below this level Tornado logs each request that it cannot parse.
    logging.getLogger("tornado").setLevel(logging.WARNING)
    # aioquic warns of each client that breaks the protocol.
    logging.getLogger("quic").setLevel(logging.ERROR)
