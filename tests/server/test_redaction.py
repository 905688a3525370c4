"""A capture has all bytes that a client sends, but no secret, wherever it is or is cut."""

import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.clients.websocket import TEXT, frame
from realtime.server.redaction import Redactor
from tests.cases import each

SECRET = "eyJhbGciOiJIUzI1NiJ9." + 20 * "eyJleHAi" + ".c2lnbmF0dXJl"
JOIN = json.dumps({"kind": "join", "ticket": SECRET, "room": "lobby"})
HEADS = [
    f"GET /rooms/lobby/sse?ticket={SECRET}&after=now HTTP/1.1\r\n\r\n",
    f"GET /rooms/lobby/sse?after=now&secret={SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nReferer: http://x/demos/?stream=%2Fsse%3Fticket%3D{SECRET}%26a=b\r\n\r\n",
    f"GET / HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nauthorization:bearer  {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nX-Client-Secret: {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nCookie: a=b; realtime_ticket={SECRET}; c=d\r\n\r\n",
]
BODIES = [
    JOIN,
    json.dumps([JOIN]),  # SockJS: JSON in a string of JSON
    "40" + json.dumps({"ticket": SECRET}),  # Socket.IO
    json.dumps({"text": "ticket", "secret": SECRET, "ticket": "short"}),
]
SHOWN = "*" * len(SECRET)
LONG = "x" * 300


def redacted(head: bytes, *pieces: bytes) -> bytes:
    redactor = Redactor()
    return redactor.redact_head(head) + b"".join(map(redactor.redact, pieces))


@each("head", HEADS)
def test_a_secret_in_a_header_section_is_as_many_asterisks(head: str) -> None:
    assert redacted(head.encode()).decode() == head.replace(SECRET, SHOWN)


@each(
    ("head", "shown"),
    [
        (
            "GET /?secret=ab%2BcdEF%3D&after=now HTTP/1.1",
            "GET /?secret=************&after=now HTTP/1.1",
        ),
        ("GET /?u=%3Fsecret%3Da%2Bb%26c=d HTTP/1.1", "GET /?u=%3Fsecret%3D*****%26c=d HTTP/1.1"),
        ("DELETE /rooms/a?key=sesame HTTP/1.1", "DELETE /rooms/a?key=****** HTTP/1.1"),
        (
            "GET / HTTP/1.1\r\nX-Client-Secret: a b,c\r\nA: b",
            "GET / HTTP/1.1\r\nX-Client-Secret: *****\r\nA: b",
        ),
    ],
)
def test_a_secret_with_any_characters_is_found(head: str, shown: str) -> None:
    assert redacted(f"{head}\r\n\r\n".encode()).decode() == f"{shown}\r\n\r\n"


def test_a_secret_in_a_form_is_found() -> None:
    """SockJS sends JSON like this where a page can only submit a form (jsonp_send)."""
    form = f"d={quote(json.dumps([JOIN]), safe='')}".encode()
    assert redacted(b"POST / HTTP/1.1\r\n\r\n", form).endswith(
        form.replace(SECRET.encode(), SHOWN.encode())
    )


@pytest.mark.parametrize("body", BODIES)
@given(cuts=st.sets(st.integers(0, 400)))
def test_a_body_has_no_secret_wherever_its_pieces_are_cut(body: str, cuts: set[int]) -> None:
    expected = body.replace(SECRET, SHOWN).replace('"short"', '"*****"')
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[a:b].encode() for a, b in pairwise(places)]
    assert redacted(b"POST / HTTP/1.1\r\n\r\n", *pieces).decode().endswith(expected)


def unmasked(frames: bytes) -> list[bytes]:
    """Parse masked frames by hand."""
    payloads = []
    while frames:
        length, start = frames[1] & 0x7F, 2
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(frames[2:start])
        key, payload = frames[start : start + 4], frames[start + 4 : start + 4 + length]
        payloads.append(bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)))
        frames = frames[start + 4 + length :]
    return payloads


HANDSHAKE = b"GET /sockjs/0/s/websocket HTTP/1.1\r\nupgrade: WebSocket\r\n\r\n"


@given(
    cuts=st.sets(st.integers(0, 1200)),
    parts=st.lists(st.sampled_from(BODIES), min_size=1, max_size=3),
    with_head=st.booleans(),
)
def test_frames_have_no_secret_wherever_they_are_cut(
    cuts: set[int], parts: list[str], with_head: bool
) -> None:
    frames = b"".join(frame(TEXT, part.encode()) for part in ["", *parts, LONG])
    places = [0, *sorted(cuts), len(frames)]
    pieces = [frames[a:b] for a, b in pairwise(places)]
    head = HANDSHAKE
    if with_head:  # a client that does not wait for the response
        head += pieces.pop(0)
    shown = redacted(head, *pieces).removeprefix(HANDSHAKE)
    assert len(shown) == len(frames)
    expected = [part.replace(SECRET, SHOWN).replace('"short"', '"*****"') for part in parts]
    assert [part.decode() for part in unmasked(shown)] == ["", *expected, LONG]


def test_a_secret_in_a_large_frame_is_found() -> None:
    long = frame(TEXT, (70_000 * " " + JOIN).encode())
    (payload,) = unmasked(redacted(HANDSHAKE, long).removeprefix(HANDSHAKE))
    assert payload.decode().strip() == JOIN.replace(SECRET, SHOWN)


@given(st.binary(max_size=300))
def test_other_bytes_stay_as_they_are(data: bytes) -> None:
    assert redacted(HANDSHAKE, data) == HANDSHAKE + data
    assert redacted(b"POST / HTTP/1.1\r\n\r\n", data) == b"POST / HTTP/1.1\r\n\r\n" + data


def test_words_that_only_look_like_names_are_shown() -> None:
    for text in ("?tickets=5", '"tickets": "5"', '"text": "secret"', "secret=5", "my_secret: 5"):
        assert redacted(text.encode()).decode() == text
