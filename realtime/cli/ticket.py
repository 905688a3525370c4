"""``realtime ticket``: print a ticket, to try a server that was started with ``--access tickets``.

    realtime ticket --key secret.txt --rooms 'lobby,class-*' --actions read,speak --client ada

In production the application that knows its users signs the tickets; any library for JSON Web
Tokens does.
"""

import argparse
import time
from typing import Any

from realtime.cli.config import CommandError, count
from realtime.core.access import Action
from realtime.errors import RealtimeError
from realtime.limits import Limits
from realtime.protocol.tickets import Ticket, TicketsUnavailable
from realtime.server.key_file import read_keys

HELP = "print a ticket for a server that was started with --access tickets"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--key",
        dest="key_file",
        required=True,
        metavar="FILE",
        help="what signs: a secret, a private key in PEM, or a JWKS; the first private key of it",
    )
    parser.add_argument(
        "--rooms",
        type=_list,
        default=["*"],
        metavar="ROOMS",
        help="names, separated by commas; a * stands for any characters (all rooms)",
    )
    parser.add_argument(
        "--actions",
        type=_list,
        default=["read", "speak"],
        metavar="ACTIONS",
        help=f"some of {', '.join(Action)}, separated by commas (read,speak)",
    )
    parser.add_argument("--client", metavar="ID", help="the client id that the holder has (any)")
    parser.add_argument("--name", help="the name that the holder has (any)")
    parser.add_argument(
        "--minutes",
        type=count,
        default=60,
        metavar="N",
        help="how long the ticket is valid (%(default)s)",
    )


async def run(options: argparse.Namespace) -> None:
    """Print the ticket; raises `CommandError`."""
    claims = make_claims(options, time.time())
    try:
        print(read_keys(options.key_file).sign(claims))
    except TicketsUnavailable as error:
        raise CommandError(str(error)) from error
    except (OSError, ValueError) as error:
        raise CommandError(f"ticket --key: {error}") from error


def make_claims(options: argparse.Namespace, now: float) -> dict[str, Any]:
    """Build the claims of the ticket; raises `CommandError` if no server would accept them."""
    claims = {
        "sub": options.client,
        "name": options.name,
        "rooms": options.rooms,
        "actions": options.actions,
        "iat": int(now),
        "exp": int(now) + 60 * options.minutes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    try:
        Ticket.parse(claims, Limits()).check_time(now)
    except RealtimeError as error:
        raise CommandError(f"ticket: {error.message}") from None
    return claims


def _list(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(",")) if part]
