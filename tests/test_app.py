"""The table of addresses: what is not in it is said so, in JSON, and foreign pages get nothing."""

from typing import Any

import pytest

from benchmarks.clients import request
from tests.transports.readers import LIBRARIES, OURS

WAYS = [*(f"/rooms/lobby/{name}" for name in OURS), *LIBRARIES.values()]


@pytest.mark.parametrize("path", ["/nothing", "/rooms/", "/rooms//sse", "/rooms/a/tcp", "/demos/x"])
async def test_what_is_not_there_is_not_found(server: Any, path: str) -> None:
    answer = await request(server.url, "GET", path)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/rooms", "GET"),
        ("GET", "/rooms/a/messages", "POST"),
        ("POST", "/rooms/a/sse", "GET"),
        ("GET", "/rooms/a/members/b", "DELETE"),
        ("OPTIONS", "/rooms/a/members", "GET"),
        ("BREW", "/healthz", "GET"),
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/demos/static/style.css", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which(
    server: Any, method: str, path: str, allow: str
) -> None:
    answer = await request(server.url, method, path)
    assert (answer.status, answer.json()["error"]["code"]) == (405, "bad_method")
    assert answer.head.fields["allow"] == allow


@pytest.mark.parametrize("path", [*WAYS, "/rooms", "/rooms/a/members", "/wire", "/healthz"])
async def test_a_page_of_another_site_gets_nothing(server: Any, path: str) -> None:
    for fields in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await request(server.url, "GET", path, headers=fields)
        assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_origin")


async def test_a_page_of_another_site_cannot_speak(server: Any, room: str) -> None:
    path, body = f"/rooms/{room}/messages", b'{"text":"x"}'
    answer = await request(server.url, "POST", path, body, {"Origin": "null"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize("path", [*WAYS, "/", "/rooms", "/nothing", "/demos/static/style.css"])
async def test_a_name_that_is_not_ours_gets_nothing(server: Any, path: str) -> None:
    answer = await request(server.url, "GET", path, headers={"Host": "evil.example"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_host")


@pytest.mark.parametrize(
    "room", ["a%20b", "%2F", "%7Ba%7D", "%ff", "%00", "a" * 65, "%F0%9F%98%80"]
)
async def test_a_bad_room_is_named_on_every_way(server: Any, room: str) -> None:
    for name in (*OURS, "members"):
        if name == "websocket":
            continue  # it asks for its upgrade first; tests/transports/test_websocket.py
        answer = await request(server.url, "GET", f"/rooms/{room}/{name}")
        assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_room")


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1.evil.example", "evil.example:80", "2130706433", "[", "localhost.evil"]
)
async def test_a_name_that_looks_like_ours_is_not(server: Any, host: str) -> None:
    answer = await request(server.url, "GET", "/healthz", headers={"Host": host})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["LOCALHOST", "a.localhost:8000", "[::1]:80", "192.0.2.1"])
async def test_an_address_and_a_local_name_are_ours(server: Any, host: str) -> None:
    assert (await request(server.url, "GET", "/healthz", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/rooms/%C3%28/members", "bad_room"),
        ("/rooms/%zz/members", "bad_room"),
        ("/rooms/a/short_polling?after=%ff", "bad_cursor"),
        ("/rooms/a/short_polling?client=%ff", "bad_client"),
        ("/rooms/a/short_polling?client=a&name=%ff", "bad_name"),
        ("/wire?client=%ff", "bad_client"),
    ],
)
async def test_what_is_no_utf_8_is_named(server: Any, path: str, code: str) -> None:
    answer = await request(server.url, "GET", path)
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)
