"""Which plots answer which question: a result goes in, named SVGs come out, in one language."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.clients import CLIENTS
from benchmarks.plots import Curve, Row

LANGUAGES = ("en", "zh-Hans", "zh-Hant")

Result = Mapping[str, Any]
Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot; `name` is that of its file."""

    name: str
    svg: str


class Words:
    """The sentences of one language; ``words("plot.ecdf", network="none")``."""

    def __init__(self, language: str) -> None:
        self._texts = _catalogues()[language]

    def __call__(self, key: str, **values: Any) -> str:
        return self._texts[key].format(**values)

    def name(self, kind: str, name: str) -> str:
        """Give the word for a measure or a factor; whatever has none is called by its own name."""
        return self._texts.get(f"{kind}.{name}", name)


@cache
def _catalogues() -> dict[str, dict[str, str]]:
    path = Path(__file__).parent / "words.json"
    found: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    return found


def charts(result: Result, words: Words) -> list[Chart]:
    """Give all plots of a result; of a kind that is not known, none."""
    make = _CHARTS.get(str(result["benchmark"]))
    return [] if make is None or not result["cells"] else make(result, words)


# --- by question ---------------------------------------------------------------------------------


def _latency(result: Result, words: Words) -> list[Chart]:
    made = []
    for place, cells in _grouped(result, "network", "rate"):
        drawn = []
        for cell in cells:
            style = style_of(cell)
            if points := cell.get("ecdf"):
                label = cell["factors"]["transport"]
                drawn.append(Curve(label, [(points[0][0], 0.0), *points], style, steps=True))
            if predicted := cell.get("theory_ecdf"):
                drawn.append(Curve("", _dense(predicted), style, theory=True))
        if not drawn:
            continue
        values = [x for curve in drawn for x, _ in curve.points if not curve.theory]
        svg = plots.curves(
            words("plot.ecdf", **place),
            words("axis.ms"),
            words("axis.share"),
            drawn,
            x_log=plots.wide(values),
        )
        made.append(Chart(_file("ecdf", place), svg))
    return made + _bars(result, words, ["p50", "p99"], "network", "rate")


