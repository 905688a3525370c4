"""Iframe streaming, the "forever frame": a page that never ends loading, one script per message.

It worked in every browser since 1998, before any of them could read an answer piece by piece.
The text of each script is the same, to the byte: what was said stands in an attribute.  So one
hash in the Content-Security-Policy allows our scripts and no others, and no message can ever
become code.
"""

import base64
import hashlib
from collections.abc import Sequence

from realtime.core.events import Event
from realtime.errors import BadKeep, BadPad
from realtime.transports.streaming import StreamExchange

# It removes itself, or the page would keep three nodes for every message it ever showed ...
SCRIPT = (
    b"{const s=document.currentScript;"
    b"parent.realtime.receive(JSON.parse(s.dataset.event));s.remove()}"
)
# ... which it does with `?keep=1`, for whoever wants to see it.
KEPT_SCRIPT = b"parent.realtime.receive(JSON.parse(document.currentScript.dataset.event))"
OPENING = b"<!DOCTYPE html><meta charset=utf-8><title>iframe streaming</title>\n"
# White space between elements: a text node, and nothing to see.
HEARTBEAT = b"\n"
# Browsers of old showed nothing of a page before its first kilobyte or four.
MOST_PADDING = 16_384


def content_security_policy(script: bytes, ancestors: Sequence[str] = ()) -> str:
    """Allow one script and nothing else, in our own pages: also those of our other ports."""
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    places = " ".join(["'self'", *ancestors])
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {places}; "
        f"script-src 'sha256-{digest}'"
    )


CONTENT_SECURITY_POLICY = content_security_policy(SCRIPT)


def frame(event: Event) -> bytes:
    return block(event, SCRIPT)


def frame_that_stays(event: Event) -> bytes:
    return block(event, KEPT_SCRIPT)


def block(event: Event, script: bytes) -> bytes:
    # In a double-quoted attribute only & and " mean anything (HTML standard §13.1.2.3); < and >
    # are escaped for whoever reads the bytes with lesser tools.
    data = event.json.replace(b"&", b"&amp;").replace(b'"', b"&#34;")
    data = data.replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return b'<script data-event="%b">%b</script>\n' % (data, script)


class IframeStreaming(StreamExchange):
    transport = "iframe_streaming"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        pad = int(self.number("pad", 0, MOST_PADDING, BadPad))
        keep = bool(self.number("keep", 0, 1, BadKeep))
        ancestors = self.services.origin_policy.own_origins(self.origin_fields[0])
        policy = content_security_policy(KEPT_SCRIPT if keep else SCRIPT, ancestors)
        await self.stream_events(
            subscription,
            frame_that_stays if keep else frame,
            HEARTBEAT,
            b"Content-Security-Policy: " + policy.encode(),
            content_type=b"Content-Type: text/html; charset=utf-8",
            opening=lambda cursor: OPENING + b" " * pad,
        )
