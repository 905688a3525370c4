"""Make one page and its plots from result files: first lost messages, then speed, then theory.

    python -m benchmarks.report results --out report

writes report/report.html, which is self-contained, and one SVG file per plot and language in
report/plots.  If a file is not a result, one line names it and nothing is written.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.method.results import Result, ResultError, load
from benchmarks.method.samples import FAULTS
from benchmarks.report import html_tables
from benchmarks.report.axes import format_number
from benchmarks.report.figures import Figure, figures
from benchmarks.report.html import Markup, join, tag
from benchmarks.report.i18n import Translations, load_translations
from benchmarks.report.page import facts, figure, page, table, warning, write
from benchmarks.report.svg import standalone
from realtime.cli import stdio

EXAMPLES = """\
examples:
  python -m benchmarks.report                        all of ./results, to ./report
  python -m benchmarks.report results/poll_gap.json  one benchmark only
  python -m benchmarks.report old new --out both     two machines on one page
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, write the report, return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        results = load(options.files or [Path("results")])
        write({options.out / name: text for name, text in report(results).items()})
    except ResultError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.out}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(options.out / "report.html")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description="Make one page, in three languages, from the results of benchmarks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="result files, or folders of them"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report"),
        metavar="FOLDER",
        help="output folder (./report)",
    )
    return parser


def report(results: Sequence[Result]) -> dict[str, str]:
    """Return the files of a report: the page, and each plot in each language."""
    translations = load_translations()
    names = _names(results)
    drawn = {
        language: {name: figures(result, i18n) for name, result in names.items()}
        for language, i18n in translations.items()
    }
    bodies = {
        language: _body(names, drawn[language], i18n) for language, i18n in translations.items()
    }
    files = {"report.html": page(bodies, translations, "report.title")}
    for language, plots in drawn.items():
        for name, found in plots.items():
            for stem, one in zip(_stems(name, found), found, strict=True):
                files[f"plots/{stem}.{language}.svg"] = standalone(one.drawing, language)
    return files


def _names(results: Sequence[Result]) -> dict[str, Result]:
    """Name each result after its benchmark; the second one of latency is latency-2."""
    seen: Counter[str] = Counter()
    names = {}
    for result in results:
        kind = slug(result.benchmark)
        seen[kind] += 1
        names[kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"] = result
    return names


def _stems(name: str, found: Sequence[Figure]) -> list[str]:
    """Return file names for plots, unique even where the names in the result file are not."""
    seen: Counter[str] = Counter()
    stems = []
    for one in found:
        stem = f"{name}-{slug(one.name)}"
        seen[stem] += 1
        stems.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return stems


def slug(text: str) -> str:
    """Turn any text into a file name or anchor: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "other"


# --- the page ------------------------------------------------------------------------------------


def _body(
    names: Mapping[str, Result], drawn: Mapping[str, Sequence[Figure]], i18n: Translations
) -> Markup:
    alarm = any(result.faults for result in names.values())
    return join(
        tag("p", i18n.t("report.intro")),
        warning(i18n.t("report.alarm")) if alarm else "",
        _overview(names, i18n),
        *(_section(name, result, drawn[name], i18n) for name, result in names.items()),
    )


def _overview(names: Mapping[str, Result], i18n: Translations) -> Markup:
    heads = [i18n.t(key) for key in ("question", "measured", "machine", "messages")]
    rows = [
        tag(
            "tr",
            tag("td", tag("a", title(result, i18n), href=f"#{i18n.language}-{name}")),
            tag("td", tag("span", date(result), class_="date"), *_stopped(result, i18n)),
            tag("td", machine(result, i18n)),
            tag("td", _verdict(result, i18n), class_=_state(result)),
        )
        for name, result in names.items()
    ]
    head = tag("tr", *(tag("th", name, scope="col") for name in heads))
    return table(head, rows, i18n.t("contents"))


def _stopped(result: Result, i18n: Translations) -> list[str]:
    if result.complete:
        return []
    return [tag("br"), tag("span", i18n.t("incomplete.short"), class_="bad")]


def _section(name: str, result: Result, drawn: Sequence[Figure], i18n: Translations) -> Markup:
    question = i18n.name(f"question.{result.benchmark}", "")
    return tag(
        "section",
        tag("h2", title(result, i18n)),
        tag("p", question, class_="question") if question else "",
        tag("p", _origin(result, i18n), class_="small"),
        "" if result.complete else warning(i18n.t("incomplete")),
        correctness(result, i18n),
        html_tables.thresholds(result, i18n),
        *(figure(one.drawing, one.caption) for one in drawn),
        "" if drawn or not result.cells else tag("p", i18n.t("unknown")),
        tag("h3", i18n.t("figures")),
        html_tables.cells(result, i18n),
        html_tables.capacity(result, i18n),
        html_tables.budget(result, i18n),
        html_tables.ratios(result, i18n),
        tag("p", i18n.t("interval.none"), class_="small") if _single(result) else "",
        _notes(result, i18n),
        _details(result, i18n),
        id=f"{i18n.language}-{name}",
    )


def title(result: Result, i18n: Translations) -> str:
    return i18n.name(f"title.{result.benchmark}", result.benchmark)


def date(result: Result) -> str:
    """Return the start of the measurement, to the minute."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*?(?:\+00:00|Z)$", r"\1 \2 UTC", result.started)


