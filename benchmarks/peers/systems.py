"""All systems that are compared, by the names under which they are reported."""

from benchmarks.peers.nchan import NchanEventSource, NchanLongPolling, NchanWebSocket
from benchmarks.peers.ours import (
    OurEventSource,
    OurFetchStreaming,
    OurIframeStreaming,
    OurLongPolling,
    OurShortPolling,
    OurWebSocket,
)
from benchmarks.peers.plain_tornado import (
    TornadoLongPolling,
    TornadoShortPolling,
    TornadoWebSocket,
)
from benchmarks.peers.socketio import SocketIO, SocketIOPolling
from benchmarks.peers.system import System

SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        OurWebSocket,
        OurEventSource,
        OurFetchStreaming,
        OurIframeStreaming,
        OurLongPolling,
        OurShortPolling,
        SocketIO,
        SocketIOPolling,
        NchanWebSocket,
        NchanEventSource,
        NchanLongPolling,
        TornadoWebSocket,
        TornadoLongPolling,
        TornadoShortPolling,
    )
}
