"""Those who speak as fast as they are answered, and those who hear without understanding."""

import json
import uuid

import pytest

from benchmarks.clients.http import Refused, Server
from benchmarks.clients.protocols import KEY, listener
from benchmarks.clients.websocket import MessageReader, accept, mask
from benchmarks.load.closed_loop import Answers, FrameSender, PostSender, Receipt, Tally, drafts
from benchmarks.load.light_readers import Book, Bystander, Piece, Skimmer
from benchmarks.publish import compare
from realtime.core.events import Cursor, Event
from realtime.protocol.websocket_frames import text_frame
from realtime.transports import fetch_streaming, iframe_streaming, sse, websocket
from realtime.transports.socketio import clients as socketio
from realtime.transports.sockjs import transport as sockjs

SERVER = Server("http://127.0.0.1:8000")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept(KEY).encode()
)


def told(**fields: object) -> bytes:
    """A frame of a server."""
    return text_frame(json.dumps(fields).encode())


def ack(id: str, number: int) -> bytes:
    return told(kind="ack", id=id, cursor=f"e-{number}")


def say(number: int, text: str = "hello", id: str | None = None) -> Event:
    fields = {"id": id or str(uuid.UUID(int=number)), "text": text, "published": 1}
    return Event.numbered("say", Cursor("e", number), json.dumps(fields).encode()[1:])


# --- finding what answers a sender ---------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000, 1_000_000])
def test_answers_are_found_among_all_that_a_room_is_told(size: int) -> None:
    events = [websocket.frame(say(n, text)) for n, text in enumerate(["x" * 300, "y" * 70_000])]
    data = b"".join(
        [
            *(ack("a", 1), events[0], b"\x89\x02hi", ack("b", 2), events[1]),
            *(websocket.frame(say(3, '{"kind":"ack"}')), ack("c", 4)),
            told(kind="error", id="d", code="busy", message="Come again. " * 20),
        ]
    )
    answers = Answers()
    found = [
        one["id"] for at in range(0, len(data), size) for one in answers.feed(data[at : at + size])
    ]
    assert found == ["a", "b", "c", "d"]


# --- a closed loop -------------------------------------------------------------------------------


def by_frames(tally: Tally, window: int = 3) -> FrameSender:
    one = FrameSender(SERVER, "room", tally, drafts("c", 20, "websocket"), window)
    one.begin(0.0)
    one.take(SWITCH, 0.5)
    assert one.ready
    return one


def ids_of(data: bytes) -> list[str]:
    """What a sender said; a server's reader refuses masks, so they are taken off first."""
    bare, at = b"", 0
    while at < len(data):
        size = data[at + 1] & 0x7F
        begin = at + 2 + (2 if size == 126 else 0)
        size = int.from_bytes(data[at + 2 : begin]) if size == 126 else size
        payload = mask(data[begin : begin + 4], data[begin + 4 : begin + 4 + size])
        bare += text_frame(payload)
        at = begin + 4 + size
    return [json.loads(message.payload)["id"] for message in MessageReader().feed(bare)]


def test_a_window_is_filled_and_kept_full() -> None:
    tally = Tally()
    one = by_frames(tally)
    first = ids_of(one.speak(1.0))
    assert len(first) == 3
    assert one.speak(1.0) == b""
    assert one.take(ack(first[1], 1) + ack(first[0], 2), 2.0) == 2.0
    assert len(ids_of(one.speak(2.25))) == 2
    assert tally.receipts == {
        first[1]: Receipt("e-1", 2.0, 1.0),
        first[0]: Receipt("e-2", 2.0, 1.0),
    }
    assert tally.late == [0.25]
    assert not tally.quiet


def test_when_it_is_over_nothing_more_is_said() -> None:
    tally = Tally()
    one = by_frames(tally, window=1)
    [id] = ids_of(one.speak(1.0))
    tally.open = False
    assert one.take(ack(id, 1), 2.0) is None
    assert one.speak(2.0) == b""
    assert tally.quiet


def test_what_a_room_is_told_is_no_reason_to_speak() -> None:
    one = by_frames(Tally())
    one.speak(1.0)
    assert one.take(websocket.frame(say(1)), 2.0) is None


def test_an_overloaded_server_may_say_no_and_others_may_not() -> None:
    tally = Tally()
    one = by_frames(tally)
    [first, second, _] = ids_of(one.speak(1.0))
    one.take(told(kind="error", id=first, code="busy", message=""), 2.0)
    assert tally.refused == {first}
    with pytest.raises(Refused, match="too_fast"):
        one.take(told(kind="error", id=second, code="too_fast", message=""), 2.0)


def test_a_post_is_answered_before_the_next() -> None:
    tally = Tally()
    one = PostSender(SERVER, "room", tally, drafts("c", 20, "post"))
    assert one.begin(0.0) == b""
    request = one.speak(1.0)
    assert request.startswith(b"POST /rooms/room/messages ")
    assert one.speak(1.0) == b""
    [id] = tally.said
    body = json.dumps({"cursor": "e-1", "id": id}).encode()
    answer = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert one.take(answer[:30], 2.0) is None
    assert one.take(answer[30:], 3.0) == 3.0
    assert tally.receipts == {id: Receipt("e-1", 3.0, 1.0)}