def _dense(corners: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Put points between the corners: what is straight is not so on a logarithmic axis."""
    points = []
    for (x, share), (to_x, to_share) in pairwise(corners):
        steps = [n / 50 for n in range(50)]
        points += [(x + (to_x - x) * n, share + (to_share - share) * n) for n in steps]
    return [*points, (corners[-1][0], corners[-1][1])]


def _gap(result: Result, words: Words) -> list[Chart]:
    return _over(result, words, "rate", ["at_once", "mean"], ["network", "connection"])


def _fanout(result: Result, words: Words) -> list[Chart]:
    measures = ["last_ms", "first_ms", "cpu_us"]
    return _over(result, words, "followers", measures, ["transport"], log=True)


def _overhead(result: Result, words: Words) -> list[Chart]:
    measures = ["bytes_down", "bytes_up", "requests", "segments"]
    return _bars(result, words, measures, "size", "rate", per="per.overhead")


def _silence(result: Result, words: Words) -> list[Chart]:
    measures = ["bytes_up", "bytes_down", "requests", "cpu_ms", "memory_kib"]
    return _bars(result, words, measures, per="per.silence")


def _slow_reader(result: Result, words: Words) -> list[Chart]:
    measures = ["server_kib", "kernel_kib", "others_p99"]
    return _bars(result, words, measures, per="per.slow_reader")


def _recovery(result: Result, words: Words) -> list[Chart]:
    return _bars(result, words, ["p50", "max"], "network")


def _capacity(result: Result, words: Words) -> list[Chart]:
    drawn = [
        Row(
            name,
            found["value"],
            found["low"],
            found["high"],
            style=_number_of(name),
            open=not found["reached"],
        )
        for name, found in result.get("capacity", {}).items()
    ]
    if not drawn:
        return []
    title = words("plot.capacity", bound=plots.number(result["bound_ms"]))
    return [Chart("capacity", plots.rows(title, words("axis.clients"), drawn))]


def _peers(result: Result, words: Words) -> list[Chart]:
    made = []
    for measure in result["measures"]:
        drawn = [
            Row(peer, one["value"], one["low"], one["high"], style=number)
            for number, (peer, found) in enumerate(result.get("ratios", {}).items())
            if (one := found.get(measure))
        ]
        if drawn:
            title = words(
                "plot.ratio",
                measure=words.name("measure", measure),
                against=result.get("against", ""),
            )
            svg = plots.rows(title, words("axis.ratio"), drawn, log=True, one=True)
            made.append(Chart(f"ratio-{measure}", svg))
    return made


_CHARTS: dict[str, Callable[[Result, Words], list[Chart]]] = {
    "latency": _latency,
    "gap": _gap,
    "overhead": _overhead,
    "silence": _silence,
    "fanout": _fanout,
    "capacity": _capacity,
    "slow_reader": _slow_reader,
    "recovery": _recovery,
    "peers": _peers,
}


# --- ways to draw --------------------------------------------------------------------------------


def _bars(
    result: Result, words: Words, measures: Sequence[str], *by: str, per: str | None = None
) -> list[Chart]:
    """One plot for each measure and each group of cells, with a row for each transport."""
    made = []
    for measure in measures:
        for place, cells in _grouped(result, *by):
            drawn = [_row(cell, measure) for cell in cells]
            figures = [row.value for row in drawn if row.value is not None]
            if not figures:
                continue
            where = ", ".join(f"{words.name('factor', k)} {v}" for k, v in place.items())
            where = where or (words(per) if per else "")
            label = words.name("measure", measure)
            title = words("plot.cell", measure=label, place=where) if where else label
            axis = f"{label}, {words(per)}" if per else label
            svg = plots.rows(title, axis, drawn, log=min(figures) > 0 and plots.wide(figures))
            made.append(Chart(_file(measure, place), svg))
    return made


def _row(cell: Cell, measure: str) -> Row:
    found = cell["summary"].get(measure) or {}
    return Row(
        str(cell["factors"].get("transport", "")),
        found.get("value"),
        found.get("low"),
        found.get("high"),
        cell["theory"].get(measure),
        style_of(cell),
    )


def _over(
    result: Result,
    words: Words,
    factor: str,
    measures: Sequence[str],
    series: Sequence[str],
    *,
    log: bool = False,
) -> list[Chart]:
    """One plot for each measure over a factor that is a number, with a curve for each series."""
    made = []
    for measure in measures:
        drawn = []
        for number, (place, cells) in enumerate(_grouped(result, *series)):
            style = style_of(cells[0]) if "transport" in place else number
            cells = sorted(cells, key=lambda cell: float(cell["factors"][factor]))
            label = " ".join(place.values())
            drawn += _measured_and_predicted(cells, factor, measure, label, style)
        if drawn:
            label = words.name("measure", measure)
            axis = words.name("factor", factor)
            svg = plots.curves(label, axis, label, drawn, x_log=True, y_log=log)
            made.append(Chart(measure, svg))
    return made


def _measured_and_predicted(
    cells: Sequence[Cell], factor: str, measure: str, label: str, style: int
) -> list[Curve]:
    points, intervals, predicted = [], [], []
    for cell in cells:
        x = float(cell["factors"][factor])
        if found := cell["summary"].get(measure):
            points.append((x, found["value"]))
            ends = found["low"], found["high"]
            intervals.append(None if None in ends else ends)
        if (value := cell["theory"].get(measure)) is not None:
            predicted.append((x, value))
    drawn = [Curve(label, points, style, marked=True, intervals=intervals)] if points else []
    return drawn + ([Curve("", predicted, style, theory=True)] if predicted else [])


# --- cells ---------------------------------------------------------------------------------------


def _grouped(result: Result, *by: str) -> Iterable[tuple[dict[str, str], list[Cell]]]:
    """Give the cells that have the same values of these factors, in the order of the file."""
    groups: dict[tuple[str, ...], tuple[dict[str, str], list[Cell]]] = {}
    for cell in result["cells"]:
        place = {factor: plain(cell["factors"].get(factor)) for factor in by}
        key = tuple(place.values())
        groups.setdefault(key, (place, []))[1].append(cell)
    return groups.values()


def plain(value: Any) -> str:
    """Write a factor as one says it: 25, and not 25.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def style_of(cell: Cell) -> int:
    return _number_of(str(cell["factors"].get("transport", "")))


def _number_of(transport: str) -> int:
    """Each transport has its colour, everywhere the same."""
    names = [*CLIENTS]
    return names.index(transport) if transport in names else len(names)


def _file(kind: str, place: Mapping[str, str]) -> str:
    text = "-".join([kind, *place.values()])
    return "".join(one if one.isalnum() or one in "-_." else "_" for one in text)
