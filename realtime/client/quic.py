"""One WebTransport session over QUIC, the client's half: aioquic and a UDP socket.

    UDP socket ─▶ aioquic ─▶ response, bytes of the stream, datagrams ─▶ WebTransportClient

The event loop receives packets at any time, so acknowledgements leave even while nobody reads.  But
the server may send no more than one window that nobody has read, as to a page that stops reading.
"""

import asyncio
import base64
import hashlib
import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, cast

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

from realtime.client.http import ByteCount, Closed, Response, ResponseHead

# Bytes that arrive before anybody reads them: as much as TCP sockets of this machine buffer.
WINDOW_BYTES = 131_072
# Seconds for the handshake and the response, as for a connection of a browser.
_OPEN_SECONDS = 10.0
# CLOSE_WEBTRANSPORT_SESSION (draft-ietf-webtrans-http3 §6).
_CLOSE_SESSION = 0x2843
# RFC 9000 §10.3.
_TOKEN_BYTES = 16
# Seconds between two pings.  A reader that sends nothing else would not learn that the server has
# gone or restarted, and a NAT would forget it (§10.1.2).
_PING_SECONDS = 5.0
# RFC 9114 §8.1.
_NO_ERROR, _INTERNAL_ERROR = 0x100, 0x102
_LOST = Closed(None, "the connection ended without the close of its session")


class WindowedConnection(QuicConnection):
    """A connection whose window moves with what was read; aioquic's moves with what arrives."""

    window_end = WINDOW_BYTES

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


