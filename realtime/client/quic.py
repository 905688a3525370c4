"""One WebTransport session over QUIC, the client's half, without a socket (sans-I/O): aioquic.

    datagram ──▶ receive_datagram(data, now) ──▶ response, bytes of the stream, datagrams
    datagrams ◀── datagrams_to_send(now) ◀── the request, `write`, acknowledgements

`WebTransportSession` adds a UDP socket and asyncio, the load generator its own event loop.  Time is
an argument: seconds of any one clock.
"""

import base64
import hashlib
import ssl
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import (
    DatagramReceived,
    DataReceived,
    H3Event,
    HeadersReceived,
    WebTransportStreamDataReceived,
)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    ProtocolNegotiated,
    QuicEvent,
    StreamReset,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography.hazmat.primitives.serialization import Encoding

from realtime.client.http import Closed, Response, ResponseHead

# Bytes that arrive before anybody reads them: as much as TCP sockets of this machine buffer.
WINDOW_BYTES = 131_072
# CLOSE_WEBTRANSPORT_SESSION (draft-ietf-webtrans-http3 §6).
_CLOSE_SESSION = 0x2843
# RFC 9000 §10.3.
_TOKEN_BYTES = 16
# RFC 9114 §8.1.
_NO_ERROR, _INTERNAL_ERROR = 0x100, 0x102
_LOST = Closed(None, "the connection ended without the close of its session")


class WindowedConnection(QuicConnection):
    """A connection whose window moves with what was read; aioquic's moves with what arrives."""

    window_end = WINDOW_BYTES
    _read_bytes = 0

    def add_read(self, size: int) -> None:
        """Move the window by what was read, in halves as Chromium does.

        Each move is a packet, which the server acknowledges with another one.
        """
        self._read_bytes += size
        if self._read_bytes + WINDOW_BYTES >= self.window_end + WINDOW_BYTES // 2:
            self.window_end = self._read_bytes + WINDOW_BYTES

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        if stream.max_stream_data_local:  # the server sends on it
            stream.max_stream_data_local = self.window_end
        # aioquic doubles the limit if more than half of it has arrived: hide that.
        arrived, stream.receiver.highest_offset = stream.receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            stream.receiver.highest_offset = arrived

    def is_reset(self, data: bytes) -> bool:
        """Return whether a packet says that the server has lost this connection (RFC 9000 §10.3).

        aioquic does not look for that.
        """
        ids = (self._peer_cid, *self._peer_cid_available)
        tokens = {id.stateless_reset_token for id in ids if id.stateless_reset_token}
        return data[-_TOKEN_BYTES:] in tokens


