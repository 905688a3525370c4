"""The connections of the load generator: TCP, with TLS where the endpoint has it, and QUIC.

None of them ever blocks.  The loop calls `read` when a socket is readable, and `deliver` for what
was read, when it has time to parse.
"""

import errno
import heapq
import socket
import ssl
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from realtime.client.http import Endpoint, Refused

if TYPE_CHECKING:
    from realtime.client.quic import SessionProtocol

clock = time.perf_counter

READ_BYTES = 65_536
# Not in Python's socket module (linux/in.h).
_IP_BIND_ADDRESS_NO_PORT = 24


class Loop(Protocol):
    """What a connection needs from the loop."""

    def attach(self, connection: "LoadConnection") -> None: ...
    def watch(self, connection: "LoadConnection", *, writing: bool) -> None: ...
    def is_attached(self, connection: "LoadConnection") -> bool: ...
    def ignore(self, connection: "LoadConnection") -> None: ...
    def connect_failed(self, connection: "LoadConnection") -> None: ...
    def call_at(self, when: float, call: Callable[[], None]) -> None: ...


class ConnectionOwner(Protocol):
    """What has a connection.  Data for an owner with `parse_at_once` does not wait."""

    parse_at_once: bool
    bytes_in: int
    bytes_out: int

    def connected(self, connection: "LoadConnection", now: float) -> None: ...
    def data_received(self, connection: "LoadConnection", data: bytes, now: float) -> None: ...
    def connection_lost(self, connection: "LoadConnection", now: float) -> None: ...


class SessionOwner(ConnectionOwner, Protocol):
    """What has a session, which the server can refuse before there is a stream."""

    def request_refused(self, error: Refused, now: float) -> None: ...


class LoadConnection(ABC):
    """A socket that never blocks: `connected`, and then `open` after a handshake of TLS."""

    def __init__(self, load: Loop, owner: ConnectionOwner, kind: int, endpoint: Endpoint) -> None:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        self.socket = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        self.owner = owner
        self.connected = False
        self.open = False
        self._endpoint = endpoint
        self._load = load
        load.attach(self)

    def _connect(self, port: int) -> None:
        if self._endpoint.source is not None:
            # The port is chosen by `connect`, so a port can be in use at every source address.
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            self.socket.bind((self._endpoint.source, 0))
        failure = self.socket.connect_ex((self._endpoint.host, port))
        if failure not in (0, errno.EINPROGRESS):
            self._load.connect_failed(self)

    def read(self) -> bytes | None:
        """Read the socket once: None if there is nothing, no bytes at the end."""
        try:
            return self.socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return b""

    @abstractmethod
    def secure(self) -> bool:
        """Continue the handshake, if there is one; return whether the connection may open."""

    @abstractmethod
    def opened(self) -> None:
        """Note that `secure` was true."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send what the socket accepts now, and the rest when it is writable."""

    @abstractmethod
    def deliver(self, data: bytes, when: float) -> None:
        """Pass on what was read at `when`; no bytes are the end of the connection."""

    @abstractmethod
    def stop_reading(self) -> None:
        """Be as a program that reads no more, and keeps its connection."""

    @abstractmethod
    def reset(self) -> None:
        """Make the next `close` a reset, as by a program that was killed."""

    def close(self) -> None:
        self.socket.close()

    @abstractmethod
    def segments(self) -> int:
        """Return the segments or datagrams in both directions, acknowledgements included."""

    @abstractmethod
    def data_segments(self) -> int:
        """Return the segments or datagrams that brought data."""


