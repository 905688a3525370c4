"""The tap: the very bytes of some requests, for whoever holds the secret they carry.

A request says ``trace=SECRET``; from its first byte to the last of its answer all that crosses the
socket is copied to those who watch that secret, with its time and its direction.  Nobody watches,
nothing is copied.
"""

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any, Literal
from weakref import WeakValueDictionary

# Whoever knows a secret sees bytes: at least 120 bits that nobody guesses, if they are random.
SECRET = re.compile(r"[\w-]{20,64}", re.ASCII)
# What is copied in so many seconds is told together.
_TOGETHER_SECONDS = 0.02
# Bytes kept for a watcher that does not take them; what comes on top is dropped, and counted.
_MOST_KEPT = 1_048_576

Direction = Literal["up", "down"]
# Takes some pieces, or says that it cannot yet.
Tell = Callable[[list[str]], bool]


class TapSubscriber:
    """One who watches a secret: collects pieces, and passes them on by `tell` when it takes them.

    A piece is JSON: ``{"connection","transport","at","direction","data"}`` with `at` in ms since
    1970 and `data` in base64, ``{"connection","at","closed":true}``, or ``{"dropped":bytes}``.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._pieces: list[str] = []
        self._kept = 0
        self._dropped = 0
        self._telling: asyncio.TimerHandle | None = None

    def take(self, piece: dict[str, Any], data: bytes = b"") -> None:
        if self._kept + len(data) > _MOST_KEPT:
            self._dropped += len(data)
            return
        self._kept += len(data)
        self._pieces.append(json.dumps(piece))
        self._tell_soon()

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

    def _tell_soon(self) -> None:
        if self._telling is None:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_later(_TOGETHER_SECONDS, self._pass_on)

    def _pass_on(self) -> None:
        self._telling = None
        dropped = [json.dumps({"dropped": self._dropped})] if self._dropped else []
        if self._tell(self._pieces + dropped):
            self._pieces, self._kept, self._dropped = [], 0, 0
        else:
            self._tell_soon()


class Tap:
    """All who watch one secret."""

    def __init__(self) -> None:
        self.watchers: set[TapSubscriber] = set()

    def copy(self, connection: int, transport: str, direction: Direction, data: bytes) -> None:
        """Show some bytes that crossed the socket of `connection`."""
        if not self.watchers:
            return
        piece = {
            **{"connection": connection, "transport": transport, "at": _now_ms()},
            **{"direction": direction, "data": base64.b64encode(data).decode()},
        }
        for watcher in self.watchers:
            watcher.take(piece, data)

    def closed(self, connection: int) -> None:
        """Show that a connection ended while its bytes were being copied."""
        for watcher in self.watchers:
            watcher.take({"connection": connection, "at": _now_ms(), "closed": True})


class TapRegistry:
    """The secrets that somebody watches, or watched when a connection began that is still open."""

    def __init__(self) -> None:
        self._taps: WeakValueDictionary[str, Tap] = WeakValueDictionary()

    def find(self, secret: str) -> Tap | None:
        return self._taps.get(secret)

    def open(self, secret: str) -> Tap:
        """Give the tap of a secret; it lasts while somebody holds it."""
        return self._taps.setdefault(secret, Tap())


def _now_ms() -> float:
    return round(time.time() * 1000, 3)
