"""Fetch streaming, the client's half: one JSON object per line (NDJSON), empty lines between."""

from collections.abc import Iterator

from realtime.client.base import HTTPStreamClient
from realtime.client.http import ResponseHead
from realtime.client.sansio import Decoder, Event, Loads, with_cursor


class LineReader:
    """Accepts bytes split anywhere and returns the objects of the complete lines."""

    def __init__(self, loads: Loads) -> None:
        self._loads = loads
        self._partial = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        *lines, self._partial = (self._partial + data).split(b"\n")
        return (self._loads(line) for line in lines if line)


class FetchStreamingClient(HTTPStreamClient):
    transport = "fetch_streaming"
    content_type = "application/x-ndjson"

    @staticmethod
    def decoder(head: ResponseHead, loads: Loads) -> Decoder:
        lines = LineReader(loads)
        return lambda data: map(with_cursor, lines.feed(data))
