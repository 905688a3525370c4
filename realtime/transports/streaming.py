"""A streaming response: one HTTP response without an end, and the subscriber that writes to it."""

import asyncio
from collections.abc import Callable
from functools import cache

from realtime.core.broadcaster import Framing
from realtime.core.events import Cursor, Event
from realtime.errors import RealtimeError
from realtime.protocol.encodings import ContentEncoding
from realtime.protocol.http1 import chunk
from realtime.transports.base import Stream, Subscription
from realtime.transports.exchange import Exchange
from realtime.transports.membership import DrainingSubscriber, Membership

_LAST_CHUNK = b"0\r\n\r\n"

Envelope = Callable[[bytes], bytes]


@cache
def _compressing(encoding: ContentEncoding, wrap: Envelope) -> Envelope:
    """Return the envelope of a compressed stream: one object, so that its readers share a framing.

    The broadcaster calls it once for all of them.
    """
    return lambda data: wrap(encoding.compress(data))


class StreamSubscriber(DrainingSubscriber):
    """A subscriber on a connection: pushes go straight to its stream."""

    __slots__ = ()

    _drainable: Stream

    def __init__(
        self, stream: Stream, framing: Framing, close: Callable[[RealtimeError], None]
    ) -> None:
        super().__init__(stream, framing, stream.push, close)


class StreamExchange(Exchange):
    """A streaming response: its body is written when events arrive."""

    def begin(self, content_type: bytes, *fields: bytes, opening: bytes) -> None:
        """Send the header fields at once, so that the client can report an open stream."""
        # nginx would buffer 4-8 KB first.
        fields = (*fields, b"X-Accel-Buffering: no")
        if self._chunked:
            fields = (*fields, b"Transfer-Encoding: chunked")
        else:
            # RFC 9112 §6.3: without a length and chunks, the close of the connection ends the body.
            self.keep_alive = False
        if self.encoding is not None:
            fields = (*fields, *self.encoding.fields)
        head = self.head(200, content_type, *fields, length=None)
        self._send(head + self._start_body(opening) if opening else head, 0)

    def _start_body(self, opening: bytes) -> bytes:
        """Frame the start of the body, which belongs to this client alone."""
        if self.encoding is None:
            return self._envelope(opening)
        return self._wrap(self.encoding.opening + self.encoding.compress(opening))

    async def stream_events(
        self,
        subscription: Subscription,
        frame: Callable[[Event], bytes],
        heartbeat: bytes,
        *fields: bytes,
        content_type: bytes,
        opening: Callable[[Cursor], bytes] = lambda cursor: b"",
        close_frame: Callable[[RealtimeError], bytes] | None = None,
    ) -> None:
        """Push the room's events until either side closes; `heartbeat` is sent when idle.

        `opening` is the start of the body; `close_frame` its end, when the server closes.
        """
        # Read before the response starts, so that an error can still have its HTTP status.
        self.services.hub.check_open()
        self.negotiate_encoding()
        address = self.stream.address
        reader = await self.services.read(subscription, address)
        if self.is_head:
            self.begin(content_type, *fields, opening=b"")
            return
        self._ended: asyncio.Future[RealtimeError | None] = (
            asyncio.get_running_loop().create_future()
        )
        framing = Framing(frame, self._envelope, heartbeat, self.transport)
        subscriber = StreamSubscriber(self.stream, framing, self._end)
        membership = Membership(self.services, subscription.room, address)
        try:
            await membership.track(subscription.member)
            self.begin(content_type, *fields, opening=opening(reader.cursor))
            del fields, opening  # a stream that waits would keep them, up to 0.7 KiB
            self.on_close(lambda: self._end(None))
            await membership.follow(reader.cursor, subscriber, subscription.grant.expires)
            # A client that has gone answers a heartbeat with a reset.
            self.stream.set_half_close_callback(
                lambda: self.stream.push(self._envelope(heartbeat), 0)
            )
            error = await self._ended
        finally:
            membership.leave()
        if error is not None:
            self._finish(close_frame(error) if close_frame else b"")

    def send_error(self, error: RealtimeError) -> None:
        if self._head_sent:
            self._finish(b"")  # the status has been sent: all we can do is end the body
        else:
            super().send_error(error)

    def _finish(self, close_frame: bytes) -> None:
        data = self._envelope(close_frame) if close_frame else b""
        self._send(data + _LAST_CHUNK if self._chunked else data, 0)

    @property
    def _chunked(self) -> bool:
        return self.request.version != "HTTP/1.0"

    @property
    def _wrap(self) -> Envelope:
        return chunk if self._chunked else bytes

    @property
    def _envelope(self) -> Envelope:
        return self._wrap if self.encoding is None else _compressing(self.encoding, self._wrap)

    def _end(self, error: RealtimeError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
