"""Senders that wait for each acknowledgement, and readers that do not decode what they receive."""

import json
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.load.closed_loop import (
    Acknowledgement,
    PostSender,
    ReplyScanner,
    SendLog,
    WebSocketSender,
    message_encoder,
)
from benchmarks.load.light_readers import Arrival, DiscardReader, IdIndex, IdScanner
from benchmarks.publish import compare
from realtime.client.http import Endpoint, Refused
from realtime.client.protocols import make_protocol
from realtime.core.events import Cursor, Event
from realtime.protocol.websocket_frames import text_frame
from realtime.transports import fetch_streaming, iframe_streaming, sse, websocket
from realtime.transports.socketio import clients as socketio
from realtime.transports.sockjs import transport as sockjs
from tests.cases import each
from tests.client.pieces import switching_protocols, unmasked

ENDPOINT = Endpoint("http://127.0.0.1:8000")

pytestmark = pytest.mark.unhurried


def server_frame(**fields: object) -> bytes:
    return text_frame(json.dumps(fields).encode())


def ack(id: str, number: int) -> bytes:
    return server_frame(kind="ack", id=id, cursor=f"e-{number}")


def say(number: int, text: str = "hello", id: str | None = None) -> Event:
    fields = {"id": id or str(uuid.UUID(int=number)), "text": text, "published": 1}
    return Event.numbered("say", Cursor("e", number), json.dumps(fields).encode()[1:])


# --- finding the replies to a sender -------------------------------------------------------------


@each("size", [1, 7, 1000, 1_000_000])
def test_replies_are_found_among_all_frames_of_a_room(size: int) -> None:
    events = [websocket.frame(say(n, text)) for n, text in enumerate(["x" * 300, "y" * 70_000])]
    data = b"".join(
        [
            *(ack("a", 1), events[0], b"\x89\x02hi", ack("b", 2), events[1]),
            *(websocket.frame(say(3, '{"kind":"ack"}')), ack("c", 4)),
            server_frame(kind="error", id="d", code="busy", message="Try again later. " * 20),
        ]
    )
    scanner = ReplyScanner()
    found = [
        one["id"] for at in range(0, len(data), size) for one in scanner.feed(data[at : at + size])
    ]
    assert found == ["a", "b", "c", "d"]


# --- a closed loop -------------------------------------------------------------------------------


def websocket_sender(log: SendLog, window: int = 3) -> WebSocketSender:
    one = WebSocketSender(ENDPOINT, "room", log, message_encoder("c", 20, "websocket"), window)
    one.receive_data(switching_protocols(one.connect(0.0)), 0.5)
    assert one.ready
    return one


def ids_of(data: bytes) -> list[str]:
    """The ids of the messages that a sender sent."""
    return [json.loads(payload)["id"] for _, payload in unmasked(data)]


def test_a_window_is_filled_and_kept_full() -> None:
    log = SendLog()
    one = websocket_sender(log)
    first = ids_of(one.data_to_send(1.0))
    assert len(first) == 3
    assert one.data_to_send(1.0) == b""
    one.receive_data(ack(first[1], 1) + ack(first[0], 2), 2.0)
    assert one.send_at == 2.0
    assert len(ids_of(one.data_to_send(2.25))) == 2
    assert log.acks == {
        first[1]: Acknowledgement("e-1", 2.0, 1.0),
        first[0]: Acknowledgement("e-2", 2.0, 1.0),
    }
    assert log.late == [0.25]
    assert not log.all_answered


def test_with_an_interval_a_message_waits_until_it_is_due() -> None:
    one = websocket_sender(SendLog(), window=1)
    one.interval, one.next_due = 0.5, 1.75
    sent_at = []
    for answered in (1.25, 2.0, 4.0):  # in time, in time, and too late for 2.75
        [id] = ids_of(one.data_to_send(one.send_at or 1.0))
        one.receive_data(ack(id, 1), answered)
        sent_at.append(one.send_at)
    assert sent_at == [1.75, 2.25, 4.0]


def test_a_closed_log_stops_the_senders() -> None:
    log = SendLog()
    one = websocket_sender(log, window=1)
    [id] = ids_of(one.data_to_send(1.0))
    log.open = False
    one.receive_data(ack(id, 1), 2.0)
    assert one.send_at is None
    assert one.data_to_send(2.0) == b""
    assert log.all_answered


def test_an_event_of_the_room_does_not_trigger_a_message() -> None:
    one = websocket_sender(SendLog())
    one.data_to_send(1.0)
    one.receive_data(websocket.frame(say(1)), 2.0)
    assert one.send_at is None


def test_a_rejection_by_an_overloaded_server_is_counted_and_another_is_raised() -> None:
    log = SendLog()
    one = websocket_sender(log)
    [first, second, _] = ids_of(one.data_to_send(1.0))
    one.receive_data(server_frame(kind="error", id=first, code="busy", message=""), 2.0)
    assert log.refused == {first}
    with pytest.raises(Refused, match="too_fast"):
        one.receive_data(server_frame(kind="error", id=second, code="too_fast", message=""), 2.0)


def test_a_post_is_answered_before_the_next() -> None:
    log = SendLog()
    one = PostSender(ENDPOINT, "room", log, message_encoder("c", 20, "post"))
    assert one.connect(0.0) == b""
    request = one.data_to_send(1.0)
    assert request.startswith(b"POST /rooms/room/messages ")
    assert one.data_to_send(1.0) == b""
    [id] = log.sent
    body = json.dumps({"cursor": "e-1", "id": id}).encode()
    response = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    one.receive_data(response[:30], 2.0)
    assert one.send_at is None
    one.receive_data(response[30:], 3.0)
    assert one.send_at == 3.0
    assert log.acks == {id: Acknowledgement("e-1", 3.0, 1.0)}


