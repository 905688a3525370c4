"""The answer of a report: the right values, honest marks, and the sentences that follow."""

from typing import Any

import pytest

from benchmarks.method.results import TRANSPORTS, Estimate, load
from benchmarks.report.answer import (
    QUESTIONS,
    Column,
    answer,
    charts,
    column_text,
    conclusions,
    find_marks,
    goes_past,
    price_of_webtransport,
)
from benchmarks.report.i18n import load_translations
from tests.benchmarks.samples import cell, parsed
from tests.server_process import ROOT

pytestmark = pytest.mark.unhurried

ENGLISH = load_translations()["en"]
BUFFERED = "buffer=4096,flush=1s"


def columns(*kinds: str, **changes: Any) -> dict[str, Column]:
    return {one.key: one for one in answer([parsed(kind, **changes) for kind in kinds])}


def medians(cells: list[dict[str, Any]], measure: str) -> dict[str, float]:
    return {one["factors"]["transport"]: one["summary"][measure]["value"] for one in cells}


def test_the_delay_is_that_of_the_slowest_network_without_a_buffering_proxy() -> None:
    cells = [
        cell({"transport": name, "network": network, "rate": 20.0}, {"p50": delay})
        for name in ("sse", "websocket")
        for network, delay in (("none", 2.0), ("rtt=100ms", 52.0), (BUFFERED, 900.0))
    ]
    found = columns("latency", cells=cells)
    slow = [one for one in cells if one["factors"]["network"] == "rtt=100ms"]
    buffered = [one for one in cells if one["factors"]["network"] == BUFFERED]
    for key, ones, network in (("delay", slow, "rtt=100ms"), ("buffered", buffered, BUFFERED)):
        assert {n: e.value for n, e in found[key].values.items()} == medians(ones, "p50")
        assert found[key].condition == network


def test_a_message_costs_its_bytes_in_both_directions() -> None:
    found = columns("overhead")["bytes"]
    cells = [one for one in parsed("overhead").cells if one.factors["size"] == 20]
    for one in cells:
        total = one.summary["bytes_up"].value + one.summary["bytes_down"].value
        assert found.values[str(one.factors["transport"])].value == total
    assert found.condition == "20"


def test_webtransport_is_compared_with_a_websocket_over_tls() -> None:
    summaries = {
        "websocket": {"cpu_us": 1.0, "memory_kib": 1.0},
        "websocket, TLS": {"cpu_us": 20.0, "memory_kib": 10.0},
        "webtransport": {"cpu_us": 240.0, "memory_kib": 65.0},
    }
    cells = [cell({"way": way}, summary) for way, summary in summaries.items()]
    for one in cells:
        values = summaries[one["factors"]["way"]]
        one["summary"] = {name: {"value": value} for name, value in values.items()}
    (sentence,) = price_of_webtransport([parsed("webtransport", cells=cells)], ENGLISH)
    assert "costs 12 times the CPU" in sentence
    assert "6.5 times its memory" in sentence
    assert price_of_webtransport([parsed("overhead")], ENGLISH) == []


def test_the_cpu_of_a_delivery_is_that_with_most_readers() -> None:
    found = columns("fanout")["cpu"]
    assert found.condition == "1,000"
    assert [*found.values] == [*TRANSPORTS]


def test_sticky_routing_is_needed_if_any_visit_fails_without() -> None:
    cells = [
        cell({"way": way, "routing": "any", "people": people}, {"held": held})
        for way, people, held in [
            ("sse", "one address", 100.0),
            ("sse", "many", 100.0),
            ("sockjs", "one address", 100.0),
            ("sockjs", "many", 0.0),
        ]
    ]
    for one in cells:
        one["summary"]["held"] = {"value": 100.0 if one["runs"][0]["held"] else 0.0}
    found = columns("sticky", cells=cells)["sticky"]
    assert found.marks == {"sse": "best", "sockjs": "worst"}
    assert column_text(found, "sse", ENGLISH) == "no"
    assert column_text(found, "sockjs", ENGLISH) == "yes: 0 % work"


def test_what_goes_past_a_proxy_has_no_advice_about_proxies() -> None:
    buffered = columns("latency")["buffered"]
    assert "webtransport" not in buffered.values
    assert "webtransport" in columns("latency")["delay"].values
    assert goes_past("sticky", "webtransport")
    assert not goes_past("sticky", "websocket")


