"""Server-sent events, the client's half: what `EventSource` does with the lines it is sent.

The parser follows the HTML standard §9.2.6, "Interpreting an event stream", step by step.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.clients.base import Step, StreamClient

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Message:
    """One block of lines; `data` is None for a block that told nothing but an id."""

    type: str
    data: str | None
    id: str


class EventStream:
    """Takes bytes in any pieces and gives the blocks that are whole.

    `last_event_id` is what a browser would send when it comes again, `retry` after how many ms.
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

    def feed(self, data: bytes) -> Iterator[Message]:
        for line in self._lines(data):
            if line:
                self._field(line)
            elif message := self._dispatch():
                yield message

    def _lines(self, data: bytes) -> list[bytes]:
        """Give the lines that are whole; a line ends with CR, LF or both."""
        # The LF may come after its CR in another piece: then the line has ended already.
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
        # Everything else is ignored: a line that begins with a colon is a field without a name.

    def _dispatch(self) -> Message | None:
        news = self._id != self.last_event_id
        self.last_event_id = self._id
        data = "\n".join(self._data) if self._data else None
        message = Message(self._type or "message", data, self._id)
        self._data, self._type = [], ""
        return message if data is not None or news else None


class ServerSentEvents(StreamClient):
    transport = "sse"
    content_type = "text/event-stream"

    def __init__(self, url: str, room: str, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._stream = EventStream()

    def _decode(self, data: bytes) -> Iterator[Step]:
        for message in self._stream.feed(data):
            yield json.loads(message.data) if message.data else None, message.id
