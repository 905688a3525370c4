"""Who is admitted, who may send into whose session, and how much one may have."""

import asyncio
import warnings
from typing import Any, ClassVar

import pytest

from realtime.transports.sockjs import HardenedSockJSRouter
from tests.transports.sockjs.endpoints import routers
from tests.transports.sockjs.harness import EVERYTHING, Echo, cures, endpoint, messages

S = "/echo/000/session"
EVIL = "Origin: https://evil.example"
FRIEND = "Origin: https://friend.example"
FRIENDS = {"origins": ["https://friend.example"]}


# --- problems 4 to 7: who is admitted ------------------------------------------------------------


@cures
async def test_a_script_tag_on_another_site_reads_nothing(kind: str) -> None:
    async with endpoint(kind, **EVERYTHING) as at:
        answer = await at.get(f"{S}/jsonp?c=cb", "Sec-Fetch-Site: cross-site")
    assert answer.status == 403


@cures
async def test_what_sends_no_origin_is_off_unless_it_is_switched_on(kind: str) -> None:
    async with endpoint(kind) as at:
        assert (await at.get(f"{S}/jsonp?c=cb")).status == 404
        assert (await at.post(f"{S}/jsonp_send", '["x"]')).status == 404
        assert (await at.get(f"{S}/htmlfile?c=cb")).status == 404


WAYS = [("GET", "/echo/info"), ("POST", f"{S}/xhr"), ("POST", f"{S}/xhr_streaming")]
WAYS += [("GET", f"{S}/eventsource"), ("OPTIONS", f"{S}/xhr"), ("POST", f"{S}/xhr_send")]


