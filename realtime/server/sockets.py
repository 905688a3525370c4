"""Where the server listens: its ports, TLS, and the names and URLs by which others reach it.

A browser opens at most six connections to one host and port, whatever they carry.  Extra ports
(``--lanes``) let more tabs stream at once.
"""

import asyncio
import errno
import os
import queue
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from realtime.protocol.addresses import parse_address, url_host
from realtime.server.config import ServerConfig

# Connections that may wait to be accepted: a class or a benchmark connects all at once.
_BACKLOG = 4096
# Addresses that mean "all addresses of this machine", and the one to use for them in a URL.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "127.0.0.1"}
# Of these, the ones that mean IPv6 and IPv4.
_BOTH_FAMILIES = ("", "::")
# What the kernel keeps of one UDP socket, which all clients share: a class answers one message at
# once.  Linux allows less by default (rmem_max), and takes that.
_UDP_BUFFER_BYTES = 1_048_576
# Seconds for a name server to answer; a C library alone waits for half a minute or more.
_LOOKUP_SECONDS = 5.0
# A free port of one family or protocol can be taken in the other: then we try another one.
MAX_TRIES = 10
# There is no IPv6 in the kernel, or on this machine.
_NO_SUCH_ADDRESS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
# The option that has the host, by the one that has the port.
_HOST_OPTIONS = {
    "--port": "--host",
    "--base-port": "--host",
    "--status-port": "--status-host",
    "--nginx": "--nginx",
}
# The number of open files where there is no limit (macOS).
_UNLIMITED_FILES = 1_048_576
# Addresses reserved for documentation (RFC 5737, RFC 3849).  Nothing is sent there: we only look up
# the route.
_ROUTE_PROBES = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

# The sockets of one port: a host name may have several addresses.
BoundSockets = Sequence[socket.socket]


def open_listeners(config: ServerConfig) -> list[BoundSockets]:
    """Open the port, and as extra ports the next ones, or free ones where those are taken.

    Raises OSError if the first cannot be opened.
    """
    first = open_port(config.port, config.host)
    port = port_of(first)
    count = config.port_count if can_name_ports(config) else 1
    return [first, *(open_port_or_free(port + n, config.host) for n in range(1, count))]


def open_port(port: int, host: str, option: str = "--port") -> BoundSockets:
    """Listen at `port`, or at a free one for 0; ``::`` is every address of both families.

    Raises OSError, whose message names the address and the option that has another.
    """
    try:
        return _bind_host(port, host)
    except OSError as error:
        number = error.errno or 0  # that of a name is negative, or missing
        what = os.strerror(number) if number > 0 else error.strerror or str(error)
        host_is_wrong = number <= 0 or number in _NO_SUCH_ADDRESS
        given = f"{_HOST_OPTIONS[option]} {host}" if host_is_wrong else f"{option} {port}"
        raise OSError(f"cannot listen on {url_host(host)}:{port} ({given}): {what}") from error


def open_udp_port(port: int, host: str) -> BoundSockets:
    """Open UDP sockets at `port` of every address of `host`, or at a free one for 0.

    Where browsers of this machine reach us by IPv4, they must also reach us at ``::1``: they take
    ``localhost`` for that, and over UDP nothing says that they should try the other address.
    """
    return _bind_host(port, host, socket.SOCK_DGRAM)


def _bind_host(port: int, host: str, kind: int = socket.SOCK_STREAM) -> BoundSockets:
    if host == "" or parse_address(host) is not None:
        return _bind(port, host, kind)
    return _bind_name(port, host, kind)


def _bind(port: int, host: str, kind: int) -> BoundSockets:
    for _ in range(MAX_TRIES):
        try:
            return _bind_all(port, host, kind)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    return _bind_all(port, host, kind)


def _bind_all(port: int, host: str, kind: int) -> BoundSockets:
    """Open the same port of every address of `host`, of those that this machine has."""
    name = None if host in _BOTH_FAMILIES else host
    found = socket.getaddrinfo(name, port, type=kind, flags=socket.AI_PASSIVE)
    addresses = sorted({(family, address) for family, _, _, _, address in found})
    if kind == socket.SOCK_DGRAM and _is_local_ipv4(addresses):
        addresses.append((socket.AF_INET6, ("::1", port, 0, 0)))
    opened: list[socket.socket] = []
    for number, (family, (where, _, *scope)) in enumerate(addresses, 1):
        address = (where, port_of(opened) if opened else port, *scope)
        try:
            opened.append(_open_socket(family, address, kind))
        except OSError as error:
            # A container often has the name of an IPv6 address, but no IPv6.
            if error.errno in _NO_SUCH_ADDRESS and (opened or number < len(addresses)):
                continue
            close_listeners([opened])
            raise
    return opened


