"""Iframe streaming, the "forever frame": a page that never ends loading, one script per message.

It worked in every browser since 1998, before any of them could read an answer piece by piece.
The text of each script is the same, to the byte: what was said stands in an attribute.  So one
hash in the Content-Security-Policy allows our scripts and no others, and no message can ever
become code.
"""

import base64
import hashlib

from realtime.errors import BadPad
from realtime.events import Event
from realtime.transports.streaming import StreamExchange

# It removes itself, or the page would keep three nodes for every message it ever showed.
SCRIPT = (
    b"{const s=document.currentScript;"
    b"parent.realtime.receive(JSON.parse(s.dataset.event));s.remove()}"
)
OPENING = b"<!DOCTYPE html><meta charset=utf-8><title>iframe streaming</title>\n"
# White space between elements: a text node, and nothing to see.
HEARTBEAT = b"\n"
# Browsers of old showed nothing of a page before its first kilobyte or four.
MOST_PADDING = 16_384

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT).digest()).decode()}'"
)


def frame(event: Event) -> bytes:
    # In a double-quoted attribute only & and " mean anything (HTML standard §13.1.2.3); < and >
    # are escaped for whoever reads the bytes with lesser tools.
    data = event.json.replace(b"&", b"&amp;").replace(b'"', b"&#34;")
    data = data.replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return b'<script data-event="%b">%b</script>\n' % (data, SCRIPT)


class IframeStreaming(StreamExchange):
    transport = "iframe_streaming"

    async def get(self, room: str) -> None:
        question = self.question(room)
        pad = int(self.number("pad", 0, MOST_PADDING, BadPad))
        await self.stream_events(
            question,
            frame,
            HEARTBEAT,
            b"Content-Security-Policy: " + CONTENT_SECURITY_POLICY.encode(),
            content_type=b"Content-Type: text/html; charset=utf-8",
            opening=lambda cursor: OPENING + b" " * pad,
        )
