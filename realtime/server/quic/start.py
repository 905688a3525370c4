"""Starts the QUIC listener where it can be had; without it the server has all other transports.

This is the only module of `server.quic` that is imported without aioquic.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from realtime.server.config import ServerConfig
from realtime.server.sockets import (
    MAX_TRIES,
    BoundSockets,
    close_listeners,
    open_listeners,
    port_of,
)
from realtime.server.sockets import open_udp_port as bind_udp_port

if TYPE_CHECKING:
    from realtime.server.quic.listener import QuicListener

# What needs aioquic.
_LISTENER = "realtime.server.quic.listener"
# Why a page has no WebTransport with this server, as codes that the pages explain.
DISABLED, NOT_INSTALLED, BEHIND_PROXY = "disabled", "not_installed", "behind_proxy"
PORT_IN_USE, PORT_UNAVAILABLE = "port_in_use", "port_unavailable"


@dataclass(frozen=True, slots=True)
class UDPPort:
    """The sockets for QUIC; or none, and the reason: a code, and a text for the operator."""

    sockets: BoundSockets = ()
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class WebTransportOffer:
    """What a page needs to connect with WebTransport: a port and hashes, or why there is none."""

    port: int | None = None
    hashes: Callable[[], Sequence[str]] = field(default=list)
    reason: str = DISABLED

    def describe(self) -> Mapping[str, Any]:
        if self.port is None:
            return {"reason": self.reason}
        return {"port": self.port, "hashes": list(self.hashes())}


def open_ports(config: ServerConfig) -> tuple[list[BoundSockets], UDPPort]:
    """Open the TCP ports of `config`, and its UDP port.

    A free TCP port can be in use in UDP, by any program that sends a datagram; so we try others.
    Raises OSError if the first TCP port cannot be opened.
    """
    for remaining in reversed(range(MAX_TRIES)):
        listeners = open_listeners(config)
        udp = open_udp_port(config, port_of(listeners[0]))
        may_have_another = config.port == 0 and config.webtransport_port is None
        if udp.reason != PORT_IN_USE or not may_have_another or not remaining:
            break
        close_listeners(listeners)
    return listeners, udp


def open_udp_port(config: ServerConfig, tcp_port: int) -> UDPPort:
    """Open the port of `config`: by default the number of the first TCP port."""
    if not config.webtransport:
        return UDPPort(reason=DISABLED)
    try:
        import_module(_LISTENER)
    except ImportError as error:
        how = "pip install 'realtime-transports[webtransport]'"
        return UDPPort(reason=NOT_INSTALLED, text=f"aioquic cannot be used: {error}: {how}")
    port = tcp_port if config.webtransport_port is None else config.webtransport_port
    try:
        return UDPPort(bind_udp_port(port, config.host))
    except OSError as error:
        reason = PORT_IN_USE if error.errno == errno.EADDRINUSE else PORT_UNAVAILABLE
        return UDPPort(reason=reason, text=f"UDP port {port}: {error.strerror or error}")


def make_offer(udp: UDPPort, listener: "QuicListener | None") -> WebTransportOffer:
    """Return what the pages learn about `listener`, which listens at `udp`."""
    if listener is None:
        return WebTransportOffer(reason=udp.reason)
    return WebTransportOffer(port_of(udp.sockets), listener.hashes, "")


def make_listener(udp: UDPPort, *arguments: Any, **options: Any) -> "QuicListener | None":
    """Return a `QuicListener` at `udp`, if that is open; it takes the other arguments."""
    if not udp.sockets:
        return None
    from realtime.server.quic.listener import QuicListener

    return QuicListener(udp.sockets, *arguments, **options)
