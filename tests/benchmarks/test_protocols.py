"""A reader without a socket: what it says, and when it wants to say something again."""

import pytest

from benchmarks.clients import CLIENTS, BadResponse
from benchmarks.clients.http import Server
from benchmarks.clients.protocols import KEY, Listener, listener
from benchmarks.clients.websocket import PONG, accept, frame, mask

SERVER = Server("http://127.0.0.1:8000")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


EMPTY = answer(b'{"cursor":"e-1","events":[]}')


def asked(one: Listener, when: float) -> bytes:
    return one.speak(when).partition(b"\r\n")[0]


@pytest.mark.parametrize("transport", CLIENTS)
def test_a_head_is_as_long_as_it_was_asked_to_be(transport: str) -> None:
    one = listener(transport, SERVER, "room", head_bytes=550)
    assert len(one.begin(0.0)) == 550


@pytest.mark.parametrize("transport", CLIENTS)
def test_a_head_that_is_longer_by_itself_is_left_as_it_is(transport: str) -> None:
    bare = listener(transport, SERVER, "room").begin(0.0)
    assert listener(transport, SERVER, "room", head_bytes=20).begin(0.0) == bare


def test_a_short_poller_asks_when_its_interval_is_over_and_first_when_its_phase_is() -> None:
    one = listener("short_polling", SERVER, "room", interval=10.0, phase=0.3)
    one.begin(100.0)
    assert one.take(EMPTY, 100.5) == pytest.approx(103.5)
    one.speak(103.5)
    assert one.take(EMPTY, 103.9) == pytest.approx(113.5)
    one.speak(113.5)
    assert one.take(EMPTY, 130.0) == 130.0  # it took longer than the interval


def test_an_answer_that_was_cut_is_asked_on_at_once() -> None:
    one = listener("short_polling", SERVER, "room", interval=10.0)
    one.begin(0.0)
    assert one.take(answer(b'{"cursor":"e-1","events":[],"more":true}'), 1.0) == 1.0


def test_a_long_poller_asks_at_once_and_waits_its_phase_first() -> None:
    one = listener("long_polling", SERVER, "room", wait=20.0, phase=0.25)
    waits = [one.begin(0.0).partition(b"wait=")[2].split()[0]]
    for when in (1.0, 2.0, 3.0):
        assert one.take(EMPTY, when) == when
        waits.append(asked(one, when).partition(b"wait=")[2].split()[0])
    assert waits == [b"0", b"5", b"20", b"20"]


def test_a_poller_goes_on_from_the_cursor_of_the_last_answer() -> None:
    one = listener("short_polling", SERVER, "room")
    assert b"after=now" in one.begin(0.0)
    one.take(EMPTY, 0.0)
    assert b"after=e-1" in one.speak(1.0)


def test_a_stream_that_is_begun_again_goes_on_from_the_last_event() -> None:
    one = listener("fetch_streaming", SERVER, "room")
    one.begin(0.0)
    one.take(b'HTTP/1.1 200 OK\r\n\r\n{"kind":"say","id":"1","cursor":"e-7"}\n', 5.0)
    assert [heard.when for heard in one.heard] == [5.0]
    assert b"after=e-7" in one.begin(6.0)


def test_a_ping_is_answered_at_once_with_what_it_said() -> None:
    one = listener("websocket", SERVER, "room")
    one.begin(0.0)
    assert one.take(SWITCH % accept(KEY).encode() + b"\x89\x02hi", 1.0) == 1.0
    pong = one.speak(1.0)
    assert frame(PONG, mask(pong[2:6], pong[6:]), key=pong[2:6]) == pong
    assert mask(pong[2:6], pong[6:]) == b"hi"


def test_an_upgrade_that_does_not_belong_to_our_key_is_refused() -> None:
    one = listener("websocket", SERVER, "room")
    one.begin(0.0)
    with pytest.raises(BadResponse, match="does not belong to our key"):
        one.take(SWITCH % accept("another").encode(), 0.0)
