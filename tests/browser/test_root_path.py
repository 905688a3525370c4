"""A server below a path of a site, behind the nginx that we configure: every page and transport."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.async_api import BrowserContext, Request, expect

from realtime.client import get_json, post
from tests.browser.chat_page import (
    TCP_TRANSPORTS,
    TRANSPORTS,
    expect_message,
    message,
    open_chat,
    send,
)
from tests.browser.tabs import leave, new_page
from tests.browser.test_engines import (
    ALL_HAVE,
    ALL_OPEN,
    CONNECT,
    IDS,
    QUIET_PAGE,
    READ,
    SEND_OVER_EACH,
)
from tests.nginx_fixture import Nginx
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OTHER_PAGES = [
    page.name
    for page in (ROOT / "demos").glob("*.html")
    if page.stem not in [*TRANSPORTS, "frame", "cluster", "faults"]
]
# The files that the HTML of a page names, each with the status of its response.
FILES = """async (page) => {
  const text = await (await fetch(page)).text();
  const html = new DOMParser().parseFromString(text, "text/html");
  const named = [...html.querySelectorAll("link[href], script[src]")];
  return Promise.all(named.map(async (one) => {
    const url = new URL(one.getAttribute("href") ?? one.getAttribute("src"), page);
    return [url.href, (await fetch(url, { method: "HEAD" })).status];
  }));
}"""


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, Server]]:
    """The URL of the server on the site, and the server."""
    with ExitStack() as stack:
        options = ("--root-path", "/a/chat", "--trust-proxy", "127.0.0.1")
        server = stack.enter_context(Server("--hub", "memory", *options))
        workers = [f"127.0.0.1:{server.port}"]
        nginx = stack.enter_context(Nginx(workers, routing="session", root_path="/a/chat"))
        yield f"{nginx.url}/a/chat", server


async def test_every_transport_sends_and_receives(
    site: tuple[str, Server], context: BrowserContext, console_errors: list[str], room: str
) -> None:
    """All of them on one page, since a page load takes longer than all that it sends."""
    url, server = site
    start = (await get_json(server.url, f"/rooms/{room}/short_polling"))["cursor"]
    page = await new_page(context)
    await page.goto(f"{url}/{QUIET_PAGE}")
    await page.evaluate(CONNECT, {"room": room, "after": start, "transports": TCP_TRANSPORTS})
    await page.wait_for_function(ALL_OPEN)
    await page.evaluate(SEND_OVER_EACH, IDS)
    await page.wait_for_function(ALL_HAVE, arg=len(TCP_TRANSPORTS))
    await post(server.url, room, text="down")
    await page.wait_for_function(ALL_HAVE, arg=len(TCP_TRANSPORTS) + 1)
    for texts, repeats in (await page.evaluate(READ)).values():
        assert (sorted(texts[:-1]), texts[-1], repeats) == (sorted(TCP_TRANSPORTS), "down", 0)
    await leave(page)
    assert console_errors == []


async def test_every_page_opens_and_stays_on_the_site(
    site: tuple[str, Server], clock_context: BrowserContext, console_errors: list[str], room: str
) -> None:
    """The pages of the transports differ in their HTML alone, so one of them is enough to open."""
    url, _ = site
    requests: list[str] = []

    def listen(request: Request) -> None:
        requests.append(request.url)

    clock_context.on("request", listen)
    page = await open_chat(clock_context, url, "websocket", room)
    await send(page, "hello")
    await expect(message(page, "hello").locator(".delay")).to_contain_text("ms")
    await expect_message(page, "hello")
    for transport in TRANSPORTS:
        files = await page.evaluate(FILES, f"{url}/demos/{transport}.html")
        assert len(files) >= 4
        assert [one for one in files if not one[0].startswith(url) or one[1] != 200] == []
    for name in ["/", "", *(f"/demos/{name}" for name in OTHER_PAGES)]:
        await page.goto(f"{url}{name}?room={room}")
        if await page.locator("#hub").count():
            await expect(page.locator("#hub")).not_to_be_empty()
        assert room in page.url
        for link in await page.locator("a[href]").evaluate_all("all => all.map(one => one.href)"):
            assert not link.startswith("http://127.0.0.1") or link.startswith(url), link
    clock_context.remove_listener("request", listen)
    assert [one for one in requests if not one.startswith((url, "data:"))] == []
    assert console_errors == []
