"""The UDP sockets: which connection a packet belongs to, and who may start a new one.

    packet ─▶ its connection ID is known ───────────────▶ connection
              └─ Initial, 1200 bytes or more ─▶ limits ─┬▶ new connection
                                                        └▶ Retry: prove your address first

Anybody can send a packet with the address of somebody else, and to answer it costs milliseconds.
So few handshakes may be under way, in all and from one address.  Above half of either, a client
must first show that it receives what we send to its address (RFC 9000 §8.1), and so it must while
much arrives that nobody can decrypt: false addresses keep nobody out.  All other packets are
dropped.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from socket import socket
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from realtime.protocol.addresses import limited_address
from realtime.protocol.http1 import parse_query
from realtime.server.quic.certificate import Certificate, Certificates
from realtime.server.quic.connection import Address, Fields, QuicSession
from realtime.server.quic.limited import LimitedQuicConnection, make_configuration
from realtime.server.quic.request import parse_request
from realtime.server.quic.stateless_reset import ResetTokens, machine_key
from realtime.server.sockets import port_of
from realtime.server.tap import Tap, TapRegistry
from realtime.server.traffic import TrafficStats
from realtime.tasks import Supervisor
from realtime.transports.base import Services
from realtime.transports.webtransport import WebTransport

# Packets that are read in a row, before other sockets have their turn.
_MAX_PACKETS = 64
_MAX_PACKET_BYTES = 65_536
# RFC 9000 §7.2: of the ID that a client chooses for its first packets; ours have as many.
_ID_BYTES = 8
# First packets in a second that cannot be decrypted: each costs 0.4 ms, a Retry a tenth of that.
_MAX_WASTED = 50
# Seconds between two looks at the time limits.
_CHECK_SECONDS = 1.0
# Stateless resets between two such looks: anybody can cause one with a packet of any address.
_MAX_RESETS = 500
# Seconds for the last packets to be acknowledged when the server stops.
_SHUTDOWN_SECONDS = 1.0

log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class QuicListener:
    """Accepts QUIC connections at some sockets, each of which has one address of one port.

    `emulated` has the clients of our own network emulators, by the address from which an emulator
    sends for them: such a connection counts for its client.
    """

    def __init__(
        self,
        sockets: Sequence[socket],
        services: Services,
        *,
        traffic: TrafficStats,
        taps: TapRegistry,
        root_path: str = "",
        emulated: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        self._sockets = sockets
        self._services = services
        self._limits = services.limits
        self._traffic = traffic
        self._taps = taps
        self._root_path = root_path
        self._emulated = {} if emulated is None else emulated
        self._connections: dict[bytes, QuicSession] = {}  # by connection ID
        self._sessions: set[QuicSession] = set()
        self._starting: dict[QuicSession, str] = {}  # without a request, and their addresses
        self._starting_at: Counter[str] = Counter()  # by address
        self._wasted = 0  # first packets of this second that could not be decrypted
        self._certificates = Certificates(_now())
        self._configuration: tuple[Certificate, QuicConfiguration] | None = None
        self._retry = QuicRetryTokenHandler()
        self._reset_tokens = ResetTokens(machine_key(port_of(sockets)))
        self._resets = 0  # since the last look at the time limits
        self._supervisor = Supervisor()
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Receive packets, and enforce time limits, from now on."""
        for one in self._sockets:
            self._loop.add_reader(one.fileno(), self._read, one)
        self._supervisor.supervise("watch", self._check_forever)

    def hashes(self) -> Sequence[str]:
        """Return the hashes of our certificates, for a page that connects in the next day."""
        return self._certificates.hashes(_now())

    # --- packets ---------------------------------------------------------------------------------

    def _read(self, one: socket) -> None:
        for _ in range(_MAX_PACKETS):
            try:
                data, source = one.recvfrom(_MAX_PACKET_BYTES)
            except OSError:  # there is none, or an error of an earlier one that we sent
                return
            self._receive(one, data, source)

    def _receive(self, one: socket, data: bytes, source: Address) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=_ID_BYTES)
        except ValueError:
            return
        if (connection := self._connections.get(header.destination_cid)) is not None:
            connection.receive(data, source)
        elif _is_first(header, data):
            connection = self._accept(one, header, source)
            if connection is not None:
                connection.receive(data, source)
                self._wasted += connection not in self._sessions
        elif header.packet_type == QuicPacketType.ONE_RTT:
            self._reset(one, header.destination_cid, len(data), source)

    def _reset(self, one: socket, id: bytes, size: int, source: Address) -> None:
        """End a connection that we do not know: perhaps that of a process before this one."""
        if self._resets < _MAX_RESETS and (packet := self._reset_tokens.packet(id, size)):
            self._resets += 1
            self._send(one, packet, source)

    def _accept(self, one: socket, header: QuicHeader, source: Address) -> QuicSession | None:
        """Return a new connection, if there may be one."""
        assert header.version is not None
        configuration = self._current_configuration()
        if header.version not in configuration.supported_versions:
            self._send(one, _offer_versions(header, configuration), source)
            return None
        address, used = self.address_of(source), len(self._starting)
        held, limits = self._starting_at[address], self._limits
        if not limits.admits(held, limits.handshakes_per_address, used, limits.handshakes):
            return None  # the client sends it again, and then there may be space
        original_id, retry_id = header.destination_cid, None
        if header.token:
            try:
                original_id = self._retry.validate_token(
                    address=source,
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=self._loop.time(),
                )
            except ValueError:
                return None
            retry_id = header.destination_cid
        elif (
            used >= limits.handshakes // 2
            or held >= limits.handshakes_per_address // 2
            or self._wasted >= _MAX_WASTED
        ):
            self._send(one, self._ask_again(header, source), source)
            return None
        quic = LimitedQuicConnection(
            configuration=configuration,
            reset_tokens=self._reset_tokens,
            original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
        )
        return self._open(one, quic, header.destination_cid, source, address)

    def _open(
        self, one: socket, quic: LimitedQuicConnection, id: bytes, source: Address, address: str
    ) -> QuicSession:
        send = partial(self._send, one)
        connection = QuicSession(quic, self, send, source, address, self._traffic, self._limits)
        self._sessions.add(connection)
        self._starting[connection] = address
        self._starting_at[address] += 1
        self.add_id(id, connection)
        self.add_id(quic.host_cid, connection)
        return connection

    def _current_configuration(self) -> QuicConfiguration:
        certificate = self._certificates.current(_now())
        if self._configuration is None or self._configuration[0] is not certificate:
            self._configuration = certificate, make_configuration(certificate, self._limits)
        return self._configuration[1]

    def _ask_again(self, header: QuicHeader, source: Address) -> bytes:
        """Return a Retry packet: its token comes back only from who receives at `source`."""
        assert header.version is not None
        id = os.urandom(_ID_BYTES)
        token = self._retry.create_token(
            address=source,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=id,
            now=self._loop.time(),
        )
        return encode_quic_retry(
            version=header.version,
            source_cid=id,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )

    def _send(self, one: socket, data: bytes, address: Address) -> None:
        with suppress(OSError):  # the buffer is full, or nobody is there: packets can be lost
            one.sendto(data, address)

    # --- called by connections -------------------------------------------------------------------

    def add_id(self, id: bytes, connection: QuicSession) -> None:
        connection.ids.add(id)
        self._connections[id] = connection

    def remove_id(self, id: bytes) -> None:
        if (connection := self._connections.pop(id, None)) is not None:
            connection.ids.discard(id)

    def address_of(self, source: Address) -> str:
        return limited_address(self._emulated.get(tuple(source[:2])) or str(source[0]))

    def requested(self, connection: QuicSession) -> None:
        address = self._starting.pop(connection, None)
        if address is not None:
            self._starting_at[address] -= 1
            if not self._starting_at[address]:
                del self._starting_at[address]

    def ended(self, connection: QuicSession) -> None:
        self.requested(connection)  # it never will
        self._sessions.discard(connection)
        for id in list(connection.ids):
            self.remove_id(id)

    def serve(self, connection: QuicSession, fields: Fields) -> Coroutine[Any, Any, None]:
        request = parse_request(fields, self._root_path)
        return WebTransport(self._services, connection, request).run()

    def find_tap(self, fields: Fields) -> Tap | None:
        target = dict(fields).get(b":path", b"").decode("latin1")
        secret = parse_query(target).get("trace", [b""])[-1].decode("latin1")
        return self._taps.find(secret)

    # --- time ------------------------------------------------------------------------------------

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self._resets = 0
            self._wasted = 0
            now = time.monotonic()
            for connection in list(self._sessions):
                connection.enforce_timeouts(now)

    async def close(self) -> None:
        """Let the last packets arrive, then close every connection and the sockets."""
        deadline = self._loop.time() + _SHUTDOWN_SECONDS
        while any(one.leaving for one in self._sessions) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._sessions):
            await connection.abort()
        await self._supervisor.close()
        for one in self._sockets:
            self._loop.remove_reader(one.fileno())
            one.close()


def _is_first(header: QuicHeader, data: bytes) -> bool:
    """Return whether a packet can start a connection (RFC 9000 §7.2 and §14.1).

    What is shorter gets no answer at all, so that no answer is longer than what it answers.
    """
    return (
        header.packet_type == QuicPacketType.INITIAL
        and len(data) >= SMALLEST_MAX_DATAGRAM_SIZE
        and len(header.destination_cid) >= _ID_BYTES
    )


def _offer_versions(header: QuicHeader, configuration: QuicConfiguration) -> bytes:
    return encode_quic_version_negotiation(
        source_cid=header.destination_cid,
        destination_cid=header.source_cid,
        supported_versions=configuration.supported_versions,
    )
