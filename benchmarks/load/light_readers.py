"""Readers that parse little, so that a thousand of them fit beside a server at full speed.

To decode an event costs the load generator more than it costs the server to send it.  Where many
readers receive much, most of them only search the bytes for ids, or for nothing at all.  Requests
and handshakes are those of a complete protocol.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.client.sansio import ClientProtocol, Update

if TYPE_CHECKING:
    from realtime.client.quic import SessionProtocol

# A key and an id that are split between two chunks are shorter than this.
_MAX_MATCH_BYTES = 80


class DiscardReader(ClientProtocol):
    """Connects as `protocol` would, and discards what it receives afterwards."""

    def __init__(self, protocol: ClientProtocol) -> None:
        super().__init__(protocol.endpoint)
        self.protocol = protocol

    def new_session(self) -> "SessionProtocol | None":
        return self.protocol.new_session()

    def request(self) -> bytes:
        request = self.protocol.connect(self.requested_at)
        # A session has sent its request already: it is ready when its stream is open.
        self.ready = not request and self.protocol.ready
        return request

    def receive_data(self, data: bytes, now: float) -> Sequence[Update]:
        if self.ready:
            self.scan(data, now)
            return ()
        self.protocol.receive_data(data, now)
        self.send_at = self.protocol.send_at
        self.ready = self.protocol.ready
        return ()

    def scan(self, data: bytes, now: float) -> None:
        """Look at the bytes that a reader receives once it is ready."""

    def data_to_send(self, now: float) -> bytes:
        self.send_at = None
        return self.protocol.data_to_send(now)

    def receive_eof(self) -> bool:
        return self.protocol.receive_eof()


class IdIndex:
    """Numbers for ids: a million strings would fill the memory, and stop the generator."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, id: bytes) -> int:
        number = self._numbers.setdefault(id, len(self.ids))
        if number == len(self.ids):
            self.ids.append(id)
        return number


@dataclass(frozen=True, slots=True)
class Arrival:
    """How many messages arrived in one chunk."""

    when: float
    messages: int


class IdScanner(DiscardReader):
    """Finds the ids of the messages, and when they arrived."""

    def __init__(self, protocol: ClientProtocol, index: IdIndex) -> None:
        super().__init__(protocol)
        self.numbers = array("I")  # of all received ids, in their order
        self.arrivals: list[Arrival] = []
        self._index = index
        self._tail = b""

    def received_ids(self) -> list[str]:
        return [self._index.ids[number].decode() for number in self.numbers]

    def scan(self, data: bytes, now: float) -> None:
        data = self._tail + data
        found = 0
        end = 0
        for match in self.protocol.id_pattern.finditer(data):
            self.numbers.append(self._index.number(match[1]))
            found, end = found + 1, match.end()
        if found:
            self.arrivals.append(Arrival(now, found))
        self._tail = data[max(end, len(data) - _MAX_MATCH_BYTES) :]