class TCPLoadConnection(LoadConnection):
    """One TCP connection, with TLS if the endpoint has it."""

    def __init__(self, load: Loop, owner: ConnectionOwner, endpoint: Endpoint) -> None:
        super().__init__(load, owner, socket.SOCK_STREAM, endpoint)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unsent = b""
        self._connect(endpoint.port)

    def write(self, data: bytes) -> None:
        self.owner.bytes_out += len(data)
        self._unsent += data
        if not self.open:
            return
        try:
            sent = self.socket.send(self._unsent)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            return  # the next read reports the end of the connection
        self._unsent = self._unsent[sent:]
        self._load.watch(self, writing=bool(self._unsent))

    def secure(self) -> bool:
        tls = self._endpoint.tls
        if tls is None:
            return True
        if not isinstance(self.socket, ssl.SSLSocket):
            self.socket = tls.wrap_socket(
                self.socket,
                server_hostname=self._endpoint.host,
                do_handshake_on_connect=False,
            )
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._load.watch(self, writing=False)
            return False
        except ssl.SSLWantWriteError:
            return False
        return True

    def opened(self) -> None:
        self.open = True
        self.write(b"")
        self.owner.connected(self, clock())

    def deliver(self, data: bytes, when: float) -> None:
        self.owner.bytes_in += len(data)
        if data:
            self.owner.data_received(self, data, when)
        else:
            self.owner.connection_lost(self, when)

    def stop_reading(self) -> None:
        self._load.ignore(self)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def segments(self) -> int:
        """TCP segments in both directions, acknowledgements included (Linux, struct tcp_info)."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
        sent, received = struct.unpack_from("II", info, 136)
        return int(sent) + int(received)

    def data_segments(self) -> int:
        """TCP segments that brought data: on loopback, one for each write up to 64 KiB."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 156)
        return int(struct.unpack_from("I", info, 152)[0])


class QUICLoadConnection(LoadConnection):
    """One WebTransport session on its UDP socket; the owner reads and writes its stream.

    Bytes are those of the datagrams.  A datagram that the socket does not accept is lost, and QUIC
    repeats it.  The session sends no pings, as a page sends none.
    """

    def __init__(
        self, load: Loop, owner: SessionOwner, endpoint: Endpoint, session: "SessionProtocol"
    ) -> None:
        super().__init__(load, owner, socket.SOCK_DGRAM, endpoint)
        self.owner: SessionOwner = owner
        self._stream_open = False
        self._session = session
        self._reading = True
        self._timers: list[float] = []  # when the loop calls `_on_timer`, the next one first
        self._sent = self._received = 0
        self._connect(endpoint.port)

    def secure(self) -> bool:
        return True

    def opened(self) -> None:
        """The socket is; the owner is connected when the server has opened the stream."""
        self.open = True
        self._load.watch(self, writing=False)
        self._session.connect((self._endpoint.host, self._endpoint.port), clock())
        self._transmit()

    def write(self, data: bytes) -> None:
        if data:
            self._session.write(data)
            self._transmit()

    def deliver(self, data: bytes, when: float) -> None:
        if data:
            self._received += 1
            self.owner.bytes_in += len(data)
            self._session.receive_datagram(data, clock())
        else:
            self._session.lose()
        self._advance(when)

    def _advance(self, when: float) -> None:
        """Tell the owner what is new, and send what is due."""
        session, owner = self._session, self.owner
        if session.opened and not self._stream_open:
            self._stream_open = True
            owner.connected(self, when)
        if self._reading and (data := session.read()):
            owner.data_received(self, data, when)
        if not self._load.is_attached(self):
            return  # the owner has closed it
        self._transmit()
        if session.closed is not None:
            self._load.ignore(self)
            if self._reading:  # otherwise the end is behind what nobody reads
                owner.connection_lost(self, when)
        elif session.refusal is not None:
            try:
                session.refusal.check(200)
            except Refused as error:
                owner.request_refused(error, when)

    def _transmit(self) -> None:
        for datagram in self._session.datagrams_to_send(clock()):
            self._sent += 1
            self.owner.bytes_out += len(datagram)
            with suppress(OSError):  # the buffer is full, or nobody is there: QUIC tries again
                self.socket.send(datagram)
        at = self._session.timer
        # An earlier call looks for the next time: the loop cannot cancel one.
        if at is not None and (not self._timers or at < self._timers[0]):
            heapq.heappush(self._timers, at)
            self._load.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        heapq.heappop(self._timers)
        if not self._load.is_attached(self) or self._session.timer is None:
            return
        now = clock()
        if self._session.timer <= now:
            self._session.handle_timer(now)
            self._advance(now)
        else:
            self._transmit()

    def stop_reading(self) -> None:
        """The session acknowledges what arrives, and the window of its stream stays full."""
        self._reading = False

    def reset(self) -> None:
        self._session.abort()

    def close(self) -> None:
        if self.open:
            self._session.close(clock())
            self._transmit()
        super().close()

    def segments(self) -> int:
        """UDP datagrams in both directions; QUIC puts acknowledgements into them."""
        return self._sent + self._received

    def data_segments(self) -> int:
        return self._received
