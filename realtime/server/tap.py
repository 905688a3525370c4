"""The tap copies the bytes of some requests to subscribers who know the secret in the request.

A request carries ``trace=SECRET``.  From its first byte to the last byte of its response, all that
crosses the socket is copied to the subscribers of that secret, with its time and its direction.
Without a subscriber nothing is copied.

    bytes ─▶ Tap: one list of records ─┬─▶ subscriber at the end
                                       └─▶ slow subscriber, some records behind: {"dropped":bytes}
"""

import asyncio
import base64
import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Literal, NamedTuple
from weakref import WeakValueDictionary

from realtime.errors import Busy
from realtime.limits import Limits
from realtime.protocol.websocket_frames import text_frame

# Anybody who has the secret sees the bytes.  20 random characters are 120 bits: too many to guess.
SECRET = re.compile(r"[\w-]{20,64}", re.ASCII)
# Records of so many seconds are sent together.
_BATCH_SECONDS = 0.02
# One batch ends after so many bytes: a subscriber that stops reading keeps it in memory.
_BATCH_BYTES = 65_536
# The memory that a record needs besides its bytes.
_RECORD_OVERHEAD = 128

Direction = Literal["up", "down"]
# Sends some frames, or returns False if that is not possible yet.
SendFrames = Callable[[bytes], bool]


class TapSubscriber:
    """A position in the records of a tap; `send` accepts frames that hold one record each.

    A record is JSON: ``{"connection","transport","at","direction","data"}`` with `at` in ms since
    1970 and `data` in base64, ``{"connection","at","closed":true}``, or ``{"dropped":bytes}``.
    Over QUIC `data` comes with its `stream`, or with `datagram`, and an encrypted packet has its
    size instead of data, as `packet`.
    """

    def __init__(self, send: SendFrames) -> None:
        self.send = send
        self.next_record = 0  # the number of the first record that it has not received
        self.copied_bytes = 0  # of the connections, in all records before that one
        self.blocked = False  # until it accepts more


class _Record(NamedTuple):
    frame: bytes
    copied_bytes: int


