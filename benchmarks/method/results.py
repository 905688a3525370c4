"""Parse result files: untrusted JSON becomes frozen values, or an error that names the file.

A file may come from another machine, another version or another person.  After parsing, no code
checks again whether a number is a number.  Every text is printable, so no name in a file can move
the terminal's cursor, change the direction of a line, or break the XML of a plot.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from benchmarks.method.samples import FAULTS, Measure
from benchmarks.method.stats import MIN_RUNS
from benchmarks.method.thresholds import Threshold
from realtime.client import ALL_CLIENTS

# About the order in which the web adopted them; all tables and charts use it.
TRANSPORTS = tuple(ALL_CLIENTS)
# The order of a report; benchmarks that it does not know come after these.
BENCHMARKS = (
    "latency",
    "poll_gap",
    "overhead",
    "compression",
    "idle_cost",
    "fanout",
    "capacity",
    "slow_reader",
    "recovery",
    "session",
    "sticky",
    "publish",
    "burst",
    "fanout_cost",
    "c10k",
    "multi_worker",
    "cost_breakdown",
    "peers",
    "tls",
    "webtransport",
)
# Old kind and file name: the new one.  Result files written before the renaming stay readable.
RENAMED = {
    "gap": "poll_gap",
    "silence": "idle_cost",
    "growth": "fanout_cost",
    "crowded": "c10k",
    "scale": "multi_worker",
    "layers": "cost_breakdown",
}
# The same for the steps of `cost_breakdown`.
RENAMED_STEPS = {
    "head": "parse",
    "door": "origin_check",
    "question": "subscription",
    "answer": "response_header",
    "loop": "event_loop",
    "audience": "broadcaster",
    "whole": "end_to_end",
}
# No measured value comes near this; JSON can hold 1e999, which Python reads as infinity.
HUGE = 1e30

T = TypeVar("T")
Factor = str | float
Curve = tuple[tuple[float, float], ...]


class ResultError(Exception):
    """A file is not the result of a benchmark; the message is one line with the file and why."""


@dataclass(frozen=True)
class Estimate:
    """A measured value and its interval, which may be unknown; `at_least` has no upper end."""

    value: float
    low: float | None = None
    high: float | None = None
    at_least: bool = False


@dataclass(frozen=True)
class ResultCell:
    """One combination of factors: its values in each run, and their summary."""

    factors: Mapping[str, Factor]
    runs: Sequence[Mapping[str, float | None]]
    summary: Mapping[str, Estimate]  # without measures that have no value
    theory: Mapping[str, float]
    ecdf: Curve
    theory_ecdf: Curve

    def values(self, measure: str) -> list[float]:
        """Return the value of each run, without the runs that have none."""
        found = (run.get(measure) for run in self.runs)
        return [value for value in found if value is not None]


@dataclass(frozen=True)
class BudgetRow:
    """The maximum that `peer` may need: as a ratio to `against`, or an absolute value."""

    load: str
    measure: str
    peer: str
    against: str
    most: float
    measured: Estimate | None
    holds: bool | None


@dataclass(frozen=True)
class Result:
    """One result file."""

    path: str
    benchmark: str
    started: str
    seconds: float | None
    complete: bool
    seed: str
    realtime: str
    settings: Mapping[str, str]  # each value as JSON, to show and to compare
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    server: Mapping[str, str]
    correctness: Mapping[str, float | None]
    generator: Mapping[str, float | None]
    measures: Mapping[str, Measure]
    factors: Sequence[str]
    cells: Sequence[ResultCell]
    notes: Sequence[str]
    bound_ms: float | None
    capacity: Mapping[str, Estimate]
    ratios: Mapping[str, Mapping[str, Estimate]]
    against: str
    budget: Sequence[BudgetRow]
    thresholds: Sequence[Threshold]

    @property
    def faults(self) -> dict[str, float]:
        """Return the violations of the delivery guarantee and their counts, without the zeros."""
        counts = {name: self.correctness.get(name) or 0 for name in FAULTS}
        return {name: count for name, count in counts.items() if count}

    @property
    def is_quick(self) -> bool:
        """Whether the runs were short ones, of `--quick`."""
        return self.settings.get("quick") == "true"

    @property
    def judges_limits(self) -> bool:
        """Whether the runs are long and many enough to say that a limit holds, or does not."""
        several = all(len(cell.runs) >= MIN_RUNS for cell in self.cells)
        return several and not self.is_quick

    def levels(self, factor: str) -> list[Factor]:
        """Return the distinct values of `factor`, in display order."""
        found = dict.fromkeys(cell.factors[factor] for cell in self.cells if factor in cell.factors)
        return sorted(found, key=rank)

    def pick(self, **factors: Factor) -> list[ResultCell]:
        """Return the cells that have all these factors, in display order."""
        return [
            cell
            for cell in self.ordered
            if all(cell.factors.get(name) == value for name, value in factors.items())
        ]

    @cached_property
    def ordered(self) -> list[ResultCell]:
        """Return the cells sorted by their factors, the first column first."""
        positions = {
            factor: {level: index for index, level in enumerate(self.levels(factor))}
            for factor in self.factors
        }

        def position(cell: ResultCell) -> list[int]:
            return [positions[name].get(cell.factors.get(name, ""), -1) for name in self.factors]

        return sorted(self.cells, key=position)


def rank(level: Factor) -> tuple[int, float]:
    """Sort key: numbers by size, transports by age; other names keep their order."""
    if not isinstance(level, str):
        return 0, level
    return (1, TRANSPORTS.index(level)) if level in TRANSPORTS else (2, 0)


def load(paths: Iterable[Path]) -> list[Result]:
    """Read files, and all *.json of folders; sort them as a report does.  Raises ResultError."""
    results = [read(file) for path in paths for file in _files(path)]
    known = {name: index for index, name in enumerate(BENCHMARKS)}
    return sorted(results, key=lambda r: (known.get(r.benchmark, len(known)), r.started))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.json"))
    if not found:
        raise ResultError(f"{printable(str(path))}: no *.json in this folder")
    return found


def find_file(folder: Path, kind: str) -> Path:
    """Return the path of a result in `folder`: under its current name, or its old one."""
    path = folder / f"{kind}.json"
    if path.exists():
        return path
    old = [folder / f"{name}.json" for name, new in RENAMED.items() if new == kind]
    return next((one for one in old if one.exists()), path)


def read(path: Path) -> Result:
    """Read one file.  Raises ResultError, whose one line names the file."""
    name = printable(str(path))
    try:
        return parse(json.loads(path.read_text("utf-8"), parse_constant=_refuse), name)
    except OSError as error:
        raise ResultError(f"{name}: {error.strerror or error}") from error
    except RecursionError as error:
        raise ResultError(f"{name}: nested too deeply") from error
    # Not JSON, not UTF-8, or not our format: the message of each says which.
    except ValueError as error:
        raise ResultError(f"{name}: {printable(str(error))}") from error


def parse(data: object, path: str) -> Result:
    """Convert decoded JSON to a `Result`.  Raises ValueError, which says what is wrong."""
    top = _object(data, "the file")
    kind = _text(_need(top, "benchmark"), "benchmark")
    return Result(
        path=path,
        benchmark=RENAMED.get(kind, kind),
        started=_text(_need(top, "started"), "started"),
        seconds=_number(top.get("seconds"), "seconds"),
        complete=top.get("complete") is True,
        seed=_shown(top.get("seed")),
        realtime=_shown(top.get("realtime")),
        settings=_facts(top, "settings"),
        machine=_facts(top, "machine"),
        versions=_facts(top, "versions"),
        server=_facts(top, "server"),
        correctness=_numbers(top, "correctness"),
        generator=_numbers(top, "generator"),
        measures=_each(top, "measures", _measure),
        factors=[_text(name, "factors") for name in _list(top, "factors")],
        cells=[_cell(cell, kind) for cell in _list(top, "cells")],
        notes=[_text(note, "notes") for note in _list(top, "notes")],
        bound_ms=_number(top.get("bound_ms"), "bound_ms"),
        capacity=_estimates(top, "capacity"),
        ratios=_each(top, "ratios", lambda value, where: _estimates({where: value}, where)),
        against=_shown(top.get("against")),
        budget=[_limit(limit) for limit in _list(top, "budget")],
        thresholds=[_threshold(one) for one in _list(top, "bounds")],
    )


def printable(text: str) -> str:
    """Replace control characters, lone surrogates and marks that change the text direction."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _cell(data: object, kind: str) -> ResultCell:
    cell = _object(data, "a cell")
    theory = _numbers(cell, "theory")
    factors = _each(cell, "factors", _factor)
    if kind == "layers":
        step = factors.get("step")
        factors |= {"step": RENAMED_STEPS[step]} if step in RENAMED_STEPS else {}
    return ResultCell(
        factors=factors,
        runs=[_numbers({"runs": run}, "runs") for run in _list(cell, "runs")],
        summary=_estimates(cell, "summary"),
        theory={name: value for name, value in theory.items() if value is not None},
        ecdf=_curve(cell, "ecdf"),
        theory_ecdf=_curve(cell, "theory_ecdf"),
    )


