"""WebTransport: one session over HTTP/3, so over QUIC and UDP (draft-ietf-webtrans-http3).

The client opens the session with an extended CONNECT request (RFC 9220).  The server then opens one
bidirectional stream: down comes one event per line, up goes one message per line.  A stream of QUIC
is what a TCP connection is to a WebSocket: ordered and complete.  Its loss delays no other stream.

    CONNECT ─▶ checks ─▶ 200, stream ─▶ events, acknowledgements ─▶ CLOSE_WEBTRANSPORT_SESSION
                  └────▶ status and JSON error

With ``?datagrams=1`` each event also goes as one datagram, which nobody sends again if it is lost.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

from realtime import errors, metrics
from realtime.core.broadcaster import Framing
from realtime.core.events import Event
from realtime.core.hub import Reader
from realtime.errors import RealtimeError
from realtime.protocol.http1 import origin_fields, parse_query
from realtime.protocol.lines import LineSplitter
from realtime.transports.acks import error_reply, handle_message
from realtime.transports.base import (
    Connection,
    RequestBase,
    Services,
    Subscription,
    check_connection_limit,
    decode_path_segment,
)
from realtime.transports.membership import DrainingSubscriber, Membership

log = logging.getLogger(__name__)

_LINE_END = b"\n"


def frame(event: Event) -> bytes:
    """Put one event on one line."""
    return event.json + _LINE_END


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The CONNECT request of a session: its room, still percent-encoded, its target, its fields."""

    room: str
    target: str
    fields: Mapping[str, str]


class SessionConnection(Connection, Protocol):
    """The connection of a session, and the bidirectional stream that `accept` opens."""

    def accept(self) -> None:
        """Answer the request with 200, and open the stream."""

    def refuse(self, error: RealtimeError) -> None:
        """Answer the request with the status of an error and its JSON, and end the session."""

    def end(self, code: int, reason: str) -> None:
        """Close the session; the client receives the code and the reason."""

    async def read(self) -> bytes:
        """Wait for bytes of the client; nothing at the end of the session."""

    async def send(self, data: bytes) -> None:
        """Write `data` when the client has received enough of what came before it."""

    def push_with_datagrams(self, data: bytes, datagrams: Iterable[bytes], events: int) -> bool:
        """Push `data`, and in the same packets each datagram that fits and can be sent now."""


class WebTransport(RequestBase):
    """One session: `run` serves it until either side ends it."""

    transport = "webtransport"
    is_head = False
    stream: SessionConnection
    _subscription: Subscription
    _reader: Reader
    _membership: Membership

    def __init__(
        self, services: Services, stream: SessionConnection, request: SessionRequest
    ) -> None:
        self.services = services
        self.stream = stream
        self.origin_fields = origin_fields(request.fields)
        self.arguments = parse_query(request.target)
        self._request = request
        self._lines = LineSplitter(services.limits.body_bytes)
        self._ended = False  # by us: later messages are not answered

    @property
    def header_fields(self) -> Mapping[str, str]:
        return self._request.fields

    async def run(self) -> None:
        """Serve the session; raises nothing but a cancellation."""
        try:
            await self._open()
        except RealtimeError as error:
            metrics.REFUSED.labels(error.code).inc()
            self.stream.refuse(error)
        except Exception:
            log.exception("a session failed", extra={"transport": self.transport})
            self.stream.refuse(errors.Internal())
        else:
            await self._serve()

    # --- the request -----------------------------------------------------------------------------

    async def _open(self) -> None:
        """Check the request in the order of all transports, and accept it."""
        self.stream.begin_request(self.transport, self.client_id_for_stats())
        self.check_request_origin()
        check_connection_limit(self.stream)
        room = decode_path_segment(unquote_to_bytes(self._request.room.encode("latin1")))
        self._subscription = self.parse_subscription(room)
        self._check_datagrams()
        address = self.stream.address
        self._membership = Membership(self.services, self._subscription.room, address)
        self.services.hub.check_open()
        # Read before the session is accepted, so that an error can still have its HTTP status.
        self._reader = await self.services.read(self._subscription, address)
        self.stream.set_close_callback(self._membership.leave)
        self.stream.accept()

    def _check_datagrams(self) -> None:
        if self.argument("datagrams", errors.BadDatagrams) not in (None, "1"):
            raise errors.BadDatagrams("`datagrams` must be 1, or absent.")

    # --- down ------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        subscription = self._subscription
        push = self._push_both if self.arguments.get("datagrams") else self.stream.push
        framing = Framing(frame, bytes, _LINE_END, self.transport)
        subscriber = DrainingSubscriber(self.stream, framing, push, self._end)
        try:
            await self._membership.track(subscription.member)
            await self._membership.follow(
                self._reader.cursor, subscriber, subscription.grant.expires
            )
            await self._answer_messages()
        except RealtimeError as error:
            self._end(error)
        finally:
            self._membership.leave()

    def _push_both(self, frames: bytes, events: int) -> bool:
        """Push to the stream; what it accepts also goes as one datagram per event."""
        lines = filter(None, frames.split(_LINE_END))
        return self.stream.push_with_datagrams(frames, lines, events)

    def _end(self, error: RealtimeError) -> None:
        self._ended = True
        self._membership.unsubscribe()  # nothing can follow the close of a session
        self.stream.end(error.close_code, error.code)

    # --- up --------------------------------------------------------------------------------------

    async def _answer_messages(self) -> None:
        """Answer one message after the other.

        A client that sends without reading its acknowledgements is not read either: the flow
        control of QUIC, and not our memory, then limits it.
        """
        while data := await self.stream.read():
            for line in self._lines.feed(data):
                if self._ended:  # the client sends it again elsewhere; the same id publishes once
                    return
                await self.stream.send(await self._answer(line) + _LINE_END)

    async def _answer(self, line: bytes) -> bytes:
        try:
            message = line.decode("utf-8")
        except UnicodeDecodeError:
            return error_reply(errors.BadJSON("A line must be UTF-8."), line)
        room, connection = self._subscription.room, str(self.stream.connection_id)
        sender = self._subscription.sender(self.stream.address, connection)
        return await handle_message(self.services, message, room, self.transport, sender)
