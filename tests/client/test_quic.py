"""A session without a socket: datagrams in, datagrams out."""

from realtime.client.quic import SessionProtocol, _parse_close
from realtime.protocol.capsules import close_session
from tests.cases import each


def test_it_begins_with_one_full_datagram_and_a_timer_to_repeat_it() -> None:
    session = SessionProtocol("localhost", "/rooms/r/webtransport", {}, [])
    session.connect(("127.0.0.1", 443), now=0.0)
    (first,) = session.datagrams_to_send(now=0.0)
    assert len(first) == 1200  # RFC 9000 §14.1
    assert session.datagrams_to_send(now=0.1) == []
    assert session.timer is not None
    session.handle_timer(session.timer)
    assert len(session.datagrams_to_send(now=session.timer)[0]) == 1200
    assert not session.opened


def test_after_its_end_it_sends_one_more_datagram_and_has_no_timer() -> None:
    session = SessionProtocol("localhost", "/rooms/r/webtransport", {}, [])
    session.connect(("127.0.0.1", 443), now=0.0)
    session.datagrams_to_send(now=0.0)
    session.abort()
    assert session.closed is not None
    assert session.timer is None
    assert len(session.datagrams_to_send(now=0.0)) == 1
    assert session.datagrams_to_send(now=1.0) == []


def test_the_close_of_a_session_has_the_code_of_the_contract() -> None:
    closed = _parse_close(close_session(1012, "going_away"))
    assert (closed.code, closed.reason) == (1012, "going_away")


@each("body", [b"", b"\x68", b"\x68\x43\x00", b"\x17\x00", close_session(1, "") + b"\x00"])
def test_another_end_has_no_code(body: bytes) -> None:
    assert _parse_close(body).code is None
