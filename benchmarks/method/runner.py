"""The runner of all benchmarks: command line, runs in random order, result file and table.

A benchmark defines its cells (combinations of transport, network, size …) and how to measure one
cell once.  The runner measures every cell once per run and shuffles the cells in each run, so that
a temporary slowdown of the machine affects all of them equally.
"""

import argparse
import json
import random
import re
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.load.generator import ServerUnresponsive
from benchmarks.method import stats
from benchmarks.method.machine import machine, versions
from benchmarks.method.options import add_common
from benchmarks.method.samples import (
    Cell,
    Factors,
    Measure,
    Sample,
    correctness,
    generator,
    interval_json,
    short,
    summarise,
    trusted,
)
from benchmarks.method.testbed import ServerUnderTest, TestbedError
from benchmarks.method.thresholds import Threshold
from benchmarks.method.tidy import tidy_csv
from realtime import __version__
from realtime.client import BadResponse, Refused
from realtime.client.http import Endpoint
from realtime.client.protocols import make_protocol
from realtime.client.sansio import ClientProtocol
from realtime.client.webtransport import SessionOffer
from realtime.netem.conditions import NetworkConditions

try:
    from tqdm import tqdm

    from benchmarks.report.text import format_result
except ImportError as error:
    raise SystemExit(
        f"{error}: the benchmarks need more packages: `make bench`, or `pip install -e '.[bench]'`"
    ) from error

WEBTRANSPORT = "webtransport"
# Exit statuses: "the measurement failed" differs from "messages were lost, do not trust it".
FAILED, UNTRUSTED, INTERRUPTED = 1, 3, 130
_NUMBERS = re.compile(r"\[\s*-?\d[-+\d.e,\s]*\]")


# --- a benchmark ---------------------------------------------------------------------------------


class Benchmark(ABC):
    """One question, answered by measuring its cells.  `quick` replaces the defaults of options."""

    name: ClassVar[str]
    question: ClassVar[str]
    examples: ClassVar[str]
    factors: ClassVar[tuple[str, ...]]
    measures: ClassVar[Mapping[str, Measure]]
    quick: ClassVar[Mapping[str, Any]]
    networks: ClassVar[tuple[str, ...]] = ("none",)
    runs: ClassVar[int] = 5
    # Whether its readers can use UDP, too.
    over_udp: ClassVar[bool] = True

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self.stack = stack
        self.notes: list[str] = []
        self.sut = self.start()
        self._offers: dict[ServerUnderTest, SessionOffer | None] = {}

    @classmethod
    @abstractmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this benchmark has."""

    def start(self) -> ServerUnderTest:
        """Start a server, which stops with the script."""
        return self.stack.enter_context(ServerUnderTest(self.options.url, self.options.hub))

    def omit_unavailable(self) -> None:
        """Measure no WebTransport if the server has none, and note that."""
        wanted = self.options.transports
        if not {"transport", "way"} & {*self.factors}:
            return
        if WEBTRANSPORT in wanted and self.sut.webtransport() is None:
            if wanted == [WEBTRANSPORT]:
                raise TestbedError(f"{self.sut.url} has no WebTransport")
            self.options.transports = [name for name in wanted if name != WEBTRANSPORT]
            self.notes.append("The server has no WebTransport, so that has no row.")

    @abstractmethod
    def cells(self) -> list[Factors]:
        """Return all cells, in the order of the table."""

    @abstractmethod
    def measure(self, factors: Factors, rng: random.Random) -> Sample:
        """Measure one cell once."""

    def predict(self, factors: Factors) -> dict[str, float]:
        """Return the theoretical values of a cell, for the measures that theory predicts."""
        return {}

    def order(self, cells: list[Cell], rng: random.Random) -> Iterable[Cell]:
        """Return the cells in the order in which one run measures them."""
        return rng.sample(cells, len(cells))

    def distribution(self, factors: Factors) -> list[tuple[float, float]] | None:
        """Return the theoretical latency distribution as its corners (ms, share)."""
        return None

    def extra_fields(self, cells: list[Cell]) -> dict[str, Any]:
        """Return the fields that this benchmark adds to the result file."""
        return {}

    def thresholds(self, cells: list[Cell]) -> list[Threshold]:
        """Return the thresholds, with the values of the measured cells."""
        return []

    def url(self, network: str | None = None, sut: ServerUnderTest | None = None) -> str:
        """Return the URL for readers, behind a network; by default the one of `--network`."""
        conditions = NetworkConditions.parse(network or self.options.network[0])
        return (sut or self.sut).via_network(conditions, self.options.seed)

    def make_protocol(
        self,
        transport: str,
        endpoint: Endpoint,
        room: str,
        *,
        sut: ServerUnderTest | None = None,
        **options: Any,
    ) -> ClientProtocol:
        """Return a reader of `sut` at `endpoint`, which may be a network before it."""
        if transport == WEBTRANSPORT:
            sut = sut or self.sut
            if sut not in self._offers:
                self._offers[sut] = sut.webtransport()
            options["offer"] = offer = self._offers[sut]
            if offer is None:
                raise TestbedError(f"{sut.url} has no WebTransport")
            if endpoint.port == Endpoint(sut.url).port:
                endpoint = Endpoint(f"http://{offer.authority(endpoint)}", source=endpoint.source)
        return make_protocol(transport, endpoint, room, **options)

    def grid(self, **values: Sequence[Any]) -> list[Factors]:
        """Return all combinations of the values of all factors."""
        cells: list[Factors] = [{}]
        for name, ones in values.items():
            cells = [{**cell, name: one} for cell in cells for one in ones]
        return cells


# --- running -------------------------------------------------------------------------------------


def run(benchmark: type[Benchmark], arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark from its command line; return the exit status."""
    options = _parse(benchmark, arguments)
    started = datetime.now(UTC)
    begin = time.monotonic(), time.process_time()
    cells: list[Cell] = []
    failure: str | None = None
    with ExitStack() as stack:
        try:
            bench = benchmark(options, stack)
            about = bench.sut.describe()
            bench.omit_unavailable()
            cells = [Cell(factors) for factors in bench.cells()]
            _measure_all(bench, cells, options)
        except KeyboardInterrupt:
            failure = "interrupted: the result has what was measured until then"
        except (
            TestbedError,
            ServerUnresponsive,
            Refused,
            BadResponse,
            OSError,
            ValueError,
            LookupError,
        ) as error:
            failure = f"{type(error).__name__}: {_reason(error)}"
        if not any(cell.samples for cell in cells):
            print(f"{benchmark.name}: {failure}", file=sys.stderr)
            return INTERRUPTED if failure and failure.startswith("interrupted") else FAILED
        result = _result(bench, cells, options, about)
    seconds = time.monotonic() - begin[0]
    result |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "complete": failure is None,
    }
    result["generator"]["cpu_share"] = round((time.process_time() - begin[1]) / seconds, 3)
    if failure:
        result["notes"].append(failure)
    print(format_result(result))
    try:
        print(f"result file: {save(result, options.out)}")
    except OSError as error:
        print(f"{benchmark.name}: {options.out}: {error.strerror}", file=sys.stderr)
        return FAILED
    return _status(result, failure)


