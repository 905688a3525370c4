"""Listeners that understand little, so that a thousand of them fit beside a server at full speed.

To decode an event costs the load generator more than it costs the server to send it.  Where many
are told much, most of them only find the ids in what they are told, or nothing at all.  Questions
and handshakes are those of a real listener.
"""

from array import array
from dataclasses import dataclass

from benchmarks.clients.protocols import Listener

# A key and an id that are cut in two are shorter than that.
_LONGEST = 80


class Bystander(Listener):
    """Hears as a real listener would, and throws it all away."""

    def __init__(self, real: Listener) -> None:
        super().__init__(real.server)
        self.real = real

    def question(self) -> bytes:
        self.ready = False
        return self.real.begin(self.asked)

    def take(self, data: bytes, when: float) -> float | None:
        if self.ready:
            self.skim(data, when)
            return None
        wish = self.real.take(data, when)
        self.ready = self.real.ready
        return wish

    def skim(self, data: bytes, when: float) -> None:
        """Look at what a listener that is ready is told."""

    def speak(self, when: float) -> bytes:
        return self.real.speak(when)

    def end(self) -> bool:
        return self.real.end()


class Book:
    """Numbers for ids: a million of them as texts would fill the memory, and stop the generator."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, id: bytes) -> int:
        number = self._numbers.setdefault(id, len(self.ids))
        if number == len(self.ids):
            self.ids.append(id)
        return number


@dataclass(frozen=True, slots=True)
class Piece:
    """So many messages that came at once."""

    when: float
    messages: int


class Skimmer(Bystander):
    """Finds the ids of what it is told, and when they came."""

    def __init__(self, real: Listener, book: Book) -> None:
        super().__init__(real)
        self.numbers = array("I")  # of all ids that were heard, in their order
        self.pieces: list[Piece] = []
        self._book = book
        self._tail = b""

    def heard_ids(self) -> list[str]:
        return [self._book.ids[number].decode() for number in self.numbers]

    def skim(self, data: bytes, when: float) -> None:
        data = self._tail + data
        found = 0
        end = 0
        for match in self.real.id_pattern.finditer(data):
            self.numbers.append(self._book.number(match[1]))
            found, end = found + 1, match.end()
        if found:
            self.pieces.append(Piece(when, found))
        self._tail = data[max(end, len(data) - _LONGEST) :]
