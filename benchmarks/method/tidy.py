"""A result as a table: one row per run and measure, which spreadsheets and pandas read as it is.

    script,started,run,transport,network,rate,measure,unit,value
    latency,2026-11-23T10:09:32+00:00,1,sse,rtt=100ms,20.0,p50,ms,52.783

The columns between `run` and `measure` are the factors of the benchmark.  A value that was not
measured is empty.  Rows of several files can be concatenated.  (Hadley Wickham, Tidy Data, 2014)
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any


def tidy_csv(result: Mapping[str, Any]) -> str:
    """Return the rows of a result, as the runner writes it to JSON, with their head."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    factors = result["factors"]
    writer.writerow(["script", "started", "run", *factors, "measure", "unit", "value"])
    writer.writerows(_rows(result))
    return text.getvalue()


def _rows(result: Mapping[str, Any]) -> Iterator[list[Any]]:
    units = {name: measure["unit"] for name, measure in result["measures"].items()}
    for cell in result["cells"]:
        levels = [cell["factors"].get(factor) for factor in result["factors"]]
        for number, run in enumerate(cell["runs"], 1):
            for name, value in run.items():
                start = [result["benchmark"], result["started"], number]
                yield [*start, *levels, name, units[name], value]
