"""A protocol without a socket: what it sends, and when it has something to send again."""

import json

import pytest

from realtime.client import CLIENTS, BadResponse, Closed, Refused
from realtime.client.http import Endpoint
from realtime.client.protocols import make_protocol
from realtime.client.sansio import ClientProtocol
from realtime.client.websocket import PONG, frame, mask
from realtime.protocol.websocket_frames import text_frame
from tests.cases import each
from tests.client.pieces import cuts, switching_protocols, unmasked

ENDPOINT = Endpoint("http://127.0.0.1:8000")
EVENT = {"kind": "say", "id": "1", "cursor": "e-7"}

pytestmark = pytest.mark.unhurried


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


EMPTY = response(b'{"cursor":"e-1","events":[]}')


def next_request(one: ClientProtocol, now: float) -> bytes:
    return one.data_to_send(now).partition(b"\r\n")[0]


# --- requests ------------------------------------------------------------------------------------


@each("transport", CLIENTS)
def test_a_request_header_is_padded_to_the_given_length(transport: str) -> None:
    one = make_protocol(transport, ENDPOINT, "room", head_bytes=550)
    assert len(one.connect(0.0)) == 550


@each("transport", CLIENTS)
def test_a_longer_header_is_not_padded(transport: str) -> None:
    bare = make_protocol(transport, ENDPOINT, "room").connect(0.0)
    padded = make_protocol(transport, ENDPOINT, "room", head_bytes=20).connect(0.0)
    assert len(padded) == len(bare)
    assert b"User-Agent" not in padded


# --- polls ---------------------------------------------------------------------------------------


def test_a_short_poller_waits_its_phase_first_and_then_its_interval() -> None:
    one = make_protocol("short_polling", ENDPOINT, "room", interval=10.0, phase=0.3)
    one.connect(100.0)
    one.receive_data(EMPTY, 100.5)
    assert one.send_at == pytest.approx(103.5)
    one.data_to_send(103.5)
    one.receive_data(EMPTY, 103.9)
    assert one.send_at == pytest.approx(113.5)
    one.data_to_send(113.5)
    one.receive_data(EMPTY, 130.0)  # it took longer than the interval
    assert one.send_at == 130.0


def test_a_response_that_was_cut_is_continued_at_once() -> None:
    one = make_protocol("short_polling", ENDPOINT, "room", interval=10.0)
    one.connect(0.0)
    one.receive_data(response(b'{"cursor":"e-1","events":[],"more":true}'), 1.0)
    assert one.send_at == 1.0


def test_a_long_poller_polls_again_at_once_and_waits_its_phase_first() -> None:
    one = make_protocol("long_polling", ENDPOINT, "room", wait=20.0, phase=0.25)
    waits = [one.connect(0.0).partition(b"wait=")[2].split()[0]]
    for now in (1.0, 2.0, 3.0):
        one.receive_data(EMPTY, now)
        assert one.send_at == now
        waits.append(next_request(one, now).partition(b"wait=")[2].split()[0])
    assert waits == [b"0", b"5", b"20", b"20"]


