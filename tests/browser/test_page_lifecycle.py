"""A page that resumes checks its connection at once, and does not wait for its timers."""

import pytest
from playwright.async_api import BrowserContext, Page, expect

from realtime.client import post
from realtime.netem.proxy import Proxy
from tests.browser.chat_page import expect_no_gap, message, open_chat
from tests.browser.tabs import leave, new_page
from tests.browser.test_engines import ALL_HAVE, ALL_OPEN, CONNECT, QUIET_PAGE, READ
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HIDE = """yes => {
  Object.defineProperty(document, "hidden", { get: () => yes, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def hide(page: Page, seconds: int) -> None:
    """Hide the page, and put the clock forward without running any timer."""
    await page.evaluate(HIDE, True)
    await page.evaluate(f"(now => {{ Date.now = () => now() + {seconds * 1000} }})(Date.now)")


# The stream of an iframe dies without an event: the watchdog alone would notice it after 37 s.
async def test_a_page_that_becomes_visible_checks_its_stream(
    server: Server, clock_context: BrowserContext, room: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await open_chat(clock_context, relay.url, "iframe_streaming", room)
        await post(server.url, room, text="before")
        await expect(message(page, "before")).to_have_count(1)
        await hide(page, 600)
        relay.reset_connections()
        await post(server.url, room, text="meanwhile")
        await page.evaluate(HIDE, False)
        await expect(message(page, "meanwhile")).to_have_count(1)
        assert await page.locator("#messages li[data-kind=say]").count() == 2
        await expect_no_gap(page)
        await leave(page)


async def test_a_short_visit_to_another_tab_causes_no_check(
    server: Server, clock_context: BrowserContext, room: str
) -> None:
    page = await open_chat(clock_context, server.url, "sse", room)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await hide(page, 3)
    await page.evaluate(HIDE, False)
    await post(server.url, room, text="after")
    await expect(message(page, "after")).to_have_count(1)
    assert not [url for url in asked if "short_polling" in url]
    await page.close()


async def test_a_page_reconnects_at_once_when_the_network_is_back(
    server: Server, clock_context: BrowserContext, room: str
) -> None:
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await open_chat(clock_context, relay.url, "websocket", room)
        await page.evaluate("Math.random = () => 0.99")  # the longest jitter
        relay.accepting = False
        relay.reset_connections()
        await page.clock.fast_forward(30_000)  # several attempts fail
        await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
        # Timers stand still after one more attempt, so only the event can reconnect the page.
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 60"))
        await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
        relay.accepting = True
        await page.evaluate("dispatchEvent(new Event('online'))")
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        await leave(page)


async def test_a_reader_from_now_misses_nothing_before_its_first_event(
    server: Server, context: BrowserContext, room: str
) -> None:
    """A response without events says where it is; a later "now" would be another place."""
    transports = ["short_polling", "long_polling", "sockjs"]
    async with Proxy("127.0.0.1", server.port) as relay:
        page = await new_page(context)
        await page.goto(f"{relay.url}{QUIET_PAGE}")
        await page.evaluate(CONNECT, {"room": room, "after": "now", "transports": transports})
        await page.wait_for_function(ALL_OPEN)
        relay.accepting = False
        relay.reset_connections()
        await post(server.url, room, text="meanwhile")
        relay.accepting = True
        await page.wait_for_function(ALL_HAVE, arg=1)
        assert await page.evaluate(READ) == {one: [["meanwhile"], 0] for one in transports}
        await leave(page)
