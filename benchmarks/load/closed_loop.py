"""Speakers in a closed loop: who is told that a message is in the room says the next one.

An open loop (talk.py) asks how long messages take at a rate; a closed one asks for the rate itself,
and cannot ask for more than the server gives.  So its times say how long a message waits at a
server that is never idle, and nothing of a chat in which people pause.

A sender is a listener whose answers are its receipts.  Over WebSocket it is told the whole room as
well, as every page is, and reads no more of that than it takes to find what answers it.
"""

import json
import uuid
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.clients.http import Refused, Response, ResponseReader, Server, encode, messages_path
from benchmarks.clients.protocols import Listener, WebSocketListener, address
from benchmarks.clients.websocket import TEXT, frame
from benchmarks.load.generator import text_of

# Stands in a draft for the id, which is all that differs from one message to the next.
_PLACE = "00000000-0000-0000-0000-000000000000"
# FIN and the opcode, as the first byte of a frame that is a whole text.
_WHOLE_TEXT = 0x80 | TEXT


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a message was put, and when that was known, and said."""

    cursor: str
    when: float
    said: float


@dataclass
class Tally:
    """What all senders said, and what they were told; who looks at `open` says no more."""

    said: dict[str, float] = field(default_factory=dict)  # id: when
    receipts: dict[str, Receipt] = field(default_factory=dict)  # by id
    refused: set[str] = field(default_factory=set)  # ids to which an overloaded server said no
    repeated: list[str] = field(default_factory=list)  # ids that were acknowledged twice
    late: list[float] = field(default_factory=list)  # seconds from an answer to the next message
    open: bool = True

    @property
    def quiet(self) -> bool:
        """Has all that was said been answered?"""
        return len(self.receipts) + len(self.refused) == len(self.said)

    def acknowledge(self, id: str, cursor: str, when: float) -> None:
        if id in self.receipts:
            self.repeated.append(id)
        self.receipts[id] = Receipt(cursor, when, self.said[id])

    def refuse(self, id: str, error: Refused) -> None:
        """Count a server that has too much to do; any other refusal is ours to mend."""
        if error.code not in ("busy", "no_broker"):
            raise error
        self.refused.add(id)

    def between(self, begin: float, end: float) -> list[Receipt]:
        """The receipts that came within these times."""
        return [one for one in self.receipts.values() if begin <= one.when < end]


def drafts(client: str, size: int, via: str) -> Callable[[str], bytes]:
    """Give what writes a message of `size` bytes of text, by its id."""
    fields = {"client": client, "name": "Ada", "text": text_of(size), "via": via, "sent": 0}
    before, _, after = encode({"id": _PLACE, **fields}).partition(_PLACE.encode())
    return lambda id: before + id.encode() + after


class Sender(Listener):
    """Has `window` messages under way, and says another for each that is answered."""

    tally: Tally
    draft: Callable[[str], bytes]
    window: int
    under_way = 0
    _asked: float | None = None  # since when there is something to say

    def speak(self, when: float) -> bytes:
        if self._asked is not None:
            self.tally.late.append(when - self._asked)
            self._asked = None
        return b"".join(self._say(when) for _ in range(self.window - self.under_way))

    def _say(self, when: float) -> bytes:
        if not self.tally.open:
            return b""
        id = str(uuid.uuid4())
        self.tally.said[id] = when
        self.under_way += 1
        return self.wrap(id)

    @abstractmethod
    def wrap(self, id: str) -> bytes:
        """Write one message as it crosses the wire."""

    def due(self, when: float) -> float | None:
        """When there is something to say: at once, or never more."""
        if not self.tally.open or self.under_way >= self.window:
            return None
        self._asked = when
        return when


class FrameSender(Sender, WebSocketListener):
    """Says frames on one connection, each answered by a frame among those of the room."""

    def __init__(
        self, server: Server, room: str, tally: Tally, draft: Callable[[str], bytes], window: int
    ) -> None:
        super().__init__(server, lambda cursor: address("websocket", room, "now"))
        self.tally, self.draft, self.window = tally, draft, window
        self._receipts = Answers()

    def wrap(self, id: str) -> bytes:
        return frame(TEXT, self.draft(id))

    def take(self, data: bytes, when: float) -> float | None:
        if not self._reader.complete:
            data = self._upgraded(data)
        found = self._receipts.feed(data)
        for answer in found:
            self._answered(answer, when)
        return self.due(when) if found else None

    def _answered(self, answer: dict[str, Any], when: float) -> None:
        self.under_way -= 1
        if answer["kind"] == "ack":
            self.tally.acknowledge(answer["id"], answer["cursor"], when)
        else:
            error = Refused(None, answer["code"], answer["message"])
            self.tally.refuse(answer["id"], error)


class Answers:
    """Finds what answers a sender among all that its room is told: the head of a frame says how
    long it is, its first letters of what kind.
    """

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes in any pieces, and give the acknowledgements and errors that are whole."""
        data = self._unread + data
        found, at, size = [], 0, len(data)
        while at + 4 <= size:
            begin, length = at + 2, data[at + 1]
            if length > 125:  # RFC 6455 §5.2: 126 has two more bytes of length, 127 has eight
                begin += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : begin])
            if begin + length > size:
                break
            if data[at] == _WHOLE_TEXT and data.find(b'"say"', begin, begin + 16) < 0:
                found.append(json.loads(data[begin : begin + length]))
            at = begin + length
        self._unread = data[at:]
        return [one for one in found if one.get("kind") in ("ack", "error")]


class PostSender(Sender):
    """Says one POST at a time on a connection that is kept."""

    window = 1

    def __init__(
        self, server: Server, room: str, tally: Tally, draft: Callable[[str], bytes]
    ) -> None:
        super().__init__(server)
        self.tally, self.draft = tally, draft
        self._path = messages_path(room)
        self._reader = ResponseReader()
        self._body = bytearray()
        self._id = ""

    def question(self) -> bytes:
        self.ready = True  # it has nothing to hear before it speaks
        return b""

    def wrap(self, id: str) -> bytes:
        self._reader, self._body, self._id = ResponseReader(), bytearray(), id
        return self.server.request("POST", self._path, {}, self.draft(id))

    def take(self, data: bytes, when: float) -> float | None:
        self._body += self._reader.feed(data)
        if not self._reader.complete:
            return None
        assert self._reader.head is not None
        self.under_way -= 1
        try:
            answer = Response(self._reader.head, bytes(self._body)).check(200, 201).json()
            self.tally.acknowledge(self._id, answer["cursor"], when)
        except Refused as error:
            self.tally.refuse(self._id, error)
        return self.due(when)

    def end(self) -> bool:
        return False
