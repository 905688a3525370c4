"""``realtime nginx``: print a configuration of nginx, with the reason beside each line.

The text is built in `cluster.nginx_config`; `realtime cluster --nginx` runs nginx with the same.
"""

import argparse

from realtime.cli.config import CommandError
from realtime.cli.proxy_options import add_site, add_workers, listen_of, workers_of
from realtime.cluster.nginx_config import configuration

HELP = "print a configuration of nginx for several workers, with the reason beside each line"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command: the workers, and the site in front of them."""
    add_workers(parser, "nginx")
    add_site(parser).add_argument(
        "--tls", nargs=2, metavar=("CERT", "KEY"), help="files in PEM: serve https, over HTTP/2"
    )


async def run(options: argparse.Namespace) -> None:
    """Print the configuration; raises `CommandError` if these options cannot work together."""
    try:
        text = configuration(
            workers=list(workers_of(options)),
            listen=listen_of(options),
            routing=options.routing,
            tls=tuple(options.tls) if options.tls else None,
            name=options.name,
            root_path=options.root_path,
        )
    except ValueError as error:
        raise CommandError(error) from error
    print(text, end="")
