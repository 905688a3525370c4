"""Several servers on one machine, and the master that keeps them alive.

Python runs on one core, so a machine has a process for each.  Every worker is an ordinary
``realtime`` at a port of its own, for a proxy to spread clients over; they know nothing of one
another, and share a hub.

    realtime cluster ─┬─ worker :6001 ─┐
       │ :6100        ├─ worker :6002 ─┼─ hub
       │ status       └─ worker :6003 ─┘   │
       └──────── what they report ─────────┘

SIGHUP replaces one worker after the other, each by one that is ready before the next is touched;
SIGTERM drains one after the other and ends; SIGINT and SIGQUIT, or a second SIGTERM, end all at
once.  Workers that lose their master end as by SIGTERM.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from realtime.brokers.choose import HubChoice, HubError, choose
from realtime.cluster import nginx_config, status
from realtime.cluster.nginx_process import NginxProcess
from realtime.cluster.worker import WorkerProcess
from realtime.core.events import Event
from realtime.errors import NoBroker
from realtime.limits import Limits
from realtime.protocol.origin import OriginPolicy
from realtime.server import sockets
from realtime.tasks import Supervisor, run_until_first_exits

HELP = "keep several servers alive on this machine, over one hub"
EPILOG = (
    "Every other option of `realtime --help` is given to the workers.  SIGHUP replaces one after "
    "the other, SIGTERM drains one after the other and ends, SIGINT ends at once."
)
# What a worker is told by its environment: on a command line all who are on this machine read it.
HUB, KEY, MASTER = "REALTIME_HUB", "REALTIME_KEY", "REALTIME_MASTER"

# Where a lecturer begins.
LECTURER = "demos/lecturer.html#key="

log = logging.getLogger(__name__)


def add_options(
    parser: argparse.ArgumentParser, port: Callable[[str], int], count: Callable[[str], int]
) -> None:
    """Add our own; `port` and `count` read what they are named after."""
    parser.epilog = EPILOG
    parser.add_argument("--host", default="127.0.0.1", help="address of the workers (%(default)s)")
    parser.add_argument(
        "--workers",
        type=count,
        default=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        metavar="N",
        help="so many processes: as many as there are cores (%(default)s)",
    )
    parser.add_argument(
        "--base-port",
        type=port,
        default=6001,
        help="port of the first worker; the others have the next ones; 0: free ones (%(default)s)",
    )
    parser.add_argument(
        "--hub",
        metavar="HUB",
        help=f"spawn, or your Redis: redis://… rediss://… unix://… (${HUB}, or else spawn)",
    )
    parser.add_argument("--key", help=f"the lecturer's, of all workers (${KEY}, or else made up)")
    parser.add_argument(
        # Not 6000, to which no browser goes: it is X11's (a bad port, in the Fetch standard §2.9).
        "--status-port",
        type=port,
        default=6100,
        help="port of the status page (%(default)s)",
    )
    parser.add_argument(
        "--status-host", default="127.0.0.1", help="address of the status page (%(default)s)"
    )

    parser.add_argument(
        "--nginx",
        type=_place(port),
        metavar="PORT",
        help="have an nginx in front of the workers, too, at a port or ADDRESS:PORT; 0: a free one",
    )
    parser.add_argument(
        "--routing",
        choices=nginx_config.ROUTINGS,
        default="session",
        help="how that finds a worker: see `realtime nginx --help` (%(default)s)",
    )


def _place(port: Callable[[str], int]) -> Callable[[str], tuple[str, int]]:
    def place(text: str) -> tuple[str, int]:
        host, _, number = text.rpartition(":")
        return host.strip("[]") or "127.0.0.1", port(number)

    return place


def complaint(options: argparse.Namespace) -> str:
    """What is wrong with `options.served`, which the workers are to be given; or nothing."""
    served = options.served
    if (served.lanes, served.networks) != (1, 0):
        return "--lanes and --networks are for a single server: each worker has one port"
    if any(word.startswith("--port") for word in options.further):
        return "--port is for a single server: see --base-port"
    if options.nginx is not None and served.tls_certificate is not None:
        return "--nginx speaks plain HTTP to the workers: a certificate is for it, not for them"
    if options.base_port + options.workers - 1 > 65535:
        return "--base-port: there is no port past 65535"
    return ""


async def run(options: argparse.Namespace) -> None:
    """Keep workers alive until a signal ends it; raises `HubError` or `OSError` at the start.

    `options.further` is what the workers are given, and `options.served` the same, parsed.
    """
    signals = _signals()
    sockets.tls(options.served)  # what is wrong with it is wrong for all workers
    hub = _shared(options.hub or os.environ.get(HUB) or "spawn")
    door = _open_door(options)
    choice = await choose(hub, Limits())
    supervisor = Supervisor()
    try:
        if choice.server is not None:
            supervisor.supervise("watch the private server", choice.server.watch)
            hub = choice.server.url
        await _start(choice)
        await _serve(options, signals, door, choice, hub, supervisor)
    finally:
        await supervisor.close()
        await choice.broker.close()
        if choice.server is not None:
            choice.server.close()


def _shared(hub: str) -> str:
    if hub == "memory":
        raise HubError("--hub memory: each worker would be a chat of its own; say spawn")
    return "spawn" if hub == "auto" else hub


def _open_door(options: argparse.Namespace) -> sockets.BoundSockets:
    try:
        return bind_sockets(options.status_port, options.status_host)
    except OSError as error:
        raise OSError(f"--status-port {options.status_port}: {error}") from error


class _Deaf:
    """A listener of no room."""

    def on_publication(self, room: str, event: Event) -> None: ...

    def on_subscribed(self, room: str) -> None: ...


async def _start(choice: HubChoice) -> None:
    try:
        await choice.broker.start(_Deaf())
    except NoBroker as error:
        raise HubError(f"the hub {choice.label} cannot be reached: {error.__cause__}") from error


async def _serve(
    options: argparse.Namespace,
    signals: "asyncio.Queue[signal.Signals]",
    door: sockets.BoundSockets,
    choice: HubChoice,
    hub: str,
    supervisor: Supervisor,
) -> None:
    ports = _ports(options)
    front = _front(options, ports)
    key = options.key or os.environ.get(KEY) or secrets.token_urlsafe(9)
    name = secrets.token_hex(6)
    environment = {**os.environ, HUB: hub, KEY: key, MASTER: name}
    workers = [_worker(options, port, environment) for port in ports]
    overview = status.ClusterStatus(workers, options.host, choice.broker, choice.label, name)
    origin_policy = OriginPolicy([*sockets.own_names(options.served), options.status_host])
    server = HTTPServer(status.make_application(overview, origin_policy))
    server.add_sockets(door)
    for worker in workers:
        supervisor.supervise(f"worker {worker.port}", worker.keep)
        worker.start()
    _print_addresses(options, door, ports, choice)
    where = f"status {_url(options.status_host, door)}"
    if front is not None:
        front.start()
        where = f"{front.url}, {where}"
        print(f"realtime: nginx at {front.url}; for lecturers {front.url}{LECTURER}{key}")
    sys.stdout.flush()
    try:
        await Master(workers, where).obey(signals)
    finally:
        if front is not None:
            await front.close()
    server.stop()


def _front(options: argparse.Namespace, ports: Sequence[int]) -> NginxProcess | None:
    if options.nginx is None:
        return None
    urls = [urlsplit(sockets.near(options.served, port)) for port in ports]
    host, port = options.nginx
    front = NginxProcess(host, port, [url.netloc for url in urls], options.routing)
    # Where it reaches them is where it comes from, since both are this machine.
    options.further += ["--trust-proxy", str(urls[0].hostname)]
    return front


def _worker(options: argparse.Namespace, port: int, environment: dict[str, str]) -> WorkerProcess:
    # Ours come last, and so are those that count.
    command = [sys.executable, "-m", "realtime", *options.further]
    command += ["--host", options.host, "--port", str(port)]
    url = sockets.near(options.served, port).rstrip("/")
    return WorkerProcess(url, port, command, environment, options.served.drain_seconds)


def _ports(options: argparse.Namespace) -> list[int]:
    if options.base_port:
        return [options.base_port + n for n in range(options.workers)]
    lanes = [bind_sockets(0, options.host) for _ in range(options.workers)]
    ports = [sockets.port_of(lane) for lane in lanes]
    for lane in lanes:
        for one in lane:
            one.close()
    return ports


def _print_addresses(
    options: argparse.Namespace, door: sockets.BoundSockets, ports: Sequence[int], choice: HubChoice
) -> None:
    # Programs read the ports from these lines.
    print(f"realtime: status at {_url(options.status_host, door)} (hub: {choice.label})")
    print(f"realtime: workers at {' '.join(sockets.here(options.served, port) for port in ports)}")


def _url(host: str, lane: sockets.BoundSockets) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{sockets.port_of(lane)}/"


# --- the master ----------------------------------------------------------------------------------


class Master:
    """What the signals mean; whatever they mean, it is done by `workers`.

    `where` is told to whoever waits until all are ready.
    """

    def __init__(self, workers: Sequence[WorkerProcess], where: str) -> None:
        self._workers = workers
        self._where = where
        self._renewal = asyncio.Event()
        self._supervisor = Supervisor()
        self._supervisor.supervise("renew workers", self._renew_for_ever)
        self._supervisor.spawn("tell of workers", self._tell_when_ready)

    async def obey(self, signals: "asyncio.Queue[signal.Signals]") -> None:
        """Do what each signal asks for, and return when all workers have ended."""
        while (number := await signals.get()) == signal.SIGHUP:
            self._renewal.set()
        log.info("stopping", extra={"signal": number.name, "workers": len(self._workers)})
        await self._supervisor.close()
        if number == signal.SIGTERM:
            await run_until_first_exits(self._drain(), _told_again(signals))
        await asyncio.gather(*(worker.stop(signal.SIGINT) for worker in self._workers))

    async def _drain(self) -> None:
        # The next ones take the readers that the first ones send away, and only the last has nobody
        # to send them to.
        for worker in self._workers:
            await worker.stop(signal.SIGTERM)

    async def _renew_for_ever(self) -> None:
        while True:
            await self._renewal.wait()
            self._renewal.clear()  # one that comes meanwhile begins a round of its own
            for worker in self._workers:
                await worker.replace("replaced, by SIGHUP")
            log.info("all workers are replaced")

    async def _tell_when_ready(self) -> None:
        await asyncio.gather(*(worker.ready() for worker in self._workers))
        print(f"realtime: {len(self._workers)} workers are ready: {self._where}", flush=True)


async def _told_again(signals: "asyncio.Queue[signal.Signals]") -> None:
    """Return when somebody does not want to wait."""
    while await signals.get() == signal.SIGHUP:
        pass


def _signals() -> "asyncio.Queue[signal.Signals]":
    """Those that we obey, as they come."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    had_terminal = os.isatty(0)

    def came(number: signal.Signals) -> None:
        # A terminal that was closed says the same word as somebody who wants us renewed.
        hung_up = number == signal.SIGHUP and had_terminal and not os.isatty(0)
        signals.put_nowait(signal.SIGTERM if hung_up else number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, came, number)
    return signals
