"""The table of URLs: which class serves which URL.

/rooms/ROOM/messages, short_polling … ─▶ an Exchange, without the cost of Tornado's handlers
/rooms/ROOM/websocket, /sockjs, /socket.io ─▶ the transports that need Tornado
/rooms/ROOM/webtransport ─▶ over UDP alone: realtime.transports.webtransport, see server/quic
/rooms, /healthz, /metrics, /lab, /demos … ─▶ web/: operations, the lab, the pages
"""

import re
from collections.abc import Sequence
from typing import Any

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
from realtime.web.classroom import ClassTrafficHandler, CommandHandler, PlanHandler
from realtime.web.faults import FaultControls
from realtime.web.faults import routes as fault_routes
from realtime.web.lab import (
    Lab,
    LabHandler,
    NetworkFaultHandler,
    NetworkHandler,
    NetworksHandler,
    QRCodeHandler,
    RoomHandler,
    RuleHandler,
    RulesHandler,
    TapHandler,
)

# Sending, then the ways to receive, in the order in which browsers got them.
EXCHANGES: tuple[type[Exchange], ...] = (
    Messages,
    ShortPolling,
    LongPolling,
    IframeStreaming,
    ServerSentEvents,
    FetchStreaming,
)


def make_router(
    services: Services,
    traffic: TrafficStats,
    hub_label: str,
    lab: Lab,
    *,
    taps: TapRegistry | None = None,
    sockjs_also: Sequence[str] = (),
    root_path: str = "",
    faults: FaultControls | None = None,
) -> Router:
    """Build the table of URLs; this is the only place that knows every transport.

    `hub_label` is what ``/healthz`` and the pages show as the hub.  `lab` is what the demo pages
    may use: ports, network emulators, the lecturer's key.  `taps` are shared with the listener of
    WebTransport.  `sockjs_also` adds legacy transports of SockJS.  `root_path` is where a proxy has
    this server.  `faults` are those that may be injected, if any.  A new transport needs one line
    here: in `EXCHANGES`, or in the table below.
    """
    only_services, room = {"services": services}, "/rooms/([^/]+)"
    taps, with_lab = taps or TapRegistry(services.limits), {"services": services, "lab": lab}
    sockjs, socketio = RoomRouter(services, sockjs_also), SocketIOServer(services)
    files = {"services": services, "path": str(pages.folder()), "forms": "jsonp" in sockjs_also}
    application = Application(
        [
            # Transports that are not exchanges: an upgrade, and two libraries with sessions.
            (f"{room}/{WebSocket.transport}", WebSocket, only_services),
            *sockjs.urls,
            (r"/socket\.io/?", SocketIOHandler, {"services": services, "server": socketio}),
            # Rooms and members, then what an operator uses.
            (f"{room}/members", operations.MembersHandler, only_services),
            (f"{room}/members/([^/]+)", operations.MemberHandler, only_services),
            (f"{room}/rules", RulesHandler, with_lab),
            (f"{room}/rules/(locked|approval)", RuleHandler, with_lab),
            (f"{room}/rules/(muted|removed|names)/([^/]+)", RuleHandler, with_lab),
            (room, RoomHandler, with_lab),
            ("/rooms", operations.RoomsHandler, only_services),
            ("/healthz", operations.HealthHandler, {"services": services, "hub": hub_label}),
            ("/readyz", operations.ReadinessHandler, only_services),
            ("/wire", operations.WireHandler, {"services": services, "traffic": traffic}),
            ("/wire/([^/]+)", TapHandler, {"services": services, "taps": taps}),
            # What the demo pages use besides the chat.
            ("/lab", LabHandler, with_lab),
            *fault_routes(services, faults),
            ("/networks", NetworksHandler, with_lab),
            (r"/networks/([\w-]+)", NetworkHandler, with_lab),
            (r"/networks/([\w-]+)/(pause|unplug)", NetworkFaultHandler, with_lab),
            ("/demos/qr.svg", QRCodeHandler, with_lab),
            # What a lecturer uses to direct a class.
            ("/plan", PlanHandler, with_lab),
            ("/class/([^/]+)/messages", CommandHandler, with_lab),
            ("/class/([^/]+)/traffic", ClassTrafficHandler, {**with_lab, "traffic": traffic}),
            ("/metrics", operations.MetricsHandler, {"services": services, "traffic": traffic}),
            (r"\*", operations.ServerOptionsHandler, only_services),
            ("/favicon.ico()", pages.IconHandler, files),
            ("/dictionary", pages.DictionaryHandler, only_services),
            # The pages, and their scripts, styles and texts.
            *_first_page(services, files, root_path),
            (r"/demos/([\w-]+\.html)", pages.PageHandler, files),
            (r"/demos(?:\.[0-9a-f]+)?/((?:static|i18n|vendor)/[\w./-]+)", pages.PageHandler, files),
        ],
        default_handler_class=operations.NotFoundHandler,
        default_handler_args=only_services,
        log_function=lambda handler: None,  # no log line per request: each poll is one
        # A frame a little above the limit is read and answered `too_long`; a larger one closes the
        # connection with 1009.
        websocket_max_message_size=4 * services.limits.body_bytes,
    )
    exchanges = {kind.transport: kind for kind in EXCHANGES}
    return Router(
        *(services, exchanges, application, taps, sockjs.stop, socketio.close),
        root_path=root_path.encode(),
    )


def _first_page(services: Services, files: dict[str, Any], root_path: str) -> list[Any]:
    """Return the URLs of the first page.

    Links on pages are relative to ``/demos/``.  At ``/`` they work too, since there is nothing
    above it, but not at ``/chat/``: from there the browser is sent to ``/chat/demos/``.
    """
    below = ("/demos/()", pages.PageHandler, files)
    if not root_path:
        return [("/()", pages.PageHandler, files), below]
    there = {"services": services, "path": f"{root_path}/demos/"}
    return [(f"(?:{re.escape(root_path)})?/?", pages.RedirectHandler, there), below]
