"""Where does an HTTP/1.1 response end?  RFC 9112 §6.3, for bytes in pieces of any size.

A proxy that buffers must know: an answer that has ended goes out at once, one that goes on may
wait.  How long it is depends on what was asked, so both directions are read.  Pure, and in
bounded memory: of a head only what tells the length is kept, of a body nothing.
"""

import math
import re
from collections import deque
from collections.abc import Callable

# A head longer than this is not read; servers refuse far shorter ones (ours above 64 KiB).
_HEAD_BYTES = 65_536
# Requests that may wait for their answers; no browser pipelines at all.
_PIPELINED = 1_000

_REQUEST_LINE = re.compile(rb"([!-~]+) [!-~]+ (HTTP/1\.[01])")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5]\d\d)(?: .*)?", re.DOTALL)
_LENGTH = re.compile(rb"\d{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)

# The length of a body that comes in chunks, each with a length of its own.
_CHUNKED = -1


class _Faulty(Exception):
    """This is not HTTP as RFC 9112 has it: where anything ends is anybody's guess."""


class MessageFraming:
    """One connection: told what went up and what came down, it knows where responses end.

    `opaque` means that it knows no more, and that nobody needs to: the connection has become a
    tunnel (101, CONNECT), or something on it was malformed.  It stays so.
    """

    def __init__(self) -> None:
        methods: deque[bytes] = deque()
        self._requests = _Requests(methods)
        self._responses = _Responses(methods)

    @property
    def opaque(self) -> bool:
        return self._requests.opaque or self._responses.opaque

    def sent(self, data: bytes) -> None:
        """Take the next bytes that went up."""
        if not self.opaque:
            self._requests.feed(data)

    def received(self, data: bytes) -> list[int]:
        """Take the next bytes that came down; give the offsets in them where a response ended.

        An interim response (1xx) is one, too: whoever waits for "100 Continue" sends no more.
        One that lasts until the connection is closed never ends here.
        """
        return [] if self.opaque else self._responses.feed(data)


class BufferingProxy:
    """Holds responses back as a buffering proxy does, which is what makes a stream go silent.

    It is one of those that do not know ``X-Accel-Buffering: no``, with which a server asks nginx to
    let a stream pass.
    """

    def __init__(self, boundaries: MessageFraming) -> None:
        self._boundaries = boundaries
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, data: bytes, size: int | None) -> bytes:
        """Take the next bytes that came down, give those that may go on.

        That is all of them when there are `size` or nobody asks for buffering, else up to the end
        of the last response that is whole.
        """
        start = len(self._held)
        ends = self._boundaries.received(data)
        self._held += data
        if size is None or len(self._held) >= size or self._boundaries.opaque:
            return self.flush()
        return self._take(start + ends[-1]) if ends else b""

    def flush(self) -> bytes:
        """Give all that is held."""
        return self._take(len(self._held))

    def _take(self, count: int) -> bytes:
        data = bytes(self._held[:count])
        del self._held[:count]
        return data


