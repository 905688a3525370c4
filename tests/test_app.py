"""The table of URLs: other addresses are not found, in JSON, and other sites get nothing."""

from typing import Any

from realtime.client import request
from tests.cases import each
from tests.transports.readers import LIBRARIES, OURS

PATHS = [*(f"/rooms/lobby/{name}" for name in OURS), *LIBRARIES.values()]


@each("path", ["/nothing", "/rooms/", "/rooms//sse", "/rooms/a/tcp", "/demos/x"])
async def test_an_unknown_address_is_not_found(server: Any, path: str) -> None:
    response = await request(server.url, "GET", path)
    assert (response.status, response.json()["error"]["code"]) == (404, "not_found")


@each(
    ("method", "path", "allow"),
    [
        ("PUT", "/rooms", "GET, HEAD"),
        ("GET", "/rooms/a/messages", "POST"),
        ("POST", "/rooms/a/sse", "GET, HEAD"),
        ("GET", "/rooms/a/members/b", "DELETE"),
        ("OPTIONS", "/rooms/a/members", "GET, HEAD"),
        ("BREW", "/healthz", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/demos/static/style.css", "GET, HEAD"),
    ],
)
async def test_another_method_gets_the_allowed_ones(
    server: Any, method: str, path: str, allow: str
) -> None:
    response = await request(server.url, method, path)
    assert (response.status, response.json()["error"]["code"]) == (405, "bad_method")
    assert response.head.fields["allow"] == allow


@each("path", [*PATHS, "/rooms", "/rooms/a/members", "/wire", "/healthz"])
async def test_a_page_of_another_site_gets_nothing(server: Any, path: str) -> None:
    for fields in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        response = await request(server.url, "GET", path, headers=fields)
        assert (response.status, response.json()["error"]["code"]) == (403, "foreign_origin")


async def test_a_page_of_another_site_cannot_publish(server: Any, room: str) -> None:
    path, body = f"/rooms/{room}/messages", b'{"text":"x"}'
    response = await request(server.url, "POST", path, body, {"Origin": "null"})
    assert (response.status, response.json()["error"]["code"]) == (403, "foreign_origin")


@each("path", [*PATHS, "/", "/rooms", "/nothing", "/demos/static/style.css"])
async def test_another_host_name_gets_nothing(server: Any, path: str) -> None:
    response = await request(server.url, "GET", path, headers={"Host": "evil.example"})
    assert (response.status, response.json()["error"]["code"]) == (403, "foreign_host")


@each("room", ["a%20b", "%2F", "%7Ba%7D", "%ff", "%00", "a" * 65, "%F0%9F%98%80"])
async def test_a_bad_room_is_named_by_every_transport(server: Any, room: str) -> None:
    for name in (*OURS, "members"):
        if name == "websocket":
            continue  # it checks the upgrade first; see tests/transports/test_websocket.py
        response = await request(server.url, "GET", f"/rooms/{room}/{name}")
        assert (response.status, response.json()["error"]["code"]) == (400, "bad_room")


@each(
    "host", ["", "127.0.0.1.evil.example", "evil.example:80", "2130706433", "[", "localhost.evil"]
)
async def test_a_host_name_that_looks_like_ours_is_refused(server: Any, host: str) -> None:
    response = await request(server.url, "GET", "/rooms", headers={"Host": host})
    assert (response.status, response.json()["error"]["code"]) == (403, "foreign_host")


@each("host", ["LOCALHOST", "a.localhost:8000", "[::1]:80", "192.0.2.1"])
async def test_ip_addresses_and_local_names_are_ours(server: Any, host: str) -> None:
    assert (await request(server.url, "GET", "/healthz", headers={"Host": host})).status == 200


@each(
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
async def test_what_is_not_utf_8_is_named(server: Any, path: str, code: str) -> None:
    response = await request(server.url, "GET", path)
    assert (response.status, response.json()["error"]["code"]) == (400, code)
