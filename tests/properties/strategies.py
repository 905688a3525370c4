"""Shared strategies: texts that people and attackers send, and the offset of examples.

Each run tries other examples.  A failing one prints a blob for ``@reproduce_failure``.
"""

import json
import os
from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st

from realtime.core.events import Cursor, Draft, Event
from realtime.limits import Limits

# For more examples, overnight: EXAMPLES_TIMES=50 make test ARGS=tests/properties
TIMES = int(os.environ.get("EXAMPLES_TIMES", "1"))


def examples(count: int, steps: int = 50) -> settings:
    """Return settings for `count` examples, of `steps` steps each.

    There is no deadline per example, because the machine may be busy.
    """
    return settings(
        max_examples=count * TIMES, stateful_step_count=steps, deadline=None, print_blob=True
    )


# Each of them ends a line, an attribute, a frame or a string in some format.
DANGEROUS = (
    *("\n", "\r", "\r\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff"),
    *("<", ">", "&", '"', "'", "\\", "&amp;", "&#34;", "&quot", "<!--", "]]>", "</script>"),
    *('"><img src=x onerror=alert(1)>', "data: x\n\nid: y\n\n", "\\u0000", "\\", "\uffff"),
    *("聊", "😀", "👩‍👩‍👧", "e\u0301", "\u202e", "\u200b", "\U0010ffff"),
)

CHARACTERS = st.characters(exclude_categories=["Cs"])
# Short texts of any characters, and texts composed of dangerous parts.
TEXTS = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=40),
    st.lists(st.one_of(st.sampled_from(DANGEROUS), st.text(max_size=3)), min_size=1, max_size=8)
    .map("".join)
    .filter(bool),
    # The lengths at which the header of a WebSocket frame grows.
    st.sampled_from([100, 125, 126, 127, 1000, 4096]).map(lambda count: "x" * count),
)
# Letters that nobody can see, and a symbol that looks like a space.
FILLERS = "\u115f\u1160\u3164\uffa0\u2800"
NAMES = st.text(
    st.characters(exclude_categories=["C", "M", "Zl", "Zp"], exclude_characters=FILLERS),
    min_size=1,
    max_size=32,
).filter(lambda name: bool(name.strip()))
# Values that every JSON parser must handle, half surrogate pairs included.
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["\ud800", "\udfff\ud800", 2**53, 2**53 + 1, -(2**53), 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Event]:
    """Some events as a broker publishes them: consecutive offsets, any texts."""
    first = draw(st.sampled_from([1, 9, 10, 999_999]))
    return [_event(draw, offset) for offset in range(first, first + draw(st.integers(1, 6)))]


def _event(draw: st.DrawFn, offset: int) -> Event:
    fields = {"text": draw(TEXTS), "name": draw(NAMES), "client": "ada"}
    draft = Draft.parse(json.dumps(fields).encode(), "r", Limits(body_bytes=10**6), "sse")
    return Event.numbered("say", Cursor("e", offset), draft.json_tail + b',"published":7}')


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield `data` as a network may deliver it: split at `cuts`."""
    positions = sorted({cut % (len(data) + 1) for cut in cuts})
    for start, end in zip([0, *positions], [*positions, len(data)], strict=True):
        yield data[start:end]


CUTS = st.lists(st.integers(0, 2**20), max_size=8)
