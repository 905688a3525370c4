"""Where each microsecond goes: the steps of a poll, of a delivery and of a message, one by one.

Each step runs the server's own code on its own objects, in this process, while nothing else runs.
`end_to_end` is the CPU of a real server process, measured from outside.  The steps add up to less:
the rest is the event loop, Tornado's stream, and CPU caches that are cold after other clients.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar

from benchmarks.load.generator import gc_paused
from benchmarks.method.options import positive_int
from benchmarks.method.runner import Benchmark, run
from benchmarks.method.samples import Factors, Measure, Sample
from realtime.brokers.memory import MemoryBroker
from realtime.cli import stdio
from realtime.client.http import Endpoint, encode, messages_path
from realtime.core.admission import Admission
from realtime.core.broadcaster import Broadcaster, Framing
from realtime.core.events import Cursor, Draft, Event
from realtime.core.hub import Hub
from realtime.core.room import History, Room
from realtime.limits import Limits
from realtime.protocol.http1 import parse_fast_path
from realtime.protocol.origin import OriginPolicy
from realtime.protocol.repeated_head import RepeatedHead
from realtime.protocol.websocket_frames import PING
from realtime.server.connection import Router
from realtime.server.stream import READ_BYTES, MeteredStream
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.transports.exchange import JSON
from realtime.transports.polling import PollResponse
from realtime.transports.short_polling import ShortPolling
from realtime.transports.streaming import StreamSubscriber
from realtime.transports.websocket import frame

LIMITS = Limits(messages_per_second=0)
ROOM = "lobby"
END_TO_END = "end_to_end"
POLL = {
    "kernel": "recv and send",
    "parse": "parse the first request",
    "match": "compare a repeated request with it",
    "origin_check": "check the origin, count the traffic",
    "subscription": "parse the query of the first request",
    "room": "read the room",
    "response_header": "build the response header",
    "serve_again": "serve a repeated request: check, count, read, respond and send",
    "event_loop": "recv through the event loop, and send",
    END_TO_END: "a server process, from outside",
}
DELIVERY = {
    "kernel": "send",
    "push": "send, with counting",
    "broadcaster": "send, with counting, by the broadcaster",
}
MESSAGE = {
    "draft": "parse the draft from JSON",
    "event": "create the event and its JSON",
    END_TO_END: "a server process, from outside",
}
STEPS = {"poll": POLL, "delivery": DELIVERY, "message": MESSAGE}
# The pause between two flushes at 40 messages a second: meanwhile the CPU caches are overwritten.
_PAUSE_SECONDS = 0.025
_SENTENCE = "the quick brown fox jumps over the lazy dog " * 3


class CostBreakdown(Benchmark):
    name = "cost_breakdown"
    question = "Where does each microsecond of a poll, a delivery and a message go?"
    examples = """\
  python -m benchmarks.cost_breakdown --quick
  python -m benchmarks.cost_breakdown --followers 1000 --rounds 50

