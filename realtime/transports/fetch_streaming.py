"""Fetch streaming: one endless answer that the page reads itself, a JSON object per line.

What SSE does with a parser in the browser, `fetch` does with ten lines of the page's own, and
with any method, any head and any framing; here NDJSON.
"""

from realtime.core.events import Event
from realtime.transports.streaming import StreamExchange

# An empty line is no object.
HEARTBEAT = b"\n"


def frame(event: Event) -> bytes:
    return event.json + b"\n"


class FetchStreaming(StreamExchange):
    transport = "fetch_streaming"

    async def get(self, room: str) -> None:
        await self.stream_events(
            self.parse_subscription(room),
            frame,
            HEARTBEAT,
            content_type=b"Content-Type: application/x-ndjson",
        )
