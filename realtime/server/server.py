"""The door of the house: who may connect, and how long each connection may take its time.

Here stand the bounds of connections.  A reader that takes nothing, a request that never ends and a
peer that vanished without a word would each hold a connection for ever, and there are only so many.
One look at all of them, once in a while, costs less than a timer for each.
"""

import asyncio
import logging
import socket
import ssl
import time
from typing import Any

from tornado.http1connection import HTTP1ConnectionParameters
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.netutil import ssl_wrap_socket
from tornado.tcpserver import TCPServer

from realtime import metrics
from realtime.errors import Busy, RealtimeError, TooSlow, error_response
from realtime.limits import Limits
from realtime.server.connection import Connection, Router
from realtime.server.forwarded import TrustedProxies
from realtime.server.stream import READ_BYTES, MeteredStream, MeteredTLSStream
from realtime.server.traffic import OTHER, TrafficStats
from realtime.tasks import Supervisor, cancel_and_wait
from realtime.transports.base import TOO_MANY_CONNECTIONS

# Seconds that a connection above the limit gets to say its request, so that it reads our answer.
_REFUSE_SECONDS = 2.0
# Seconds that a connection gets to read why it is closed.
_LINGER_SECONDS = 0.5
# Seconds that answers and close frames get to leave when the server stops.
_FAREWELL_SECONDS = 1.0

log = logging.getLogger(__name__)


class Server(TCPServer):
    """Connections over counted streams, with bounds in number and in time.

    `tls` makes it https; `proxies` may say whose requests theirs are.
    """

    def __init__(
        self,
        site: Router,
        *,
        traffic: TrafficStats,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies = TrustedProxies(),  # noqa: B008 - it does not change
    ) -> None:
        super().__init__()
        self._site = site
        self._traffic = traffic
        self._limits = limits
        self._tls = tls
        self._proxies = proxies
        self._supervisor = Supervisor()
        self._serving: set[asyncio.Task[None]] = set()
        self._parameters = HTTP1ConnectionParameters(
            chunk_size=READ_BYTES,
            # A head is at most 64 KiB by Tornado's default; a body is ours to bound.
            max_body_size=limits.body_bytes,
            # Tornado ends such a connection without a word, so ours comes first where it can.
            body_timeout=2 * limits.request_seconds,
        )

    # --- coming ----------------------------------------------------------------------------------

    def start_watching(self) -> None:
        """Look after all connections from now on."""
        self._supervisor.keep("watch", self._watch_for_ever)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        # The plain stream has not begun to read; its socket gets a stream that counts.
        try:
            self._set_options(stream.socket)
            counted = self._counted(stream.socket, str(address[0]))
        except (OSError, ValueError):  # it was gone before it was let in
            stream.close()
            return
        counted.shared = self._proxies.trusts(counted.address)
        if self._full(counted):
            error = Busy(TOO_MANY_CONNECTIONS, retry_after=10)
            self._supervisor.spawn("refuse", lambda: _refuse(counted, error))
        else:
            self._traffic.opened(counted)
            self._serve(counted)

    def _counted(self, connection: socket.socket, address: str) -> MeteredStream:
        if self._tls is None:
            return MeteredStream(connection, address, self._traffic)
        secured = ssl_wrap_socket(
            connection, self._tls, server_side=True, do_handshake_on_connect=False
        )
        return MeteredTLSStream(secured, address, self._traffic)

    def _serve(self, stream: MeteredStream) -> None:
        protocol = "http" if self._tls is None else "https"
        connection = Connection(stream, self._site, self._parameters, protocol, self._proxies)
        task = asyncio.create_task(connection.serve())
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: "asyncio.Task[None]") -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a connection failed", exc_info=error)

    def _set_options(self, connection: socket.socket) -> None:
        # Nagle waits for a full segment: 12-42 ms at p99 on a stream.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Left to itself, the kernel holds up to 4 MB for one reader that stopped (tcp_wmem).
        buffer = self._limits.send_buffer_bytes
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A peer that lost its power never says so: heartbeats wait for an acknowledgement that
            # does not come, for 15 minutes as Linux has it (RFC 5482, tcp(7)).
            milliseconds = int(self._limits.write_deadline_seconds * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _full(self, stream: MeteredStream) -> bool:
        """Whether it is one too many; for whom a proxy asks is known with each request."""
        limits, traffic = self._limits, self._traffic
        crowded = traffic.addresses[stream.address] >= limits.connections_per_address
        return len(traffic.streams) >= limits.connections or (crowded and not stream.shared)

    # --- taking one's time -----------------------------------------------------------------------

    async def _watch_for_ever(self) -> None:
        limits = self._limits
        pause = min(1.0, limits.write_deadline_seconds / 4, limits.request_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            for stream in list(self._traffic.streams):
                self._judge(stream, now)

    def _judge(self, stream: MeteredStream, now: float) -> None:
        if stream.stalled_seconds(now) > self._limits.write_deadline_seconds:
            # Whatever could be said would wait behind what it does not take.
            metrics.STALLED.labels(stream.transport).inc()
            stream.close()
        elif stream.idle_seconds(now) > self._limits.idle_seconds:
            stream.close()
        elif stream.asking_seconds(now) > self._limits.request_seconds:
            stream.begin_request(OTHER, None)  # nobody will know what it was to be
            error = TooSlow("The request did not come to its end in time; send it again.")
            self._supervisor.spawn("refuse", lambda: _answer(stream, error))

    # --- going -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let what is being answered leave, and end every connection."""
        self.stop()
        self._site.part()
        deadline = asyncio.get_running_loop().time() + _FAREWELL_SECONDS
        while self._busy() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        await self._supervisor.close()
        for stream in list(self._traffic.streams):
            stream.close()
        await cancel_and_wait(self._serving)
        await self._site.close()

    def _busy(self) -> bool:
        return any(stream.in_request or stream.writing() for stream in self._traffic.streams)


async def _refuse(stream: MeteredStream, error: RealtimeError) -> None:
    """Answer the first request of a connection above the limit, and close it."""
    try:
        async with asyncio.timeout(_REFUSE_SECONDS):
            await stream.read_until(b"\r\n\r\n", max_bytes=READ_BYTES)
    except (StreamClosedError, UnsatisfiableReadError, TimeoutError):
        stream.close()
    else:
        await _answer(stream, error)


async def _answer(stream: MeteredStream, error: RealtimeError) -> None:
    """Answer below HTTP's own machinery, which never saw a request here, and close."""
    metrics.REFUSED.labels(error.code).inc()
    response = error_response(error)
    lines = [f"HTTP/1.1 {error.status} {error.phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    lines += ["Connection: close", f"Content-Length: {len(response.body)}", "", ""]
    try:
        async with asyncio.timeout(_REFUSE_SECONDS):
            await stream.write("\r\n".join(lines).encode() + response.body)
            # One that is still sending would be told a reset, which takes the answer away from it
            # before it is read (RFC 9112 §9.6).
            stream.socket.shutdown(socket.SHUT_WR)
            await asyncio.sleep(_LINGER_SECONDS)
    except OSError:  # it has gone, or takes nothing
        pass
    finally:
        stream.close()
