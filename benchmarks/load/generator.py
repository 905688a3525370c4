"""The load generator: many readers and open-loop senders on one thread, over epoll.

The generator must not be what is measured.  So it reads every readable socket and notes the time
before it parses anything; parsing waits until no socket is readable.  (The response to a sender,
one for hundreds of deliveries, is parsed at once: otherwise its connection would not be free, and
the sender would open more.)

A message is sent when it is due, whether the server has answered the last one or not.  A generator
that waits for answers does not see a server that stalls ("coordinated omission", G. Tene); this is
the constant-arrival-rate executor of k6.  The generator also reports how late it was itself, and a
result is worth no more than that.
"""

import gc
import heapq
import random
import select
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from benchmarks.load.connections import LoadConnection, QUICLoadConnection, TCPLoadConnection, clock
from realtime.client.http import (
    Endpoint,
    Refused,
    Response,
    ResponseReader,
    encode,
    messages_path,
)
from realtime.client.sansio import ClientProtocol, Event, Update

# Parsing stops after this time to look at the sockets again; one chunk may take longer.
_MAX_PARSE_SECONDS = 0.0003
# After this long without a pause, `run_until` checks `done` and the time.
_BUSY_SECONDS = 1.0
# The delay before another attempt to connect.
_RETRY_SECONDS = 0.05
# Readers that may connect at the same time.
MAX_CONNECTING = 50
# How long all readers together may take to start.
_START_SECONDS = 30.0


class ServerUnresponsive(Exception):
    """The server did not do in time what a measurement needs; the message says what."""


# --- a reader ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event, when its bytes arrived, and when the request was sent that it answers."""

    when: float
    event: Event
    requested_at: float


@dataclass(frozen=True, slots=True)
class TrafficSnapshot:
    """What a reader has cost up to one moment.

    `segments` are those of TCP, or datagrams of UDP, in both directions.
    """

    bytes_up: int
    bytes_down: int
    requests: int
    segments: int


