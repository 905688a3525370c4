"""Result files in, one page and its plots out: what was lost first, then how fast, then theory.

    python -m benchmarks.report results --out report

writes report/report.html, which needs nothing else and fetches nothing, and one SVG file per plot
and language in report/plots.  A file that is no result is named in one line; nothing is written.
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
from benchmarks.report.axes import number
from benchmarks.report.figures import Figure, figures
from benchmarks.report.html import Markup, join, tag
from benchmarks.report.i18n import Words, catalogue
from benchmarks.report.page import facts, figure, page, table, warning, write
from benchmarks.report.svg import standalone

EXAMPLES = """\
examples:
  python -m benchmarks.report                     what is in ./results, to ./report
  python -m benchmarks.report results/gap.json    one benchmark alone
  python -m benchmarks.report old new --out both  two machines on one page
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
        description="Make one page, in three languages, of the results of benchmarks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="result files, or folders of them"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("report"), metavar="FOLDER", help="where to (./report)"
    )
    return parser


def report(results: Sequence[Result]) -> dict[str, str]:
    """Return the files of a report: the page, and each plot in each language."""
    words = catalogue()
    names = _names(results)
    drawn = {
        language: {name: figures(result, its) for name, result in names.items()}
        for language, its in words.items()
    }
    bodies = {language: _body(names, drawn[language], its) for language, its in words.items()}
    files = {"report.html": page(bodies, words, "report.title")}
    for language, plots in drawn.items():
        for name, found in plots.items():
            for stem, one in zip(_stems(name, found), found, strict=True):
                files[f"plots/{stem}.{language}.svg"] = standalone(one.drawing, language)
    return files


def _names(results: Sequence[Result]) -> dict[str, Result]:
    """Name each result by its kind; the second of a kind is latency-2."""
    seen: Counter[str] = Counter()
    names = {}
    for result in results:
        kind = slug(result.benchmark)
        seen[kind] += 1
        names[kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"] = result
    return names


def _stems(name: str, found: Sequence[Figure]) -> list[str]:
    """Names for the files of plots, which differ even where those in the result file do not."""
    seen: Counter[str] = Counter()
    stems = []
    for one in found:
        stem = f"{name}-{slug(one.name)}"
        seen[stem] += 1
        stems.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return stems


def slug(text: str) -> str:
    """Return a name for a file or an anchor, whatever the text was: letters, digits, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "other"


# --- the page ------------------------------------------------------------------------------------


def _body(
    names: Mapping[str, Result], drawn: Mapping[str, Sequence[Figure]], words: Words
) -> Markup:
    alarm = any(result.faults for result in names.values())
    return join(
        tag("p", words.say("report.intro")),
        warning(words.say("report.alarm")) if alarm else "",
        _overview(names, words),
        *(_section(name, result, drawn[name], words) for name, result in names.items()),
    )


def _overview(names: Mapping[str, Result], words: Words) -> Markup:
    heads = [words.say(key) for key in ("question", "measured", "machine", "messages")]
    rows = [
        tag(
            "tr",
            tag("td", tag("a", title(result, words), href=f"#{words.language}-{name}")),
            tag("td", tag("span", date(result), class_="date"), *_stopped(result, words)),
            tag("td", machine(result, words)),
            tag("td", _promise(result, words), class_=_state(result)),
        )
        for name, result in names.items()
    ]
    head = tag("tr", *(tag("th", name, scope="col") for name in heads))
    return table(head, rows, words.say("contents"))


def _stopped(result: Result, words: Words) -> list[str]:
    if result.complete:
        return []
    return [tag("br"), tag("span", words.say("incomplete.short"), class_="bad")]


def _section(name: str, result: Result, drawn: Sequence[Figure], words: Words) -> Markup:
    question = words.name(f"question.{result.benchmark}", "")
    return tag(
        "section",
        tag("h2", title(result, words)),
        tag("p", question, class_="question") if question else "",
        tag("p", _origin(result, words), class_="small"),
        "" if result.complete else warning(words.say("incomplete")),
        correctness(result, words),
        html_tables.thresholds(result, words),
        *(figure(one.drawing, one.caption) for one in drawn),
        "" if drawn or not result.cells else tag("p", words.say("unknown")),
        tag("h3", words.say("figures")),
        html_tables.cells(result, words),
        html_tables.capacity(result, words),
        html_tables.budget(result, words),
        html_tables.ratios(result, words),
        tag("p", words.say("interval.none"), class_="small") if _single(result) else "",
        _notes(result, words),
        _details(result, words),
        id=f"{words.language}-{name}",
    )


def title(result: Result, words: Words) -> str:
    return words.name(f"title.{result.benchmark}", result.benchmark)


def date(result: Result) -> str:
    """Return when it was measured, to the minute, as the file has it."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*?(?:\+00:00|Z)$", r"\1 \2 UTC", result.started)


