"""A capture has all bytes that a client sends, but no secret, wherever it is or is cut."""

import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.client.encodings import deflate_message
from realtime.client.websocket import CONTINUATION, TEXT, frame
from realtime.server.redaction import Redactor
from tests.cases import each

SECRET = "eyJhbGciOiJIUzI1NiJ9." + 8 * "eyJleHAi" + ".c2lnbmF0dXJl"
JOIN = json.dumps({"kind": "join", "ticket": SECRET, "room": "lobby"})
HEADS = [
    f"GET /rooms/lobby/sse?ticket={SECRET}&after=now HTTP/1.1\r\n\r\n",
    f"GET /rooms/lobby/sse?after=now&secret={SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nReferer: http://x/demos/?stream=%2Fsse%3Fticket%3D{SECRET}%26a=b\r\n\r\n",
    f"GET / HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nauthorization:bearer  {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nX-Client-Secret: {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\ncookie: {SECRET}\r\n\r\n",
]
BODIES = [
    JOIN,
    json.dumps([JOIN]),  # SockJS: JSON in a string of JSON
    "40" + json.dumps({"ticket": SECRET}),  # Socket.IO
    json.dumps({"text": "ticket", "secret": SECRET, "ticket": "short"}),
]
SHOWN = "*" * len(SECRET)
LONG = "x" * 300
# An escape for each layer of JSON, in the middle and at the end.
ESCAPED = 'a"\\"é' + SECRET + '\\"'
ESCAPED_JOIN = json.dumps({"ticket": ESCAPED, "room": "lobby"})
FORM = "d=" + quote(json.dumps([JOIN]), safe="") + "&e=" + quote('{"secret":"a+b/é"}')

HANDSHAKE = b"GET /sockjs/0/s/websocket HTTP/1.1\r\nupgrade: WebSocket\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def redacted(head: bytes, *pieces: bytes) -> bytes:
    redactor = Redactor()
    return redactor.redact_head(head) + b"".join(map(redactor.redact, pieces))


def redacted_body(*pieces: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % sum(map(len, pieces))
    return redacted(head, *pieces).removeprefix(head)


def chunked(*pieces: bytes) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] + [b"0\r\n\r\n"]


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
        (  # Cookies know no port: a browser also sends those of other programs on this host.
            'GET / HTTP/1.1\r\nCookie: a="b"; realtime_ticket=c\r\nA: b',
            "GET / HTTP/1.1\r\nCookie: ************************\r\nA: b",
        ),
    ],
)
def test_a_secret_with_any_characters_is_found(head: str, shown: str) -> None:
    assert redacted(f"{head}\r\n\r\n".encode()).decode() == f"{shown}\r\n\r\n"


def test_a_secret_in_a_form_is_found() -> None:
    """SockJS sends JSON like this where a page can only submit a form (jsonp_send)."""
    expected = FORM.replace(SECRET, SHOWN).replace(quote("a+b/é"), "*" * len(quote("a+b/é")))
    assert redacted_body(FORM.encode()).decode() == expected


@pytest.mark.parametrize("body", BODIES)
@given(cuts=st.sets(st.integers(0, 400)))
def test_a_body_has_no_secret_wherever_its_pieces_are_cut(body: str, cuts: set[int]) -> None:
    expected = body.replace(SECRET, SHOWN).replace('"short"', '"*****"')
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[a:b].encode() for a, b in pairwise(places)]
    assert redacted_body(*pieces).decode() == expected


@each(
    "body",
    [
        *BODIES,
        FORM,
        ESCAPED_JOIN,
        json.dumps([ESCAPED_JOIN]),
        '{"secret"' + 80 * " " + ":" + 80 * "\n" + f'"{SECRET}"}}',
    ],
)
def test_a_secret_is_hidden_wherever_two_pieces_meet(body: str) -> None:
    """Pieces of a body, chunks, packets that cut them, frames, and fragments around a ping."""
    data = body.encode()
    whole = redacted_body(data)
    assert SECRET.encode() not in whole
    assert whole.count(b"*") >= len(SECRET)
    ping = frame(0x9, b'"')
    for at in range(len(data) + 1):
        one, other = data[:at], data[at:]
        shown = redacted_body(one, other)
        assert same(shown, whole)
        chunks = chunked(one, other)
        for pieces in (chunks, [b"".join(chunks)]):
            shown = redacted(CHUNKED, *pieces).removeprefix(CHUNKED)
            sizes = chunked(*filter(None, (whole[:at], whole[at:])))
            assert same(shown, b"".join(sizes))
        fragments = b"".join([frame(TEXT, one, fin=False), ping, frame(0, other)])
        first, between, last = unmasked(redacted(HANDSHAKE, fragments).removeprefix(HANDSHAKE))
        assert same(first + last, whole)
        assert between == b'"'


