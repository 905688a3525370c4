"""WebSocket: after one HTTP handshake, the connection carries frames in both directions (RFC 6455).

The only one of our six transports that also carries messages from the client: one costs a six-byte
frame header instead of a request.  Tornado does the handshake and reads frames.  An event for all
readers is framed once, here.
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
from realtime.protocol.permessage_deflate import accepts_offer, deflated_text_frame
from realtime.protocol.websocket_frames import PING, text_frame
from realtime.transports.acks import handle_message
from realtime.transports.base import Services, Stream, Subscription
from realtime.transports.membership import Membership
from realtime.transports.streaming import StreamSubscriber
from realtime.transports.upgrade import EXTENSIONS_FIELD, Upgrade

_NO_FIELDS = HTTPHeaders()


def frame(event: Event) -> bytes:
    """Put one event in one unmasked text frame: a server must not mask (RFC 6455 §5.1)."""
    return text_frame(event.json)


def deflated_frame(event: Event) -> bytes:
    """The same, compressed: one frame for all readers, since nobody's depends on the last one."""
    return deflated_text_frame(event.json)


class PingSubscriber(StreamSubscriber):
    """A subscriber that must answer each ping; otherwise it is gone, whatever TCP reports."""

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
    # Slots, because only a dict of at most 30 keys shares them among instances (CPython).  The
    # handlers of Tornado use nearly all: with ours, each would pay 1.3 KB for a separate table.
    __slots__ = (
        "_membership",
        "_reader",
        "_subscription",
        "arguments",
        "deflates",
        "is_head",
        "origin_fields",
        "services",
        "stream",
    )

    transport = "websocket"
    _ended = False  # by us: later messages are not answered
    _membership: Membership | None
    _subscription: Subscription
    _reader: Reader

    def initialize(self, services: Services) -> None:
        super().initialize(services)
        self.deflates = False
        self._membership = None  # Tornado can call `on_close` before `get`

    # --- the handshake ---------------------------------------------------------------------------

    async def get(self, room: str) -> None:
        self.check_upgrade()
        self._subscription = self.parse_subscription(room)
        self._negotiate_compression()
        address = self.stream.address
        self._membership = Membership(self.services, self._subscription.room, address)
        self.services.hub.check_open()
        # Read before the upgrade, so that an error can still have its HTTP status.
        self._reader = await self.services.read(self._subscription, address)
        await self.upgrade()

    def _negotiate_compression(self) -> None:
        """Agree on permessage-deflate only where the query asks for it; raises a named error."""
        name = self.argument("encoding", errors.BadEncoding)
        if name not in (None, "deflate"):
            raise errors.BadEncoding("`encoding` must be deflate on a WebSocket, or absent.")
        offers = self.request.headers.get(EXTENSIONS_FIELD, "")
        if name and not accepts_offer(offers):
            raise errors.NotAcceptable(
                "Offer permessage-deflate in `Sec-WebSocket-Extensions`, without"
                " `server_max_window_bits`; or ask without `encoding`."
            )
        self.deflates = bool(name)

    # --- down ------------------------------------------------------------------------------------

    async def open(self) -> None:
        subscription = self._subscription
        # No longer needed, and about four kilobytes with the header fields of a browser.
        self.request.headers = self._headers = _NO_FIELDS
        self.request.connection = None
        encode = deflated_frame if self.deflates else frame
        framing = Framing(encode, bytes, PING, self.transport)
        subscriber = PingSubscriber(self.stream, framing, self._end)
        assert self._membership is not None
        try:
            await self._membership.track(subscription.member)
            await self._membership.follow(
                self._reader.cursor, subscriber, subscription.grant.expires
            )
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
        if self._ended:  # the client sends it again elsewhere, and the same id publishes it once
            return
        room = self._subscription.room
        sender = self._subscription.sender(self.stream.address, str(self.stream.connection_id))
        reply = text_frame(
            await handle_message(self.services, message, room, self.transport, sender)
        )
        if not self._ended and not self.stream.push(reply, 0):
            # Tornado reads the next frame when this returns.  So TCP, and not our memory, limits a
            # client that sends without reading its acknowledgements.
            with suppress(StreamClosedError):
                await self.stream.write(reply)
