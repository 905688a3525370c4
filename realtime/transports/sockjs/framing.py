"""SockJS frames: a letter, often with JSON after it, in an envelope that each transport defines.

    o                   open
    h                   heartbeat
    a["one","two"]      messages
    c[code,"reason"]    close

Pure functions: values in, bytes out.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NoReturn

from realtime.protocol import http1
from realtime.protocol.websocket_frames import text_frame

OPEN = b"o"
HEARTBEAT = b"h"
# Some browsers and proxies deliver nothing of a response before its first 2 KiB.
XHR_PRELUDE = b"h" * 2048 + b"\n"
# Opera 10 expected an empty line before the first event.
EVENTSOURCE_PRELUDE = b"\r\n"
# Padded to more than a kilobyte: Internet Explorer rendered nothing before.
_HTMLFILE_PAGE = """<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.%s;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>"""
_HTMLFILE_BYTES = 1100

# Characters that some browsers change in transit, and lone surrogates, which UTF-8 cannot encode.
_UNSAFE = re.compile("[\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff\ud800-\udfff]")
# Inside a script element, these could end it or start another element.
_MARKUP = re.compile("[<>&]")
# One push goes to many clients: the same bytes are wrapped once per transport, not per client.
_WRAP_CACHE_SIZE = 8


def encode(message: Any) -> str:
    """Encode one message as JSON; only characters that browsers change are escaped."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(_escape, text)


def _escape(match: "re.Match[str]") -> str:
    return f"\\u{ord(match[0]):04x}"


def messages(encoded: Iterable[str]) -> bytes:
    """Frame messages that are already JSON."""
    return f"a[{','.join(encoded)}]".encode()


def close(code: int, reason: str) -> bytes:
    return f"c[{code},{encode(reason)}]".encode()


def decode(data: bytes) -> list[str]:
    """Parse what a client sends: an array of strings, or one string; raises `ValueError`."""
    value = json.loads(data.decode("utf-8"), parse_constant=_reject_constant)
    batch = [value] if isinstance(value, str) else value
    if not isinstance(batch, list) or not all(isinstance(one, str) for one in batch):
        raise ValueError("every message must be a string")
    return batch


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# --- the envelope of each transport --------------------------------------------------------------


@lru_cache(_WRAP_CACHE_SIZE)
def line(frame: bytes) -> bytes:
    return frame + b"\n"


@lru_cache(_WRAP_CACHE_SIZE)
def event(frame: bytes) -> bytes:
    return b"data: %b\r\n\r\n" % frame


@lru_cache(_WRAP_CACHE_SIZE)
def script(frame: bytes) -> bytes:
    return f"<script>\np({_literal(frame)});\n</script>\r\n".encode()


def call(callback: str, frame: bytes) -> bytes:
    """Call the function that a script tag named.

    The comment comes first, so that the client does not choose the first bytes of the response: as
    a name they could be a Flash file, which runs with the rights of our origin ("Rosetta Flash").
    """
    return f"/**/{callback}({_literal(frame)});\r\n".encode()


def _literal(frame: bytes) -> str:
    """Write a frame as a JavaScript string literal that contains no markup."""
    return _MARKUP.sub(_escape, encode(frame.decode()))


def htmlfile_page(callback: str) -> bytes:
    return (_HTMLFILE_PAGE % callback).ljust(_HTMLFILE_BYTES).encode() + b"\r\n\r\n"


@lru_cache(_WRAP_CACHE_SIZE)
def socket_frame(frame: bytes) -> bytes:
    return text_frame(frame)


@lru_cache(_WRAP_CACHE_SIZE)
def chunk(data: bytes) -> bytes:
    return http1.chunk(data)
