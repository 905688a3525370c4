"""Which requests are admitted, who may send to a session, and how many sessions may be open."""

import asyncio
import warnings
from typing import Any, ClassVar

import pytest

from realtime.transports.sockjs import HardenedSockJSRouter
from tests.cases import each
from tests.transports.sockjs.endpoints import routers
from tests.transports.sockjs.harness import (
    ALL_TRANSPORTS,
    Echo,
    fixes_upstream_bug,
    messages,
    serve,
)

S = "/echo/000/session"
EVIL = "Origin: https://evil.example"
FRIEND = "Origin: https://friend.example"
FRIENDS = {"origins": ["https://friend.example"]}


# --- problems 4 to 7: admission ------------------------------------------------------------------


@fixes_upstream_bug
async def test_a_script_tag_on_another_site_gets_403(kind: str) -> None:
    async with serve(kind, **ALL_TRANSPORTS) as endpoint:
        response = await endpoint.get(f"{S}/jsonp?c=cb", "Sec-Fetch-Site: cross-site")
    assert response.status == 403


@fixes_upstream_bug
async def test_transports_that_send_no_origin_are_disabled_by_default(kind: str) -> None:
    async with serve(kind) as endpoint:
        assert (await endpoint.get(f"{S}/jsonp?c=cb")).status == 404
        assert (await endpoint.post(f"{S}/jsonp_send", '["x"]')).status == 404
        assert (await endpoint.get(f"{S}/htmlfile?c=cb")).status == 404


REQUESTS = [("GET", "/echo/info"), ("POST", f"{S}/xhr"), ("POST", f"{S}/xhr_streaming")]
REQUESTS += [("GET", f"{S}/eventsource"), ("OPTIONS", f"{S}/xhr"), ("POST", f"{S}/xhr_send")]


@fixes_upstream_bug
@each(("method", "path"), REQUESTS)
@each("origin", [EVIL, "Origin: null", "Origin: http://127.0.0.1.evil.example"])
async def test_requests_from_other_sites_get_403(
    kind: str, method: str, path: str, origin: str
) -> None:
    async with serve(kind, **(FRIENDS if kind == "hardened" else {})) as endpoint:
        response = await endpoint.request(method, path, "", origin)
    assert response.status == 403
    assert "access-control-allow-origin" not in response.fields


@fixes_upstream_bug
@pytest.mark.parametrize(("method", "path"), [("GET", "/echo/info"), ("POST", f"{S}/xhr")])
async def test_the_allowed_origin_is_named_and_caches_vary_by_it(
    kind: str, method: str, path: str
) -> None:
    async with serve(kind, **(FRIENDS if kind == "hardened" else {})) as endpoint:
        friend = await endpoint.request(method, path, "", FRIEND)
        nobody = await endpoint.request(method, path.replace("session", "another"))
    assert friend.fields["access-control-allow-origin"] == "https://friend.example"
    assert friend.fields["vary"] == "Origin"
    assert "access-control-allow-origin" not in nobody.fields


async def test_every_origin_can_be_allowed_as_the_protocol_s_own_tests_require() -> None:
    async with serve(origins="*") as endpoint:
        for origin, allowed in (
            (EVIL, "https://evil.example"),
            ("Origin: null", "null"),
            ("X: y", "*"),
        ):
            response = await endpoint.request("OPTIONS", f"{S}/xhr", "", origin)
            assert response.status == 204
            assert response.fields["access-control-allow-origin"] == allowed
            assert response.fields["access-control-allow-methods"] == "OPTIONS, POST"
            assert ("access-control-allow-credentials" in response.fields) == (allowed != "*")


@fixes_upstream_bug
@pytest.mark.parametrize("origin", ["https://chat.example.co", "https://example.com", "null"])
async def test_part_of_an_allowed_origin_is_not_allowed(kind: str, origin: str) -> None:
    ours = {"origins": "https://chat.example.com"}
    theirs = {"websocket_allow_origin": "chat.example.com null"}
    options = ours if kind == "hardened" else theirs
    async with serve(kind, **options) as endpoint, endpoint.connect() as connection:
        assert (await connection.upgrade(f"{S}/websocket", f"Origin: {origin}")).status == 403


