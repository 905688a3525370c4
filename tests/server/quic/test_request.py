"""The request of a session: what opens one, and the named errors of all others."""

import pytest

from realtime.errors import BadMethod, BadRequest, NotFound, RealtimeError
from realtime.server.quic.request import parse_request
from tests.cases import each

PATH = "/rooms/lobby/webtransport?after=now"


def fields(path: str = PATH, **others: str) -> list[tuple[bytes, bytes]]:
    pseudo = {"method": "CONNECT", "protocol": "webtransport", "authority": "h:1", "path": path}
    found = {f":{name}": value for name, value in (pseudo | others).items()}
    return [(name.encode(), value.encode()) for name, value in found.items()]


def test_a_session_request_has_its_room_its_target_and_the_fields_of_http_1() -> None:
    more = [(b"origin", b"http://h:1"), (b"host", b"other"), (b"x-client-secret", b"s")]
    request = parse_request(fields() + more)
    assert (request.room, request.target) == ("lobby", PATH)
    assert dict(request.fields) == {"Host": "h:1", "Origin": "http://h:1", "X-Client-Secret": "s"}


def test_the_path_of_a_proxy_is_removed() -> None:
    assert parse_request(fields(f"/chat{PATH}"), "/chat").room == "lobby"
    assert parse_request(fields(), "/chat").room == "lobby"


def test_the_name_of_later_drafts_is_accepted() -> None:
    assert parse_request(fields(protocol="webtransport-h3")).room == "lobby"


@each(
    ("sent", "error"),
    [
        (fields("/rooms/lobby/websocket"), NotFound),
        (fields("/rooms/a/b/webtransport"), NotFound),
        (fields("/"), NotFound),
        (fields(""), NotFound),
        (fields(method="GET"), BadMethod),
        (fields(protocol="websocket"), BadMethod),
        ([*fields(), (b"x\xff", b"1")], BadRequest),
        (fields(authority="a\x01b"), BadRequest),
    ],
)
def test_another_request_is_a_named_error(
    sent: list[tuple[bytes, bytes]], error: type[RealtimeError]
) -> None:
    with pytest.raises(error):
        parse_request(sent)
