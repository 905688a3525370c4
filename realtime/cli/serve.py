"""``realtime``: build a server from its configuration, listen, and drain it when a signal comes.

    listen ─▶ choose the hub ─▶ connect to it ─▶ serve ─▶ signal ─▶ drain ─▶ close

The ports are opened first: if one is taken, nothing else has started.  What is opened last is
closed first.
"""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from realtime.app import make_router
from realtime.brokers.choose import HubChoice, HubError, choose
from realtime.cli.config import CommandError, stop_signals
from realtime.cluster.registry import NodeReporter, list_nodes
from realtime.core.access import Access, FreeAccess
from realtime.core.admission import Admission
from realtime.core.broker import Broker
from realtime.core.hub import Hub
from realtime.core.moderation import Moderation
from realtime.core.presence import Presence
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.netem.proxy import Proxy
from realtime.netem.proxy_pool import ProxyPool
from realtime.netem.tunnel_registry import TunnelRegistry
from realtime.protocol.addresses import limited_address, url_host
from realtime.protocol.origin import OriginPolicy
from realtime.protocol.tickets import TicketsUnavailable, load_pyjwt
from realtime.server import sockets
from realtime.server.config import ServerConfig
from realtime.server.forwarded import TrustedProxies
from realtime.server.key_file import KeyFile
from realtime.server.quic.start import UDPPort, make_listener, make_offer, open_ports
from realtime.server.server import Server
from realtime.server.tap import TapRegistry
from realtime.server.ticket_access import TicketAccess
from realtime.server.traffic import TrafficStats
from realtime.tasks import Supervisor
from realtime.transports.base import Services
from realtime.web.faults import FaultControls
from realtime.web.lab import KeyCheck, Lab
from realtime.web.plan import default_plan
from realtime.web.server_faults import server_faults

# Ten thousand connections are a million objects.  By default Python looks for garbage after 700
# allocations.
_ALLOCATIONS_PER_COLLECTION = 20_000

log = logging.getLogger(__name__)


async def run(config: ServerConfig) -> None:
    """Serve until a signal; raises `HubError` or `OSError` if it cannot start.

    SIGTERM, the signal of service managers, disconnects readers one by one, and so does SIGHUP, the
    signal of a terminal that closes; SIGINT (Ctrl-C) disconnects all at once.
    """
    tls, keys = sockets.load_tls(config), load_keys(config)
    listeners, udp = open_ports(config)
    try:
        choice = await choose(config.hub, config.limits, config.prefix)
        await _with_hub(config, choice, listeners, udp, tls, keys)
    finally:
        sockets.close_listeners([*listeners, udp.sockets])


async def _with_hub(
    config: ServerConfig,
    choice: HubChoice,
    listeners: Sequence[sockets.BoundSockets],
    udp: UDPPort,
    tls: ssl.SSLContext | None,
    keys: KeyFile | None,
) -> None:
    """Serve, and keep the private Redis alive meanwhile, if the hub is one."""
    supervisor = Supervisor()
    if choice.server is not None:
        supervisor.supervise("watch the private server", choice.server.watch)
    try:
        await _serve(config, choice, listeners, udp, tls, keys)
    finally:
        await supervisor.close()
        if choice.server is not None:
            choice.server.close()


