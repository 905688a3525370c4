"""The page about sticky routing: it draws each request, and says why sessions are lost.

Its rules are pure JavaScript: see tests/js/sticky_routing.test.mjs.
tests/demos/test_sticky_routing.py compares them with nginx.
"""

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.tabs import new_page
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


# In px: the width of the drawing, and the size of its smallest text.
SIZES = """() => {
  const picture = document.querySelector("#picture");
  const scale = picture.getScreenCTM().a;
  const size = (text) => scale * parseFloat(getComputedStyle(text).fontSize);
  const sizes = [...picture.querySelectorAll("text")].map(size);
  return [picture.getBoundingClientRect().width, Math.min(...sizes)];
}"""


async def test_each_request_is_drawn_and_listed(
    server: Server, context: BrowserContext, console_errors: list[str]
) -> None:
    page = await new_page(context)
    await page.goto(f"{server.url}/demos/sticky.html?lang=en")
    await expect(page.locator("#picture rect").first).to_be_attached()
    # The drawing uses the width of the page, and no text is smaller than 14 px.
    for width, drawn, units in ((1280, 1200, 900), (390, 350, 356)):
        await page.set_viewport_size({"width": width, "height": 800})
        # It is drawn again with the next frame.
        await expect(page.locator("#picture")).to_have_attribute("viewBox", f"0 0 {units} 260")
        picture, smallest = await page.evaluate(SIZES)
        assert picture > drawn
        assert smallest >= 14
    rows = page.locator("#requests tr")
    for _ in range(7):
        await page.click("#step")
    await expect(rows).to_have_count(7)
    await expect(page.locator("#sum")).to_have_text("7 requests, 2 sessions lost")
    await expect(rows.first).to_contain_text("sid=")
    await expect(rows.first).to_contain_text("400 bad_request")
    await expect(page.locator("#picture path")).to_have_class("now refused")
    await expect(page.locator("#picture .lost")).to_have_count(2)
    await expect(page.locator("#why")).to_contain_text("does not know it")
    await page.get_by_label("by session").check()
    await expect(rows).to_have_count(0)
    await page.click("#play")
    await expect(page.locator("#sum")).to_have_text("3 requests, 0 sessions lost")
    await page.click("#play")
    await page.get_by_label("SockJS, by polling").check()
    await page.get_by_label("in a school, behind one address").check()
    await page.get_by_label("by address (ip_hash)").check()
    await expect(page.locator("#why")).to_contain_text("the whole school has one address")
    for _ in range(12):
        await page.click("#step")
    await expect(rows).to_have_count(10)
    await expect(page.locator("#sum")).to_have_text("12 requests, 0 sessions lost")
    assert console_errors == []
