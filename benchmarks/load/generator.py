"""The load generator: many readers and an open loop of speakers on one thread, over epoll.

It must not be what is measured.  So a socket that is readable is read and its time noted before
anything is understood; understanding waits until no socket has anything more to read.  (But what a
speaker is answered, of which there is one for hundreds of deliveries, is understood at once: else
its connection would not be free, and it would open more.)  What is to
be said is said when it was due, whether the server has answered the last or not: who waits for
answers before speaking again does not see a server that stalls ("coordinated omission", G. Tene).
All the same the generator says how late it was itself, and a result is worth no more than that.
"""

import errno
import gc
import heapq
import random
import select
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from benchmarks.clients.http import Refused, Response, ResponseReader, Server, encode, messages_path
from benchmarks.clients.protocols import Listener

clock = time.perf_counter

READ_BYTES = 65_536
# What is understood between two looks at the sockets: so long it is deaf, or for one answer longer.
_DEAF_SECONDS = 0.0003
# Seconds until another try where nobody listens.
_RETRY_SECONDS = 0.05
# Readers that may be on their way in at once.
_AT_THE_DOOR = 50
# Seconds that all readers together get to begin, and an answer to a POST to come.
_PATIENCE_SECONDS = 30.0


class Silent(Exception):
    """The server did not do in time what a measurement needs; the message says what."""


# --- connections ---------------------------------------------------------------------------------


class _Line:
    """One TCP connection of somebody, that never blocks."""

    def __init__(self, crowd: "Crowd", server: Server, owner: "_Owner") -> None:
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owner = owner
        self.open = False
        self._unsent = b""
        self._crowd = crowd
        crowd.attach(self)
        failure = self.socket.connect_ex((server.host, server.port))
        if failure not in (0, errno.EINPROGRESS):
            crowd.lose(self)

    def write(self, data: bytes) -> None:
        """Send as much as goes, and the rest when it goes."""
        self._unsent += data
        if not self.open:
            return
        try:
            sent = self.socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the end of the connection is read
        self._unsent = self._unsent[sent:]
        self._crowd.watch(self, writing=bool(self._unsent))

    def opened(self) -> None:
        self.open = True
        self.write(b"")

    def segments(self) -> int:
        """TCP segments both ways, acknowledgements among them (Linux, struct tcp_info)."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
        out, into = struct.unpack_from("II", info, 136)
        return int(out) + int(into)

    def pieces(self) -> int:
        """TCP segments that brought data: on loopback, one for each write up to 64 KiB."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 156)
        return int(struct.unpack_from("I", info, 152)[0])


class _Owner(Protocol):
    """Whoever has a line: hears that it stands, what comes, and that it ended.

    What comes for somebody `prompt` is understood at once, before others are read.
    """

    prompt: bool

    def connected(self, line: _Line, when: float) -> None: ...
    def came(self, line: _Line, data: bytes, when: float) -> None: ...
    def ended(self, line: _Line, when: float) -> None: ...


# --- a reader ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """What a reader has cost up to some moment; segments of TCP both ways."""

    bytes_up: int
    bytes_down: int
    requests: int
    segments: int


class Reader:
    """A listener on a line, which it finds again when the line breaks."""

    prompt = False

    def __init__(self, crowd: "Crowd", listener: Listener) -> None:
        self.listener = listener
        self.bytes_in = self.bytes_out = 0
        self.broken = 0  # connections that ended out of turn
        self.refused = 0  # answers of a server that is overloaded
        self._segments = 0
        self._crowd = crowd
        self._line: _Line | None = None
        self._left = False
        self.connect()

    def connect(self) -> None:
        if not self._left and self._line is None:
            self._line = _Line(self._crowd, self.listener.server, self)

    def count(self) -> Count:
        return Count(self.bytes_out, self.bytes_in, self.listener.requests, self._all_segments())

    def pieces(self) -> int:
        """In how many pieces the server sent what came on this connection."""
        return self._line.pieces() if self._line else 0

    def _all_segments(self) -> int:
        return self._segments + (self._line.segments() if self._line else 0)

    def cut(self) -> None:
        """Break the connection with RST, as a network that is gone does, and come again.

        A poller that waits for nothing does not notice, and comes when its next question is due.
        """
        if self._line is not None:
            self._line.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self._hang_up()
        if not self.listener.idle:
            self.connect()

    def stop_reading(self) -> None:
        """Read nothing more, and keep the connection."""
        if self._line is not None:
            self._crowd.ignore(self._line)

    def leave(self) -> None:
        self._left = True
        self._hang_up()

    def connected(self, line: _Line, when: float) -> None:
        self._write(self.listener.begin(when))

    def came(self, line: _Line, data: bytes, when: float) -> None:
        if line is not self._line:  # of a line that was cut meanwhile
            return
        self.bytes_in += len(data)
        try:
            due = self.listener.take(data, when)
        except Refused as error:
            self._come_later(error, when)
            return
        if due is None:
            return
        if self.listener.fresh:
            self._hang_up()
        self._crowd.at(due, self.speak)

    def _come_later(self, error: Refused, when: float) -> None:
        """Do as a 503 says; any other refusal is ours to mend, and ends the measurement."""
        if error.status != 503:
            raise error
        self.refused += 1
        self._hang_up()
        self._crowd.at(when + (error.retry_after or _RETRY_SECONDS), self.connect)

    def ended(self, line: _Line, when: float) -> None:
        if line is not self._line:
            return
        orderly = self.listener.end()
        self._hang_up()
        if not orderly:
            self.broken += 1
            self._crowd.at(when + _RETRY_SECONDS, self.connect)

    def speak(self) -> None:
        """Let the listener say what it has to say."""
        if self._line is None:
            self.connect()  # and `connected` asks
        elif self._line.open:
            self._write(self.listener.speak(clock()))

    def _write(self, data: bytes) -> None:
        assert self._line is not None
        self.bytes_out += len(data)
        self._line.write(data)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._segments = self._all_segments()
            self._crowd.detach(self._line)
            self._line = None


