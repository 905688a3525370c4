"""Readers without sockets: what to say, what was heard, and when to say something again.

A listener is the pure half of a client.  The crowd (crowd.py) gives it bytes with the time at which
they came, and writes what it says; so a thousand of them fit on one thread, and the same load
generator drives every system that is to be compared.  The bytes are understood by the same readers
that the clients are made of, and the tests of what we promise hold those to the contract.

All times are seconds of one clock, `time.perf_counter()`.
"""

import base64
import json
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from benchmarks.clients.base import Event, Step, step
from benchmarks.clients.fetch_streaming import Lines
from benchmarks.clients.http import BadResponse, Head, Response, ResponseReader, Server, encode
from benchmarks.clients.iframe_streaming import Blocks, read_attribute
from benchmarks.clients.sse import EventStream
from benchmarks.clients.websocket import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    MessageReader,
    check_handshake,
    frame,
)

# RFC 6455 §4.1: 16 bytes at random.  Nothing here is cached, so one key does for everybody.
KEY = base64.b64encode(b"realtime, a room").decode()
# More than are on their way at once; 2 000 messages of 300 bytes need some 2 MB.
_KNOWN_TEXTS = 2_000


@lru_cache(maxsize=_KNOWN_TEXTS)
def read_json(text: str | bytes) -> Any:
    """Read JSON, and the same text once for all who are sent it.

    Five hundred readers of one room are sent the same bytes, and reading them costs more than all
    else that is done here for a delivery.  What is given is shared, so nobody may change it.
    """
    return json.loads(text)


_read_attribute = lru_cache(maxsize=_KNOWN_TEXTS)(read_attribute)


@dataclass(frozen=True, slots=True)
class Heard:
    """An event, when its bytes had come, and when the question was asked that it answers."""

    when: float
    event: Event
    asked: float


class Listener(ABC):
    """One reader.  `ready` is true as soon as nothing that is said from then on can be missed."""

    # Where an id stands in what comes.  A key has its quotes, and in a text they are escaped; so it
    # is found where nothing is decoded.  In the iframe's attribute each quote is a reference.
    id_pattern = re.compile(rb'(?:"id": ?"|&#34;id&#34;: ?&#34;)([0-9a-f-]{36})')
    fresh = False  # a new connection for every question
    head_bytes = 0  # a request's head is filled up to so many bytes, since a browser says more

    def __init__(self, server: Server) -> None:
        self.server = server
        self.heard: list[Heard] = []
        self.ids: set[str] = set()
        self.cursor: str | None = None
        self.ready = False
        self.requests = 0
        self.asked = 0.0

    def begin(self, when: float) -> bytes:
        """Say the first thing on a new connection, from where this reader stands."""
        self.asked = when
        self.requests += 1
        return self.question()

    @abstractmethod
    def question(self) -> bytes: ...

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> bytes:
        """Write a GET."""
        bare = self.server.request("GET", path, fields or {})
        missing = self.head_bytes - len(bare) - len("User-Agent: \r\n")
        if missing <= 0:
            return bare
        filled = {"User-Agent": "x" * missing, **(fields or {})}
        return self.server.request("GET", path, filled)

    @abstractmethod
    def take(self, data: bytes, when: float) -> float | None:
        """Understand what came; give the time at which there is something to say, or None."""

    @abstractmethod
    def speak(self, when: float) -> bytes:
        """Say it."""

    @abstractmethod
    def end(self) -> bool:
        """Hear that the connection ended; was that in order, with nothing half said?"""

    @property
    def idle(self) -> bool:
        """Is nothing asked at the moment, so that a connection that breaks is not missed?"""
        return False

    def hear(self, steps: Iterable[Step], when: float) -> None:
        for event, cursor in steps:
            self.cursor = cursor or self.cursor
            if event is not None:
                self.heard.append(Heard(when, event, self.asked))
                self.ids.add(event["id"] if "id" in event else event["cursor"])


@lru_cache(maxsize=_KNOWN_TEXTS)
def address(transport: str, room: str, after: str | None, **more: str) -> str:
    """Where a transport of ours is read (wire contract)."""
    query = {"after": after, **more}
    given = {name: value for name, value in query.items() if value is not None}
    return f"/rooms/{quote(room, safe='')}/{transport}?{urlencode(given)}"


# --- polls ---------------------------------------------------------------------------------------


