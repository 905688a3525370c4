"""All systems that are compared, by the names in the report."""

from benchmarks.competitors.nchan import NchanEventSource, NchanLongPolling, NchanWebSocket
from benchmarks.competitors.ours import (
    OurEventSource,
    OurFetchStreaming,
    OurIframeStreaming,
    OurLongPolling,
    OurShortPolling,
    OurWebSocket,
)
from benchmarks.competitors.plain_tornado import (
    TornadoLongPolling,
    TornadoShortPolling,
    TornadoWebSocket,
)
from benchmarks.competitors.socketio import SocketIOPollingSystem, SocketIOSystem
from benchmarks.competitors.system import System

SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        OurWebSocket,
        OurEventSource,
        OurFetchStreaming,
        OurIframeStreaming,
        OurLongPolling,
        OurShortPolling,
        SocketIOSystem,
        SocketIOPollingSystem,
        NchanWebSocket,
        NchanEventSource,
        NchanLongPolling,
        TornadoWebSocket,
        TornadoLongPolling,
        TornadoShortPolling,
    )
}