@pytest.mark.parametrize("via", ["websocket", "post"])
def test_a_draft_is_a_message_of_that_size(via: str) -> None:
    id = str(uuid.uuid4())
    said = json.loads(drafts("c", 100, via)(id))
    assert (said["id"], said["via"], len(said["text"])) == (id, via, 100)


# --- what the witnesses say ----------------------------------------------------------------------


def witnesses(*readings: list[Event]) -> list[object]:
    """Readers who heard these."""
    found = []
    for events in readings:
        one = listener("websocket", SERVER, "room")
        one.hear([(json.loads(event.json), "") for event in events], 1.0)
        found.append(type("Reader", (), {"listener": one})())
    return found


def tally_of(*events: Event) -> Tally:
    tally = Tally()
    for event in events:
        id = json.loads(event.json)["id"]
        tally.said[id] = 0.0
        tally.acknowledge(id, str(event.cursor), 1.0)
    return tally


ONE, TWO, THREE = say(1), say(2), say(3)


def test_receipts_and_readers_that_agree_are_clean() -> None:
    found = compare(tally_of(TWO, ONE, THREE), witnesses([ONE, TWO, THREE], [ONE, TWO, THREE]))
    assert found.clean
    assert (found.readers, found.acknowledged) == (2, 3)


def test_a_receipt_for_another_place_is_found() -> None:
    wrong = tally_of(ONE, TWO)
    id = json.loads(TWO.json)["id"]
    wrong.receipts[id] = Receipt("e-1", 1.0, 0.0)
    assert compare(wrong, witnesses([ONE, TWO])).conflicting


def test_what_is_lost_doubled_or_acknowledged_twice_is_found() -> None:
    told = tally_of(ONE, TWO)
    assert compare(told, witnesses([ONE, TWO], [ONE])).lost
    assert compare(told, witnesses([ONE, ONE, TWO])).duplicated
    assert compare(told, witnesses([TWO, ONE])).reordered
    told.acknowledge(json.loads(ONE.json)["id"], "e-1", 2.0)
    assert compare(told, witnesses([ONE, TWO])).duplicated


# --- hearing without understanding ---------------------------------------------------------------

FRAMES = {
    "websocket": websocket.frame,
    "sse": sse.frame,
    "fetch_streaming": fetch_streaming.frame,
    "iframe_streaming": iframe_streaming.frame,
    "sockjs": lambda event: text_frame(sockjs.envelope(sockjs.frame(event))),
    "socketio": socketio.frame,
}


INFO = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"websocket":true}'
DOOR = b"HTTP/1.1 200 OK\r\nContent-Security-Policy: %b\r\n\r\n" % (
    iframe_streaming.CONTENT_SECURITY_POLICY.encode()
)
# What a reader is told before it hears, and whether it must answer.
WELCOMES = {
    "websocket": [(SWITCH, False)],
    "sockjs": [
        (INFO, True),
        (SWITCH, False),
        (text_frame(b"o"), True),
        (text_frame(rb'a["{\"kind\":\"ack\"}"]'), False),
    ],
    "socketio": [
        (SWITCH, False),
        (text_frame(b'0{"sid":"s"}'), True),
        (text_frame(b'40{"sid":"s"}'), False),
    ],
}


def ready(one: Bystander, transport: str) -> None:
    assert one.begin(0.0)
    for answer, more in WELCOMES.get(transport, [(DOOR, False)]):
        assert not one.ready
        assert (one.take(answer, 1.0) is not None) == more
        if more:
            assert one.speak(1.0)
    assert one.ready


@pytest.mark.parametrize("size", [1, 50, 100_000])
@pytest.mark.parametrize("transport", FRAMES)
def test_the_ids_of_all_events_are_found_and_of_nothing_else(transport: str, size: int) -> None:
    events = [say(n, f'an "id":"{uuid.uuid4()}" in a text, & more') for n in range(5)]
    data = b"".join(map(FRAMES[transport], events))
    book = Book()
    one = Skimmer(listener(transport, SERVER, "room"), book)
    ready(one, transport)
    for at in range(0, len(data), size):
        one.take(data[at : at + size], 1.0 + at)
    assert one.heard_ids() == [json.loads(event.json)["id"] for event in events]
    assert sum(piece.messages for piece in one.pieces) == 5


def test_two_who_hear_the_same_share_its_number() -> None:
    book = Book()
    both = [Skimmer(listener("sse", SERVER, "room"), book) for _ in range(2)]
    for one, events in zip(both, ([ONE, TWO], [TWO, ONE]), strict=True):
        ready(one, "sse")
        one.take(b"".join(map(sse.frame, events)), 3.0)
        assert one.pieces == [Piece(3.0, 2)]
    assert [[*one.numbers] for one in both] == [[0, 1], [1, 0]]
    assert len(book.ids) == 2
