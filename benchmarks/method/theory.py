"""Predict each measurement from theory: every model is a few lines, with its derivation.

A *transit* is the time of one message through the network in one direction: half a round trip,
d = rtt/2.  The models include only the network and the protocol, no server CPU and no scheduler.
The difference between a measurement and its model is the cost of those, and every table prints it.

Time 0 is when the server has the message.  Rates are per second, times are in seconds.
"""

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

# --- how long ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """A share `at_once` of the messages takes `low`; the rest is uniform between low and high."""

    at_once: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.low + (1 - self.at_once) * (self.high - self.low) / 2

    def quantile(self, share: float) -> float:
        """Return the time within which this share of the messages arrives."""
        if share <= self.at_once:
            return self.low
        return self.low + (self.high - self.low) * (share - self.at_once) / (1 - self.at_once)

    def distribution(self) -> list[tuple[float, float]]:
        """Return the corners of the cumulative distribution, as (time, share)."""
        return [(self.low, 0.0), (self.low, self.at_once), (self.high, 1.0)]


def stream(rtt: float) -> LatencyModel:
    """One transit: the connection is open and the server may write.  The same for all streams."""
    return LatencyModel(1.0, rtt / 2, rtt / 2)


def short_polling(rtt: float, interval: float) -> LatencyModel:
    """Half an interval plus a transit, on average.

    Requests reach the server every T = max(interval, rtt), because the client sends the next one
    only after the last response.  A message at a random time waits for the next request between 0
    and T, uniformly; the response needs one transit.
    """
    period = max(interval, rtt)
    return LatencyModel(0.0, rtt / 2, rtt / 2 + period)


def blind_time(rtt: float, *, fresh: bool = False) -> float:
    """The time between a long poll's response and the next request at the server.

    The response travels down and the request up: one round trip.  If every request opens a new
    connection, SYN and SYN-ACK take one more: these are the tutorial's *two round trips* between
    updates.
    """
    return 2 * rtt if fresh else rtt


def long_polling(rtt: float, rate: float, *, fresh: bool = False) -> LatencyModel:
    """One transit if a request is waiting, up to three if not; messages come every 1/rate.

    After a response the client is blind for B.  If 1/rate >= B a request is always waiting: 1
    transit.  Otherwise there is always a new message when a request arrives: it is answered at
    once, each cycle takes B, and a message waits between 0 and B: with B = rtt, 1 to 3 transits.
    """
    gap = blind_time(rtt, fresh=fresh)
    at_once = 1.0 if rate * gap <= 1 else 0.0
    return LatencyModel(at_once, rtt / 2, rtt / 2 + (0.0 if at_once else gap))


def long_polling_at_random(rtt: float, rate: float, *, fresh: bool = False) -> LatencyModel:
    """The same when messages come at random times (a Poisson process), as people write.

    A cycle starts with a response.  During the blind time B arrive n = rate * B messages on
    average; they wait between 0 and B, uniformly, and one response brings them all.  With
    probability e^-n there are none: then the request waits, and the next message is answered at
    once.  So of the n + e^-n messages of a cycle, e^-n find a request waiting.
    """
    gap = blind_time(rtt, fresh=fresh)
    none = math.exp(-rate * gap)
    return LatencyModel(none / (rate * gap + none), rtt / 2, rtt / 2 + gap)


def for_transport(transport: str, rtt: float, rate: float, interval: float) -> LatencyModel:
    """Return the model of a transport, for messages that come every 1/rate seconds."""
    if transport == "short_polling":
        return short_polling(rtt, interval)
    if transport == "long_polling":
        return long_polling(rtt, rate)
    return stream(rtt)


# Additional round trips before a session receives anything: SockJS requests `/info` first and
# joins after the handshake; Socket.IO connects to a namespace.
EXTRA_ROUND_TRIPS = {"sockjs": 2, "socketio": 1}
# A page that does not know the server yet requests `/lab` over TCP before it uses WebTransport.
LAB_ROUND_TRIPS = 2


def recovery(transport: str, rtt: float, interval: float) -> LatencyModel:
    """The time from a broken connection to a message that was published at that moment.

    SYN and SYN-ACK, then request and response: two round trips for our six transports over TCP.
    WebTransport has as many, for the handshakes of QUIC and TLS are one.  The request carries the
    cursor; the libraries send more messages first (`EXTRA_ROUND_TRIPS`).  A
    short poller notices the break at once only while a request is open, which is true for rtt of
    every interval; otherwise it notices at its next request.
    """
    if transport != "short_polling":
        trips = 2 + EXTRA_ROUND_TRIPS.get(transport, 0)
        return LatencyModel(1.0, trips * rtt, trips * rtt)
    period = max(interval, rtt)
    return LatencyModel(rtt / period, 2 * rtt, rtt + period)


# --- how many bytes ------------------------------------------------------------------------------


