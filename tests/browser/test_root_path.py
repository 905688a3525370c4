"""A server below a path of a site, behind the nginx that we configure: every page and transport."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.async_api import BrowserContext, expect

from benchmarks.clients import post
from tests.browser.chat_page import TRANSPORTS, expect_message, message, open_chat, send
from tests.nginx_fixture import Nginx
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OTHER_PAGES = [
    page.name
    for page in (ROOT / "demos").glob("*.html")
    if page.stem not in [*TRANSPORTS, "frame", "cluster"]
]


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
    url, server = site
    for transport in TRANSPORTS:
        page = await open_chat(context, url, transport, room)
        await send(page, f"up {transport}")
        await expect(message(page, f"up {transport}").locator(".delay")).to_contain_text("ms")
        await post(server.url, room, text=f"down {transport}")
        await expect_message(page, f"down {transport}")
        await page.close()
    assert console_errors == []


async def test_every_page_opens_and_stays_on_the_site(
    site: tuple[str, Server], context: BrowserContext, console_errors: list[str], room: str
) -> None:
    url, _ = site
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page = await context.new_page()
    for name in ["/", "", *(f"/demos/{name}" for name in OTHER_PAGES)]:
        await page.goto(f"{url}{name}?room={room}")
        if await page.locator("#hub").count():
            await expect(page.locator("#hub")).not_to_be_empty()
        assert room in page.url
        for link in await page.locator("a[href]").evaluate_all("all => all.map(one => one.href)"):
            assert not link.startswith("http://127.0.0.1") or link.startswith(url), link
    await page.close()
    assert [one for one in requests if not one.startswith((url, "data:"))] == []
    assert console_errors == []
