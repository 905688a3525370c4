"""``python -m benchmarks.compare A B``: two runs side by side, and which differences are real.

A figure is better or worse only where the interval of the ratio leaves out 1.  Runs on different
machines, or with other settings, differ for reasons that no code has; that is said first.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import plots, stats
from benchmarks.charts import Result, Words, plain
from benchmarks.plots import Row
from benchmarks.report import BadResult, document, figure, in_all, load, text, verdict
from benchmarks.stats import FEWEST_RUNS, Interval

# For all others less is better.
_MORE_IS_BETTER = {"at_once"}
# What has to be equal for figures to be compared; the seed is chance, and may differ.
_IGNORED_SETTINGS = {"out", "seed", "url"}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both; `ratio` is B over A, `runs` the number of them in the lesser of both."""

    place: str
    measure: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    ratio: Interval
    runs: int

    @property
    def verdict(self) -> str:
        """Say ``better``, ``worse``, ``same``, or ``unknown`` where runs are too few to tell."""
        low, high = self.ratio.low, self.ratio.high
        if self.runs < FEWEST_RUNS or low is None or high is None:
            return "unknown"
        if low <= 1 <= high:
            return "same"
        more = self.ratio.value > 1
        return "better" if more == (self.measure in _MORE_IS_BETTER) else "worse"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two results of one question."""

    name: str
    a: Result
    b: Result
    differences: list[str]
    lines: list[Line]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; the result is the exit status."""
    options = _parser().parse_args(arguments)
    try:
        pairs = match(load([options.a]), load([options.b]))
    except BadResult as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    print("\n\n".join(describe(pair) for pair in pairs))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "compare.html"
        path.write_text(page(pairs, options.language), encoding="utf-8")
        print(f"\nwritten to {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        epilog="examples:\n  python -m benchmarks.compare old/latency.json results/latency.json\n"
        "  python -m benchmarks.compare benchmarks/reference results --out results",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, metavar="A", help="a result file, or a folder of them")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    parser.add_argument("--out", type=Path, help="write a page, compare.html, to this folder")
    parser.add_argument("--language", choices=("en", "zh-Hans", "zh-Hant"), default="en")
    return parser


# --- comparing -----------------------------------------------------------------------------------


def match(ones: Iterable[Result], others: Iterable[Result]) -> list[Pair]:
    """Put together what answers the same question; raises `BadResult` if nothing does."""
    there = {result["benchmark"]: result for result in others}
    pairs = [
        pair(result, there[result["benchmark"]]) for result in ones if result["benchmark"] in there
    ]
    if not pairs:
        raise BadResult("no question was asked in both runs")
    return pairs


def pair(a: Result, b: Result) -> Pair:
    return Pair(str(a["benchmark"]), a, b, list(differences(a, b)), list(_lines(a, b)))


def differences(a: Result, b: Result) -> Iterator[str]:
    """Say what makes figures of these two incomparable."""
    for name in ("cpu", "cores", "python"):
        one, other = (result["machine"].get(name) for result in (a, b))
        if one != other:
            yield f"{name} {one} / {other}"
    settings = a.get("settings") or {}, b.get("settings") or {}
    for name in sorted(settings[0].keys() | settings[1].keys()):
        one, other = (given.get(name) for given in settings)
        if one != other and name not in _IGNORED_SETTINGS:
            yield f"--{name} {one} / {other}"


def _lines(a: Result, b: Result) -> Iterator[Line]:
    there = {_key(cell): cell for cell in b["cells"]}
    for cell in a["cells"]:
        other = there.get(_key(cell))
        if other is None:
            continue
        for measure in a["measures"]:
            one, two = cell["summary"].get(measure), other["summary"].get(measure)
            here, others = _values(cell, measure), _values(other, measure)
            if one and two and here and others:
                place = " ".join(plain(value) for value in cell["factors"].values())
                ratio, runs = stats.ratio(here, others), min(len(here), len(others))
                yield Line(place, measure, one, two, ratio, runs)


def _key(cell: Mapping[str, Any]) -> str:
    return json.dumps(cell["factors"], sort_keys=True)


def _values(cell: Mapping[str, Any], measure: str) -> list[float]:
    return [run[measure] for run in cell["runs"] if run.get(measure) is not None]


# --- showing -------------------------------------------------------------------------------------


def describe(pair: Pair) -> str:
    """The comparison as text."""
    lines = [f"{pair.name}: A {pair.a.get('started')}, B {pair.b.get('started')}"]
    if pair.differences:
        lines.append(f"!!! not comparable in absolute figures: {'; '.join(pair.differences)}")
    for letter, result in (("A", pair.a), ("B", pair.b)):
        told = result["correctness"]
        counts = ", ".join(f"{told.get(n, 0)} {n}" for n in ("lost", "doubled", "misplaced"))
        lines.append(f"{letter}: {counts}, of {told.get('deliveries', 0)} deliveries")
    rows = [("", "measure", "A", "B", "B/A", "")]
    rows += [
        (one.place, one.measure, figure(one.a), figure(one.b), _ratio(one.ratio), one.verdict)
        for one in pair.lines
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (f"{part:<{width}}" for part, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _ratio(found: Interval) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}–{found.high:.2f}]"


def page(pairs: Sequence[Pair], language: str) -> str:
    body = "".join(_section(pair) for pair in pairs)
    return document("compare.title", body, language)


def _section(pair: Pair) -> str:
    parts = [f"<section><h2>{escape(pair.name)}</h2>"]
    if pair.differences:
        told = text("compare.void", differences="; ".join(pair.differences))
        parts.append(f'<p class="verdict bad">{told}</p>')
    for letter, result in (("A", pair.a), ("B", pair.b)):
        parts.append(f"<h3>{letter}: {escape(str(result.get('started')))}</h3>{verdict(result)}")
    for measure in pair.a["measures"]:
        lines = [line for line in pair.lines if line.measure == measure]
        if lines:
            drawn = in_all(lambda words, m=measure, ls=lines: _plot(words, m, ls), "div")  # type: ignore[misc]
            parts.append(f"<figure>{drawn}</figure>")
    return "".join([*parts, _table(pair), "</section>"])


def _plot(words: Words, measure: str, lines: Sequence[Line]) -> str:
    drawn = [
        Row(line.place, line.ratio.value, line.ratio.low, line.ratio.high, style=number)
        for number, line in enumerate(lines)
        if 0 < line.ratio.value < float("inf")
    ]
    label = words.name("measure", measure)
    return plots.rows(f"{label}: B / A", words("compare.ratio"), drawn, log=True, one=True)


def _table(pair: Pair) -> str:
    rows = []
    for line in pair.lines:
        name = in_all(lambda words, m=line.measure: escape(words.name("measure", m)))  # type: ignore[misc]
        cells = [escape(line.place), name, figure(line.a), figure(line.b), _ratio(line.ratio)]
        cells.append(text(f"compare.{line.verdict}"))
        shown = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr class="{line.verdict}">{shown}</tr>')
    head = "".join(f"<th>{one}</th>" for one in ("", "", "A", "B", "B/A", ""))
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


if __name__ == "__main__":
    sys.exit(main())