@fixes_upstream_bug
async def test_an_http_page_is_not_allowed_as_its_https_origin(kind: str) -> None:
    ours = {"origins": ["https://chat.example.com"]}
    theirs = {"websocket_allow_origin": ["chat.example.com"]}
    options = ours if kind == "hardened" else theirs
    async with serve(kind, **options) as endpoint, endpoint.connect() as connection:
        head = await connection.upgrade(f"{S}/websocket", "Origin: http://chat.example.com")
    assert head.status == 403


@pytest.mark.parametrize("path", [f"{S}/websocket", f"{S}/xhr"])
async def test_our_own_pages_are_admitted(path: str) -> None:
    async with serve() as endpoint:
        own = f"Origin: http://127.0.0.1:{endpoint.port}"
        assert (await endpoint.post(f"{S}/xhr", "", own)).status == 200
        async with endpoint.connect() as connection:
            assert (await connection.upgrade(f"{S}/websocket", own)).status == 101


@fixes_upstream_bug
async def test_disabling_websocket_also_disables_raw_websocket(kind: str) -> None:
    async with serve(kind, disabled_transports=["websocket"]) as endpoint:
        for path in ("/echo/websocket", f"{S}/websocket"):
            async with endpoint.connect() as connection:
                assert (await connection.upgrade(path)).status == 404


# --- problems 8, 9, 18: whose session it is ------------------------------------------------------


@fixes_upstream_bug
async def test_a_session_id_cannot_be_used_from_another_address(kind: str) -> None:
    async with serve(kind) as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (await endpoint.post(f"{S}/xhr_send", '["evil"]', address="127.0.0.2")).status == 404
        taken = await endpoint.post(f"{S}/xhr", address="127.0.0.2")
        assert taken.body == 'c[2010,"Attempted to connect to session from different IP"]\n'
        assert (await endpoint.post(f"{S}/xhr_send", '["mine"]')).status == 204
        assert (await endpoint.post(f"{S}/xhr")).body == 'a["mine"]\n'


async def test_a_session_can_change_its_address_if_that_is_enabled() -> None:
    async with serve(verify_ip=False) as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (
            await endpoint.post(f"{S}/xhr_send", '["moved"]', address="127.0.0.2")
        ).status == 204


async def test_a_page_of_another_site_cannot_send_even_from_the_same_address() -> None:
    async with serve() as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (await endpoint.post(f"{S}/xhr_send", '["evil"]', EVIL)).status == 403


@fixes_upstream_bug
async def test_a_long_session_id_gets_404(kind: str) -> None:
    async with serve(kind) as endpoint:
        assert (await endpoint.post(f"/echo/000/{'x' * 200}/xhr")).status == 404


# --- problem 17: how many sessions ---------------------------------------------------------------


@fixes_upstream_bug
async def test_sessions_per_address_are_limited_and_closed_ones_do_not_count(kind: str) -> None:
    options = {"sessions_per_address": 3} if kind == "hardened" else {}
    async with serve(kind, **options) as endpoint:
        for number in range(3):
            assert (await endpoint.post(f"/echo/0/s{number}/xhr")).status == 200
        for transport in ("xhr", "xhr_streaming"):
            assert (await endpoint.post(f"/echo/0/more/{transport}")).status == 503
        async with endpoint.connect() as connection:
            assert (await connection.upgrade("/echo/0/more/websocket")).status == 503
        assert (await endpoint.post("/echo/0/s4/xhr", address="127.0.0.2")).status == 200
        # A session that exists already does not count again.
        assert (await endpoint.post("/echo/0/s1/xhr_send", '["x"]')).status == 204
        assert (await endpoint.post("/echo/0/s1/xhr")).body == 'a["x"]\n'
        endpoint.router.get_session("s1").close()
        assert (await endpoint.post("/echo/0/more/xhr")).status == 200


