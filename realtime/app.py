"""Which address is carried by which transport."""

from collections.abc import Sequence

from tornado.web import Application

from realtime.server.connection import Router
from realtime.server.tap import TapRegistry
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.transports.exchange import Exchange
from realtime.transports.fetch_streaming import FetchStreaming
from realtime.transports.iframe_streaming import IframeStreaming
from realtime.transports.long_polling import LongPolling
from realtime.transports.publish import Messages
from realtime.transports.short_polling import ShortPolling
from realtime.transports.socketio.transport import SocketIOHandler, SocketIOServer
from realtime.transports.sockjs.transport import RoomRouter
from realtime.transports.sse import ServerSentEvents
from realtime.transports.websocket import WebSocket
from realtime.web import operations, pages
from realtime.web.lab import (
    Lab,
    LabHandler,
    NetworkFaultHandler,
    NetworkHandler,
    NetworksHandler,
    QRCodeHandler,
    RoomHandler,
    TapHandler,
)

# In the order in which the web found them; the last is not one answer, but a connection of its own.
EXCHANGES: tuple[type[Exchange], ...] = (
    Messages,
    ShortPolling,
    LongPolling,
    IframeStreaming,
    ServerSentEvents,
    FetchStreaming,
)


def make_site(
    services: Services,
    traffic: TrafficStats,
    hub_label: str,
    lab: Lab,
    sockjs_also: Sequence[str] = (),
) -> Router:
    """Build the table of addresses."""
    one, room = {"services": services}, "/rooms/([^/]+)"
    taps, ours = TapRegistry(), {"services": services, "lab": lab}
    sockjs, socketio = RoomRouter(services, sockjs_also), SocketIOServer(services)
    files = {"services": services, "path": str(pages.folder()), "forms": "jsonp" in sockjs_also}
    application = Application(
        [
            (f"{room}/{WebSocket.transport}", WebSocket, one),
            *sockjs.urls,
            (r"/socket\.io/?", SocketIOHandler, {"services": services, "server": socketio}),
            (f"{room}/members", operations.MembersHandler, one),
            (f"{room}/members/([^/]+)", operations.MemberHandler, one),
            (room, RoomHandler, ours),
            ("/rooms", operations.RoomsHandler, one),
            ("/healthz", operations.HealthHandler, {"services": services, "hub": hub_label}),
            ("/readyz", operations.ReadinessHandler, one),
            ("/wire", operations.WireHandler, {"services": services, "traffic": traffic}),
            ("/wire/([^/]+)", TapHandler, {"services": services, "taps": taps}),
            ("/lab", LabHandler, ours),
            ("/networks", NetworksHandler, ours),
            (r"/networks/([\w-]+)", NetworkHandler, ours),
            (r"/networks/([\w-]+)/(pause|unplug)", NetworkFaultHandler, ours),
            ("/demos/qr.svg", QRCodeHandler, ours),
            ("/metrics", operations.MetricsHandler, {"services": services, "traffic": traffic}),
            ("/()", pages.PageHandler, files),
            (r"/demos/([\w-]+\.html|(?:static|i18n|vendor)/[\w./-]+)", pages.PageHandler, files),
        ],
        default_handler_class=operations.NotFoundHandler,
        default_handler_args=one,
        log_function=lambda handler: None,  # no line per request: a poll is one
        # Some above the limit are read and answered `too_long`; the rest is closed with 1009.
        websocket_max_message_size=4 * services.limits.body_bytes,
    )
    exchanges = {kind.transport: kind for kind in EXCHANGES}
    return Router(services, exchanges, application, taps, sockjs.stop, socketio.close)
