"""An answer that never ends, and the follower that is at the other end of it."""

import asyncio
from collections.abc import Callable

from realtime.core.broadcaster import Framing
from realtime.core.events import Cursor, Event
from realtime.errors import RealtimeError
from realtime.protocol.http1 import chunk
from realtime.transports.base import Stream, Subscription
from realtime.transports.exchange import Exchange
from realtime.transports.membership import DrainingSubscriber, Membership

_END = b"0\r\n\r\n"


class StreamSubscriber(DrainingSubscriber):
    """A subscriber on a connection: pushes go straight to its stream."""

    __slots__ = ()

    _drainable: Stream

    def __init__(
        self, stream: Stream, framing: Framing, close: Callable[[RealtimeError], None]
    ) -> None:
        super().__init__(stream, framing, stream.push, close)


class StreamExchange(Exchange):
    """An answer that never ends: one HTTP response, its body written as things happen."""

    def begin(self, content_type: bytes, *fields: bytes, opening: bytes) -> None:
        """Send the head, so that the client knows that it is being served."""
        # nginx would collect 4-8 KB first.
        fields = (*fields, b"X-Accel-Buffering: no")
        if self._chunked:
            fields = (*fields, b"Transfer-Encoding: chunked")
        else:
            # RFC 9112 §6.3: without length and chunks, the end of the connection ends the body.
            self.keep_alive = False
        head = self.head(200, content_type, *fields, length=None)
        self._send(head + self._envelope(opening) if opening else head, 0)

    async def stream_events(
        self,
        subscription: Subscription,
        frame: Callable[[Event], bytes],
        heartbeat: bytes,
        *fields: bytes,
        content_type: bytes,
        opening: Callable[[Cursor], bytes] = lambda cursor: b"",
        farewell: Callable[[RealtimeError], bytes] | None = None,
    ) -> None:
        """Push the room's events until either side ends; `heartbeat` breaks a long silence.

        `opening` is the first of the body; `farewell` its last, when it is ours to end it.
        """
        # Asked first, so that an error still has a status of its own.
        self.services.hub.check_open()
        reader = await self.services.hub.read(subscription.room, subscription.after)
        self._ended: asyncio.Future[RealtimeError | None] = (
            asyncio.get_running_loop().create_future()
        )
        framing = Framing(frame, self._envelope, heartbeat, self.transport)
        subscriber = StreamSubscriber(self.stream, framing, self._end)
        membership = Membership(self.services, subscription.room)
        try:
            await membership.track(subscription.member)
            self.begin(content_type, *fields, opening=opening(reader.cursor))
            self.on_close(lambda: self._end(None))
            await membership.follow(reader.cursor, subscriber)
            error = await self._ended
        finally:
            membership.leave()
        if error is not None:
            self._part(farewell(error) if farewell else b"")

    def send_error(self, error: RealtimeError) -> None:
        if self._head_sent:
            self._part(b"")  # there is one head to an answer; all that can be told now is its end
        else:
            super().send_error(error)

    def _part(self, farewell: bytes) -> None:
        data = self._envelope(farewell) if farewell else b""
        self._send(data + _END if self._chunked else data, 0)

    @property
    def _chunked(self) -> bool:
        return self.request.version != "HTTP/1.0"

    @property
    def _envelope(self) -> Callable[[bytes], bytes]:
        return chunk if self._chunked else bytes

    def _end(self, error: RealtimeError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
