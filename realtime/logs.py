"""The log of the server: one JSON object per line, for rare and important events.

Nothing is logged per message or per request: frequent events are counted instead (`metrics`).  So
no client can flood the log, and it stays short enough to be read.
"""

import logging

from pythonjsonlogger.json import JsonFormatter


def configure() -> None:
    """Write to stderr: the time, level, logger and message, and the fields of `extra`."""
    handler = logging.StreamHandler()
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
