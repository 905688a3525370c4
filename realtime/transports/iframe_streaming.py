"""Iframe streaming, the "forever frame": a page that loads forever, one script per message.

It worked in every browser since 1998, before any of them could read a response chunk by chunk.  The
text of each script is the same, to the byte: the message is in an attribute.  So one hash in the
Content-Security-Policy allows our scripts and no others, and no message can become code.
"""

import base64
import hashlib
from collections.abc import Sequence

from realtime.core.events import Event
from realtime.errors import BadKeep, BadPad
from realtime.transports.streaming import StreamExchange

# The script removes itself, or the page would keep three nodes for every message ...
SCRIPT = (
    b"{const s=document.currentScript;"
    b"parent.realtime.receive(JSON.parse(s.dataset.event));s.remove()}"
)
# ... which it does with `?keep=1`, to be inspected.
KEPT_SCRIPT = b"parent.realtime.receive(JSON.parse(document.currentScript.dataset.event))"
_HEAD = b"<!DOCTYPE html><meta charset=utf-8><title>iframe streaming</title>"
# WebKitGTK holds back the first 512 bytes of a page: it guesses the content type from them.
OPENING = _HEAD.ljust(511) + b"\n"
# White space between elements: an invisible text node.
HEARTBEAT = b"\n"
# Old browsers and some proxies hold back the first one to four kilobytes of a page.
MAX_PADDING = 16_384


def content_security_policy(script: bytes, ancestors: Sequence[str] = ()) -> str:
    """Allow one script and nothing else, and only inside our own pages, also of our other ports."""
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    frame_ancestors = " ".join(["'self'", *ancestors])
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {frame_ancestors}; script-src 'sha256-{digest}'"
    )


CONTENT_SECURITY_POLICY = content_security_policy(SCRIPT)


def frame(event: Event) -> bytes:
    return script_element(event, SCRIPT)


def kept_frame(event: Event) -> bytes:
    return script_element(event, KEPT_SCRIPT)


def script_element(event: Event, script: bytes) -> bytes:
    # In a double-quoted attribute only & and " have a meaning (HTML standard §13.1.2.3); < and >
    # are escaped for simpler tools that read the bytes.
    data = event.json.replace(b"&", b"&amp;").replace(b'"', b"&#34;")
    data = data.replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return b'<script data-event="%b">%b</script>\n' % (data, script)


class IframeStreaming(StreamExchange):
    transport = "iframe_streaming"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        pad = int(self.number("pad", 0, MAX_PADDING, BadPad))
        keep = bool(self.number("keep", 0, 1, BadKeep))
        await self.stream_events(
            subscription,
            kept_frame if keep else frame,
            HEARTBEAT,
            self._policy_field(KEPT_SCRIPT if keep else SCRIPT),
            content_type=b"Content-Type: text/html; charset=utf-8",
            opening=lambda cursor: OPENING + b" " * pad,
        )

    def _policy_field(self, script: bytes) -> bytes:
        ancestors = self.services.origin_policy.own_origins(self.origin_fields[0])
        return b"Content-Security-Policy: " + content_security_policy(script, ancestors).encode()
