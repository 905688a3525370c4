"""Where does one HTTP/1.1 message end and the next begin?  Pure, and of no opinion about the rest.

A proxy that collects a response has to know when it is whole (RFC 9112 §6.3), and for that, whether
it answers a HEAD.  What breaks the protocol is not mended and not refused: from there on everything
is passed on as it comes, since whoever reads it will say what is wrong with it.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator

# A head or a line without an end is no head: Tornado stops at 64 KiB too.
_MOST_BYTES = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*\r\n", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r]*)?\r\n")

# A state takes data from a place on, and gives where it stopped and whether a message ends there.
State = Callable[[bytes, int], tuple[int, bool]]


class Boundaries(ABC):
    """Reads one direction of a connection."""

    def __init__(self) -> None:
        self._state: State = self._head
        self._seen = bytearray()  # of a head or a line that is not whole yet
        self._left = 0  # bytes of this body or chunk that are still to come

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Cut `data`, which may begin and end anywhere, where messages end: (piece, ends here)."""
        at = 0
        while at < len(data):
            end, ended = self._state(data, at)
            yield data[at:end], ended
            at = end

    @abstractmethod
    def _body(self, head: bytes) -> State | None:
        """Say what follows a head: a state, or None if the message ends with it."""

    # --- states ----------------------------------------------------------------------------------

    def _head(self, data: bytes, at: int) -> tuple[int, bool]:
        end, head = self._until(b"\r\n\r\n", data, at)
        if head is None:
            return end, False
        state = self._body(head)
        self._state = state or self._head
        return end, state is None or state == self._everything

    def _bytes(self, data: bytes, at: int) -> tuple[int, bool]:
        """A body of known length (RFC 9112 §6.2)."""
        end = self._take(data, at)
        if self._left == 0:
            self._state = self._head
        return end, self._left == 0

    def _size(self, data: bytes, at: int) -> tuple[int, bool]:
        """The line before a chunk (§7.1): its size, and extensions that nobody uses."""
        end, line = self._until(b"\r\n", data, at)
        if line is None:
            return end, False
        match = _SIZE.fullmatch(line)
        if match is None:
            self._state = self._everything
        elif size := int(match[1], 16):
            self._left = size + 2  # the chunk ends with CRLF
            self._state = self._chunk
        else:
            self._state = self._trailer
        return end, match is None

    def _chunk(self, data: bytes, at: int) -> tuple[int, bool]:
        end = self._take(data, at)
        if self._left == 0:
            self._state = self._size
        return end, False

    def _trailer(self, data: bytes, at: int) -> tuple[int, bool]:
        """Lines after the last chunk (§7.1.2); an empty one is the end."""
        end, line = self._until(b"\r\n", data, at)
        ended = line == b"\r\n"
        if ended:
            self._state = self._head
        return end, ended

    def _rest(self, data: bytes, at: int) -> tuple[int, bool]:
        """A body that ends with the connection (§6.3, rule 8)."""
        return len(data), False

    def _everything(self, data: bytes, at: int) -> tuple[int, bool]:
        """No HTTP any more, or none that can be read: nothing is to be collected."""
        return len(data), True

    # --- steps -----------------------------------------------------------------------------------

    def _take(self, data: bytes, at: int) -> int:
        end = min(len(data), at + self._left)
        self._left -= end - at
        return end

    def _until(self, mark: bytes, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Collect up to and with `mark`; None while it has not come."""
        known = len(self._seen)
        self._seen += data[at:]
        # The mark may have begun in an earlier piece.
        found = self._seen.find(mark, max(0, known - len(mark) + 1))
        if found < 0:
            if len(self._seen) > _MOST_BYTES:
                self._seen.clear()
                self._state = self._everything
            return len(data), None
        end = found + len(mark)
        text = bytes(self._seen[:end])
        self._seen.clear()
        return at + end - known, text

    def _framed(self, head: bytes) -> State | None:
        """The framing that requests and responses share; None if the head tells of no body."""
        if _CHUNKED.search(head):
            return self._size
        if match := _LENGTH.search(head):
            self._left = int(match[1])
            return self._bytes if self._left else None
        return None


class Requests(Boundaries):
    """What goes up; `methods` are those that were not answered yet, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.methods: deque[bytes] = deque()

    def _body(self, head: bytes) -> State | None:
        self.methods.append(head.partition(b" ")[0])
        return self._framed(head)


class Responses(Boundaries):
    """What comes down; `requests` is what went up."""

    def __init__(self, requests: Requests) -> None:
        super().__init__()
        self._requests = requests

    def _body(self, head: bytes) -> State | None:
        """RFC 9112 §6.3, in the order of its rules."""
        match = _STATUS.match(head)
        if match is None or match[1] == b"101":
            return self._everything
        if match[1].startswith(b"1"):
            return None  # an interim answer, and the real one comes after it
        methods = self._requests.methods
        method = methods.popleft() if methods else b"GET"
        if method == b"HEAD" or match[1] in (b"204", b"304"):
            return None
        if framing := self._framed(head):
            return framing
        return None if _LENGTH.search(head) else self._rest
