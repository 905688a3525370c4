"""Options that scripts share, and what their values may be."""

import argparse
import secrets
from collections.abc import Sequence
from pathlib import Path

from benchmarks.clients import CLIENTS
from benchmarks.clients.http import Endpoint
from realtime.netem.conditions import NetworkConditions


def add_common(parser: argparse.ArgumentParser, runs: int, networks: Sequence[str]) -> None:
    """Add the options that every script has."""
    parser.add_argument("--quick", action="store_true", help="a rough answer, in some 20 seconds")
    parser.add_argument("--url", type=_url, help="a server that runs already (default: start one)")
    parser.add_argument("--hub", default="auto", help="the hub of the server (%(default)s)")
    parser.add_argument(
        *("--transports", "-t"),
        type=transport_names,
        default=[*CLIENTS],
        metavar="NAME,…",
        help=f"which of {', '.join(CLIENTS)} (all)",
    )
    parser.add_argument(
        "--network",
        action="append",
        type=_network,
        metavar="rtt=100ms,…",
        help=f"what lies between server and readers; may be repeated ({', '.join(networks)})",
    )
    parser.add_argument(
        "--runs", type=positive_int, default=runs, help="of every cell (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1_000_000), help="of all chance (by chance)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder of result files (%(default)s)"
    )


def add_head_bytes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--head-bytes",
        type=positive_int,
        default=550,
        metavar="N",
        help="heads of requests are filled up to so many bytes; Chromium's are some 550, without "
        "cookies (%(default)s)",
    )


def transport_names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CLIENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CLIENTS)}")
    return names


def _url(text: str) -> str:
    try:
        secured = Endpoint(text).tls
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if secured:
        raise argparse.ArgumentTypeError(f"not an http:// address, and TLS is not measured: {text}")
    return text


def _network(text: str) -> str:
    try:
        return str(NetworkConditions.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def ints(text: str) -> list[int]:
    return [positive_int(one) for one in text.split(",")]


def floats(text: str) -> list[float]:
    return [positive(one) for one in text.split(",")]
