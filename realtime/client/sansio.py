"""Clients without sockets (sans-I/O): bytes in, events out, and the bytes to send.

A `ClientProtocol` is the half of a client that only computes, as in h11 and in websockets'
`ClientProtocol`.  The asyncio clients of this folder and the load generator add the sockets, so
both parse the same bytes with the same code, and both are held to the wire contract by one test.

    socket ──▶ receive_data(data, now) ──▶ events, each with its cursor
    socket ◀── data_to_send(now) ◀── the next poll, a pong, a published message

Time is an argument, as in aioquic: seconds of any one clock.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from realtime.client.http import (
    BadResponse,
    Closed,
    Endpoint,
    Headers,
    Response,
    ResponseHead,
    ResponseReader,
    expecting,
)

if TYPE_CHECKING:
    from realtime.client.quic import SessionProtocol

Event = dict[str, Any]
# One step of a reader: an event, or None, and the cursor of a reader that has seen it.
Update = tuple[Event | None, str]
# Parses JSON; the load generator passes one that remembers what it has parsed.
Loads = Callable[[str | bytes], Any]


def with_cursor(event: Event) -> Update:
    return event, event["cursor"]


# --- addresses (wire contract) -------------------------------------------------------------------


@lru_cache(maxsize=2_000)
def room_path(transport: str, room: str, **query: str | None) -> str:
    """Return the address at which a transport of ours is read; a value of None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    path = f"/rooms/{quote(room, safe='')}/{transport}"
    return f"{path}?{urlencode(given)}" if given else path