# --- problem 13: broadcast -----------------------------------------------------------------------


class Broadcasting(Echo):
    connections: ClassVar[list[Any]] = []

    def on_open(self, request: Any) -> None:
        self.connections.append(self)

    def on_message(self, message: str) -> None:
        self.broadcast(self.connections, message)


@fixes_upstream_bug
async def test_a_closed_connection_does_not_stop_a_broadcast(kind: str) -> None:
    Broadcasting.connections.clear()
    async with (
        serve(kind, Broadcasting) as endpoint,
        endpoint.connect() as gone,
        endpoint.connect() as here,
    ):
        await gone.upgrade("/echo/0/gone/websocket")
        assert await gone.frame() == "o"
        await here.upgrade("/echo/0/here/websocket")
        assert await here.frame() == "o"
        # As after a ping without a pong: we have sent a close frame, and the peer has not replied.
        Broadcasting.connections[0].session.handler.close()
        here.write('["hello"]')
        assert messages(await here.frame()) == ["hello"]
        assert await gone.read_exactly(2) == b"\x88\x00"
        with pytest.raises(TimeoutError):  # nothing after a close frame (RFC 6455 §5.5.1)
            async with asyncio.timeout(0.05):
                await gone.read_exactly(1)


# --- problem 19: shutdown ------------------------------------------------------------------------


@fixes_upstream_bug
async def test_a_router_that_stops_closes_every_session_with_a_reason(kind: str) -> None:
    async with serve(kind) as endpoint, endpoint.connect() as socket, endpoint.connect() as stream:
        await socket.upgrade("/echo/0/a/websocket")
        assert await socket.frame() == "o"
        await stream.start_stream("/echo/0/b/xhr_streaming")
        await stream.chunk()
        await endpoint.post("/echo/0/c/xhr")
        endpoint.router.stop()
        assert await socket.frame() == 'c[1001,"The server stops"]'
        assert await stream.chunk() == 'c[1001,"The server stops"]\n'
        assert await stream.chunk() == ""
        assert (await endpoint.post("/echo/0/c/xhr")).body == 'c[1001,"The server stops"]\n'
        assert not endpoint.router._sessions_cleanup.is_running()
        assert not endpoint.router._open
        assert not endpoint.router._addresses


# --- construction --------------------------------------------------------------------------------


async def test_an_unknown_option_raises_type_error() -> None:
    with pytest.raises(TypeError, match="orgins"):
        HardenedSockJSRouter(Echo, "/echo", {"orgins": []})


def test_a_router_outside_an_event_loop_raises() -> None:
    with pytest.raises(RuntimeError):
        HardenedSockJSRouter(Echo, "/echo")


def test_the_package_s_other_warnings_are_shown() -> None:
    # Warnings are ignored by their text, and only while the package is imported.
    with pytest.raises(DeprecationWarning):
        warnings.warn("@asynchronous is deprecated", DeprecationWarning, stacklevel=1)


async def test_a_session_without_a_receiver_ends_after_its_delay() -> None:
    async with serve(disconnect_delay=0.05, session_check_interval=0.02) as endpoint:
        await endpoint.post(f"{S}/xhr")
        async with asyncio.timeout(endpoint.timeout):
            while endpoint.router.get_session("session") is not None:
                await asyncio.sleep(0.01)
        assert (await endpoint.post(f"{S}/xhr_send", '["x"]')).status == 404
        assert not endpoint.router._open


async def test_the_protocol_s_own_tests_find_their_endpoints() -> None:
    created = routers()
    patterns = {pattern for router in created for pattern, *_ in router.urls}
    for router in created:
        router.stop()
    assert "/echo/websocket$" in patterns
    assert "/disabled_websocket_echo/websocket$" not in patterns
    for name in ("echo", "close", "cookie_needed_echo", "disabled_websocket_echo"):
        assert rf"/{name}/[^/.]+/(?P<session_id>[^/.]+)/jsonp$" in patterns
