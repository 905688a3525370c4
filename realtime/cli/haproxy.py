"""``realtime haproxy``: print a configuration of haproxy, with the reason beside each line.

The text is built in `cluster.haproxy_config`.
"""

import argparse

from realtime.cli.config import CommandError
from realtime.cli.proxy_options import add_site, add_workers, listen_of, workers_of
from realtime.cluster.haproxy_config import configuration

HELP = "print a configuration of haproxy for several workers, with the reason beside each line"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command: the workers, and the site in front of them."""
    add_workers(parser, "haproxy")
    add_site(parser).add_argument(
        "--tls",
        metavar="FILE",
        help="a certificate, its chain and its key in one file in PEM: serve https, over HTTP/2, "
        "with WebSockets on the same connection (RFC 8441)",
    )


async def run(options: argparse.Namespace) -> None:
    """Print the configuration; raises `CommandError` if these options cannot work together."""
    try:
        text = configuration(
            workers=list(workers_of(options)),
            listen=listen_of(options),
            routing=options.routing,
            tls=options.tls,
            name=options.name,
            root_path=options.root_path,
        )
    except ValueError as error:
        raise CommandError(error) from error
    print(text, end="")
