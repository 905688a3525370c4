"""The tap copies the bytes of some requests to subscribers who know the secret in the request.

A request carries ``trace=SECRET``.  From its first byte to the last byte of its response, all that
crosses the socket is copied to the subscribers of that secret, with its time and its direction.
Without a subscriber nothing is copied.
"""

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any, Literal
from weakref import WeakValueDictionary

# Whoever has the secret sees the bytes.  20 random characters are 120 bits: too many to guess.
SECRET = re.compile(r"[\w-]{20,64}", re.ASCII)
# Records of so many seconds are sent together.
_BATCH_SECONDS = 0.02
# Bytes kept for a subscriber that does not accept them; what exceeds this is dropped, and counted.
_MAX_BUFFERED_BYTES = 1_048_576

Direction = Literal["up", "down"]
# Sends some records, or returns False if that is not possible yet.
SendRecords = Callable[[list[str]], bool]


class TapSubscriber:
    """Collects the records of one secret, and sends them in batches when `send` accepts them.

    A record is JSON: ``{"connection","transport","at","direction","data"}`` with `at` in ms since
    1970 and `data` in base64, ``{"connection","at","closed":true}``, or ``{"dropped":bytes}``.
    """

    def __init__(self, send: SendRecords) -> None:
        self._send = send
        self._records: list[str] = []
        self._buffered_bytes = 0
        self._dropped_bytes = 0
        self._send_at: asyncio.TimerHandle | None = None

    def add(self, record: dict[str, Any], data: bytes = b"") -> None:
        if self._buffered_bytes + len(data) > _MAX_BUFFERED_BYTES:
            self._dropped_bytes += len(data)
            return
        self._buffered_bytes += len(data)
        self._records.append(json.dumps(record))
        self._send_soon()

    def close(self) -> None:
        if self._send_at is not None:
            self._send_at.cancel()

    def _send_soon(self) -> None:
        if self._send_at is None:
            loop = asyncio.get_running_loop()
            self._send_at = loop.call_later(_BATCH_SECONDS, self._send_batch)

    def _send_batch(self) -> None:
        self._send_at = None
        dropped = [json.dumps({"dropped": self._dropped_bytes})] if self._dropped_bytes else []
        if self._send(self._records + dropped):
            self._records, self._buffered_bytes, self._dropped_bytes = [], 0, 0
        else:
            self._send_soon()


class Tap:
    """The subscribers of one secret."""

    def __init__(self) -> None:
        self.subscribers: set[TapSubscriber] = set()

    def copy(self, connection: int, transport: str, direction: Direction, data: bytes) -> None:
        """Send a copy of bytes that crossed the socket of `connection`."""
        if not self.subscribers:
            return
        record = {
            **{"connection": connection, "transport": transport, "at": _now_ms()},
            **{"direction": direction, "data": base64.b64encode(data).decode()},
        }
        for subscriber in self.subscribers:
            subscriber.add(record, data)

    def closed(self, connection: int) -> None:
        """Report that a connection closed while its bytes were copied."""
        for subscriber in self.subscribers:
            subscriber.add({"connection": connection, "at": _now_ms(), "closed": True})


class TapRegistry:
    """The taps in use: each has a subscriber, or a traced connection that is still open."""

    def __init__(self) -> None:
        self._taps: WeakValueDictionary[str, Tap] = WeakValueDictionary()

    def find(self, secret: str) -> Tap | None:
        return self._taps.get(secret)

    def open(self, secret: str) -> Tap:
        """Return the tap of a secret; it exists while the caller, or another, holds it."""
        return self._taps.setdefault(secret, Tap())


def _now_ms() -> float:
    return round(time.time() * 1000, 3)
