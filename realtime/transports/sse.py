"""Server-sent events: one streaming response of lines that the browser parses (HTML standard §9.2).

The first streaming transport with a browser API: `EventSource` reconnects by itself, and sends its
position in `Last-Event-ID`, which is our cursor.
"""

from realtime.core.events import Cursor, Event
from realtime.errors import RealtimeError
from realtime.transports.base import NOW
from realtime.transports.streaming import StreamExchange

# A line that starts with a colon is a comment, which EventSource ignores.
HEARTBEAT = b":\n\n"


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
    """Tell the browser how many milliseconds to wait before it reconnects."""
    return b"retry: %d\n\n" % (1000 * (error.retry_after or 0))


class ServerSentEvents(StreamExchange):
    transport = "sse"

    async def get(self, room: str) -> None:
        # A browser that reconnects repeats the old URL; its position is in this header.
        last_id = self.request.fields.get("Last-Event-ID")
        subscription = self.parse_subscription(room, resume=last_id)
        await self.stream_events(
            subscription,
            frame,
            HEARTBEAT,
            content_type=b"Content-Type: text/event-stream",
            opening=lambda cursor: cursor_frame(cursor) if subscription.after == NOW else b"",
            close_frame=retry_frame,
        )