def chunk_bytes(size: int) -> int:
    """A chunk (RFC 9112 §7.1): its size in hexadecimal, the data, and two CRLF."""
    return len(f"{size:x}") + 4 + size


def frame_bytes(size: int) -> int:
    """A frame of a server (RFC 6455 §5.2): two bytes, and two or eight more for a longer length."""
    return size + (2 if size < 126 else 4 if size < 65_536 else 10)


# A packet of QUIC (RFC 9000 §17.3.1), as aioquic writes it: its first byte, the connection id of
# the receiver, two bytes of packet number, and the tag of the encryption.
_PACKET_BYTES = 1 + 8 + 2 + 16
# A STREAM frame (§19.8): type, stream, four bytes of offset (two for the first 16 KiB), length.
_STREAM_FRAME_BYTES = 1 + 1 + 4 + 2
# An ACK frame (§19.3): type, largest packet number, delay, number of ranges, first range.
_ACK_FRAME_BYTES = 1 + 2 + 2 + 1 + 1
# The payload of a datagram that every network forwards (§14).
_DATAGRAM_BYTES = 1200


def quic_packets(size: int) -> int:
    """Return the packets for so many bytes of a stream."""
    return math.ceil(size / (_DATAGRAM_BYTES - _PACKET_BYTES - _STREAM_FRAME_BYTES))


def quic_stream_bytes(size: int) -> int:
    """Return the bytes of the packets that carry so many bytes of a stream."""
    return size + quic_packets(size) * (_PACKET_BYTES + _STREAM_FRAME_BYTES)


# A packet with nothing but an acknowledgement.
QUIC_ACK_BYTES = _PACKET_BYTES + _ACK_FRAME_BYTES


def pushed_bytes(transport: str, event: bytes, cursor: str, script: bytes = b"") -> int:
    """One event on an open stream; `event` is its JSON, `script` is the code of the iframe's block.

    SSE writes two lines and an empty line, NDJSON one line, the iframe a script block whose
    attribute holds the escaped JSON; each in one chunk.  A WebSocket writes a frame.  WebTransport
    writes a line into packets.
    """
    if transport == "webtransport":
        return quic_stream_bytes(len(event) + 1)
    if transport == "websocket":
        return frame_bytes(len(event))
    if transport == "sockjs":
        return frame_bytes(
            len("a[]") + len(json.dumps(event.decode(), ensure_ascii=False).encode())
        )
    if transport == "socketio":
        return frame_bytes(len('42["event",]') + len(event))
    if transport == "sse":
        return chunk_bytes(len(b"id: \ndata: \n\n") + len(cursor) + len(event))
    if transport == "fetch_streaming":
        return chunk_bytes(len(event) + 1)
    escaped = html.escape(event.decode(), quote=False).replace('"', "&#34;").encode()
    return chunk_bytes(len(b'<script data-event=""></script>\n') + len(script) + len(escaped))


def acknowledgement_bytes(transport: str) -> int:
    """What a reader sends for one event.

    TCP acknowledges in the kernel, and these bytes are not counted.  QUIC sends packets to
    acknowledge: one for all packets of an event, which arrive together.
    """
    return QUIC_ACK_BYTES if transport == "webtransport" else 0


def poll_response_bytes(head: int, events: Sequence[bytes], cursor: str) -> int:
    """The response to a poll: its header, and a body with the events separated by commas."""
    body = len('{"cursor":"","events":[]}') + len(cursor)
    return head + body + sum(map(len, events)) + max(len(events) - 1, 0)


def polls_per_message(transport: str, rate: float, rtt: float, interval: float) -> float:
    """Requests of a poller per message: by its interval, or one for each response."""
    if transport == "short_polling":
        return 1 / (rate * max(interval, rtt))
    if transport == "long_polling":
        # One response brings all messages of a blind time.
        return 1.0 if rate * rtt <= 1 else 1 / (rate * rtt)
    return 0.0


def polls_per_idle_minute(transport: str, interval: float, wait: float) -> float:
    """Requests of a poller in a minute without events."""
    if transport == "short_polling":
        return 60 / interval
    return 60 / wait if transport == "long_polling" else 0.0


def heartbeat_bytes(transport: str) -> tuple[int, int]:
    """Bytes up and down for each heartbeat on an idle stream.

    A ping has two bytes and its pong six, because a client masks (RFC 6455 §5.3); the other
    heartbeats are a chunk with a comment, an empty line, or white space.
    """
    if transport == "webtransport":  # an empty line
        return QUIC_ACK_BYTES, quic_stream_bytes(1)
    if transport == "websocket":
        return 6, 2
    if transport == "sockjs":
        return 6, 2 + frame_bytes(1)  # a ping, and the frame `h`
    if transport == "socketio":
        return 4 + frame_bytes(1), frame_bytes(1)  # `3`, masked, answers `2`
    payload = {"sse": 3, "fetch_streaming": 1, "iframe_streaming": 1}
    return 0, chunk_bytes(payload[transport])
