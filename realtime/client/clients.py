"""The client of each transport, by the name of the transport."""

from realtime.client.base import Client
from realtime.client.fetch_streaming import FetchStreamingClient
from realtime.client.iframe_streaming import IframeStreamingClient
from realtime.client.long_polling import LongPollingClient
from realtime.client.short_polling import ShortPollingClient
from realtime.client.socketio import SocketIOUpgradingClient
from realtime.client.sockjs import SockJSClient
from realtime.client.sse import ServerSentEventsClient
from realtime.client.websocket import WebSocketClient
from realtime.client.webtransport import WebTransportClient

# The one place where a transport is registered: `connect(transport=…)`, the benchmarks and the
# promise tests find it here.  A client that needs a package which is not in Python imports it in
# `open`, so that the others work without it.
#
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
