"""Make the results of one session the reference: ``make bench``, then ``make reference``.

The results in `benchmarks/reference` belong together: one machine, one version, one session.  So
this copies all of them or none, and says what is wrong.  It also writes the tables of
docs/scale.md, which a model makes from them.
"""

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.method import capacity_model
from benchmarks.method.capacity_model import REFERENCE
from benchmarks.method.results import BENCHMARKS, Result, ResultError, load
from realtime.cli import stdio

SCALE = Path(__file__).parents[2] / "docs" / "scale.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, copy the results, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.method.reference", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), metavar="FOLDER")
    parser.add_argument("--to", type=Path, default=REFERENCE, metavar="FOLDER", help="%(default)s")
    parser.add_argument("--scale", type=Path, default=SCALE, help="the document (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        results = load([options.results])
    except ResultError as error:
        print(error, file=sys.stderr)
        return 1
    reasons = [*obstacles(results)]
    for reason in reasons:
        print(f"{options.results}: {reason}", file=sys.stderr)
    if reasons:
        return 1
    for result in results:
        shutil.copy(result.path, options.to / f"{result.benchmark}.json")
    print(f"{len(results)} results copied to {options.to}")
    return capacity_model.main(["--figures", str(options.to), "--write", str(options.scale)])


def obstacles(results: Sequence[Result]) -> Iterable[str]:
    """Yield the reasons why these results are no reference."""
    found = {result.benchmark for result in results}
    if absent := [name for name in BENCHMARKS if name not in found]:
        yield f"no result of {', '.join(absent)}"
    for result in results:
        if result.settings.get("quick") != "false":
            yield f"{result.benchmark}: a quick run is too short"
        if not result.complete:
            yield f"{result.benchmark}: it was interrupted"
        for name, count in result.faults.items():
            yield f"{result.benchmark}: {count:g} {name}"
        if refused := result.correctness.get("refused"):
            yield f"{result.benchmark}: {refused:g} messages were refused, so its rates are too low"
    sessions: dict[str, set[object]] = {
        "seeds": {result.seed for result in results},
        "versions": {result.realtime for result in results},
        "machines": {tuple(sorted(result.machine.items())) for result in results},
    }
    for what, values in sessions.items():
        if len(values) > 1:
            yield f"not one session: {len(values)} different {what}"


if __name__ == "__main__":
    sys.exit(stdio.run(main))
