"""Each page in both sizes and both themes: axe-core finds no violation, and pictures are kept.

On the same load: its English texts are complete, and large type fits the screen of a phone.
test_appearance.py tests both in Chinese, on a projector.

The pictures, in test-output, are for people: a test cannot judge the appearance.  There is one of
each size and each theme: one takes as long as all rules about the same look.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.chat_page import TRANSPORTS, send
from tests.browser.conftest import new_context
from tests.browser.tabs import new_page
from tests.browser.test_appearance import PATHS, expect_complete
from tests.conftest import missing
from tests.server_process import ROOT, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = ROOT / "tests" / "vendor" / "axe-core" / "axe.min.js"
PAGES = [
    "/",
    "/demos/lab.html",
    "/demos/lecturer.html",
    "/demos/projector.html",
    "/demos/class.html",
    "/demos/cluster.html",
    "/demos/sticky.html",
    "/demos/capture.html",
]
PAGES += ["/demos/glossary.html", *(f"/demos/{transport}.html" for transport in TRANSPORTS)]
PICTURES = ROOT / "test-output"
# Each size with each theme, on one load of the page.  A theme changes colours only, so the second
# theme of a size needs only the rule about contrast: all rules take ten times longer.
WIDE, NARROW = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
LOOKS: list[tuple[Any, Any, list[str]]] = [
    (WIDE, "light", []),
    (WIDE, "dark", ["color-contrast"]),
    (NARROW, "dark", []),
    (NARROW, "light", ["color-contrast"]),
]
# With the panels of the other tabs: one check of all is cheaper than one of each.  All exercises
# and all captured bytes look alike, so one page is enough for them.
#
# The pages of the transports differ in some parts only, so in the second size all rules are for
# these parts, but for the whole page of one transport.
RUN = """async ([rules, look]) => {
  const { transport } = document.body.dataset;
  const all = transport === "websocket";
  const own = [".top", "#bench", "#idea", "#lesson"];
  const checked = transport && !all && look > 0 && !rules.length ? { include: own } : document;
  const panels = document.querySelectorAll(`[role=tabpanel]${all ? "" : ":not(.exercise)"}`);
  panels.forEach((panel) => { panel.hidden = false; });
  if (!all) document.querySelector("#player .clear")?.click();
  const only = rules.length ? { runOnly: rules } : {};
  const { violations } = await axe.run(checked, { resultTypes: ["violations"], ...only });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target} ${node.any[0]?.message ?? ""}`));
}"""


# A page with everything unfolded: it must not be wider than the screen.
WIDTH = """() => {
  const closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((details) => { details.open = true; });
  const width = document.documentElement.scrollWidth;
  closed.forEach((details) => { details.open = false; });
  return width;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def errors() -> list[str]:
    return []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser, errors: list[str]) -> AsyncIterator[Page]:
    """One tab for all pages: another one costs a third of the CPU time of a page load."""
    options = {"reduced_motion": "reduce", "timezone_id": "Asia/Taipei"}
    async with new_context(browser, errors, **options) as context:
        yield await new_page(context)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_violates_no_rule_in_any_look_and_is_complete_on_a_phone(
    server: Server, page: Page, errors: list[str], room: str, path: str
) -> None:
    """Both promises in one test, since the page load takes much of its time."""
    if not AXE.exists():
        missing("axe-core, which make test downloads,")
    errors.clear()
    await page.set_viewport_size(WIDE)
    await page.goto(f"{server.url.rstrip('/')}{path}?room={room}&name=Ada&lang=en&rate=3")
    name = path.removeprefix("/demos/").removesuffix(".html").strip("/") or "story"
    if name in TRANSPORTS:
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        await send(page, "hello")
        await expect(page.locator("#sequence .arrow").first).to_be_attached()
    for size, theme, rules in LOOKS:
        if not rules:
            await page.set_viewport_size(size)
            await page.emulate_media(color_scheme=theme)
            await page.screenshot(path=PICTURES / f"{name}-{size['width']}-{theme}.png")
    if path in PATHS:
        await expect_complete(page, path, "en")
        await expect_narrow_with_big_type(page)
    # axe-core, which the policy restricts, causes others.
    assert errors == []
    # Through the debugger, which a Content-Security-Policy does not restrict.
    await page.evaluate(AXE.read_text("utf-8"))
    found = []
    for look, (size, theme, rules) in enumerate(LOOKS):
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=theme)
        faults = await page.evaluate(RUN, [rules, look])
        found += [f"{theme}, {size['width']} px: {fault}" for fault in faults]
    assert found == []


async def expect_narrow_with_big_type(page: Page) -> None:
    """With everything unfolded and larger type, the page is not wider than a phone."""
    await page.set_viewport_size(NARROW)
    big = page.locator("#big")
    await big.click()
    await expect(big).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate(WIDTH) <= NARROW["width"]
    await big.click()
    await expect(big).to_have_attribute("aria-pressed", "false")
