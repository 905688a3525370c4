"""Command-line options that all benchmarks share, and parsers of their values."""

import argparse
import secrets
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from realtime.client import ALL_CLIENTS, CLIENTS
from realtime.client.http import Endpoint
from realtime.netem.conditions import NetworkConditions

# WebTransport is measured where it can be had.
AVAILABLE = [name for name in ALL_CLIENTS if name in CLIENTS or find_spec("aioquic") is not None]


def add_common(parser: argparse.ArgumentParser, runs: int, networks: Sequence[str]) -> None:
    """Add the options that every benchmark has."""
    parser.add_argument("--quick", action="store_true", help="a rough result, in about 20 seconds")
    parser.add_argument("--url", type=_url, help="a running server (default: start one)")
    parser.add_argument("--hub", default="auto", help="the hub that the server uses (%(default)s)")
    parser.add_argument(
        *("--transports", "-t"),
        type=transport_names,
        default=AVAILABLE,
        metavar="NAME,…",
        help=f"some of {', '.join(ALL_CLIENTS)} (all)",
    )
    parser.add_argument(
        "--network",
        action="append",
        type=_network,
        metavar="rtt=100ms,…",
        help=f"network conditions before the readers; may be repeated ({', '.join(networks)})",
    )
    parser.add_argument(
        "--runs", type=positive_int, default=runs, help="repetitions of every cell (%(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=secrets.randbelow(1_000_000),
        help="of all random numbers (default: random)",
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
        help="pad request headers to this size; Chromium sends about 550 bytes without cookies "
        "(%(default)s)",
    )


def transport_names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ALL_CLIENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(ALL_CLIENTS)}")
        if name not in AVAILABLE:
            how = "pip install 'realtime-transports[webtransport]'"
            raise argparse.ArgumentTypeError(f"{name} needs aioquic: {how}")
    return names


def _url(text: str) -> str:
    try:
        secured = Endpoint(text).tls
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if secured:
        raise argparse.ArgumentTypeError(f"the benchmarks measure http:// only, not TLS: {text}")
    return text


def _network(text: str) -> str:
    try:
        return str(NetworkConditions.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be an integer above 0")
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


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return the type of an option that takes some of these names."""

    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return found

    return names
