"""The plan of a lesson: a file that a lecturer writes, whose errors name the line and the field."""

import json

import pytest

from realtime.web.plan import LANGUAGES, TRANSPORTS, PlanError, default_plan, parse_plan
from tests.browser.chat_page import TCP_TRANSPORTS
from tests.cases import each

STEP = {"minutes": 1, "title": "One", "show": "class"}


def written(**fields: object) -> str:
    """A plan of one step, whose field number N is in line N + 2."""
    return json.dumps({"steps": [STEP | fields]}, indent=0)


def fault(text: str) -> str:
    with pytest.raises(PlanError) as refused:
        parse_plan(text)
    return str(refused.value)


def test_the_default_plan_fills_45_minutes_and_is_in_all_languages() -> None:
    steps = parse_plan(default_plan())["steps"]
    minutes = [step["minutes"] for step in steps]
    assert sum(minutes[:-1]) == 45  # the last step is for those who have time
    for step in steps:
        for field in {"title", "ask", "answer", "notes"} & step.keys():
            assert step[field].keys() == set(LANGUAGES)


def test_a_plan_has_texts_a_room_a_network_transports_and_an_experiment() -> None:
    step = STEP | {
        "show": "page",
        "page": "sse",
        "ask": {"en": "Why?", "zh-Hant": "為什麼？"},
        "room": "聊天室",
        "network": "rtt=200ms",
        "transports": list(TRANSPORTS),
        "exercise": "sse_buffer",
        "experiment": "quiet",
        "seconds": 30,
    }
    assert parse_plan(json.dumps({"steps": [step]}))["steps"] == [step]
    assert list(TRANSPORTS) == TCP_TRANSPORTS


@each(
    ("fields", "message"),
    [
        ({"minutes": 0}, "line 4: steps[1].minutes must be a number above 0"),
        ({"minutes": True}, "line 4: steps[1].minutes must be a number above 0"),
        ({"title": ""}, "line 5: steps[1].title must be a text"),
        ({"title": {"de": "Eins"}}, "line 6: steps[1].title.de is no field here"),
        ({"show": "film"}, "line 6: steps[1].show must be one of join, question, class, page"),
        ({"show": "page"}, 'line 6: steps[1].show is "page" in each step'),
        ({"show": "question"}, 'line 6: steps[1].show is "question", so the step needs'),
        ({"page": "../lab"}, "line 7: steps[1].page must be a page of demos/: "),
        ({"exercise": "none"}, "line 7: steps[1].exercise must be an exercise: "),
        ({"room": "a b"}, "line 7: steps[1].room is no room"),
        ({"network": "rtt"}, "line 7: steps[1].network is no network"),
        ({"network": 5}, "line 7: steps[1].network is no network"),
        ({"transports": ["sse", "ss"]}, "line 9: steps[1].transports[2] must be one of"),
        ({"transports": []}, "line 7: steps[1].transports must be a list"),
        ({"minute": 3}, "line 7: steps[1].minute is no field here; there are minutes, "),
        ({"a.\x1b[2J": 1}, r"line 7: steps[1]['a.\x1b[2J'] is no field here"),
    ],
)
def test_an_error_names_the_line_and_the_field(fields: dict[str, object], message: str) -> None:
    assert fault(written(**fields)).startswith(message)


@each(
    ("text", "message"),
    [
        ('{"steps":\n[,]}', "line 2: this is not JSON"),
        ("[" * 100_000, "line 1: this is not JSON"),
        ("[]", "line 1: the plan must be an object"),
        ("{}", "line 1: the plan needs the field `steps`"),
        ('{"steps": []}', "line 1: steps must be a list of 1 to 100 steps"),
        ('{"steps":\n[{"show": "join"}]}', "line 2: steps[1] needs the field `minutes`"),
        ('{"steps": [],\n"steps": []}', "line 2: steps is there twice"),
        (
            '{"steps":\n[{"minutes": 1, "title": "\\ud800", "show": "join"}]}',
            "line 2: steps[1].title must be a text",
        ),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    assert fault(text).startswith(message)
