"""Server-sent events, the client's half: what `EventSource` does with the lines that it receives.

The parser follows the HTML standard §9.2.6, "Interpreting an event stream", step by step.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from realtime.client.base import HTTPStreamClient
from realtime.client.http import ResponseHead
from realtime.client.sansio import Decoder, Loads, Update, with_cursor

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class EventStreamMessage:
    """One block of lines; `data` is None for a block with nothing but an id."""

    type: str
    data: str | None
    id: str


class EventStreamParser:
    """Accepts bytes split anywhere and returns the complete blocks.

    `last_event_id` is what a browser sends when it reconnects, `retry` the delay before, in ms.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._started = False
        self._partial = b""
        self._after_cr = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[EventStreamMessage]:
        for line in self._lines(data):
            if line:
                self._field(line)
            elif message := self._dispatch():
                yield message

    def _lines(self, data: bytes) -> list[bytes]:
        """Return the complete lines; a line ends with CR, LF or both."""
        # CR may be the last byte of one chunk and its LF the first of the next: the line has ended.
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        *lines, self._partial = _LINE_END.split(self._partial + data)
        if lines and not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        return lines

    def _field(self, line: bytes) -> None:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")  # one space, and no more
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        # Other fields are ignored; a line that starts with a colon is a field without a name.

    def _dispatch(self) -> EventStreamMessage | None:
        new_id = self._id != self.last_event_id
        self.last_event_id = self._id
        data = "\n".join(self._data) if self._data else None
        message = EventStreamMessage(self._type or "message", data, self._id)
        self._data, self._type = [], ""
        return message if data is not None or new_id else None


class ServerSentEventsClient(HTTPStreamClient):
    transport = "sse"
    content_type = "text/event-stream"

    @staticmethod
    def decoder(head: ResponseHead, loads: Loads) -> Decoder:
        parser = EventStreamParser()

        def decode(data: bytes) -> Iterator[Update]:
            for message in parser.feed(data):
                yield with_cursor(loads(message.data)) if message.data else (None, message.id)

        return decode
