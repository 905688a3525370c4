"""The options of a server, and how they and the environment become one frozen `ServerConfig`.

This happens once, at the start; no code outside of `cli/` sees argparse.  `realtime cluster` takes
the same options, except for those of a single server.
"""

import argparse
import contextlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from realtime.brokers.redis.keys import DEFAULT_PREFIX, check_prefix
from realtime.limits import Limits
from realtime.protocol.addresses import is_loopback
from realtime.protocol.origin import parse_host_name
from realtime.server.config import ServerConfig, make_key
from realtime.server.forwarded import IPNetwork, parse_network
from realtime.transports.sockjs.transport import LEGACY_TRANSPORTS
from realtime.web.plan import PlanError, parse_plan

# Secrets can come from the environment: every user of a machine can read a command line.
HUB_VARIABLE, KEY_VARIABLE = "REALTIME_HUB", "REALTIME_KEY"

ACCESS_MODES = ("open", "class", "tickets")

# A heartbeat or a lease of 0 seconds would spin; these limits may be switched off by 0.
_MAY_BE_ZERO = {
    *("messages_per_second", "message_burst", "messages_per_second_per_connection"),
    *("messages_per_second_per_address", "messages_per_second_per_room"),
    *("joins_per_second_per_address", "joins_per_second_per_client"),
    *("presence_events", "wrong_keys_per_minute"),
    *("grace_seconds", "wait_seconds", "drain_seconds", "ticket_leeway_seconds"),
}
# The hub counts in milliseconds; a history of more than about thirty years is a mistake.
_MIN_AMOUNT, _MAX_AMOUNT = 0.001, 1e9

# Each network emulator listens at its own port; a class of forty needs eight.
_MAX_NETWORKS = 1000

# With `wrong_keys_per_minute`, a program needs months to guess even six digits.
_MIN_KEY_LENGTH = 6
_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", re.ASCII)

# The groups of the help, and the limits in each.
_LIMIT_GROUPS = {
    "limits: messages and history": (
        *("text_bytes", "body_bytes", "header_bytes", "name_length"),
        *("messages_per_second", "message_burst"),
        *("messages_per_second_per_connection", "messages_per_second_per_address"),
        *("messages_per_second_per_room", "kept_ids"),
        *("history_events", "history_seconds", "presence_events"),
        *("room_bytes", "history_bytes", "history_bytes_per_address"),
        *("kept_rooms", "kept_rooms_per_address", "kept_rooms_per_client"),
        *("rooms", "rooms_per_address", "rooms_per_client", "list_rows", "idle_room_seconds"),
    ),
    "limits: polls and streams": (
        *("answer_events", "answer_bytes", "wait_seconds", "heartbeat_seconds"),
        *("write_deadline_seconds", "push_bytes", "send_buffer_bytes"),
    ),
    "limits: connections": (
        *("connections", "connections_per_address", "request_seconds", "idle_seconds"),
        *("handshakes", "handshakes_per_address"),
        *("status_connections", "status_connections_per_address", "reserved_files"),
        *("address_share", "taps", "taps_per_address", "taps_per_client", "tap_bytes"),
    ),
    "limits: simulated networks": (
        *(
            "networks_per_address",
            "networks_per_client",
            "network_lease_seconds",
            "network_connections",
        ),
        *("network_connections_per_address", "network_connections_per_emulator", "network_bytes"),
    ),
    "limits: tickets": ("ticket_bytes", "ticket_leeway_seconds", "kept_tickets"),
    "limits: presence, the key and shutdown": (
        *("lease_seconds", "grace_seconds", "joins_per_second_per_address"),
        *("joins_per_second_per_client", "streams_per_client"),
        *("drain_seconds", "wrong_keys_per_minute"),
    ),
}

Group = argparse._ArgumentGroup


class CommandError(Exception):
    """The command cannot do what was asked; the message says why."""


def server_config(options: argparse.Namespace, *, default_hub: str = "auto") -> ServerConfig:
    """Build the configuration from the parsed options and the environment.

    An option wins over its environment variable, and that over the default.  Raises ValueError if
    the options contradict each other.
    """
    return ServerConfig(
        host=options.host,
        port=options.port,
        port_count=options.port_count,
        webtransport=options.webtransport,
        webtransport_port=options.webtransport_port,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        hub=options.hub or os.environ.get(HUB_VARIABLE) or default_hub,
        prefix=options.prefix,
        allow_host=tuple(options.allow_host),
        trust_proxy=tuple(options.trust_proxy),
        root_path=options.root_path,
        key=_key(options.key or os.environ.get(KEY_VARIABLE)),
        access=options.access or _default_access(options),
        ticket_keys=_ticket_keys(options),
        plan=_plan(options.plan),
        network_count=options.network_count,
        sockjs_also=tuple(options.sockjs_also),
        loop=options.loop,
        fault_controls=options.fault_controls,
        limits=Limits(**{limit.name: getattr(options, limit.name) for limit in Limits.named()}),
    )