def _is_local_ipv4(addresses: Sequence[tuple[int, Any]]) -> bool:
    """Return whether these are IPv4 addresses by which this machine reaches itself."""
    hosts = [str(address[0]) for family, address in addresses if family == socket.AF_INET]
    return len(hosts) == len(addresses) and any(
        _WILDCARDS.get(h, h).startswith("127.") for h in hosts
    )


def _open_socket(family: int, address: Any, kind: int) -> socket.socket:
    if kind == socket.SOCK_STREAM:
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    opened = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:  # IPv4 has its own socket
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
        opened.setblocking(False)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


def _bind_name(port: int, host: str, kind: int) -> BoundSockets:
    """Look a name up, in a thread that we do not wait for if no name server answers."""
    results: queue.SimpleQueue[BoundSockets | OSError] = queue.SimpleQueue()

    def bind() -> None:
        try:
            results.put(_bind(port, host, kind))
        except (OSError, UnicodeError) as error:
            results.put(error if isinstance(error, OSError) else OSError(f"{error}"))

    threading.Thread(target=bind, daemon=True).start()
    try:
        result = results.get(timeout=_LOOKUP_SECONDS)
    except queue.Empty:
        seconds = f"{_LOOKUP_SECONDS:g} s"
        raise OSError(f"no name server answered within {seconds}; write an IP address") from None
    if isinstance(result, OSError):
        raise result
    return result


def open_port_or_free(port: int, host: str) -> BoundSockets:
    """Listen at `port`, or at a free one where it is taken or follows the last port, 65535."""
    with suppress(OSError):
        if port < 65536:
            return open_port(port, host)
    return open_port(0, host)


def open_pair(port: int, host: str) -> tuple[BoundSockets, BoundSockets]:
    """Listen at `port` by TCP and by UDP, or at a free one for 0.

    Raises OSError, as `open_port` does.
    """
    for _ in range(1 if port else MAX_TRIES):  # a port that is free in TCP can be taken in UDP
        listeners = open_port(port, host)
        try:
            return listeners, open_udp_port(port_of(listeners), host)
        except OSError as error:
            close_listeners([listeners])
            reason = error.strerror or error
    raise OSError(f"cannot listen on {url_host(host)}:{port} (UDP, --port {port}): {reason}")


def open_pair_or_free(port: int, host: str) -> tuple[BoundSockets, BoundSockets]:
    """Listen by TCP and UDP at `port`, or at a free one where it is taken in either."""
    with suppress(OSError):
        if port < 65536:
            return open_pair(port, host)
    return open_pair(0, host)


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


def raise_open_files() -> None:
    """Raise the limit of open files as far as this user may.

    The soft limit is often 1024, to protect programs that use select(); we use epoll.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports no limit, and accepts less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_open_files() -> int:
    """Return how many files and connections this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED_FILES if soft == resource.RLIM_INFINITY else soft


def load_tls(config: ServerConfig) -> ssl.SSLContext | None:
    """Read certificate and key; raises OSError, whose message says what is wrong with them.

    One context serves every port.  It has the key that encrypts session tickets (RFC 8446 §4.6.1),
    so a client that returns resumes its session at any of them.  Python lets OpenSSL free the
    buffers of an idle connection (SSL_MODE_RELEASE_BUFFERS).
    """
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
    """List the host names by which browsers may address this server.

    `find_full_name` finds one more, later.
    """
    return [socket.gethostname(), config.host, *config.allow_host]


def find_full_name(found: Callable[[str], None]) -> None:
    """Call `found` with the host name of this machine with its domain, when that is known.

    Only a name server may know the domain, and where none answers this takes half a minute: so we
    ask in a thread, and wait for nothing.
    """
    loop = asyncio.get_running_loop()

    def look_up() -> None:
        name = socket.getfqdn()
        with suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(found, name)

    threading.Thread(target=look_up, daemon=True).start()


def can_name_ports(config: ServerConfig) -> bool:
    """Return whether the policy of our pages can allow our other ports.

    A Content-Security-Policy has no syntax for IPv6 addresses (host-source, CSP 3 §2.3.1).
    """
    address = parse_address(config.host)
    return address is None or address.version == 4 or config.host in _BOTH_FAMILIES


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
    hosts: list[str | None] = [config.host]
    if config.host in _WILDCARDS:
        hosts = [_route_address(socket.AF_INET)]
        if config.host in _BOTH_FAMILIES:
            hosts.append(_route_address(socket.AF_INET6))
    return tuple(
        listen_url(config, port, host)
        for host in hosts
        if host is not None and not (host in ("localhost", "::1") or host.startswith("127."))
    )


def _route_address(family: socket.AddressFamily) -> str | None:
    """Return our address in the local network: the source address of a packet to anywhere."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ROUTE_PROBES[family], 9))  # UDP: this sends nothing
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address
