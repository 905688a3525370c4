"""The UDP socket of one WebTransport session, over asyncio.

    UDP socket ─▶ SessionProtocol ─▶ bytes of the stream, datagrams ─▶ WebTransportClient

The event loop receives packets at any time, so acknowledgements leave even while nobody reads.  But
the server may send no more than one window that nobody has read, as to a page that stops reading.
"""

import asyncio
from collections import deque
from typing import Any, Self, cast

from realtime.client.http import ByteCount, Closed
from realtime.client.quic import SessionProtocol

# Seconds for the handshake and the response, as for a connection of a browser.
_OPEN_SECONDS = 10.0
# Seconds between two pings.  A reader that sends nothing else would not learn that the server has
# gone or restarted, and a NAT would forget it (RFC 9000 §10.1.2).
_PING_SECONDS = 5.0


class WebTransportSession(asyncio.DatagramProtocol):
    """A session: `open` it, then `read` and `write` its stream, which the server opens."""

    def __init__(self, protocol: SessionProtocol, count: ByteCount) -> None:
        self.protocol = protocol
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pings: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()  # whenever something has arrived

    @property
    def closed(self) -> Closed | None:
        """Why the session ended; at that time bytes may be left to read."""
        return self.protocol.closed

    @property
    def datagrams(self) -> deque[bytes]:
        """The datagrams that have arrived."""
        return self.protocol.datagrams

    # --- open and close --------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        address: tuple[str, int],
        protocol: SessionProtocol,
        count: ByteCount,
        source: str | None = None,
    ) -> Self:
        """Connect, and open the session of `protocol`; raises `Refused`, `Closed` or OSError."""
        loop = asyncio.get_running_loop()
        local = None if source is None else (source, 0)
        _, session = await loop.create_datagram_endpoint(
            lambda: cls(protocol, count), remote_addr=address, local_addr=local
        )
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await session._connect()
        except BaseException:
            session.abort()
            raise
        return session

    async def _connect(self) -> None:
        self.protocol.connect(self._transport.get_extra_info("peername"), self._loop.time())
        self._transmit()
        while not self.protocol.opened:
            if self.protocol.refusal is not None:
                self.protocol.refusal.check(200)
            self.protocol.check_open()
            await self.changed()
        # One packet can open the stream and end the session; then there is nothing to keep alive.
        if self.closed is None:
            self._pings = self._loop.call_later(_PING_SECONDS, self._ping)

    async def close(self) -> None:
        """Close the session and its connection."""
        self.protocol.close(self._loop.time())
        self._transmit()

    def abort(self) -> None:
        """End the connection at once: the server learns only that."""
        self.protocol.abort()
        self._transmit()

    # --- the stream ------------------------------------------------------------------------------

    def read(self) -> bytes:
        """Return the bytes that have arrived; the server may then send more."""
        data = self.protocol.read()
        if data:
            self._transmit()
        return data

    async def changed(self) -> None:
        """Wait until something arrives, the session ends, or `wake` is called."""
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Let all that wait look again."""
        self._changed.set()

    def write(self, data: bytes) -> None:
        """Send `data` on the stream; raises `Closed`."""
        self.protocol.write(data)
        self._transmit()

    # --- packets ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._count.bytes_in += len(data)
        self.protocol.receive_datagram(data, self._loop.time())
        self._transmit()
        self._changed.set()

    def error_received(self, exc: Exception) -> None:
        self.protocol.lose()  # nobody listens there
        self._transmit()

    def _transmit(self) -> None:
        """Send what is due, and set the timer; at the end of the session close the socket."""
        if self._transport.is_closing():
            return
        for data in self.protocol.datagrams_to_send(self._loop.time()):
            self._count.bytes_out += len(data)
            self._transport.sendto(data)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self.protocol.timer) is not None:
            self._timer = self._loop.call_at(at, self._on_timer, at)
        if self.protocol.closed is not None:
            self._end()

    def _end(self) -> None:
        if self._pings is not None:
            self._pings.cancel()
        self._transport.close()
        self._changed.set()

    def _ping(self) -> None:
        self.protocol.ping()
        self._transmit()
        self._pings = self._loop.call_later(_PING_SECONDS, self._ping)

    def _on_timer(self, at: float) -> None:
        self._timer = None
        self.protocol.handle_timer(max(at, self._loop.time()))
        self._transmit()
        self._changed.set()
