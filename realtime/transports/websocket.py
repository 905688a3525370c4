"""WebSocket: after one HTTP request the connection belongs to frames, both ways (RFC 6455).

The only one of the six that goes up as well: a message costs six bytes of head instead of a
request.  Tornado shakes hands and reads frames; what goes down to everybody is framed once, here.
"""

from collections.abc import Callable
from contextlib import suppress

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError

from realtime import errors
from realtime.core.broadcaster import Framing
from realtime.core.events import Event
from realtime.core.hub import Reader
from realtime.errors import RealtimeError
from realtime.protocol.websocket_frames import PING, text_frame
from realtime.transports.acks import handle_message
from realtime.transports.base import Stream, Subscription
from realtime.transports.membership import Membership
from realtime.transports.streaming import StreamSubscriber
from realtime.transports.upgrade import Upgrade

_NO_FIELDS = HTTPHeaders()


def frame(event: Event) -> bytes:
    """Put one event in one unmasked text frame: a server must not mask (RFC 6455 §5.1)."""
    return text_frame(event.json)


class PingSubscriber(StreamSubscriber):
    """A follower that answers a heartbeat; one that does not is gone, whatever TCP may say."""

    __slots__ = ("_bytes_at_heartbeat",)

    def __init__(
        self, stream: Stream, framing: Framing, close: Callable[[RealtimeError], None]
    ) -> None:
        super().__init__(stream, framing, close)
        self._bytes_at_heartbeat = -1  # bytes received at the last heartbeat

    def send_heartbeat(self, heartbeat: bytes) -> bool:
        if self._drainable.bytes_in == self._bytes_at_heartbeat:
            self.close(errors.TooSlow("A ping was not answered."))
            return True
        self._bytes_at_heartbeat = self._drainable.bytes_in
        return super().send_heartbeat(heartbeat)


class WebSocket(Upgrade):
    # Slots, since the attributes of Tornado's handlers nearly fill a dict: these would double it.
    __slots__ = ("_reader", "_subscription", "arguments", "origin_fields", "services", "stream")

    transport = "websocket"
    _membership: Membership | None = None  # Tornado can call `on_close` before `get`
    _ended = False  # by us: what comes after that is not answered
    _subscription: Subscription
    _reader: Reader

    # --- the handshake ---------------------------------------------------------------------------

    async def get(self, room: str) -> None:
        self.check_upgrade()
        self._subscription = self.parse_subscription(room)
        self._membership = Membership(self.services, self._subscription.room)
        self.services.hub.check_open()
        # Asked before the upgrade, so that an error still has a status of its own.
        self._reader = await self.services.hub.read(
            self._subscription.room, self._subscription.after
        )
        await self.upgrade()

    # --- down ------------------------------------------------------------------------------------

    async def open(self) -> None:
        subscription = self._subscription
        # Of no more use, and with a browser's head some three kilobytes.
        self.request.headers = _NO_FIELDS
        self.request.connection = None
        framing = Framing(frame, bytes, PING, self.transport)
        subscriber = PingSubscriber(self.stream, framing, self._end)
        assert self._membership is not None
        await self._membership.track(subscription.member)
        try:
            await self._membership.follow(self._reader.cursor, subscriber)
        except RealtimeError as error:
            self._end(error)

    def _end(self, error: RealtimeError) -> None:
        self._ended = True
        if self._membership is not None:
            self._membership.unsubscribe()  # no data after a close frame (RFC 6455 §5.5.1)
        self.close(error.close_code, error.code)

    def on_close(self) -> None:
        if self._membership is not None:
            self._membership.leave()

    # --- up --------------------------------------------------------------------------------------

    async def on_message(self, message: str | bytes) -> None:
        if self._ended:  # whoever sends it again elsewhere, by its id, says it once
            return
        room = self._subscription.room
        said = await handle_message(
            self.services, message, room, self.transport, self.stream.address
        )
        reply = text_frame(said)
        if not self._ended and not self.stream.push(reply, 0):
            # Tornado reads the next frame when this is done: one that sends and does not read its
            # acknowledgements is stopped by TCP, and not remembered by us.
            with suppress(StreamClosedError):
                await self.stream.write(reply)
