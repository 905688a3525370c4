"""A page that was asleep looks at once, and does not wait for its timers."""

import uuid

import pytest
from playwright.async_api import BrowserContext, Page, expect

from benchmarks.clients import post
from realtime.netem.proxy import Proxy
from tests.browser.test_pages import enter, heard
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HIDE = """yes => {
  Object.defineProperty(document, "hidden", { get: () => yes, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def room() -> str:
    return uuid.uuid4().hex


async def hide(page: Page, seconds: int) -> None:
    """Be out of sight for so long, with all timers asleep: the clock goes on, and they do not."""
    await page.evaluate(HIDE, True)
    await page.evaluate(f"(now => {{ Date.now = () => now() + {seconds * 1000} }})(Date.now)")


# The stream of an iframe dies without a word to the page: left alone, it is noticed after 37 s.
async def test_a_page_that_is_looked_at_again_looks_whether_its_stream_lives(
    server: Server, context: BrowserContext, room: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await enter(context, relay.url, "iframe_streaming", room)
        await post(server.url, room, text="before")
        await expect(heard(page, "before")).to_have_count(1)
        await hide(page, 600)
        relay.cut()
        await post(server.url, room, text="meanwhile")
        await page.evaluate(HIDE, False)
        await expect(heard(page, "meanwhile")).to_have_count(1, timeout=10_000)
        assert await page.locator("#messages li[data-kind=say]").count() == 2
        assert await page.locator("#messages li[data-kind=gap]").count() == 0
        await page.close()


async def test_a_glance_at_another_tab_is_no_sleep(
    server: Server, context: BrowserContext, room: str
) -> None:
    page = await enter(context, server.url, "sse", room)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await hide(page, 3)
    await page.evaluate(HIDE, False)
    await post(server.url, room, text="after")
    await expect(heard(page, "after")).to_have_count(1)
    assert not [url for url in asked if "short_polling" in url]
    await page.close()


async def test_a_network_that_is_back_is_used_at_once(
    server: Server, context: BrowserContext, room: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await enter(context, relay.url, "websocket", room)
        await page.evaluate("Math.random = () => 0.99")  # the longest waits there are
        relay.plugged = False
        relay.cut()
        await page.clock.fast_forward(30_000)  # it has tried and tried
        await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
        # No timer runs any more, so it is not a timer that brings the page back.
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 0.05"))
        relay.plugged = True
        await page.evaluate("dispatchEvent(new Event('online'))")
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        await page.close()