def client_id(secret: str) -> str:
    """Return the id that only who has `secret` can use."""
    return "key-" + hashlib.sha256(secret.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class RoomQuery:
    """Which room to read, from which cursor, and as which member.

    `after` is a cursor, ``"now"``, or None for the last 50 events.  `secret` proves that the
    client may use its id, if that is the hash of one.  `encoding` asks for compression.  `trace` is
    the secret of a traffic capture (``/wire/SECRET``), which shows the bytes of the requests.
    """

    room: str
    after: str | None = None
    client: str | None = None
    name: str | None = None
    secret: str | None = None
    encoding: str | None = None
    trace: str | None = None

    def path(self, transport: str, cursor: str | None, **more: str) -> str:
        """Return the address from which a reader at `cursor` continues."""
        if self.encoding is not None:
            more["encoding"] = self.encoding
        return room_path(transport, self.room, **self.fields(cursor), **more)

    def fields(self, cursor: str | None) -> dict[str, str]:
        """Return the same as fields, for a transport that has no room in its address."""
        fields = {
            **{"after": cursor or self.after, "client": self.client, "name": self.name},
            **{"secret": self.secret, "trace": self.trace},
        }
        return {name: value for name, value in fields.items() if value is not None}


# --- every protocol ------------------------------------------------------------------------------


class ClientProtocol(ABC):
    """One reader, without a socket.

    `ready` is true as soon as no later event can be missed.  `cursor` is where a new connection
    continues.  `closed` says why the server ended the connection.  `send_at` is the time at which
    `data_to_send` has something to send, None for never; it is set by `receive_data`.
    """

    # Finds the ids of messages in undecoded bytes.  The quotes around a key are escaped in a text,
    # so a text cannot contain a match; in the iframe's attribute each quote is a reference.
    id_pattern: ClassVar = re.compile(rb'(?:"id": ?"|&#34;id&#34;: ?&#34;)([0-9a-f-]{36})')
    new_connection_per_request = False
    # Request headers are padded to this size, since a browser sends more than we do.
    head_bytes = 0

    def __init__(self, endpoint: Endpoint, headers: Headers | None = None) -> None:
        self.endpoint = endpoint
        self.headers = headers or {}
        self.cursor: str | None = None
        self.ready = False
        self.closed: Closed | None = None
        self.requests = 0
        self.requested_at = 0.0
        self.send_at: float | None = None

    def connect(self, now: float) -> bytes:
        """Return the first request of a new connection; it continues from `cursor`."""
        self.requested_at = now
        self.requests += 1
        self.closed = None
        return self.request()

    def new_session(self) -> "SessionProtocol | None":
        """Return the QUIC session that carries this protocol; None if TCP does.

        The caller connects it, and then passes the bytes of its stream on.
        """
        return None

    @abstractmethod
    def request(self) -> bytes:
        """Return the next request."""

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> bytes:
        """Return a GET request, padded to `head_bytes`."""
        fields = {**(fields or {}), **self.headers}
        bare = self.endpoint.build_request("GET", path, fields)
        missing = self.head_bytes - len(bare) - len("User-Agent: \r\n")
        if missing <= 0:
            return bare
        return self.endpoint.build_request("GET", path, {"User-Agent": "x" * missing, **fields})

    @abstractmethod
    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        """Parse bytes of the connection, split anywhere, and return the events in them.

        Raises `Refused` for an error of the server and `BadResponse` for bytes that break the
        protocol.
        """

    def data_to_send(self, now: float) -> bytes:
        """Return the bytes that are due."""
        return b""

    @abstractmethod
    def receive_eof(self) -> bool:
        """Report the end of the connection; return whether it may end here."""

    @property
    def idle(self) -> bool:
        """Whether no response is awaited, so that a lost connection is not noticed."""
        return False


# --- polls ---------------------------------------------------------------------------------------


def parse_poll(body: bytes, loads: Loads) -> tuple[list[Update], bool]:
    """Return the events of a poll's response, and whether the server has more of them now."""
    with expecting("the response of a poll"):
        answer = loads(body)
        updates = [with_cursor(event) for event in answer["events"]]
        # A reader of the last event has seen everything that the response covers.
        updates.append((None, answer["cursor"]))
        return updates, bool(answer.get("more"))


class PollProtocol(ClientProtocol):
    """Sends the next request `interval` seconds after the last one, or at once if 0.

    `phase`, from 0 to 1, is the part of the interval before the second request: independent
    readers are not synchronised.  No request is sent while a response is awaited, so an interval
    shorter than the round trip is one round trip.  With `new_connection_per_request` each request
    has its own connection, as before HTTP/1.1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        interval: float = 0.0,
        phase: float = 1.0,
        new_connection_per_request: bool = False,
    ) -> None:
        super().__init__(endpoint)
        self.phase = phase
        self.interval = interval
        self.new_connection_per_request = new_connection_per_request
        self.response_head_bytes = 0  # of the last response
        self._response = ResponseReader()
        self._body = bytearray()
        self._fed = 0

    def connect(self, now: float) -> bytes:
        self._response = ResponseReader()
        self._body.clear()
        self._fed = 0
        return super().connect(now)

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        self.send_at = None
        self._body += self._response.feed(data)
        self._fed += len(data)
        if not self._response.complete:
            return ()
        head = self._response.head
        assert head is not None
        self.response_head_bytes = self._fed - len(self._body)
        updates, more = self.parse_response(Response(head, bytes(self._body)))
        due = self.requested_at + self.interval if self.ready else now + self.interval * self.phase
        self.ready = self.ready or self._is_joined()
        self.send_at = now if more else max(now, due)
        return updates

    def data_to_send(self, now: float) -> bytes:
        self.send_at = None
        return self.connect(now)

    def receive_eof(self) -> bool:
        return self.idle

    @property
    def idle(self) -> bool:
        return self._response.complete

    def _is_joined(self) -> bool:
        """Whether the first response said from where this reader continues."""
        return True

    @abstractmethod
    def parse_response(self, response: Response) -> tuple[Sequence[Update], bool]:
        """Return the events of a response, and whether there are more to request at once."""


class RoomPollProtocol(PollProtocol):
    """Reads a room by `long_polling` if `wait` is a number of seconds, else by `short_polling`."""

    def __init__(
        self,
        endpoint: Endpoint,
        query: RoomQuery,
        *,
        wait: float | None = None,
        loads: Loads = json.loads,
        **options: Any,
    ) -> None:
        super().__init__(endpoint, **options)
        self._query = query
        self._wait = wait
        self._loads = loads

    def request(self) -> bytes:
        if self._wait is None:
            return self.get(self._query.path("short_polling", self.cursor))
        # The first request only finds the current cursor; the second waits for its phase.
        wait = self._wait * min(1.0, self.phase + max(self.requests - 2, 0)) if self.ready else 0.0
        return self.get(self._query.path("long_polling", self.cursor, wait=f"{wait:g}"))

    def parse_response(self, response: Response) -> tuple[Sequence[Update], bool]:
        updates, more = parse_poll(response.check(200).body, self._loads)
        self.cursor = updates[-1][1]
        return updates, more


# --- streams over HTTP ---------------------------------------------------------------------------

# Turns the next bytes of a body, split anywhere, into events.
Decoder = Callable[[bytes], Iterable[Update]]
DecoderFactory = Callable[[ResponseHead, Loads], Decoder]


class StreamProtocol(ClientProtocol):
    """Sends one request and reads a streaming response; every response has its own decoder.

    `path` returns the address for a cursor.  A response of another `content_type` is a
    `BadResponse`; None accepts any.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: Callable[[str | None], str],
        decoder: DecoderFactory,
        *,
        content_type: str | None = None,
        headers: Headers | None = None,
        loads: Loads = json.loads,
    ) -> None:
        super().__init__(endpoint, headers)
        self._path = path
        self._new_decoder = decoder
        self._content_type = content_type
        self._loads = loads
        self._response = ResponseReader()
        self._decode: Decoder | None = None
        self._error_body = b""

    def connect(self, now: float) -> bytes:
        self.ready = False
        self._response, self._decode, self._error_body = ResponseReader(), None, b""
        return super().connect(now)

    def request(self) -> bytes:
        return self.get(self._path(self.cursor))

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        body = self._response.feed(data)
        head = self._response.head
        if head is None:
            return ()
        if head.status != 200:
            self._error_body += body
            if self._response.complete:
                Response(head, self._error_body).check()
            return ()
        if self._decode is None:
            self._decode = self._open(head)
        updates = [*self._decode(body)]
        if updates:
            self.cursor = updates[-1][1] or self.cursor
        if self._response.complete:
            self.closed = Closed(None, "the server ended the stream")
        return updates

    def _open(self, head: ResponseHead) -> Decoder:
        content_type = head.fields.get("content-type")
        if self._content_type not in (None, content_type):
            raise BadResponse(f"not {self._content_type}: {content_type}")
        self.ready = True
        return self._new_decoder(head, self._loads)

    def receive_eof(self) -> bool:
        if not self._response.complete:
            self.closed = Closed(None, "the connection ended in the middle of a response")
        return self._response.complete
