"""The TCP server: who may connect, and how long each connection may take.

This module has the limits of connections.  A reader that accepts no data, a request that never
ends and a peer that disappeared without a FIN would each hold a connection forever, and the number
of connections is limited.  One periodic check of all connections costs less than a timer for each.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from typing import Any

from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.netutil import ssl_wrap_socket

from realtime import metrics
from realtime.errors import Busy, RealtimeError, TooSlow
from realtime.limits import Limits
from realtime.protocol.addresses import limited_address
from realtime.server.connection import Router, ServerConnection, send_last_response
from realtime.server.forwarded import TrustedProxies
from realtime.server.sockets import max_open_files
from realtime.server.stream import READ_BYTES, MeteredStream, MeteredTLSStream
from realtime.server.traffic import OTHER, TrafficStats
from realtime.tasks import AcceptLoop, Supervisor, cancel_and_wait
from realtime.transports.base import TOO_MANY_CONNECTIONS

# Seconds for a connection above the limit to send its request.  An earlier response could be lost.
_REJECT_SECONDS = 2.0
# Seconds for responses and close frames to leave when the server stops.
_SHUTDOWN_SECONDS = 1.0

log = logging.getLogger(__name__)


class Server:
    """Accepts connections as metered streams, and limits their number and their time.

    A connection needs a file descriptor, so their number is also limited by that of open files.

    `tls` makes it https.  `proxies` are the peers that can name the client of a request.
    `emulated` has the clients of our own network emulators, by the address from which an emulator
    connects for them; such a connection counts for its client, who cannot name another one.
    `other_files` are the files that other parts of this process may open.
    """

    def __init__(
        self,
        router: Router,
        *,
        traffic: TrafficStats,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies = TrustedProxies(),  # noqa: B008 - it is immutable
        emulated: MutableMapping[tuple[str, int], str] | None = None,
        other_files: int = 0,
    ) -> None:
        self._router = router
        self._traffic = traffic
        self._tls = tls
        self._proxies = proxies
        self._emulated = {} if emulated is None else emulated
        self._supervisor = Supervisor()
        self._serving: set[asyncio.Task[None]] = set()
        self._accepting: list[tuple[AcceptLoop, socket.socket]] = []
        self._rejecting: Counter[str] = Counter()  # by address
        self._set_max_connections(limits, max_open_files() - other_files)

    # --- accept ----------------------------------------------------------------------------------

    def _set_max_connections(self, limits: Limits, files: int) -> None:
        reserved = min(limits.reserved_files, files // 2)
        self._limits = replace(limits, connections=min(limits.connections, files - reserved))
        # Connections above the limit are open until they have their error response.
        self._max_sockets = files - reserved * 3 // 4
        if self._limits.connections < limits.connections:
            log.warning(
                "the limit of open files also limits connections",
                extra={"open_files": files, "connections": self._limits.connections},
            )

    def add_sockets(self, listeners: Iterable[socket.socket]) -> None:
        """Accept the connections of these listening sockets."""
        for listener in listeners:
            accepting = AcceptLoop(listener, self._on_accepted, self._has_no_files)
            self._accepting.append((accepting, listener))

    def stop(self) -> None:
        """Close the listening sockets; connections that are open stay."""
        while self._accepting:
            accepting, listener = self._accepting.pop()
            accepting.close()
            listener.close()

    def _has_no_files(self) -> bool:
        return len(self._traffic.streams) + self._rejecting.total() >= self._max_sockets

    def start_timeouts(self) -> None:
        """Enforce the timeouts of all connections from now on."""
        self._supervisor.supervise("watch", self._check_forever)

    def _on_accepted(self, connection: socket.socket, address: Any) -> None:
        client = self._emulated.pop(tuple(address[:2]), None)
        try:
            self._set_options(connection)
            metered = self._metered(connection, limited_address(client or str(address[0])))
        except (OSError, ValueError):  # the client disconnected before we accepted it
            connection.close()
            return
        metered.shared = client is None and self._proxies.trusts(str(address[0]))
        if not self._is_full_for(metered):
            self._traffic.opened(metered)
            self._serve(metered)
        elif self._can_reject(metered):
            self._rejecting[metered.address] += 1
            self._supervisor.spawn("refuse", lambda: self._reject(metered))
        else:
            metrics.REFUSED.labels(Busy.code).inc()
            metered.close()

    def _can_reject(self, stream: MeteredStream) -> bool:
        """Return whether `stream` may wait for its error response: this needs a file, too."""
        held, used = self._rejecting[stream.address], self._rejecting.total()
        total = self._max_sockets - self._limits.connections
        return stream.shared or self._limits.admits(held, total, used, total)

    async def _reject(self, stream: MeteredStream) -> None:
        try:
            await _reject(stream, Busy(TOO_MANY_CONNECTIONS, retry_after=10))
        finally:
            self._rejecting[stream.address] -= 1
            if not self._rejecting[stream.address]:
                del self._rejecting[stream.address]

    def _metered(self, connection: socket.socket, address: str) -> MeteredStream:
        if self._tls is None:
            return MeteredStream(connection, address, self._traffic)
        secured = ssl_wrap_socket(
            connection, self._tls, server_side=True, do_handshake_on_connect=False
        )
        return MeteredTLSStream(secured, address, self._traffic)

    def _serve(self, stream: MeteredStream) -> None:
        protocol = "http" if self._tls is None else "https"
        connection = ServerConnection(stream, self._router, protocol, self._proxies, self._limits)
        task = asyncio.create_task(connection.serve())
        self._serving.add(task)
        task.add_done_callback(self._on_served)

    def _on_served(self, task: "asyncio.Task[None]") -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a connection failed", exc_info=error)

    def _set_options(self, connection: socket.socket) -> None:
        # Nagle's algorithm waits for a full segment: 12-42 ms at p99 on a stream.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # By default, the kernel buffers up to 4 MB for one reader that stopped (tcp_wmem).
        buffer = self._limits.send_buffer_bytes
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A peer that lost power sends no FIN.  Our heartbeats then wait for an acknowledgement,
            # on Linux for 15 minutes by default (RFC 5482, tcp(7)).
            milliseconds = int(self._limits.write_deadline_seconds * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _is_full_for(self, stream: MeteredStream) -> bool:
        """Return whether `stream` exceeds a limit.

        A proxy names the address of its client with each request, so that limit is checked later.
        """
        traffic = self._traffic
        if stream.shared:
            return len(traffic.streams) >= self._limits.connections
        return not traffic.admits(stream.address, self._limits)

    # --- timeouts --------------------------------------------------------------------------------

    async def _check_forever(self) -> None:
        limits = self._limits
        interval = min(1.0, limits.write_deadline_seconds / 4, limits.request_seconds / 4)
        while True:
            await asyncio.sleep(interval)
            now = time.monotonic()
            for stream in self._streams():
                self._enforce_timeouts(stream, now)

    def _enforce_timeouts(self, stream: MeteredStream, now: float) -> None:
        if stream.is_in_time(now, self._limits.idle_seconds):
            return
        if stream.write_stalled_seconds(now) > self._limits.write_deadline_seconds:
            # No error response: it would wait behind the data that the client does not accept.
            metrics.STALLED.labels(stream.transport).inc()
            stream.close()
        elif stream.half_closed:
            stream.close_if_reset()
        elif stream.idle_seconds(now) > self._limits.idle_seconds:
            stream.close()
        elif stream.request_read_seconds(now) > self._limits.request_seconds:
            stream.begin_request(OTHER, None)  # so that this happens once
            error = TooSlow("The request did not arrive in time; send it again.")
            self._supervisor.spawn("refuse", lambda: send_last_response(stream, error))

    # --- stop ------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let pending responses leave, then close every connection."""
        self.stop()
        self._router.on_shutdown()
        deadline = asyncio.get_running_loop().time() + _SHUTDOWN_SECONDS
        while self._is_busy() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        await self._supervisor.close()
        for stream in self._streams():
            stream.close()
        await cancel_and_wait(self._serving)
        await self._router.close()

    def _is_busy(self) -> bool:
        return any(stream.in_request or stream.writing() for stream in self._streams())

    def _streams(self) -> list[MeteredStream]:
        """Return the connections over TCP; those over QUIC have their own limits of time."""
        return [one for one in self._traffic.streams if isinstance(one, MeteredStream)]


async def _reject(stream: MeteredStream, error: RealtimeError) -> None:
    """Answer the first request of a connection above the limit, and close it."""
    try:
        async with asyncio.timeout(_REJECT_SECONDS):
            await stream.read_until(b"\r\n\r\n", max_bytes=READ_BYTES)
    except (StreamClosedError, UnsatisfiableReadError, TimeoutError):
        stream.close()
    else:
        await send_last_response(stream, error)
