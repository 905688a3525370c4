"""Which address is carried by which transport."""

from collections.abc import Sequence

from tornado.web import Application

from realtime.server.connection import Site
from realtime.server.stream import Ledger
from realtime.server.tap import Taps
from realtime.transports.base import House
from realtime.transports.exchange import Exchange
from realtime.transports.fetch_streaming import FetchStreaming
from realtime.transports.iframe_streaming import IframeStreaming
from realtime.transports.long_polling import LongPolling
from realtime.transports.publish import Messages
from realtime.transports.short_polling import ShortPolling
from realtime.transports.socketio.transport import Sessions, SocketIO
from realtime.transports.sockjs.transport import SockJSRoom
from realtime.transports.sse import ServerSentEvents
from realtime.transports.websocket import WebSocket
from realtime.web import operations, pages
from realtime.web.lab import About, Borrow, Lab, OneNetwork, OneRoom, Plug, QRCode, TapView

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
    house: House, ledger: Ledger, hub_label: str, lab: Lab, sockjs_also: Sequence[str] = ()
) -> Site:
    """Build the table of addresses."""
    one, room = {"house": house}, "/rooms/([^/]+)"
    taps, ours = Taps(), {"house": house, "lab": lab}
    sockjs, sessions = SockJSRoom(house, sockjs_also), Sessions(house)
    files = {"house": house, "path": str(pages.folder()), "forms": "jsonp" in sockjs_also}
    application = Application(
        [
            (f"{room}/{WebSocket.transport}", WebSocket, one),
            *sockjs.urls,
            (r"/socket\.io/?", SocketIO, {"house": house, "sessions": sessions}),
            (f"{room}/members", operations.Members, one),
            (f"{room}/members/([^/]+)", operations.OneMember, one),
            (room, OneRoom, ours),
            ("/rooms", operations.Rooms, one),
            ("/healthz", operations.Health, {"house": house, "hub": hub_label}),
            ("/readyz", operations.Readiness, one),
            ("/wire", operations.Wire, {"house": house, "ledger": ledger}),
            ("/wire/([^/]+)", TapView, {"house": house, "taps": taps}),
            ("/lab", About, ours),
            ("/networks", Borrow, ours),
            (r"/networks/([\w-]+)", OneNetwork, ours),
            (r"/networks/([\w-]+)/(pause|unplug)", Plug, ours),
            ("/demos/qr.svg", QRCode, ours),
            ("/metrics", operations.Metrics, {"house": house, "ledger": ledger}),
            ("/()", pages.Pages, files),
            (r"/demos/([\w-]+\.html|(?:static|i18n|vendor)/[\w./-]+)", pages.Pages, files),
        ],
        default_handler_class=operations.Nothing,
        default_handler_args=one,
        log_function=lambda handler: None,  # no line per request: a poll is one
        # Some above the limit are read and answered `too_long`; the rest is closed with 1009.
        websocket_max_message_size=4 * house.limits.body_bytes,
    )
    exchanges = {kind.transport: kind for kind in EXCHANGES}
    return Site(house, exchanges, application, taps, sockjs.stop, sessions.close)