class Tap:
    """The subscribers of one secret, and the records that some of them have not received.

    All subscribers share the records and the batches that they receive, so a slow one costs no
    more than one batch.  The oldest records are dropped above `max_bytes`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._subscribers: set[TapSubscriber] = set()
        self._records: deque[_Record] = deque()
        self._first = 0  # the number of the first record
        self._first_copied_bytes = 0  # in all records before the first
        self._copied_bytes = 0  # in all records up to now
        self.held_bytes = 0  # of memory
        self._send_at: asyncio.TimerHandle | None = None

    def add(self, subscriber: TapSubscriber) -> None:
        """Send all records from now on to this subscriber."""
        subscriber.next_record = self._first + len(self._records)
        subscriber.copied_bytes = self._copied_bytes
        self._subscribers.add(subscriber)

    def remove(self, subscriber: TapSubscriber) -> None:
        self._subscribers.discard(subscriber)
        self._forget_sent()

    def unblock(self, subscriber: TapSubscriber) -> None:
        """Continue to send to a subscriber that accepts frames again."""
        subscriber.blocked = False
        self._send_soon()

    def copy(
        self, connection: int, transport: str, direction: Direction, data: bytes, **more: int
    ) -> None:
        """Send a copy of bytes that crossed the socket of `connection`."""
        if self._subscribers:
            record = {
                **{"connection": connection, "transport": transport, "at": _now_ms()},
                **{"direction": direction, "data": base64.b64encode(data).decode(), **more},
            }
            self._append(record, len(data))

    def packet(
        self, connection: int, transport: str, direction: Direction, size: int, at: float
    ) -> None:
        """Report an encrypted packet of `size` bytes that crossed the socket at `at` (seconds)."""
        if self._subscribers:
            record = {
                **{"connection": connection, "transport": transport, "at": round(at * 1000, 3)},
                **{"direction": direction, "packet": size},
            }
            self._append(record, 0)

    def closed(self, connection: int) -> None:
        """Report that a connection closed while its bytes were copied."""
        if self._subscribers:
            self._append({"connection": connection, "at": _now_ms(), "closed": True}, 0)

    def _append(self, fields: dict[str, Any], copied_bytes: int) -> None:
        record = _Record(_frame(fields), copied_bytes)
        self._records.append(record)
        self._copied_bytes += copied_bytes
        self.held_bytes += _memory(record)
        while self.held_bytes > self._max_bytes:
            self._drop_first()
        self._send_soon()

    def _drop_first(self) -> None:
        record = self._records.popleft()
        self._first += 1
        self._first_copied_bytes += record.copied_bytes
        self.held_bytes -= _memory(record)

    def _forget_sent(self) -> None:
        end = self._first + len(self._records)
        needed = min((one.next_record for one in self._subscribers), default=end)
        while self._first < needed:
            self._drop_first()

    def _send_soon(self) -> None:
        if self._send_at is None:
            loop = asyncio.get_running_loop()
            self._send_at = loop.call_later(_BATCH_SECONDS, self._send_all)

    def _send_all(self) -> None:
        self._send_at = None
        batches: dict[int, tuple[bytes, int, int]] = {}  # by the number of their first record
        for subscriber in list(self._subscribers):
            while not subscriber.blocked and self._send_batch(subscriber, batches):
                pass
        self._forget_sent()

    def _send_batch(
        self, subscriber: TapSubscriber, batches: dict[int, tuple[bytes, int, int]]
    ) -> bool:
        """Send the next records to this subscriber; return False if there are none, or it waits."""
        start = max(subscriber.next_record, self._first)
        dropped = max(0, self._first_copied_bytes - subscriber.copied_bytes)
        if start not in batches:
            batches[start] = self._batch(start)
        frames, count, copied_bytes = batches[start]
        if dropped:
            frames = _frame({"dropped": dropped}) + frames
        if not frames:
            return False
        subscriber.blocked = not subscriber.send(frames)
        if subscriber.blocked:
            return False
        subscriber.next_record = start + count
        subscriber.copied_bytes += dropped + copied_bytes
        return True

    def _batch(self, start: int) -> tuple[bytes, int, int]:
        """Return the frames from record `start` on, their number, and the bytes that they copy."""
        frames, size, copied_bytes = [], 0, 0
        for record in islice(self._records, start - self._first, None):
            if size and size + len(record.frame) > _BATCH_BYTES:
                break
            frames.append(record.frame)
            size += len(record.frame)
            copied_bytes += record.copied_bytes
        return b"".join(frames), len(frames), copied_bytes


class TapRegistry:
    """The taps in use: each has a subscriber, or a traced connection that is still open."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self._limits = limits
        self._taps: WeakValueDictionary[str, Tap] = WeakValueDictionary()
        self._addresses: Counter[str] = Counter()  # subscribers by address
        self._clients: Counter[tuple[str, str | None]] = Counter()  # by address and client

    def find(self, secret: str) -> Tap | None:
        return self._taps.get(secret)

    def open(self, secret: str, address: str, client: str | None = None) -> Tap:
        """Return the tap of a secret for one more subscriber, until `close`; raises `Busy`.

        It exists while the caller, or another, holds it.  `client` is one of a class, see
        `Limits.admits_client`.
        """
        limits, held, used = self._limits, self._addresses[address], self._addresses.total()
        of_client, most = self._clients[address, client], limits.taps_per_address
        if not (
            limits.admits(held, most, used, limits.taps)
            and limits.admits_client(client, of_client, limits.taps_per_client, most)
        ):
            raise Busy("Too many pages watch the wire; close some, or wait.", retry_after=10)
        self._addresses[address] += 1
        self._clients[address, client] += 1
        return self._taps.setdefault(secret, Tap(limits.tap_bytes))

    def close(self, address: str, client: str | None = None) -> None:
        """Count a subscriber less for `address` and `client`."""
        self._addresses[address] -= 1
        self._clients[address, client] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        if not self._clients[address, client]:
            del self._clients[address, client]


def _frame(fields: dict[str, Any]) -> bytes:
    return text_frame(json.dumps(fields).encode())


def _memory(record: _Record) -> int:
    return len(record.frame) + _RECORD_OVERHEAD


def _now_ms() -> float:
    return round(time.time() * 1000, 3)
