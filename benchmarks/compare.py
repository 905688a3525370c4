"""Two result files, or two folders of them: A beside B, and whether they differ at all.

    python -m benchmarks.compare before after --out compared

prints a table, and with --out writes the same as a page with plots.  What was lost comes first,
then what makes the comparison void; figures last.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.method.comparison import ComparedMeasure, Comparison, Difference, compare
from benchmarks.method.results import TRANSPORTS, Estimate, ResultError, load
from benchmarks.report import html_tables
from benchmarks.report.__main__ import date, machine, slug, title
from benchmarks.report.html import Markup, join, tag
from benchmarks.report.i18n import Words, catalogue
from benchmarks.report.page import figure, page, table, warning, write
from benchmarks.report.plots import Board, Mark, Panel, Row, board, written

EXAMPLES = """\
examples:
  python -m benchmarks.compare before/latency.json after/latency.json
  python -m benchmarks.compare before after --out compared
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, print the table, return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        found, alone = compare(load([options.a]), load([options.b]))
    except ResultError as error:
        print(error, file=sys.stderr)
        return 1
    words = catalogue()
    print("\n".join(text(found, alone, words["en"])))
    if options.out is None:
        return 0
    path = options.out / "compare.html"
    bodies = {language: body(found, alone, its) for language, its in words.items()}
    try:
        write({path: page(bodies, words, "compare.title")})
    except OSError as error:
        print(f"{options.out}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"\n{path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Compare results of benchmarks: same, better or worse, with intervals.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, metavar="A", help="a result file, or a folder of them")
    parser.add_argument("b", type=Path, metavar="B", help="what to compare with it")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write compare.html there")
    return parser


# --- text ----------------------------------------------------------------------------------------


def text(found: Sequence[Comparison], alone: Sequence[str], words: Words) -> list[str]:
    """Return the lines to print."""
    lines = [f"!!! {alarm}" for alarm in _alarms(found, words)]
    lines += [line for one in found for line in ["", *_text(one, words)]]
    return lines + ([words.say("compare.missing", what=", ".join(alone))] if alone else [])


def _alarms(found: Sequence[Comparison], words: Words) -> list[str]:
    """One line for each benchmark that has something grave; lost messages before all else."""
    lost = [(one, "correctness") for one in found if one.correctness]
    void = [(one, "void") for one in found if one.void]
    return [f"{title(one.a, words)}: {words.say(f'compare.{key}')}" for one, key in lost + void]


def _text(one: Comparison, words: Words) -> list[str]:
    lines = [
        f"{title(one.a, words)}",
        f"  A: {_origin(one, 0, words)}",
        f"  B: {_origin(one, 1, words)}",
    ]
    for heading, differences, loud in _warnings(one, words):
        lines.append(f"  {'!!! ' if loud else ''}{heading}:")
        lines += [f"      {_said(difference, words)}" for difference in differences]
    lines += [f"  {sentence}" for sentence in _remarks(one, words)]
    return lines + [f"  {row}" for row in _aligned([_heads(one, words), *_rows(one, words)])]


def _origin(one: Comparison, which: int, words: Words) -> str:
    result = (one.a, one.b)[which]
    return f"{result.path}, {words.say('on', date=date(result), machine=machine(result, words))}"


def _warnings(one: Comparison, words: Words) -> Iterable[tuple[str, list[Difference], bool]]:
    """Headings with what is below them, and whether it is to be loud; the gravest first."""
    for key, differences in [("correctness", one.correctness), ("void", one.void)]:
        if differences:
            yield words.say(f"compare.{key}"), differences, True
    if one.notes:
        yield words.say("compare.note"), one.notes, False


def _said(difference: Difference, words: Words) -> str:
    name = words.name(f"count.{difference.name}", difference.name)
    return words.say("compare.differ", what=name, a=difference.a, b=difference.b)


def _remarks(one: Comparison, words: Words) -> list[str]:
    """Sentences for what is not as one may think."""
    said = [words.say("compare.cpu")] if one.another_machine else []
    if one.missing:
        said.append(words.say("compare.missing", what="; ".join(one.missing)))
    return said + ([words.say("compare.several")] if one.several else [])


def _heads(one: Comparison, words: Words) -> list[str]:
    names = [html_tables.factor_name(factor, words) for factor in one.a.factors]
    last = [words.say("compare.ratio"), words.say("compare.verdict")]
    return [*names, words.say("measure"), "A", "B", *last]


def _rows(one: Comparison, words: Words) -> list[list[str]]:
    return [
        [
            *(_level(line, factor, words) for factor in one.a.factors),
            _measure(one, line, words),
            *(_written(estimate) for estimate in (line.a, line.b, line.ratio)),
            words.say(f"compare.{line.verdict}"),
        ]
        for line in one.lines
    ]


def _level(line: ComparedMeasure, factor: str, words: Words) -> str:
    return words.level(factor, line.factors.get(factor, "–"))


def _measure(one: Comparison, line: ComparedMeasure, words: Words) -> str:
    unit = html_tables.unit(one.a, line.measure, words)
    name = html_tables.measure_name(one.a, line.measure, words)
    return name if unit in name else name + words.say("and") + unit


def _written(estimate: Estimate | None) -> str:
    return "–" if estimate is None else written(estimate)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


# --- the page ------------------------------------------------------------------------------------


def body(found: Sequence[Comparison], alone: Sequence[str], words: Words) -> Markup:
    """Return the content of the page in one language."""
    return join(
        tag("p", words.say("compare.intro")),
        *(warning(alarm) for alarm in _alarms(found, words)),
        tag("p", words.say("compare.missing", what=words.say("and").join(alone))) if alone else "",
        *(_section(one, words) for one in found),
    )


def _section(one: Comparison, words: Words) -> Markup:
    return tag(
        "section",
        tag("h2", title(one.a, words)),
        *(
            tag("p", f"{name}: {_origin(one, n, words)}", class_="small")
            for n, name in enumerate("AB")
        ),
        *(
            warning(
                heading,
                *(_said(difference, words) for difference in differences),
                look="warning alarm" if loud else "warning",
            )
            for heading, differences, loud in _warnings(one, words)
        ),
        *(tag("p", sentence) for sentence in _remarks(one, words)),
        *(figure(drawing, caption) for drawing, caption in _plots(one, words)),
        _table(one, words) if one.lines else tag("p", words.say("empty")),
        id=f"{words.language}-{slug(one.a.benchmark)}",
    )


def _table(one: Comparison, words: Words) -> Markup:
    head = tag("tr", *(tag("th", name, scope="col") for name in _heads(one, words)))
    rows = [
        tag(
            "tr",
            *(
                tag("th", html_tables.named(line.factors.get(f, "–"), f, words), scope="row")
                for f in one.a.factors
            ),
            tag("td", _measure(one, line, words)),
            *(html_tables.value(estimate) for estimate in (line.a, line.b, line.ratio)),
            tag("td", words.say(f"compare.{line.verdict}"), class_=LOOKS.get(line.verdict)),
        )
        for line in one.lines
    ]
    return table(head, rows, words.say("figures"))


LOOKS = {"better": "good", "worse": "bad"}


def _plots(one: Comparison, words: Words) -> Iterable[tuple[Markup, str]]:
    """How many times as much, for all measures; then A beside B, measure by measure."""
    measures = list(dict.fromkeys(line.measure for line in one.lines))
    panels = [_ratios(one, measure, words) for measure in measures]
    panels = [panel for panel in panels if panel.rows]
    if panels:
        heading, about = words.say("compare.plot.ratios"), words.say("compare.read.ratios")
        yield board(Board(heading, about, panels)), about
    about = words.say("compare.read")
    for measure in measures:
        name = html_tables.measure_name(one.a, measure, words)
        panel = _beside(one, measure, words)
        yield (
            board(Board(words.say("compare.plot", measure=name), about, [panel], ["A", "B"])),
            about,
        )


def _ratios(one: Comparison, measure: str, words: Words) -> Panel:
    rows = [
        Row(_label(one, line, words), _look(line), [Mark(line.ratio)])
        for line in one.lines
        if line.measure == measure and line.ratio
    ]
    name = html_tables.measure_name(one.a, measure, words)
    return Panel(name, words.say("compare.ratio"), rows, bars=False, ratio=True)


def _beside(one: Comparison, measure: str, words: Words) -> Panel:
    rows = [
        Row(_label(one, line, words), _look(line), [Mark(line.a), Mark(line.b, shape=1)])
        for line in one.lines
        if line.measure == measure
    ]
    return Panel("", html_tables.unit(one.a, measure, words), rows)


def _label(one: Comparison, line: ComparedMeasure, words: Words) -> str:
    """Name a cell by the factors that differ between cells."""
    telling = [f for f in line.factors if len(one.a.levels(f)) > 1] or list(line.factors)
    return words.say("and").join(words.level(f, line.factors[f]) for f in telling)


def _look(line: ComparedMeasure) -> int | None:
    name = line.factors.get("transport")
    return TRANSPORTS.index(name) if name in TRANSPORTS and isinstance(name, str) else None


if __name__ == "__main__":
    sys.exit(main())
