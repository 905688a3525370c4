"""The command line: read it, build the house, listen, and stop tidily.

``realtime`` serves; ``realtime talk`` holds a conversation, for a lone student to watch;
``realtime proxy`` is a bad network in front of a server; ``realtime cluster`` keeps many servers,
and ``realtime nginx`` prints how nginx stands in front of them.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import secrets
import signal
import ssl
import sys
from collections.abc import Callable, Sequence

from realtime import logs
from realtime.app import make_site
from realtime.brokers.choose import HubChoice, HubError, choose
from realtime.cli import demo_traffic
from realtime.cluster import master as cluster_master
from realtime.cluster import nginx_config
from realtime.cluster.registry import NodeReporter
from realtime.core.hub import Hub
from realtime.core.presence import Presence
from realtime.core.rate_limit import RateLimiter
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.netem import proxy
from realtime.protocol.origin import OriginPolicy
from realtime.server import sockets
from realtime.server.forwarded import IPNetwork, TrustedProxies, parse_network
from realtime.server.server import Server
from realtime.server.traffic import TrafficStats
from realtime.tasks import Supervisor
from realtime.transports.base import Services
from realtime.transports.sockjs.transport import LEGACY_TRANSPORTS
from realtime.web.lab import Lab

# A heartbeat or a lease of no time at all would spin; these may be switched off.
_MAY_BE_ZERO = {
    *("messages_per_second", "message_burst"),
    *("grace_seconds", "wait_seconds", "drain_seconds"),
}
# What the hub counts is milliseconds, and a memory of more than some thirty years is a mistake.
_LEAST, _MOST = 0.001, 1e9

# Ten thousand connections are a million objects; by default Python looks after each 700.
_OBJECTS_BEFORE_A_LOOK = 20_000

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit status."""
    options = _options(arguments)
    logs.configure()
    _raise_open_files()
    commands = {
        "talk": demo_traffic.run,
        "proxy": proxy.run,
        "nginx": nginx_config.run,
        "cluster": cluster_master.run,
    }
    run = commands.get(options.command, serve)
    try:
        # A bad network to order counts in microseconds, and uvloop in milliseconds.
        loop = "asyncio" if run is proxy.run or options.networks else options.loop
        with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
            runner.run(run(options))
    except (HubError, OSError, demo_traffic.Stopped) as error:
        print(f"realtime: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed, unless somebody wants asyncio's own."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


# --- options -------------------------------------------------------------------------------------


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what a cluster does not know itself is for its workers."""
    parser = _parser()
    options, further = parser.parse_known_args(arguments)
    if options.command != "cluster":
        if further:
            parser.error(f"unrecognized arguments: {' '.join(further)}")
        return options
    if (sys.argv[1:] if arguments is None else arguments)[0] != options.command:
        parser.error("what a cluster is told stands behind `cluster`")
    options.further, options.served = further, _server_parser().parse_args(further)
    options.served.host = options.host
    if complaint := cluster_master.complaint(options):
        parser.error(complaint)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _server_parser()
    commands = parser.add_subparsers(dest="command", metavar="")
    demo_traffic.add_options(
        commands.add_parser("talk", help=demo_traffic.HELP, description=demo_traffic.HELP)
    )
    proxied = commands.add_parser("proxy", help=proxy.HELP, description=proxy.HELP)
    _add_address(proxied, port=9000)
    proxy.add_options(proxied)
    nginx_config.add_options(
        commands.add_parser("nginx", help=nginx_config.HELP, description=nginx_config.HELP)
    )
    many = commands.add_parser(
        "cluster", help=cluster_master.HELP, description=cluster_master.HELP, allow_abbrev=False
    )
    cluster_master.add_options(many, _port, _count)
    return parser


def _server_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="realtime",
        allow_abbrev=False,  # it looks at options of the commands, too
        description="One room chat, told to browsers in every way the web ever found.",
        epilog="A rate of 0 is switched off.  `realtime talk --help` tells of the conversation, "
        "`realtime proxy --help` of the bad network, `realtime cluster --help` of many processes, "
        "`realtime nginx --help` of what stands in front of them.",
    )
    _add_address(parser, port=8000)
    parser.add_argument(
        "--hub",
        metavar="HUB",
        help="auto, memory, spawn, or your Redis: redis://… rediss://… unix://…, and where there "
        "are several, redis+sentinel://host,host/NAME redis+cluster://host,host "
        f"(${cluster_master.HUB}, or else auto)",
    )
    parser.add_argument(
        "--tls-certificate",
        metavar="FILE",
        help="serve https with this certificate and its chain, in PEM",
    )
    parser.add_argument("--tls-key", metavar="FILE", help="its key, if not in the same file")
    parser.add_argument(
        "--loop",
        choices=("auto", "asyncio"),
        default="auto",
        help="the event loop; auto is uvloop where it is installed (%(default)s)",
    )
    parser.add_argument(
        "--lanes",
        type=_count,
        default=1,
        metavar="N",
        help="listen on so many ports, the next ones where they are free: a browser opens six "
        "connections to each (%(default)s)",
    )
    parser.add_argument(
        "--networks",
        type=_whole,
        default=0,
        metavar="N",
        help="have so many bad networks for the pages, each at a port of its own; the event loop "
        "is asyncio's then (%(default)s)",
    )
    parser.add_argument(
        "--key",
        default=None,
        help="what the lecturer's page needs to begin a room anew "
        f"(${cluster_master.KEY}, or else made up at each start)",
    )
    parser.add_argument(
        "--sockjs-also",
        action="append",
        default=[],
        choices=sorted(LEGACY_TRANSPORTS),
        help="a further way of SockJS, for browsers that have none of the others; off, since a "
        "script tag sends no Origin; may be repeated",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name under which browsers may ask for this server; may be repeated",
    )
    parser.add_argument(
        "--trust-proxy",
        action="append",
        default=[],
        type=_network,
        metavar="ADDRESS",
        help="a proxy, or a network of them as 10.0.0.0/8, that says with X-Forwarded-For whose "
        "request it is; nobody else is believed; may be repeated",
    )
    _add_limits(parser.add_argument_group("limits"))
    return parser


def _add_address(parser: argparse.ArgumentParser, *, port: int) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=port, help="port; 0 is a free one (%(default)s)"
    )


def _add_limits(group: "argparse._ArgumentGroup") -> None:
    for limit in Limits.named():
        reason = limit.metadata["reason"].replace("%", "%%")
        group.add_argument(
            "--" + limit.name.replace("_", "-"),
            type=_type_of(limit.name, limit.type),
            default=limit.default,
            metavar="N",
            help=f"{reason} (%(default)s)",
        )


def _type_of(name: str, kind: object) -> Callable[[str], float]:
    if kind is int:
        return _count
    return _amount if name in _MAY_BE_ZERO else _amount_above_0


def _amount_above_0(text: str) -> float:
    if (amount := _amount(text)) >= _LEAST:
        return amount
    raise argparse.ArgumentTypeError(f"must be a number, at least {_LEAST:g}")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _network(text: str) -> IPNetwork:
    try:
        return parse_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; 10.0.0.2 or 10.0.0.0/8 is one") from None


def _whole(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def _amount(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= _MOST:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to {_MOST:g}")


# --- serving -------------------------------------------------------------------------------------


async def serve(options: argparse.Namespace) -> None:
    """Listen until SIGINT or SIGTERM; raises `HubError` or `OSError` if that cannot begin.

    SIGTERM, of whoever replaces one process by another, lets readers go one by one; Ctrl-C does not
    make anybody wait.
    """
    limits = Limits(**{limit.name: getattr(options, limit.name) for limit in Limits.named()})
    secured = sockets.tls(options)
    lanes = sockets.open_listeners(options)
    choice = await choose(options.hub or os.environ.get(cluster_master.HUB) or "auto", limits)
    if choice.server is None:
        await _serve(lanes, secured, choice, limits, options)
        return
    supervisor = Supervisor()
    supervisor.supervise("watch the private server", choice.server.watch)
    try:
        await _serve(lanes, secured, choice, limits, options)
    finally:
        await supervisor.close()
        choice.server.close()


async def _serve(
    lanes: Sequence[sockets.BoundSockets],
    secured: ssl.SSLContext | None,
    choice: HubChoice,
    limits: Limits,
    options: argparse.Namespace,
) -> None:
    hub = Hub(choice.broker, limits)
    presence = Presence(choice.broker, limits, node_id=secrets.token_hex(8))
    try:
        await hub.start()
    except NoBroker as error:
        await choice.broker.close()
        raise HubError(f"the hub {choice.label} cannot be reached: {error.__cause__}") from error
    presence.start(lambda: hub.rooms)
    origin_policy = OriginPolicy(sockets.own_names(options))
    rate_limiter = RateLimiter(limits.messages_per_second, limits.message_burst)
    ports = tuple(map(sockets.port_of, lanes))
    signals = _signals()
    async with sockets.open_networks(options, ports) as networks:
        origin_policy.ports = frozenset(ports).union(networks.ports)
        key = options.key or os.environ.get(cluster_master.KEY) or secrets.token_urlsafe(9)
        lab = Lab(ports, networks, sockets.reachable(options, ports[0]), key)
        traffic = TrafficStats()
        services = Services(hub, presence, origin_policy, rate_limiter, limits)
        site = make_site(services, traffic, choice.label, lab, options.sockjs_also)
        proxies = TrustedProxies(options.trust_proxy)
        server = Server(site, traffic=traffic, limits=limits, tls=secured, proxies=proxies)
        place, master = f"{options.host}:{ports[0]}", os.environ.get(cluster_master.MASTER, "")
        census = NodeReporter(choice.broker, hub, traffic, place, master)
        _spare_the_collector()
        for lane in lanes:
            server.add_sockets(lane)
        server.start_timeouts()
        census.start()
        _print_addresses(options, choice, lab)
        await _stop_when_told(signals, hub, presence, limits)
        await server.close()
        await census.close()
    await presence.close()
    await hub.close()


def _print_addresses(options: argparse.Namespace, choice: HubChoice, lab: Lab) -> None:
    address = sockets.here(options, lab.lanes[0])
    # Programs read the port from this line.
    print(f"realtime: listening on {address} (hub: {choice.label})")
    if len(lab.lanes) > 1 or lab.networks.ports:
        print(f"realtime: lanes {_list(lab.lanes)}; bad networks {_list(lab.networks.ports)}")
    for reached in lab.addresses:
        print(f"realtime: other machines find it at {reached}")
    near = sockets.near(options, lab.lanes[0])
    print(f"realtime: for lecturers {near}demos/lecturer.html#key={lab.key}")
    sys.stdout.flush()


def _list(ports: Sequence[int]) -> str:
    return ", ".join(map(str, ports)) or "none"


async def _stop_when_told(
    signals: "asyncio.Queue[signal.Signals]", hub: Hub, presence: Presence, limits: Limits
) -> None:
    number = await signals.get()
    seconds = limits.drain_seconds if number == signal.SIGTERM else 0
    log.info("stopping", extra={"signal": number.name, "seconds": seconds, **hub.count()})
    presence.extend_grace(2 * seconds)  # some are sent at the end, and come back as much later
    hub.drain(seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await signals.get()  # whoever says it twice does not want to wait


def _raise_open_files() -> None:
    # The soft limit is often 1024, for the sake of programs that use select(); we use epoll.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spare_the_collector() -> None:
    """Let Python look for garbage in cycles more seldom, and not among what is here for good.

    Each poll that waits is some objects more, so that by default every few hundred polls are a
    reason to look at all of them: an eighth of the time of a thousand pollers.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_A_LOOK, 20, 20)


def _signals() -> "asyncio.Queue[signal.Signals]":
    """Those that ask us to stop, as they come."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    return signals
