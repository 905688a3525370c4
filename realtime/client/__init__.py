"""One client per transport, the reverse of the server's file of the same name.

They are written from the wire contract alone and share no code with the server: where the two
agree, the contract is complete.  The benchmarks and the promise tests use the same clients, so we
measure what we test.  Parsing is in protocols without sockets (sansio.py), which the load generator
uses too.
"""

from realtime.client.base import Client
from realtime.client.fetch_streaming import FetchStreamingClient
from realtime.client.http import BadResponse, ByteCount, Closed, Refused, get_json, post, request
from realtime.client.iframe_streaming import IframeStreamingClient
from realtime.client.long_polling import LongPollingClient
from realtime.client.sansio import Event
from realtime.client.short_polling import ShortPollingClient
from realtime.client.socketio import SocketIOUpgradingClient
from realtime.client.sockjs import SockJSClient
from realtime.client.sse import ServerSentEventsClient
from realtime.client.websocket import WebSocketClient

__all__ = [
    "CLIENTS",
    "BadResponse",
    "ByteCount",
    "Client",
    "Closed",
    "Event",
    "Refused",
    "get_json",
    "post",
    "request",
]

# In the order in which the web invented them; the last two are libraries over several of them.
CLIENTS: dict[str, type[Client]] = {
    client.transport: client
    for client in (
        ShortPollingClient,
        LongPollingClient,
        IframeStreamingClient,
        ServerSentEventsClient,
        FetchStreamingClient,
        WebSocketClient,
        SockJSClient,
        SocketIOUpgradingClient,
    )
}
