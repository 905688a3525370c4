"""Five packages are pinned, because our subclasses override their private names.

A private name can change its meaning in any release.  So setup.cfg allows only the minor releases
that the tests have run with, and this file lists every private name that we override or use.  When
a pin moves, read the changes of these names in the package first.
"""

import ast
import inspect
import textwrap
import warnings
from configparser import ConfigParser
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from aioquic import tls
from aioquic.quic.stream import QuicStreamReceiver, QuicStreamSender
from engineio.async_socket import AsyncSocket
from packaging.requirements import Requirement
from packaging.version import Version

from realtime.client.quic import WindowedConnection
from realtime.server.quic.limited import LimitedH3Connection, LimitedQuicConnection
from realtime.server.stream import MeteredStream, MeteredTLSStream
from realtime.transports.socketio.engineio import EngineIOServer
from realtime.transports.socketio.transport import SocketIOServer
from realtime.transports.sockjs import handlers, http_transports, websocket_transports
from realtime.transports.sockjs.router import HardenedSockJSRouter
from realtime.transports.sockjs.session import HardenedSession
from realtime.transports.upgrade import StrictWebSocketProtocol
from tests.cases import each

ROOT = Path(__file__).parent.parent
PACKAGES = ("aioquic", "python-engineio", "python-socketio", "sockjs-tornado", "tornado")
MODULES = ("aioquic", "engineio", "socketio", "sockjs")

POLLING = {"_attach_session", "_detach", "_finished"}


# By class: the private names that our class and the package's both define or use on `self`.
SHARED: dict[type, set[str]] = {
    EngineIOServer: {"_async", "_handle_connect"},
    SocketIOServer: {
        "_engineio_server_class",
        "_handle_connect",
        "_handle_eio_connect",
        "_handle_eio_disconnect",
        "_handle_eio_message",
    },
    HardenedSockJSRouter: {"_session_kls", "_sessions_cleanup", "_transport_urls"},
    HardenedSession: {"_heartbeat"},
    http_transports.PollingReceiver: POLLING,
    http_transports.XhrPolling: POLLING,
    http_transports.JSONP: POLLING,
    http_transports.StreamingReceiver: POLLING,
    http_transports.XhrStreaming: POLLING,
    http_transports.EventSource: POLLING,
    http_transports.HtmlFile: POLLING,
    websocket_transports.WebSocketReceiver: {"_execute"},
    websocket_transports.SockJSWebSocket: {"_execute"},
    websocket_transports.RawWebSocket: {"_execute"},
}
# The names that we use on the package's own objects, and that its documentation does not promise.
USED: dict[object, set[str]] = {
    AsyncSocket: {
        *("check_ping_timeout", "close", "closing", "queue", "receive", "sid"),
        *("upgraded", "upgrading"),
    },
    QuicStreamReceiver: {"_ranges"},
    QuicStreamSender: {"_buffer_start", "_buffer_stop"},
    tls.Context: {"_peer_certificate"},
    # Imported here, after `realtime` has imported the package with its warnings filtered.
    import_module("sockjs.tornado.stats").StatsCollector: {"_callback"},
}
# The same of Tornado and aioquic, of which many of our classes use the public names only.
OF_OTHERS: dict[type, set[str]] = {
    WindowedConnection: {"_peer_cid", "_peer_cid_available", "_write_stream_limits"},
    LimitedQuicConnection: {
        *("_close_event", "_crypto_streams", "_datagrams_pending", "_handle_crypto_frame"),
        *("_handle_stream_frame", "_host_cids"),
        *("_local_max_data", "_replenish_connection_ids"),
        *(
            "_local_max_streams_bidi",
            "_local_max_streams_uni",
            "_max_datagram_size",
            "_network_paths",
            "_peer_cid",
        ),
        *("_remote_max_datagram_frame_size", "_state", "_streams", "_write_connection_limits"),
        "_write_stream_limits",
    },
    LimitedH3Connection: {"_get_local_settings"},
    MeteredStream: {
        *("_add_io_state", "_check_closed", "_handle_events", "_read_buffer_size", "_read_bytes"),
        *("_read_future", "_read_partial", "_write_buffer", "_write_futures"),
    },
    MeteredTLSStream: {"_ssl_accepting"},
    StrictWebSocketProtocol: {
        *("_abort", "_fragmented_message_buffer", "_handle_message", "_ping_coroutine"),
        *("_receive_frame_loop", "_run_callback", "_waiting", "_write_frame"),
    },
}


@each("package", PACKAGES)
def test_a_package_is_pinned_to_the_minor_release_that_is_installed(package: str) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    lines = (config["options"]["install_requires"] + extras["webtransport"]).splitlines()
    (line,) = (line for line in lines if line.startswith(package))
    installed, allowed = Version(version(package)), Requirement(line).specifier
    assert installed in allowed
    for other in (f"{installed.major}.{installed.minor + 1}", f"{installed.major + 1}.0"):
        assert other not in allowed, f"{line} allows {other}, which nobody has tested"


def our_classes() -> list[type]:
    """Every class of ours that extends one of the packages."""
    ours = [EngineIOServer, SocketIOServer, HardenedSockJSRouter, HardenedSession]
    ours += [
        kind
        for module in (handlers, http_transports, websocket_transports)
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and package_bases(kind)
    ]
    return ours


def package_bases(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if base.__module__.partition(".")[0] in MODULES]


def private_names(kind: type) -> set[str]:
    """The private names that the body of a class defines, or uses on `self`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sockjs-tornado has an invalid escape sequence
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                names.add(name)
            case ast.Attribute(ast.Name("self"), name):
                names.add(name)
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


@each("kind", our_classes())
def test_the_list_has_every_private_name_that_a_class_shares_with_its_package(kind: type) -> None:
    ours = [base for base in kind.__mro__ if base.__module__.startswith("realtime.transports.s")]
    shared = set.union(*map(private_names, ours)) & set.union(
        *map(private_names, package_bases(kind))
    )
    assert shared == SHARED.get(kind, set())


@each("kind", OF_OTHERS)
def test_the_list_has_every_private_name_that_a_class_shares_with_its_base(kind: type) -> None:
    theirs = [base for base in kind.__mro__ if base.__module__.startswith(("tornado.", "aioquic."))]
    shared = private_names(kind) & set.union(*map(private_names, theirs))
    assert shared == OF_OTHERS[kind]


@each(("owner", "name"), [(owner, name) for owner, names in USED.items() for name in sorted(names)])
def test_a_name_that_we_use_is_still_in_the_package(owner: object, name: str) -> None:
    bases = package_bases(owner) if isinstance(owner, type) else [owner]
    sources = "".join(map(inspect.getsource, bases))
    assert hasattr(owner, name) or f"self.{name} = " in sources
