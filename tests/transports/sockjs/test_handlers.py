"""Each way of SockJS, to the byte, and what 1.0.7 got wrong in it."""

import asyncio
import json
from typing import ClassVar

import pytest

from tests.transports.sockjs.harness import EVERYTHING, Echo, cures, endpoint, messages

S = "/echo/000/session"
STREAMS = {
    "xhr_streaming": ("POST", "", "h" * 2048 + "\n", "%s\n"),
    "eventsource": ("GET", "", "\r\n", "data: %s\r\n\r\n"),
    "htmlfile": ("GET", "?c=cb", None, "<script>\np(%s);\n</script>\r\n"),
}


# --- the ways ------------------------------------------------------------------------------------


async def test_a_poll_is_one_frame_and_what_is_sent_comes_with_the_next() -> None:
    async with endpoint() as at:
        opened = await at.post(f"{S}/xhr")
        assert (opened.status, opened.body) == (200, "o\n")
        assert opened.fields["content-type"] == "application/javascript; charset=UTF-8"
        sent = await at.post(f"{S}/xhr_send", '["é\\u2028😀","b"]')
        assert (sent.status, sent.body) == (204, "")
        assert sent.fields["content-type"] == "text/plain; charset=UTF-8"
        # What browsers mangle is escaped; all else is itself.
        assert (await at.post(f"{S}/xhr")).body == 'a["é\\u2028😀","b"]\n'


@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_has_a_prelude_and_a_frame_per_chunk(way: str) -> None:
    method, query, prelude, frame = STREAMS[way]
    wrap = json.dumps if way == "htmlfile" else str
    async with endpoint(**EVERYTHING) as at, at.connection() as wire:
        wire.ask(method, f"{S}/{way}{query}")
        assert (await wire.head()).fields["x-accel-buffering"] == "no"
        first = await wire.chunk()
        assert first == prelude if prelude else "var c = parent.cb;" in first and len(first) > 1024
        assert await wire.chunk() == frame % wrap("o")
        assert (await at.post(f"{S}/xhr_send", '["x"]')).status == 204
        assert await wire.chunk() == frame % wrap('a["x"]')


async def test_jsonp_calls_what_it_was_told_to_call() -> None:
    async with endpoint(**EVERYTHING) as at:
        assert (await at.get(f"{S}/jsonp?c=cb")).body == 'cb("o");\r\n'
        form = "Content-Type: application/x-www-form-urlencoded"
        assert (await at.post(f"{S}/jsonp_send", "d=%5B%22%C3%A9+b%22%5D", form)).body == "ok"
        assert (await at.post(f"{S}/jsonp_send", '["%61"]')).body == "ok"
        assert (await at.get(f"{S}/jsonp?c=cb")).body == 'cb("a[\\"é b\\",\\"%61\\"]");\r\n'


async def test_a_websocket_carries_frames_and_a_raw_one_carries_none() -> None:
    async with endpoint(**EVERYTHING) as at:
        async with at.connection() as wire:
            assert (await wire.upgrade(f"{S}/websocket")).status == 101
            assert await wire.frame() == "o"
            wire.write("")  # ignored
            wire.write('["a","b"]')
            wire.write('"c"')
            assert messages(await wire.frame()) == ["a"]
            said = messages(await wire.frame())
            while "c" not in said:
                said += messages(await wire.frame())
            assert said == ["b", "c"]
        async with at.connection() as wire:
            assert (await wire.upgrade("/echo/websocket")).status == 101
            wire.write("héllo")
            assert await wire.frame() == "héllo"