def _reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return f"{error.status} {error.code}: {error.message}"
    return str(error)


def _status(result: Mapping[str, Any], failure: str | None) -> int:
    if failure is not None:
        return INTERRUPTED if failure.startswith("interrupted") else FAILED
    return 0 if trusted(result["correctness"]) else UNTRUSTED


def _measure_all(bench: Benchmark, cells: list[Cell], options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    count = options.runs * len(cells)
    with (
        _interrupts() as received,
        tqdm(total=count, desc=bench.name, disable=None, leave=False) as bar,
    ):
        for _ in range(options.runs):
            for cell in bench.order(cells, rng):
                bar.set_postfix_str(" ".join(map(str, cell.factors.values())))
                cell.samples.append(bench.measure(cell.factors, rng))
                bar.update()
                if received:
                    raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Yield a list of the SIGINTs received.

    Python only prints an exception that a signal handler raises during garbage collection, and
    continues.  So the runner also checks this list.
    """
    received: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


# --- the command line ----------------------------------------------------------------------------


def _parse(benchmark: type[Benchmark], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark.name}",
        description=benchmark.question,
        epilog=f"examples:\n{benchmark.examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser, benchmark.runs, benchmark.networks)
    benchmark.add_options(parser)
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--quick" in arguments:
        parser.set_defaults(**{n: v for n, v in benchmark.quick.items() if n != "network"})
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)  # fail now, not after the measurement
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}")
    default = benchmark.quick.get("network") if options.quick else None
    # argparse appends repeated options to the default, so the option itself has no default.
    options.network = options.network or default or [*benchmark.networks]
    if WEBTRANSPORT in options.transports and not benchmark.over_udp:
        parser.error("--transports: this benchmark has readers over TCP only")
    if len(options.network) > 1 and "network" not in benchmark.factors:
        parser.error("--network: this benchmark measures one network per run")
    return options


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
        "correctness": correctness(samples),
        "generator": generator(samples),
        "measures": {
            name: {"unit": measure.unit, "label": measure.label}
            for name, measure in bench.measures.items()
        },
        "factors": [*bench.factors],
        "cells": [_cell(bench, cell, options.seed) for cell in done],
        "bounds": [one.to_json() for one in bench.thresholds(done)],
        "notes": bench.notes,
        **bench.extra_fields(done),
    }


def _cell(bench: Benchmark, cell: Cell, seed: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "factors": cell.factors,
        "runs": [
            {name: short(sample.measures.get(name)) for name in bench.measures}
            for sample in cell.samples
        ],
        "summary": {
            name: interval_json(summarise(cell.samples, name, seed)) for name in bench.measures
        },
        "theory": {name: short(value) for name, value in bench.predict(cell.factors).items()},
    }
    pooled = [latency for sample in cell.samples for latency in sample.latencies]
    if pooled:
        data["ecdf"] = [[short(x), round(share, 5)] for x, share in stats.ecdf(pooled)]
        data["theory_ecdf"] = bench.distribution(cell.factors)
        data["samples"] = [[short(x) for x in sample.latencies] for sample in cell.samples]
    return data


def save(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the result file, and its table beside it; return the path of the result."""
    path = folder / f"{result['benchmark']}.json"
    text = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
    # Put each list of numbers on one line instead of thousands.
    text = _NUMBERS.sub(lambda match: "".join(match[0].split()).replace(",", ", "), text)
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".csv").write_text(tidy_csv(result), encoding="utf-8")
    return path
