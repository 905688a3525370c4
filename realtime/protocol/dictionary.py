"""The dictionary that compressed streams share: typical events, framed by each transport.

A browser that has loaded it offers its hash with each later request (RFC 9842); a compressed piece
then refers to it, as if it had been sent before.  Each change makes another hash, and a browser
that still has the old one gets plain zstd.  Pure.
"""

import base64
import hashlib
import json

_WORDS = (
    "Hello everybody, what does this mean? I think that they would know how the server works when"
    " you send a message, because we have not seen it yet. Who can say why there is more than one"
    " answer to my question? Yes, of course, thank you! Let me look at that again with the others."
)
_TRANSPORTS = (
    *("short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming", "websocket"),
    *("sockjs", "socketio", "post"),
)


def _event(kind: str, via: str, **more: object) -> str:
    fields = {
        **{"kind": kind, "cursor": "841a5bd5c1-42", "id": "3f0c9a52-8f0e-4c2b-9d3e-0a4be1d2c677"},
        **{"client": "key-5d41402abc4b2a76b9719d911017c592", "name": "Ada", **more, "via": via},
        **{"sent": 1795908066000.5, "published": 1795908066679},
    }
    return json.dumps(fields, separators=(",", ":"))


def _build() -> bytes:
    lines = [_event(kind, via) for via in _TRANSPORTS for kind in ("quit", "join")]
    lines += [_event("say", via, text=_WORDS) for via in _TRANSPORTS]
    said = _event("say", "sse", text="Hello")
    attribute = said.replace('"', "&#34;")
    script = "parent.realtime.receive(JSON.parse(s.dataset.event));s.remove()}</script>\n"
    lines += [
        f'{{"cursor":"841a5bd5c1-42","events":[{said},{said}]}}',
        f'<script data-event="{attribute}">{{const s=document.currentScript;{script}',
        f"id: 841a5bd5c1-42\ndata: {said}\n\n",
    ]
    return "\n".join(lines).encode()


DICTIONARY = _build()
HASH = hashlib.sha256(DICTIONARY).digest()
# RFC 9842 §2.2: a byte sequence of structured fields (RFC 9651 §3.3.5).
OFFER = f":{base64.b64encode(HASH).decode()}:"
