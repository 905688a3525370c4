"""Make one page from result files: first which transport to take, then every measured value.

    python -m benchmarks.report results --out report

writes report/report.html, which is self-contained.  If a file is not a result, one line names it
and nothing is written.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.method.results import TRANSPORTS, Result, ResultError, load
from benchmarks.method.samples import FAULTS
from benchmarks.report.answer import (
    Column,
    answer,
    charts,
    column_text,
    conclusions,
    condition,
    goes_past,
    price_of_webtransport,
)
from benchmarks.report.figures import Figure, figures
from benchmarks.report.i18n import Translations, load_translations
from benchmarks.report.numbers import format_number
from benchmarks.report.page import libraries, page, write
from benchmarks.report.tables import Table, all_tables
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
        write({options.out / "report.html": report(results)})
    except ResultError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.out}: {error.strerror or error}", file=sys.stderr)
        return 1
    if not libraries():
        print("no charts: `make bench` downloads the libraries that draw them", file=sys.stderr)
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


def report(results: Sequence[Result]) -> str:
    """Return the page of these results."""
    translations = load_translations()
    names = _names(results)
    columns = answer(results)
    articles = {language: _article(names, columns, i18n) for language, i18n in translations.items()}
    return page(
        "report.html",
        articles,
        translations,
        "report.title",
        transports=TRANSPORTS,
        column_text=column_text,
        goes_past=goes_past,
        condition=condition,
    )


def _names(results: Sequence[Result]) -> dict[str, Result]:
    """Name each result after its benchmark; the second one of latency is latency-2."""
    seen: Counter[str] = Counter()
    names = {}
    for result in results:
        kind = slug(result.benchmark)
        seen[kind] += 1
        names[kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"] = result
    return names


def slug(text: str) -> str:
    """Turn any text into a file name or anchor: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "other"


# --- the page ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """What the page shows of one result."""

    name: str
    result: Result
    title: str
    question: str
    date: str
    origin: str
    state: str
    verdict: str
    counts: Sequence[Mapping[str, str]]
    limits: str
    limits_look: str
    figures: Sequence[Figure]
    tables: Sequence[Table]
    has_single_run: bool
    facts: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Article:
    """The content of the page in one language."""

    alarm: bool
    is_rough: bool
    conclusions: Sequence[str]
    columns: Sequence[Column]
    charts: Sequence[Figure]
    sections: Sequence[Section]


def _article(names: Mapping[str, Result], columns: Sequence[Column], i18n: Translations) -> Article:
    results = names.values()
    return Article(
        alarm=any(result.faults for result in results),
        is_rough=any(result.is_quick for result in results),
        conclusions=[*conclusions(columns, i18n), *price_of_webtransport(results, i18n)],
        columns=columns,
        charts=[replace(one, name=f"answer-{one.name}") for one in charts(columns, i18n)],
        sections=[_section(name, result, i18n) for name, result in names.items()],
    )


def _section(name: str, result: Result, i18n: Translations) -> Section:
    limits, look = _limits(result, i18n)
    return Section(
        name=name,
        result=result,
        title=title(result, i18n),
        question=i18n.name(f"question.{result.benchmark}", ""),
        date=date(result),
        origin=_origin(result, i18n),
        state=_state(result),
        verdict=_verdict(result, i18n),
        counts=[_counts(result, i18n), _lateness(result, i18n)],
        limits=limits,
        limits_look=look,
        figures=_named(name, figures(result, i18n)),
        tables=all_tables(result, i18n),
        # Without two runs a cell has no interval.
        has_single_run=any(len(cell.runs) < 2 for cell in result.cells),
        facts=_facts(result, i18n),
    )


def _named(name: str, found: Sequence[Figure]) -> list[Figure]:
    """Give each figure an anchor, unique even where the names in the result file are not."""
    seen: Counter[str] = Counter()
    named = []
    for one in found:
        anchor = f"{name}-{slug(one.name)}"
        seen[anchor] += 1
        number = "" if seen[anchor] == 1 else f"-{seen[anchor]}"
        named.append(replace(one, name=anchor + number))
    return named


def _limits(result: Result, i18n: Translations) -> tuple[str, str]:
    """Return in one sentence how many limits hold, and its look; a short run judges none."""
    verdicts = [one.holds if one.value is not None else None for one in result.thresholds]
    verdicts += [one.holds for one in result.budget]
    if not verdicts:
        return "", ""
    if not result.judges_limits:
        return i18n.t("limits.not_judged", n=str(len(verdicts))), "small"
    counts = {"n": str(verdicts.count(True)), "of": str(len(verdicts))}
    broken = verdicts.count(False)
    if not broken:
        return i18n.t("limits.good", **counts), "good"
    return i18n.t("limits.bad", broken=str(broken), **counts), "bad"


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


# --- correctness ---------------------------------------------------------------------------------


def _counts(result: Result, i18n: Translations) -> dict[str, str]:
    found = result.correctness.items()
    return {i18n.name(f"count.{name}", name): _count(value) for name, value in found}


def _lateness(result: Result, i18n: Translations) -> dict[str, str]:
    """Return the delays of the load generator itself."""
    found = result.generator.items()
    return {
        i18n.name(f"generator.{name}", name): format_number(value)
        for name, value in found
        if value is not None
    }


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


# --- details --------------------------------------------------------------------------------------


def _facts(result: Result, i18n: Translations) -> dict[str, Mapping[str, str]]:
    """Return the groups of facts about a result that are not empty, by their headings."""
    groups = {
        "": {i18n.t("file"): result.path, i18n.t("seed"): result.seed or "–"},
        i18n.t("settings"): result.settings,
        i18n.t("machine"): result.machine,
        i18n.t("versions"): {"realtime": result.realtime, **result.versions},
        i18n.t("server"): result.server,
    }
    return {heading: facts for heading, facts in groups.items() if facts}


if __name__ == "__main__":
    sys.exit(stdio.run(main))
