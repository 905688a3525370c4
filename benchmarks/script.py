"""What all scripts share: the command line, runs in a mixed order, the file, and the table.

A benchmark says which cells it has (a transport, a network, a size …) and how one cell is measured
once.  Here every cell is measured once per run, in an order that is drawn anew for each run, so
that whatever slows the machine for a while falls on all of them alike.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import re
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import URLError

from benchmarks import stats
from benchmarks.audit import Audit
from benchmarks.clients import CLIENTS, BadResponse, Refused
from benchmarks.crowd import Silent
from benchmarks.stand import Stand, StandError
from benchmarks.stats import Interval
from realtime import __version__
from realtime.network import Network

try:
    from tabulate import tabulate
    from tqdm import tqdm
except ImportError as error:
    raise SystemExit(f"{error}: the benchmarks need `pip install realtime[bench]`") from error

Factors = dict[str, Any]
# Exit statuses: a measurement that cannot be trusted is not one that could not be made.
FAILED, UNTRUE, INTERRUPTED = 1, 3, 130
_NUMBERS = re.compile(r"\[\s*-?\d[-+\d.e,\s]*\]")


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a cell."""

    unit: str
    label: str


@dataclass
class Sample:
    """What one run of one cell gave.

    `latencies` (ms) are kept whole where percentiles are made of them; `late` and `deaf` (seconds)
    are the generator's own faults.
    """

    measures: dict[str, float | None]
    latencies: list[float] = field(default_factory=list)
    audit: Audit | None = None
    unacknowledged: int = 0
    broken: int = 0
    miscounted: int = 0  # counts of bytes that should be equal and are not
    late: list[float] = field(default_factory=list)
    deaf: float = 0.0


@dataclass
class Cell:
    factors: Factors
    samples: list[Sample] = field(default_factory=list)


PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
LATENCY_MEASURES = {
    "p50": Measure("ms", "half of the messages had come after"),
    "p90": Measure("ms", "nine of ten had come after"),
    "p99": Measure("ms", "99 of 100 had come after"),
    "max": Measure("ms", "the last of all came after"),
}