class Poll(Listener):
    """Asks, is answered, and asks again: `interval` after the last question, or at once if 0.

    `phase`, from 0 to 1, is the place of this one in its period: clocks of readers know nothing of
    each other.  Nothing is asked while an answer is under way, so an interval shorter than the
    round trip is one round trip.  With `fresh` each question has a connection of its own, as
    before HTTP/1.1.
    """

    def __init__(
        self, server: Server, *, interval: float = 0.0, phase: float = 1.0, fresh: bool = False
    ) -> None:
        super().__init__(server)
        self.phase = phase
        self.interval = interval
        self.fresh = fresh
        self.answer_head_bytes = 0  # of the last answer
        self._reader = ResponseReader()
        self._body = bytearray()
        self._fed = 0

    def begin(self, when: float) -> bytes:
        self._reader = ResponseReader()
        self._body.clear()
        self._fed = 0
        return super().begin(when)

    def take(self, data: bytes, when: float) -> float | None:
        self._body += self._reader.feed(data)
        self._fed += len(data)
        if not self._reader.complete:
            return None
        head = self._reader.head
        assert head is not None
        self.answer_head_bytes = self._fed - len(self._body)
        more = self._answered(Response(head, bytes(self._body)), when)
        due = self.asked + self.interval if self.ready else when + self.interval * self.phase
        self.ready = self.ready or self._settled()
        return when if more else max(when, due)

    def speak(self, when: float) -> bytes:
        return self.begin(when)

    def end(self) -> bool:
        return self.idle

    @property
    def idle(self) -> bool:
        return self._reader.complete

    def _settled(self) -> bool:
        """Did the first answer say where this reader stands?"""
        return True

    @abstractmethod
    def _answered(self, response: Response, when: float) -> bool:
        """Hear the events of an answer; is there more, to be asked for at once?"""


class OurPoll(Poll):
    """`long_polling` with a `wait`, else `short_polling`."""

    def __init__(
        self,
        server: Server,
        room: str,
        *,
        after: str = "now",
        wait: float | None = None,
        client: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._room = room
        self._after = after
        self._wait = wait
        self._client = {} if client is None else {"client": client}

    def question(self) -> bytes:
        after = self.cursor or self._after
        if self._wait is None:
            path = address("short_polling", self._room, after, **self._client)
        else:
            # The first question only finds out where this reader stands, the second its phase.
            wait = self._wait * min(1.0, self.phase + max(self.requests - 2, 0))
            wait = wait if self.ready else 0.0
            path = address("long_polling", self._room, after, wait=f"{wait:g}", **self._client)
        return self.get(path)

    def _answered(self, response: Response, when: float) -> bool:
        answer = read_json(response.check(200).body)
        self.hear(map(step, answer["events"]), when)
        self.cursor = answer["cursor"]
        return bool(answer.get("more"))


# --- streams -------------------------------------------------------------------------------------

Decoder = Callable[[bytes], Iterable[Step]]


class Stream(Listener):
    """Asks once, and is answered for ever; `decoder` is made anew for every answer."""

    def __init__(
        self, server: Server, path: Callable[[str | None], str], decoder: Callable[[Head], Decoder]
    ) -> None:
        super().__init__(server)
        self._path = path
        self._decoder = decoder
        self._reader = ResponseReader()
        self._decode: Decoder | None = None

    def question(self) -> bytes:
        self._reader, self._decode = ResponseReader(), None
        return self.get(self._path(self.cursor))

    def take(self, data: bytes, when: float) -> None:
        body = self._reader.feed(data)
        head = self._reader.head
        if head is None:
            return
        if head.status != 200:
            if self._reader.complete:
                Response(head, body).check()
            return
        if self._decode is None:
            self._decode = self._decoder(head)
            self.ready = True
        self.hear(self._decode(body), when)

    def speak(self, when: float) -> bytes:
        raise AssertionError("a stream is only read")

    def end(self) -> bool:
        return self._reader.complete


def iframe_decoder(head: Head) -> Decoder:
    blocks = Blocks(head.fields.get("content-security-policy", ""), _read_attribute)
    return lambda data: map(step, blocks.feed(data))


def sse_decoder(head: Head) -> Decoder:
    stream = EventStream()

    def decode(data: bytes) -> Iterator[Step]:
        for message in stream.feed(data):
            yield read_json(message.data) if message.data else None, message.id

    return decode


def lines_decoder(head: Head) -> Decoder:
    lines = Lines(read_json)
    return lambda data: map(step, lines.feed(data))


# --- WebSocket -----------------------------------------------------------------------------------


class WebSocketListener(Listener):
    """Upgrades, reads frames, and answers pings."""

    def __init__(self, server: Server, path: Callable[[str | None], str]) -> None:
        super().__init__(server)
        self._path = path
        self._reader = ResponseReader()
        self._messages = MessageReader()
        self._answers: list[bytes] = []

    def question(self) -> bytes:
        self._reader, self._messages = ResponseReader(), MessageReader()
        self._answers.clear()
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        }
        return self.get(self._path(self.cursor), upgrade)

    def take(self, data: bytes, when: float) -> float | None:
        if not self._reader.complete:
            data = self._upgraded(data)
        for message in self._messages.feed(data):
            self._handle(message, when)
        return when if self._answers else None

    def _upgraded(self, data: bytes) -> bytes:
        """Take a piece of the head; give what came after it."""
        body = self._reader.feed(data)
        head = self._reader.head
        if head is not None and 200 <= head.status < 300:
            raise BadResponse(f"{head.status} where 101 was asked for")
        if head is None or not self._reader.complete:
            return b""
        Response(head, body).check(101)
        check_handshake(head, KEY)
        self.opened()
        return self._reader.rest

    def opened(self) -> None:
        """The handshake is done; a protocol above may have more to say first."""
        self.ready = True

    def _handle(self, message: Frame, when: float) -> None:
        if message.opcode == TEXT:
            self.understand(message.payload, when)
        elif message.opcode == PING:
            self.answer(PONG, message.payload)  # RFC 6455 §5.5.3: the same data
        elif message.opcode == CLOSE:
            self.answer(CLOSE, message.payload[:2])
        else:
            raise BadResponse("a binary message: all that we asked for is text")

    def understand(self, payload: bytes, when: float) -> None:
        self.hear([step(read_json(payload))], when)

    def answer(self, opcode: int, payload: bytes) -> None:
        self._answers.append(frame(opcode, payload))

    def speak(self, when: float) -> bytes:
        said = b"".join(self._answers)
        self._answers.clear()
        return said

    def end(self) -> bool:
        return False