class WebTransportSession(asyncio.DatagramProtocol):
    """A session: `open` it, then `read` and `write` its stream, which the server opens.

    `datagrams` has those that have arrived, and `closed` is why the session ended.  At that time
    bytes may be left to read.
    """

    def __init__(self, count: ByteCount, hashes: Collection[str]) -> None:
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
        self._quic = WindowedConnection(configuration=configuration)
        self._http: H3Connection | None = None
        self._count = count
        self._hashes = hashes
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pings: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()  # whenever something has arrived
        self._connected = False
        self._head: ResponseHead | None = None
        self._body = bytearray()  # of the response: an error, or capsules
        self._body_ended = False
        self._request_id: int | None = None
        self._stream_id: int | None = None
        self._unread = bytearray()

    # --- open and close --------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        address: tuple[str, int],
        authority: str,
        path: str,
        fields: Mapping[str, str],
        *,
        count: ByteCount,
        hashes: Collection[str],
        source: str | None = None,
    ) -> Self:
        """Connect, and open a session; raises `Refused`, `Closed` or OSError."""
        loop = asyncio.get_running_loop()
        local = None if source is None else (source, 0)
        _, session = await loop.create_datagram_endpoint(
            lambda: cls(count, hashes), remote_addr=address, local_addr=local
        )
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await session._connect(authority, path, fields)
        except BaseException:
            session.abort()
            raise
        return session

    async def _connect(self, authority: str, path: str, fields: Mapping[str, str]) -> None:
        self._quic.connect(self._address, now=self._loop.time())
        self._transmit()
        await self._until(lambda: self._connected)
        self._request(authority, path, fields)
        await self._until(lambda: self._head is not None)
        assert self._head is not None
        if self._head.status != 200:
            await self._until(lambda: self._body_ended)
            Response(self._head, bytes(self._body)).check(200)
        await self._until(lambda: self._stream_id is not None)
        self._pings = self._loop.call_later(_PING_SECONDS, self._ping)

    def _request(self, authority: str, path: str, fields: Mapping[str, str]) -> None:
        assert self._http is not None
        self._request_id = self._quic.get_next_available_stream_id()
        headers = {
            **{":method": "CONNECT", ":scheme": "https", ":authority": authority, ":path": path},
            ":protocol": "webtransport",
            **{name.lower(): value for name, value in fields.items()},
        }
        encoded = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        self._http.send_headers(self._request_id, encoded)
        self._transmit()

    async def close(self) -> None:
        """Close the session and its connection."""
        if self.closed is None and self._http is not None and self._request_id is not None:
            capsule = encode_uint_var(_CLOSE_SESSION) + encode_uint_var(4) + bytes(4)
            self._http.send_data(self._request_id, capsule, end_stream=True)
            self._transmit()  # before the end of the connection, which would replace it
        self._end(_NO_ERROR, _LOST)

    def abort(self) -> None:
        """End the connection at once: the server learns only that."""
        self._end(_INTERNAL_ERROR, _LOST)

    def _end(self, code: int, closed: Closed) -> None:
        self._quic.close(error_code=code)
        self._transmit()
        self._lose(closed)

    def _lose(self, closed: Closed) -> None:
        """Nothing more arrives."""
        self.closed = self.closed or closed
        self._changed.set()
        for timer in filter(None, (self._timer, self._pings)):
            timer.cancel()
        self._timer = self._pings = None
        self._transport.close()

    # --- the stream ------------------------------------------------------------------------------

    def read(self) -> bytes:
        """Return the bytes that have arrived; the server may then send more."""
        data = bytes(self._unread)
        self._unread.clear()
        if data and self.closed is None:
            self._quic.window_end += len(data)
            self._transmit()
        return data

    async def changed(self) -> None:
        """Wait until something arrives, the session ends, or `wake` is called."""
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Let all that wait look again."""
        self._changed.set()

    def write(self, data: bytes) -> None:
        """Send `data` on the stream; raises `Closed`."""
        self._check_open()
        assert self._stream_id is not None
        self._quic.send_stream_data(self._stream_id, data)
        self._transmit()

    def _check_open(self) -> None:
        if self.closed is not None:
            raise Closed(self.closed.code, self.closed.reason)

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until `done()`; raises `Closed` at the end of the connection."""
        while not done():
            self._check_open()
            await self.changed()

    # --- packets ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._address = transport.get_extra_info("peername")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._count.bytes_in += len(data)
        if self._quic.is_reset(data):
            self._lose(_LOST)
            return
        self._quic.receive_datagram(data, self._address, now=self._loop.time())
        self._handle_events()
        self._transmit()

    def error_received(self, exc: Exception) -> None:
        self._lose(_LOST)  # nobody listens there

    def _transmit(self) -> None:
        if self._transport.is_closing():
            return
        for data, _ in self._quic.datagrams_to_send(now=self._loop.time()):
            self._count.bytes_out += len(data)
            self._transport.sendto(data)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self._quic.get_timer()) is not None and self.closed is None:
            self._timer = self._loop.call_at(at, self._on_timer, at)

    def _ping(self) -> None:
        self._quic.send_ping(0)
        self._transmit()
        self._pings = self._loop.call_later(_PING_SECONDS, self._ping)

    def _on_timer(self, at: float) -> None:
        self._timer = None
        self._quic.handle_timer(now=max(at, self._loop.time()))
        self._handle_events()
        self._transmit()

    def _handle_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            self._handle_event(event)
        self._changed.set()

    def _handle_event(self, event: QuicEvent) -> None:
        match event:
            case HandshakeCompleted():
                self._check_certificate()
                self._connected = True
            case ProtocolNegotiated():
                self._http = H3Connection(self._quic, enable_webtransport=True)
            case ConnectionTerminated() | StreamReset(stream_id=self._request_id):
                self._lose(_LOST)
        if self._http is not None:
            for http_event in self._http.handle_event(event):
                self._handle_http_event(http_event)

    def _check_certificate(self) -> None:
        """Accept the certificate only by its hash, as a page does (`serverCertificateHashes`)."""
        certificate = self._quic.tls._peer_certificate
        assert certificate is not None
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        if base64.b64encode(digest).decode() not in self._hashes:
            self._lose(Closed(None, "the certificate is another one"))

    def _handle_http_event(self, event: H3Event) -> None:
        match event:
            case HeadersReceived() if event.stream_id == self._request_id:
                self._head = _response_head(event.headers)
            case DataReceived() if event.stream_id == self._request_id:
                self._body += event.data
                self._body_ended = event.stream_ended
                # A session that ends at once may end before its stream has arrived.
                if event.stream_ended and self._head is not None and self._head.status == 200:
                    self._end(_NO_ERROR, _parse_close(bytes(self._body)))
            case WebTransportStreamDataReceived():
                self._stream_id = event.stream_id
                self._unread += event.data
            case DatagramReceived():
                self.datagrams.append(event.data)


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
