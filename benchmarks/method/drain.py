"""Open connections, read them and drop the bytes: the other end of a delivery, in its own process.

    python -m benchmarks.method.drain PORT COUNT        runs until one connection closes

It imports nothing of the server, so it starts fast and has no CPU time in the measured process.
"""

import select
import socket
import sys

READ_BYTES = 65_536


def drain(port: int, count: int) -> None:
    """Read `count` connections to this port on 127.0.0.1 until one of them closes."""
    ends = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    by_fd = {end.fileno(): end for end in ends}
    epoll = select.epoll()
    for fd in by_fd:
        epoll.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in epoll.poll():
            if not by_fd[fd].recv(READ_BYTES):
                return


if __name__ == "__main__":
    drain(int(sys.argv[1]), int(sys.argv[2]))
