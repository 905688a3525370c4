"""The plan of a lesson: a JSON file with its steps, checked once, when the server starts.

    {"steps": [{"minutes": 4, "title": "Join", "show": "join", "ask": …, "answer": …}, …]}

A lecturer writes it by hand, so an error names the line and the field.  docs/class.md lists the
fields.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from realtime.core.events import parse_room
from realtime.errors import BadRoom
from realtime.netem.conditions import NetworkConditions
from realtime.web.pages import folder

LANGUAGES = ("en", "zh-Hans", "zh-Hant")
# What the projector shows in a step.
SHOWN = ("join", "question", "class", "page")
# Over TCP: for WebTransport a phone would need HTTPS.
TRANSPORTS = (
    *("short_polling", "long_polling", "iframe_streaming", "sse", "fetch_streaming"),
    *("websocket", "sockjs", "socketio"),
)
EXPERIMENTS = ("quiet", "messages", "disconnect")
_MAX_STEPS = 100
_MAX_MINUTES = 600
_MAX_SECONDS = 600  # of the quiet time of an experiment
_MAX_TEXT = 2000
_PAGE = re.compile(r"[a-z_]{1,32}")
_SURROGATE = re.compile("[\ud800-\udfff]")
# One token of JSON: a string, a sign, or a number or word.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:\s"]+')

Path = tuple[str | int, ...]


class PlanError(ValueError):
    """The file is no plan; the message names the line and the field."""


def default_plan() -> str:
    """Return the plan of 45 minutes that comes with the server."""
    return (folder() / "plan.json").read_text("utf-8")


@lru_cache(1)
def for_the_class(text: str) -> str:
    """Return a plan without what only its lecturer may read: the notes and the expected answers."""
    plan = json.loads(text)
    for step in plan["steps"]:
        step.pop("notes", None)
        step.pop("answer", None)
    return json.dumps(plan, ensure_ascii=False)


def parse_plan(text: str) -> dict[str, Any]:
    """Return the plan in `text`; raises `PlanError`."""
    try:
        plan = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"line {error.lineno}: this is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"line 1: this is not JSON: {error}") from error
    starts: dict[Path, int] = {}
    try:
        for path, start in _values(text):
            if starts.setdefault(path, start) != start:
                starts[path] = start
                _fail(path, "is there twice")
        _check_object(plan, (), {"steps": _steps}, {"title": _text})
    except _FieldError as error:
        line = text.count("\n", 0, starts.get(error.path, 0)) + 1
        field = _name_of(error.path) or "the plan"
        raise PlanError(f"line {line}: {field} {error}") from error
    return dict(plan)


class _FieldError(Exception):
    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def _fail(path: Path, message: str) -> NoReturn:
    raise _FieldError(path, message)


# --- the fields ----------------------------------------------------------------------------------

Check = Callable[[Any, Path], None]


def _check_object(
    value: Any, path: Path, required: Mapping[str, Check], optional: Mapping[str, Check]
) -> None:
    if not isinstance(value, dict):
        _fail(path, "must be an object: { … }")
    known = {**required, **optional}
    for name, inner in value.items():
        if name not in known:
            _fail((*path, name), f"is no field here; there are {', '.join(known)}")
        known[name](inner, (*path, name))
    for name in required:
        if name not in value:
            _fail(path, f"needs the field `{name}`")


def _steps(value: Any, path: Path) -> None:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_STEPS:
        _fail(path, f"must be a list of 1 to {_MAX_STEPS} steps")
    for index, step in enumerate(value):
        _step(step, (*path, index))


def _step(step: Any, path: Path) -> None:
    required = {"minutes": _number(_MAX_MINUTES), "title": _text, "show": _one_of(SHOWN)}
    optional = {
        **dict.fromkeys(("ask", "answer", "notes"), _text),
        **{"page": _page, "exercise": _exercise, "experiment": _one_of(EXPERIMENTS)},
        **{
            "room": _room,
            "network": _network,
            "transports": _transports,
            "seconds": _number(_MAX_SECONDS),
        },
    }
    _check_object(step, path, required, optional)
    if (step["show"] == "page") != ("page" in step):
        _fail((*path, "show"), 'is "page" in each step with the field `page`, and in no other')
    if step["show"] == "question" and "ask" not in step:
        _fail((*path, "show"), 'is "question", so the step needs the field `ask`')


def _text(value: Any, path: Path) -> None:
    if isinstance(value, dict):
        _check_object(value, path, {"en": _string}, dict.fromkeys(LANGUAGES[1:], _string))
    else:
        _string(value, path)


def _string(value: Any, path: Path) -> None:
    # JSON can contain half of a surrogate pair, which has no UTF-8.
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_TEXT or _SURROGATE.search(value):
        languages = ", ".join(f'"{one}"' for one in LANGUAGES)
        _fail(path, f"must be a text of 1 to {_MAX_TEXT} characters, or an object with {languages}")


def _number(maximum: float) -> Check:
    def check(value: Any, path: Path) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value <= maximum:
            _fail(path, f"must be a number above 0, at most {maximum}")

    return check


def _one_of(allowed: tuple[str, ...]) -> Check:
    def check(value: Any, path: Path) -> None:
        if value not in allowed:
            _fail(path, f"must be one of {', '.join(allowed)}")

    return check


def _page(value: Any, path: Path) -> None:
    pages = sorted(page.stem for page in folder().glob("*.html"))
    if not isinstance(value, str) or not _PAGE.fullmatch(value) or value not in pages:
        _fail(path, f"must be a page of demos/: {', '.join(pages)}")


def _exercise(value: Any, path: Path) -> None:
    texts = json.loads((folder() / "i18n" / "en.json").read_text("utf-8"))
    named = [key.split(".")[1] for key in texts if re.fullmatch(r"exercise\.\w+\.title", key)]
    if value not in named:
        _fail(path, f"must be an exercise: {', '.join(named)}")


def _room(value: Any, path: Path) -> None:
    try:
        parse_room(value)
    except BadRoom as error:
        _fail(path, f"is no room: {error}")


def _network(value: Any, path: Path) -> None:
    try:
        NetworkConditions.parse(value if isinstance(value, str) else "?")
    except ValueError as error:
        _fail(path, f"is no network: {error}")


def _transports(value: Any, path: Path) -> None:
    if not isinstance(value, list) or not value:
        _fail(path, f"must be a list of some of {', '.join(TRANSPORTS)}")
    for index, transport in enumerate(value):
        _one_of(TRANSPORTS)(transport, (*path, index))


# --- where a field is ----------------------------------------------------------------------------


def _name_of(path: Path) -> str:
    """Write a path as a reader counts: `steps[3].title` is of the third step."""

    def write(part: str | int) -> str:
        if isinstance(part, int):
            return f"[{part + 1}]"
        # Any text can be the name of a field, also one that would control a terminal.
        return f".{part}" if part.isidentifier() and part.isascii() else f"[{part!a}]"

    return "".join(map(write, path)).removeprefix(".")


def _values(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the path of every value, and where it starts."""
    path: list[str | int] = []
    is_key = False  # whether the next string is the name of a field
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign == ":":
            is_key = False
        elif sign == ",":
            if isinstance(path[-1], int):
                path[-1] += 1
            else:
                is_key = True
        elif sign in "]}":
            path.pop()
            is_key = False
        elif is_key:
            path[-1] = json.loads(sign)
        else:
            yield tuple(path), token.start()
            if sign in "[{":
                path.append(0 if sign == "[" else "")
                is_key = sign == "{"
