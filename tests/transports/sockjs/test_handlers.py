"""Each SockJS transport, byte by byte, and the bugs of 1.0.7 in it."""

import asyncio
import json
from typing import ClassVar

import pytest

from tests.transports.sockjs.harness import (
    ALL_TRANSPORTS,
    Echo,
    fixes_upstream_bug,
    messages,
    serve,
)

S = "/echo/000/session"
STREAMS = {
    "xhr_streaming": ("POST", "", "h" * 2048 + "\n", "%s\n"),
    "eventsource": ("GET", "", "\r\n", "data: %s\r\n\r\n"),
    "htmlfile": ("GET", "?c=cb", None, "<script>\np(%s);\n</script>\r\n"),
}

CONTENT_TYPES = {
    "xhr_streaming": "application/javascript; charset=UTF-8",
    "eventsource": "text/event-stream",
    "htmlfile": "text/html; charset=UTF-8",
}
INVALID_CALLBACK = (500, 'invalid "callback" parameter')


# --- the transports ------------------------------------------------------------------------------


async def test_a_poll_returns_one_frame_and_messages_come_with_the_next_poll() -> None:
    async with serve() as endpoint:
        opened = await endpoint.post(f"{S}/xhr")
        assert (opened.status, opened.body) == (200, "o\n")
        assert opened.fields["content-type"] == "application/javascript; charset=UTF-8"
        sent = await endpoint.post(f"{S}/xhr_send", '["é\\u2028😀","b"]')
        assert (sent.status, sent.body) == (204, "")
        assert sent.fields["content-type"] == "text/plain; charset=UTF-8"
        # Only characters that some browsers change are escaped.
        assert (await endpoint.post(f"{S}/xhr")).body == 'a["é\\u2028😀","b"]\n'


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_stream_has_a_prelude_and_then_one_frame_per_chunk(transport: str) -> None:
    method, query, prelude, frame = STREAMS[transport]
    wrap = json.dumps if transport == "htmlfile" else str
    async with serve(**ALL_TRANSPORTS) as endpoint, endpoint.connect() as connection:
        connection.request(method, f"{S}/{transport}{query}")
        head = await connection.head()
        assert head.fields["x-accel-buffering"] == "no"
        assert "no-transform" in head.fields["cache-control"]
        assert head.fields["content-type"] == CONTENT_TYPES[transport]
        first = await connection.chunk()
        assert first == prelude if prelude else "var c = parent.cb;" in first and len(first) > 1024
        assert await connection.chunk() == frame % wrap("o")
        assert (await endpoint.post(f"{S}/xhr_send", '["x"]')).status == 204
        assert await connection.chunk() == frame % wrap('a["x"]')


async def test_jsonp_calls_the_function_that_the_query_names() -> None:
    async with serve(**ALL_TRANSPORTS) as endpoint:
        assert (await endpoint.get(f"{S}/jsonp?c=cb")).body == '/**/cb("o");\r\n'
        form = "Content-Type: application/x-www-form-urlencoded"
        assert (await endpoint.post(f"{S}/jsonp_send", "d=%5B%22%C3%A9+b%22%5D", form)).body == "ok"
        assert (await endpoint.post(f"{S}/jsonp_send", '["%61"]')).body == "ok"
        assert (
            await endpoint.get(f"{S}/jsonp?c=cb")
        ).body == '/**/cb("a[\\"é b\\",\\"%61\\"]");\r\n'


async def test_a_websocket_carries_sockjs_frames_and_a_raw_one_does_not() -> None:
    async with serve(**ALL_TRANSPORTS) as endpoint:
        async with endpoint.connect() as connection:
            assert (await connection.upgrade(f"{S}/websocket")).status == 101
            assert await connection.frame() == "o"
            connection.write("")  # ignored
            connection.write('["a","b"]')
            connection.write('"c"')
            assert messages(await connection.frame()) == ["a"]
            received = messages(await connection.frame())
            while "c" not in received:
                received += messages(await connection.frame())
            assert received == ["b", "c"]
        async with endpoint.connect() as connection:
            assert (await connection.upgrade("/echo/websocket")).status == 101
            connection.write("héllo")
            assert await connection.frame() == "héllo"


