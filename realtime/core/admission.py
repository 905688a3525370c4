"""What the server still accepts: a message, a member, one room more to store.

Every client shares the memory of the hub with all others.  So each address has a share of it, and
one that has used up its share receives `Busy`, long before the memory of all is used up.  The
process counts what it stores; it does not ask the broker, because an address has no key there.

Pure: time is passed in, as seconds of any monotonic clock.
"""

from collections import Counter
from dataclasses import dataclass

from realtime.core.broker import SEEN_SECONDS
from realtime.core.events import Draft
from realtime.core.rate_limit import MessageRates, RateLimiter
from realtime.errors import Busy, TooFast
from realtime.limits import Limits

# What a stored event costs besides its JSON: an entry of a log, its id, and objects around both.
EVENT_OVERHEAD_BYTES = 512
# What a room costs besides its events: two streams and three hashes in Redis.
ROOM_OVERHEAD_BYTES = 8192
_RETRY_SECONDS = 30
# A client of a class may join, or quit, as often at once as in so many seconds.
_CLIENT_BURST_SECONDS = 20.0


@dataclass(slots=True)
class _StoredRoom:
    """A room that this process has written to: who wrote first, and about how much it stores."""

    address: str
    client: str | None
    events: int = 0
    bytes: int = 0
    expires_at: float = 0.0


class StorageQuota:
    """Bounds the rooms that keep messages and the bytes in them, per address and in total.

    A room counts for the address that wrote to it first, until nobody has written to it for
    `history_seconds`: then its log has expired.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # In the order of the last write, so that the expired ones are at the front.
        self._rooms: dict[str, _StoredRoom] = {}
        self._rooms_of: Counter[str] = Counter()
        self._rooms_of_client: Counter[tuple[str, str | None]] = Counter()  # by address and client
        self._bytes_of: Counter[str] = Counter()
        self._bytes = 0

    def reserve(
        self, room: str, address: str, size: int, now: float, client: str | None = None
    ) -> None:
        """Count an event of `size` bytes of JSON; raises `Busy` if there is no space for it.

        `client` is one of a class, see `Limits.admits_client`.
        """
        self._remove_expired(now)
        stored = self._rooms.get(room)
        size += EVENT_OVERHEAD_BYTES
        if stored is None:
            self._check_rooms(address, client)
            stored = _StoredRoom(address, client)
            size += ROOM_OVERHEAD_BYTES
        full = stored.events >= self._limits.history_events
        # A full log drops its oldest event; we count one of average size.
        dropped = stored.bytes // stored.events if full else 0
        growth = min(size - dropped, self._limits.room_bytes - stored.bytes)
        self._check_bytes(stored.address, growth)
        if self._rooms.pop(room, None) is None:
            self._rooms_of[address] += 1
            self._rooms_of_client[address, client] += 1
        stored.events += not full
        stored.expires_at = now + self._limits.history_seconds
        self._rooms[room] = stored
        self._add_bytes(stored, growth)

    def _check_rooms(self, address: str, client: str | None) -> None:
        limits, held, used = self._limits, self._rooms_of[address], len(self._rooms)
        of_client = self._rooms_of_client[address, client]
        each = limits.kept_rooms_per_client, limits.kept_rooms_per_address
        if not limits.admits_client(client, of_client, *each):
            raise _busy("You have written to as many rooms as one client may")
        if used >= limits.kept_rooms:
            raise _busy("The server keeps the messages of as many rooms as it can")
        if not limits.admits(held, limits.kept_rooms_per_address, used, limits.kept_rooms):
            raise _busy("Your address has written to as many rooms as it may")

    def _check_bytes(self, address: str, growth: int) -> None:
        if growth <= 0:
            return
        limits, held, used = self._limits, self._bytes_of[address] + growth, self._bytes + growth
        if used > limits.history_bytes:
            raise _busy("The server's memory for messages is full")
        # `admits` is for one byte more.
        most = limits.history_bytes_per_address + 1
        if not limits.admits(held, most, used, limits.history_bytes):
            raise _busy("The rooms of your address are full")

    def _add_bytes(self, stored: _StoredRoom, growth: int) -> None:
        stored.bytes += growth
        self._bytes_of[stored.address] += growth
        self._bytes += growth

    def _remove_expired(self, now: float) -> None:
        while self._rooms:
            name, stored = next(iter(self._rooms.items()))
            if stored.expires_at > now:
                return
            del self._rooms[name]
            self._add_bytes(stored, -stored.bytes)
            self._rooms_of[stored.address] -= 1
            self._rooms_of_client[stored.address, stored.client] -= 1
            if not self._rooms_of_client[stored.address, stored.client]:
                del self._rooms_of_client[stored.address, stored.client]
            if not self._rooms_of[stored.address]:
                del self._rooms_of[stored.address], self._bytes_of[stored.address]


class Admission:
    """Admits a message or a new member, or raises `TooFast` or `Busy`."""

    def __init__(self, limits: Limits) -> None:
        self._rates = MessageRates(limits)
        self._quota = StorageQuota(limits)
        # The id of each message is remembered for a while, so that a retry is recognized.
        rate = limits.kept_ids / SEEN_SECONDS if limits.messages_per_second > 0 else 0
        self._ids = RateLimiter(rate, limits.kept_ids)
        # All connections of an address may join at once, as after a network failure.
        self._joins = RateLimiter(
            limits.joins_per_second_per_address,
            limits.connections_per_address,
            "One address",
            "new members",
        )
        self._joins_of_client, self._quits_of_client = (
            RateLimiter(
                limits.joins_per_second_per_client,
                _CLIENT_BURST_SECONDS * limits.joins_per_second_per_client,
                what=what,
            )
            for what in ("joins", "quits")
        )

    def admit_message(
        self,
        draft: Draft,
        connection: str | None,
        address: str,
        now: float,
        client: str | None = None,
    ) -> None:
        """Count a message; `connection` is None for one that many clients share.

        `client` is one of a class, see `Limits.admits_client`.
        """
        self._rates.acquire(draft.client, connection, address, draft.room, now)
        try:
            self._ids.acquire("", now)
        except TooFast as error:
            raise _busy("The server remembers as many messages as it can") from error
        self._quota.reserve(draft.room, address, len(draft.json_tail), now, client)

    def admit_member(self, room: str, address: str, now: float, client: str | None = None) -> None:
        """Count a client that joins a room."""
        self._joins.check(address, now)
        self._quota.reserve(room, address, 0, now, client)
        self._joins.take(address, now)

    def admit_join(self, client: str, now: float) -> None:
        """Count a join of a client in a class, whose address may be that of all."""
        self._joins_of_client.acquire(client, now)

    def admit_quit(self, client: str, now: float) -> None:
        """Count a quit of a client in a class."""
        self._quits_of_client.acquire(client, now)


def _busy(reason: str) -> Busy:
    return Busy(f"{reason}; try again later.", retry_after=_RETRY_SECONDS)
