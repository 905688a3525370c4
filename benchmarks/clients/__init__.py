"""One client per transport, the reverse of the server's file of the same name.

They are written from the wire contract alone and share no code with the server: where the two
agree, the contract is complete.  The benchmarks and the promise tests use the same clients, so we
measure what we test.  Parsing is in protocols without sockets (sansio.py), which the load generator
uses too.
"""

from benchmarks.clients.base import Client
from benchmarks.clients.fetch_streaming import FetchStreamingClient
from benchmarks.clients.http import BadResponse, ByteCount, Closed, Refused, get_json, post, request
from benchmarks.clients.iframe_streaming import IframeStreamingClient
from benchmarks.clients.long_polling import LongPollingClient
from benchmarks.clients.sansio import Event
from benchmarks.clients.short_polling import ShortPollingClient
from benchmarks.clients.socketio import SocketIOUpgradingClient
from benchmarks.clients.sockjs import SockJSClient
from benchmarks.clients.sse import ServerSentEventsClient
from benchmarks.clients.websocket import WebSocketClient
from benchmarks.clients.webtransport import WebTransportClient

__all__ = [
    "ALL_CLIENTS",
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

# In the order in which the web invented them; the last two are libraries over several of them.  All
# use TCP: any TCP proxy forwards them, and the load generator drives them.
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
# And the one over UDP, which needs aioquic.
ALL_CLIENTS = CLIENTS | {WebTransportClient.transport: WebTransportClient}
