"""The command ``realtime``: parse the command line, run one command, return the exit status.

``realtime`` serves; ``realtime talk`` sends demo traffic; ``realtime proxy`` emulates a network
in front of a server; ``realtime cluster`` runs several servers, and ``realtime nginx``
prints the configuration of an nginx in front of them, ``realtime haproxy`` that of a haproxy;
``realtime ticket`` prints a ticket, and
``realtime capture`` records how a room is read, for Wireshark.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from realtime import logs
from realtime.brokers.choose import HubError
from realtime.cli import (
    capture,
    cluster,
    demo_traffic,
    haproxy,
    nginx,
    proxy,
    serve,
    stdio,
    ticket,
    worker,
)
from realtime.cli.config import CommandError, add_server_options, server_config
from realtime.server.sockets import raise_open_files


@dataclass(frozen=True, slots=True)
class Command:
    """One run of the program: `await run(config)` on the event loop of this name."""

    run: Callable[[Any], Coroutine[Any, Any, None]]
    config: Any
    loop: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line in this process; the result is the exit status."""

    def prepared() -> int:
        logs.configure()
        raise_open_files()
        return run(sys.argv[1:] if arguments is None else arguments)

    return stdio.run(prepared)


def run(arguments: Sequence[str]) -> int:
    """Parse `arguments` and run the command; wrong options end the process with status 2."""
    try:
        command = parse(arguments)
        with asyncio.Runner(loop_factory=_loop_factory(command.loop)) as runner:
            runner.run(command.run(command.config))
    except (CommandError, HubError, OSError) as error:
        print(f"realtime: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def parse(arguments: Sequence[str]) -> Command:
    """Turn the command line into a `Command`; wrong options end the process with status 2."""
    if list(arguments) == ["worker"]:  # only a master uses it, so no help and no error names it
        server = worker.read_config(sys.stdin)
        return Command(serve.run, server, server.event_loop)
    parser = _make_parser()
    options = parser.parse_args(arguments)
    match options.command:
        case None:
            server = server_config(options)
            return Command(serve.run, server, server.event_loop)
        case "cluster":
            if arguments[0] != "cluster":
                parser.error("write the options of a cluster after the word `cluster`")
            try:
                config = cluster.cluster_config(options)
                return Command(cluster.run, config, config.event_loop)
            except ValueError as error:
                parser.error(str(error))
        case "proxy":  # its delays need more than the whole milliseconds of uvloop's timers
            return Command(proxy.run, options, "asyncio")
        case "nginx":
            return Command(nginx.run, options, options.loop)
        case "haproxy":
            return Command(haproxy.run, options, options.loop)
        case "ticket":
            return Command(ticket.run, options, options.loop)
        case "capture":
            return Command(capture.run, options, options.loop)
        case _:
            return Command(demo_traffic.run, options, options.loop)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="realtime",
        allow_abbrev=False,  # else an option of a command could be taken for one of ours
        description="One chat room over nine transports, to compare how servers push to browsers.",
        epilog="A rate of 0 is switched off.  Each command has its own help: `realtime talk "
        "--help` for demo traffic, `realtime proxy --help` for an emulated network, `realtime "
        "cluster --help` for several processes, `realtime nginx --help` or `realtime haproxy "
        "--help` for a proxy in front, `realtime ticket --help` for a ticket of a server with "
        "--access tickets, `realtime capture --help` for a capture file of a room.",
    )
    # Added first: argparse lists the commands before the many options of a server.
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    add_server_options(parser)
    others = {
        "talk": demo_traffic,
        "proxy": proxy,
        "nginx": nginx,
        "haproxy": haproxy,
        "ticket": ticket,
        "capture": capture,
    }
    for name, module in others.items():
        module.add_options(commands.add_parser(name, help=module.HELP, description=module.HELP))
    cluster.add_options(
        commands.add_parser(
            "cluster", help=cluster.HELP, description=cluster.HELP, allow_abbrev=False
        )
    )
    return parser


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed, unless `name` asks for asyncio's own."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
