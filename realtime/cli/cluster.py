"""``realtime cluster``: several servers on one machine over one hub, and a master that runs them.

Python runs on one core, so a machine gets one process per core.  Every worker is an ordinary server
at its own port, for a proxy to spread clients over.  Workers do not know each other; they
share the hub.  Each worker receives its whole configuration from the master.

    realtime cluster ─┬─ worker :6001 ─┐
       │ :6100        ├─ worker :6002 ─┼─ hub
       │ status       └─ worker :6003 ─┘   │
       └──────── their reports ────────────┘
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial

from realtime.brokers.choose import HubChoice, HubError, choose
from realtime.cli.config import (
    HUB_VARIABLE,
    KEY_VARIABLE,
    CommandError,
    add_access,
    add_fault_controls,
    add_limits,
    add_no_webtransport,
    add_plan,
    add_prefix,
    add_proxy_options,
    add_runtime_options,
    add_tls,
    count,
    count_or_zero,
    port_number,
    server_config,
)
from realtime.cli.serve import load_keys
from realtime.cluster import status
from realtime.cluster.config import ClusterConfig
from realtime.cluster.fault_controls import ClusterFaults
from realtime.cluster.master import Master, NullListener, watch_signals
from realtime.cluster.nginx_process import NginxProcess
from realtime.cluster.proxy_config import ROUTINGS
from realtime.cluster.worker import WorkerProcess
from realtime.errors import NoBroker
from realtime.netem.proxy import Proxy
from realtime.protocol.addresses import url_host
from realtime.protocol.origin import OriginPolicy
from realtime.server import sockets
from realtime.tasks import Supervisor
from realtime.web.faults import FaultControls
from realtime.web.lab import KeyCheck

HELP = "run several servers on this machine over one hub, and restart those that die"
_EPILOG = (
    "SIGHUP replaces the workers one by one, SIGTERM drains them one by one and ends, SIGINT ends "
    "at once."
)

# The page that lecturers open first; the browser does not send what follows the `#`.
_LECTURER_PAGE = "demos/lecturer.html#key="
_FAULTS_PAGE = "demos/faults.html#key="


# --- options -------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a cluster; those that concern a worker are the same as for one server."""
    parser.epilog = _EPILOG
    _add_workers(parser)
    _add_in_front(parser)
    add_proxy_options(parser)
    pages = parser.add_argument_group("pages")
    pages.add_argument(
        "--key",
        help="what the lecturer's page needs to reset a room and to direct a class, at all workers "
        f"(${KEY_VARIABLE}, or else a new one at each start)",
    )
    add_plan(pages)
    add_fault_controls(pages)
    add_runtime_options(parser)
    add_limits(parser)
    # Options of a single server: they are accepted here to be refused with a better message.
    hidden = argparse.SUPPRESS
    parser.add_argument("--port", type=port_number, help=hidden)
    parser.add_argument("--lanes", dest="port_count", type=count, default=1, help=hidden)
    parser.add_argument("--webtransport-port", type=port_number, help=hidden)
    parser.add_argument(
        "--networks", dest="network_count", type=count_or_zero, default=0, help=hidden
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("workers and hub")
    group.add_argument(
        "--workers",
        type=count,
        default=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        metavar="N",
        help="number of processes: as many as there are cores (%(default)s)",
    )
    group.add_argument(
        "--host", default="127.0.0.1", help="address the workers listen on (%(default)s)"
    )
    group.add_argument(
        "--base-port",
        type=port_number,
        default=6001,
        help="port of the first worker; the others have the next ones; 0: free ones (%(default)s)",
    )
    add_no_webtransport(group)
    add_tls(group)
    group.add_argument(
        "--hub",
        metavar="HUB",
        help="spawn, or the address of your Redis: redis://… rediss://… unix://… "
        f"(${HUB_VARIABLE}, or else spawn)",
    )
    add_prefix(group)
    add_access(parser)


def _add_in_front(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("status page, and nginx in front")
    group.add_argument(
        # Not 6000, to which browsers refuse to connect: it is X11's (a bad port, Fetch §2.9).
        "--status-port",
        type=port_number,
        default=6100,
        help="port of the status page (%(default)s)",
    )
    group.add_argument(
        "--status-host", default="127.0.0.1", help="address of the status page (%(default)s)"
    )
    group.add_argument(
        "--nginx",
        type=_nginx_address,
        metavar="PORT",
        help="also run an nginx in front of the workers, at a port or ADDRESS:PORT; 0: a free one",
    )
    group.add_argument(
        "--routing",
        choices=ROUTINGS,
        default="session",
        help="how nginx finds the worker of a request: see `realtime nginx --help` (%(default)s)",
    )


def _nginx_address(text: str) -> tuple[str, int]:
    """Parse ``PORT``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``; without an address, 127.0.0.1."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", port_number(port)


def cluster_config(options: argparse.Namespace) -> ClusterConfig:
    """Build the configuration from the parsed options; raises ValueError on a contradiction."""
    if options.port is not None:
        raise ValueError("--port is for a single server: use --base-port")
    options.port = 0  # each worker gets its own port
    return ClusterConfig(
        server=server_config(options, default_hub="spawn"),
        workers=options.workers,
        base_port=options.base_port,
        status_host=options.status_host,
        status_port=options.status_port,
        nginx=options.nginx,
        routing=options.routing,
    )


# --- running -------------------------------------------------------------------------------------


async def run(config: ClusterConfig) -> None:
    """Run the workers until a signal ends them; raises `HubError` or `OSError` at the start."""
    signals = watch_signals()
    # A mistake in these would stop every worker, again and again.
    sockets.load_tls(config.server)
    load_keys(config.server)
    sockets.close_listeners([sockets.open_port(0, config.server.host, "--base-port")])
    hub = _shared_hub(config.server.hub)
    supervisor = Supervisor()
    with _open_status_port(config) as listener:
        choice = await choose(hub, config.server.limits, config.server.prefix)
        if choice.server is not None:
            supervisor.supervise("watch the private server", choice.server.watch)
            hub = choice.server.url
        shared = replace(config, server=replace(config.server, hub=hub))
        try:
            await _start(choice)
            await _run(shared, choice, listener, signals, supervisor)
        finally:
            await supervisor.close()
            await choice.broker.close()
            if choice.server is not None:
                choice.server.close()


def _shared_hub(hub: str) -> str:
    """Return a hub that several processes can share; raises `HubError`."""
    if hub == "memory":
        raise HubError("--hub memory: each worker would have a chat of its own; use --hub spawn")
    return "spawn" if hub == "auto" else hub


@contextmanager
def _open_status_port(config: ClusterConfig) -> Iterator[sockets.BoundSockets]:
    """Bind the status port first: if it is taken, no worker has started yet."""
    listener = sockets.open_port(config.status_port, config.status_host, "--status-port")
    try:
        yield listener
    finally:
        sockets.close_listeners([listener])


async def _start(choice: HubChoice) -> None:
    """Connect to the hub, which the master reads for the status page."""
    try:
        await choice.broker.start(NullListener())
    except NoBroker as error:
        reason = str(error.__cause__) or "it does not answer"
        raise HubError(f"the hub {choice.label} cannot be reached: {reason}") from error


async def _run(
    config: ClusterConfig,
    choice: HubChoice,
    listener: sockets.BoundSockets,
    signals: "asyncio.Queue[signal.Signals]",
    supervisor: Supervisor,
) -> None:
    ports = _worker_ports(config)
    async with _open_relays(config, ports) as relays:
        await _run_workers(config, choice, listener, signals, supervisor, ports, relays)


async def _run_workers(
    config: ClusterConfig,
    choice: HubChoice,
    listener: sockets.BoundSockets,
    signals: "asyncio.Queue[signal.Signals]",
    supervisor: Supervisor,
    ports: Sequence[int],
    relays: Mapping[str, Proxy],
) -> None:
    nginx = _make_nginx(config, ports, relays)
    # Reports of workers carry it: a master on another machine may use the same ports and pids.
    name = secrets.token_hex(6)
    # The ports that browsers use, and whose pages may use each other.
    entries = [nginx.port] if nginx is not None else list(ports)
    page_ports = [sockets.port_of(listener), *entries] if config.server.fault_controls else []
    if nginx is not None and config.server.webtransport and not page_ports:
        page_ports = [nginx.port]  # whose pages connect to the UDP ports of the workers
    configs = config.worker_configs(ports, master=name, page_ports=page_ports)
    workers = list(map(WorkerProcess, configs))
    overview = status.ClusterStatus(
        *(workers, config.server.host, choice.broker, choice.label, name),
        fault_controls=config.server.fault_controls,
    )
    origin_policy = OriginPolicy([*sockets.own_names(config.server), config.status_host])
    origin_policy.ports = frozenset(page_ports)
    sockets.find_full_name(origin_policy.allow_name)
    faults = _make_faults(config, choice, workers, relays, entries)
    server = status.make_server(
        overview, choice.broker, origin_policy, config.server.limits, faults
    )
    server.add_sockets(listener)
    server.start_timeouts()
    for worker in workers:
        supervisor.supervise(f"worker {worker.port}", worker.supervise)
        worker.start()
    addresses = f"status {_status_url(config, listener)}"
    _print_addresses(config, listener, ports, choice)
    if nginx is not None:
        nginx.start()
        addresses = f"{nginx.url}, {addresses}"
        lecturer_url = f"{nginx.url}{_LECTURER_PAGE}{config.server.key}"
        print(f"realtime: nginx at {nginx.url}; for lecturers {lecturer_url}")
    if faults is not None:
        faults.start()
        page = f"{_status_url(config, listener)}{_FAULTS_PAGE}{config.server.key}"
        print(f"realtime: fault controls at {page}")
    sys.stdout.flush()
    try:
        before_stop = None if faults is None else faults.close
        await Master(workers, addresses, before_stop).handle_signals(signals)
    finally:
        # Last: while workers drain, nginx sends their clients to the ones that still run.
        if nginx is not None:
            await nginx.close()
    await server.close()


def _worker_ports(config: ClusterConfig) -> list[int]:
    """Return the port of each worker; with ``--base-port 0``, ports that are free now."""
    if config.base_port:
        return [config.base_port + n for n in range(config.workers)]
    host = config.server.host
    # All are open at once, or the kernel could return the same port twice.
    listeners = [sockets.open_port(0, host, "--base-port") for _ in range(config.workers)]
    ports = list(map(sockets.port_of, listeners))
    sockets.close_listeners(listeners)
    return ports


@asynccontextmanager
async def _open_relays(
    config: ClusterConfig, ports: Sequence[int]
) -> AsyncIterator[Mapping[str, Proxy]]:
    """Open a relay in front of each worker, by the worker's address, for an nginx to cut off."""
    relays: dict[str, Proxy] = {}
    async with AsyncExitStack() as stack:
        if config.nginx is not None and config.server.fault_controls:
            host = sockets.local_host(config.server)
            for port in ports:
                listeners = sockets.open_port(0, host, "--base-port")
                relay = Proxy(host, port, listen=url_host(host), listeners=listeners)
                relays[f"{url_host(host)}:{port}"] = await stack.enter_async_context(relay)
        yield relays


def _make_faults(
    config: ClusterConfig,
    choice: HubChoice,
    workers: Sequence[WorkerProcess],
    relays: Mapping[str, Proxy],
    entries: Sequence[int],
) -> FaultControls | None:
    if not config.server.fault_controls:
        return None
    host = url_host(sockets.local_host(config.server))
    by_address = {f"{host}:{worker.port}": worker for worker in workers}
    cuts = {address: partial(_cut, relay) for address, relay in relays.items()}
    key = config.server.key
    key_check = KeyCheck(key, config.server.limits.wrong_keys_per_minute)
    where = [f"{port}{config.server.root_path}/" for port in entries]
    return ClusterFaults(by_address, choice, key, key_check, cuts, where).controls


def _cut(relay: Proxy) -> Callable[[], None]:
    """Disconnect nginx from a worker, and return the function that connects them again."""

    def reconnect() -> None:
        relay.accepting = True

    relay.accepting = False
    relay.reset_connections()
    return reconnect


def _make_nginx(
    config: ClusterConfig, ports: Sequence[int], relays: Mapping[str, Proxy]
) -> NginxProcess | None:
    """Prepare the nginx of ``--nginx``, if any; raises `CommandError` or OSError."""
    if config.nginx is None:
        return None
    host = url_host(sockets.local_host(config.server))
    try:
        workers = [f"{host}:{port}" for port in ports]
        addresses = {worker: f"{host}:{relay.port}" for worker, relay in relays.items()}
        return NginxProcess(
            *(*config.nginx, workers, config.routing, config.server.root_path), relays=addresses
        )
    except ValueError as error:
        raise CommandError(f"--nginx: {error}") from error


def _print_addresses(
    config: ClusterConfig,
    listener: sockets.BoundSockets,
    ports: Sequence[int],
    choice: HubChoice,
) -> None:
    # Programs read the ports from these lines.
    print(f"realtime: status at {_status_url(config, listener)} (hub: {choice.label})")
    urls = [sockets.listen_url(config.server, port) for port in ports]
    print(f"realtime: workers at {' '.join(urls)}")


def _status_url(config: ClusterConfig, listener: sockets.BoundSockets) -> str:
    return f"http://{url_host(config.status_host)}:{sockets.port_of(listener)}/"