def percentiles(latencies: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(latencies)
    return {
        name: stats.percentile(ordered, percent) if ordered else None
        for name, percent in PERCENTILES.items()
    }


# --- a benchmark ---------------------------------------------------------------------------------


class Benchmark(ABC):
    """One question.  `quick` replaces defaults of options; what takes long is said in `--help`."""

    name: ClassVar[str]
    question: ClassVar[str]
    examples: ClassVar[str]
    factors: ClassVar[tuple[str, ...]]
    measures: ClassVar[Mapping[str, Measure]]
    quick: ClassVar[Mapping[str, Any]]
    networks: ClassVar[tuple[str, ...]] = ("none",)
    runs: ClassVar[int] = 5

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self.stack = stack
        self.notes: list[str] = []
        self.stand = self.start()

    @classmethod
    @abstractmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options that this question has alone."""

    def start(self) -> Stand:
        """Start a server, which ends with the script."""
        return self.stack.enter_context(Stand(self.options.url, self.options.hub))

    @abstractmethod
    def cells(self) -> list[Factors]:
        """Give all cells, in the order of the table."""

    @abstractmethod
    def measure(self, factors: Factors, chance: random.Random) -> Sample:
        """Measure one cell once."""

    def predict(self, factors: Factors) -> dict[str, float]:
        """Give what the model predicts for a cell, for those measures that it predicts."""
        return {}

    def order(self, cells: list[Cell], chance: random.Random) -> Iterable[Cell]:
        """Give the cells in the order in which a run measures them."""
        return chance.sample(cells, len(cells))

    def distribution(self, factors: Factors) -> list[tuple[float, float]] | None:
        """Give the corners of the distribution that the model predicts, as (ms, share)."""
        return None

    def more(self, cells: list[Cell]) -> dict[str, Any]:
        """Give what this question adds to the result file."""
        return {}

    def url(self, factors: Factors) -> str:
        """Where the readers of a cell connect: behind its network."""
        return self.stand.through(Network.parse(factors["network"]), self.options.seed)

    def grid(self, **values: Sequence[Any]) -> list[Factors]:
        """Combine all values of all factors."""
        cells: list[Factors] = [{}]
        for name, ones in values.items():
            cells = [{**cell, name: one} for cell in cells for one in ones]
        return cells


# --- running -------------------------------------------------------------------------------------


def main(benchmark: type[Benchmark], arguments: Sequence[str] | None = None) -> int:
    """Run a script; the result is its exit status."""
    options = _parse(benchmark, arguments)
    started = datetime.now(UTC)
    begin = time.monotonic(), time.process_time()
    cells: list[Cell] = []
    trouble: str | None = None
    with ExitStack() as stack:
        try:
            bench = benchmark(options, stack)
            about = bench.stand.about()
            cells = [Cell(factors) for factors in bench.cells()]
            _run(bench, cells, options)
        except KeyboardInterrupt:
            trouble = "interrupted: what was done until then is here"
        except (StandError, Silent, Refused, BadResponse, URLError, OSError) as error:
            trouble = f"{type(error).__name__}: {_reason(error)}"
        if not any(cell.samples for cell in cells):
            print(f"{benchmark.name}: {trouble}", file=sys.stderr)
            return INTERRUPTED if trouble and trouble.startswith("interrupted") else FAILED
        result = _result(bench, cells, options, about)
    seconds = time.monotonic() - begin[0]
    result |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "complete": trouble is None,
    }
    result["generator"]["cpu_share"] = round((time.process_time() - begin[1]) / seconds, 3)
    if trouble:
        result["notes"].append(trouble)
    path = save(result, options.out)
    print(describe(result))
    print(f"written to {path}")
    return _status(result, trouble)


def _reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return f"{error.status} {error.code}: {error.message}"
    return str(error)


def _status(result: Mapping[str, Any], trouble: str | None) -> int:
    if trouble is not None:
        return INTERRUPTED if trouble.startswith("interrupted") else FAILED
    return 0 if trusted(result["correctness"]) else UNTRUE


def trusted(correctness: Mapping[str, Any]) -> bool:
    faults = ("lost", "doubled", "misplaced", "disagreeing", "unacknowledged", "miscounted")
    return not any(correctness.get(name) for name in faults)


def _run(bench: Benchmark, cells: list[Cell], options: argparse.Namespace) -> None:
    chance = random.Random(options.seed)
    with tqdm(total=options.runs * len(cells), desc=bench.name, disable=None, leave=False) as bar:
        for _ in range(options.runs):
            for cell in bench.order(cells, chance):
                bar.set_postfix_str(" ".join(map(str, cell.factors.values())))
                cell.samples.append(bench.measure(cell.factors, chance))
                bar.update()


# --- the command line ----------------------------------------------------------------------------


def _parse(benchmark: type[Benchmark], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark.name}",
        description=benchmark.question,
        epilog=f"examples:\n{benchmark.examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_common(parser, benchmark)
    benchmark.add_options(parser)
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--quick" in arguments:
        parser.set_defaults(**{n: v for n, v in benchmark.quick.items() if n != "network"})
    options = parser.parse_args(arguments)
    usual = benchmark.quick.get("network") if options.quick else None
    # An option that may be repeated adds to its default, so it has none.
    options.network = options.network or usual or [*benchmark.networks]
    return options


def _add_common(parser: argparse.ArgumentParser, benchmark: type[Benchmark]) -> None:
    parser.add_argument("--quick", action="store_true", help="a rough answer, in some 20 seconds")
    parser.add_argument("--url", help="a server that runs already (default: start one)")
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
        help="what lies between server and readers; may be repeated "
        f"({', '.join(benchmark.networks)})",
    )
    parser.add_argument(
        "--runs", type=positive_int, default=benchmark.runs, help="of every cell (%(default)s)"
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


def _network(text: str) -> str:
    try:
        return str(Network.parse(text))
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


# --- the result ----------------------------------------------------------------------------------


def _result(
    bench: Benchmark, cells: list[Cell], options: argparse.Namespace, about: Mapping[str, str]
) -> dict[str, Any]:
    done = [cell for cell in cells if cell.samples]
    samples = [sample for cell in done for sample in cell.samples]
    return {
        "benchmark": bench.name,
        "realtime": __version__,
        "seed": options.seed,
        "settings": {name: value for name, value in vars(options).items() if name != "out"},
        "machine": machine(),
        "versions": versions(),
        "server": about,
        "correctness": _correctness(samples),
        "generator": _generator(samples),
        "measures": {
            name: {"unit": measure.unit, "label": measure.label}
            for name, measure in bench.measures.items()
        },
        "factors": [*bench.factors],
        "cells": [_cell(bench, cell, options.seed) for cell in done],
        "notes": bench.notes,
        **bench.more(done),
    }


def _cell(bench: Benchmark, cell: Cell, seed: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "factors": cell.factors,
        "runs": [
            {name: _short(sample.measures.get(name)) for name in bench.measures}
            for sample in cell.samples
        ],
        "summary": {name: interval(summarise(cell.samples, name, seed)) for name in bench.measures},
        "theory": {name: _short(value) for name, value in bench.predict(cell.factors).items()},
    }
    pooled = [latency for sample in cell.samples for latency in sample.latencies]
    if pooled:
        told["ecdf"] = [[_short(x), round(share, 5)] for x, share in stats.ecdf(pooled)]
        told["theory_ecdf"] = bench.distribution(cell.factors)
        told["samples"] = [[_short(x) for x in sample.latencies] for sample in cell.samples]
    return told


def summarise(samples: Sequence[Sample], name: str, seed: int) -> Interval | None:
    """The median over runs; but a percentile is that of all messages of all runs.

    The one message in a thousand that took long came in one run; a median would forget it.
    """
    latencies = [sample.latencies for sample in samples if sample.latencies]
    if name in PERCENTILES and latencies:
        return stats.bootstrap_percentile(latencies, PERCENTILES[name], seed)
    values = [value for sample in samples if (value := sample.measures.get(name)) is not None]
    return stats.bootstrap(values, seed) if values else None


def interval(found: Interval | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {
        "value": _short(found.value),
        "low": _short(found.low),
        "high": _short(found.high),
    }


def _short(value: float | None) -> float | None:
    """Keep five digits: nobody measured more."""
    return None if value is None else float(f"{value:.5g}")


def _correctness(samples: Sequence[Sample]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for sample in samples:
        counts["unacknowledged"] += sample.unacknowledged
        counts["broken"] += sample.broken
        counts["miscounted"] += sample.miscounted
        if (audit := sample.audit) is not None:
            counts["acknowledged"] += audit.acknowledged
            counts["deliveries"] += audit.acknowledged * audit.readers
            counts["gaps"] += sum(audit.gaps.values())
            counts["disagreeing"] += len(audit.disagreeing)
            for name in ("lost", "doubled", "misplaced"):
                counts[name] += sum(map(len, getattr(audit, name).values()))
    return dict(counts)


def _generator(samples: Sequence[Sample]) -> dict[str, float | None]:
    late = sorted(1000 * seconds for sample in samples for seconds in sample.late)
    return {
        "late_p99_ms": _short(stats.percentile(late, 99)) if late else None,
        "late_max_ms": _short(late[-1]) if late else None,
        "deaf_max_ms": _short(1000 * max((sample.deaf for sample in samples), default=0.0)),
    }


def machine() -> dict[str, Any]:
    """What a figure depends on more than on any code."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": pages,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.+)$", file.read(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def versions() -> dict[str, str]:
    names = ("tornado", "redis", "hiredis", "prometheus_client")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def save(result: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['benchmark']}.json"
    text = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
    # A list of numbers is one line, and not thousands.
    text = _NUMBERS.sub(lambda match: "".join(match[0].split()).replace(",", ", "), text)
    path.write_text(text, encoding="utf-8")
    return path


