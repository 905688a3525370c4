"""Server-sent events: one endless answer of lines that the browser parses (HTML standard §9.2).

The first streaming with an interface of its own: `EventSource` reconnects by itself and says where
it was in `Last-Event-ID`, which is our cursor.
"""

from realtime.core.events import Cursor, Event
from realtime.errors import RealtimeError
from realtime.transports.base import NOW
from realtime.transports.streaming import StreamExchange

# A line that begins with a colon is a comment: EventSource reads it and tells nobody.
HEARTBEAT = b":\n\n"


def frame(event: Event) -> bytes:
    # JSON escapes line breaks, so the data is one line whatever was said.
    return b"id: %b\ndata: %b\n\n" % (str(event.cursor).encode(), event.json)


def standing(cursor: Cursor) -> bytes:
    """Say where a reader stands: an event without data only sets the browser's last event id.

    One that began at `now` and lost its connection before the first event needs it, or it would
    begin again at a later now.
    """
    return b"id: %b\n\n" % str(cursor).encode()


def parting(error: RealtimeError) -> bytes:
    """Say when to come again: the browser waits so many milliseconds, and then reconnects."""
    return b"retry: %d\n\n" % (1000 * (error.retry_after or 0))


class ServerSentEvents(StreamExchange):
    transport = "sse"

    async def get(self, room: str) -> None:
        # A browser that reconnects repeats the old URL, and the head says where it really is.
        last_id = self.request.fields.get("Last-Event-ID")
        subscription = self.parse_subscription(room, resume=last_id)
        await self.stream_events(
            subscription,
            frame,
            HEARTBEAT,
            content_type=b"Content-Type: text/event-stream",
            opening=lambda cursor: standing(cursor) if subscription.after == NOW else b"",
            farewell=parting,
        )
