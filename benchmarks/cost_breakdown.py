"""Where each microsecond goes: the steps of a poll, of a delivery and of a message, one by one.

Every step is the server's own code on its own objects, in this process, with nothing else going on;
`whole` is a server process seen from outside.  What the steps do not explain is the event loop,
Tornado's stream, and caches that are cold when a thousand others were served meanwhile.
"""

import argparse
import asyncio
import multiprocessing
import random
import select
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from benchmarks.clients.http import Server, encode, messages_path
from benchmarks.load.generator import undisturbed
from benchmarks.method.options import positive_int
from benchmarks.method.runner import Benchmark, main
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.brokers.memory import MemoryBroker
from realtime.core.broadcaster import Broadcaster, Framing
from realtime.core.events import Cursor, Draft, Event
from realtime.core.hub import Hub
from realtime.core.rate_limit import RateLimiter
from realtime.core.room import History, Room
from realtime.limits import Limits
from realtime.protocol.http1 import parse_fast_path
from realtime.protocol.origin import OriginPolicy
from realtime.protocol.websocket_frames import PING
from realtime.server.connection import Router
from realtime.server.stream import READ_BYTES, MeteredStream
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.transports.exchange import JSON
from realtime.transports.short_polling import ShortPolling
from realtime.transports.streaming import StreamSubscriber
from realtime.transports.websocket import frame

LIMITS = Limits(messages_per_second=0)
ROOM = "lobby"
WHOLE = "whole"
POLL = {
    "kernel": "recv and send",
    "head": "the request taken apart",
    "origin_fields": "the door and the books",
    "question": "the question",
    "room": "the room's answer",
    "answer": "the head of the answer",
    "loop": "recv by way of the event loop, and send",
    WHOLE: "a server, from outside",
}
DELIVERY = {
    "kernel": "send",
    "push": "send, and counted",
    "audience": "send, counted, by the audience",
}
MESSAGE = {
    "draft": "the draft, from JSON",
    "event": "its JSON, and the event",
    WHOLE: "a server, from outside",
}
STEPS = {"poll": POLL, "delivery": DELIVERY, "message": MESSAGE}
# Between two flushes, as at 40 messages a second: what was in the processor's caches has left them.
_PAUSE_SECONDS = 0.025
_SENTENCE = "the quick brown fox jumps over the lazy dog " * 3


