"""Server-sent events: one streaming response of lines that the browser parses (HTML standard §9.2).

The first streaming transport with a browser API: `EventSource` reconnects by itself, and sends its
position in `Last-Event-ID`, which is our cursor.
"""

from realtime import errors, metrics
from realtime.core.events import Cursor, Event
from realtime.errors import RealtimeError
from realtime.transports.base import NOW
from realtime.transports.streaming import StreamExchange

# A line that starts with a colon is a comment, which EventSource ignores.
HEARTBEAT = b":\n\n"
_CONTENT_TYPE = b"Content-Type: text/event-stream"


def frame(event: Event) -> bytes:
    # JSON escapes line breaks, so the data is always one line.
    return b"id: %b\ndata: %b\n\n" % (str(event.cursor).encode(), event.json)


def cursor_frame(cursor: Cursor) -> bytes:
    """Report the position of a reader: an event without data only sets the last event id.

    A reader from `now` that loses its connection before the first event needs it: otherwise it
    would restart from a later now.
    """
    return b"id: %b\n\n" % str(cursor).encode()


def retry_frame(error: RealtimeError) -> bytes:
    """Tell the browser how many milliseconds to wait before it reconnects, and people why."""
    milliseconds = 1000 * (error.retry_after or 0)
    return b"retry: %d\n: %b\n\n" % (milliseconds, error.code.encode())


class ServerSentEvents(StreamExchange):
    transport = "sse"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room, resume=self._last_event_id())
        await self.stream_events(
            subscription,
            frame,
            HEARTBEAT,
            content_type=_CONTENT_TYPE,
            # Firefox fires `open` only with the first byte of the body.
            opening=lambda cursor: cursor_frame(cursor) if subscription.after == NOW else HEARTBEAT,
            close_frame=retry_frame,
        )

    def _last_event_id(self) -> str | None:
        """Return the position of a client that reconnects: it repeats the old URL.

        A browser sends it in a header.  Polyfills of EventSource cannot, and put it into the URL.
        """
        header = self.request.fields.get("Last-Event-ID")
        return header or self.argument("lastEventId", errors.BadCursor)

    def send_error(self, error: RealtimeError) -> None:
        if self._head_sent or not self._must_retry(error):
            super().send_error(error)
            return
        metrics.REFUSED.labels(error.code).inc()
        body = retry_frame(error)
        self._send(self.head(200, _CONTENT_TYPE, length=len(body)) + body, 0)

    def _must_retry(self, error: RealtimeError) -> bool:
        """Whether the client is an EventSource that would be lost for good.

        EventSource never reconnects after a status other than 200 (HTML standard §9.2.3).  So one
        that resumes gets an empty stream for each error that passes.  So does a new one while the
        server drains: it may have received no id yet.
        """
        if error.retry_after is None:
            return False
        fields, is_draining = self.request.fields, isinstance(error, errors.GoingAway)
        is_event_source = "text/event-stream" in fields.get("Accept", "")
        resumes = "Last-Event-ID" in fields or "lastEventId" in self.arguments
        return resumes or (is_event_source and is_draining)
