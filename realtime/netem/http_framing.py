"""Where does an HTTP/1.1 response end?  RFC 9112 §6.3, for bytes in parts of any size.

A buffering proxy must know: it forwards a complete response at once, and may hold back a partial
one.  The length of a response depends on its request, so both directions are read.  Pure, and in
bounded memory: of a header section only the fields about length are kept, of a body nothing.
"""

import math
import re
from collections import deque
from collections.abc import Callable

# A longer header section is not read; servers refuse shorter ones (ours above 64 KiB).
_MAX_HEADER_BYTES = 65_536
# Requests that may wait for their responses; browsers do not pipeline at all.
_MAX_PIPELINED = 1_000

_REQUEST_LINE = re.compile(rb"([!-~]+) [!-~]+ (HTTP/1\.[01])")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5]\d\d)(?: .*)?", re.DOTALL)
_LENGTH = re.compile(rb"\d{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)

# Stands for the length of a body in chunks, which has no length in its header section.
_CHUNKED = -1


class FramingError(Exception):
    """This is not HTTP as in RFC 9112, so nobody knows where a message ends."""


class MessageFraming:
    """Reads both directions of one connection and finds where responses end.

    `opaque` means that it has stopped reading: the connection has become a tunnel (101, CONNECT),
    or a message was malformed.  It never becomes readable again.
    """

    def __init__(self) -> None:
        methods: deque[bytes] = deque()
        self._requests = _Requests(methods)
        self._responses = _Responses(methods)

    @property
    def opaque(self) -> bool:
        return self._requests.opaque or self._responses.opaque

    def request_data(self, data: bytes) -> None:
        """Read the next bytes from the client."""
        if not self.opaque:
            self._requests.feed(data)

    def response_data(self, data: bytes) -> list[int]:
        """Read the next bytes from the server; return the offsets in them where a response ended.

        An interim response (1xx) counts too: a client that waits for "100 Continue" sends no more
        until it arrives.  A response that lasts until the connection closes never ends here.
        """
        return [] if self.opaque else self._responses.feed(data)


class BufferingProxy:
    """Holds responses back as a buffering proxy does; this is what silences a stream.

    It ignores ``X-Accel-Buffering: no``, the header by which a server asks nginx not to buffer.
    """

    def __init__(self, framing: MessageFraming) -> None:
        self._framing = framing
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._held)

    def receive(self, data: bytes, size: int | None) -> bytes:
        """Take the next bytes from the server; return those that are forwarded now.

        These are all of them once `size` bytes are held or buffering is off (None); else those up
        to the end of the last complete response.
        """
        start = len(self._held)
        ends = self._framing.response_data(data)
        self._held += data
        if size is None or len(self._held) >= size or self._framing.opaque:
            return self.flush()
        return self._take(start + ends[-1]) if ends else b""

    def flush(self) -> bytes:
        """Return everything that is held."""
        return self._take(len(self._held))

    def _take(self, count: int) -> bytes:
        data = bytes(self._held[:count])
        del self._held[:count]
        return data