def machine(result: Result, i18n: Translations) -> str:
    """Return the machine in one line: CPU, cores, system, Python."""
    known = result.machine
    parts = [known.get("cpu", ""), known.get("system", "")]
    if known.get("cores"):
        parts.insert(1, i18n.t("cores", n=known["cores"]))
    if known.get("python"):
        parts.append(f"Python {known['python']}")
    return i18n.t("and").join(filter(None, parts)) or "–"


def _origin(result: Result, i18n: Translations) -> str:
    line = date(result)
    if result.machine:
        line = i18n.t("on", date=line, machine=machine(result, i18n))
    if result.seconds is None:
        return line
    return line + i18n.t("and") + i18n.t("took", seconds=format_number(result.seconds))


def _single(result: Result) -> bool:
    """Whether any cell has fewer than two runs, and therefore no interval."""
    return any(len(cell.runs) < 2 for cell in result.cells)


# --- correctness ---------------------------------------------------------------------------------


def correctness(result: Result, i18n: Translations) -> Markup:
    """Return whether every message arrived, and the delays of the load generator itself."""
    counts = {
        i18n.name(f"count.{name}", name): _count(value)
        for name, value in result.correctness.items()
    }
    lateness = {
        i18n.name(f"generator.{name}", name): format_number(value)
        for name, value in result.generator.items()
        if value is not None
    }
    return tag(
        "div",
        tag("h3", _verdict(result, i18n)),
        facts(counts, "counts"),
        facts(lateness, "counts"),
        class_="verdict",
        data_state=_state(result),
    )


def _count(value: float | None) -> str:
    return "–" if value is None else format_number(value)


def _state(result: Result) -> str:
    if result.faults:
        return "bad"
    return "good" if _counted(result) and result.correctness.get("acknowledged") != 0 else "unknown"


def _counted(result: Result) -> dict[str, float]:
    """Return the violations that this file counts; it need not count all kinds."""
    counts = {name: result.correctness.get(name) for name in FAULTS}
    return {name: count for name, count in counts.items() if count is not None}


def _verdict(result: Result, i18n: Translations) -> str:
    counts = result.faults or _counted(result)
    if not counts:
        return i18n.t("correct.unknown")
    if _state(result) == "unknown":
        return i18n.t("correct.silent")
    faults = [i18n.t(f"fault.{name}", n=format_number(count)) for name, count in counts.items()]
    return i18n.t(f"correct.{_state(result)}", faults=i18n.t("and").join(faults))


# --- notes and details ---------------------------------------------------------------------------


def _notes(result: Result, i18n: Translations) -> Markup:
    if not result.notes:
        return Markup()
    # The benchmark writes its notes in English.
    notes = tag("ul", *(tag("li", note, lang="en") for note in result.notes), class_="notes")
    return join(tag("h3", i18n.t("notes")), notes)


def _details(result: Result, i18n: Translations) -> Markup:
    groups = {
        "settings": result.settings,
        "machine": result.machine,
        "versions": {"realtime": result.realtime, **result.versions},
        "server": result.server,
    }
    parts = [join(tag("h3", i18n.t(key)), _pairs(found)) for key, found in groups.items() if found]
    origin = {i18n.t("file"): result.path, i18n.t("seed"): result.seed or "–"}
    summary = tag("summary", i18n.t("details"))
    return tag("details", summary, _pairs(origin), *parts)


def _pairs(found: Mapping[str, str]) -> Markup:
    rows = [part for name, value in found.items() for part in (tag("dt", name), tag("dd", value))]
    return tag("dl", *rows, class_="facts")


if __name__ == "__main__":
    sys.exit(stdio.run(main))