Each step of a delivery includes the step before; those of a poll and of a message do not."""
    factors = ("path", "step")
    measures: ClassVar = {"cpu_us": Measure("µs", "of CPU, each time")}
    quick: ClassVar = {"times": 500, "rounds": 5, "followers": 100, "runs": 1}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--times",
            type=positive_int,
            default=5000,
            help="repetitions of each step (%(default)s)",
        )
        parser.add_argument(
            "--followers",
            type=positive_int,
            default=500,
            help="sockets that a delivery writes to (%(default)s)",
        )
        parser.add_argument(
            "--rounds",
            type=positive_int,
            default=40,
            help="deliveries to all followers (%(default)s)",
        )

    def cells(self) -> list[Factors]:
        return [{"path": path, "step": step} for path, steps in STEPS.items() for step in steps]

    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        path, step = factors["path"], factors["step"]
        with gc_paused():
            if step == END_TO_END:
                used = self._end_to_end(path)
            elif path == "delivery":
                used = asyncio.run(_deliver(step, self.options.followers, self.options.rounds))
            else:
                used = asyncio.run(_repeat(f"{path}_{step}", self.options.times))
        return Sample({"cpu_us": 1e6 * used})

    def _end_to_end(self, path: str) -> float:
        """Return the seconds of server CPU per request; one request at a time."""
        server = Endpoint(self.sut.url)
        with socket.create_connection((server.host, server.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = _message(server)
            if path == "poll":  # no events follow the cursor of the first response
                response = _exchange(connection, _poll(server, "now"))
                request = _poll(server, json.loads(response.partition(b"\r\n\r\n")[2])["cursor"])
            for _ in range(100):  # warm up: modules and caches are loaded
                _exchange(connection, request)
            used: float = -self.sut.cost.cpu_seconds()
            for _ in range(self.options.times):
                _exchange(connection, request)
            used += self.sut.cost.cpu_seconds()
            return float(used / self.options.times)


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    response = connection.recv(READ_BYTES)
    assert response.startswith(b"HTTP/1.1 20"), response[:100]
    return response


def _poll(server: Endpoint, after: str) -> bytes:
    return server.build_request("GET", f"/rooms/{ROOM}/short_polling?after={after}", {})


def _message(server: Endpoint) -> bytes:
    return server.build_request("POST", messages_path(ROOM), {}, _body())


def _body() -> bytes:
    return encode({"client": "benchmark", "name": "Ada", "text": _SENTENCE[:100], "via": "post"})


# --- a poll and a message ------------------------------------------------------------------------


async def _repeat(step: str, times: int) -> float:
    """Return the mean seconds of a step."""
    async with _Fixture() as fixture:
        time_once: Callable[[], Awaitable[float]] = getattr(fixture, step)
        await time_once()
        used = 0.0
        for _ in range(times):
            used += await time_once()
        return used / times


class _Fixture:
    """The parts of a server; each method runs one step once and returns its seconds."""

    async def __aenter__(self) -> "_Fixture":
        broker = MemoryBroker(LIMITS)
        self._hub = Hub(broker, LIMITS)
        await self._hub.start()
        services = Services(self._hub, None, OriginPolicy([]), Admission(LIMITS), LIMITS)  # type: ignore[arg-type]
        self._services = services
        self._server_end, self._client_end = socket.socketpair()
        self._stream = MeteredStream(self._server_end, "here", TrafficStats())
        self._site = Router(services, {"short_polling": ShortPolling}, None)  # type: ignore[arg-type]
        reader = await self._hub.read(ROOM, 0)
        self._cursor = reader.cursor
        self._response = reader.poll(PollResponse)
        self._data = _poll(Endpoint("http://127.0.0.1:8000"), str(self._cursor))
        self._exchange = self._new_exchange()
        self._exchange.subscription = self._exchange.parse_subscription(ROOM)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stream.close()
        self._client_end.close()
        await self._hub.close()

    def _new_exchange(self) -> ShortPolling:
        head = parse_fast_path(self._data)
        assert head is not None
        request = head.request(self._data)
        return ShortPolling(self._services, self._stream, request, ROOM)

    async def poll_kernel(self) -> float:
        self._client_end.send(self._data)
        begin = time.perf_counter()
        data = self._server_end.recv(READ_BYTES)
        self._server_end.send(data)
        used = time.perf_counter() - begin
        self._client_end.recv(READ_BYTES)
        return used

    async def poll_event_loop(self) -> float:
        reading = asyncio.ensure_future(self._stream.read_once())
        await asyncio.sleep(0)
        self._client_end.send(self._data)
        begin = time.perf_counter()
        self._stream.push(await reading, 0)
        used = time.perf_counter() - begin
        self._client_end.recv(READ_BYTES)
        return used

    async def poll_parse(self) -> float:
        begin = time.perf_counter()
        self._site.find("/rooms/lobby/short_polling?after=now")
        self._new_exchange()
        return time.perf_counter() - begin

    async def poll_match(self) -> float:
        repeated = RepeatedHead.of(self._data, self._exchange.arguments["after"])
        assert repeated is not None
        begin = time.perf_counter()
        repeated.match(self._data)
        return time.perf_counter() - begin

    async def poll_serve_again(self) -> float:
        begin = time.perf_counter()
        self._exchange.serve_again(self._cursor)
        used = time.perf_counter() - begin
        self._client_end.recv(READ_BYTES)
        return used

    async def poll_origin_check(self) -> float:
        exchange = self._new_exchange()
        begin = time.perf_counter()
        exchange.prepare()
        self._stream.end_request()
        return time.perf_counter() - begin

    async def poll_subscription(self) -> float:
        begin = time.perf_counter()
        self._exchange.parse_subscription(ROOM)
        return time.perf_counter() - begin

    async def poll_room(self) -> float:
        begin = time.perf_counter()
        (await self._hub.read(ROOM, 0)).poll(PollResponse)
        return time.perf_counter() - begin

    async def poll_response_header(self) -> float:
        begin = time.perf_counter()
        self._response.with_head(self._exchange.head(200, JSON, length=len(self._response.body)))
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
    """Return the CPU seconds of this process per delivery to one of `followers` sockets."""
    with _connected_sockets(followers) as sockets:
        deliver = await _delivery(step, sockets)
        deliver(0)
        used = 0.0
        for number in range(1, rounds + 1):
            await asyncio.sleep(_PAUSE_SECONDS)
            begin = time.process_time()
            deliver(number)
            used += time.process_time() - begin
        return used / rounds / followers


async def _delivery(step: str, sockets: list[socket.socket]) -> Callable[[int], object]:
    """Return a function that writes message `number` to all sockets."""
    tail = Draft.parse(_body(), ROOM, LIMITS, "post").json_tail + b"}"

    def event(number: int) -> Event:
        return Event.numbered("say", Cursor("epoch", number), tail)

    if step == "kernel":
        data = frame(event(1))
        return lambda number: [one.send(data) for one in sockets]
    streams = [MeteredStream(one, "here", TrafficStats()) for one in sockets]
    if step == "push":
        data = frame(event(1))
        return lambda number: [stream.push(data, 1) for stream in streams]
    return await _broadcast(streams, event)


async def _broadcast(
    streams: list[MeteredStream], event: Callable[[int], Event]
) -> Callable[[int], object]:
    room = Room(LIMITS.history_events)
    room.merge(History("epoch", 0, 1, []))
    broadcaster = Broadcaster(room, LIMITS)
    framing = Framing(frame, bytes, PING)
    for stream in streams:
        subscriber = StreamSubscriber(stream, framing, lambda error: None)
        subscriber.attach(broadcaster)
        broadcaster.add(subscriber, room.cursor)
    await asyncio.sleep(_PAUSE_SECONDS)

    def deliver(number: int) -> None:
        room.append(event(number + 1))
        for _ in broadcaster.flush_steps():
            pass

    return deliver


@contextmanager
def _connected_sockets(count: int) -> Iterator[list[socket.socket]]:
    """Open `count` connections; another process reads their other ends and drops the bytes."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        command = [sys.executable, "-m", "benchmarks.method.drain"]
        command += [str(listener.getsockname()[1]), str(count)]
        process = stack.enter_context(subprocess.Popen(command))
        stack.callback(process.terminate)
        sockets = [listener.accept()[0] for _ in range(count)]
        for one in sockets:
            stack.enter_context(one)
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sockets


if __name__ == "__main__":
    sys.exit(stdio.run(lambda: run(CostBreakdown)))