def machine(result: Result, words: Words) -> str:
    """Return the machine in a line: processor, cores, system, Python."""
    known = result.machine
    parts = [known.get("cpu", ""), known.get("system", "")]
    if known.get("cores"):
        parts.insert(1, words.say("cores", n=known["cores"]))
    if known.get("python"):
        parts.append(f"Python {known['python']}")
    return words.say("and").join(filter(None, parts)) or "–"


def _origin(result: Result, words: Words) -> str:
    line = date(result)
    if result.machine:
        line = words.say("on", date=line, machine=machine(result, words))
    if result.seconds is None:
        return line
    return line + words.say("and") + words.say("took", seconds=number(result.seconds))


def _single(result: Result) -> bool:
    """Whether some cell was measured only once, so that its figures have no interval."""
    return any(len(cell.runs) < 2 for cell in result.cells)


# --- correctness ---------------------------------------------------------------------------------


def correctness(result: Result, words: Words) -> Markup:
    """Say first whether every message arrived, and how punctual the load generator itself was."""
    counts = {
        words.name(f"count.{name}", name): _count(value)
        for name, value in result.correctness.items()
    }
    lateness = {
        words.name(f"generator.{name}", name): number(value)
        for name, value in result.generator.items()
        if value is not None
    }
    return tag(
        "div",
        tag("h3", _promise(result, words)),
        facts(counts, "counts"),
        facts(lateness, "counts"),
        class_="verdict",
        data_state=_state(result),
    )


def _count(value: float | None) -> str:
    return "–" if value is None else number(value)


def _state(result: Result) -> str:
    if result.faults:
        return "bad"
    return "good" if _counted(result) and result.correctness.get("acknowledged") != 0 else "unknown"


def _counted(result: Result) -> dict[str, float]:
    """What of the promise was looked at: a file need not count everything."""
    counts = {name: result.correctness.get(name) for name in FAULTS}
    return {name: count for name, count in counts.items() if count is not None}


def _promise(result: Result, words: Words) -> str:
    told = result.faults or _counted(result)
    if not told:
        return words.say("correct.unknown")
    if _state(result) == "unknown":
        return words.say("correct.silent")
    faults = [words.say(f"fault.{name}", n=number(count)) for name, count in told.items()]
    return words.say(f"correct.{_state(result)}", faults=words.say("and").join(faults))


# --- the small print -----------------------------------------------------------------------------


def _notes(result: Result, words: Words) -> Markup:
    if not result.notes:
        return Markup()
    # They are written by the benchmark, in English.
    notes = tag("ul", *(tag("li", note, lang="en") for note in result.notes), class_="notes")
    return join(tag("h3", words.say("notes")), notes)


def _details(result: Result, words: Words) -> Markup:
    groups = {
        "settings": result.settings,
        "machine": result.machine,
        "versions": {"realtime": result.realtime, **result.versions},
        "server": result.server,
    }
    parts = [
        join(tag("h3", words.say(key)), _pairs(found)) for key, found in groups.items() if found
    ]
    origin = {words.say("file"): result.path, words.say("seed"): result.seed or "–"}
    summary = tag("summary", words.say("details"))
    return tag("details", summary, _pairs(origin), *parts)


def _pairs(found: Mapping[str, str]) -> Markup:
    rows = [part for name, value in found.items() for part in (tag("dt", name), tag("dd", value))]
    return tag("dl", *rows, class_="facts")


if __name__ == "__main__":
    sys.exit(main())