# --- the two libraries ---------------------------------------------------------------------------


class SockJSListener(WebSocketListener):
    """Asks `/info`, then for a WebSocket on the same connection, and joins in its first message."""

    id_pattern = re.compile(rb'\\"id\\": ?\\"([0-9a-f-]{36})')

    def __init__(self, server: Server, room: str, after: str, client: str | None) -> None:
        self._booked = "" if client is None else f"?client={client}"
        session = f"/sockjs/000/{secrets.token_hex(8)}/websocket{self._booked}"
        super().__init__(server, lambda cursor: session)
        self._join = {"kind": "join", "id": "join", "room": room, "client": client}
        self._after = after
        self._informed = False

    def question(self) -> bytes:
        self._informed = False
        self._reader = ResponseReader()
        return self.get(f"/sockjs/info{self._booked}")

    def take(self, data: bytes, when: float) -> float | None:
        if self._informed:
            return super().take(data, when)
        body = self._reader.feed(data)
        if self._reader.complete:
            assert self._reader.head is not None
            Response(self._reader.head, body).check(200)
            self._informed = True
            upgrade = super().question()
            self._answers.append(upgrade)
        return when if self._answers else None

    def opened(self) -> None:
        pass  # there is more to say before anything is heard

    def understand(self, payload: bytes, when: float) -> None:
        if payload == b"o":
            join = self._join | {"after": self.cursor or self._after}
            given = {name: value for name, value in join.items() if value is not None}
            self.answer(TEXT, encode([encode(given).decode()]))
        elif payload[:1] == b"a":
            for message in map(read_json, read_json(payload[1:])):
                if message["kind"] == "ack":
                    self.ready = True
                else:
                    self.hear([step(message)], when)
        elif payload != b"h":
            raise BadResponse(f"the session ended: {payload!r}")


class SocketIOListener(WebSocketListener):
    """Its WebSocket from the start: what its polling is upgraded to."""

    def opened(self) -> None:
        pass  # there is more to say before anything is heard

    def understand(self, payload: bytes, when: float) -> None:
        if payload[:2] == b"42":
            name, event = read_json(payload[2:])
            if name != "event":
                raise BadResponse(f"trouble: {event}")
            self.hear([step(event)], when)
        elif payload[:2] == b"40":
            self.ready = True
        elif payload[:1] == b"0":
            self.answer(TEXT, b"40")
        elif payload == b"2":
            self.answer(TEXT, b"3")


# --- ours ----------------------------------------------------------------------------------------


def listener(
    transport: str,
    server: Server,
    room: str,
    *,
    after: str = "now",
    client: str | None = None,
    interval: float = 1.0,
    wait: float = 25.0,
    phase: float = 1.0,
    fresh: bool = False,
    head_bytes: int = 0,
) -> Listener:
    """Make a reader of one of our transports; `interval` and `wait` in seconds."""
    made: Listener
    if transport in ("short_polling", "long_polling"):
        short = transport == "short_polling"
        made = OurPoll(
            server,
            room,
            after=after,
            client=client,
            interval=interval if short else 0.0,
            wait=None if short else wait,
            phase=phase,
            fresh=fresh,
        )
    else:
        given = {} if client is None else {"client": client}

        def path(cursor: str | None) -> str:
            return address(transport, room, cursor or after, **given)

        def socketio_path(cursor: str | None) -> str:
            query = {"EIO": "4", "transport": "websocket", "roomid": room}
            return f"/socket.io/?{urlencode(query | given | {'after': cursor or after})}"

        if transport == "websocket":
            made = WebSocketListener(server, path)
        elif transport == "sockjs":
            made = SockJSListener(server, room, after, client)
        elif transport == "socketio":
            made = SocketIOListener(server, socketio_path)
        else:
            made = Stream(server, path, _DECODERS[transport])
    made.head_bytes = head_bytes
    return made


_DECODERS = {
    "iframe_streaming": iframe_decoder,
    "sse": sse_decoder,
    "fetch_streaming": lines_decoder,
}
