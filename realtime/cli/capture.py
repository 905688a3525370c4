"""``realtime capture``: record how a room is read, as a capture file for Wireshark.

    realtime capture http://127.0.0.1:8000 --room lobby --seconds 10 > lesson.pcapng

The command opens a connection by each transport, and records these connections.  The server copies
the bytes of a request only to a client that knows the secret in it (see `server.tap`).  So the file
has what was sent in the room, but no connection of another client.
"""

import argparse
import asyncio
import re
import signal
import sys
from pathlib import Path

from realtime.cli.config import CommandError
from realtime.web import plan

HELP = "record how a room is read by each transport, as a capture file for Wireshark"

# Their clients are for the recorder: a server needs none.
TRANSPORTS = (*plan.TRANSPORTS, "webtransport")
_TICKET = re.compile(r"[!-~]+")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "url", nargs="?", default="http://127.0.0.1:8000", help="the server (%(default)s)"
    )
    parser.add_argument("--room", default="lobby", help="the room (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="N", help="how long (%(default)s)"
    )
    parser.add_argument(
        "--transport",
        type=_transports,
        metavar="NAMES",
        help=f"some of {', '.join(TRANSPORTS)}, separated by commas (all that the server has)",
    )
    parser.add_argument(
        "--ticket",
        type=_ticket,
        metavar="FILE",
        help="a file with a ticket to read the room, for a server with --access tickets",
    )


def _transports(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in TRANSPORTS]:
        raise argparse.ArgumentTypeError(f"no transport: {', '.join(unknown)}")
    return names


def _ticket(path: str) -> str:
    # Not the ticket itself: every user of a machine sees the arguments of a process.
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not _TICKET.fullmatch(text):  # it becomes a header
        raise argparse.ArgumentTypeError(f"there is no ticket in {path}")
    return text


async def run(options: argparse.Namespace) -> None:
    """Write the file to standard output; raises `CommandError`."""
    if sys.stdout.isatty():
        raise CommandError("capture writes a file: realtime capture > lesson.pcapng")
    stop = asyncio.Event()  # Ctrl-C ends the recording, and completes the file
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    from realtime.cli.recorder import record  # only here: no other command needs a client

    await record(options, sys.stdout.buffer, stop)
