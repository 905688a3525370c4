"""QUIC and HTTP/3 of aioquic, with limits for what a client can make us store.

aioquic hands data on as it arrives and doubles its flow control windows meanwhile, whether anybody
has read the data or not.  With a few packets, each at the end of the last window, a client could
make it allocate any amount of memory.  Here a window moves only with what our transport has read.

All private names of aioquic that we use are in this file; tests/test_pinned_packages.py lists them.
"""

from typing import Any

from aioquic.buffer import Buffer
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from realtime.limits import Limits
from realtime.server.quic.certificate import Certificate
from realtime.server.quic.stateless_reset import ResetTokens

# Bytes that a client may send on a stream before we have read them: two messages of usual limits.
# Requests and settings get no more in all their life.
WINDOW_BYTES = 32_768
# The same for all streams of a connection together.
_CONNECTION_WINDOW_BYTES = 3 * WINDOW_BYTES
# Streams that a client may have open.  HTTP/3 needs one for the request, and three for itself, as
# well as others of types that nobody knows (RFC 9114 §6.2.3).
_MAX_BIDIRECTIONAL, _MAX_UNIDIRECTIONAL = 4, 8
# RFC 9000 §7.5 requires 4096 bytes; a ClientHello with post-quantum keys has about two thousand.
# aioquic would accept half a megabyte, from somebody whose address is not validated.
_MAX_CRYPTO_BYTES = 16_384
# Pieces of a stream or a handshake that wait for what is missing before them (RFC 9000 §21.6).
# aioquic has an object for each, and looks through all of them for each frame: pieces of one byte
# would cost a megabyte and seconds.  A window of short messages, one per packet, has five hundred.
_MAX_PIECES = 512
# Datagrams that wait for the congestion window; one more is not sent.
_MAX_WAITING_DATAGRAMS = 32
# What a packet has besides a datagram: a short header with the connection ID of a client and a
# packet number, the frame's type and length, the tag of its encryption (RFC 9001 §5.3).
_HEADER_BYTES, _FRAME_BYTES, _TAG_BYTES = 3, 3, 16
# RFC 9221 §3: the largest value, which means any size.
_ANY_DATAGRAM_SIZE = 65_536
# draft-ietf-webtrans-http3-14 §9.2: Safari opens no session without it.  More than one would
# promise flow control for each session (§5.1).
_WT_MAX_SESSIONS = 0x14E9CD29


def make_configuration(certificate: Certificate, limits: Limits) -> QuicConfiguration:
    """Return the configuration of connections with this certificate."""
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=H3_ALPN,
        certificate=certificate.certificate,
        private_key=certificate.key,
        # Each heartbeat is acknowledged.  A client that has gone misses the next one, too.
        idle_timeout=2 * limits.heartbeat_seconds,
        max_data=_CONNECTION_WINDOW_BYTES,
        max_stream_data=WINDOW_BYTES,
        max_datagram_frame_size=_ANY_DATAGRAM_SIZE,
    )


class LimitedQuicConnection(QuicConnection):
    """A connection whose windows move with what is read from the stream `read_stream`.

    `reset_tokens` makes the tokens that aioquic would choose at random.
    """

    def __init__(self, *, reset_tokens: ResetTokens, **options: Any) -> None:
        super().__init__(**options)
        self._reset_tokens = reset_tokens
        self._set_reset_tokens()
        self.read_stream: int | None = None
        self._read_bytes = 0  # of that stream
        for limit, most in (
            (self._local_max_streams_bidi, _MAX_BIDIRECTIONAL),
            (self._local_max_streams_uni, _MAX_UNIDIRECTIONAL),
        ):
            limit.value = limit.sent = most

    @property
    def started(self) -> bool:
        """Whether a packet could be decrypted; if the first one could not, nobody waits for us."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def peer_address(self) -> Any:
        """The address to which we send; None while it has not shown that it receives it.

        A packet of a client can have the address of anybody (RFC 9000 §9.3.1).
        """
        path = self._network_paths[0]
        return path.addr if path.is_validated else None

    @property
    def closing(self) -> bool:
        """Whether either side has closed the connection.

        aioquic reports that as an event only some round trips later, when no packet can follow.
        """
        return self._close_event is not None

    # --- in --------------------------------------------------------------------------------------

    def add_read(self, count: int) -> bool:
        """Count bytes that were read; return whether the client must now be informed."""
        before = self._read_bytes // (WINDOW_BYTES // 2)
        self._read_bytes += count
        return self._read_bytes // (WINDOW_BYTES // 2) > before

    def _read_limit(self) -> int:
        """Bytes of the stream that the client may send, in steps of half a window."""
        step = WINDOW_BYTES // 2
        return self._read_bytes // step * step

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        if stream.stream_id == self.read_stream:
            stream.max_stream_data_local = WINDOW_BYTES + self._read_limit()
        # aioquic doubles the limit if more than half of it has arrived: hide that.
        arrived, stream.receiver.highest_offset = stream.receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            stream.receiver.highest_offset = arrived

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        window = self._local_max_data
        window.value = _CONNECTION_WINDOW_BYTES + self._read_limit()
        arrived, window.used = window.used, 0  # as above
        try:
            super()._write_connection_limits(builder, space)
        finally:
            window.used = arrived

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        if end > _MAX_CRYPTO_BYTES:
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                frame_type=frame_type,
                reason_phrase="the handshake is too long",
            )
        super()._handle_crypto_frame(context, frame_type, buf)
        stream = self._crypto_streams[context.epoch]
        _check_pieces(stream, QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, frame_type)

    def _handle_stream_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        start = buf.tell()
        id = buf.pull_uint_var()
        buf.seek(start)
        super()._handle_stream_frame(context, frame_type, buf)
        if (stream := self._streams.get(id)) is not None:
            _check_pieces(stream, QuicErrorCode.INTERNAL_ERROR, frame_type)

    # --- out -------------------------------------------------------------------------------------

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        self._set_reset_tokens()

    def _set_reset_tokens(self) -> None:
        for id in self._host_cids:
            id.stateless_reset_token = self._reset_tokens.token(id.cid)

    def unacknowledged(self, stream_id: int) -> int:
        """Return how many bytes of a stream we keep, since the client may not have them."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender._buffer_start

    def acknowledged(self, stream_id: int) -> int:
        """Return how many bytes of a stream the client has."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_start

    def send_datagram_now(self, data: bytes) -> bool:
        """Send a datagram frame; return False if it is too long, or too many wait already.

        One that fits in no packet would wait forever, and all others behind it.
        """
        overhead = _HEADER_BYTES + len(self._peer_cid.cid) + _FRAME_BYTES + _TAG_BYTES
        most = min(self._max_datagram_size - overhead, self._remote_max_datagram_frame_size or 0)
        if len(data) > most or len(self._datagrams_pending) >= _MAX_WAITING_DATAGRAMS:
            return False
        self.send_datagram_frame(data)
        return True


def _check_pieces(stream: QuicStream, error_code: int, frame_type: int) -> None:
    if len(stream.receiver._ranges) > _MAX_PIECES:
        raise QuicConnectionError(
            error_code=error_code, frame_type=frame_type, reason_phrase="too many gaps"
        )


class LimitedH3Connection(H3Connection):
    """HTTP/3 with the settings that browsers require for WebTransport."""

    def __init__(self, quic: LimitedQuicConnection) -> None:
        super().__init__(quic, enable_webtransport=True)

    def _get_local_settings(self) -> dict[int, int]:
        return super()._get_local_settings() | {_WT_MAX_SESSIONS: 1}