@pytest.mark.parametrize("transport", ["xhr_streaming", "eventsource"])
async def test_a_stream_ends_at_its_size_limit_and_the_next_one_continues(
    transport: str,
) -> None:
    method, query, _, frame = STREAMS[transport]
    async with serve(response_limit=200) as endpoint:
        async with endpoint.connect() as connection:
            connection.request(method, f"{S}/{transport}{query}")
            await connection.head()
            await connection.chunk()
            await connection.chunk()
            await endpoint.post(f"{S}/xhr_send", json.dumps(["x" * 300]))
            assert "x" * 300 in await connection.chunk()
            assert await connection.chunk() == ""
        await endpoint.post(f"{S}/xhr_send", '["next"]')
        async with endpoint.connect() as connection:
            connection.request(method, f"{S}/{transport}{query}")
            await connection.head()
            await connection.chunk()
            assert await connection.chunk() == frame % 'a["next"]'


@fixes_upstream_bug
async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(
    kind: str,
) -> None:
    async with serve(kind, response_limit=100) as endpoint, endpoint.connect() as connection:
        connection.request(
            "POST", f"{S}/xhr_streaming", "", "Connection: Keep-Alive", version="1.0"
        )
        head = await connection.head()
        assert "transfer-encoding" not in head.fields
        await connection.read_exactly(2049 + 2)
        await endpoint.post(f"{S}/xhr_send", json.dumps(["x" * 200]))
        await connection.wait_closed()


# --- problems 1 to 3: scripts and callbacks ------------------------------------------------------


@fixes_upstream_bug
async def test_the_callback_of_htmlfile_must_be_a_name_and_is_returned_unchanged(kind: str) -> None:
    async with serve(kind, **ALL_TRANSPORTS) as endpoint:
        bad = await endpoint.get(f"{S}/htmlfile?c=1%3C/script%3E%3Cscript%3Eprompt()")
        async with endpoint.connect() as connection:
            connection.request("GET", f"{S}/htmlfile?c=_jp.a1b2")
            await connection.head()
            page = await connection.chunk()
    assert (bad.status, bad.body) == INVALID_CALLBACK
    assert "var c = parent._jp.a1b2;" in page


@fixes_upstream_bug
async def test_messages_cannot_become_markup_in_htmlfile(kind: str) -> None:
    async with serve(kind, **ALL_TRANSPORTS) as endpoint, endpoint.connect() as connection:
        connection.request("GET", f"{S}/htmlfile?c=cb")
        assert (await connection.head()).fields["x-content-type-options"] == "nosniff"
        await connection.chunk()
        await connection.chunk()
        await endpoint.post(f"{S}/xhr_send", json.dumps(["</script><script>alert(1)//&"]))
        script = await connection.chunk()
    assert script.count("<") == 2  # its own
    assert json.loads(json.loads(script[11:-14])[1:]) == ["</script><script>alert(1)//&"]


@fixes_upstream_bug
async def test_the_callback_of_jsonp_must_be_a_name(kind: str) -> None:
    async with serve(kind, **ALL_TRANSPORTS) as endpoint:
        for name in ("alert(document.domain)//", "%20", "%20cb", "*", "a%0D"):
            bad = await endpoint.get(f"{S}/jsonp?c={name}")
            assert (bad.status, bad.body) == INVALID_CALLBACK
        good = await endpoint.get(f"{S}/jsonp?c=cb")
    assert good.fields["x-content-type-options"] == "nosniff"


@fixes_upstream_bug
async def test_a_callback_outside_of_ascii_gets_the_error_of_the_protocol(kind: str) -> None:
    async with serve(kind, **ALL_TRANSPORTS) as endpoint:
        bad = await endpoint.get(f"{S}/jsonp?c=%C3%A9")
    assert (bad.status, bad.body) == INVALID_CALLBACK


# --- problem 16: what a request may contain ------------------------------------------------------


class Recording(Echo):
    received: ClassVar[list[object]] = []

    def on_message(self, message: object) -> None:
        self.received.append(message)


@fixes_upstream_bug
@pytest.mark.parametrize("body", ['{"k":1}', "[1,null,{}]", "[NaN]"])
async def test_messages_must_be_an_array_of_strings(kind: str, body: str) -> None:
    Recording.received.clear()
    async with serve(kind, Recording) as endpoint:
        await endpoint.post(f"{S}/xhr")
        response = await endpoint.post(f"{S}/xhr_send", body)
    assert response.status == 500  # where HTTP has 400, the protocol has 500
    assert Recording.received == []


@fixes_upstream_bug
async def test_a_string_without_an_array_is_one_message(kind: str) -> None:
    Recording.received.clear()
    async with serve(kind, Recording) as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (await endpoint.post(f"{S}/xhr_send", '"abc"')).status == 204
    assert Recording.received == ["abc"]


