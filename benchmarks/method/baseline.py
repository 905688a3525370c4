"""The minimum that any Python server pays for a delivery: one `send` of prepared bytes.

This process implements no protocol.  A connection that sends `f` becomes a follower and receives
`!`.  All other data is a message: the server fills in its number, sends it to each follower, and
answers the sender with that number as HTTP would.  So the load generator works here as everywhere.

    python -m benchmarks.method.baseline        prints its address and serves until it is stopped
"""

import select
import socket
from contextlib import suppress

from realtime.limits import Limits

READ_BYTES = 65_536
FOLLOW, READY = b"f", b"!"
OFFSET_PLACEHOLDER = b"0" * 12  # in a message; the server replaces it with the number
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OFFSET_PLACEHOLDER)


class BaselineServer:
    """Followers are never read again; senders are."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._followers: list[socket.socket] = []
        self._senders: dict[int, socket.socket] = {}
        self._count = 0
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)

    def serve(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._senders[fd])

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        # The same socket options as our server, so that both have the same kernel cost.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, Limits().send_buffer_bytes)
        self._senders[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN)

    def _read(self, connection: socket.socket) -> None:
        data = connection.recv(READ_BYTES)
        if data and data != FOLLOW:
            self._count += 1
            number = b"%0*d" % (len(OFFSET_PLACEHOLDER), self._count)
            self.deliver(data.replace(OFFSET_PLACEHOLDER, number))
            connection.send(RESPONSE + number)
            return
        self._epoll.unregister(connection)
        del self._senders[connection.fileno()]
        if data:
            self._followers.append(connection)
            connection.send(READY)
        else:
            connection.close()

    def deliver(self, data: bytes) -> None:
        """Send to all followers.  This loop is what the benchmark measures."""
        for follower in self._followers:
            follower.send(data)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    print(f"baseline: listening on http://127.0.0.1:{port}/ (no hub)", flush=True)
    with suppress(KeyboardInterrupt):
        BaselineServer(listener).serve()


if __name__ == "__main__":
    main()