def _default_access(options: argparse.Namespace) -> str:
    """Return the mode of a server whose operator chose none: by who can reach it."""
    nginx = getattr(options, "nginx", None)  # of `realtime cluster`: its host and port
    hosts = [options.host] if nginx is None else [options.host, nginx[0]]
    proxied = options.trust_proxy or options.allow_host
    return "open" if all(map(is_loopback, hosts)) and not proxied else "class"


def _key(text: str | None) -> str:
    """Return the lecturer's key, by default a new one; raises `CommandError` if it is short."""
    if text and len(text) < _MIN_KEY_LENGTH:
        raise CommandError(
            f"--key and ${KEY_VARIABLE}: a key has at least {_MIN_KEY_LENGTH} characters, "
            "or it is soon guessed"
        )
    return text or make_key()


def _ticket_keys(options: argparse.Namespace) -> str | None:
    """Return the absolute path of the key file, if the mode needs one; raises `CommandError`."""
    if (options.access == "tickets") != bool(options.ticket_keys):
        raise CommandError("--access tickets and --ticket-keys FILE need each other")
    return os.path.abspath(options.ticket_keys) if options.ticket_keys else None


def _plan(path: str | None) -> str:
    """Return the JSON of the plan in this file; raises `CommandError` if it is none."""
    if path is None:
        return ""
    try:
        text = Path(path).read_text("utf-8")
        parse_plan(text)
    except UnicodeDecodeError as error:
        raise CommandError(f"--plan {path}: this is not UTF-8: {error.reason}") from error
    except PlanError as error:
        raise CommandError(f"--plan {path}, {error}") from error
    return text


