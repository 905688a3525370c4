"""The response to one request, as Tornado's handlers write it.

Tornado's own class for this also reads requests.  We read them ourselves, for exchanges and
handlers alike, so this class only writes.
"""

import asyncio
import re
from collections.abc import Callable

from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError

from realtime.protocol.http1 import CONTINUE, RequestHead, chunk
from realtime.server.stream import MeteredStream

_LINE_BREAK = re.compile(r"[\r\n]")


class ResponseWriter(HTTPConnection):
    """Writes one response to `stream`, and decides whether another request may follow it.

    `context` has the `remote_ip` and `protocol` of the request.  `detached` is true when the
    connection has become a WebSocket.
    """

    def __init__(
        self, stream: MeteredStream, context: object, head: RequestHead, keep_alive: bool
    ) -> None:
        self.stream = stream
        self.context = context
        self.keep_alive = keep_alive
        self.started = self.continued = self.detached = False
        self._head = head
        self._chunked = False
        self._bytes_left: int | None = None  # of a body with a length
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._close_callback: Callable[[], None] | None = None

    # --- for handlers ----------------------------------------------------------------------------

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._close_callback = callback

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        assert isinstance(start_line, ResponseStartLine)
        self.started = True
        status, length = start_line.code, headers.get("Content-Length")
        bodiless = self._head.method == "HEAD" or status in (204, 304) or status < 200
        delimited = bodiless or length is not None
        # RFC 9112 §6.3: without a length and chunks, the close of the connection ends the body.
        self._chunked = not delimited and self._head.version == "HTTP/1.1"
        if not delimited and not self._chunked:
            self.keep_alive = False
        if status != 101:
            self._set_connection(headers)
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        self._bytes_left = int(length) if length is not None and not bodiless else None
        lines = [f"HTTP/1.1 {status} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        if any(map(_LINE_BREAK.search, lines)):
            raise ValueError("a header field contains a line break")
        return self._write("\r\n".join([*lines, "", ""]).encode("latin1") + self._framed(chunk))

    def _set_connection(self, headers: HTTPHeaders) -> None:
        """Announce what happens to the connection: who closes must say so (RFC 9112 §9.6)."""
        if headers.get("Connection", "").lower() == "close":
            self.keep_alive = False
        if self._head.expects_continue and not self.continued:
            self.keep_alive = False  # whether the client sends the body is not known
        if not self.keep_alive:
            headers["Connection"] = "close"
        elif self._head.version != "HTTP/1.1":
            headers["Connection"] = "keep-alive"

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        return self._write(self._framed(chunk))

    def finish(self) -> None:
        if self._bytes_left and not self.stream.closed():
            self.stream.close()  # the client could not find the end of the body
            raise ValueError(f"the response has {self._bytes_left} bytes less than its length")
        if self._chunked:
            self._write(b"0\r\n\r\n")
        self._end()

    def detach(self) -> MeteredStream:
        """Return the stream, for another protocol than HTTP."""
        self.detached = True
        self.stream.set_close_callback(None)
        self._end()
        return self.stream

    def _framed(self, data: bytes | None) -> bytes:
        if self._bytes_left is not None:
            self._bytes_left -= len(data or b"")
        return chunk(data) if self._chunked and data else data or b""

    def _write(self, data: bytes) -> "asyncio.Future[None]":
        if not self.stream.closed():
            return self.stream.write(data)
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        closed.set_exception(StreamClosedError())
        closed.exception()  # so that asyncio does not log it
        return closed

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # --- for the connection ----------------------------------------------------------------------

    def send_continue(self) -> None:
        """Let a client that expects it send the body (RFC 9110 §10.1.1)."""
        self.continued = True
        self.stream.write(CONTINUE)

    @property
    def ended(self) -> bool:
        return self._ended.done()

    async def wait_ended(self) -> None:
        """Return when the response is complete, or the connection has closed."""
        if not self.ended:
            if self.stream.closed():
                self._on_close()
            else:
                self.stream.set_close_callback(self._on_close)
        await self._ended
        if not self.detached:
            self.stream.set_close_callback(None)
        self._close_callback = None  # it keeps the handler alive

    def _on_close(self) -> None:
        if self._close_callback is not None:
            self._close_callback()
        self._end()