def test_of_two_results_the_newest_counts() -> None:
    old = parsed("idle_cost", started="2026-01-01T00:00:00+00:00", cells=[])
    assert {one.key: one for one in answer([parsed("idle_cost"), old])}["idle"].values


def test_any_name_of_a_network_is_accepted() -> None:
    assert columns("latency")["delay"].values.keys() == set(TRANSPORTS)


def test_without_a_result_a_column_has_no_values_but_its_script() -> None:
    scripts = [one.script for one in answer([])]
    assert scripts == [one.script for one in QUESTIONS]
    assert not any(one.values or one.marks for one in answer([]))
    assert charts(answer([]), ENGLISH) == []
    for script in scripts:
        assert (ROOT / "benchmarks" / f"{script}.py").exists()


# --- marks ---------------------------------------------------------------------------------------


def marks(more_is_better: bool = False, **values: float | tuple[float, float, float]) -> str:
    found = find_marks(
        {n: Estimate(*v) if isinstance(v, tuple) else Estimate(v) for n, v in values.items()},
        more_is_better,
    )
    return " ".join(f"{name}:{mark}" for name, mark in sorted(found.items()))


def test_the_best_and_the_worst_are_marked() -> None:
    assert marks(a=1, b=5, c=9) == "a:best c:worst"
    assert marks(True, a=1, b=5, c=9) == "a:worst c:best"


def test_values_that_cannot_be_distinguished_share_a_mark() -> None:
    assert marks(a=52.6, b=52.8, c=103, d=550) == "a:best b:best d:worst"
    assert marks(a=(10, 8, 14), b=(13, 12, 15), c=90, d=50) == "a:best b:best c:worst"
    # 24 and 32 bytes per minute are equal beside 45,000.
    assert marks(a=24, b=32, c=1_800, d=45_000) == "a:best b:best d:worst"


def test_marks_that_say_nothing_are_left_out() -> None:
    assert marks(a=100, b=103, c=101) == ""
    assert marks(a=5) == ""
    # All but one are the worst.
    assert marks(a=10, b=16.3, c=16.6, d=16.9) == "a:best"


# --- sentences -----------------------------------------------------------------------------------


def column(key: str, best: str, worst: str, **values: float) -> Column:
    found = {name: Estimate(value) for name, value in values.items()}
    given = dict.fromkeys(best.split(), "best") | dict.fromkeys(worst.split(), "worst")
    return Column(key, "latency", "", found, given)


def test_the_first_sentence_names_what_is_best_most_often_and_never_worst() -> None:
    asked = [
        column("delay", "sse websocket", "short_polling"),
        column("bytes", "websocket sse", "long_polling"),
        column("memory", "short_polling sockjs", "socketio"),
        column("idle", "websocket sse", "short_polling"),
    ]
    first, second = conclusions(asked, ENGLISH)
    assert first == (
        "Take Server-sent events (SSE) or WebSocket: best in 3 of 4 questions, worst in none. "
        "“Take it when” decides between them."
    )
    assert second == "Short polling is the worst for: Delay, Idle."


def test_if_each_is_the_worst_somewhere_the_sentence_says_so() -> None:
    asked = [
        column("delay", "sse", "websocket"),
        column("bytes", "websocket", "sse"),
        column("idle", "websocket", "sse"),
    ]
    first, _ = conclusions(asked, ENGLISH)
    assert first == "Take WebSocket: best in 2 of 3 questions, worst in 1, which is the fewest."


def test_a_buffering_proxy_and_sticky_routing_have_their_sentences() -> None:
    asked = [
        column("delay", "sse", "short_polling"),
        column("buffered", "websocket long_polling", "sse"),
        column("sticky", "sse", "socketio", sse=100, socketio=0),
    ]
    text = " ".join(conclusions(asked, ENGLISH))
    assert "Behind a proxy that buffers responses: Long polling or WebSocket." in text
    assert text.endswith("Several workers need sticky routing for: Socket.IO.")


def test_too_few_questions_recommend_nothing() -> None:
    for found in ([], [*columns("latency").values()]):
        [only] = conclusions(found, ENGLISH)
        assert "do not answer it yet" in only


def test_the_reference_results_answer_it_in_each_language() -> None:
    found = answer(load([ROOT / "benchmarks" / "reference"]))
    for i18n in load_translations().values():
        first, *others = conclusions(found, i18n)
        assert "WebSocket" in first
        assert others
        assert len(charts(found, i18n)) >= 7
