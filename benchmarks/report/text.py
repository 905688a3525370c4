"""A result as text: whether it is true first, then a row per cell, then what is to be known."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.method import thresholds
from benchmarks.method.samples import trusted
from benchmarks.method.stats import FEWEST_RUNS

_VERDICTS = {True: "holds", False: "!!! does not hold", None: "!!! not measured"}


def describe(result: Mapping[str, Any]) -> str:
    """Write the table."""
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
        "value [95 % interval over runs] | what theory predicts, and how far off it is",
    ]
    if result["settings"]["runs"] < FEWEST_RUNS:
        lines.append(f"Of fewer than {FEWEST_RUNS} runs an interval says little.")
    lines += thresholds.lines(map(thresholds.from_json, result.get("bounds", [])))
    lines += result["notes"]
    if result.get("budget"):
        lines += ["", *_budget_lines(result["budget"])]
    return "\n".join(lines)


def _budget_lines(budget: Sequence[Mapping[str, Any]]) -> list[str]:
    """What may be so many times as much as something else, and whether it is no more."""
    rows = [_budget_row(one) for one in budget]
    heads = ["load", "of", "divided by", "measure", "measured", "at most", ""]
    broken = sum(one["holds"] is False for one in budget)
    unknown = sum(one["holds"] is None for one in budget)
    return [
        f"performance budget: {len(budget) - broken - unknown} of {len(budget)} limits hold, "
        f"{broken} do not, {unknown} were not measured",
        tabulate(rows, headers=heads, disable_numparse=True),
    ]


def _budget_row(one: Mapping[str, Any]) -> list[str]:
    row = [one["load"], one["peer"], one["against"] or "–", one["measure"]]
    return [*row, _interval(one["measured"]), f"{one['most']:g}", _VERDICTS[one["holds"]]]


def _correctness_lines(result: Mapping[str, Any]) -> list[str]:
    told, generator = result["correctness"], result["generator"]
    verdict = "" if trusted(told) else "!!! "
    counts = ", ".join(f"{told.get(name, 0)} {name}" for name in ("lost", "doubled", "misplaced"))
    others = ("unacknowledged", "refused", "gaps")
    more = ", ".join(f"{told.get(name, 0)} {name}" for name in others)
    lines = [
        f"{verdict}{result['benchmark']}: {counts}, of {told.get('deliveries', 0)} deliveries; "
        f"{more}, {told.get('broken', 0)} connections broken"
    ]
    if generator["late_max_ms"] is not None:
        lines.append(
            f"the generator itself was late by {generator['late_p99_ms']:g} ms (p99), "
            f"{generator['late_max_ms']:g} ms (max), deaf for at most "
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
        text += f" | {_number(predicted)} {_off(summary['value'], predicted)}"
    return text


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    text = _number(found["value"])
    if found["low"] is not None:
        text += f" [{_number(found['low'])}–{_number(found['high'])}]"
    return text


def _off(value: float, predicted: float) -> str:
    """The disagreement: as a share of what was predicted, unless that is nothing."""
    if predicted == 0:
        return f"{value:+.3g}"
    return f"{100 * (value / predicted - 1):+.0f} %"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
