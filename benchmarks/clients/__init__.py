"""One client per transport, the reverse of the server's file of the same name.

They are written from the wire contract alone and share no code with the server, so where the two
agree, the contract says enough.  The benchmarks and the tests of what we promise both drive these
clients: what we measure is what we test.
"""

from benchmarks.clients.base import Client, Event
from benchmarks.clients.fetch_streaming import FetchStreaming
from benchmarks.clients.http import BadResponse, Closed, Count, Refused, get_json, post, request
from benchmarks.clients.iframe_streaming import IframeStreaming
from benchmarks.clients.long_polling import LongPolling
from benchmarks.clients.short_polling import ShortPolling
from benchmarks.clients.socketio import SocketIO
from benchmarks.clients.sockjs import SockJS
from benchmarks.clients.sse import ServerSentEvents
from benchmarks.clients.websocket import WebSocket

__all__ = [
    "CLIENTS",
    "BadResponse",
    "Client",
    "Closed",
    "Count",
    "Event",
    "Refused",
    "get_json",
    "post",
    "request",
]

# In the order in which the web found them; the last two are libraries, which found them all.
CLIENTS: dict[str, type[Client]] = {
    client.transport: client
    for client in (
        ShortPolling,
        LongPolling,
        IframeStreaming,
        ServerSentEvents,
        FetchStreaming,
        WebSocket,
        SockJS,
        SocketIO,
    )
}
