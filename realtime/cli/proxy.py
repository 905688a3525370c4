"""``realtime proxy``: an emulated network in front of a server, until a signal ends it.

    browser ─▶ realtime proxy :9000 ─▶ server :8000

The server does not notice it: the proxy delays, slows down, loses, buffers or resets what passes.
With ``--udp`` it forwards UDP at the same port, for WebTransport.
"""

import argparse
import asyncio
import contextlib
import socket
import sys
from urllib.parse import urlsplit

from realtime.cli.config import add_address, port_number, stop_signals
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy
from realtime.protocol.addresses import url_host
from realtime.server.sockets import BoundSockets, open_pair, open_port

HELP = (
    "emulate a network in front of a server: latency, jitter, bandwidth, losses, buffering, "
    "disconnections"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_address(parser.add_argument_group("address"), port=9000)
    network = parser.add_argument_group("network")
    network.add_argument(
        "--target",
        type=_target,
        default="http://127.0.0.1:8000",
        metavar="URL",
        help="the server behind the proxy (%(default)s)",
    )
    network.add_argument(
        "--udp",
        type=_udp_port,
        metavar="PORT",
        help="also forward UDP, to this port of the target: that of its WebTransport, in /lab",
    )
    network.add_argument(
        "--network",
        type=_network,
        default="none",
        metavar="NETWORK",
        help="like rtt=100ms,jitter=20ms; also rate=50kB loss=2%% reorder=5%% buffer=4096 "
        "flush=500ms idle=60s stall=200ms/10s cut=30s (%(default)s)",
    )
    network.add_argument(
        "--seed", type=int, metavar="N", help="make jitter and losses the same at each run"
    )


async def run(options: argparse.Namespace) -> None:
    """Forward until SIGINT, SIGTERM or SIGHUP; raises OSError if the port cannot be opened."""
    # Without these handlers, SIGTERM would end the process without closing the connections.
    stopped = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    host, port = options.target
    udp_target = (await _address_of(host), options.udp) if options.udp else None
    listeners, datagram_sockets = _open(options)
    target_url = f"http://{url_host(host)}:{port}/"
    proxy = Proxy(
        host,
        port,
        options.network,
        listen=url_host(options.host),
        listeners=listeners,
        udp_target=udp_target,
        datagram_sockets=datagram_sockets,
        seed=options.seed,
    )
    async with proxy:
        print(f"realtime: proxy on {proxy.url} to {target_url} (network: {proxy.network})")
        sys.stdout.flush()  # programs read the port from this line
        await stopped.wait()


def _open(options: argparse.Namespace) -> tuple[BoundSockets, BoundSockets]:
    if options.udp:
        return open_pair(options.port, options.host)
    return open_port(options.port, options.host), []


async def _address_of(host: str) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])


def _network(text: str) -> NetworkConditions:
    """Parse ``rtt=100ms,jitter=20ms``; argparse shows the message of a wrong value."""
    try:
        return NetworkConditions.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _udp_port(text: str) -> int:
    port = port_number(text)
    if not port:
        raise argparse.ArgumentTypeError("0 is no port; the server's is in its /lab")
    return port


def _target(text: str) -> tuple[str, int]:
    """Parse an origin, without path or user, into host and port.

    Only plain HTTP: the proxy reads the messages (for `buffer`), which TLS would hide.
    """
    with contextlib.suppress(ValueError):
        url = urlsplit(text)
        port = 80 if url.port is None else url.port
        is_origin = f"http://{url.netloc}" == text.rstrip("/") and "@" not in text
        if is_origin and url.hostname and port:
            return url.hostname, port
    raise argparse.ArgumentTypeError(
        f"{text} is not the address of a server; write one like http://127.0.0.1:8000"
    )
