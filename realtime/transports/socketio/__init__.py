"""Socket.IO over Engine.IO: a session per client, for comparison with a cursor per client.

    transport         the Socket.IO server and its requests: start reading here
    clients           the two dialects, and how each puts an event on the wire
    engineio          the Engine.IO server below it, and a WebSocket as that server expects it
    engineio_handler  the HTTP requests of a session: handshake, polls, posts, WebSocket
    session           one client's send queue and subscription, over whichever connection it has

python-socketio and python-engineio implement the protocols; the classes here extend theirs.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _missing(*packages: str) -> Iterator[None]:
    """Let an import of these packages fail, as if they were not installed.

    That is what None in `sys.modules` means (Python reference, §5.3.1).  One that was imported
    before stays as it is.
    """
    hidden = set(packages) - sys.modules.keys()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


# python-socketio imports the client of every message queue that is installed, and has no option
# against that.  We use none.  Those of Redis and Valkey take most of the time of its import.
with _missing("redis", "valkey"):
    import socketio  # noqa: F401