def test_a_poller_continues_from_the_cursor_of_the_last_response() -> None:
    one = make_protocol("short_polling", ENDPOINT, "room")
    assert b"after=now" in one.connect(0.0)
    one.receive_data(EMPTY, 0.0)
    assert b"after=e-1" in one.data_to_send(1.0)


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_that_reconnects_continues_from_the_last_event() -> None:
    one = make_protocol("fetch_streaming", ENDPOINT, "room")
    one.connect(0.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
    assert one.receive_data(head + json.dumps(EVENT).encode() + b"\n", 5.0) == [(EVENT, "e-7")]
    assert not one.receive_eof()
    assert b"after=e-7" in one.connect(6.0)


# --- WebSocket -----------------------------------------------------------------------------------


def test_a_ping_is_answered_at_once_with_its_data() -> None:
    one = make_protocol("websocket", ENDPOINT, "room")
    one.receive_data(switching_protocols(one.connect(0.0)) + b"\x89\x02hi", 1.0)
    assert one.send_at == 1.0
    pong = one.data_to_send(1.0)
    assert frame(PONG, mask(pong[2:6], pong[6:]), key=pong[2:6]) == pong
    assert mask(pong[2:6], pong[6:]) == b"hi"


def test_an_upgrade_with_the_accept_value_of_another_key_is_rejected() -> None:
    one = make_protocol("websocket", ENDPOINT, "room")
    one.connect(0.0)
    with pytest.raises(BadResponse, match="does not match our key"):
        one.receive_data(switching_protocols(b"Sec-WebSocket-Key: another"), 0.0)


# --- SockJS --------------------------------------------------------------------------------------

ACK = text_frame(rb'a["{\"kind\":\"ack\",\"id\":\"j\",\"cursor\":\"e-3\"}"]')


def sockjs() -> ClientProtocol:
    """A session that has sent its join."""
    one = make_protocol("sockjs", ENDPOINT, "room", after="now")
    assert one.connect(0.0).startswith(b"GET /sockjs/info ")
    one.receive_data(response(b'{"websocket":true}'), 1.0)
    one.receive_data(switching_protocols(one.data_to_send(1.0)), 2.0)
    assert one.receive_data(text_frame(b"o"), 3.0) == []
    [(_, join)] = unmasked(one.data_to_send(3.0))
    assert json.loads(json.loads(join)[0]).items() >= {"kind": "join", "after": "now"}.items()
    assert not one.ready
    return one


def test_a_sockjs_session_is_ready_when_its_join_is_acknowledged() -> None:
    for pieces in cuts(ACK):
        one = sockjs()
        updates = [update for piece in pieces for update in one.receive_data(piece, 4.0)]
        assert (one.ready, one.cursor, updates) == (True, "e-3", [(None, "e-3")])


def test_a_sockjs_join_that_is_rejected_raises_its_error() -> None:
    error = {"kind": "error", "id": None, "code": "bad_room", "message": "?"}
    text = b"a" + json.dumps([json.dumps(error)]).encode()
    with pytest.raises(Refused, match="bad_room"):
        sockjs().receive_data(text_frame(text), 4.0)


def test_a_sockjs_close_frame_is_the_reason_of_the_end() -> None:
    one = sockjs()
    one.receive_data(text_frame(b'c[4403,"foreign_origin"]'), 4.0)
    assert isinstance(one.closed, Closed)
    assert (one.closed.code, one.closed.reason) == (4403, "foreign_origin")


# --- Socket.IO -----------------------------------------------------------------------------------


def test_a_socketio_session_connects_on_its_websocket() -> None:
    one = make_protocol("socketio", ENDPOINT, "room")
    one.receive_data(switching_protocols(one.connect(0.0)), 1.0)
    one.receive_data(text_frame(b'0{"sid":"s"}'), 2.0)
    assert [payload for _, payload in unmasked(one.data_to_send(2.0))] == [b"40"]
    assert not one.ready
    event = b'42["event",' + json.dumps(EVENT).encode() + b"]"
    updates = one.receive_data(text_frame(b'40{"sid":"t"}') + text_frame(event), 3.0)
    assert (one.ready, updates) == (True, [(EVENT, "e-7")])
    one.receive_data(text_frame(b"2"), 4.0)
    assert [payload for _, payload in unmasked(one.data_to_send(4.0))] == [b"3"]


def test_a_socketio_session_that_is_rejected_raises_its_error() -> None:
    one = make_protocol("socketio", ENDPOINT, "room")
    one.receive_data(switching_protocols(one.connect(0.0)), 1.0)
    trouble = text_frame(b'42["trouble",{"code":"busy","message":"Later."}]')
    with pytest.raises(Refused, match="busy"):
        one.receive_data(trouble, 2.0)
