"""One QUIC connection, from its first packet on, and its one WebTransport session.

    receive ──▶ aioquic ──▶ events ──▶ the request, messages ──▶ the session: a task
    transmit ◀── aioquic ◀──────────── push, send, end     ◀────┘

It counts the bytes where they cross the UDP socket: headers, acknowledgements and what is sent
again included.  A browser has a connection for each session, so a second one is refused.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Protocol

from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    DatagramFrameReceived,
    ProtocolNegotiated,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

from realtime import metrics
from realtime.errors import Busy, RealtimeError, error_response
from realtime.limits import Limits
from realtime.protocol.capsules import CapsuleReader, close_session, encode_varint
from realtime.server.quic.capture import Capture
from realtime.server.quic.limited import LimitedH3Connection, LimitedQuicConnection
from realtime.server.tap import Tap
from realtime.server.traffic import OTHER, TrafficStats
from realtime.tasks import cancel_and_wait
from realtime.transports.base import TOO_MANY_CONNECTIONS
from realtime.transports.webtransport import WebTransport

# Seconds for a client to close its connection after the session has ended.
_CLOSE_SECONDS = 2.0
# Bytes that one session reads before others have their turn: a few messages.
_READ_BYTES = 1024
# Streams that a client may open in vain.
_MAX_REFUSED_STREAMS = 16
# RFC 9000 §2.1: the bit of a stream's number that says it has one direction.
_UNIDIRECTIONAL = 2

log = logging.getLogger(__name__)

Address = Any  # of a socket: host and port, and two numbers more for IPv6
Fields = list[tuple[bytes, bytes]]


class Owner(Protocol):
    """What a connection needs of its listener."""

    def add_id(self, id: bytes, connection: "QuicSession") -> None:
        """Pass packets with this connection ID to `connection`."""

    def remove_id(self, id: bytes) -> None: ...

    def address_of(self, source: Address) -> str:
        """Return the address for which a client counts that sends from `source`."""

    def requested(self, connection: "QuicSession") -> None:
        """Report that a connection has sent its request."""

    def ended(self, connection: "QuicSession") -> None:
        """Report that no packet follows."""

    def serve(self, connection: "QuicSession", fields: Fields) -> Coroutine[Any, Any, None]:
        """Return what serves the session with this request; raises a named error."""

    def find_tap(self, fields: Fields) -> Tap | None:
        """Return the tap of a request that is traced and has a subscriber."""


class QuicSession:
    """A connection as `transports.webtransport` uses it, and as the traffic statistics count it.

    One that is `over_limit` is not counted, and learns the reason from the answer to its request.
    """

    __slots__ = (
        *("address", "connection_id", "counted_address", "over_limit", "transport", "client"),
        *("bytes_in", "events", "flushed", "drained", "ids", "_bytes_out"),
        *(
            "_owner",
            "_send",
            "_quic",
            "_http",
            "_traffic",
            "_limits",
            "_loop",
            "_timer",
            "_timer_at",
            "_transmitting",
        ),
        *("_request_id", "_stream_id", "_capsules", "_task", "_capture", "_is_counted"),
        *("_inbox", "_reading", "_sending", "_awaiting_drain", "_ended", "_closed", "_on_close"),
        *("_refused", "_deadline", "_progress", "_peer"),
    )

    shared = False  # no proxy that we trust forwards QUIC

    def __init__(
        self,
        quic: LimitedQuicConnection,
        owner: Owner,
        send: Callable[[bytes, Address], None],
        source: Address,
        address: str,
        traffic: TrafficStats,
        limits: Limits,
    ) -> None:
        self.address = address
        self._peer = source  # to which packets go
        self.counted_address: str | None = None
        self.over_limit = not traffic.admits(address, limits)
        self.transport = OTHER
        self.client: str | None = None
        self.bytes_in = self._bytes_out = self.events = 0
        self.flushed = (0, 0, 0)
        self._is_counted = False  # for a request: until then its bytes belong to none
        self.drained: Callable[[], None] | None = None
        self.connection_id = traffic.next_connection_id()
        self.ids: set[bytes] = set()  # by which the listener finds it
        self._owner = owner
        self._send = send  # one UDP datagram
        self._quic = quic
        self._http: LimitedH3Connection | None = None
        self._traffic = traffic
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._transmitting: asyncio.Handle | None = None
        self._request_id: int | None = None  # the stream of the request
        self._stream_id: int | None = None  # the stream of the messages
        self._capsules = CapsuleReader()
        self._task: asyncio.Task[None] | None = None  # which serves the session
        self._capture = Capture(self.connection_id, WebTransport.transport)
        self._inbox = bytearray()
        self._reading: asyncio.Future[None] | None = None
        self._sending: asyncio.Future[None] | None = None
        self._awaiting_drain = False
        self._ended = False  # the session, by us: the client may still read
        self._closed = False  # by either side: nothing more reaches the client
        self._on_close: Callable[[], None] | None = None
        self._refused: set[int] = set()
        now = time.monotonic()
        self._deadline = now + limits.request_seconds  # of the request, then of the end
        self._progress = 0, now  # bytes that the client has acknowledged, and since when
        if not self.over_limit:
            traffic.opened(self)

    # --- packets ---------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address) -> None:
        """Handle one UDP datagram."""
        self.bytes_in += len(data)
        self._capture.show_packet("up", len(data))
        try:
            self._quic.receive_datagram(data, source, self._loop.time())
            if not self._quic.started:
                self._terminate()
                return
            self._handle_events()
            self._follow_address()
        except Exception:
            self._fail()
        else:
            self._transmit()
            self._notice_drained()

    def _transmit_soon(self) -> None:
        """Send when the loop comes round: all that is written until then shares its packets."""
        if self._transmitting is None:
            self._transmitting = self._loop.call_soon(self._transmit)

    def _transmit(self) -> None:
        """Send what aioquic has to send, and set its timer."""
        if self._transmitting is not None:
            self._transmitting.cancel()
            self._transmitting = None
        try:
            datagrams = self._quic.datagrams_to_send(self._loop.time())
            timer_at = self._quic.get_timer()
        except Exception:
            self._fail()
            return
        for data, address in datagrams:
            self._bytes_out += len(data)
            self._capture.show_packet("down", len(data))
            self._send(data, address)
        if timer_at != self._timer_at:
            self._set_timer(timer_at)

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at is None else self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        # The clock of a loop can be a fraction of a millisecond behind its timer.
        now = max(self._timer_at or 0.0, self._loop.time())
        self._timer = self._timer_at = None
        try:
            self._quic.handle_timer(now)
            self._handle_events()
        except Exception:
            self._fail()
        else:
            self._transmit()

    def _fail(self) -> None:
        """Drop a connection that we can no longer use."""
        log.exception("a QUIC connection failed")
        self._terminate()

    def _follow_address(self) -> None:
        """Count the connection for the address that its client has moved to (RFC 9000 §9)."""
        peer = self._quic.peer_address
        if peer is None or peer == self._peer or self.over_limit:
            return
        self._peer = peer
        address = self._owner.address_of(peer)
        if address == self.address:  # another port
            return
        self.address = address
        self._traffic.set_address(self, self.address)
        if not self._traffic.admits(self.address, self._limits, counted=True):
            error = Busy(TOO_MANY_CONNECTIONS)
            self.end(error.close_code, error.code)

    # --- the events of aioquic -------------------------------------------------------------------

    def _handle_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            self._handle_event(event)
        if self._quic.closing:
            self._on_closed()

    def _handle_event(self, event: QuicEvent) -> None:
        match event:
            case ConnectionIdIssued(connection_id=id):
                self._owner.add_id(id, self)
            case ConnectionIdRetired(connection_id=id):
                self._owner.remove_id(id)
            case ConnectionTerminated():
                self._terminate()
            case _ if self._closed:
                pass
            case ProtocolNegotiated():
                self._http = LimitedH3Connection(self._quic)
            case StreamDataReceived(stream_id=id) if id == self._stream_id:
                # aioquic would parse it as HTTP/3: it does not know the streams that we open.
                self._receive_data(event)
            case StreamReset(stream_id=id) | StopSendingReceived(stream_id=id) if id in (
                self._request_id,
                self._stream_id,
            ):
                self.close()
            case DatagramFrameReceived():
                pass  # a client has nothing to send that may be lost
            case _ if self._http is not None:
                for http_event in self._http.handle_event(event):
                    self._handle_http_event(http_event)

    def _handle_http_event(self, event: H3Event) -> None:
        match event:
            case HeadersReceived() if self._request_id is None:
                self._receive_request(event)
            case DataReceived(stream_id=id) if id == self._request_id:
                self._receive_capsules(event)
            case HeadersReceived(stream_id=id) | WebTransportStreamDataReceived(stream_id=id):
                self._refuse_stream(id)

    def _receive_request(self, event: HeadersReceived) -> None:
        self._request_id = event.stream_id
        self._owner.requested(self)
        self._capture.start(self._owner.find_tap(event.headers))
        self._capture.show_fields("up", event.headers, event.stream_id)
        try:
            serving = self._owner.serve(self, event.headers)
        except RealtimeError as error:
            self.begin_request(OTHER, None)
            metrics.REFUSED.labels(error.code).inc()
            self.refuse(error)
            return
        self._task = self._loop.create_task(serving)
        self._task.add_done_callback(self._on_served)

    def _on_served(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            log.error("a session failed", exc_info=error)
            self.close()

    def _receive_capsules(self, event: DataReceived) -> None:
        try:
            is_closed = self._capsules.feed(event.data) is not None or event.stream_ended
        except ValueError:
            self._close(ErrorCode.H3_MESSAGE_ERROR)
            return
        if is_closed:
            self.close()

    def _refuse_stream(self, id: int) -> None:
        """Refuse a stream that the client has opened: one session has one stream, and it is ours.

        Nothing of it is kept, but each costs some work: a client that goes on is disconnected.
        """
        if id in self._refused or id == self._request_id:
            return
        self._refused.add(id)
        if len(self._refused) > _MAX_REFUSED_STREAMS:
            self._close(ErrorCode.H3_EXCESSIVE_LOAD)
            return
        with suppress(ValueError):  # all of it has arrived
            self._quic.stop_stream(id, ErrorCode.H3_REQUEST_REJECTED)
        if not id & _UNIDIRECTIONAL:
            self._quic.reset_stream(id, ErrorCode.H3_REQUEST_REJECTED)

    # --- the session -----------------------------------------------------------------------------

    def begin_request(self, transport: str, client: str | None) -> None:
        """Count for this transport and client, with all that came before the request."""
        self._traffic.begin_request(self, transport, client)
        self._is_counted = True

    def accept(self) -> None:
        if self._closed:
            return
        # The second field is for Chromium, which knows the session as one of draft 2.
        self._send_headers([(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")])
        assert self._http is not None
        assert self._request_id is not None
        self._stream_id = self._http.create_webtransport_stream(self._request_id)
        self._quic.read_stream = self._stream_id
        self.push(b"\n", 0)  # without data the client would not see the stream

    def refuse(self, error: RealtimeError) -> None:
        if self._closed:
            return
        response = error_response(error, ["CONNECT"])
        fields = [(b":status", str(response.status).encode())]
        fields += [(name.lower().encode(), value.encode()) for name, value in response.headers]
        self._send_headers(fields)
        self._send_last(response.body)

    def end(self, code: int, reason: str) -> None:
        if self._stream_id is None:  # the request is not answered
            self._close(ErrorCode.H3_REQUEST_REJECTED)
        elif not self._closed and not self._ended:
            self._send_last(close_session(code, reason))

    def _send_headers(self, fields: Fields) -> None:
        assert self._http is not None
        assert self._request_id is not None
        self._http.send_headers(self._request_id, fields)
        self._capture.show_fields("down", fields, self._request_id)

    def _send_last(self, data: bytes) -> None:
        """Send the end of the response; the client has some time to receive it."""
        assert self._http is not None
        assert self._request_id is not None
        self._http.send_data(self._request_id, data, end_stream=True)
        self._capture.show_data("down", data, self._request_id)
        self._ended = True
        self._deadline = time.monotonic() + _CLOSE_SECONDS
        self._wake()
        self._transmit()

    # --- the stream of the messages --------------------------------------------------------------

    def push(self, data: bytes, events: int) -> bool:
        """Write all of `data`, or nothing while the client has not received enough of the rest.

        `drained` is called when it has.  What the client has not acknowledged is kept, since it may
        be lost: that is the memory of a reader that has stopped.  The packets leave at once: their
        encryption is most of the cost, and so belongs to the time slices of a flush (`pacing`).
        """
        return self.push_with_datagrams(data, (), events)

    def push_with_datagrams(self, data: bytes, datagrams: Iterable[bytes], events: int) -> bool:
        if not self._write(data, events):
            return False
        for datagram in datagrams:
            self._send_datagram(datagram)
        self._transmit()
        return True

    def _write(self, data: bytes, events: int) -> bool:
        if self._stream_id is None or self._ended or self._closed:
            return False
        if self._quic.unacknowledged(self._stream_id) > self._limits.push_bytes:
            self._awaiting_drain = True
            return False
        self.events += events
        self._quic.send_stream_data(self._stream_id, data)
        self._capture.show_data("down", data, self._stream_id)
        return True

    async def send(self, data: bytes) -> None:
        while not self._write(data, 0):
            if self._ended or self._closed:
                return
            self._sending = self._loop.create_future()
            await self._sending
        self._transmit_soon()

    def _send_datagram(self, data: bytes) -> None:
        assert self._request_id is not None
        # RFC 9297 §2.1: a datagram starts with the number of the request's stream, over four.
        if self._quic.send_datagram_now(encode_varint(self._request_id // 4) + data):
            self._capture.show_datagram("down", data)

    async def read(self) -> bytes:
        # A window can have thousands of messages: other connections have their turn in between.
        await asyncio.sleep(0)
        while not self._inbox and not self._ended and not self._closed:
            self._reading = self._loop.create_future()
            await self._reading
        if self._ended or self._closed:
            return b""
        data = bytes(self._inbox[:_READ_BYTES])
        del self._inbox[:_READ_BYTES]
        if self._quic.add_read(len(data)):
            self._transmit_soon()  # the client may send more
        return data

    def _receive_data(self, event: StreamDataReceived) -> None:
        self._capture.show_data("up", event.data, event.stream_id)
        if not self._ended:
            self._inbox += event.data
            self._wake()
        if event.end_stream:
            self.close()

    def _wake(self) -> None:
        """Let `read` and `send` look again at what they wait for."""
        for waiting in (self._reading, self._sending):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def _notice_drained(self) -> None:
        if not self._awaiting_drain or self._stream_id is None:
            return
        if self._quic.unacknowledged(self._stream_id) <= self._limits.push_bytes:
            self._awaiting_drain = False
            self._wake()
            if self.drained is not None:
                self.drained()

    # --- the end ---------------------------------------------------------------------------------

    def closed(self) -> bool:
        return self._closed

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the connection closes, or now if it has."""
        self._on_close = callback
        if self._closed:
            self._call_on_close()

    def close(self) -> None:
        """Close the connection; what the client has not received is lost."""
        self._close(ErrorCode.H3_NO_ERROR)

    def _close(self, code: int) -> None:
        if not self._quic.closing:
            self._quic.close(error_code=code)
            self._transmit()
        self._on_closed()

    def _on_closed(self) -> None:
        if not self._closed:
            self._closed = True
            self._wake()
            self._call_on_close()

    def _call_on_close(self) -> None:
        callback, self._on_close = self._on_close, None
        if callback is not None:
            callback()

    def _terminate(self) -> None:
        """Forget the connection: no packet follows."""
        self._set_timer(None)
        if self._transmitting is not None:
            self._transmitting.cancel()
        self._on_closed()
        self._is_counted = True  # a handshake without a request: it belongs to none
        self._owner.ended(self)
        self._traffic.closed(self)
        self._capture.close()

    async def abort(self) -> None:
        """Close the connection as the server stops, and wait until its session has ended."""
        self.close()
        await cancel_and_wait([self._task] if self._task else [])
        self._terminate()

    def enforce_timeouts(self, now: float) -> None:
        """Close the connection if its client is too slow; for a call per second."""
        if self._closed:
            return
        if self._ended or self._request_id is None:
            if now > self._deadline:
                self.close()
        elif self._stream_id is not None and self._is_stalled(self._stream_id, now):
            metrics.STALLED.labels(self.transport).inc()
            self.close()

    def _is_stalled(self, stream_id: int, now: float) -> bool:
        """Return whether the client has acknowledged none of the pending bytes for too long."""
        acknowledged = self._quic.acknowledged(stream_id)
        if acknowledged != self._progress[0] or not self._quic.unacknowledged(stream_id):
            self._progress = acknowledged, now
        return now - self._progress[1] > self._limits.write_deadline_seconds

    @property
    def leaving(self) -> bool:
        """Whether the session has ended, and the client may not know it yet."""
        return self._ended and not self._closed

    # --- the traffic statistics ------------------------------------------------------------------

    @property
    def bytes_out(self) -> int:
        """Bytes sent; they count when it is known for which transport."""
        return self._bytes_out if self._is_counted else 0

    @property
    def request_bytes_in(self) -> int:
        return self.bytes_in if self._is_counted else 0
