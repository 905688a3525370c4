"""What the server tells of itself: one JSON object per line, for an event worth knowing.

Nothing is told per message and nothing per request: what is frequent is counted (`metrics`), and a
log that nobody can fill is one that somebody reads.
"""

import logging

from pythonjsonlogger.json import JsonFormatter


def configure() -> None:
    """Write to stderr: time, level, who says it, what, and whatever else belongs to it."""
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
    # At this level Tornado has a line for each request that it cannot understand.
    logging.getLogger("tornado").setLevel(logging.WARNING)