class VirtualReader:
    """A client protocol on a connection, which reconnects when the connection breaks."""

    parse_at_once = False

    def __init__(self, load: "LoadGenerator", protocol: ClientProtocol) -> None:
        self.protocol = protocol
        self.received: list[ReceivedEvent] = []
        self.ids: set[str] = set()
        self.bytes_in = self.bytes_out = 0
        self.broken = 0  # connections that ended unexpectedly
        self.refused = 0  # responses of an overloaded server
        self._segments = 0
        self._load = load
        self._connection: LoadConnection | None = None
        self._closed = False
        self.connect()

    # --- connections -----------------------------------------------------------------------------

    def connect(self) -> None:
        if not self._closed and self._connection is None:
            endpoint, session = self.protocol.endpoint, self.protocol.new_session()
            self._connection = (
                TCPLoadConnection(self._load, self, endpoint)
                if session is None
                else QUICLoadConnection(self._load, self, endpoint, session)
            )

    def reset(self) -> None:
        """Break the connection, by RST or CONNECTION_CLOSE, and reconnect.

        A poller that awaits no response notices nothing, and reconnects for its next request.
        """
        if self._connection is not None:
            self._connection.reset()
            self._disconnect()
        if not self.protocol.idle:
            self.connect()

    def pause_reading(self) -> None:
        """Read nothing more, and keep the connection."""
        if self._connection is not None:
            self._connection.stop_reading()

    def close(self) -> None:
        self._closed = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._segments = self._total_segments()
            self._load.detach(self._connection)
            self._connection = None

    # --- what the loop calls ---------------------------------------------------------------------

    def connected(self, connection: LoadConnection, now: float) -> None:
        self._write(self.protocol.connect(now))

    def data_received(self, connection: LoadConnection, data: bytes, now: float) -> None:
        protocol = self.protocol
        try:
            updates = protocol.receive_data(data, now)
        except Refused as error:
            self.request_refused(error, now)
            return
        if updates:
            self.record(updates, now)
        if protocol.send_at is None:
            return
        if protocol.new_connection_per_request:
            self._disconnect()
        self._load.call_at(protocol.send_at, self.send)

    def record(self, updates: Sequence[Update], now: float) -> None:
        """Keep the events, and when they arrived."""
        requested_at = self.protocol.requested_at
        for event, _ in updates:
            if event is not None:
                self.received.append(ReceivedEvent(now, event, requested_at))
                self.ids.add(event["id"] if "id" in event else event["cursor"])

    def request_refused(self, error: Refused, now: float) -> None:
        """Obey a 503; any other error is a mistake of ours, and ends the measurement."""
        if error.status != 503:
            raise error
        self.refused += 1
        self._disconnect()
        self._load.call_at(now + (error.retry_after or _RETRY_SECONDS), self.connect)

    def connection_lost(self, connection: LoadConnection, now: float) -> None:
        expected = self.protocol.receive_eof()
        self._disconnect()
        if not expected:
            self.broken += 1
            self._load.call_at(now + _RETRY_SECONDS, self.connect)

    def send(self) -> None:
        """Send what the protocol has to send."""
        if self._connection is None:
            self.connect()  # and `connected` sends the request
        elif self._connection.open:
            self._write(self.protocol.data_to_send(clock()))

    def _write(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.write(data)

    # --- counts ----------------------------------------------------------------------------------

    def traffic(self) -> TrafficSnapshot:
        return TrafficSnapshot(
            self.bytes_out, self.bytes_in, self.protocol.requests, self._total_segments()
        )

    def data_segments(self) -> int:
        """In how many segments or datagrams the server sent the data of this connection."""
        return self._connection.data_segments() if self._connection else 0

    def _total_segments(self) -> int:
        return self._segments + (self._connection.segments() if self._connection else 0)


# --- a sender ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """How to publish a message in one system.

    `build` returns the request for an id and a number.  `parse_cursor` returns the cursor in the
    response, and raises for a response that acknowledges nothing.
    """

    endpoint: Endpoint
    build: Callable[[str, int], bytes]  # id, number
    parse_cursor: Callable[[Response, str, int], str]


def filler_text(size: int) -> str:
    """Return a text of so many bytes, letters and spaces only."""
    filling = "the quick brown fox jumps over the lazy dog "
    return (filling * (size // len(filling) + 1))[:size]


def post_message(url: str, room: str, size: int, client: str = "benchmark") -> RequestSpec:
    """Publish texts of `size` bytes in a room of ours by POST."""
    endpoint, text = Endpoint(url), filler_text(size)

    def build(id: str, number: int) -> bytes:
        fields = {"id": id, "client": client, "name": "Ada", "text": text, "via": "post"}
        return endpoint.build_request("POST", messages_path(room), {}, encode(fields))

    def parse_cursor(response: Response, id: str, number: int) -> str:
        cursor: str = response.check(200, 201).json()["cursor"]
        return cursor

    return RequestSpec(endpoint, build, parse_cursor)


class OpenLoopSender:
    """Sends each message when it is due, on as many connections as that takes (wrk2)."""

    parse_at_once = True

    def __init__(self, load: "LoadGenerator", spec: RequestSpec) -> None:
        self.due: dict[str, float] = {}  # id: the intended time
        self.cursors: dict[str, str] = {}  # id: the cursor in its acknowledgement
        self.answered: dict[str, float] = {}  # id: when its response had arrived
        self.refused: list[str] = []  # ids that an overloaded server rejected
        self.late: list[float] = []  # seconds by which the generator itself was late
        self.bytes_in = self.bytes_out = 0
        self._load = load
        self._spec = spec
        self._free: list[LoadConnection] = []
        self._in_flight: dict[LoadConnection, tuple[str, int, ResponseReader, bytearray]] = {}
        self._numbers = count(1)
        self._free.append(self._new_connection())

    def schedule(self, times: Iterable[float]) -> None:
        for when in times:
            # Without the default argument all lambdas would see the last `when`.
            self._load.call_at(when, lambda when=when: self._send(when))  # type: ignore[misc]

    @property
    def all_answered(self) -> bool:
        return not self._in_flight

    def _send(self, when: float) -> None:
        self.late.append(clock() - when)
        id, number = str(uuid.uuid4()), next(self._numbers)
        self.due[id] = when
        connection = self._free.pop() if self._free else self._new_connection()
        self._in_flight[connection] = id, number, ResponseReader(), bytearray()
        request = self._spec.build(id, number)
        connection.write(request)

    def _new_connection(self) -> LoadConnection:
        return TCPLoadConnection(self._load, self, self._spec.endpoint)

    def connected(self, connection: LoadConnection, now: float) -> None:
        pass  # the connection has queued the request already

    def data_received(self, connection: LoadConnection, data: bytes, now: float) -> None:
        id, number, reader, body = self._in_flight[connection]
        body += reader.feed(data)
        if not reader.complete:
            return
        assert reader.head is not None
        del self._in_flight[connection]
        self._free.append(connection)
        response = Response(reader.head, bytes(body))
        try:
            self.cursors[id] = self._spec.parse_cursor(response, id, number)
            self.answered[id] = now
        except Refused as error:
            if error.status != 503:  # a mistake of ours: a wrong room, a rate limit
                raise
            self.refused.append(id)

    def connection_lost(self, connection: LoadConnection, now: float) -> None:
        self._load.detach(connection)
        if connection in self._free:
            self._free.remove(connection)
        else:
            # Without an acknowledgement nobody needs to receive it; `unacknowledged` counts it.
            self._in_flight.pop(connection, None)


# --- the loop ------------------------------------------------------------------------------------


class LoadGenerator:
    """The event loop; a context manager that closes every connection at its end."""

    def __init__(self) -> None:
        self.readers: list[VirtualReader] = []
        self.max_poll_gap = 0.0  # the longest time between two looks at the sockets, in seconds
        # The longest time that a timer, or bytes for their parser, waited for this loop.
        self.max_lag = 0.0
        self._polled = clock()
        self._epoll = select.epoll()
        self._open: set[LoadConnection] = set()
        self._watched: dict[int, LoadConnection] = {}  # by file descriptor
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._unparsed: deque[tuple[LoadConnection, bytes, float]] = deque()

    def __enter__(self) -> "LoadGenerator":
        return self

    def __exit__(self, *error: object) -> None:
        for connection in list(self._open):
            self.detach(connection)
        self._epoll.close()

    # --- readers and senders ---------------------------------------------------------------------

    def add_readers(self, protocols: Iterable[ClientProtocol]) -> list[VirtualReader]:
        """Connect readers, and return when all are ready."""
        added: list[VirtualReader] = []
        waiting: list[VirtualReader] = []

        def at_most(limit: int) -> bool:
            waiting[:] = [reader for reader in waiting if not reader.protocol.ready]
            return len(waiting) <= limit

        for protocol in protocols:
            added.append(VirtualReader(self, protocol))
            waiting.append(added[-1])
            # Not all at once: the accept queue of a server is bounded.  What does not fit is
            # dropped without an error, and TCP tries again after one second, three seconds, …
            if len(waiting) > MAX_CONNECTING and not self.run_until(
                lambda: at_most(MAX_CONNECTING), _START_SECONDS
            ):
                break
        self.readers += added
        if len(waiting) > MAX_CONNECTING or not self.run_until(lambda: at_most(0), _START_SECONDS):
            raise ServerUnresponsive(f"{len(waiting)} of {len(added)} readers could not start")
        return added

    def open_loop_sender(self, spec: RequestSpec) -> OpenLoopSender:
        return OpenLoopSender(self, spec)

    # --- the loop --------------------------------------------------------------------------------

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), call))

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Run until `done()`, which is called when nothing waits, or until the time is up.

        With too many pollers something always waits.  Then it is called once a second, and the time
        may be up a second late.
        """
        self._polled = clock()
        deadline, ask_at = self._polled + seconds, self._polled + _BUSY_SECONDS
        while True:
            self._fire_timers()
            now = clock()
            if self._poll():
                pass
            elif self._unparsed:
                self._parse()
            elif done():
                return True
            elif now >= deadline:
                return False
            else:
                self._sleep(deadline)
                self._polled = clock()
                ask_at = self._polled + _BUSY_SECONDS
            if now >= ask_at:
                self._catch_up()
                if done():
                    return True
                if now >= deadline:
                    return False
                ask_at = clock() + _BUSY_SECONDS

    def run_for(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= (now := clock()):
            when, _, call = heapq.heappop(self._timers)
            self.max_lag = max(self.max_lag, now - when)
            call()

    def _poll(self) -> bool:
        """Read the sockets that are readable now; return whether any was."""
        now = clock()
        self.max_poll_gap = max(self.max_poll_gap, now - self._polled)
        ready = self._epoll.poll(0)
        self._polled = clock()
        self._read(ready)
        return bool(ready)

    def _catch_up(self) -> None:
        """Parse all that was read before, and go on reading and sending meanwhile."""
        left = len(self._unparsed)
        while left > 0:
            left -= self._parse()
            self._fire_timers()
            self._poll()

    def _sleep(self, deadline: float) -> None:
        until = min(deadline, self._timers[0][0]) if self._timers else deadline
        # epoll_wait counts in milliseconds, rounded up; select on the epoll itself in microseconds.
        select.select([self._epoll], [], [], max(0.0, until - clock()))

    def _read(self, ready: list[tuple[int, int]]) -> None:
        for fd, flags in ready:
            connection = self._watched.get(fd)
            if connection is None:
                continue
            if not connection.open and (flags & select.EPOLLOUT or connection.connected):
                self._connected(connection)
                continue
            if flags & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                # A TLS record is never larger, so OpenSSL keeps nothing that epoll does not see.
                data = connection.read()
                if data is None:
                    continue
                if not data:
                    self.ignore(connection)
                if connection.owner.parse_at_once:
                    self._dispatch(connection, data, clock())
                else:
                    self._unparsed.append((connection, data, clock()))
            if flags & select.EPOLLOUT and connection.open:
                connection.write(b"")

    def _connected(self, connection: LoadConnection) -> None:
        if connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.connect_failed(connection)
            return
        connection.connected = True
        try:
            secured = connection.secure()
        except OSError:  # the server has closed, or its certificate is not trusted
            self.connect_failed(connection)
            return
        if secured:
            connection.opened()

    def _parse(self) -> int:
        """Parse some of the chunks that were read, in their order; return how many."""
        parsed, now = 0, clock()
        until = now + _MAX_PARSE_SECONDS
        while self._unparsed and now < until:
            connection, data, when = self._unparsed.popleft()
            self.max_lag = max(self.max_lag, now - when)
            self._dispatch(connection, data, when)
            parsed += 1
            now = clock()
        return parsed

    def _dispatch(self, connection: LoadConnection, data: bytes, when: float) -> None:
        if self.is_attached(connection):  # and not reset meanwhile
            connection.deliver(data, when)

    # --- what a connection calls -----------------------------------------------------------------

    def attach(self, connection: LoadConnection) -> None:
        self._open.add(connection)
        self._watched[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def is_attached(self, connection: LoadConnection) -> bool:
        return connection in self._open

    def watch(self, connection: LoadConnection, *, writing: bool) -> None:
        if connection.socket.fileno() in self._watched:
            events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
            self._epoll.modify(connection.socket, events)

    def ignore(self, connection: LoadConnection) -> None:
        """Stop watching a connection that has ended, or that is not read."""
        if self._watched.pop(connection.socket.fileno(), None):
            self._epoll.unregister(connection.socket)

    def connect_failed(self, connection: LoadConnection) -> None:
        self.ignore(connection)
        self._unparsed.append((connection, b"", clock()))

    def detach(self, connection: LoadConnection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self.ignore(connection)
            connection.close()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause Python's garbage collector, which would stop the generator during a measurement."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


# --- schedules -----------------------------------------------------------------------------------


def constant_arrivals(start: float, rate: float, messages: int, rng: random.Random) -> list[float]:
    """Return one time every 1/`rate` seconds; the phase is random, and differs in every run."""
    phase = rng.random() / rate
    return [start + phase + number / rate for number in range(messages)]


def poisson_arrivals(start: float, rate: float, messages: int, rng: random.Random) -> list[float]:
    """Return the times of a Poisson process, as of independent people, computed in advance."""
    times: list[float] = []
    when = start
    for _ in range(messages):
        when += rng.expovariate(rate)
        times.append(when)
    return times