# --- a speaker -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """How a system is told something: the request that says it, and what its answer proves.

    `receipt` gives the cursor, and raises for an answer that is no receipt.
    """

    server: Server
    request: Callable[[str, int], bytes]  # id, number
    receipt: Callable[[Response, str, int], str]


def text_of(size: int) -> str:
    """A text of so many bytes, all of them letters and spaces."""
    filling = "the quick brown fox jumps over the lazy dog "
    return (filling * (size // len(filling) + 1))[:size]


def our_words(url: str, room: str, size: int, client: str = "benchmark") -> Words:
    """Say texts of `size` bytes by POST."""
    server, text = Server(url), text_of(size)

    def request(id: str, number: int) -> bytes:
        fields = {"id": id, "client": client, "name": "Ada", "text": text, "via": "post"}
        return server.request("POST", messages_path(room), {}, encode(fields))

    def receipt(response: Response, id: str, number: int) -> str:
        cursor: str = response.check(200, 201).json()["cursor"]
        return cursor

    return Words(server, request, receipt)


class Speaker:
    """Says things when they are due, on as many connections as it takes to wait for nobody."""

    prompt = True

    def __init__(self, crowd: "Crowd", words: Words) -> None:
        self.due: dict[str, float] = {}  # id: when it was to be said
        self.cursors: dict[str, str] = {}  # id: where it was put, once acknowledged
        self.answered: dict[str, float] = {}  # id: when its answer had come
        self.refused: list[str] = []  # ids to which a server that is overloaded said no
        self.late: list[float] = []  # seconds by which we ourselves were late
        self.bytes_in = self.bytes_out = 0
        self._crowd = crowd
        self._words = words
        self._free: list[_Line] = []
        self._busy: dict[_Line, tuple[str, int, ResponseReader, bytearray]] = {}
        self._numbers = count(1)
        self._free.append(_Line(crowd, words.server, self))

    def plan(self, times: Iterable[float]) -> None:
        for when in times:
            # Lambdas would all see the last `when`.
            self._crowd.at(when, lambda when=when: self._say(when))  # type: ignore[misc]

    @property
    def quiet(self) -> bool:
        """Has all that was said been acknowledged?"""
        return not self._busy

    def _say(self, when: float) -> None:
        self.late.append(clock() - when)
        id, number = str(uuid.uuid4()), next(self._numbers)
        self.due[id] = when
        line = self._free.pop() if self._free else _Line(self._crowd, self._words.server, self)
        self._busy[line] = id, number, ResponseReader(), bytearray()
        request = self._words.request(id, number)
        self.bytes_out += len(request)
        line.write(request)

    def connected(self, line: _Line, when: float) -> None:
        pass  # what is to be said waits on the line already

    def came(self, line: _Line, data: bytes, when: float) -> None:
        self.bytes_in += len(data)
        id, number, reader, body = self._busy[line]
        body += reader.feed(data)
        if not reader.complete:
            return
        assert reader.head is not None
        del self._busy[line]
        self._free.append(line)
        try:
            self.cursors[id] = self._words.receipt(Response(reader.head, bytes(body)), id, number)
            self.answered[id] = when
        except Refused as error:
            if error.status != 503:  # ours to mend: a wrong room, a rate that is not allowed
                raise
            self.refused.append(id)

    def ended(self, line: _Line, when: float) -> None:
        self._crowd.detach(line)
        if line in self._free:
            self._free.remove(line)
        else:
            # Not acknowledged, so nobody needs to have heard it; the count shows it.
            self._busy.pop(line, None)


# --- all of them ---------------------------------------------------------------------------------


class Crowd:
    """The loop; a context manager that hangs up at its end."""

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.deaf = 0.0  # the longest time for which it did not look at its sockets, in seconds
        self._epoll = select.epoll()
        self._open: set[_Line] = set()
        self._lines: dict[int, _Line] = {}  # those that are looked at, by file descriptor
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._unread: list[tuple[_Line, bytes, float]] = []
        self._understood = 0

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *error: object) -> None:
        for line in list(self._open):
            self.detach(line)
        self._epoll.close()

    # --- who is here -----------------------------------------------------------------------------

    def listen(self, listeners: Iterable[Listener]) -> list[Reader]:
        """Bring readers in, and return when all are ready."""
        come: list[Reader] = []
        waiting: list[Reader] = []

        def few(most: int) -> bool:
            waiting[:] = [reader for reader in waiting if not reader.listener.ready]
            return len(waiting) <= most

        for listener in listeners:
            come.append(Reader(self, listener))
            waiting.append(come[-1])
            # Not all at once: the queue of an accepting server has its bounds, and what does not
            # fit is dropped without a word, and tried again by TCP after a second, and three …
            if len(waiting) > _AT_THE_DOOR and not self.run(
                lambda: few(_AT_THE_DOOR), _PATIENCE_SECONDS
            ):
                break
        self.readers += come
        if len(waiting) > _AT_THE_DOOR or not self.run(lambda: few(0), _PATIENCE_SECONDS):
            raise Silent(f"{len(waiting)} of {len(come)} readers could not begin to read")
        return come

    def speaker(self, words: Words) -> Speaker:
        return Speaker(self, words)

    # --- the loop --------------------------------------------------------------------------------

    def at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), call))

    def run(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let everything happen until `done()`, which is asked in quiet moments, or time is up."""
        deadline = clock() + seconds
        looked = clock()
        while True:
            self._fire()
            now = clock()
            self.deaf = max(self.deaf, now - looked)
            ready = self._epoll.poll(0)
            looked = clock()
            if ready:
                self._read(ready)
            elif self._understood < len(self._unread):
                self._understand()
            elif done():
                return True
            elif now >= deadline:
                return False
            else:
                self._wait(deadline)
                looked = clock()

    def wait(self, seconds: float) -> None:
        self.run(lambda: False, seconds)

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= clock():
            heapq.heappop(self._timers)[2]()

    def _wait(self, deadline: float) -> None:
        until = min(deadline, self._timers[0][0]) if self._timers else deadline
        # epoll_wait counts in milliseconds, rounded up; select on the epoll itself in microseconds.
        select.select([self._epoll], [], [], max(0.0, until - clock()))

    def _read(self, ready: list[tuple[int, int]]) -> None:
        for fd, flags in ready:
            line = self._lines.get(fd)
            if line is None:
                continue
            if not line.open and flags & select.EPOLLOUT:
                self._opened(line)
                continue
            if flags & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                try:
                    data = line.socket.recv(READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    self.ignore(line)
                if line.owner.prompt:
                    self._hand_on(line, data, clock())
                else:
                    self._unread.append((line, data, clock()))
            if flags & select.EPOLLOUT and line.open:
                line.write(b"")

    def _opened(self, line: _Line) -> None:
        if line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.lose(line)
        else:
            line.opened()
            line.owner.connected(line, clock())

    def _understand(self) -> None:
        """Take a few of those that were read, in their order."""
        until = clock() + _DEAF_SECONDS
        while self._understood < len(self._unread) and clock() < until:
            line, data, when = self._unread[self._understood]
            self._understood += 1
            self._hand_on(line, data, when)
        if self._understood == len(self._unread):
            self._unread.clear()
            self._understood = 0

    def _hand_on(self, line: _Line, data: bytes, when: float) -> None:
        if data:
            line.owner.came(line, data, when)
        else:
            line.owner.ended(line, when)

    # --- what a line tells -----------------------------------------------------------------------

    def attach(self, line: _Line) -> None:
        self._open.add(line)
        self._lines[line.socket.fileno()] = line
        self._epoll.register(line.socket, select.EPOLLIN | select.EPOLLOUT)

    def watch(self, line: _Line, *, writing: bool) -> None:
        if line.socket.fileno() in self._lines:
            events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
            self._epoll.modify(line.socket, events)

    def ignore(self, line: _Line) -> None:
        """Look no more at a line that has ended, or that nobody reads."""
        if self._lines.pop(line.socket.fileno(), None):
            self._epoll.unregister(line.socket)

    def lose(self, line: _Line) -> None:
        """Say that a connection could not be made."""
        self.ignore(line)
        self._unread.append((line, b"", clock()))

    def detach(self, line: _Line) -> None:
        if line in self._open:
            self._open.remove(line)
            self.ignore(line)
            line.socket.close()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector from stopping the generator while something is measured."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


# --- schedules -----------------------------------------------------------------------------------


def evenly(start: float, rate: float, messages: int, chance: random.Random) -> list[float]:
    """Every 1/`rate` seconds; the phase is random, and another in every run."""
    phase = chance.random() / rate
    return [start + phase + number / rate for number in range(messages)]


def at_random(start: float, rate: float, messages: int, chance: random.Random) -> list[float]:
    """As people do who know nothing of each other: a Poisson process, fixed in advance."""
    times: list[float] = []
    when = start
    for _ in range(messages):
        when += chance.expovariate(rate)
        times.append(when)
    return times
