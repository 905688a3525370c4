"""A repeated head is what the parser would have made of it: nothing else matches."""

import re
import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.events import Cursor
from realtime.protocol.http1 import parse_fast_path, parse_query
from realtime.protocol.repeated_head import RepeatedHead
from tests.cases import each
from tests.properties.strategies import examples

PATH = "/rooms/lobby/long_polling"


def request(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *fields, "", ""]).encode("latin-1")


def remember(data: bytes) -> RepeatedHead | None:
    """Do what a connection does with a request that it has parsed."""
    head = parse_fast_path(data)
    if head is None or head.method != "GET" or head.total_size != len(data) or head.cached.length:
        return None
    return RepeatedHead.of(data, parse_query(head.target).get("after", ()))


@each(
    "target",
    [
        f"{PATH}?after=e-1",
        f"{PATH}?after=e-1&client=c1",
        f"{PATH}?client=c1&after=e-1&wait=25",
        f"{PATH}?x=?&after=e-1",
    ],
)
def test_only_the_cursor_differs(target: str) -> None:
    head = remember(request(target))
    assert head is not None
    assert head.match(request(target)) == Cursor("e", 1)
    assert head.match(request(target.replace("e-1", "other-1234"))) == Cursor("other", 1234)
    for other in ("", "now", "e", "e-01", "e-1&after=e-2", "e-1%20", "e 1", "e-1 HTTP/1.1\r\nA: b"):
        assert head.match(request(target.replace("e-1", other))) is None
    for more in (b"\r\n", b"x", request(target)):
        assert head.match(request(target) + more) is None


@each(
    "query",
    [
        "",
        "?after=",
        "?after=e-1&after=e-1",
        "?after=e-1&%61fter=e-1",
        "?%61fter=e-1",
        "?x=?after=e-1",
        "?x=?after=e-1&%61fter=e-1",
        "?after=%65-1",
        "?after=e-1;client=c1",
    ],
)
def test_a_cursor_that_is_not_the_only_one_is_not_repeated(query: str) -> None:
    assert remember(request(PATH + query)) is None


def test_a_cursor_in_the_path_is_part_of_a_name() -> None:
    path = "/rooms/a&after=e-1&b/long_polling"
    assert remember(request(f"{path}?%61fter=e-1")) is None
    assert remember(request(f"{path}?after=e-1")) is None


# --- compared with the parser --------------------------------------------------------------------

PIECES = (
    *("after=", "&", "?", "=", "%61fter=", "after=e-1", "after=e-2", "client=c1", "wait=25"),
    *("x", "%20", "+", "e-1", "trace=s", "now"),
)
QUERIES = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
FIELDS = st.lists(
    st.sampled_from(
        [
            *("Origin: http://a", "Connection: close", "Content-Length: 0", "Content-Length: 3"),
            *("Cookie: after=e-1", "Referer: /?after=e-1 HTTP/1.1", "Transfer-Encoding: chunked"),
        ]
    ),
    max_size=3,
)
CURSORS = st.text(string.ascii_letters + string.digits + "-", max_size=12)
ANY_BYTES = st.binary(max_size=3) | st.sampled_from(
    [b"\r\n", b"\n", b"&after=e-3", b"HTTP/1.1", b" ", b"\r\n\r\n", b"POST", b"\0"]
)


@st.composite
def pairs(draw: Any) -> tuple[bytes, bytes]:
    """Draw a request with a cursor, and another one: its repetition, a variation, or any other."""
    path = draw(st.sampled_from([PATH, PATH, "/a&after=e-1&b", "/?&", "/"]))
    after = draw(st.sampled_from(["after=e-1", "after=e-1&", "%61fter=e-1", "after=e-1+"]))
    target = f"{path}?{draw(QUERIES)}&{after}{draw(QUERIES)}"
    first = request(target, *draw(FIELDS))
    second = first.replace(b"e-1", draw(CURSORS).encode(), draw(st.integers(0, 2)))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(second)))
        second = second[:start] + draw(ANY_BYTES) + second[start + draw(st.integers(0, 3)) :]
    return first, second


@given(pairs())
@examples(150)
def test_a_repeated_head_equals_the_parsed_one_but_for_its_cursor(
    pair: tuple[bytes, bytes],
) -> None:
    first, second = pair
    head = remember(first)
    if head is None or (cursor := head.match(second)) is None:
        return
    before, after = parse_fast_path(first), parse_fast_path(second)
    assert before is not None
    assert after is not None
    assert (after.method, after.size, after.cached) == (before.method, len(second), before.cached)
    old, new = parse_query(before.target), parse_query(after.target)
    assert new == {**old, "after": [str(cursor).encode()]}
    cursors = re.compile("after=[0-9A-Za-z-]+")
    assert cursors.sub("", after.target) == cursors.sub("", before.target)