# --- options -------------------------------------------------------------------------------------


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a single server, in groups."""
    address = parser.add_argument_group("address and TLS")
    add_address(address, port=8000)
    address.add_argument(
        "--lanes",
        dest="port_count",
        type=count,
        default=1,
        metavar="N",
        help="listen on N ports, the next ones where they are free: a browser opens at most six "
        "connections to each (%(default)s)",
    )
    address.add_argument(
        "--webtransport-port",
        type=port_number,
        metavar="PORT",
        help="UDP port of WebTransport, which needs the extra `webtransport`; 0: a free one "
        "(the number of the first port)",
    )
    add_no_webtransport(address)
    add_tls(address)
    hub = parser.add_argument_group("hub")
    hub.add_argument(
        "--hub",
        metavar="HUB",
        help="auto, memory, spawn, or the address of your Redis: redis://… rediss://… unix://…, "
        "and with several servers redis+sentinel://host,host/NAME redis+cluster://host,host "
        f"(${HUB_VARIABLE}, or else auto)",
    )
    add_prefix(hub)
    add_proxy_options(parser)
    add_access(parser)
    pages = parser.add_argument_group("pages and network conditions")
    pages.add_argument(
        "--key",
        help="what the lecturer's page needs to reset a room and to direct a class "
        f"(${KEY_VARIABLE}, or else a new one at each start)",
    )
    add_plan(pages)
    add_fault_controls(pages)
    pages.add_argument(
        "--networks",
        dest="network_count",
        type=_network_count,
        default=0,
        metavar="N",
        help="offer N network emulators to the pages, each at its own port; the event loop "
        "is then asyncio (%(default)s)",
    )
    add_runtime_options(parser)
    add_limits(parser)


def add_access(parser: argparse.ArgumentParser) -> None:
    """Add the mode that says who may do what."""
    group = parser.add_argument_group("who may do what")
    group.add_argument(
        "--access",
        choices=ACCESS_MODES,
        help="open: everybody reads and speaks everywhere; class: as well, and the lecturer's key "
        "mutes and removes clients and locks rooms; tickets: a request may do what its JSON Web "
        "Token says (default: open where only this machine can connect, otherwise class)",
    )
    group.add_argument(
        "--ticket-keys",
        metavar="FILE",
        help="what verifies tickets: a secret for HS256, public keys in PEM for EdDSA or RS256, or "
        "a JWKS; the file is read again when it changes",
    )


def add_address(group: Group, *, port: int) -> None:
    """Add ``--host`` and ``--port``; `port` is the default."""
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    group.add_argument(
        "--port", type=port_number, default=port, help="port; 0: a free one (%(default)s)"
    )


def add_no_webtransport(group: Group) -> None:
    group.add_argument(
        "--no-webtransport",
        dest="webtransport",
        action="store_false",
        help="open no UDP port, and have no WebTransport",
    )


def add_tls(group: Group) -> None:
    """Add the files of HTTPS; they are read when the server starts."""
    group.add_argument(
        "--tls-certificate",
        metavar="FILE",
        help="serve https with this certificate and its chain, in PEM",
    )
    group.add_argument("--tls-key", metavar="FILE", help="its key, if it is in another file")


def add_plan(group: Group) -> None:
    group.add_argument(
        "--plan",
        metavar="FILE",
        help="the steps of your lesson, as JSON: docs/class.md lists the fields; by default a "
        "lesson of 45 minutes",
    )


def add_prefix(group: Group) -> None:
    group.add_argument(
        "--prefix",
        type=_prefix,
        default=DEFAULT_PREFIX,
        metavar="NAME",
        help="the first part of all keys and channels in Redis: give each deployment that shares "
        "a Redis its own (%(default)s)",
    )


def add_fault_controls(group: Group) -> None:
    group.add_argument(
        "--fault-controls",
        action="store_true",
        help="let the lecturer's key freeze, kill and disconnect parts of this system from the "
        "page /demos/faults.html; never on a server that others rely on (off)",
    )


def add_proxy_options(parser: argparse.ArgumentParser) -> None:
    """Add what a server must know about the proxy in front of it."""
    group = parser.add_argument_group("behind a proxy")
    group.add_argument(
        "--trust-proxy",
        action="append",
        default=[],
        type=_network,
        metavar="ADDRESS",
        help="believe the X-Forwarded-For of this proxy, or of a network of proxies such as "
        "10.0.0.0/8; from others the field is ignored; may be repeated",
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        type=_host_name,
        metavar="NAME",
        help="one more host name by which browsers may address this server, or *.example.org for "
        "all names below one; may be repeated",
    )
    add_root_path(group)


def add_root_path(group: Group) -> None:
    group.add_argument(
        "--root-path",
        type=_root_path,
        default="",
        metavar="PATH",
        help="the path below which browsers reach this server through the proxy, as /chat; the "
        "proxy may remove it from its requests, or not",
    )


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the event loop and for the legacy transports of SockJS."""
    group = parser.add_argument_group("event loop and SockJS")
    group.add_argument(
        "--loop",
        choices=("auto", "asyncio"),
        default="auto",
        help="the event loop; auto is uvloop where it is installed (%(default)s)",
    )
    group.add_argument(
        "--sockjs-also",
        action="append",
        default=[],
        choices=sorted(LEGACY_TRANSPORTS),
        help="one more transport of SockJS, for browsers that have none of the others; off by "
        "default, since a script tag sends no Origin; may be repeated",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add one option for each limit; its help is the reason of the limit.

    Every limit must be in one of `_LIMIT_GROUPS`, so none is missing from the help.
    """
    limits = {limit.name: limit for limit in Limits.named()}
    for title, names in _LIMIT_GROUPS.items():
        group = parser.add_argument_group(title)
        for limit in map(limits.pop, names):
            reason = limit.metadata["reason"].replace("%", "%%")
            group.add_argument(
                "--" + limit.name.replace("_", "-"),
                type=_type_of(limit.name, limit.type),
                default=limit.default,
                metavar="N",
                help=f"{reason} (%(default)s)",
            )
    assert not limits, f"these limits are in no group: {', '.join(limits)}"


def stop_signals() -> list[signal.Signals]:
    """List the signals that ask a program to stop.

    A terminal that closes sends SIGHUP; below ``nohup`` that is ignored, and stays so.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


# --- the values of options -----------------------------------------------------------------------


# argparse prints the message of an ArgumentTypeError after the name of the option.


def port_number(text: str) -> int:
    """Parse a port; 0 asks the kernel for a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    """Parse a whole number above 0.  `isdecimal` also refuses signs, spaces and underscores."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def count_or_zero(text: str) -> int:
    return 0 if text == "0" else count(text)


def _network_count(text: str) -> int:
    count = count_or_zero(text)
    if count > _MAX_NETWORKS:
        raise argparse.ArgumentTypeError(f"must be at most {_MAX_NETWORKS}: each needs a port")
    return count


def _type_of(name: str, kind: object) -> Callable[[str], float]:
    """Return the parser for a limit: whole numbers, or seconds and rates."""
    if kind is int:
        return count
    return _amount if name in _MAY_BE_ZERO else _positive_amount


def _amount(text: str) -> float:
    # The comparison also refuses `nan` and `inf`, which `float` accepts.
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= _MAX_AMOUNT:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to {_MAX_AMOUNT:g}")


def _positive_amount(text: str) -> float:
    if (amount := _amount(text)) >= _MIN_AMOUNT:
        return amount
    raise argparse.ArgumentTypeError(f"must be a number, at least {_MIN_AMOUNT:g}")


def _host_name(text: str) -> str:
    try:
        return parse_host_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _prefix(text: str) -> str:
    try:
        return check_prefix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _root_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not _ROOT_PATH.fullmatch(path):
        raise argparse.ArgumentTypeError(
            f"{text} is no path below which a server can be: write one like /chat"
        )
    return path


def _network(text: str) -> IPNetwork:
    try:
        return parse_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write 10.0.0.2 or 10.0.0.0/8") from None