@pytest.mark.parametrize("body", ['["a"', "[" * 5000, '["a"]x', "", "\ud800"])
async def test_invalid_json_does_not_change_the_session(body: str) -> None:
    async with serve() as endpoint:
        await endpoint.post(f"{S}/xhr")
        assert (await endpoint.post(f"{S}/xhr_send", body)).status == 500
        assert (await endpoint.post(f"{S}/xhr_send", '["still here"]')).status == 204
        assert (await endpoint.post(f"{S}/xhr")).body == 'a["still here"]\n'


@fixes_upstream_bug
async def test_a_request_above_the_limits_is_rejected(kind: str) -> None:
    Recording.received.clear()
    async with serve(kind, Recording) as endpoint:
        await endpoint.post(f"{S}/xhr")
        many = await endpoint.post(f"{S}/xhr_send", json.dumps(["x"] * 1001))
        long = await endpoint.post(f"{S}/xhr_send", json.dumps(["x" * 20_000]))
        body = await endpoint.post(f"{S}/xhr_send", json.dumps(["x" * 200_000]))
    assert [many.status, long.status, body.status] == [413, 413, 413]
    assert Recording.received == []


@fixes_upstream_bug
async def test_a_frame_above_the_limits_closes_the_session(kind: str) -> None:
    async with serve(kind) as endpoint, endpoint.connect() as connection:
        await connection.upgrade(f"{S}/websocket")
        assert await connection.frame() == "o"
        connection.write(json.dumps(["x" * 20_000]))
        assert await connection.frame() == 'c[1009,"Too long"]'


# --- problems 20 and 21: cookie, info, iframe ----------------------------------------------------


@fixes_upstream_bug
@pytest.mark.parametrize("value", ['"a b"', '"\\015\\012x"'])
async def test_an_invalid_cookie_is_not_a_server_error(kind: str, value: str) -> None:
    async with serve(kind, jsessionid=True) as endpoint:
        response = await endpoint.post(f"{S}/xhr", "", f"Cookie: JSESSIONID={value}")
    assert response.status == 200
    assert response.fields["set-cookie"] == "JSESSIONID=dummy; Path=/; HttpOnly; SameSite=Lax"


async def test_a_cookie_is_returned_only_if_it_is_enabled() -> None:
    async with serve(jsessionid=True) as endpoint:
        response = await endpoint.post(f"{S}/xhr", "", "Cookie: JSESSIONID=abc")
        assert response.fields["set-cookie"].startswith("JSESSIONID=abc; Path=/;")
        assert json.loads((await endpoint.get("/echo/info")).body)["cookie_needed"] is True
    async with serve() as endpoint:
        assert "set-cookie" not in (await endpoint.post(f"{S}/xhr")).fields


@fixes_upstream_bug
async def test_there_is_no_chunking_test_and_entropy_has_32_bits(kind: str) -> None:
    async with serve(kind) as endpoint:
        async with asyncio.timeout(2):
            assert (await endpoint.post("/echo/chunking_test")).status == 404
        info = json.loads((await endpoint.get("/echo/info")).body)
    assert info["entropy"] < 2**32
    assert info["origins"] == ["*:*"]


async def test_the_iframe_runs_only_its_script_and_the_library() -> None:
    async with serve(sockjs_url='/a.js?"><script>') as endpoint:
        page = await endpoint.get("/echo/iframe-1.6.1.html")
        again = await endpoint.get("/echo/iframe.html", f"If-None-Match: {page.fields['etag']}")
    assert '<script src="/a.js?&quot;&gt;&lt;script&gt;">' in page.body
    policy = page.fields["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'self'" in policy
    assert page.fields["cache-control"] == "max-age=31536000, public"
    assert again.status == 304


async def test_a_request_without_an_upgrade_gets_an_error_that_says_so() -> None:
    async with serve() as endpoint:
        plain = await endpoint.get(f"{S}/websocket")
        wrong = await endpoint.get(f"{S}/websocket", "Upgrade: websocket", "Connection: close")
        post = await endpoint.post(f"{S}/websocket")
    assert (plain.status, plain.body) == (400, 'Can "Upgrade" only to "WebSocket".')
    assert (wrong.status, wrong.body) == (400, '"Connection" must be "Upgrade".')
    assert (post.status, post.fields["allow"], post.body) == (405, "GET", "")
