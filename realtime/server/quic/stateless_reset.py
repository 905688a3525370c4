"""Stateless resets: a server that has restarted ends the connections of its predecessor at once.

TCP does this in the kernel, by RST.  A QUIC server without a connection cannot encrypt anything for
its client.  So the client learns a token for each connection ID beforehand, and a packet that ends
with the token ends the connection (RFC 9000 §10.3).  Without it the client waits for its timeout.

The token is the HMAC of the connection ID.  A server must still know the key after a restart, so
the key is made from what identifies the machine (machine-id(5)), where there is such a file, and
the port.  Servers at two ports must not share a key: who sees a connection ID of one could get its
token from the other (§21.11).
"""

import hmac
import os
from pathlib import Path

# RFC 9000 §10.3: what looks like a packet has so many bytes at least, and the token is its end.
_TOKEN_BYTES, _MIN_BYTES, _MAX_BYTES = 16, 21, 43
# A first byte of a short header; all other bits are random (RFC 9000 §17.3.1).
_FIXED_BIT, _RANDOM_BITS = 0x40, 0x3F
_MACHINE_ID = Path("/etc/machine-id")


class ResetTokens:
    """Makes the tokens of connection IDs, and the packets that end their connections."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, connection_id: bytes) -> bytes:
        """Return the token that a client learns for this connection ID."""
        return hmac.digest(self._key, connection_id, "sha256")[:_TOKEN_BYTES]

    def packet(self, connection_id: bytes, caused_by: int) -> bytes | None:
        """Return the answer to a packet of `caused_by` bytes; None if that is too short.

        It is always shorter than its cause: two servers that do not know each other's connections
        stop after a few packets.
        """
        size = min(caused_by - 1, _MAX_BYTES)
        if size < _MIN_BYTES:
            return None
        start = bytearray(os.urandom(size - _TOKEN_BYTES))
        start[0] = start[0] & _RANDOM_BITS | _FIXED_BIT
        return bytes(start) + self.token(connection_id)


def machine_key(port: int) -> bytes:
    """Return the key of the server at `port` of this machine."""
    try:
        machine = _MACHINE_ID.read_bytes().strip()
    except OSError:
        machine = b""
    if not machine:
        return os.urandom(32)  # then only this process can end its connections
    # machine-id(5) asks for a hash with a key of the application.
    return hmac.digest(machine, b"realtime: stateless reset of QUIC, port %d" % port, "sha256")