@cures
@pytest.mark.parametrize(("method", "path"), WAYS)
@pytest.mark.parametrize("origin", [EVIL, "Origin: null", "Origin: http://127.0.0.1.evil.example"])
async def test_pages_of_other_sites_are_refused(
    kind: str, method: str, path: str, origin: str
) -> None:
    async with endpoint(kind, **(FRIENDS if kind == "hardened" else {})) as at:
        answer = await at.ask(method, path, "", origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.fields


@cures
@pytest.mark.parametrize(("method", "path"), [("GET", "/echo/info"), ("POST", f"{S}/xhr")])
async def test_who_may_read_is_named_and_caches_know_it(kind: str, method: str, path: str) -> None:
    async with endpoint(kind, **(FRIENDS if kind == "hardened" else {})) as at:
        friend = await at.ask(method, path, "", FRIEND)
        nobody = await at.ask(method, path.replace("session", "another"))
    assert friend.fields["access-control-allow-origin"] == "https://friend.example"
    assert friend.fields["vary"] == "Origin"
    assert "access-control-allow-origin" not in nobody.fields


async def test_the_origins_may_be_everybody_s_as_the_protocol_s_own_tests_want_it() -> None:
    async with endpoint(origins="*") as at:
        for origin, told in ((EVIL, "https://evil.example"), ("Origin: null", "*"), ("X: y", "*")):
            answer = await at.ask("OPTIONS", f"{S}/xhr", "", origin)
            assert answer.status == 204
            assert answer.fields["access-control-allow-origin"] == told
            assert answer.fields["access-control-allow-methods"] == "OPTIONS, POST"


@cures
@pytest.mark.parametrize("origin", ["https://chat.example.co", "https://example.com", "null"])
async def test_an_origin_is_no_part_of_another(kind: str, origin: str) -> None:
    ours = {"origins": "https://chat.example.com"}
    theirs = {"websocket_allow_origin": "chat.example.com null"}
    options = ours if kind == "hardened" else theirs
    async with endpoint(kind, **options) as at, at.connection() as wire:
        assert (await wire.upgrade(f"{S}/websocket", f"Origin: {origin}")).status == 403


@cures
async def test_a_page_of_http_is_not_one_of_https(kind: str) -> None:
    ours = {"origins": ["https://chat.example.com"]}
    theirs = {"websocket_allow_origin": ["chat.example.com"]}
    options = ours if kind == "hardened" else theirs
    async with endpoint(kind, **options) as at, at.connection() as wire:
        head = await wire.upgrade(f"{S}/websocket", "Origin: http://chat.example.com")
    assert head.status == 403


@pytest.mark.parametrize("path", [f"{S}/websocket", f"{S}/xhr"])
async def test_our_own_pages_are_welcome(path: str) -> None:
    async with endpoint() as at:
        own = f"Origin: http://127.0.0.1:{at.port}"
        assert (await at.post(f"{S}/xhr", "", own)).status == 200
        async with at.connection() as wire:
            assert (await wire.upgrade(f"{S}/websocket", own)).status == 101


@cures
async def test_without_websocket_there_is_no_raw_one_either(kind: str) -> None:
    async with endpoint(kind, disabled_transports=["websocket"]) as at:
        for path in ("/echo/websocket", f"{S}/websocket"):
            async with at.connection() as wire:
                assert (await wire.upgrade(path)).status == 404


# --- problems 8, 9, 18: whose session it is ------------------------------------------------------


@cures
async def test_who_knows_the_id_of_a_session_cannot_speak_in_it_from_elsewhere(kind: str) -> None:
    async with endpoint(kind) as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr_send", '["evil"]', address="127.0.0.2")).status == 404
        taken = await at.post(f"{S}/xhr", address="127.0.0.2")
        assert taken.body == 'c[2010,"Attempted to connect to session from different IP"]\n'
        assert (await at.post(f"{S}/xhr_send", '["mine"]')).status == 204
        assert (await at.post(f"{S}/xhr")).body == 'a["mine"]\n'


async def test_a_session_may_move_where_that_is_wanted() -> None:
    async with endpoint(verify_ip=False) as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr_send", '["moved"]', address="127.0.0.2")).status == 204


async def test_a_page_of_another_site_cannot_speak_in_a_session_though_the_address_is_right() -> (
    None
):
    async with endpoint() as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr_send", '["evil"]', EVIL)).status == 403


@cures
async def test_an_id_is_no_place_to_put_much(kind: str) -> None:
    async with endpoint(kind) as at:
        assert (await at.post(f"/echo/000/{'x' * 200}/xhr")).status == 404


# --- problem 17: how many ------------------------------------------------------------------------


@cures
async def test_an_address_has_so_many_sessions_and_gets_places_back(kind: str) -> None:
    options = {"sessions_per_address": 3} if kind == "hardened" else {}
    async with endpoint(kind, **options) as at:
        for number in range(3):
            assert (await at.post(f"/echo/0/s{number}/xhr")).status == 200
        for way in ("xhr", "xhr_streaming"):
            assert (await at.post(f"/echo/0/more/{way}")).status == 503
        async with at.connection() as wire:
            assert (await wire.upgrade("/echo/0/more/websocket")).status == 503
        assert (await at.post("/echo/0/s4/xhr", address="127.0.0.2")).status == 200
        # One that is here already is no further one.
        assert (await at.post("/echo/0/s1/xhr_send", '["x"]')).status == 204
        assert (await at.post("/echo/0/s1/xhr")).body == 'a["x"]\n'
        at.router.get_session("s1").close()
        assert (await at.post("/echo/0/more/xhr")).status == 200


# --- problem 13: saying something to many --------------------------------------------------------


class Everybody(Echo):
    here: ClassVar[list[Any]] = []

    def on_open(self, request: Any) -> None:
        self.here.append(self)

    def on_message(self, message: str) -> None:
        self.broadcast(self.here, message)


@cures
async def test_one_who_is_gone_does_not_keep_it_from_the_others(kind: str) -> None:
    Everybody.here.clear()
    async with endpoint(kind, Everybody) as at, at.connection() as gone, at.connection() as here:
        await gone.upgrade("/echo/0/gone/websocket")
        assert await gone.frame() == "o"
        await here.upgrade("/echo/0/here/websocket")
        assert await here.frame() == "o"
        # As after a ping without an answer: closed at this end, and the other does not say so too.
        Everybody.here[0].session.handler.close()
        here.write('["hello"]')
        assert messages(await here.frame()) == ["hello"]
        assert await gone.exactly(2) == b"\x88\x00"
        with pytest.raises(TimeoutError):  # nothing after a close frame (RFC 6455 §5.5.1)
            async with asyncio.timeout(0.05):
                await gone.exactly(1)


# --- problem 19: the end -------------------------------------------------------------------------


@cures
async def test_a_router_stops_and_says_so_to_every_session(kind: str) -> None:
    async with endpoint(kind) as at, at.connection() as socket, at.connection() as stream:
        await socket.upgrade("/echo/0/a/websocket")
        assert await socket.frame() == "o"
        stream.ask("POST", "/echo/0/b/xhr_streaming")
        await stream.head()
        await stream.chunk()
        await stream.chunk()
        await at.post("/echo/0/c/xhr")
        at.router.stop()
        assert await socket.frame() == 'c[1001,"The server stops"]'
        assert await stream.chunk() == 'c[1001,"The server stops"]\n'
        assert await stream.chunk() == ""
        assert (await at.post("/echo/0/c/xhr")).body == 'c[1001,"The server stops"]\n'
        assert not at.router._sessions_cleanup.is_running()
        assert not at.router._open
        assert not at.router._addresses


# --- how it is made ------------------------------------------------------------------------------


async def test_an_option_that_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="orgins"):
        HardenedSockJSRouter(Echo, "/echo", {"orgins": []})


def test_a_router_without_a_loop_is_a_mistake() -> None:
    with pytest.raises(RuntimeError):
        HardenedSockJSRouter(Echo, "/echo")


def test_the_package_s_other_warnings_are_heard() -> None:
    # What is silenced is silenced by name, and only while the package is imported.
    with pytest.raises(DeprecationWarning):
        warnings.warn("@asynchronous is deprecated", DeprecationWarning, stacklevel=1)


async def test_sessions_that_nobody_receives_end_after_a_while() -> None:
    async with endpoint(disconnect_delay=0.05, session_check_interval=0.02) as at:
        await at.post(f"{S}/xhr")
        async with asyncio.timeout(at.seconds):
            while at.router.get_session("session") is not None:
                await asyncio.sleep(0.01)
        assert (await at.post(f"{S}/xhr_send", '["x"]')).status == 404
        assert not at.router._open


async def test_the_protocol_s_own_tests_find_what_they_ask_for() -> None:
    made = routers()
    patterns = {pattern for router in made for pattern, *_ in router.urls}
    for router in made:
        router.stop()
    assert "/echo/websocket$" in patterns
    assert "/disabled_websocket_echo/websocket$" not in patterns
    for name in ("echo", "close", "cookie_needed_echo", "disabled_websocket_echo"):
        assert rf"/{name}/[^/.]+/(?P<session_id>[^/.]+)/jsonp$" in patterns