async def _serve(
    config: ServerConfig,
    choice: HubChoice,
    listeners: Sequence[sockets.BoundSockets],
    udp: UDPPort,
    tls: ssl.SSLContext | None,
    keys: KeyFile | None,
) -> None:
    limits = config.limits
    hub = Hub(choice.broker, limits)
    presence = Presence(choice.broker, limits, node_id=secrets.token_hex(8))
    try:
        await hub.start()
    except NoBroker as error:
        await choice.broker.close()
        reason = str(error.__cause__) or "it does not answer"
        raise HubError(f"the hub {choice.label} cannot be reached: {reason}") from error
    presence.start(lambda: hub.rooms)
    moderation = None if config.access == "open" else Moderation(choice.broker)
    if moderation is not None:
        hub.rules_changed = moderation.on_rules
        moderation.start()
    # The policy needs the ports of the network emulators, and those need ours: it gets them last.
    origin_policy = OriginPolicy(sockets.own_names(config))
    sockets.find_full_name(origin_policy.allow_name)
    ports = tuple(map(sockets.port_of, listeners))
    signals = _watch_stop_signals()
    tunnels = TunnelRegistry(limits, limited_address)
    udp_target = sockets.local_address(udp.sockets) if udp.sockets else None
    async with _open_networks(config, listeners, tunnels, udp_target) as networks:
        addresses = sockets.lan_urls(config, ports[0])
        key_check = KeyCheck(config.key, limits.wrong_keys_per_minute)
        plan = config.plan or default_plan()
        peers = partial(_peers, config, choice.broker, ports[0])
        traffic, taps = TrafficStats(), TapRegistry(limits)
        services = Services(
            *(hub, presence, origin_policy, Admission(limits), limits),
            access=_access(config, keys, origin_policy),
            moderation=moderation,
        )
        quic = make_listener(
            *(udp, services),
            traffic=traffic,
            taps=taps,
            root_path=config.root_path,
            emulated=tunnels.datagram_clients,
        )
        offer = make_offer(udp, quic)
        own_ports = {*ports, *networks.ports, *config.page_ports, offer.port or ports[0]}
        origin_policy.ports = frozenset(own_ports)
        lab = Lab(ports, networks, addresses, config.key, key_check, plan, peers, offer)
        faults = _make_faults(config, key_check, hub, choice, traffic)
        router = make_router(
            *(services, traffic, choice.label, lab),
            taps=taps,
            sockjs_also=config.sockjs_also,
            root_path=config.root_path,
            faults=faults,
        )
        proxies = TrustedProxies(config.trust_proxy)
        server = Server(
            router,
            traffic=traffic,
            limits=limits,
            tls=tls,
            proxies=proxies,
            emulated=tunnels.clients,
            other_files=tunnels.max_files if networks.ports else 0,
        )
        address = f"{config.host}:{ports[0]}"
        reporter = NodeReporter(choice.broker, hub, traffic, address, config.master)
        _tune_garbage_collector()
        for listener in listeners:
            server.add_sockets(listener)
        server.start_timeouts()
        if quic is not None:
            quic.start()
        reporter.start()
        _print_addresses(config, choice, lab, udp)
        await _drain_on_signal(signals, hub, presence, limits, faults)
        if quic is not None:
            await quic.close()
        await server.close()
        await reporter.close()
    if moderation is not None:
        await moderation.close()
    await presence.close()
    await hub.close()


async def _peers(config: ServerConfig, broker: Broker, own_port: int) -> list[str]:
    """Return the URLs of the other workers of our cluster, which are on this machine."""
    if not config.master:
        return []
    nodes = await list_nodes(broker)
    ports = {int(n.worker.rpartition(":")[2]) for n in nodes if n.master == config.master}
    return [sockets.local_url(config, port) for port in sorted(ports - {own_port})]


def load_keys(config: ServerConfig) -> KeyFile | None:
    """Open the key file of mode `tickets`; raises `CommandError`."""
    if config.access != "tickets":
        return None
    try:
        load_pyjwt()
        return KeyFile(config.ticket_keys or "")
    except TicketsUnavailable as error:
        raise CommandError(f"--access tickets: {error}") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"--ticket-keys: {error}") from error


def _access(config: ServerConfig, keys: KeyFile | None, origin_policy: OriginPolicy) -> Access:
    if keys is None:
        return FreeAccess(config.access)
    return TicketAccess(lambda: keys.keys(time.monotonic()), origin_policy, config.limits)


def _make_faults(
    config: ServerConfig,
    key_check: KeyCheck,
    hub: Hub,
    choice: HubChoice,
    traffic: TrafficStats,
) -> FaultControls | None:
    """Offer the faults of this process, if `config` allows it."""
    if not config.fault_controls:
        return None
    redis, drop = choice.server, choice.drop_subscriptions
    faults = server_faults(key_check, hub, choice.label, traffic, redis, drop)
    faults.start()
    return faults


