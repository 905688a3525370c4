"""Fetch streaming: one streaming response that the page parses itself, one JSON object per line.

For SSE the browser has the parser.  With `fetch` the page needs ten lines of its own, and is free
in the method, the headers and the framing; here NDJSON.
"""

from realtime.core.events import Event
from realtime.transports.streaming import StreamExchange

# An empty line is no JSON object; the client skips it.  A stream starts with one, because Firefox
# reports a response to the page only with the first byte of its body.
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
            opening=lambda cursor: HEARTBEAT,
        )