@pytest.mark.parametrize("way", ["xhr_streaming", "eventsource"])
async def test_a_stream_ends_when_the_browser_should_forget_it_and_goes_on_in_the_next(
    way: str,
) -> None:
    method, query, _, frame = STREAMS[way]
    async with endpoint(response_limit=200) as at:
        async with at.connection() as wire:
            wire.ask(method, f"{S}/{way}{query}")
            await wire.head()
            await wire.chunk()
            await wire.chunk()
            await at.post(f"{S}/xhr_send", json.dumps(["x" * 300]))
            assert "x" * 300 in await wire.chunk()
            assert await wire.chunk() == ""
        await at.post(f"{S}/xhr_send", '["next"]')
        async with at.connection() as wire:
            wire.ask(method, f"{S}/{way}{query}")
            await wire.head()
            await wire.chunk()
            assert await wire.chunk() == frame % 'a["next"]'


@cures
async def test_http_1_0_gets_a_stream_without_chunks_that_ends(kind: str) -> None:
    async with endpoint(kind, response_limit=100) as at, at.connection() as wire:
        wire.ask("POST", f"{S}/xhr_streaming", "", "Connection: Keep-Alive", version="1.0")
        head = await wire.head()
        assert "transfer-encoding" not in head.fields
        await wire.exactly(2049 + 2)
        await at.post(f"{S}/xhr_send", json.dumps(["x" * 200]))
        await wire.ended()


# --- problems 1 to 3: what a script may be -------------------------------------------------------


@cures
async def test_the_callback_of_htmlfile_is_a_name_and_comes_back_as_it_was(kind: str) -> None:
    async with endpoint(kind, **EVERYTHING) as at:
        bad = await at.get(f"{S}/htmlfile?c=1%3C/script%3E%3Cscript%3Eprompt()")
        async with at.connection() as wire:
            wire.ask("GET", f"{S}/htmlfile?c=_jp.a1b2")
            await wire.head()
            page = await wire.chunk()
    assert bad.status == 400
    assert "var c = parent._jp.a1b2;" in page


@cures
async def test_what_others_said_is_no_markup_in_htmlfile(kind: str) -> None:
    async with endpoint(kind, **EVERYTHING) as at, at.connection() as wire:
        wire.ask("GET", f"{S}/htmlfile?c=cb")
        assert (await wire.head()).fields["x-content-type-options"] == "nosniff"
        await wire.chunk()
        await wire.chunk()
        await at.post(f"{S}/xhr_send", json.dumps(["</script><script>alert(1)//&"]))
        script = await wire.chunk()
    assert script.count("<") == 2  # its own
    assert json.loads(json.loads(script[11:-14])[1:]) == ["</script><script>alert(1)//&"]


@cures
async def test_the_callback_of_jsonp_is_a_name(kind: str) -> None:
    async with endpoint(kind, **EVERYTHING) as at:
        assert (await at.get(f"{S}/jsonp?c=alert(document.domain)//")).status == 400
        good = await at.get(f"{S}/jsonp?c=cb")
    assert good.fields["x-content-type-options"] == "nosniff"


@cures
async def test_a_callback_in_another_alphabet_is_no_server_error(kind: str) -> None:
    async with endpoint(kind, **EVERYTHING) as at:
        assert (await at.get(f"{S}/jsonp?c=%C3%A9")).status == 400


# --- problem 16: what may be brought -------------------------------------------------------------


class Counting(Echo):
    heard: ClassVar[list[object]] = []

    def on_message(self, message: object) -> None:
        self.heard.append(message)


@cures
@pytest.mark.parametrize("body", ['{"k":1}', "[1,null,{}]", "[NaN]"])
async def test_messages_are_strings_in_an_array(kind: str, body: str) -> None:
    Counting.heard.clear()
    async with endpoint(kind, Counting) as at:
        await at.post(f"{S}/xhr")
        answer = await at.post(f"{S}/xhr_send", body)
    assert answer.status == 500  # the protocol's word for 400
    assert Counting.heard == []


@cures
async def test_a_string_is_one_message(kind: str) -> None:
    Counting.heard.clear()
    async with endpoint(kind, Counting) as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr_send", '"abc"')).status == 204
    assert Counting.heard == ["abc"]