class _Messages:
    """What requests and responses have in common: lines, then a body by count or by chunks.

    A message is read by the methods below, in their order; `_read` is the one whose line is next.
    """

    def __init__(self) -> None:
        self.opaque = False
        self._read: Callable[[bytes], None] = self._start
        self._line = bytearray()  # as much of it as is here
        self._head_bytes = 0
        self._left = 0.0  # bytes of body to skip, infinitely many when the close is the end
        self._ended = False
        self._version = b""
        self._fields: dict[bytes, list[bytes]] = {}

    def feed(self, data: bytes) -> list[int]:
        """Take the next bytes, give the offsets in them where a message ended."""
        ends = []
        at = 0
        while at < len(data) and not self.opaque:
            try:
                at = self._skip(data, at) if self._left else self._read_line(data, at)
            except _Faulty:
                self.opaque = True
            if self._ended:
                ends.append(at)
                self._begin()
        return ends

    # --- pieces into lines and counts ------------------------------------------------------------

    def _skip(self, data: bytes, at: int) -> int:
        count = int(min(self._left, len(data) - at))
        self._left -= count
        if not self._left and self._read == self._start:
            self._ended = True
        return at + count

    def _read_line(self, data: bytes, at: int) -> int:
        stop = data.find(b"\n", at) + 1 or len(data)
        self._line += data[at:stop]
        self._head_bytes += stop - at
        if self._head_bytes > _HEAD_BYTES:
            raise _Faulty
        if self._line.endswith(b"\n"):
            # §2.2: "a recipient MAY recognize a single LF as a line terminator and ignore any
            # preceding CR."
            line = bytes(self._line[:-1]).removesuffix(b"\r")
            self._line.clear()
            self._read(line)
        return stop

    def _begin(self) -> None:
        self._ended = False
        self._head_bytes = 0
        self._read = self._start
        self._fields = {}

    # --- a message, from its first line to its last ----------------------------------------------

    def _start(self, line: bytes) -> None:
        raise NotImplementedError

    def _field(self, line: bytes) -> None:
        if not line:
            self._body(self._length())
            return
        name, colon, value = line.partition(b":")
        # §5.1: "No whitespace is allowed between the field name and colon."  A line that begins
        # with some is obsolete folding (§5.2), which nobody has sent for decades.
        if not colon or not name or name != b"".join(name.split()):
            raise _Faulty
        if name.lower() in (b"content-length", b"transfer-encoding"):
            values = [value.strip(b" \t").lower() for value in value.split(b",")]
            self._fields.setdefault(name.lower(), []).extend(values)

    def _body(self, length: float) -> None:
        if length == _CHUNKED:
            self._read_chunk_size()
            return
        self._read = self._start
        self._left = length
        self._ended = not length

    def _read_chunk_size(self) -> None:
        self._head_bytes = 0
        self._read = self._chunk

    def _chunk(self, line: bytes) -> None:
        # §7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise _Faulty
        self._left = int(match[1], 16)
        # §7.1: "The chunked coding is complete when a chunk with a chunk-size of zero is received,
        # possibly followed by a trailer section, and finally terminated by an empty line."
        self._read = self._chunk_end if self._left else self._trailer

    def _chunk_end(self, line: bytes) -> None:
        if line:
            raise _Faulty
        self._read_chunk_size()

    def _trailer(self, line: bytes) -> None:
        self._ended = not line

    # --- how long a body is ----------------------------------------------------------------------

    def _length(self) -> float:
        raise NotImplementedError

    def _declared_length(self, *, undeclared: float) -> float:
        """The length by the fields (§6.3, 3 to 6), or `undeclared` when they do not tell."""
        codings = self._fields.get(b"transfer-encoding")
        if codings is None:
            lengths = set(self._fields.get(b"content-length", ()))
            return self._one_length(lengths) if lengths else undeclared
        # §6.3, 3: "the Transfer-Encoding overrides the Content-Length."
        # §6.1: of an HTTP/1.0 message with a Transfer-Encoding "the framing is faulty".
        if self._version == b"HTTP/1.0":
            raise _Faulty
        if codings[-1] == b"chunked":
            return _CHUNKED
        # §6.3, 4: of a response without chunked at the end "the message body length is determined
        # by reading the connection until it is closed by the server"; of a request it "cannot be
        # determined reliably".
        if not undeclared:
            raise _Faulty
        return undeclared

    def _one_length(self, values: set[bytes]) -> int:
        # §6.3, 5: an invalid Content-Length is an error, unless it is a list where "all values in
        # the list are valid, and all values in the list are the same".
        (value,) = values if len(values) == 1 else (b"",)
        if not _LENGTH.fullmatch(value):
            raise _Faulty
        return int(value)


class _Requests(_Messages):
    """Notes the method of each request, for the response that answers it."""

    def __init__(self, methods: deque[bytes]) -> None:
        super().__init__()
        self._methods = methods

    def _start(self, line: bytes) -> None:
        # §2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
        if not line:
            return
        match = _REQUEST_LINE.fullmatch(line)
        if match is None or len(self._methods) >= _PIPELINED:
            raise _Faulty
        self._methods.append(match[1])
        self._version = match[2]
        self._read = self._field

    def _length(self) -> float:
        # §6.3, 7: "If this is a request message and none of the above are true, then the message
        # body length is zero".
        return self._declared_length(undeclared=0)


class _Responses(_Messages):
    """Takes the methods in the order of asking: §9.3.2, responses come "in the same order"."""

    def __init__(self, methods: deque[bytes]) -> None:
        super().__init__()
        self._methods = methods
        self._status = 0

    def _start(self, line: bytes) -> None:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise _Faulty
        self._version = match[1]
        self._status = int(match[2])
        self._read = self._field

    def _length(self) -> float:
        # §6.3, 1: "Any response to a HEAD request and any response with a 1xx (Informational), 204
        # (No Content), or 304 (Not Modified) status code is always terminated by the first empty
        # line after the header fields".
        if self._status < 200:
            # RFC 9110 §15.2.2: after "101 Switching Protocols" the connection speaks another one.
            # Any other is an interim response, and the request still waits for its answer.
            self.opaque = self._status == 101
            return 0
        # A server may speak unasked: "408 Request Timeout" before it closes.
        method = self._methods.popleft() if self._methods else b""
        if method == b"HEAD" or self._status in (204, 304):
            return 0
        # §6.3, 2: "Any 2xx (Successful) response to a CONNECT request implies that the connection
        # will become a tunnel immediately after the empty line that concludes the header fields."
        if method == b"CONNECT" and self._status < 300:
            self.opaque = True
            return 0
        # §6.3, 8: "Otherwise, this is a response message without a declared message body length,
        # so the message body length is determined by the number of octets received prior to the
        # server closing the connection."
        return self._declared_length(undeclared=math.inf)
