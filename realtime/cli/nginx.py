"""``realtime nginx``: print a configuration of nginx, with the reason beside each line.

The text is built in `cluster.nginx_config`; `realtime cluster --nginx` runs nginx with the same.
"""

import argparse
import os
from collections.abc import Iterator

from realtime.cli.config import CommandError, add_root_path, count
from realtime.cluster.nginx_config import ROUTINGS, configuration, parse_worker

HELP = "print a configuration of nginx for several workers, with the reason beside each line"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command: the workers, and the site in front of them."""
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
        help="how nginx finds the worker of a request.  any: the next one, which is enough for our "
        "own transports; address: by ip_hash, as in the tutorial; session: by the session of "
        "SockJS and Socket.IO (%(default)s)",
    )
    site = parser.add_argument_group("site")
    site.add_argument(
        "--listen", metavar="PORT", help="a port, or ADDRESS:PORT (80, or with --tls 443)"
    )
    site.add_argument(
        "--tls", nargs=2, metavar=("CERT", "KEY"), help="files in PEM: serve https, over HTTP/2"
    )
    site.add_argument("--name", default="_", help="the host name of the site")
    add_root_path(site)


async def run(options: argparse.Namespace) -> None:
    """Print the configuration; raises `CommandError` if these options cannot work together."""
    try:
        text = configuration(
            workers=list(_workers(options)),
            listen=options.listen or (443 if options.tls else 80),
            routing=options.routing,
            tls=tuple(options.tls) if options.tls else None,
            name=options.name,
            root_path=options.root_path,
        )
    except ValueError as error:
        raise CommandError(error) from error
    print(text, end="")


def _workers(options: argparse.Namespace) -> Iterator[str]:
    """Yield the address of each worker: first those of this machine, then each ``--worker``.

    Without both options, this machine has one worker per core, as with `realtime cluster`.
    """
    here = options.workers or (0 if options.worker else os.cpu_count() or 1)
    yield from (f"127.0.0.1:{options.base_port + number}" for number in range(here))
    yield from options.worker


def _worker(text: str) -> str:
    """Check ``HOST:PORT``, and keep it as text: nginx needs the brackets of IPv6."""
    try:
        parse_worker(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
