"""What a client can make aioquic store is limited: windows, streams, handshakes, datagrams."""

from datetime import UTC, datetime

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicPacketType, QuicProtocolVersion
from aioquic.quic.packet_builder import QuicPacketBuilder

from realtime.limits import Limits
from realtime.server.quic.certificate import make_certificate
from realtime.server.quic.limited import (
    WINDOW_BYTES,
    LimitedH3Connection,
    LimitedQuicConnection,
    make_configuration,
)
from realtime.server.quic.stateless_reset import ResetTokens

CLIENT, SERVER = ("192.0.2.1", 1), ("192.0.2.2", 2)


class Pair:
    """A client and a limited server, whose packets are passed on by function calls."""

    def __init__(self) -> None:
        configuration = make_configuration(make_certificate(datetime.now(UTC)), Limits())
        options = QuicConfiguration(
            alpn_protocols=H3_ALPN, verify_mode=0, max_datagram_frame_size=65_536
        )
        self.client = QuicConnection(configuration=options)
        self.server = LimitedQuicConnection(
            reset_tokens=ResetTokens(b"key"),
            configuration=configuration,
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self.now = 0.0
        self.client.connect(SERVER, now=self.now)

    def exchange(self) -> list[QuicEvent]:
        """Pass packets in both directions until there are none; return the server's events."""
        quiet = 0
        while quiet < 3:
            self.now += 0.05
            sent = 0
            for one, other, source in (
                (self.client, self.server, CLIENT),
                (self.server, self.client, SERVER),
            ):
                if (at := one.get_timer()) is not None and at <= self.now:
                    one.handle_timer(now=self.now)
                for data, _ in one.datagrams_to_send(now=self.now):
                    other.receive_datagram(data, source, now=self.now)
                    sent += 1
            quiet = 0 if sent else quiet + 1
        found = []
        while (event := self.server.next_event()) is not None:
            found.append(event)
        return found


@pytest.fixture
def pair() -> Pair:
    made = Pair()
    made.exchange()
    return made


def arrived(events: list[QuicEvent], stream: int) -> int:
    return sum(
        len(event.data)
        for event in events
        if isinstance(event, StreamDataReceived) and event.stream_id == stream
    )


def open_stream(pair: Pair) -> int:
    """A stream that the server opens, as for a session."""
    stream = pair.server.get_next_available_stream_id()
    pair.server.send_stream_data(stream, b"\n")
    pair.server.read_stream = stream
    pair.exchange()
    return stream


def test_a_window_moves_with_what_was_read(pair: Pair) -> None:
    stream = open_stream(pair)
    pair.client.send_stream_data(stream, bytes(5 * WINDOW_BYTES))
    assert arrived(pair.exchange(), stream) == WINDOW_BYTES
    assert not pair.server.add_read(100)  # not worth a packet
    assert pair.server.add_read(WINDOW_BYTES - 100)
    assert arrived(pair.exchange(), stream) == WINDOW_BYTES
    for _ in range(3):  # and so on, also beyond the window of the whole connection
        pair.server.add_read(WINDOW_BYTES)
        assert arrived(pair.exchange(), stream) == WINDOW_BYTES


def test_a_request_has_one_window_in_all_its_life(pair: Pair) -> None:
    pair.client.send_stream_data(0, bytes(5 * WINDOW_BYTES))
    assert arrived(pair.exchange(), 0) == WINDOW_BYTES
    assert arrived(pair.exchange(), 0) == 0


def test_bytes_at_the_end_of_the_window_do_not_open_a_larger_one(pair: Pair) -> None:
    """With aioquic alone, each such packet doubles what the next one makes us allocate."""
    stream = pair.client._get_or_create_stream_for_send(0)
    for _ in range(10):
        limit = stream.max_stream_data_remote
        sender = stream.sender
        sender._buffer_start = sender._buffer_stop = max(sender._buffer_stop, limit - 1)
        if sender._buffer_stop < limit:
            pair.client.send_stream_data(0, b"x")
        pair.exchange()
    assert stream.max_stream_data_remote == WINDOW_BYTES
    held = pair.server._streams[0].receiver._buffer
    assert len(held) <= WINDOW_BYTES


def test_a_client_may_open_few_streams(pair: Pair) -> None:
    assert (pair.client._remote_max_streams_bidi, pair.client._remote_max_streams_uni) == (4, 8)


def test_a_handshake_that_is_too_long_is_refused() -> None:
    """One packet at the end of what aioquic accepts would make it allocate half a megabyte."""
    pair = Pair()
    id, version = pair.client.original_destination_connection_id, QuicProtocolVersion.VERSION_1
    crypto = CryptoPair()
    crypto.setup_initial(cid=id, is_client=True, version=version)
    builder = QuicPacketBuilder(
        host_cid=b"12345678", peer_cid=id, version=version, is_client=True, max_datagram_size=1200
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    frame = builder.start_frame(QuicFrameType.CRYPTO, capacity=20)
    frame.push_bytes(encode_uint_var(20_000) + encode_uint_var(1) + b"x")
    (packet,), _ = builder.flush()
    pair.server.receive_datagram(packet, CLIENT, now=0.0)
    assert pair.server.closing
    pair.server.datagrams_to_send(now=0.0)
    pair.server.handle_timer(now=100.0)
    events = [e for e in iter(pair.server.next_event, None) if isinstance(e, ConnectionTerminated)]
    assert [event.error_code for event in events] == [QuicErrorCode.CRYPTO_BUFFER_EXCEEDED]


def test_few_pieces_wait_for_what_is_missing_before_them(pair: Pair) -> None:
    """RFC 9000 §21.6: a piece of one byte costs a hundred, and each frame looks at all of them."""
    stream = open_stream(pair)
    send_with_gaps(pair, stream, 500)
    pair.exchange()
    assert not pair.server.closing
    send_with_gaps(pair, stream, 100)
    pair.exchange()
    assert pair.server.closing
    assert len(pair.server._streams[stream].receiver._ranges) < 520


def send_with_gaps(pair: Pair, stream: int, pieces: int) -> None:
    """Send pieces of one byte, each after a byte that is lost."""
    sender = pair.client._streams[stream].sender
    start = sender._buffer_stop
    pair.client.send_stream_data(stream, bytes(2 * pieces))
    for offset in range(start, start + 2 * pieces, 2):
        sender._pending.subtract(offset, offset + 1)


def test_few_pieces_of_a_handshake_wait_for_what_is_missing_before_them() -> None:
    pair = Pair()
    id, version = pair.client.original_destination_connection_id, QuicProtocolVersion.VERSION_1
    crypto = CryptoPair()
    crypto.setup_initial(cid=id, is_client=True, version=version)
    for number in range(6):
        assert not pair.server.closing
        builder = QuicPacketBuilder(
            host_cid=b"12345678",
            peer_cid=id,
            version=version,
            is_client=True,
            max_datagram_size=1200,
            packet_number=number,
        )
        builder.start_packet(QuicPacketType.INITIAL, crypto)
        for offset in range(200 * number, 200 * number + 200, 2):
            frame = builder.start_frame(QuicFrameType.CRYPTO, capacity=6)
            frame.push_bytes(encode_uint_var(offset + 1) + encode_uint_var(1) + b"x")
        (packet,), _ = builder.flush()
        pair.server.receive_datagram(packet, CLIENT, now=0.0)
    assert pair.server.closing


def test_what_the_client_has_not_acknowledged_is_counted(pair: Pair) -> None:
    stream = open_stream(pair)
    assert (pair.server.acknowledged(stream), pair.server.unacknowledged(stream)) == (1, 0)
    pair.server.send_stream_data(stream, bytes(1000))
    pair.server.datagrams_to_send(now=pair.now)  # lost
    assert (pair.server.acknowledged(stream), pair.server.unacknowledged(stream)) == (1, 1000)
    pair.now += 1.0
    pair.exchange()
    assert (pair.server.acknowledged(stream), pair.server.unacknowledged(stream)) == (1001, 0)


def test_a_datagram_that_does_not_fit_or_must_wait_is_not_sent(pair: Pair) -> None:
    sizes = [size for size in range(1000, 1250) if pair.server.send_datagram_now(bytes(size))]
    assert len(sizes) == 32  # so many may wait
    pair.exchange()
    assert not pair.server.send_datagram_now(bytes(1200))
    largest = max(size for size in range(1100, 1200) if _fits(pair, size))
    received = [
        len(event.data) for event in iter(pair.client.next_event, None) if hasattr(event, "data")
    ]
    assert largest in received
    assert largest > 1140  # or the overhead is overestimated


def _fits(pair: Pair, size: int) -> bool:
    sent = pair.server.send_datagram_now(bytes(size))
    pair.exchange()
    return sent


def test_the_settings_are_those_that_browsers_require(pair: Pair) -> None:
    http = LimitedH3Connection(pair.server)
    assert http.sent_settings is not None
    required = {0x08: 1, 0x33: 1, 0x2B60_3742: 1, 0x14E9_CD29: 1}
    assert required.items() <= http.sent_settings.items()
