"""Iframe streaming, the client's half: what a browser does with a page of scripts.

A script runs when its end tag has arrived.  All of ours have the same text, which passes on the
value of an attribute.  A browser checks that text against the Content-Security-Policy, and so does
this reader: a block that would not run in a browser does not count as received here.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from realtime.client.base import HTTPStreamClient
from realtime.client.http import BadResponse, ResponseHead
from realtime.client.sansio import Decoder, Event, Loads, with_cursor

# HTML standard §13.2.5.36: in a double-quoted value only the quote ends it, not even a
# "</script>"; §13.2.5.4: in a script only its end tag ends it.
_BLOCK = re.compile(rb'<script data-event="([^"]*)">(.*?)</script>', re.DOTALL)


# A load generator unescapes the same attribute for each of its readers.
@lru_cache(maxsize=2_000)
def unescape_attribute(text: bytes) -> str:
    """Undo character references, which are references in an attribute only, not in a script."""
    return html.unescape(text.decode("utf-8"))


class ScriptBlockReader:
    """Accepts the bytes of a page split anywhere and returns the event of each script that runs.

    `policy` is the Content-Security-Policy of the page.
    """

    def __init__(self, policy: str, loads: Loads) -> None:
        self._loads = loads
        self.script: bytes | None = None
        self._policy = policy
        self._unread = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        self._unread += data
        end = 0
        for match in _BLOCK.finditer(self._unread):
            self._check_between(self._unread[end : match.start()])
            self._check_script(match[2])
            end = match.end()
            yield self._loads(unescape_attribute(match[1]))
        self._unread = self._unread[end:]

    def _check_between(self, markup: bytes) -> None:
        """Only white space may be between blocks, and no other script before the first block."""
        unexpected = b"<script" in markup if self.script is None else markup.strip()
        if unexpected:
            raise BadResponse(f"between two blocks: {markup[:80]!r}")

    def _check_script(self, script: bytes) -> None:
        if self.script is None:
            digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
            if f"'sha256-{digest}'" not in self._policy:
                raise BadResponse(f"the policy forbids this script: {script!r}")
            self.script = script
        elif script != self.script:
            raise BadResponse(f"the script differs from the first one: {script!r}")


class IframeStreamingClient(HTTPStreamClient):
    """`pad` requests so many bytes before the first block, for old proxies and browsers."""

    transport = "iframe_streaming"
    content_type = "text/html; charset=utf-8"

    def __init__(self, url: str, room: str, *, pad: int = 0, **options: Any) -> None:
        self._pad = {"pad": str(pad)} if pad else {}
        super().__init__(url, room, **options)

    def _path(self, cursor: str | None) -> str:
        return self._query.path(self.transport, cursor, **self._pad)

    @staticmethod
    def decoder(head: ResponseHead, loads: Loads) -> Decoder:
        blocks = ScriptBlockReader(head.fields.get("content-security-policy", ""), loads)
        return lambda data: map(with_cursor, blocks.feed(data))
