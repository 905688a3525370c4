"""Fetch streaming, the client's half: a JSON object per line (NDJSON); an empty line is silence."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.clients.base import Event, Step, StreamClient, step


class Lines:
    """Takes bytes in any pieces and gives the objects whose lines are whole.

    `loads` reads the JSON of one line.
    """

    def __init__(self, loads: Callable[[bytes], Event] = json.loads) -> None:
        self._loads = loads
        self._partial = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        *lines, self._partial = (self._partial + data).split(b"\n")
        return (self._loads(line) for line in lines if line)


class FetchStreaming(StreamClient):
    transport = "fetch_streaming"
    content_type = "application/x-ndjson"
    _lines: Lines

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._lines = Lines()

    def _decode(self, data: bytes) -> Iterator[Step]:
        return map(step, self._lines.feed(data))
