"""The end of a connection on which the client may still be sending.

If we close while bytes of the client are unread, or arrive later, TCP answers with a reset.  A
reset discards what the client has not read yet: our last message, with the reason (RFC 9112 §9.6).

    write everything ─▶ FIN ─▶ discard what arrives ─▶ the client's FIN, or the limit ─▶ close
"""

import asyncio
import socket
from contextlib import suppress

from tornado.iostream import IOStream

# A client that has read our last message closes at once.  One that does not is disconnected.
LINGER_SECONDS = 5.0
# What a client can have sent before it read the message: a large file, on a fast network.
MAX_LINGER_BYTES = 16 * 2**20
_READ_BYTES = 65_536


async def close_lingering(stream: IOStream) -> None:
    """Send what is pending and a FIN, discard what the client still sends, and close."""
    with suppress(OSError, TimeoutError):  # the client has disconnected, or does not
        async with asyncio.timeout(LINGER_SECONDS):
            await stream.write(b"")
            stream.socket.shutdown(socket.SHUT_WR)
            if stream.reading():  # a request that took too long, which another task discards
                await asyncio.sleep(LINGER_SECONDS)
            await discard(stream, MAX_LINGER_BYTES)
    stream.close()


async def discard(stream: IOStream, count: int) -> None:
    """Read `count` bytes and forget them; raises `StreamClosedError` at the end of the stream."""
    while count > 0:
        count -= len(await stream.read_bytes(min(count, _READ_BYTES), partial=True))
