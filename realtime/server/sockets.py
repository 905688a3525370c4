"""Where the server listens: its ports, TLS, and the names and URLs by which others reach it.

A browser opens at most six connections to one host and port, whatever they carry.  Extra ports
(``--lanes``) let more tabs stream at once.
"""

import socket
import ssl
from collections.abc import Sequence

from tornado.netutil import bind_sockets

from realtime.protocol.addresses import url_host
from realtime.server.config import ServerConfig

# Connections that may wait to be accepted: a class or a benchmark connects all at once.
_BACKLOG = 4096
# Addresses that mean "all addresses of this machine", and the one to use for them in a URL.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
# Addresses reserved for documentation (RFC 5737, RFC 3849).  Nothing is sent there: we only look up
# the route.
_ROUTE_PROBES = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

# The sockets of one port: a host name may have several addresses.
BoundSockets = Sequence[socket.socket]


def open_listeners(config: ServerConfig) -> list[BoundSockets]:
    """Open the port, and as extra ports the next ones, or free ones where those are taken.

    Raises OSError if the first cannot be opened.
    """
    first = bind_sockets(config.port, config.host, backlog=_BACKLOG)
    port = port_of(first)
    extra = (_open_if_free(port + n, config.host) for n in range(1, config.port_count))
    return [first, *extra]


def close_listeners(listeners: Sequence[BoundSockets]) -> None:
    for sockets in listeners:
        for one in sockets:
            one.close()


def port_of(sockets: BoundSockets) -> int:
    port: int = sockets[0].getsockname()[1]
    return port


def local_address(sockets: BoundSockets) -> tuple[str, int]:
    """Return the IP address and the port by which this process reaches its own server."""
    host, port, *_ = sockets[0].getsockname()
    return _WILDCARDS.get(host, host), port


def _open_if_free(port: int, host: str) -> BoundSockets:
    return bind_sockets(port if is_free(port, host) else 0, host, backlog=_BACKLOG)


def is_free(port: int, host: str) -> bool:
    """Whether we could listen there; always false after the last port, 65535."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port % 65536), family=family).close()
    except OSError:
        return False
    return port < 65536


def load_tls(config: ServerConfig) -> ssl.SSLContext | None:
    """Read certificate and key; raises OSError, whose message says what is wrong with them."""
    if config.tls_certificate is None:
        if config.tls_key is not None:
            raise OSError("--tls-key: a key needs its --tls-certificate")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise OSError(f"--tls-certificate, --tls-key: {error}") from error
    return context


# --- names and URLs ------------------------------------------------------------------------------


def own_names(config: ServerConfig) -> list[str]:
    """List the host names by which browsers may address this server."""
    return [socket.gethostname(), socket.getfqdn(), config.host, *config.allow_host]


def local_host(config: ServerConfig) -> str:
    """Return the host by which a client on this machine reaches us."""
    return _WILDCARDS.get(config.host, config.host)


def listen_url(config: ServerConfig, port: int, host: str | None = None) -> str:
    """Return our URL at `port`, with the configured host or another."""
    scheme = "http" if config.tls_certificate is None else "https"
    return f"{scheme}://{url_host(host or config.host)}:{port}/"


def local_url(config: ServerConfig, port: int) -> str:
    """Return our URL for a client on this machine."""
    return listen_url(config, port, local_host(config))


def lan_urls(config: ServerConfig, port: int) -> tuple[str, ...]:
    """Return the URLs by which other machines reach us; none if only this machine can."""
    host: str | None = config.host
    if host in _WILDCARDS:
        host = _route_address(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if host is None or host in ("localhost", "::1") or host.startswith("127."):
        return ()
    return (listen_url(config, port, host),)


def _route_address(family: socket.AddressFamily) -> str | None:
    """Return our address in the local network: the source address of a packet to anywhere."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ROUTE_PROBES[family], 9))  # UDP: this sends nothing
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address
