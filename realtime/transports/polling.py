"""A poll and its response, which both ways of polling share.

`short_polling` answers at once, `long_polling` as soon as there is something to send.  A client
sends the same poll again and again, with another cursor.  The first one runs as a coroutine, like
every exchange, and does all checks; `serve_again` serves the next ones in callbacks:

    data ─▶ serve_again ─┬▶ respond ──────────────────────▶ read on
              │          └▶ wait ─▶ news, or time is up ─▶ respond ─▶ read on
              └▶ False: anything but the usual case, which the general path serves from the start
"""

import math
import time
from collections.abc import Callable
from copy import copy

from realtime.core.events import Cursor
from realtime.core.hub import Reader
from realtime.core.room import Page
from realtime.errors import RealtimeError
from realtime.protocol.encodings import ContentEncoding
from realtime.transports.base import Subscription
from realtime.transports.exchange import JSON, Exchange

# To compress more takes milliseconds, and each client can ask for another page: they take turns.
_QUICKLY_COMPRESSED_BYTES = 16_384


class PollResponse:
    """One page of events as the body of a response; pass this class to `Reader.poll`.

    It is encoded once for all readers at the same cursor.
    """

    __slots__ = ("_encoded", "_head", "_whole", "body", "events", "fields")

    def __init__(self, page: Page) -> None:
        self.events = len(page.events)
        self.body = b'{"cursor":"%b","events":[%b]%b}' % (
            str(page.cursor).encode(),
            b",".join(event.json for event in page.events),
            b',"more":true' if page.more else b"",
        )
        self.fields: tuple[bytes, ...] = ()  # of its header
        self._encoded: dict[ContentEncoding, PollResponse] | None = None
        self._head = self._whole = b""

    def encoded(self, encoding: ContentEncoding) -> "PollResponse":
        """Return the response in this encoding, compressed once for all readers.

        A short body would become longer; it stays as it is, and says so.
        """
        encoded = self._encoded = self._encoded or {}
        if encoding not in encoded:
            response = encoded[encoding] = copy(self)
            response._encoded = None  # no cycle, which would wait for the garbage collector
            response._head = response._whole = b""
            body, response.fields = encoding.encode(self.body), (encoding.vary,)
            if len(body) < len(self.body):
                response.body, response.fields = body, encoding.fields
        return encoded[encoding]

    def with_head(self, head: bytes) -> bytes:
        """Return the body after `head`: the same object for all requests with the same head.

        A copy per reader would cost memory for each connection that has not yet sent its bytes.
        """
        if head != self._head:
            self._head, self._whole = head, head + self.body
        return self._whole


class Poll(Exchange):
    """An exchange whose response is a page of events.

    `wait_seconds` is how long it may wait for one.  `subscription` is set when all checks have
    passed; only such a poll can be repeated.
    """

    wait_seconds = 0.0
    subscription: Subscription | None = None
    _counted_client: str | None = None
    _waiting: Reader | None = None

    def count(self, client: str | None) -> None:
        self._counted_client = client
        super().count(client)

    def answer(self, response: PollResponse) -> None:
        """Send a page: all readers at the same cursor get the same `bytes`."""
        head = self.head(200, JSON, *response.fields, length=len(response.body))
        self._send(response.with_head(head), response.events)

    async def compressed(self, response: PollResponse) -> PollResponse:
        """Return the response in the encoding of the request, which must have one."""
        assert self.encoding is not None
        if len(response.body) <= _QUICKLY_COMPRESSED_BYTES:
            return response.encoded(self.encoding)
        async with self.services.turns.take(self.stream.address):
            return response.encoded(self.encoding)

    def seconds_to_wait(self, subscription: Subscription) -> float:
        """How long to wait: no longer than the ticket is valid."""
        expires = subscription.grant.expires
        if expires == math.inf:
            return self.wait_seconds
        return min(self.wait_seconds, max(0.0, expires - time.time()))

    # --- the same request again ------------------------------------------------------------------

    @property
    def can_repeat(self) -> bool:
        """Whether `serve_again` may serve the same request with another cursor.

        Not if it is compressed: that may take long, and then waits for its turn.
        """
        plain = self.request.method == "GET" and not self.request.body and self.encoding is None
        return plain and self.keep_alive and self.subscription is not None

    def serve_again(self, cursor: Cursor) -> bool:
        """Serve a request that differs from the last one in nothing but its cursor.

        Return False, with nothing done or counted, if anything needs more than a look: an error,
        or a question to the broker.  Every check that does not depend on the request alone is made
        again here.
        """
        subscription, services = self.subscription, self.services
        assert subscription is not None
        if (reader := self._admit_again(subscription, cursor)) is None:
            return False
        member = subscription.member
        if member is not None and not services.track_poll_again(subscription.room, member):
            return False
        self._head_sent = False
        self.stream.begin_request(self.transport, self._counted_client)
        response = reader.poll(PollResponse)
        if response.events or not self.wait_seconds:
            self._respond(response)
        else:
            self._wait(reader, subscription)
        return True

    def _admit_again(self, subscription: Subscription, cursor: Cursor) -> Reader | None:
        hub = self.services.hub
        if hub.closing:
            return None
        try:
            self.check_request_origin()
            if self.admit() is not subscription.grant:  # of another ticket
                return None
        except RealtimeError:
            return None
        return hub.read_now(subscription.room, cursor)

    def _wait(self, reader: Reader, subscription: Subscription) -> None:
        self._waiting = reader
        if subscription.member is not None and self.services.moderation is not None:
            self.services.moderation.add(subscription.room, subscription.member.client, self)
        self.check_reader_after_half_close()
        reader.add_waiter(self._on_news, self.seconds_to_wait(subscription), self.transport)

    def _on_news(self) -> None:
        assert self._waiting is not None
        self._respond(self._waiting.poll(PollResponse))

    def end(self, error: RealtimeError) -> None:
        """Answer with this error: the client was removed while the poll waits."""
        if self._waiting is not None:
            self._waiting.remove_waiter(self._on_news)
            self._finish(lambda: self.send_error(error))

    def _respond(self, response: PollResponse) -> None:
        self._finish(lambda: self.answer(response))

    def _finish(self, send: Callable[[], None]) -> None:
        self._waiting = None
        try:
            send()
        except BaseException:
            self.stream.close()
            raise
        finally:
            self._end()
        self.stream.read_on(more=self.keep_alive)

    def stop_waiting(self) -> None:
        """End a wait without a response, because the client has disconnected."""
        if self._waiting is not None:
            self._waiting.remove_waiter(self._on_news)
            self._waiting = None
            self._end()

    def _end(self) -> None:
        assert self.subscription is not None
        room, member = self.subscription.room, self.subscription.member
        if member is not None:
            if self.services.moderation is not None:
                self.services.moderation.discard(room, self)
            self.services.presence.untrack(room, member, stream=False)
        self.stream.end_request()