@pytest.mark.parametrize("body", ['["a"', "[" * 5000, '["a"]x', "", "\ud800"])
async def test_what_is_no_json_leaves_the_session_as_it_was(body: str) -> None:
    async with endpoint() as at:
        await at.post(f"{S}/xhr")
        assert (await at.post(f"{S}/xhr_send", body)).status == 500
        assert (await at.post(f"{S}/xhr_send", '["still here"]')).status == 204
        assert (await at.post(f"{S}/xhr")).body == 'a["still here"]\n'


@cures
async def test_a_request_brings_no_more_than_it_may(kind: str) -> None:
    Counting.heard.clear()
    async with endpoint(kind, Counting) as at:
        await at.post(f"{S}/xhr")
        many = await at.post(f"{S}/xhr_send", json.dumps(["x"] * 1001))
        long = await at.post(f"{S}/xhr_send", json.dumps(["x" * 20_000]))
        body = await at.post(f"{S}/xhr_send", json.dumps(["x" * 200_000]))
    assert [many.status, long.status, body.status] == [413, 413, 413]
    assert Counting.heard == []


@cures
async def test_a_frame_brings_no_more_than_it_may(kind: str) -> None:
    async with endpoint(kind) as at, at.connection() as wire:
        await wire.upgrade(f"{S}/websocket")
        assert await wire.frame() == "o"
        wire.write(json.dumps(["x" * 20_000]))
        assert await wire.frame() == 'c[1009,"Too long"]'


# --- problem 20, 21: what stands beside ----------------------------------------------------------


@cures
@pytest.mark.parametrize("value", ['"a b"', '"\\015\\012x"'])
async def test_an_odd_cookie_is_no_server_error(kind: str, value: str) -> None:
    async with endpoint(kind, jsessionid=True) as at:
        answer = await at.post(f"{S}/xhr", "", f"Cookie: JSESSIONID={value}")
    assert answer.status == 200
    assert answer.fields["set-cookie"] == "JSESSIONID=dummy; Path=/; HttpOnly; SameSite=Lax"


async def test_a_cookie_is_given_back_where_it_is_wanted_and_only_there() -> None:
    async with endpoint(jsessionid=True) as at:
        answer = await at.post(f"{S}/xhr", "", "Cookie: JSESSIONID=abc")
        assert answer.fields["set-cookie"].startswith("JSESSIONID=abc; Path=/;")
        assert json.loads((await at.get("/echo/info")).body)["cookie_needed"] is True
    async with endpoint() as at:
        assert "set-cookie" not in (await at.post(f"{S}/xhr")).fields


@cures
async def test_there_is_no_chunking_test_and_chance_is_short_and_secret(kind: str) -> None:
    async with endpoint(kind) as at:
        async with asyncio.timeout(2):
            assert (await at.post("/echo/chunking_test")).status == 404
        info = json.loads((await at.get("/echo/info")).body)
    assert info["entropy"] < 2**32
    assert info["origins"] == ["*:*"]


async def test_the_iframe_runs_one_script_and_the_library() -> None:
    async with endpoint(sockjs_url='/a.js?"><script>') as at:
        page = await at.get("/echo/iframe-1.6.1.html")
        again = await at.get("/echo/iframe.html", f"If-None-Match: {page.fields['etag']}")
    assert '<script src="/a.js?&quot;&gt;&lt;script&gt;">' in page.body
    policy = page.fields["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'self'" in policy
    assert page.fields["cache-control"] == "max-age=31536000, public"
    assert again.status == 304


async def test_what_is_spoken_here_is_said_to_who_does_not_upgrade() -> None:
    async with endpoint() as at:
        plain = await at.get(f"{S}/websocket")
        wrong = await at.get(f"{S}/websocket", "Upgrade: websocket", "Connection: close")
        post = await at.post(f"{S}/websocket")
    assert (plain.status, plain.body) == (400, 'Can "Upgrade" only to "WebSocket".')
    assert (wrong.status, wrong.body) == (400, '"Connection" must be "Upgrade".')
    assert (post.status, post.fields["allow"], post.body) == (405, "GET", "")