class SessionProtocol:
    """A session: `connect` it, then `read` and `write` its stream, which the server opens.

    Send `datagrams_to_send` after each call, and call `handle_timer` at `timer`.  `opened` says
    that the stream is open, and `refusal` is the response of a server that has refused the session.
    `datagrams` has those that have arrived.  `closed` is why the session ended: after a last
    `datagrams_to_send` nothing more is sent, but bytes may be left to read.
    """

    def __init__(
        self, authority: str, path: str, fields: Mapping[str, str], hashes: Collection[str]
    ) -> None:
        configuration = QuicConfiguration(
            alpn_protocols=H3_ALPN,
            # No authority has signed the certificate: its hash is compared instead.
            verify_mode=ssl.CERT_NONE,
            max_data=2 * WINDOW_BYTES,
            max_stream_data=WINDOW_BYTES,
            max_datagram_frame_size=65_536,
        )
        self.datagrams: deque[bytes] = deque(maxlen=1000)
        self.closed: Closed | None = None
        self.refusal: Response | None = None
        self._headers = {
            **{":method": "CONNECT", ":scheme": "https", ":authority": authority, ":path": path},
            ":protocol": "webtransport",
            **{name.lower(): value for name, value in fields.items()},
        }
        self._hashes = hashes
        self._quic = WindowedConnection(configuration=configuration)
        self._http: H3Connection | None = None
        self._address: Any = None
        self._unsent: list[bytes] = []
        self._head: ResponseHead | None = None
        self._body = bytearray()  # of the response: an error, or capsules
        self._request_id: int | None = None
        self._stream_id: int | None = None
        self._unread = bytearray()

    @property
    def opened(self) -> bool:
        return self._stream_id is not None

    def connect(self, address: Any, now: float) -> None:
        """Begin the handshake with `address`, which is only a key of aioquic for a path."""
        self._address = address
        self._quic.connect(address, now=now)

    def close(self, now: float) -> None:
        """Close the session and its connection."""
        if self.closed is None and self._http is not None and self._request_id is not None:
            capsule = encode_uint_var(_CLOSE_SESSION) + encode_uint_var(4) + bytes(4)
            self._http.send_data(self._request_id, capsule, end_stream=True)
            # The end of the connection would replace what is not in a packet yet.
            self._unsent += self._packets(now)
        self._end(_NO_ERROR, _LOST)

    def abort(self) -> None:
        """End the connection at once: the server learns only that."""
        self._end(_INTERNAL_ERROR, _LOST)

    def lose(self) -> None:
        """Note that the connection is lost: nothing arrives, and nothing can be sent."""
        self.closed = self.closed or _LOST

    def _end(self, code: int, closed: Closed) -> None:
        self._quic.close(error_code=code)
        self.closed = self.closed or closed

    # --- the stream ------------------------------------------------------------------------------

    def read(self) -> bytes:
        """Return the bytes that have arrived; the server may then send more."""
        data = bytes(self._unread)
        self._unread.clear()
        if data and self.closed is None:
            self._quic.add_read(len(data))
        return data

    def write(self, data: bytes) -> None:
        """Send `data` on the stream; raises `Closed`."""
        self.check_open()
        assert self._stream_id is not None
        self._quic.send_stream_data(self._stream_id, data)

    def check_open(self) -> None:
        if self.closed is not None:
            raise Closed(self.closed.code, self.closed.reason)

    # --- packets ---------------------------------------------------------------------------------

    @property
    def timer(self) -> float | None:
        """When to call `handle_timer`; None for never."""
        at: float | None = self._quic.get_timer()
        return at if self.closed is None else None

    def handle_timer(self, now: float) -> None:
        self._quic.handle_timer(now=now)
        self._handle_events()

    def ping(self) -> None:
        """Ask for an acknowledgement."""
        self._quic.send_ping(0)

    def receive_datagram(self, data: bytes, now: float) -> None:
        if self._quic.is_reset(data):
            self.lose()
            return
        self._quic.receive_datagram(data, self._address, now=now)
        self._handle_events()

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Return the payloads of the UDP datagrams that are due."""
        unsent, self._unsent = self._unsent, []
        return unsent + self._packets(now)

    def _packets(self, now: float) -> list[bytes]:
        return [data for data, _ in self._quic.datagrams_to_send(now=now)]

    # --- events ----------------------------------------------------------------------------------

    def _handle_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            self._handle_event(event)

    def _handle_event(self, event: QuicEvent) -> None:
        match event:
            case ProtocolNegotiated():
                self._http = H3Connection(self._quic, enable_webtransport=True)
            case HandshakeCompleted():
                self._check_certificate()
            case ConnectionTerminated() | StreamReset(stream_id=self._request_id):
                self.lose()
        if self._http is not None:
            for http_event in self._http.handle_event(event):
                self._handle_http_event(http_event)

    def _check_certificate(self) -> None:
        """Accept the certificate only by its hash, as a page does (`serverCertificateHashes`)."""
        certificate = self._quic.tls._peer_certificate
        assert certificate is not None
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        if base64.b64encode(digest).decode() in self._hashes:
            self._send_request()
        else:
            self._end(_NO_ERROR, Closed(None, "the certificate is another one"))

    def _send_request(self) -> None:
        assert self._http is not None
        self._request_id = self._quic.get_next_available_stream_id()
        fields = self._headers.items()
        self._http.send_headers(
            self._request_id,
            [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields],
        )

    def _handle_http_event(self, event: H3Event) -> None:
        match event:
            case HeadersReceived() if event.stream_id == self._request_id:
                self._head = _response_head(event.headers)
                self._end_response(event.stream_ended)
            case DataReceived() if event.stream_id == self._request_id:
                self._body += event.data
                self._end_response(event.stream_ended)
            case WebTransportStreamDataReceived():
                self._stream_id = event.stream_id
                self._unread += event.data
            case DatagramReceived():
                self.datagrams.append(event.data)

    def _end_response(self, ended: bool) -> None:
        """A session that ends at once may end before its stream has arrived."""
        if not ended or self._head is None:
            return
        if self._head.status == 200:
            self._end(_NO_ERROR, _parse_close(bytes(self._body)))
        else:
            self.refusal = Response(self._head, bytes(self._body))


def _response_head(headers: Collection[tuple[bytes, bytes]]) -> ResponseHead:
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return ResponseHead("HTTP/3", int(fields.pop(":status")), "", fields)


def _parse_close(body: bytes) -> Closed:
    """Parse the close of the session, the only capsule that our server sends (RFC 9297 §3.2)."""
    capsule = Buffer(data=body)
    try:
        kind, length = capsule.pull_uint_var(), capsule.pull_uint_var()
        code, reason = capsule.pull_uint32(), capsule.pull_bytes(length - 4)
    except (BufferReadError, ValueError):
        return _LOST
    if kind != _CLOSE_SESSION or not capsule.eof():
        return _LOST
    return Closed(code, reason.decode("utf-8", "replace"))
