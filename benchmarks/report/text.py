"""A result as text: first its correctness, then a row per cell, then thresholds and notes."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.method import thresholds
from benchmarks.method.samples import trusted
from benchmarks.method.stats import MIN_RUNS

# Key in the result file: the word for it.
_FAULTS = {"lost": "lost", "doubled": "duplicated", "misplaced": "out of order"}
_VERDICTS = {True: "holds", False: "!!! does not hold", None: "!!! not measured"}
_NOT_JUDGED = "not judged"


def format_result(result: Mapping[str, Any]) -> str:
    """Return the lines that a script prints at its end."""
    lines = ["", *_correctness_lines(result), ""]
    names = [*result["measures"]]
    units = {name: result["measures"][name]["unit"] for name in names}
    heads = [*result["factors"], *(f"{n} ({units[n]})" if units[n] else n for n in names)]
    rows = [
        [*(cell["factors"].get(factor, "") for factor in result["factors"])]
        + [_figure(cell, name) for name in names]
        for cell in result["cells"]
    ]
    lines.append(tabulate(rows, headers=heads, disable_numparse=True))
    lines += [
        "",
        "value [95 % interval over runs] | theory, and the difference of the measured value",
    ]
    if result["settings"]["runs"] < MIN_RUNS:
        lines.append(f"With fewer than {MIN_RUNS} runs an interval says little.")
    judged = result["settings"]["runs"] >= MIN_RUNS and not result["settings"].get("quick")
    bounds = map(thresholds.from_json, result.get("bounds", []))
    lines += thresholds.lines(bounds, judged)
    lines += result["notes"]
    if result.get("budget"):
        lines += ["", *_budget_lines(result["budget"], judged)]
    return "\n".join(lines)


def _budget_lines(budget: Sequence[Mapping[str, Any]], judged: bool) -> list[str]:
    """Return the table of the performance budget: ratios to other systems and their limits."""
    rows = [_budget_row(one, judged) for one in budget]
    heads = ["load", "of", "divided by", "measure", "measured", "at most", ""]
    broken = sum(one["holds"] is False for one in budget)
    unknown = sum(one["holds"] is None for one in budget)
    if not judged:
        head = f"performance budget: too few or too short runs to judge {len(budget)} limits"
        return [head, tabulate(rows, headers=heads, disable_numparse=True)]
    return [
        f"performance budget: {len(budget) - broken - unknown} of {len(budget)} limits hold, "
        f"{broken} do not, {unknown} were not measured",
        tabulate(rows, headers=heads, disable_numparse=True),
    ]


def _budget_row(one: Mapping[str, Any], judged: bool) -> list[str]:
    row = [one["load"], one["peer"], one["against"] or "–", one["measure"]]
    verdict = _VERDICTS[one["holds"]] if judged or one["holds"] is None else _NOT_JUDGED
    return [*row, _interval(one["measured"]), f"{one['most']:g}", verdict]


def _correctness_lines(result: Mapping[str, Any]) -> list[str]:
    counts, generator = result["correctness"], result["generator"]
    verdict = "" if trusted(counts) else "!!! "
    faults = ", ".join(f"{counts.get(key, 0)} {word}" for key, word in _FAULTS.items())
    others = ("unacknowledged", "refused", "gaps")
    more = ", ".join(f"{counts.get(name, 0)} {name}" for name in others)
    lines = [
        f"{verdict}{result['benchmark']}: {faults}, of {counts.get('deliveries', 0)} deliveries; "
        f"{more}, {counts.get('broken', 0)} connections broken"
    ]
    if generator["late_max_ms"] is not None:
        lines.append(
            f"the load generator itself was late by {generator['late_p99_ms']:g} ms (p99), "
            f"{generator['late_max_ms']:g} ms (max), and did not poll for at most "
            f"{generator['deaf_max_ms']:g} ms; seed {result['seed']}"
        )
    return lines


def _figure(cell: Mapping[str, Any], name: str) -> str:
    summary = cell["summary"].get(name)
    if summary is None:
        return "–"
    text = _interval(summary)
    predicted = cell["theory"].get(name)
    if predicted is not None:
        text += f" | {_number(predicted)} {_difference(summary['value'], predicted)}"
    return text


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    text = _number(found["value"])
    if found["low"] is not None:
        text += f" [{_number(found['low'])}–{_number(found['high'])}]"
    return text


def _difference(value: float, predicted: float) -> str:
    """Return the difference as a percentage of the prediction; absolute if that is 0."""
    if predicted == 0:
        return f"{value:+.3g}"
    return f"{100 * (value / predicted - 1):+.0f} %"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
