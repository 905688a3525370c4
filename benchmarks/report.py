"""``python -m benchmarks.report``: result files become one page that needs nothing but itself.

The page is written in three languages at once and shows one; it has no script and fetches nothing.
Beside it each plot is a file of its own, for slides.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.charts import LANGUAGES, Result, Words, charts, plain
from benchmarks.plots import number

FAULTS = ("lost", "doubled", "misplaced", "disagreeing", "unacknowledged", "miscounted")
# The order in which one reads them; kinds that are not known come last.
ORDER = (
    *("latency", "gap", "overhead", "silence", "fanout"),
    *("capacity", "slow_reader", "recovery", "peers"),
)

_STYLE = """\
:root{color-scheme:light dark;--ground:#fff;--ink:#222;--line:#ccc;--bad:#b00020;--good:#1b6e2e}
@media screen and (prefers-color-scheme:dark){:root{--ground:#181a1d;--ink:#eee;--line:#444;
--bad:#ff8a80;--good:#8fd694}}
body{margin:0 auto;max-width:64rem;padding:1rem;background:var(--ground);color:var(--ink);
font:1.125rem/1.5 system-ui,"Noto Sans","Noto Sans CJK SC",sans-serif}
h1,h2{line-height:1.2}h2{margin-top:3rem;border-top:2px solid var(--line);padding-top:1rem}
fieldset{border:0;padding:0}label{margin-right:1rem;cursor:pointer}
.verdict{font-weight:600;color:var(--good)}.verdict.bad{color:var(--bad);font-size:1.4rem}
.made,.off{opacity:.75}figure{margin:1.5rem 0;break-inside:avoid}svg{width:100%;height:auto}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.95rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
td{font-variant-numeric:tabular-nums}pre{white-space:pre-wrap;font-size:.85rem}
.worse{color:var(--bad)}.better{color:var(--good)}
@media print{fieldset{display:none}body{max-width:none;font-size:11pt}h2{break-before:auto}}
"""


class BadResult(Exception):
    """A file is not what a benchmark writes; the message names it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; the result is the exit status."""
    options = _parser().parse_args(arguments)
    try:
        results = load(options.files)
    except BadResult as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "report.html"
    path.write_text(page(results, options.language), encoding="utf-8")
    count = write_plots(results, options.out / "plots")
    print(f"{len(results)} results: {path}, and {count} plots in {options.out / 'plots'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        epilog="examples:\n  python -m benchmarks.report\n"
        "  python -m benchmarks.report results/latency.json --out slides --language zh-Hans",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="*", type=Path, default=[Path("results")], help="files, or folders of them"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder to write to (%(default)s)"
    )
    parser.add_argument(
        "--language", choices=LANGUAGES, default="en", help="shown first (%(default)s)"
    )
    return parser


# --- reading -------------------------------------------------------------------------------------


def load(paths: Iterable[Path]) -> list[Result]:
    """Read result files, and those of folders, in the order of the report; raises `BadResult`."""
    files = [file for path in paths for file in _files(path)]
    results = [load_one(file) for file in files]
    if not results:
        raise BadResult("there is no result file here; run a benchmark first")
    return sorted(results, key=lambda result: (_place(result), str(result.get("started"))))


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.json")) if path.is_dir() else [path]


def _place(result: Result) -> int:
    name = result["benchmark"]
    return ORDER.index(name) if name in ORDER else len(ORDER)


def load_one(path: Path) -> Result:
    """Read one file and see that all is there which the page needs."""
    try:
        result = json.loads(path.read_text("utf-8"))
        names = ("benchmark", "correctness", "measures", "factors", "cells", "machine")
        for name in names:
            result[name]
        for cell in result["cells"]:
            _ = cell["factors"], cell["summary"], cell["theory"], cell["runs"]
    except OSError as error:
        raise BadResult(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise BadResult(f"{path} is no result of a benchmark") from error
    found: Result = result
    return found


# --- the page ------------------------------------------------------------------------------------

# What is to be said in a language; the page has it in all of them.
Saying = Callable[[Words], str]


def in_all(say: Saying, tag: str = "span") -> str:
    """Say something in each language; the style shows the one that was chosen."""
    return "".join(
        f'<{tag} lang="{language}">{say(Words(language))}</{tag}>' for language in LANGUAGES
    )


def text(key: str, **values: Any) -> str:
    return in_all(lambda words: escape(words(key, **values)))


def page(results: Sequence[Result], language: str) -> str:
    sections = "".join(section(result) for result in results)
    return document("title", f"<p>{text('intro')}</p><p>{text('how')}</p>{sections}", language)


def document(title: str, body: str, language: str) -> str:
    """Put `body` into a page with a choice of languages."""
    switch = "".join(
        f'<label><input type="radio" name="language" id="{one}"'
        f"{' checked' if one == language else ''}> {escape(Words(one)('language'))}</label>"
        for one in LANGUAGES
    )
    hidden = "".join(
        f"body:has(#{one}:checked) [lang]:not([lang={one}]){{display:none}}" for one in LANGUAGES
    )
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>'
        f"{escape(Words(language)(title))}</title><style>{_STYLE}{hidden}</style></head><body>"
        f"<fieldset>{switch}</fieldset><h1>{text(title)}</h1>{body}</body></html>\n"
    )


def section(result: Result) -> str:
    """The answer to one question: is it true, what is it, and how was it made."""
    figures = [in_all(lambda words, n=n: _figure(result, words, n), "div") for n in _range(result)]  # type: ignore[misc]
    parts = [
        f"<section><h2>{_question(result)}</h2>",
        verdict(result),
        f'<p class="made">{_made(result)}</p>',
        *(f"<figure>{one}</figure>" for one in figures),
        f"<h3>{text('figures')}</h3>{table(result)}",
        _notes(result),
        f"<details><summary>{text('details')}</summary><pre>{_settings(result)}</pre></details>",
        "</section>",
    ]
    return "".join(parts)


def _range(result: Result) -> range:
    return range(len(charts(result, Words("en"))))


def _figure(result: Result, words: Words, place: int) -> str:
    return charts(result, words)[place].svg


def _question(result: Result) -> str:
    name = str(result["benchmark"])
    if name not in ORDER:
        return text("question.other", name=name)
    return text(f"question.{name}", bound=_plain(result.get("bound_ms")))


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else "?"


def verdict(result: Result) -> str:
    """What comes first: whether the figures may be trusted."""
    told = result["correctness"]
    found = {name: told[name] for name in FAULTS if told.get(name)}
    deliveries = told.get("deliveries", 0)

    def say(words: Words) -> str:
        if not found:
            return escape(words("clean", deliveries=deliveries))
        faults = ", ".join(words(f"fault.{name}", count=n) for name, n in found.items())
        return escape(words("faulty", faults=faults, deliveries=deliveries))

    parts = []
    if found or deliveries:
        parts.append(f'<p class="verdict{" bad" if found else ""}">{in_all(say)}</p>')
    if not result.get("complete", True):
        parts.append(f'<p class="verdict bad">{text("incomplete")}</p>')
    generator = result.get("generator") or {}
    if generator.get("late_max_ms") is not None:
        late = {"p99": _plain(generator["late_p99_ms"]), "max": _plain(generator["late_max_ms"])}
        parts.append(f"<p>{text('generator', **late)}</p>")
    return "".join(parts)


def _made(result: Result) -> str:
    machine, server = result["machine"], result.get("server") or {}
    return text(
        "made",
        date=str(result.get("started", "?"))[:10],
        cpu=machine.get("cpu", "?"),
        cores=machine.get("cores", "?"),
        system=machine.get("system", "?"),
        hub=server.get("hub", "?"),
    )


def _notes(result: Result) -> str:
    notes = list(map(str, result.get("notes") or []))
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<h3>{text('notes')}</h3><ul>{items}</ul>"


def _settings(result: Result) -> str:
    names = ("settings", "machine", "versions", "server", "seed", "seconds", "started", "realtime")
    shown = {name: result[name] for name in names if name in result}
    return escape(json.dumps(shown, ensure_ascii=False, indent=1))


# --- the table -----------------------------------------------------------------------------------


def table(result: Result) -> str:
    """Every figure with its interval, and what theory says beside it."""
    factors, measures = result["factors"], [*result["measures"]]
    heads = [in_all(lambda words, f=f: escape(words.name("factor", f))) for f in factors]  # type: ignore[misc]
    heads += [in_all(lambda words, m=m: escape(words.name("measure", m))) for m in measures]  # type: ignore[misc]
    rows = []
    for cell in result["cells"]:
        cells = [escape(plain(cell["factors"].get(factor, ""))) for factor in factors]
        cells += [_cell(cell, measure) for measure in measures]
        rows.append("".join(f"<td>{one}</td>" for one in cells))
    head = "".join(f"<th>{one}</th>" for one in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Mapping[str, Any], measure: str) -> str:
    found = cell["summary"].get(measure)
    if not found:
        return "–"
    shown = figure(found)
    predicted = cell["theory"].get(measure)
    if predicted is None:
        return shown
    off = disagreement(found["value"], predicted)
    return (
        f'{shown} <span class="off">{text("theory")} {number(predicted)}, '
        f"{text('off')} {escape(off)}</span>"
    )


def figure(found: Mapping[str, Any]) -> str:
    """A value and its interval, if it has one."""
    if found.get("low") is None or found.get("high") is None:
        return number(found["value"])
    return f"{number(found['value'])} [{number(found['low'])}–{number(found['high'])}]"


def disagreement(value: float, predicted: float) -> str:
    """In percent of what was predicted, or as it is where that is nothing."""
    if predicted == 0:
        return f"{value:+.3g}"
    return f"{100 * (value / predicted - 1):+.0f} %"


# --- plots as files ------------------------------------------------------------------------------


def write_plots(results: Sequence[Result], folder: Path) -> int:
    """Write each plot in each language; give how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    for place, result in enumerate(results):
        name = str(result["benchmark"])
        # Two results of one kind have plots of the same names.
        twin = any(other["benchmark"] == name for other in results[:place])
        prefix = f"{name}-{place}" if twin else name
        for language in LANGUAGES:
            for chart in charts(result, Words(language)):
                path = folder / f"{prefix}-{chart.name}.{language}.svg"
                path.write_text(chart.svg, encoding="utf-8")
                written.add(path)
    return len(written)


if __name__ == "__main__":
    sys.exit(main())
