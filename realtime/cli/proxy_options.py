"""The options of `realtime nginx` and `realtime haproxy`: the workers, and the site in front."""

import argparse
import os
from collections.abc import Iterator

from realtime.cli.config import Group, add_root_path, count
from realtime.cluster.proxy_config import ROUTINGS, parse_worker


def add_workers(parser: argparse.ArgumentParser, program: str) -> None:
    """Add the options that name the workers, and how `program` finds the one of a request."""
    workers = parser.add_argument_group("workers")
    workers.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="N workers on this machine, at consecutive ports (as many as it has cores, if there "
        "is no --worker)",
    )
    workers.add_argument(
        "--base-port",
        type=count,
        default=6001,
        metavar="P",
        help="port of the first of them (%(default)s)",
    )
    workers.add_argument(
        "--worker",
        action="append",
        default=[],
        type=_worker,
        metavar="HOST:PORT",
        help="one more worker, on any machine; may be repeated",
    )
    workers.add_argument(
        "--routing",
        choices=ROUTINGS,
        default="any",
        help=f"how {program} finds the worker of a request.  any: the next one, which is enough "
        "for our own transports; address: by the address of the client, as in the tutorial; "
        "session: by the session of SockJS and Socket.IO (%(default)s)",
    )


def add_site(parser: argparse.ArgumentParser) -> Group:
    """Add the options of the site; return their group, for those of one program."""
    site = parser.add_argument_group("site")
    site.add_argument(
        "--listen", metavar="PORT", help="a port, or ADDRESS:PORT (80, or with --tls 443)"
    )
    site.add_argument("--name", default="_", help="the host name of the site")
    add_root_path(site)
    return site


def workers_of(options: argparse.Namespace) -> Iterator[str]:
    """Yield the address of each worker: first those of this machine, then each ``--worker``.

    Without both options, this machine has one worker per core, as with `realtime cluster`.
    """
    here = options.workers or (0 if options.worker else os.cpu_count() or 1)
    yield from (f"127.0.0.1:{options.base_port + number}" for number in range(here))
    yield from options.worker


def listen_of(options: argparse.Namespace) -> str | int:
    """Return where the site listens."""
    address: str | int = options.listen or (443 if options.tls else 80)
    return address


def _worker(text: str) -> str:
    """Check ``HOST:PORT``, and keep it as text: a proxy needs the brackets of IPv6."""
    try:
        parse_worker(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
