"""What all the properties draw from: texts that people and attackers send, and how often we look.

A run looks at other examples each time; one that fails prints a blob, which
``@reproduce_failure`` takes.
"""

import json
import os
from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st

from realtime.core.events import Cursor, Draft, Event
from realtime.limits import Limits

# More of everything, for a night: EXAMPLES_TIMES=50 make test ARGS=tests/properties
TIMES = int(os.environ.get("EXAMPLES_TIMES", "1"))


def examples(count: int, steps: int = 50) -> settings:
    """Look at so many examples, of so many steps each.

    Without a deadline per example: a busy machine is no defect.
    """
    return settings(
        max_examples=count * TIMES, stateful_step_count=steps, deadline=None, print_blob=True
    )


# Each of them has ended some line, attribute, frame or string of somebody's.
DANGEROUS = (
    *("\n", "\r", "\r\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff"),
    *("<", ">", "&", '"', "'", "\\", "&amp;", "&#34;", "&quot", "<!--", "]]>", "</script>"),
    *('"><img src=x onerror=alert(1)>', "data: x\n\nid: y\n\n", "\\u0000", "\\", "\uffff"),
    *("聊", "😀", "👩‍👩‍👧", "e\u0301", "\u202e", "\u200b", "\U0010ffff"),
)

CHARACTERS = st.characters(exclude_categories=["Cs"])
# Short texts of anything, and texts that are pieced together of what is dangerous.
TEXTS = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=40),
    st.lists(st.one_of(st.sampled_from(DANGEROUS), st.text(max_size=3)), min_size=1, max_size=8)
    .map("".join)
    .filter(bool),
    # The lengths at which a WebSocket frame's head grows.
    st.sampled_from([100, 125, 126, 127, 1000, 4096]).map(lambda count: "x" * count),
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=32).filter(
    lambda name: bool(name.strip())
)
# What any parser of JSON must bear, lone halves of surrogate pairs included.
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
def said(draw: st.DrawFn) -> list[Event]:
    """Some events as a broker announces them: numbered on, whatever was said in them."""
    first = draw(st.sampled_from([1, 9, 10, 999_999]))
    return [_event(draw, number) for number in range(first, first + draw(st.integers(1, 6)))]


def _event(draw: st.DrawFn, number: int) -> Event:
    fields = {"text": draw(TEXTS), "name": draw(NAMES), "client": "ada"}
    draft = Draft.parse(json.dumps(fields).encode(), "r", Limits(body_bytes=10**6), "sse")
    return Event.numbered("say", Cursor("e", number), draft.json_tail + b',"published":7}')


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """`data` as a network may deliver it: cut at these places, wherever they fall."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[start:end]


CUTS = st.lists(st.integers(0, 2**20), max_size=8)