def _limit(data: object) -> BudgetRow:
    limit = _object(data, "a limit")
    names = {
        name: _text(limit.get(name), f"a limit's {name}") for name in ("load", "measure", "peer")
    }
    holds = limit.get("holds")
    return BudgetRow(
        **names,
        against=_shown(limit.get("against")),
        most=_finite(limit.get("most"), "a limit's most"),
        measured=_estimate(limit.get("measured"), "measured"),
        holds=holds if isinstance(holds, bool) else None,
    )


def _threshold(data: object) -> Threshold:
    fields = _object(data, "a bound")
    return Threshold(
        _text(_need(fields, "name"), "the name of a bound"),
        _number(fields.get("value"), "the value of a bound"),
        _finite(fields.get("bound"), "a bound"),
        _shown(fields.get("unit")),
        fields.get("at_least") is True,
        _shown(fields.get("of")),
    )


def _measure(data: object, where: str) -> Measure:
    measure = _object(data, where)
    return Measure(_shown(measure.get("unit")), _shown(measure.get("label")))


def _factor(data: object, where: str) -> Factor:
    return _text(data, where) if isinstance(data, str) else _finite(data, where)


def _estimates(data: Mapping[str, Any], key: str) -> dict[str, Estimate]:
    found = _each(data, key, _estimate)
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _estimate(data: object, where: str) -> Estimate | None:
    if data is None:
        return None
    fields = _object(data, where)
    value, low, high = (_number(fields.get(name), where) for name in ("value", "low", "high"))
    if value is None:
        return None
    return Estimate(value, low, high, at_least=fields.get("reached") is False)