@each("via", ["websocket", "post"])
def test_an_encoded_message_has_the_given_size(via: str) -> None:
    id = str(uuid.uuid4())
    message = json.loads(message_encoder("c", 100, via)(id))
    assert (message["id"], message["via"], len(message["text"])) == (id, via, 100)


# --- the audit -----------------------------------------------------------------------------------


def auditors(*readings: list[Event]) -> Any:
    """Readers that received these events."""
    return [
        SimpleNamespace(
            received=[SimpleNamespace(event=json.loads(event.json)) for event in events]
        )
        for events in readings
    ]


def log_of(*events: Event) -> SendLog:
    log = SendLog()
    for event in events:
        id = json.loads(event.json)["id"]
        log.sent[id] = 0.0
        log.acknowledge(id, str(event.cursor), 1.0)
    return log


ONE, TWO, THREE = say(1), say(2), say(3)


def test_acknowledgements_and_readers_that_agree_are_clean() -> None:
    found = compare(log_of(TWO, ONE, THREE), auditors([ONE, TWO, THREE], [ONE, TWO, THREE]))
    assert found.clean
    assert (found.readers, found.acknowledged) == (2, 3)


def test_an_acknowledgement_with_another_cursor_is_found() -> None:
    wrong = log_of(ONE, TWO)
    id = json.loads(TWO.json)["id"]
    wrong.acks[id] = Acknowledgement("e-1", 1.0, 0.0)
    assert compare(wrong, auditors([ONE, TWO])).conflicting


def test_lost_duplicate_reordered_and_twice_acknowledged_messages_are_found() -> None:
    log = log_of(ONE, TWO)
    assert compare(log, auditors([ONE, TWO], [ONE])).lost
    assert compare(log, auditors([ONE, ONE, TWO])).duplicated
    assert compare(log, auditors([TWO, ONE])).reordered
    log.acknowledge(json.loads(ONE.json)["id"], "e-1", 2.0)
    assert compare(log, auditors([ONE, TWO])).duplicated


# --- readers that do not decode ------------------------------------------------------------------

FRAMES: dict[str, Callable[[Event], bytes]] = {
    "websocket": websocket.frame,
    "sse": sse.frame,
    "fetch_streaming": fetch_streaming.frame,
    "iframe_streaming": iframe_streaming.frame,
    "sockjs": lambda event: text_frame(sockjs.envelope(sockjs.frame(event))),
    "socketio": socketio.frame,
}
CONTENT_TYPES = {
    "sse": "text/event-stream",
    "fetch_streaming": "application/x-ndjson",
    "iframe_streaming": "text/html; charset=utf-8",
}
INFO = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"websocket":true}'
# What the server sends after the upgrade, until a reader is ready.
SESSIONS = {
    "websocket": [],
    "sockjs": [text_frame(b"o"), text_frame(rb'a["{\"kind\":\"ack\",\"cursor\":\"e-0\"}"]')],
    "socketio": [text_frame(b'0{"sid":"s"}'), text_frame(b'40{"sid":"s"}')],
}


def make_ready(one: DiscardReader, transport: str) -> None:
    """Open the connection of a reader, with the server's half by hand."""
    sent = one.connect(0.0)
    if transport in CONTENT_TYPES:
        policy = iframe_streaming.CONTENT_SECURITY_POLICY
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPES[transport]}\r\n"
        one.receive_data(f"{head}Content-Security-Policy: {policy}\r\n\r\n".encode(), 1.0)
    else:
        if transport == "sockjs":
            one.receive_data(INFO, 1.0)
            sent = one.data_to_send(1.0)
        one.receive_data(switching_protocols(sent), 1.0)
        for data in SESSIONS[transport]:
            assert not one.ready
            one.receive_data(data, 1.0)
            one.data_to_send(1.0)
    assert one.ready


@each("size", [1, 50, 100_000])
@each("transport", FRAMES)
def test_the_ids_of_all_events_are_found_and_no_others(transport: str, size: int) -> None:
    events = [say(n, f'an "id":"{uuid.uuid4()}" in a text, & more') for n in range(5)]
    data = b"".join(map(FRAMES[transport], events))
    one = IdScanner(make_protocol(transport, ENDPOINT, "room"), IdIndex())
    make_ready(one, transport)
    for at in range(0, len(data), size):
        assert one.receive_data(data[at : at + size], 1.0 + at) == ()
    assert one.received_ids() == [json.loads(event.json)["id"] for event in events]
    assert sum(arrival.messages for arrival in one.arrivals) == 5


def test_two_readers_of_the_same_message_share_its_number() -> None:
    index = IdIndex()
    both = [IdScanner(make_protocol("sse", ENDPOINT, "room"), index) for _ in range(2)]
    for one, events in zip(both, ([ONE, TWO], [TWO, ONE]), strict=True):
        make_ready(one, "sse")
        one.receive_data(b"".join(map(sse.frame, events)), 3.0)
        assert one.arrivals == [Arrival(3.0, 2)]
    assert [[*one.numbers] for one in both] == [[0, 1], [1, 0]]
    assert len(index.ids) == 2


def test_a_reader_that_reconnects_is_ready_again_after_the_new_handshake() -> None:
    one = DiscardReader(make_protocol("socketio", ENDPOINT, "room"))
    make_ready(one, "socketio")
    assert not one.receive_eof()
    make_ready(one, "socketio")
