"""Socket.IO over Engine.IO: a session per client, for comparison with a cursor per client.

    transport         the Socket.IO server and its requests: start reading here
    clients           the two dialects, and how each puts an event on the wire
    engineio          the Engine.IO server below it, and a WebSocket as that server expects it
    engineio_handler  the HTTP requests of a session: handshake, polls, posts, WebSocket
    session           one client's send queue and subscription, over whichever connection it has

python-socketio and python-engineio implement the protocols; the classes here extend theirs.
"""
