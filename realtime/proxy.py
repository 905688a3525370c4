"""A bad network to order: it stands between a client and a server, and makes them wait.

    client ── up ──▶ [ hold · pace · delay ] ──▶ server
           ◀─ down ─ [ hold · pace · delay ] ◀──

It delays, paces, collects like a proxy that buffers, stalls, cuts, and counts what passes.  It
stands above TCP and sees a stream of bytes, so it cannot lose a packet, nor send one twice or out
of turn, nor show how TCP starts slowly; a `stall` is what a lost packet looks like from above.  For
the real thing there is `tc netem`, where the kernel has it.
"""

import argparse
import asyncio
import random
import signal
import socket
import struct
import sys
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self, cast
from urllib.parse import urlsplit

from realtime.boundaries import Requests, Responses
from realtime.network import Network

HELP = "put a bad network between browsers and a server"

Direction = Literal["up", "down"]

# Bytes of one direction of one connection that may be under way; whoever sends more has to wait.
_HELD_BYTES = 262_144
# With a rate, bytes that pass at once: an Ethernet frame without its heads.
_SEGMENT_BYTES = 1_460


class ProxyError(Exception):
    """The proxy that was asked for cannot be had; the message says why."""


# --- one direction -------------------------------------------------------------------------------


class _Way:
    """One direction of one connection: what was read, until it is due on the other side."""

    def __init__(self, line: "_Line", direction: Direction) -> None:
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self.blocked = False  # the target takes no more at the moment
        self.ended = False
        self._line = line
        self._direction = direction
        self._queue: deque[tuple[float, bytes | None]] = deque()  # None is the end
        self._held = 0
        self._paced = 0.0  # when the line is free again
        self._latest = 0.0  # nothing may be due before this: TCP keeps the order
        self._timer: asyncio.TimerHandle | None = None

    def take(self, data: bytes | None) -> None:
        """Let `data` go its way; None says that the source has ended."""
        network = self._line.proxy.network
        step = _SEGMENT_BYTES if network.rate else len(data or b"") or 1
        pieces = [None] if data is None else [data[i : i + step] for i in range(0, len(data), step)]
        for piece in pieces:
            self._queue.append((self._due(network, len(piece or b"")), piece))
        self._held += len(data or b"")
        if self._held > _HELD_BYTES and self.source is not None:
            self.source.pause_reading()
        self.release()

    def _due(self, network: Network, size: int) -> float:
        proxy, now = self._line.proxy, asyncio.get_running_loop().time()
        begin = max(now, self._paced)
        self._paced = begin + size / network.rate if network.rate else begin
        due = self._paced + network.rtt / 2 + proxy.chance.uniform(0, network.jitter)
        if self._direction == "up":
            # Nothing leaves a client before SYN and SYN-ACK have made their round trip.
            due = max(due, self._line.began + 1.5 * network.rtt)
        self._latest = max(self._latest, proxy.after_stall(due))
        return self._latest

    def release(self) -> None:
        """Send what is due, and come again when the next is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and self._may_write():
            self._send(self._queue.popleft()[1])
        if self._queue and self._may_write():
            self._timer = asyncio.get_running_loop().call_at(self._queue[0][0], self.release)

    def _may_write(self) -> bool:
        return self.target is not None and not self.blocked and not self._line.proxy.paused

    def _send(self, data: bytes | None) -> None:
        assert self.target is not None
        if data is None:
            self.ended = True
            # A side that ends may still listen: its end is passed on as what it is.
            if not self.target.is_closing():
                self.target.write_eof()
            self._line.close_if_ended()
            return
        self.target.write(data)
        self._held -= len(data)
        if self._held <= _HELD_BYTES // 2 and self.source is not None:
            self.source.resume_reading()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        for transport in (self.source, self.target):
            if transport is not None:
                transport.abort()


# --- collecting ----------------------------------------------------------------------------------


class _Collector:
    """Holds responses back until there is enough of one, or all of it (`Network.buffer`)."""

    def __init__(self) -> None:
        self.requests = Requests()
        self._responses = Responses(self.requests)
        self._held = bytearray()

    def feed(self, data: bytes, size: int) -> bytes:
        """Take what came down, and give what goes on now."""
        out = bytearray()
        for piece, ended in self._responses.feed(data):
            self._held += piece
            if ended or len(self._held) >= size:
                out += self.flush()
        return bytes(out)

    def flush(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held


# --- one connection ------------------------------------------------------------------------------


class _End(asyncio.Protocol):
    """One of the two sockets of a connection: what it reads goes out by the other."""

    def __init__(self, line: "_Line", out: _Way, into: _Way, direction: Direction) -> None:
        self._line = line
        self._out = out  # what is read here
        self._into = into  # what is written here
        self._direction = direction

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._out.source = self._into.target = transport
        self._line.ready()

    def data_received(self, data: bytes) -> None:
        self._line.passed(self._direction, data)

    def eof_received(self) -> bool:
        self._line.finished(self._direction)
        return True  # and stays open for the other direction

    def connection_lost(self, error: Exception | None) -> None:
        self._line.lost(error)

    def pause_writing(self) -> None:
        self._into.blocked = True

    def resume_writing(self) -> None:
        self._into.blocked = False
        self._into.release()


class _Line:
    """A connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy
        self.began = self._active = asyncio.get_running_loop().time()
        self.ways: dict[Direction, _Way] = {"up": _Way(self, "up"), "down": _Way(self, "down")}
        self._collector = _Collector() if proxy.network.buffer else None
        self._timers: list[asyncio.TimerHandle] = []
        self._flush: asyncio.TimerHandle | None = None
        network, loop = proxy.network, asyncio.get_running_loop()
        if network.cut:
            self._timers.append(loop.call_later(network.cut, self.reset))
        if network.idle:
            self._timers.append(loop.call_later(network.idle, self._end_if_idle))

    def end(self, direction: Direction) -> _End:
        """Make the protocol of the socket whose bytes go in this direction."""
        other: Direction = "down" if direction == "up" else "up"
        return _End(self, self.ways[direction], self.ways[other], direction)

    def ready(self) -> None:
        for way in self.ways.values():
            way.release()

    # --- what passes -----------------------------------------------------------------------------

    def passed(self, direction: Direction, data: bytes) -> None:
        self._active = asyncio.get_running_loop().time()
        self.proxy.count(direction, data)
        if self._collector is not None:
            data = self._collect(self._collector, direction, data)
        if data:
            self.ways[direction].take(data)

    def _collect(self, collector: _Collector, direction: Direction, data: bytes) -> bytes:
        if direction == "up":
            for _ in collector.requests.feed(data):
                pass  # only read along, to know what is answered
            return data
        network = self.proxy.network
        out = collector.feed(data, network.buffer)
        if self._flush is not None:
            self._flush.cancel()
        if network.flush:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(network.flush, self._flush_now)
        return out

    def _flush_now(self) -> None:
        if self._collector is not None and (held := self._collector.flush()):
            self.ways["down"].take(held)

    def finished(self, direction: Direction) -> None:
        """Hear that one side has said all that it had to say."""
        if direction == "down":
            self._flush_now()
        self.ways[direction].take(None)

    # --- the end ---------------------------------------------------------------------------------

    def close_if_ended(self) -> None:
        if all(way.ended for way in self.ways.values()):
            for way in self.ways.values():
                if way.target is not None:
                    way.target.close()

    def lost(self, error: Exception | None) -> None:
        """Hear that a socket is gone; the other has nobody to talk to any more."""
        if self in self.proxy.lines:
            if error is None and all(way.ended for way in self.ways.values()):
                self._forget()
            else:
                self.reset()

    def _end_if_idle(self) -> None:
        loop, idle = asyncio.get_running_loop(), self.proxy.network.idle
        if not idle:
            return
        if loop.time() >= self._active + idle:
            self._forget()
            for way in self.ways.values():
                if way.target is not None:
                    way.target.close()
        else:
            self._timers.append(loop.call_at(self._active + idle, self._end_if_idle))

    def reset(self) -> None:
        """Break both sides with RST."""
        self._forget()
        for way in self.ways.values():
            raw = None if way.target is None else way.target.get_extra_info("socket")
            if raw is not None and raw.fileno() != -1:
                # SO_LINGER of 0 s turns the close into a reset (socket(7)).
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            way.stop()

    def _forget(self) -> None:
        self.proxy.lines.discard(self)
        for timer in [*self._timers, *([self._flush] if self._flush else [])]:
            timer.cancel()


