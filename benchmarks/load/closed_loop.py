"""Closed-loop senders: each acknowledgement triggers the next message.

An open loop (generator.py) asks how long messages take at a given rate.  A closed loop asks for the
rate itself, and never sends more than the server accepts (k6: constant-vus).  So its times say how
long a message waits at a server that is never idle, and nothing about a chat in which people pause.

A sender is a reader whose replies are its acknowledgements.  Over WebSocket it also receives the
whole room, as every page does, and parses only as much of that as it takes to find its replies.
"""

import json
import uuid
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.generator import filler_text
from realtime.client.http import (
    Endpoint,
    Refused,
    Response,
    ResponseReader,
    encode,
    messages_path,
)
from realtime.client.replies import error_of
from realtime.client.sansio import ClientProtocol, Update, room_path
from realtime.client.websocket import TEXT, WebSocketProtocol

# Placeholder for the id in an encoded message; only the id differs between two messages.
_PLACEHOLDER = "00000000-0000-0000-0000-000000000000"
# FIN and the opcode: the first byte of a frame that is a complete text message.
_FINAL_TEXT = 0x80 | TEXT


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The cursor of a message, when the acknowledgement arrived, and when the message was sent."""

    cursor: str
    when: float
    sent_at: float


@dataclass
class SendLog:
    """What all senders sent, and which replies they received; they stop when `open` is false."""

    sent: dict[str, float] = field(default_factory=dict)  # id: when
    acks: dict[str, Acknowledgement] = field(default_factory=dict)  # by id
    refused: set[str] = field(default_factory=set)  # ids that an overloaded server rejected
    repeated: list[str] = field(default_factory=list)  # ids that were acknowledged twice
    late: list[float] = field(default_factory=list)  # seconds from a reply to the next message
    open: bool = True

    @property
    def all_answered(self) -> bool:
        return len(self.acks) + len(self.refused) == len(self.sent)

    @property
    def unacknowledged(self) -> int:
        return len(self.sent) - len(self.acks) - len(self.refused)

    def acknowledge(self, id: str, cursor: str, when: float) -> None:
        if id in self.acks:
            self.repeated.append(id)
        self.acks[id] = Acknowledgement(cursor, when, self.sent[id])

    def refuse(self, id: str, error: Refused) -> None:
        """Count a server that is overloaded; any other error is a mistake of ours."""
        if error.code not in ("busy", "no_broker"):
            raise error
        self.refused.add(id)

    def between(self, start: float, end: float) -> list[Acknowledgement]:
        """Return the acknowledgements that arrived between these times."""
        return [ack for ack in self.acks.values() if start <= ack.when < end]


def message_encoder(client: str, size: int, via: str) -> Callable[[str], bytes]:
    """Return a function that encodes a message of `size` bytes of text, given its id."""
    fields = {"client": client, "name": "Ada", "text": filler_text(size), "via": via, "sent": 0}
    message = encode({"id": _PLACEHOLDER, **fields})
    before, _, after = message.partition(_PLACEHOLDER.encode())
    return lambda id: before + id.encode() + after


class ClosedLoopSender(ClientProtocol):
    """Keeps `window` messages in flight: each reply is followed by the next message.

    With an `interval` the next message waits until that many seconds after the last one was due,
    so a server that keeps up gets a constant rate.
    """

    log: SendLog
    encode_message: Callable[[str], bytes]
    window: int
    in_flight = 0
    interval = 0.0
    next_due = 0.0
    _due_since: float | None = None  # since when there is something to send

    def data_to_send(self, now: float) -> bytes:
        self.send_at = None
        if self._due_since is not None:
            self.log.late.append(now - self._due_since)
            self._due_since = None
        return b"".join(self._next_message(now) for _ in range(self.window - self.in_flight))

    def _next_message(self, now: float) -> bytes:
        if not self.log.open:
            return b""
        id = str(uuid.uuid4())
        self.log.sent[id] = now
        self.in_flight += 1
        return self.write_message(id)

    @abstractmethod
    def write_message(self, id: str) -> bytes:
        """Return one message as it crosses the wire."""

    def _schedule(self, now: float) -> None:
        """The next message is due at once, or after the interval, or never."""
        if self.log.open and self.in_flight < self.window:
            self._due_since = self.send_at = max(now, self.next_due)
            self.next_due = self.send_at + self.interval
        else:
            self.send_at = None


class WebSocketSender(ClosedLoopSender, WebSocketProtocol):
    """Sends frames on one connection; the replies arrive among the frames of the room."""

    def __init__(
        self,
        endpoint: Endpoint,
        room: str,
        log: SendLog,
        encode_message: Callable[[str], bytes],
        window: int,
    ) -> None:
        path = room_path("websocket", room, after="now")
        WebSocketProtocol.__init__(self, endpoint, lambda cursor: path)
        self.log, self.encode_message, self.window = log, encode_message, window
        self._scanner = ReplyScanner()

    def write_message(self, id: str) -> bytes:
        self.publish(self.encode_message(id))
        return WebSocketProtocol.data_to_send(self, 0.0)

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        if not self.upgraded:
            data = self._receive_handshake(data)
        self.send_at = None
        replies = self._scanner.feed(data)
        for reply in replies:
            self._receive_reply(reply, now)
        if replies:
            self._schedule(now)
        return ()

    def _receive_reply(self, reply: dict[str, Any], now: float) -> None:
        self.in_flight -= 1
        if reply["kind"] == "ack":
            self.log.acknowledge(reply["id"], reply["cursor"], now)
        else:
            self.log.refuse(reply["id"], error_of(reply))


class ReplyScanner:
    """Finds the replies to a sender among the frames of a room.

    The first bytes of a frame say how long it is, the first letters of its text of which kind, so
    an event is skipped without decoding it.
    """

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Accept bytes split anywhere; return the complete acknowledgements and errors."""
        data = self._unread + data
        found, at, size = [], 0, len(data)
        while at + 4 <= size:
            start, length = at + 2, data[at + 1]
            if length > 125:  # RFC 6455 §5.2: 126 has two more bytes of length, 127 has eight
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start])
            if start + length > size:
                break
            if data[at] == _FINAL_TEXT and data.find(b'"say"', start, start + 16) < 0:
                found.append(json.loads(data[start : start + length]))
            at = start + length
        self._unread = data[at:]
        return [one for one in found if one.get("kind") in ("ack", "error")]


class PostSender(ClosedLoopSender):
    """Sends one POST at a time on a persistent connection."""

    window = 1

    def __init__(
        self, endpoint: Endpoint, room: str, log: SendLog, encode_message: Callable[[str], bytes]
    ) -> None:
        super().__init__(endpoint)
        self.log, self.encode_message = log, encode_message
        self._path = messages_path(room)
        self._response = ResponseReader()
        self._body = bytearray()
        self._id = ""

    def request(self) -> bytes:
        self.ready = True  # it has nothing to receive before it sends
        return b""

    def write_message(self, id: str) -> bytes:
        self._response, self._body, self._id = ResponseReader(), bytearray(), id
        return self.endpoint.build_request("POST", self._path, {}, self.encode_message(id))

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        self.send_at = None
        self._body += self._response.feed(data)
        if not self._response.complete:
            return ()
        assert self._response.head is not None
        self.in_flight -= 1
        try:
            answer = Response(self._response.head, bytes(self._body)).check(200, 201).json()
            self.log.acknowledge(self._id, answer["cursor"], now)
        except Refused as error:
            self.log.refuse(self._id, error)
        self._schedule(now)
        return ()

    def receive_eof(self) -> bool:
        return False