class _Messages:
    """What requests and responses share: lines, then a body by length or in chunks.

    The methods below read a message in their order; `_read` is the one that gets the next line.
    """

    def __init__(self) -> None:
        self.opaque = False
        self._read: Callable[[bytes], None] = self._start
        self._line = bytearray()  # the part of it that has arrived
        self._header_bytes = 0
        self._left = 0.0  # bytes of body to skip; infinite if only the close ends it
        self._ended = False
        self._version = b""
        self._fields: dict[bytes, list[bytes]] = {}

    def feed(self, data: bytes) -> list[int]:
        """Read the next bytes; return the offsets in them where a message ended."""
        ends = []
        at = 0
        while at < len(data) and not self.opaque:
            try:
                at = self._skip(data, at) if self._left else self._read_line(data, at)
            except FramingError:
                self.opaque = True
            if self._ended:
                ends.append(at)
                self._begin()
        return ends

    # --- bytes into lines and lengths ------------------------------------------------------------

    def _skip(self, data: bytes, at: int) -> int:
        count = int(min(self._left, len(data) - at))
        self._left -= count
        if not self._left and self._read == self._start:
            self._ended = True
        return at + count

    def _read_line(self, data: bytes, at: int) -> int:
        stop = data.find(b"\n", at) + 1 or len(data)
        self._line += data[at:stop]
        self._header_bytes += stop - at
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise FramingError
        if self._line.endswith(b"\n"):
            # §2.2: "a recipient MAY recognize a single LF as a line terminator and ignore any
            # preceding CR."
            line = bytes(self._line[:-1]).removesuffix(b"\r")
            self._line.clear()
            self._read(line)
        return stop

    def _begin(self) -> None:
        self._ended = False
        self._header_bytes = 0
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
        # with white space is obsolete folding (§5.2), which nobody has sent for decades.
        if not colon or not name or name != b"".join(name.split()):
            raise FramingError
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
        self._header_bytes = 0
        self._read = self._chunk

    def _chunk(self, line: bytes) -> None:
        # §7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise FramingError
        self._left = int(match[1], 16)
        # §7.1: "The chunked coding is complete when a chunk with a chunk-size of zero is received,
        # possibly followed by a trailer section, and finally terminated by an empty line."
        self._read = self._chunk_end if self._left else self._trailer

    def _chunk_end(self, line: bytes) -> None:
        if line:
            raise FramingError
        self._read_chunk_size()

    def _trailer(self, line: bytes) -> None:
        self._ended = not line

    # --- how long a body is ----------------------------------------------------------------------

    def _length(self) -> float:
        raise NotImplementedError

    def _declared_length(self, *, undeclared: float) -> float:
        """Return the length from the fields (§6.3, 3 to 6), or `undeclared` without them."""
        codings = self._fields.get(b"transfer-encoding")
        if codings is None:
            lengths = set(self._fields.get(b"content-length", ()))
            return self._one_length(lengths) if lengths else undeclared
        # §6.3, 3: "the Transfer-Encoding overrides the Content-Length."
        # §6.1: of an HTTP/1.0 message with a Transfer-Encoding "the framing is faulty".
        if self._version == b"HTTP/1.0":
            raise FramingError
        if codings[-1] == b"chunked":
            return _CHUNKED
        # §6.3, 4: of a response without chunked at the end "the message body length is determined
        # by reading the connection until it is closed by the server"; of a request it "cannot be
        # determined reliably".
        if not undeclared:
            raise FramingError
        return undeclared

    def _one_length(self, values: set[bytes]) -> int:
        # §6.3, 5: an invalid Content-Length is an error, unless it is a list where "all values in
        # the list are valid, and all values in the list are the same".
        (value,) = values if len(values) == 1 else (b"",)
        if not _LENGTH.fullmatch(value):
            raise FramingError
        return int(value)


class _Requests(_Messages):
    """Records the method of each request: the length of its response depends on it."""

    def __init__(self, methods: deque[bytes]) -> None:
        super().__init__()
        self._methods = methods

    def _start(self, line: bytes) -> None:
        # §2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
        if not line:
            return
        match = _REQUEST_LINE.fullmatch(line)
        if match is None or len(self._methods) >= _MAX_PIPELINED:
            raise FramingError
        self._methods.append(match[1])
        self._version = match[2]
        self._read = self._field

    def _length(self) -> float:
        # §6.3, 7: "If this is a request message and none of the above are true, then the message
        # body length is zero".
        return self._declared_length(undeclared=0)


class _Responses(_Messages):
    """Takes the methods in order: responses come "in the same order" as requests (§9.3.2)."""

    def __init__(self, methods: deque[bytes]) -> None:
        super().__init__()
        self._methods = methods
        self._status = 0

    def _start(self, line: bytes) -> None:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise FramingError
        self._version = match[1]
        self._status = int(match[2])
        self._read = self._field

    def _length(self) -> float:
        # §6.3, 1: "Any response to a HEAD request and any response with a 1xx (Informational), 204
        # (No Content), or 304 (Not Modified) status code is always terminated by the first empty
        # line after the header fields".
        if self._status < 200:
            # RFC 9110 §15.2.2: after "101 Switching Protocols" another protocol follows.
            # Any other 1xx is an interim response, and the request still waits for its response.
            self.opaque = self._status == 101
            return 0
        # A server may send a response without a request: "408 Request Timeout", and close.
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