@contextlib.asynccontextmanager
async def _open_networks(
    config: ServerConfig,
    listeners: Sequence[sockets.BoundSockets],
    tunnels: TunnelRegistry,
    udp_target: tuple[str, int] | None = None,
) -> AsyncIterator[ProxyPool]:
    """Open one proxy for each of `config.network_count`, in front of our first port.

    They forward UDP as well, if there is a `udp_target`: our WebTransport.
    """
    async with contextlib.AsyncExitStack() as stack:
        proxies = []
        ports = tuple(map(sockets.port_of, listeners))
        count = config.network_count if sockets.can_name_ports(config) else 0
        for port in range(ports[-1] + 1, ports[-1] + 1 + count):
            tcp, udp = _open_emulator_port(port, config.host, with_udp=udp_target is not None)
            proxy = Proxy(
                *sockets.local_address(listeners[0]),
                listen=url_host(config.host),
                listeners=tcp,
                udp_target=udp_target,
                datagram_sockets=udp,
                registry=tunnels,
            )
            proxies.append(await stack.enter_async_context(proxy))
        yield ProxyPool(proxies, config.limits)


def _open_emulator_port(
    port: int, host: str, *, with_udp: bool
) -> tuple[sockets.BoundSockets, sockets.BoundSockets]:
    if with_udp:
        return sockets.open_pair_or_free(port, host)
    return sockets.open_port_or_free(port, host), []


def _print_addresses(config: ServerConfig, choice: HubChoice, lab: Lab, udp: UDPPort) -> None:
    """Print where the server is; tests, the cluster and the benchmarks wait for the first line."""
    address = sockets.listen_url(config, lab.lanes[0])
    # Programs read the port from this line.
    print(f"realtime: listening on {address} (hub: {choice.label})")
    if len(lab.lanes) > 1 or lab.networks.ports:
        print(f"realtime: ports {_list(lab.lanes)}; network emulators {_list(lab.networks.ports)}")
    if lab.webtransport.port not in (None, lab.lanes[0]):
        print(f"realtime: WebTransport at UDP port {lab.webtransport.port}")
    if udp.text:
        print(f"realtime: no WebTransport: {udp.text}")
    if not sockets.can_name_ports(config) and (config.port_count > 1 or config.network_count):
        print(
            f"realtime: no extra ports and no network emulators at {config.host}: the pages have a "
            "Content-Security-Policy, which cannot name an IPv6 address; use --host localhost or ::"
        )
    if config.host == "::":
        print("realtime: it listens on IPv6 and IPv4, at all addresses of this machine")
    for url in lab.addresses:
        print(f"realtime: other machines find it at {url}")
    local = sockets.local_url(config, lab.lanes[0])
    print(f"realtime: for lecturers {local}demos/lecturer.html#key={lab.key}")
    if config.fault_controls and not config.master:
        print(f"realtime: fault controls at {local}demos/faults.html#key={lab.key}")
    sys.stdout.flush()


def _list(ports: Sequence[int]) -> str:
    return ", ".join(map(str, ports)) or "none"


async def _drain_on_signal(
    signals: "asyncio.Queue[signal.Signals]",
    hub: Hub,
    presence: Presence,
    limits: Limits,
    faults: FaultControls | None,
) -> None:
    """Wait for a signal; but on SIGINT close the streams one by one within `drain_seconds`."""
    number = await signals.get()
    if faults is not None:
        await faults.close()
    seconds = 0 if number == signal.SIGINT else limits.drain_seconds
    log.info("stopping", extra={"signal": number.name, "seconds": seconds, **hub.count()})
    # A stream that is closed at the end of the window also needs its time to reconnect.
    presence.extend_grace(2 * seconds)
    hub.drain(seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await signals.get()  # a second signal means: stop now


def _tune_garbage_collector() -> None:
    """Run Python's cycle collector less often, and not over the objects that stay.

    Each waiting poll allocates a few objects, so by default every few hundred polls trigger a scan
    of all objects: one eighth of the CPU time with a thousand pollers.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION, 20, 20)


def _watch_stop_signals() -> "asyncio.Queue[signal.Signals]":
    """Return a queue of the signals that ask us to stop, as they arrive."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    return signals