# --- the proxy -----------------------------------------------------------------------------------


class Proxy:
    """Listens on a free port and passes on to `host`:`port`; an async context manager.

    Up is towards the server; bytes are counted as they are read, before anything is done to them.
    With `transcript=True` every piece is kept as it came, in order.  A `network` that is replaced
    holds for what comes from then on; `target` may be changed, for connections to come.
    """

    def __init__(
        self,
        host: str,
        port: int,
        network: Network | None = None,
        *,
        listen: str = "127.0.0.1",
        listen_port: int = 0,
        transcript: bool = False,
        seed: int | None = None,
    ) -> None:
        self.target = host, port
        self.network = network or Network()
        self.bytes_up = 0
        self.bytes_down = 0
        self.connections = 0
        self.transcript: list[tuple[Direction, bytes]] | None = [] if transcript else None
        self.paused = False
        self.chance = random.Random(seed)
        self.lines: set[_Line] = set()
        self._listen = listen, listen_port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self._server = await loop.create_server(self._accept, *self._listen, backlog=4096)
        host, self.port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()
        await asyncio.sleep(0)  # the sockets are closed in the next turn of the loop

    def cut(self) -> None:
        """Break every connection on both sides, with RST; new ones are still accepted."""
        for line in list(self.lines):
            line.reset()

    def pause(self) -> None:
        """Let nothing pass; nothing is lost, and whoever sends much has to wait."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        for line in list(self.lines):
            line.ready()

    def count(self, direction: Direction, data: bytes) -> None:
        if direction == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        if self.transcript is not None:
            self.transcript.append((direction, data))

    def after_stall(self, due: float) -> float:
        """Give `due`, or the end of the stall that it falls into, at the end of each period."""
        stall, every = self.network.stall, self.network.every
        if not stall:
            return due
        within = (due - self._began) % every
        return due + every - within if within >= every - stall else due

    def _accept(self) -> asyncio.Protocol:
        line = _Line(self)
        self.lines.add(line)
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._connect(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return line.end("up")

    async def _connect(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: line.end("down"), *self.target)
        except OSError:
            line.reset()  # nobody listens there


# --- the command line ----------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target", default="http://127.0.0.1:8000", help="the server (%(default)s)"
    )
    parser.add_argument(
        "--network",
        default="rtt=100ms",
        metavar="rtt=100ms,…",
        help="rtt= jitter= rate= buffer= flush= idle= stall=LENGTH/EVERY cut= (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=None, help="of the jitter (by chance)")


async def run(options: argparse.Namespace) -> None:
    """Stand between until SIGINT or SIGTERM; raises `ProxyError` or OSError."""
    target = urlsplit(options.target)
    try:
        network, port = Network.parse(options.network), target.port or 80
    except ValueError as error:
        raise ProxyError(str(error)) from error
    if target.scheme != "http" or not target.hostname:
        raise ProxyError(f"--target {options.target} is no address like http://127.0.0.1:8000")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    proxy = Proxy(
        target.hostname,
        port,
        network,
        listen=options.host,
        listen_port=options.port,
        seed=options.seed,
    )
    async with proxy:
        there = f"http://{target.netloc}/"
        print(f"realtime: proxy on {proxy.url} to {there} (network: {network})")
        sys.stdout.flush()  # programs read the port from this line
        with suppress(asyncio.CancelledError):
            await stop.wait()
