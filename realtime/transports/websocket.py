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
from realtime.transports.acks import answer
from realtime.transports.base import Question, Stream
from realtime.transports.streaming import StreamFollower
from realtime.transports.upgrade import Upgrade

_NO_FIELDS = HTTPHeaders()


def frame(event: Event) -> bytes:
    """Put one event in one unmasked text frame: a server must not mask (RFC 6455 §5.1)."""
    return text_frame(event.json)


class PingedFollower(StreamFollower):
    """A follower that answers a heartbeat; one that does not is gone, whatever TCP may say."""

    __slots__ = ("_heard",)

    def __init__(
        self, stream: Stream, framing: Framing, close: Callable[[RealtimeError], None]
    ) -> None:
        super().__init__(stream, framing, close)
        self._heard = -1  # bytes that had come from it at the last heartbeat

    def beat(self, heartbeat: bytes) -> bool:
        if self._stream.bytes_in == self._heard:
            self.close(errors.TooSlow("A ping was not answered."))
            return True
        self._heard = self._stream.bytes_in
        return super().beat(heartbeat)


class WebSocket(Upgrade):
    # Slots, since the attributes of Tornado's handlers nearly fill a dict: these would double it.
    __slots__ = ("_question", "_reader", "arguments", "door", "house", "stream")

    transport = "websocket"
    follower: StreamFollower | None = None
    _gone = False
    _ended = False  # by us: what comes after that is not answered
    _question: Question
    _reader: Reader

    # --- the handshake ---------------------------------------------------------------------------

    async def get(self, room: str) -> None:
        self.check_upgrade()
        self._question = self.question(room)
        self.house.hub.check_open()
        # Asked before the upgrade, so that an error still has a status of its own.
        self._reader = await self.house.hub.read(self._question.room, self._question.after)
        await self.upgrade()

    # --- down ------------------------------------------------------------------------------------

    async def open(self) -> None:
        question = self._question
        # Of no more use, and with a browser's head some three kilobytes.
        self.request.headers = _NO_FIELDS
        self.request.connection = None
        framing = Framing(frame, bytes, PING, self.transport)
        follower = PingedFollower(self.stream, framing, self._end)
        if question.member is not None:
            await self.house.presence.arrive(question.room, question.member)
        try:
            cursor = self._reader.cursor
            follower.join(await self.house.hub.follow(question.room, cursor, follower))
        except RealtimeError as error:
            self._depart()
            self._end(error)
            return
        self.follower = follower
        if self._gone:  # while we waited: `on_close` found nobody to retire
            self._retire()

    def _end(self, error: RealtimeError) -> None:
        self._ended = True
        if self.follower is not None:
            self.follower.leave()  # no data after a close frame (RFC 6455 §5.5.1)
        self.close(error.close_code, error.code)

    def on_close(self) -> None:
        self._gone = True
        if self.follower is not None:
            self._retire()

    def _retire(self) -> None:
        assert self.follower is not None
        self.follower.leave()
        self._depart()

    def _depart(self) -> None:
        if self._question.member is not None:
            grace = self.house.limits.grace_seconds
            self.house.presence.depart(self._question.room, self._question.member, grace)

    # --- up --------------------------------------------------------------------------------------

    async def on_message(self, message: str | bytes) -> None:
        if self._ended:  # whoever sends it again elsewhere, by its id, says it once
            return
        room = self._question.room
        said = await answer(self.house, message, room, self.transport, self.stream.address)
        reply = text_frame(said)
        if not self._ended and not self.stream.push(reply, 0):
            # Tornado reads the next frame when this is done: one that sends and does not read its
            # acknowledgements is stopped by TCP, and not remembered by us.
            with suppress(StreamClosedError):
                await self.stream.write(reply)