def _curve(data: Mapping[str, Any], key: str) -> Curve:
    points = _list(data, key)
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError(f"{key} must be pairs")
    return tuple((_finite(x, key), _finite(y, key)) for x, y in points)


def _need(data: Mapping[str, Any], key: str) -> object:
    if key not in data:
        raise ValueError(f"{key!r} is missing; is this the result of a benchmark?")
    return data[key]


def _object(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object")
    return {printable(key): value for key, value in data.items()}


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    found = data.get(key) or []
    if not isinstance(found, list):
        raise ValueError(f"{key} must be an array")
    return found


def _each(data: Mapping[str, Any], key: str, make: Callable[[object, str], T]) -> dict[str, T]:
    return {name: make(value, name) for name, value in _object(data.get(key) or {}, key).items()}


def _numbers(data: Mapping[str, Any], key: str) -> dict[str, float | None]:
    return _each(data, key, _number)


def _facts(data: Mapping[str, Any], key: str) -> dict[str, str]:
    return _each(data, key, lambda value, where: _shown(value))


def _shown(value: object) -> str:
    """Return any JSON value as printable text: a string as it is, null as the empty string."""
    if value is None:
        return ""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} must be text")
    return printable(value)


def _number(value: object, where: str) -> float | None:
    return None if value is None else _finite(value, where)


def _finite(value: object, where: str) -> float:
    # A bool is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < HUGE:
        raise ValueError(f"{where} must be a number")
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
