"""Compare two result files, or two folders of them: A beside B, and whether they differ.

    python -m benchmarks.compare before after --out compared

prints a table, and with --out also writes a page with charts.  Lost messages come first, then
differences that make the comparison invalid, then the measured values, then a line for each
regression.  The exit status is for scripts: 0, nothing regressed; 1, something did; 2, the files
cannot tell.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.method.comparison import (
    ComparedMeasure,
    Comparison,
    Difference,
    cell_label,
    compare,
)
from benchmarks.method.results import Estimate, ResultError, load
from benchmarks.method.stats import MIN_RUNS
from benchmarks.report import tables
from benchmarks.report.__main__ import date, machine, slug, title
from benchmarks.report.charts import Bar, bar_chart
from benchmarks.report.figures import Figure, style_of
from benchmarks.report.i18n import Translations, load_translations
from benchmarks.report.numbers import format_estimate
from benchmarks.report.page import page, write
from benchmarks.report.tables import Table, TableCell
from realtime.cli import stdio

EXAMPLES = """\
examples:
  python -m benchmarks.compare before/latency.json after/latency.json
  python -m benchmarks.compare before after --out compared
  python -m benchmarks.compare --quiet before after || echo slower

The exit status is 0 if nothing regressed, 1 if something did, and 2 if A and B cannot tell: a file
is unreadable, or no measure has five runs on both sides with the same machine and settings.
"""
# Exit statuses, those of diff(1) and of argparse.
REGRESSED, UNUSABLE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, print what was found, return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        found, alone = compare(load([options.a]), load([options.b]))
    except ResultError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    translations = load_translations()
    if not options.quiet:
        print("\n".join([*text_lines(found, alone, translations["en"]), ""]))
    regressed = [line for one in found for line in regression_lines(one, options.tolerance)]
    for line in regressed:
        print(line)
    for one in found:
        if not one.judged:
            print(f"not judged: {one.a.benchmark}: {_obstacle(one)}", file=sys.stderr)
    if options.out is not None and not _write_page(options.out, found, alone, translations):
        return UNUSABLE
    if regressed:
        return REGRESSED
    if not any(one.judged for one in found):
        print(f"{options.a}, {options.b}: nothing can be judged", file=sys.stderr)
        return UNUSABLE
    return 0


def _write_page(
    folder: Path,
    found: Sequence[Comparison],
    alone: Sequence[str],
    translations: Mapping[str, Translations],
) -> bool:
    path = folder / "compare.html"
    try:
        write({path: html_page(found, alone, translations)})
    except OSError as error:
        print(f"{folder}: {error.strerror or error}", file=sys.stderr)
        return False
    print(path)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Compare results of benchmarks: same, better or worse, with intervals.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, metavar="A", help="a result file, or a folder of them")
    parser.add_argument("b", type=Path, metavar="B", help="the file or folder to compare with A")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write compare.html there")
    parser.add_argument(
        "--quiet", action="store_true", help="print the regressions only, one per line"
    )
    parser.add_argument(
        "--tolerance",
        type=_percent,
        default=5.0,
        metavar="PERCENT",
        help="a smaller difference is no regression, except of counted bytes (%(default)g)",
    )
    return parser


def _percent(text: str) -> float:
    value = float(text)  # argparse reports a ValueError
    if not 0 <= value < 1000:
        raise argparse.ArgumentTypeError("must be from 0 to 1000")
    return value


# --- regressions ---------------------------------------------------------------------------------


def regression_lines(one: Comparison, tolerance: float) -> Iterable[str]:
    """Yield a line for each regression, with the names of the result file."""
    for fault in one.new_faults:
        yield f"regression: {one.a.benchmark}: {fault.name} {fault.a} -> {fault.b}"
    for line in one.regressions(tolerance / 100):
        unit = one.a.measures[line.measure].unit if line.measure in one.a.measures else ""
        figures = f"{_written(line.a)} -> {_written(line.b)} {unit}".rstrip()
        yield (
            f"regression: {one.a.benchmark}, {cell_label(line.factors)}: "
            f"{line.measure} {figures}, B / A {_written(line.ratio)}"
        )


def _obstacle(one: Comparison) -> str:
    """Say why a benchmark has no verdict at all."""
    if one.void:
        return "; ".join(f"{each.name} is {each.a} in A, {each.b} in B" for each in one.void)
    return f"no measure has {MIN_RUNS} runs on both sides"


# --- text ----------------------------------------------------------------------------------------


def text_lines(found: Sequence[Comparison], alone: Sequence[str], i18n: Translations) -> list[str]:
    """Return the lines to print."""
    lines = [f"!!! {alarm}" for alarm in _alarms(found, i18n)]
    lines += [line for one in found for line in ["", *_text(one, i18n)]]
    return lines + ([i18n.t("compare.missing", what=", ".join(alone))] if alone else [])


def _alarms(found: Sequence[Comparison], i18n: Translations) -> list[str]:
    """Return one line per benchmark with a serious problem; lost messages first."""
    lost = [(one, "correctness") for one in found if one.correctness]
    void = [(one, "void") for one in found if one.void]
    return [f"{title(one.a, i18n)}: {i18n.t(f'compare.{key}')}" for one, key in lost + void]


def _text(one: Comparison, i18n: Translations) -> list[str]:
    lines = [
        f"{title(one.a, i18n)}",
        f"  A: {_origin(one, 0, i18n)}",
        f"  B: {_origin(one, 1, i18n)}",
    ]
    for heading, differences, loud in _warnings(one, i18n):
        lines.append(f"  {'!!! ' if loud else ''}{heading}:")
        lines += [f"      {_describe(difference, i18n)}" for difference in differences]
    lines += [f"  {sentence}" for sentence in _remarks(one, i18n)]
    return lines + [f"  {row}" for row in _aligned([_heads(one, i18n), *_rows(one, i18n)])]


def _origin(one: Comparison, which: int, i18n: Translations) -> str:
    result = (one.a, one.b)[which]
    return f"{result.path}, {i18n.t('on', date=date(result), machine=machine(result, i18n))}"


def _warnings(one: Comparison, i18n: Translations) -> Iterable[tuple[str, list[Difference], bool]]:
    """Yield a heading, its differences, and whether to mark them with `!!!`; most serious first."""
    for key, differences in [("correctness", one.correctness), ("void", one.void)]:
        if differences:
            yield i18n.t(f"compare.{key}"), differences, True
    if one.notes:
        yield i18n.t("compare.note"), one.notes, False


def _describe(difference: Difference, i18n: Translations) -> str:
    name = i18n.name(f"count.{difference.name}", difference.name)
    return i18n.t("compare.differ", what=name, a=difference.a, b=difference.b)


def _remarks(one: Comparison, i18n: Translations) -> list[str]:
    """Return sentences about what limits the comparison."""
    remarks = [i18n.t("compare.cpu")] if one.another_machine else []
    if one.missing:
        remarks.append(i18n.t("compare.missing", what="; ".join(one.missing)))
    return remarks + ([i18n.t("compare.several")] if one.several else [])


def _heads(one: Comparison, i18n: Translations) -> list[str]:
    names = [tables.factor_name(factor, i18n) for factor in one.a.factors]
    last = [i18n.t("compare.ratio"), i18n.t("compare.verdict")]
    return [*names, i18n.t("measure"), "A", "B", *last]


def _rows(one: Comparison, i18n: Translations) -> list[list[str]]:
    return [
        [
            *(_level(line, factor, i18n) for factor in one.a.factors),
            _measure(one, line, i18n),
            *(_written(estimate) for estimate in (line.a, line.b, line.ratio)),
            i18n.t(f"compare.{line.verdict}"),
        ]
        for line in one.lines
    ]


def _level(line: ComparedMeasure, factor: str, i18n: Translations) -> str:
    return i18n.level(factor, line.factors.get(factor, "–"))


def _measure(one: Comparison, line: ComparedMeasure, i18n: Translations) -> str:
    unit = tables.unit(one.a, line.measure, i18n)
    name = tables.measure_name(one.a, line.measure, i18n)
    return name if unit in name else name + i18n.t("and") + unit


def _written(estimate: Estimate | None) -> str:
    return "–" if estimate is None else format_estimate(estimate)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


# --- the page ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caution:
    """What makes a comparison doubtful or, if it is loud, wrong."""

    heading: str
    lines: Sequence[str]
    loud: bool


@dataclass(frozen=True)
class ComparisonSection:
    """What the page shows of one benchmark."""

    name: str
    title: str
    origins: Sequence[str]
    warnings: Sequence[Caution]
    remarks: Sequence[str]
    figures: Sequence[Figure]
    table: Table


@dataclass(frozen=True)
class ComparisonArticle:
    """The content of the page in one language."""

    alarms: Sequence[str]
    missing: str
    sections: Sequence[ComparisonSection]


def html_page(
    found: Sequence[Comparison], alone: Sequence[str], translations: Mapping[str, Translations]
) -> str:
    """Return the page."""
    articles = {
        language: ComparisonArticle(
            _alarms(found, i18n),
            i18n.t("compare.missing", what=i18n.t("and").join(alone)) if alone else "",
            [_section(one, i18n) for one in found],
        )
        for language, i18n in translations.items()
    }
    return page("compare.html", articles, translations, "compare.title")


def _section(one: Comparison, i18n: Translations) -> ComparisonSection:
    name = slug(one.a.benchmark)
    return ComparisonSection(
        name=name,
        title=title(one.a, i18n),
        origins=[f"{side}: {_origin(one, number, i18n)}" for number, side in enumerate("AB")],
        warnings=[
            Caution(heading, [_describe(difference, i18n) for difference in differences], loud)
            for heading, differences, loud in _warnings(one, i18n)
        ],
        remarks=_remarks(one, i18n),
        figures=[replace(figure, name=f"{name}-{figure.name}") for figure in _charts(one, i18n)],
        table=_table(one, i18n),
    )


def _table(one: Comparison, i18n: Translations) -> Table:
    rows = [
        [
            *(tables.level_cell(line.factors.get(f, "–"), f, i18n) for f in one.a.factors),
            TableCell(_measure(one, line, i18n)),
            *(tables.estimate_cell(estimate) for estimate in (line.a, line.b, line.ratio)),
            TableCell(i18n.t(f"compare.{line.verdict}"), look=LOOKS.get(line.verdict, "")),
        ]
        for line in one.lines
    ]
    return Table(i18n.t("figures"), [tables.head(name) for name in _heads(one, i18n)], rows)


LOOKS = {"better": "good", "worse": "bad"}


def _charts(one: Comparison, i18n: Translations) -> Iterable[Figure]:
    """Yield the ratios of each measure; then A beside B, one chart per measure."""
    measures = list(dict.fromkeys(line.measure for line in one.lines))
    for measure in measures:
        bars = _ratios(one, measure, i18n)
        if bars:
            name = tables.measure_name(one.a, measure, i18n)
            heading = i18n.t("colon").join((i18n.t("compare.plot.ratios"), name))
            about, unit = i18n.t("compare.read.ratios"), i18n.t("compare.ratio")
            spec = bar_chart(heading, about, unit, bars, dots=True, ratio=True)
            yield Figure(f"ratio-{slug(measure)}", about, spec)
    about = i18n.t("compare.read")
    for measure in measures:
        name = tables.measure_name(one.a, measure, i18n)
        unit = tables.unit(one.a, measure, i18n)
        heading = i18n.t("compare.plot", measure=name)
        spec = bar_chart(heading, about, unit, _beside(one, measure, i18n))
        yield Figure(f"beside-{slug(measure)}", about, spec)


def _ratios(one: Comparison, measure: str, i18n: Translations) -> list[Bar]:
    return [
        Bar(_label(one, line, i18n), line.ratio, _style(line))
        for line in one.lines
        if line.measure == measure and line.ratio
    ]


def _beside(one: Comparison, measure: str, i18n: Translations) -> list[Bar]:
    return [
        Bar(_label(one, line, i18n), estimate, _style(line), side)
        for line in one.lines
        if line.measure == measure
        for side, estimate in (("A", line.a), ("B", line.b))
    ]


def _label(one: Comparison, line: ComparedMeasure, i18n: Translations) -> str:
    """Label a cell with the factors that differ between cells."""
    varying = [f for f in line.factors if len(one.a.levels(f)) > 1] or list(line.factors)
    return i18n.t("and").join(i18n.level(f, line.factors[f]) for f in varying)


def _style(line: ComparedMeasure) -> int | None:
    return style_of(line.factors.get("transport", ""))


if __name__ == "__main__":
    sys.exit(stdio.run(main))
