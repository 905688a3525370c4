"""The least that any server in Python pays for a delivery: one `send` of bytes that are ready.

A process of its own that knows no protocol.  A connection that says `f` follows, and is answered
`!`; whatever else is said on any connection gets a number where it has room for one, goes to each
follower, and is answered with that number as HTTP would, so that the load generator speaks, listens
and checks here as it does everywhere.

    python -m benchmarks.method.baseline        prints its address, and sends until it is ended
"""

import select
import socket
from contextlib import suppress

from realtime.limits import Limits

READ_BYTES = 65_536
FOLLOW, READY = b"f", b"!"
ROOM = b"0" * 12  # for the number of a message
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ROOM)


class Floor:
    """Who follows is never read again; who speaks is."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._followers: list[socket.socket] = []
        self._others: dict[int, socket.socket] = {}
        self._count = 0
        self._epoll = select.epoll()
        self._epoll.register(door, select.EPOLLIN)

    def serve(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._door.fileno():
                    self._accept()
                else:
                    self._hear(self._others[fd])

    def _accept(self) -> None:
        connection, _ = self._door.accept()
        # As our server sets its own, so that both pay the kernel the same.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, Limits().send_buffer_bytes)
        self._others[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN)

    def _hear(self, connection: socket.socket) -> None:
        data = connection.recv(READ_BYTES)
        if data and data != FOLLOW:
            self._count += 1
            number = b"%0*d" % (len(ROOM), self._count)
            self.tell(data.replace(ROOM, number))
            connection.send(DONE + number)
            return
        self._epoll.unregister(connection)
        del self._others[connection.fileno()]
        if data:
            self._followers.append(connection)
            connection.send(READY)
        else:
            connection.close()

    def tell(self, data: bytes) -> None:
        """What is measured: nothing but this loop belongs to a delivery."""
        for follower in self._followers:
            follower.send(data)


def main() -> None:
    door = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"floor: listening on http://127.0.0.1:{door.getsockname()[1]}/ (no hub)", flush=True)
    with suppress(KeyboardInterrupt):
        Floor(door).serve()


if __name__ == "__main__":
    main()
