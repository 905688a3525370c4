"""``python -m benchmarks``: run all benchmarks, one after the other, and write the report."""

import argparse
import importlib
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.method.options import positive_int
from benchmarks.method.runner import INTERRUPTED, Benchmark, run
from benchmarks.report.__main__ import main as write_report
from realtime.cli import stdio

# Module: class, in the order of the report.
CLASSES = {
    "latency": "Latency",
    "poll_gap": "PollGap",
    "overhead": "Overhead",
    "compression": "Compression",
    "idle_cost": "IdleCost",
    "fanout": "Fanout",
    "capacity": "Capacity",
    "slow_reader": "SlowReader",
    "recovery": "Recovery",
    "session": "Session",
    "sticky": "Sticky",
    "publish": "Publish",
    "burst": "Burst",
    "fanout_cost": "FanoutCost",
    "c10k": "C10K",
    "multi_worker": "MultiWorker",
    "cost_breakdown": "CostBreakdown",
    "peers": "Peers",
    "tls": "TLS",
    "webtransport": "WebTransportCost",
}
# These start several servers themselves, so they cannot use --url.
STARTS_SERVERS = {
    *("compression", "sticky", "fanout_cost", "multi_worker", "peers", "tls", "webtransport"),
}


def find_benchmark(name: str) -> type[Benchmark]:
    """Import the class of a benchmark by its name."""
    module = importlib.import_module(f"benchmarks.{name}")
    found: type[Benchmark] = getattr(module, CLASSES[name])
    return found


def run_all(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks with the same seed; return the highest of their exit statuses."""
    options = _parse(arguments)
    begin = time.monotonic()
    worst = 0
    files = []
    for name in options.only:
        status = run(find_benchmark(name), _arguments(options, name))
        worst = max(worst, status)
        path = options.out / f"{name}.json"
        files += [str(path)] if path.exists() else []
        if status == INTERRUPTED:
            break
    if files:
        worst = max(worst, write_report([*files, "--out", str(options.out)]))
    print(f"total time: {time.monotonic() - begin:.0f} s")
    return worst


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="Each benchmark is also a script: python -m benchmarks.latency --help",
    )
    parser.add_argument("--quick", action="store_true", help="rough results, within 6 minutes")
    parser.add_argument("--url", help="a running server (default: start one)")
    parser.add_argument("--hub", default="auto", help="the hub that the server uses (%(default)s)")
    parser.add_argument(
        "--runs", type=positive_int, help="repetitions of every cell (default: as each script says)"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--out", type=Path, default=Path("results"), help="(%(default)s)")
    parser.add_argument(
        "--only",
        type=_names,
        default=[*CLASSES],
        metavar="NAME,…",
        help=f"some of {', '.join(CLASSES)}",
    )
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CLASSES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(CLASSES)}")
    return names


def _arguments(options: argparse.Namespace, name: str) -> list[str]:
    arguments = ["--seed", str(options.seed), "--out", str(options.out), "--hub", options.hub]
    arguments += ["--url", options.url] if options.url and name not in STARTS_SERVERS else []
    arguments += ["--runs", str(options.runs)] if options.runs else []
    return arguments + (["--quick"] if options.quick else [])


if __name__ == "__main__":
    sys.exit(stdio.run(run_all))
