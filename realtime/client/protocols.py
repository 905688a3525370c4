"""The sans-I/O protocol of each transport, by name: what the load generator reads with.

A thousand readers receive the same messages, so these protocols parse each text once.
"""

import json
from functools import lru_cache
from typing import Any

from realtime.client.fetch_streaming import FetchStreamingClient
from realtime.client.http import Endpoint
from realtime.client.iframe_streaming import IframeStreamingClient
from realtime.client.sansio import (
    ClientProtocol,
    RoomPollProtocol,
    RoomQuery,
    StreamProtocol,
)
from realtime.client.socketio import SocketIOProtocol
from realtime.client.sockjs import SockJSProtocol
from realtime.client.sse import ServerSentEventsClient
from realtime.client.websocket import WebSocketProtocol
from realtime.client.webtransport import SessionOffer, WebTransportProtocol

_STREAMS = {
    client.transport: client
    for client in (IframeStreamingClient, ServerSentEventsClient, FetchStreamingClient)
}


# More texts than are in flight at once; 2 000 messages of 300 bytes need some 2 MB.
@lru_cache(maxsize=2_000)
def cached_loads(text: str | bytes) -> Any:
    """Parse JSON, and the same text only once.

    Five hundred readers of one room receive the same bytes, and parsing costs more than everything
    else that the load generator does for a delivery.  The result is shared: do not change it.
    """
    return json.loads(text)


def make_protocol(
    transport: str,
    endpoint: Endpoint,
    room: str,
    *,
    after: str = "now",
    client: str | None = None,
    interval: float = 1.0,
    wait: float = 25.0,
    phase: float = 1.0,
    new_connection_per_request: bool = False,
    head_bytes: int = 0,
    encoding: str | None = None,
    offer: SessionOffer | None = None,
) -> ClientProtocol:
    """Return a reader of one of our transports; `interval` and `wait` in seconds.

    WebTransport needs the `offer` of the server, and an endpoint with a UDP port.
    """
    query = RoomQuery(room, after, client, encoding=encoding)
    protocol: ClientProtocol
    if transport in ("short_polling", "long_polling"):
        short = transport == "short_polling"
        protocol = RoomPollProtocol(
            endpoint,
            query,
            interval=interval if short else 0.0,
            wait=None if short else wait,
            phase=phase,
            new_connection_per_request=new_connection_per_request,
            loads=cached_loads,
        )
    elif transport == "webtransport":
        assert offer is not None
        protocol = WebTransportProtocol(endpoint, query, offer, loads=cached_loads)
    elif transport == "sockjs":
        protocol = SockJSProtocol(endpoint, query, request_info=True, loads=cached_loads)
    elif transport == "socketio":
        protocol = SocketIOProtocol(endpoint, query, loads=cached_loads)
    elif transport == "websocket":
        protocol = WebSocketProtocol(
            endpoint,
            lambda cursor: query.path(transport, cursor),
            loads=cached_loads,
            deflates=encoding is not None,
        )
    else:
        stream = _STREAMS[transport]
        protocol = StreamProtocol(
            endpoint,
            lambda cursor: query.path(transport, cursor),
            stream.decoder,
            content_type=stream.content_type,
            loads=cached_loads,
        )
    protocol.head_bytes = head_bytes
    return protocol