def same(shown: bytes, expected: bytes) -> bool:
    """Whether a cut has changed nothing that matters.

    At the end of a piece, `%` and `\\` can end a secret, so they are shown, and a digit after `%`
    can be of the secret, so it is not.
    """
    return len(shown) == len(expected) and all(
        one == other or (one in b"%\\" and other in b"*") or (one in b"*" and other in b"25C")
        for one, other in zip(shown, expected, strict=True)
    )


def test_what_follows_a_request_is_not_part_of_it() -> None:
    following = b"GET /?secret=of-another HTTP/1.1\r\n\r\n"
    for head, body in (
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", b"{}"),
        (CHUNKED, b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n"),
        (b"GET / HTTP/1.1\nHost: a\n\n", b""),
    ):
        assert redacted(head + body + following) == head + body
        assert redacted(head, body + following, following) == head + body


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
    plain = bytes(byte & 0xBF for byte in data)  # of no frame that says that it is compressed
    assert redacted(HANDSHAKE, plain) == HANDSHAKE + plain
    assert redacted_body(data) == data
    for chunks in (chunked(data), [data]):  # also where there is no chunk
        shown = redacted(CHUNKED, *chunks).removeprefix(CHUNKED)
        assert b"".join(chunks).startswith(shown)


def test_words_that_only_look_like_names_are_shown() -> None:
    for text in ("?tickets=5", '"tickets": "5"', '"text": "secret"', "secret=5", "my_secret: 5"):
        assert redacted(text.encode()).decode() == text


# --- compressed messages (RFC 7692) --------------------------------------------------------------


def compressed(text: str, *, fin: bool = True, opcode: int = TEXT) -> bytes:
    return frame(opcode, deflate_message(text.encode()), fin=fin, compressed=opcode == TEXT)


@given(st.data())
def test_a_compressed_message_without_a_secret_is_shown_wherever_it_is_cut(
    data: st.DataObject,
) -> None:
    sent = b"".join(
        [compressed('{"text":"hello"}'), frame(TEXT, b'{"text":"plain"}'), compressed("")]
    )
    at = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    pieces = [sent[start:end] for start, end in pairwise([0, *at, len(sent)])]
    assert redacted(HANDSHAKE, *pieces) == HANDSHAKE + sent


@each("body", BODIES)
def test_a_compressed_message_with_a_secret_is_hidden_as_a_whole(body: str) -> None:
    sent = compressed(body)
    after = frame(TEXT, b'{"text":"plain"}')
    shown = redacted(HANDSHAKE, sent[:9], sent[9:] + after)
    assert len(shown) == len(HANDSHAKE + sent + after)
    assert shown.endswith(after)
    (hidden, _) = unmasked(shown.removeprefix(HANDSHAKE))
    assert hidden == b"*" * len(deflate_message(body.encode()))


def test_what_cannot_be_inflated_at_once_is_hidden() -> None:
    text = deflate_message(JOIN.encode())
    half = len(text) // 2
    fragments = [
        frame(TEXT, text[:half], fin=False, compressed=True),
        frame(CONTINUATION, text[half:]),
        frame(TEXT, b"\xff\xff not deflate", compressed=True),
        frame(TEXT, deflate_message(b"x" * 100_000), compressed=True),
        frame(TEXT, bytes(70_000), compressed=True),
    ]
    shown = redacted(HANDSHAKE, *fragments).removeprefix(HANDSHAKE)
    for payload in unmasked(shown):
        assert set(payload) == {ord("*")}
    assert len(shown) == len(b"".join(fragments))
