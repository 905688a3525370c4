"""Iframe streaming, the client's half: what a browser does with a page of scripts.

A script runs when its end tag has come.  Ours all have the same text, which hands on what stands
in an attribute; a browser checks that text against the Content-Security-Policy, and so does this
reader, so that a block which would not run in a browser does not count as received here.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.clients.base import Event, Step, StreamClient, step
from benchmarks.clients.http import BadResponse, Head

# HTML standard §13.2.5.36: in a double-quoted value nothing but the quote ends it, not even a
# "</script>"; §13.2.5.4: in a script nothing but its end tag does.
_BLOCK = re.compile(rb'<script data-event="([^"]*)">(.*?)</script>', re.DOTALL)


def read_attribute(text: bytes) -> Event:
    """Read the event of a block: character references are undone in an attribute only."""
    event: Event = json.loads(html.unescape(text.decode("utf-8")))
    return event


class Blocks:
    """Takes the bytes of a page in any pieces and gives the event of each script that would run.

    `policy` is the Content-Security-Policy of the page; `read` reads the attribute of a block.
    """

    def __init__(self, policy: str, read: Callable[[bytes], Event] = read_attribute) -> None:
        self._read = read
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
            yield self._read(match[1])
        self._unread = self._unread[end:]

    def _check_between(self, markup: bytes) -> None:
        """Nothing but white space may stand between blocks, and no script before the first."""
        strange = b"<script" in markup if self.script is None else markup.strip()
        if strange:
            raise BadResponse(f"between two blocks: {markup[:80]!r}")

    def _check_script(self, script: bytes) -> None:
        if self.script is None:
            digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
            if f"'sha256-{digest}'" not in self._policy:
                raise BadResponse(f"the policy forbids this script: {script!r}")
            self.script = script
        elif script != self.script:
            raise BadResponse(f"the script is not the same: {script!r}")


class IframeStreaming(StreamClient):
    """`pad` asks for so many bytes before the first block, for proxies and browsers of old."""

    transport = "iframe_streaming"
    content_type = "text/html; charset=utf-8"
    _blocks: Blocks

    def __init__(self, url: str, room: str, *, pad: int = 0, **options: Any) -> None:
        super().__init__(url, room, **options)
        self._pad = pad

    def _path(self, **more: str) -> str:
        return super()._path(**more, **({"pad": str(self._pad)} if self._pad else {}))

    def _begin(self, head: Head) -> None:
        self._blocks = Blocks(head.fields.get("content-security-policy", ""))

    def _decode(self, data: bytes) -> Iterator[Step]:
        return map(step, self._blocks.feed(data))