# --- the table -----------------------------------------------------------------------------------


def describe(result: Mapping[str, Any]) -> str:
    """Correctness first, then a row per cell, then what is to be known about it."""
    lines = ["", *_correctness_lines(result), ""]
    names = [*result["measures"]]
    units = {name: result["measures"][name]["unit"] for name in names}
    heads = [*result["factors"], *(f"{n} ({units[n]})" if units[n] else n for n in names)]
    rows = [
        [*(cell["factors"].get(factor, "") for factor in result["factors"])]
        + [_figure(cell, name) for name in names]
        for cell in result["cells"]
    ]
    lines.append(tabulate(rows, headers=heads, disable_numparse=True))
    lines += [
        "",
        "value [95 % interval over runs] | what theory predicts, and how far off it is",
    ]
    if result["settings"]["runs"] < stats.FEWEST_RUNS:
        lines.append(f"Of fewer than {stats.FEWEST_RUNS} runs an interval says little.")
    lines += result["notes"]
    return "\n".join(lines)


def _correctness_lines(result: Mapping[str, Any]) -> list[str]:
    told, generator = result["correctness"], result["generator"]
    verdict = "" if trusted(told) else "!!! "
    counts = ", ".join(f"{told.get(name, 0)} {name}" for name in ("lost", "doubled", "misplaced"))
    lines = [
        f"{verdict}{result['benchmark']}: {counts}, of {told.get('deliveries', 0)} deliveries; "
        f"{told.get('unacknowledged', 0)} unacknowledged, {told.get('gaps', 0)} gaps, "
        f"{told.get('broken', 0)} connections broken"
    ]
    if generator["late_max_ms"] is not None:
        lines.append(
            f"the generator itself was late by {generator['late_p99_ms']:g} ms (p99), "
            f"{generator['late_max_ms']:g} ms (max), deaf for at most "
            f"{generator['deaf_max_ms']:g} ms; seed {result['seed']}"
        )
    return lines


def _figure(cell: Mapping[str, Any], name: str) -> str:
    summary = cell["summary"].get(name)
    if summary is None:
        return "–"
    text = _number(summary["value"])
    if summary["low"] is not None:
        text += f" [{_number(summary['low'])}–{_number(summary['high'])}]"
    predicted = cell["theory"].get(name)
    if predicted is not None:
        text += f" | {_number(predicted)} {_off(summary['value'], predicted)}"
    return text


def _off(value: float, predicted: float) -> str:
    """The disagreement: as a share of what was predicted, unless that is nothing."""
    if predicted == 0:
        return f"{value:+.3g}"
    return f"{100 * (value / predicted - 1):+.0f} %"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