class CostBreakdown(Benchmark):
    name = "layers"
    question = "Where does each microsecond of a poll, a delivery and a message go?"
    examples = """\
  python -m benchmarks.cost_breakdown --quick
  python -m benchmarks.cost_breakdown --followers 1000 --rounds 50

A delivery's steps include each other; a poll's and a message's stand beside each other."""
    factors = ("path", "step")
    measures: ClassVar = {"cpu_us": Measure("µs", "of CPU, each time")}
    quick: ClassVar = {"times": 500, "rounds": 5, "followers": 100, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--times", type=positive_int, default=5000, help="of each step (%(default)s)"
        )
        parser.add_argument(
            "--followers", type=positive_int, default=500, help="of a delivery (%(default)s)"
        )
        parser.add_argument(
            "--rounds", type=positive_int, default=40, help="of deliveries (%(default)s)"
        )

    def cells(self) -> list[Factors]:
        return [{"path": path, "step": step} for path, steps in STEPS.items() for step in steps]

    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        path, step = factors["path"], factors["step"]
        with undisturbed():
            if step == WHOLE:
                used = self._whole(path)
            elif path == "delivery":
                used = asyncio.run(_deliver(step, self.options.followers, self.options.rounds))
            else:
                used = asyncio.run(_repeat(f"{path}_{step}", self.options.times))
        return Sample({"cpu_us": 1e6 * used})

    def _whole(self, path: str) -> float:
        """Seconds of a server's CPU for one request, asked and answered in turn."""
        server = Server(self.stand.url)
        ask = _poll(server) if path == "poll" else _message(server)
        with socket.create_connection((server.host, server.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(100):  # what is loaded late is loaded now
                _exchange(connection, ask)
            used: float = -self.stand.cost.cpu_seconds()
            for _ in range(self.options.times):
                _exchange(connection, ask)
            used += self.stand.cost.cpu_seconds()
            return float(used / self.options.times)


def _exchange(connection: socket.socket, ask: bytes) -> None:
    connection.sendall(ask)
    answer = connection.recv(READ_BYTES)
    assert answer.startswith(b"HTTP/1.1 20"), answer[:100]


def _poll(server: Server) -> bytes:
    # After `now` there is nothing, whatever was said before.
    return server.request("GET", f"/rooms/{ROOM}/short_polling?after=now", {})


def _message(server: Server) -> bytes:
    return server.request("POST", messages_path(ROOM), {}, _body())


def _body() -> bytes:
    return encode({"client": "benchmark", "name": "Ada", "text": _SENTENCE[:100], "via": "post"})


# --- a poll and a message ------------------------------------------------------------------------


async def _repeat(step: str, times: int) -> float:
    """Seconds that a step takes, on average."""
    async with _House() as house:
        run: Callable[[], Awaitable[float]] = getattr(house, step)
        await run()
        used = 0.0
        for _ in range(times):
            used += await run()
        return used / times


class _House:
    """What a server is made of; each method runs a step once and says for how many seconds."""

    async def __aenter__(self) -> "_House":
        broker = MemoryBroker(LIMITS)
        self._hub = Hub(broker, LIMITS)
        await self._hub.start()
        house = Services(self._hub, None, OriginPolicy([]), RateLimiter(0, 1), LIMITS)  # type: ignore[arg-type]
        self._house = house
        self._ours, self._theirs = socket.socketpair()
        self._stream = MeteredStream(self._ours, "here", TrafficStats())
        self._site = Router(house, {"short_polling": ShortPolling}, None)  # type: ignore[arg-type]
        self._data = _poll(Server("http://127.0.0.1:8000"))
        self._exchange = self._new_exchange()
        self._answer = (await self._hub.read(ROOM, 0)).poll()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stream.close()
        self._theirs.close()
        await self._hub.close()

    def _new_exchange(self) -> ShortPolling:
        head = parse_fast_path(self._data)
        assert head is not None
        request = head.request(self._data)
        return ShortPolling(self._house, self._stream, request, ROOM, lambda call: None)

    async def poll_kernel(self) -> float:
        self._theirs.send(self._data)
        begin = time.perf_counter()
        data = self._ours.recv(READ_BYTES)
        self._ours.send(data)
        used = time.perf_counter() - begin
        self._theirs.recv(READ_BYTES)
        return used

    async def poll_loop(self) -> float:
        reading = asyncio.ensure_future(self._stream.read_piece())
        await asyncio.sleep(0)
        self._theirs.send(self._data)
        begin = time.perf_counter()
        self._stream.push(await reading, 0)
        used = time.perf_counter() - begin
        self._theirs.recv(READ_BYTES)
        return used

    async def poll_head(self) -> float:
        begin = time.perf_counter()
        self._site.find("/rooms/lobby/short_polling?after=now")
        self._new_exchange()
        return time.perf_counter() - begin

    async def poll_door(self) -> float:
        exchange = self._new_exchange()
        begin = time.perf_counter()
        exchange.prepare()
        self._stream.end_request()
        return time.perf_counter() - begin

    async def poll_question(self) -> float:
        begin = time.perf_counter()
        self._exchange.parse_subscription(ROOM)
        return time.perf_counter() - begin

    async def poll_room(self) -> float:
        begin = time.perf_counter()
        (await self._hub.read(ROOM, 0)).poll()
        return time.perf_counter() - begin

    async def poll_answer(self) -> float:
        begin = time.perf_counter()
        self._answer.with_head(self._exchange.head(200, JSON, length=len(self._answer.body)))
        return time.perf_counter() - begin

    async def message_draft(self) -> float:
        body = _body()
        begin = time.perf_counter()
        Draft.parse(body, ROOM, LIMITS, "post")
        return time.perf_counter() - begin

    async def message_event(self) -> float:
        draft = Draft.parse(_body(), ROOM, LIMITS, "post")
        begin = time.perf_counter()
        Event.numbered("say", Cursor("epoch", 1), draft.json_tail + b"}")
        return time.perf_counter() - begin


# --- a delivery ----------------------------------------------------------------------------------


async def _deliver(step: str, followers: int, rounds: int) -> float:
    """Seconds of this process for one delivery, of so many to as many sockets as it takes."""
    with _crowd(followers) as sockets:
        told = await _teller(step, sockets)
        told(0)
        used = 0.0
        for number in range(1, rounds + 1):
            await asyncio.sleep(_PAUSE_SECONDS)
            begin = time.process_time()
            told(number)
            used += time.process_time() - begin
        return used / rounds / followers


async def _teller(step: str, sockets: list[socket.socket]) -> Callable[[int], object]:
    """Give what tells everybody message `number`."""
    said = Draft.parse(_body(), ROOM, LIMITS, "post").json_tail + b"}"

    def event(number: int) -> Event:
        return Event.numbered("say", Cursor("epoch", number), said)

    if step == "kernel":
        data = frame(event(1))
        return lambda number: [one.send(data) for one in sockets]
    streams = [MeteredStream(one, "here", TrafficStats()) for one in sockets]
    if step == "push":
        data = frame(event(1))
        return lambda number: [stream.push(data, 1) for stream in streams]
    return await _audience(streams, event)


async def _audience(
    streams: list[MeteredStream], event: Callable[[int], Event]
) -> Callable[[int], object]:
    room = Room(LIMITS.history_events)
    room.merge(History("epoch", 0, 1, []))
    audience = Broadcaster(room, LIMITS)
    framing = Framing(frame, bytes, PING)
    for stream in streams:
        follower = StreamSubscriber(stream, framing, lambda error: None)
        follower.attach(audience)
        audience.join(follower, room.cursor)
    await asyncio.sleep(_PAUSE_SECONDS)

    def tell(number: int) -> None:
        room.append(event(number + 1))
        for _ in audience.steps():
            pass

    return tell


@contextmanager
def _crowd(count: int) -> Iterator[list[socket.socket]]:
    """As many connections, whose other ends are read and forgotten by another process."""
    with ExitStack() as stack:
        origin_fields = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        process = multiprocessing.get_context("spawn").Process(
            target=_drain, args=(origin_fields.getsockname(), count), daemon=True
        )
        process.start()
        stack.callback(process.join)
        stack.callback(process.terminate)
        sockets = [origin_fields.accept()[0] for _ in range(count)]
        for one in sockets:
            stack.enter_context(one)
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sockets


def _drain(address: Any, count: int) -> None:
    ends = {end.fileno(): end for end in (socket.create_connection(address) for _ in range(count))}
    epoll = select.epoll()
    for number in ends:
        epoll.register(number, select.EPOLLIN)
    while True:
        for number, _ in epoll.poll():
            if not ends[number].recv(READ_BYTES):
                return


if __name__ == "__main__":
    sys.exit(main(CostBreakdown))
