"""What SockJS puts on the wire: letters with JSON behind them, and an envelope per transport.

`o` opens, `h` breaks a silence, `a[…]` carries messages, `c[code,"reason"]` closes.  Pure.
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
# Some browsers and proxies show nothing of an answer before its first 2 KiB.
XHR_PRELUDE = b"h" * 2048 + b"\n"
# Opera 10 wanted a line before the first event.
EVENTSOURCE_PRELUDE = b"\r\n"
# Padded to a kilobyte, since Internet Explorer showed nothing before.
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

# What browsers were seen to change on the way, and half a surrogate pair, which UTF-8 cannot carry.
_MANGLED = re.compile("[\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff\ud800-\udfff]")
# Inside of a script, these could end it or begin something else.
_MARKUP = re.compile("[<>&]")
# One push goes to many clients: the same bytes are wrapped once for all of a transport.
_WRAPPED_KEPT = 8


def encode(message: Any) -> str:
    """Put one message in JSON; everything that is not mangled on the way stays UTF-8."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _MANGLED.sub(_escape, text)


def _escape(match: "re.Match[str]") -> str:
    return f"\\u{ord(match[0]):04x}"


def messages(encoded: Iterable[str]) -> bytes:
    """Frame messages that are JSON already."""
    return f"a[{','.join(encoded)}]".encode()


def close(code: int, reason: str) -> bytes:
    return f"c[{code},{encode(reason)}]".encode()


def decode(data: bytes) -> list[str]:
    """Read what a client sends: an array of strings, or one string; raises `ValueError`."""
    value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    batch = [value] if isinstance(value, str) else value
    if not isinstance(batch, list) or not all(isinstance(one, str) for one in batch):
        raise ValueError("messages are strings")
    return batch


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# --- a frame in the envelope of its transport ----------------------------------------------------


@lru_cache(_WRAPPED_KEPT)
def line(frame: bytes) -> bytes:
    return frame + b"\n"


@lru_cache(_WRAPPED_KEPT)
def event(frame: bytes) -> bytes:
    return b"data: %b\r\n\r\n" % frame


@lru_cache(_WRAPPED_KEPT)
def script(frame: bytes) -> bytes:
    return f"<script>\np({_literal(frame)});\n</script>\r\n".encode()


def call(callback: str, frame: bytes) -> bytes:
    return f"{callback}({_literal(frame)});\r\n".encode()


def _literal(frame: bytes) -> str:
    """Write a frame as a string of JavaScript in which nothing is markup."""
    return _MARKUP.sub(_escape, encode(frame.decode()))


def htmlfile_page(callback: str) -> bytes:
    return (_HTMLFILE_PAGE % callback).ljust(_HTMLFILE_BYTES).encode() + b"\r\n\r\n"


@lru_cache(_WRAPPED_KEPT)
def socket_frame(frame: bytes) -> bytes:
    return text_frame(frame)


@lru_cache(_WRAPPED_KEPT)
def chunk(data: bytes) -> bytes:
    return http1.chunk(data)
