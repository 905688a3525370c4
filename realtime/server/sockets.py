"""Where we listen: our ports, the bad networks in front of them, TLS, and by which names.

A browser opens six connections to a host and port, whatever they carry; more ports, called lanes,
let more tabs stream at once.
"""

import argparse
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tornado.netutil import bind_sockets

from realtime.netem.proxy import Proxy
from realtime.netem.proxy_pool import ProxyPool

# Connections that may wait to be accepted: a crowd that comes at once, a class or a benchmark.
_BACKLOG = 4096
# What stands for "all addresses of this machine", and where to find it then.
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
# Addresses of documentation (RFC 5737, RFC 3849): nothing is sent there, only a way is looked for.
_SOMEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

BoundSockets = Sequence[socket.socket]


def open_listeners(options: argparse.Namespace) -> list[BoundSockets]:
    """Open `options.port`, and for `options.lanes` the next ones, or others where these are taken.

    Raises OSError if the first cannot be had.
    """
    first = bind_sockets(options.port, options.host, backlog=_BACKLOG)
    port = port_of(first)
    return [first, *(_open_near(port + n, options.host) for n in range(1, options.lanes))]


def port_of(lane: BoundSockets) -> int:
    port: int = lane[0].getsockname()[1]
    return port


def _open_near(port: int, host: str) -> BoundSockets:
    return bind_sockets(port if _is_free(port, host) else 0, host, backlog=_BACKLOG)


def _is_free(port: int, host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # There is none past the last: another is then as good as the first.
        socket.create_server((host, port % 65536), family=family).close()
    except OSError:
        return False
    return port < 65536


@asynccontextmanager
async def open_networks(
    options: argparse.Namespace, lanes: Sequence[int]
) -> AsyncIterator[ProxyPool]:
    """Open a port for each of `options.networks`; behind them is the first lane."""
    async with AsyncExitStack() as stack:
        proxies = []
        for n in range(1, options.networks + 1):
            proxy = _proxy(options.host, lanes[-1] + n, lanes[0])
            proxies.append(await stack.enter_async_context(proxy))
        yield ProxyPool(proxies)


def _proxy(host: str, port: int, target: int) -> Proxy:
    near = port if _is_free(port, host) else 0
    return Proxy(_ANYWHERE.get(host, host), target, listen=host, listen_port=near)


def tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Read certificate and key; raises OSError, which says what is wrong with them."""
    if options.tls_certificate is None:
        if options.tls_key is not None:
            raise OSError("--tls-key: a key needs its --tls-certificate")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls_certificate, options.tls_key)
    except OSError as error:  # of which ssl.SSLError is one
        raise OSError(f"--tls-certificate, --tls-key: {error}") from error
    return context


# --- names ---------------------------------------------------------------------------------------


def own_names(options: argparse.Namespace) -> list[str]:
    return [socket.gethostname(), socket.getfqdn(), options.host, *options.allow_host]


def here(options: argparse.Namespace, port: int, host: str | None = None) -> str:
    """Our URL, by the host of the command line or another."""
    scheme = "http" if options.tls_certificate is None else "https"
    name = host or options.host
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}/"


def near(options: argparse.Namespace, port: int) -> str:
    """Our URL for a browser on this machine."""
    return here(options, port, _ANYWHERE.get(options.host))


def reachable(options: argparse.Namespace, port: int) -> tuple[str, ...]:
    """The URLs by which other machines reach us; none if we listen on this machine alone."""
    host = options.host
    if host in _ANYWHERE:
        host = _address_towards(socket.AF_INET6 if ":" in host else socket.AF_INET)
    alone = host is None or host == "localhost" or host.startswith("127.") or host == "::1"
    return () if alone else (here(options, port, host),)


def _address_towards(family: socket.AddressFamily) -> str | None:
    """Our address in the local network: the one that a packet to anywhere would say it is from."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_SOMEWHERE[family], 9))  # of UDP: nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address
